"""Decodes what arrived and writes records, in slices that hardly keep a reader waiting.

Rules
- A slice lasts at most `SLICE_NS` and begins when no reader is ready, or when there was no such moment for `STARVED_NS`
  (a busy machine). Stamps come from the kernel, so a slice does not move them; it only must be shorter than the gap
  between two events of a stream.
- Where even that does not keep up (the client is at its limit: more than `BACKLOG` undecoded), answers that ended more
  than `OVERDUE_NS` ago go to the log raw, at a third of the cost of decoding them, and about as many at a time as have
  just come in: so neither the loop is held up nor the memory grows. They are decoded when the log is read.
- No thread: a Python thread that only decoded JSON took the loop's timer lag from 0.3 to 14 ms at p99 (the GIL).
- An answer that a conversation goes on from is decoded on the spot (`answer`); it is written in its turn all the same.
- `flush()` is called four times a second. So `kill -9` loses what is in flight and at most a second of what ended.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from genbench.clock import now_ns
from genbench.decode import ResponseDecoder, raw_line
from genbench.records import RecordWriter
from genbench.transport.exchange import Exchange
from genbench.transport.poller import Poller
from genbench.types import CONTENT_KINDS, MISSING, Endpoint, EventKind, Outcome, Record

SLICE_NS = 200_000
MESSAGES = 16  # decoded between two looks at the clock
PAUSE_S = 0.005  # lets a batch gather, so that slices are not one event long
STARVED_NS = 10_000_000
BACKLOG = 2_000
OVERDUE_NS = 100_000_000
ALL = 1 << 30

Sink = Callable[[Record, ResponseDecoder], None]


class Decoding:
    """The queue between the transport and the log. `sink` sees every decoded record before it is written."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        poller: Poller,
        endpoint: Endpoint,
        writer: RecordWriter,
        sink: Sink,
        *,
        keep_text: bool,
    ) -> None:
        self._loop = loop
        self._poller = poller
        self._endpoint = endpoint
        self._writer = writer
        self._sink = sink
        self._keep_text = keep_text
        self._queue: deque[Exchange] = deque()
        self._pending: asyncio.Handle | None = None
        self._worked_ns = now_ns()
        self.fail: Callable[[Exception], None] | None = None  # whom to tell what was raised in a slice
        self.raw = 0
        self.content_events = 0

    def arrived(self, exchange: Exchange) -> None:
        """There is something to decode, or the exchange has ended."""
        if not exchange.queued:
            exchange.queued = True
            self._queue.append(exchange)
        if self._pending is None:
            self._pending = self._loop.call_later(PAUSE_S, self._slice)

    def first_token_ns(self, exchange: Exchange) -> int:
        """When its first token came, once all that arrived is decoded; -1 before that."""
        if not exchange.ended and exchange.reply.chunks:
            self._decode(exchange, ALL)  # it stays in the queue, with nothing left to do
        record = exchange.record
        found = (t for kind, t in zip(record.event_kind, record.event_ns, strict=True) if kind in CONTENT_KINDS)
        return next(found, MISSING)

    def answer(self, exchange: Exchange) -> str | None:
        """The text of an exchange that has just ended, decoded on the spot; None where it failed.

        It is what the assistant said: no reasoning and no tool call, of the first choice. Its text is there only where
        the request `needs_answer`.
        """
        decoder = self._decode(exchange, ALL)
        record = exchange.record
        if decoder is None or record.outcome not in (Outcome.OK, Outcome.NO_OUTPUT):
            return None
        said = (text for at, choice, text in decoder.texts if not choice and record.event_kind[at] == EventKind.CONTENT)
        return "".join(said)

    def _slice(self) -> None:
        self._pending = None
        try:
            self._work()
        except Exception as error:  # the event loop would print it and go on without us
            if self.fail is None:
                raise
            self.fail(error)
        if self._queue and self._pending is None:
            self._pending = self._loop.call_soon(self._slice)

    def _work(self) -> None:
        served = self._poller.dispatch()
        now = now_ns()
        if not served or now - self._worked_ns > STARVED_NS:
            self._worked_ns = now
            while self._queue and now_ns() < now + SLICE_NS:
                self._step(self._queue.popleft(), MESSAGES)
        if len(self._queue) > BACKLOG:
            self._relieve(2 * served)

    def _step(self, exchange: Exchange, budget: int) -> None:
        decoder = self._decode(exchange, budget)
        if decoder is None:
            self._queue.append(exchange)
            return
        exchange.queued = False
        if exchange.ended:
            self._sink(exchange.record, decoder)
            self._writer.append(exchange.record)

    def _decode(self, exchange: Exchange, budget: int) -> ResponseDecoder | None:
        """Decode what is there, to the outcome where the exchange has ended; None when the budget was too small."""
        decoder = exchange.decoder
        if decoder is None:
            keep = self._keep_text or exchange.request.needs_answer
            decoder = exchange.decoder = ResponseDecoder(exchange.record, self._endpoint, keep_text=keep)
        if exchange.judged:
            return decoder
        before = decoder.contents
        try:
            if exchange.broken:
                exchange.reply.chunks.clear()
            elif not decoder.feed(exchange.reply, budget):
                return None
            elif exchange.ended:
                decoder.finish(exchange.reply)
        except Exception as error:  # an endpoint kind of the user's own: the request is not lost for it
            exchange.broken = f"the endpoint kind cannot read this: {type(error).__name__}: {error}"
            exchange.reply.chunks.clear()
        finally:
            self.content_events += decoder.contents - before
        exchange.judged = exchange.ended
        if exchange.ended and exchange.broken:
            exchange.record.status = exchange.reply.status
            exchange.record.outcome, exchange.record.error = Outcome.PROTOCOL_ERROR, exchange.broken
        return decoder

    def _relieve(self, most: int) -> None:
        """Take up to `most` overdue answers off the front of the queue."""
        due = now_ns() - OVERDUE_NS
        while most and self._queue and self._queue[0].ended and self._queue[0].record.end_ns < due:
            most -= 1
            exchange = self._queue.popleft()
            # An error is short and has to be looked at; a text that is wanted has to be found now.
            if exchange.decoder is None and exchange.reply.status == 200 and not self._keep_text:
                self._writer.append_raw(exchange.record, raw_line(exchange.reply))
                self.raw += 1
            else:  # half decoded: only this decoder can go on
                self._step(exchange, ALL)

    def flush(self) -> None:
        """Bring the log up to date."""
        self._writer.flush()

    def finish(self) -> None:
        """Decode all that is left; called when nothing is in flight any more."""
        if self._pending is not None:
            self._pending.cancel()
        while self._queue:
            self._step(self._queue.popleft(), ALL)
        self._writer.flush()
