"""Sends a plan and waits for what comes back: closed loop (exactly N in flight) and open loop (absolute arrivals).

Invariants
- Every request of the plan that is taken up ends in exactly one record; what was due and never taken up is `not_sent`.
- Closed loop: a request leaves in the loop turn in which the one before it ended; its `intended_ns` is that end.
- Open loop: `intended_ns` is the plan's offset from the start, however late the send. With a cap, those that wait do so
  in arrival order and `ready_ns` says until when.
- The engine never decodes; ended exchanges go to `Decoding`.
"""

import asyncio
import gc
from collections import deque
from collections.abc import Callable
from typing import Any

from genbench.clock import now_ns
from genbench.engine.decoding import SLICE_NS, Decoding
from genbench.engine.live import Live, Snapshot
from genbench.engine.pacing import Pacer
from genbench.transport.exchange import Exchange, Transport
from genbench.transport.poller import Poller
from genbench.types import MISSING, OPEN_ENDED, Outcome, Phase, Plan, Record, Request

TICK_S = 0.25
REFILL_PAUSE_S = 0.002
CONNECT_PAUSE_S = 0.05  # a refused connection frees its slot at once: without a pause a dead server means a busy loop

Watcher = Callable[[Snapshot], None]


class Engine:
    """One run of one plan."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        poller: Poller,
        transport: Transport,
        decoding: Decoding,
        live: Live,
        plan: Plan,
        watch: Watcher | None = None,
    ) -> None:
        self._loop = loop
        self._poller = poller
        self._transport = transport
        self._decoding = decoding
        self._live = live
        self._plan = plan
        self._watch = watch
        self._schedule = plan.schedule
        self._total = len(plan.requests)
        self._next = 0
        self._under_way: set[Exchange] = set()
        self._cap_queue: deque[tuple[int, int]] = deque()  # (index, intended_ns)
        self._stopped = False
        self._over: asyncio.Future[None] = loop.create_future()
        self._start_ns = self._measured_ns = MISSING
        self._area = self._changed_ns = self._last_flying = 0
        self._peak = self._not_sent = self._dry = 0
        self._timers: list[asyncio.TimerHandle] = []
        self._pacer: Pacer | None = None
        self.interrupted = False

    # -- the run ------------------------------------------------------------------------------------------------------

    async def run(self) -> dict[str, Any]:
        """Send everything, wait for everything; returns what the header keeps of it."""
        gc.collect()
        gc.freeze()
        gc.disable()
        try:
            self._start_ns = self._changed_ns = now_ns()
            self._timers.append(self._loop.call_later(TICK_S, self._tick))
            if self._schedule.offset_ns is None:
                for _ in range(min(self._schedule.concurrency or 1, self._total)):
                    self._launch(self._next_index(), self._start_ns, self._start_ns)
            else:
                self._pacer = Pacer(self._loop, self._poller, self._due)
                self._due()
            self._maybe_over()
            await self._over
        finally:
            for timer in self._timers:
                timer.cancel()
            if self._pacer is not None:
                self._pacer.close()
            gc.enable()
            gc.unfreeze()
        self._decoding.finish()
        return self._facts()

    def interrupt(self) -> None:
        """Ctrl-C: nothing more is sent, what is in flight is given up with what had arrived."""
        self.interrupted = True
        self._stop()
        self._cancel_rest()

    def _facts(self) -> dict[str, Any]:
        span = max(1, self._changed_ns - (self._measured_ns if self._measured_ns != MISSING else self._start_ns))
        return {
            "start_ns": self._start_ns,
            "measured_ns": self._measured_ns,
            "sent": self._next - len(self._cap_queue) - self._not_sent,
            "not_sent": self._not_sent,
            "in_flight_mean": self._area / span,
            "in_flight_max": self._peak,
            "plan_ran_dry": self._dry,
            "raw_records": self._decoding.raw,
            "pacing": self._pacer.source if self._pacer is not None else "closed loop",
        }

    # -- sending ------------------------------------------------------------------------------------------------------

    def _next_index(self) -> int:
        index = self._next
        self._next += 1
        return index

    def _launch(self, index: int, intended_ns: int, ready_ns: int) -> None:
        if not self._plan.requests.is_made(index):
            self._dry += 1
        request = self._plan.requests[index]
        record = Record(
            index=index,
            session=request.sample.session,
            turn=request.sample.turn,
            phase=request.phase,
            intended_ns=intended_ns,
            ready_ns=ready_ns,
            isl_wanted=request.sample.isl,
            isl_tokenizer=request.isl_tokenizer,
            osl_wanted=MISSING if request.max_tokens is None else request.max_tokens,
            inputs=max(1, len(request.sample.texts)),
            choices=request.choices,
        )
        exchange = Exchange(request, record, self._decoding.arrived, self._done)
        if self._measured_ns == MISSING and request.phase == Phase.MEASURED:
            self._begin_measuring(request)
        self._under_way.add(exchange)
        self._count()
        self._transport.send(exchange)

    def _begin_measuring(self, request: Request) -> None:
        self._measured_ns = now_ns()
        self._area = 0
        self._changed_ns = self._measured_ns
        if self._schedule.duration_ns is not None:
            self._timers.append(self._loop.call_later(self._schedule.duration_ns / 1e9, self._time_is_up))

    def _count(self) -> None:
        """Keep the integral of the number in flight; called right after every change of it."""
        now = now_ns()
        flying = len(self._under_way)
        self._area += self._last_flying * (now - self._changed_ns)
        self._changed_ns = now
        self._last_flying = flying
        if flying > self._peak:
            self._peak = flying

    def _due(self) -> None:
        """Open loop: everything whose moment has come leaves, or waits for the cap."""
        offsets = self._schedule.offset_ns
        assert offsets is not None
        assert self._pacer is not None
        cap = self._schedule.concurrency
        while self._next < self._total and not self._stopped:
            intended = self._start_ns + int(offsets[self._next])
            now = now_ns()
            if intended > now:
                self._pacer.at(intended)
                return
            index = self._next_index()
            if cap is not None and len(self._under_way) >= cap:
                self._cap_queue.append((index, intended))
            else:
                self._launch(index, intended, intended if cap is None else max(intended, now))

    def _done(self, exchange: Exchange) -> None:
        """An exchange has ended; the slot is free from its last byte on."""
        exchange.ended = True
        self._under_way.discard(exchange)
        self._count()
        record = exchange.record
        if record.phase == Phase.MEASURED:
            self._live.done += 1
        if not self._stopped:
            if exchange.reply.outcome in (Outcome.CONNECT_ERROR, Outcome.TLS_ERROR):
                self._timers.append(self._loop.call_later(CONNECT_PAUSE_S, self._slot_free, MISSING))
            else:
                self._slot_free(record.end_ns)
        self._decoding.arrived(exchange)
        self._maybe_over()

    def _slot_free(self, since_ns: int) -> None:
        if self._stopped:
            return
        since_ns = now_ns() if since_ns == MISSING else since_ns
        if self._cap_queue:
            index, intended = self._cap_queue.popleft()
            self._launch(index, intended, max(intended, since_ns))
        elif self._schedule.offset_ns is None and self._next < self._total:
            self._launch(self._next_index(), since_ns, since_ns)

    # -- ending -------------------------------------------------------------------------------------------------------

    def _time_is_up(self) -> None:
        self._stop()
        self._timers.append(self._loop.call_later(self._schedule.grace_ns / 1e9, self._cancel_rest))
        self._maybe_over()

    def _stop(self) -> None:
        if self._stopped:
            return
        self._stopped = True
        self._not_sent += len(self._cap_queue)
        self._cap_queue.clear()
        offsets = self._schedule.offset_ns
        if offsets is not None and not self.interrupted:  # arrivals the clock had already called for
            passed = now_ns() - self._start_ns
            while self._next < self._total and offsets[self._next] <= passed:
                self._next += 1
                self._not_sent += 1

    def _cancel_rest(self) -> None:
        for exchange in list(self._under_way):
            self._transport.cancel(exchange)
        self._maybe_over()

    def _maybe_over(self) -> None:
        if self._under_way or self._over.done():
            return
        if self._stopped or (self._next >= self._total and not self._cap_queue):
            self._over.set_result(None)

    # -- beside the run -----------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        self._timers = [timer for timer in self._timers if not timer.cancelled() and timer.when() > self._loop.time()]
        self._timers.append(self._loop.call_later(TICK_S, self._tick))
        self._decoding.flush()
        self._refill()
        if self._watch is not None:
            self._watch(self._snapshot())

    def _refill(self) -> None:
        """Build bodies ahead in slices, with room for readers between them."""
        if not self._over.done() and not self._plan.requests.refill(self._next, SLICE_NS):
            self._timers.append(self._loop.call_later(REFILL_PAUSE_S, self._refill))

    def _snapshot(self) -> Snapshot:
        now = now_ns()
        measuring = self._measured_ns != MISSING
        elapsed = (now - self._measured_ns) / 1e9 if measuring else 0.0
        total = self._total - self._schedule.warmup if self._total < OPEN_ENDED else None
        left = None
        if self._schedule.duration_ns is not None:
            left = max(0.0, self._schedule.duration_ns / 1e9 - elapsed)
        if total and self._live.done and elapsed:
            by_count = (total - self._live.done) * elapsed / self._live.done
            left = by_count if left is None else min(left, by_count)
        return Snapshot(
            elapsed_s=elapsed,
            done=self._live.done,
            total=total,
            in_flight=len(self._under_way),
            failed=self._live.failed,
            warming_up=not measuring,
            tokens_per_s=self._live.tokens_per_s(now, self._decoding.content_events),
            ttft_p50_ms=self._live.ttft_ms(0.5),
            ttft_p99_ms=self._live.ttft_ms(0.99),
            left_s=left,
        )
