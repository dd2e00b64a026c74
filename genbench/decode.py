"""A raw reply into the fields of its record: events with their times, token counts, and how the request ended.

Rules
- An event gets the stamp of the piece that completed it. `event_shared` is 1 for every event of a message when an
  earlier message of this request (comments too) was completed by the same read, that is, has the same stamp; events of
  one message share one flag.
- What the reply is decides how it is read, not what was asked: `text/event-stream` is a stream, anything else is one
  JSON document, read at the end and stamped with its last piece. Without a content type, `{` or `[` first means JSON.
- Tokens of a content event: from continuous usage (every content message so far carried `completion_tokens`, one choice
  asked for) the growth since the previous content message; else the token ids or logprobs in the chunk. Tokens that a
  message without text announced (a byte held back until its character is whole) count for the choice's next content
  event. Several content events in one message: one token each while they last, the rest to the last. Otherwise -1.
- Nothing a server sends raises. The first thing wrong names the outcome; what had been read before and after stays.
- Decoding can stop after any number of messages and go on later: the result is the same. A reply nobody has begun to
  decode can be kept as `raw_line` and rebuilt; one that is half decoded needs the decoder that began.
"""

import json
from typing import Any

import orjson

from genbench.endpoints._openai import error_of, shares
from genbench.sse import Message, SseParser
from genbench.types import MISSING, Endpoint, Event, EventKind, Outcome, Record, Reply, Usage

ERROR_CHARS = 1024
EXCERPT_CHARS = 80
ERROR_BODY_BYTES = 1 << 16  # of an error's body, read as JSON; what is shown of it is far less
TRIM = 256  # consumed pieces that may stay in front of `reply.chunks`

_CONTENT = (int(EventKind.REASONING), int(EventKind.CONTENT), int(EventKind.TOOL))
_EMPTY = int(EventKind.EMPTY)


class ResponseDecoder:
    """Decodes one reply into one record.

    `texts` has (index of the event, choice, text) of every content event, when `keep_text` is set; `contents` is the
    number of content events so far.
    """

    def __init__(self, record: Record, endpoint: Endpoint, *, keep_text: bool = False) -> None:
        self.texts: list[tuple[int, int, str]] = []
        self._record = record
        self._read = endpoint.read
        self._vectors = endpoint.FRAMING == "json"
        self._keep_text = keep_text
        self._at = 0  # pieces of reply.chunks that are consumed
        self._parser: SseParser | None = None
        self._decided = False
        self._body: list[bytes] = []
        self._messages: list[Message] = []
        self._next = 0
        self._t_ns = MISSING  # of the piece under way
        self._message_ns = MISSING  # of the last message that was complete
        self.contents = 0
        self._seen = False  # an event other than a comment
        self._finished: set[int] = set()
        self._usage: Usage | None = None
        self._growing = record.choices == 1  # completion_tokens was in every content message so far
        self._counted = 0  # completion_tokens at the last content message
        self._held: dict[int, int] = {}  # tokens announced without text, by choice
        self._stream_error: str | None = None
        self._protocol_error = ""
        self._cut = False  # the body ended inside an event
        self._expects_vectors = False

    # -- while the reply comes in -------------------------------------------------------------------------------------

    def feed(self, reply: Reply, budget: int = 1 << 30) -> bool:
        """Decode what has arrived, about `budget` messages of it; True when nothing is left for now.

        Consumed pieces are removed from `reply.chunks`, at the latest when all are.
        """
        chunks = reply.chunks
        while True:
            messages = self._messages
            while self._next < len(messages):
                if budget <= 0:
                    return self._pause(reply)
                budget -= 1
                self._next += 1
                self._take(messages[self._next - 1])
            if self._at == len(chunks):
                chunks.clear()
                self._at = 0
                return True
            if budget <= 0:
                return self._pause(reply)
            self._t_ns, data = chunks[self._at]
            self._at += 1
            self._piece(reply, data)
            if not self._messages:
                budget -= 1

    def _pause(self, reply: Reply) -> bool:
        if self._at >= TRIM:
            del reply.chunks[: self._at]
            self._at = 0
        return False

    def _piece(self, reply: Reply, data: bytes) -> None:
        self._record.response_bytes += len(data)
        if not self._decided:
            data = self._decide(reply, data)
        if self._parser is not None:
            self._messages = self._parser.feed(data)
            self._next = 0
        elif _good(reply.status) or self._record.response_bytes - len(data) < ERROR_BODY_BYTES:
            self._body.append(data)

    def _decide(self, reply: Reply, data: bytes) -> bytes:
        """Choose how to read the body; returns the bytes to read now, those held back until the choice included."""
        kind = _content_type(reply)
        if not kind and _good(reply.status):
            start = data.lstrip()[:1]
            if not start:
                return data  # only white space so far: held back
            data = b"".join([*self._body, data])
            self._body.clear()
            kind = "application/json" if start in (b"{", b"[") else "text/event-stream"
        self._decided = True
        if kind == "text/event-stream" and _good(reply.status):
            self._parser = SseParser()
            self._record.streamed = True
        return data

    def _take(self, message: Message, *, last: bool = False) -> None:
        """One SSE message. `last` is the one without its blank line: if it does not parse, the body was cut there."""
        shared = 1 if self._t_ns == self._message_ns else 0
        self._message_ns = self._t_ns
        data = message.data
        if message.comment:
            self._add(Event(EventKind.COMMENT), MISSING, shared)
            return
        if data.startswith(b"[DONE]"):
            self._record.done = self._seen = True
            self._add(Event(EventKind.DONE), MISSING, shared)
            return
        value = _parsed(data)
        if message.event == b"error":
            text = error_of(value) or data.decode("utf-8", "replace").strip() or "event: error"
            self._take_events([Event(EventKind.ERROR, text)], shared)
        elif isinstance(value, dict):
            self._take_events(self._read(value), shared)
        elif last:
            self._cut = True
        elif not data.strip():
            self._add(
                Event(EventKind.COMMENT), MISSING, shared
            )  # empty data keeps the connection alive, like a comment
        elif not self._protocol_error:
            self._protocol_error = f"an event is not a JSON object: {_excerpt(data)}"

    def _take_events(self, events: list[Event], shared: int) -> None:
        if not events:
            return
        self._seen = True
        usage = events[-1].usage
        counts = self._growth(events, usage)
        for event in events:
            kind = int(event.kind)
            tokens = MISSING
            if kind in _CONTENT:
                tokens = counts.pop() if counts else self._own_tokens(event)
                self.contents += 1
                if self._keep_text:
                    self.texts.append((len(self._record.event_ns), event.choice, event.text))
                if self._vectors and not event.text:
                    self._expects_vectors = True
                    self._record.embeddings += event.embeddings
            elif kind == _EMPTY:
                if event.tokens > 0:
                    self._held[event.choice] = self._held.get(event.choice, 0) + event.tokens
            elif event.finish_reason:
                self._finished.add(event.choice)
                self._record.finish_reason = self._record.finish_reason or event.finish_reason[:ERROR_CHARS]
            elif kind == EventKind.ERROR and self._stream_error is None:
                self._stream_error = event.text
            self._add(event, tokens, shared)
        if usage is not None and (
            usage.completion_tokens >= 0 or self._usage is None or self._usage.completion_tokens < 0
        ):
            self._usage = usage

    def _growth(self, events: list[Event], usage: Usage | None) -> list[int]:
        """Tokens of a message's content events by continuous usage, the last one first; empty when it does not say."""
        if not self._growing:
            return []
        contents = 0
        for event in events:
            if event.kind in _CONTENT:
                contents += 1
        if not contents:
            return []
        if usage is None or usage.completion_tokens < 0:
            self._growing = False
            return []
        growth = max(0, usage.completion_tokens - self._counted)
        self._counted = usage.completion_tokens
        return shares(growth, contents)[::-1]

    def _own_tokens(self, event: Event) -> int:
        if event.tokens < 0 or not self._held:
            return event.tokens
        return event.tokens + self._held.pop(event.choice, 0)

    def _add(self, event: Event, tokens: int, shared: int) -> None:
        record = self._record
        record.event_ns.append(self._t_ns)
        record.event_kind.append(int(event.kind))
        record.event_choice.append(event.choice)
        record.event_tokens.append(tokens)
        record.event_shared.append(shared)

    # -- at its end ---------------------------------------------------------------------------------------------------

    def finish(self, reply: Reply) -> None:
        """Decode what is left and fill in the outcome. Call once, when the transport is done with the request."""
        self.feed(reply)
        record = self._record
        record.status = reply.status
        record.retry_after = reply.retry_after
        if _good(reply.status):
            if self._parser is not None:
                self._end_of_stream(self._parser)
            else:
                record.streamed = _content_type(reply) == "text/event-stream"
                self._whole_response()
        if self._usage is not None:
            record.isl_usage = self._usage.prompt_tokens
            record.osl_usage = self._usage.completion_tokens
            record.cached_tokens = self._usage.cached_tokens
            record.reasoning_tokens = self._usage.reasoning_tokens
        record.outcome, error = self._judge(reply)
        record.error = error[:ERROR_CHARS]

    def _end_of_stream(self, parser: SseParser) -> None:
        message = parser.finish()
        if message is not None:
            self._take(message, last=True)
            self._record.unterminated = not self._cut

    def _whole_response(self) -> None:
        body = b"".join(self._body)
        if not body.strip():
            return
        value = _parsed(body)
        if isinstance(value, dict):
            self._take_events(self._read(value), 0)
        else:
            self._protocol_error = f"the body is not a JSON object: {_excerpt(body)}"

    def _judge(self, reply: Reply) -> tuple[Outcome, str]:
        """Outcome and error text by docs/metrics.md, the first that holds."""
        record = self._record
        if reply.outcome is not None:
            said = f"; the stream had said: {self._stream_error}" if self._stream_error else ""
            return reply.outcome, reply.error + said
        if not _good(reply.status):
            return Outcome.HTTP_ERROR, self._http_error(reply.status)
        if self._stream_error is not None:
            return Outcome.STREAM_ERROR, self._stream_error
        if self._protocol_error:
            return Outcome.PROTOCOL_ERROR, self._protocol_error
        if not self._seen and not self._cut:
            size = record.response_bytes
            return Outcome.EMPTY_BODY, f"{size} bytes of body, no event in them" if size else "the body is empty"
        if record.streamed:
            missing = self._missing()
            if missing:
                return Outcome.TRUNCATED, missing
        if self._expects_vectors and record.embeddings != record.inputs:
            said = f"{record.embeddings} of {record.inputs} embeddings were finite"
            return Outcome.PROTOCOL_ERROR, said
        if self.contents:
            return Outcome.OK, ""
        if self._finished:
            return Outcome.NO_OUTPUT, f"finish_reason '{record.finish_reason}' without any token"
        return Outcome.EMPTY_BODY, "neither a token nor a finish_reason"

    def _missing(self) -> str:
        """What a stream lacks to be whole; empty when it is."""
        record = self._record
        if self._cut:
            return "the stream ended inside an event"
        if record.done:
            return ""
        if not self._finished:
            return "the stream ended without finish_reason or [DONE]"
        if record.choices > 1:
            count = sum(1 for choice in range(record.choices) if choice in self._finished)
            if count < record.choices:
                return f"the stream ended when {count} of {record.choices} choices had a finish_reason"
        return ""

    def _http_error(self, status: int) -> str:
        body = b"".join(self._body)[:ERROR_BODY_BYTES]
        value = _parsed(body)
        text = error_of(value)
        if text is None and isinstance(value, dict) and isinstance(value.get("message"), str):
            text = value["message"]
        text = (text or body[:ERROR_CHARS].decode("utf-8", "replace")).strip()
        return f"HTTP {status}: {text}" if text else f"HTTP {status}"


def raw_line(reply: Reply) -> dict[str, Any]:
    """A reply that nobody has begun to decode, as JSON: pieces as [t_ns, text], one character per byte (latin-1)."""
    return {
        "status": reply.status,
        "content_type": reply.content_type,
        "retry_after": reply.retry_after,
        "chunks": [[t_ns, data.decode("latin-1")] for t_ns, data in reply.chunks],
        "until_close": reply.until_close,
        "outcome": None if reply.outcome is None else str(reply.outcome),
        "error": reply.error,
    }


def reply_from_raw(line: dict[str, Any]) -> Reply:
    """The reply that `raw_line` was made from. Raises KeyError or ValueError for anything else."""
    return Reply(
        status=line["status"],
        content_type=line["content_type"],
        retry_after=line["retry_after"],
        chunks=[(t_ns, text.encode("latin-1")) for t_ns, text in line["chunks"]],
        until_close=line["until_close"],
        outcome=None if line["outcome"] is None else Outcome(line["outcome"]),
        error=line["error"],
    )


def _good(status: int) -> bool:
    return 200 <= status < 300


def _content_type(reply: Reply) -> str:
    return reply.content_type.partition(";")[0].strip().lower()


def _excerpt(data: bytes) -> str:
    return repr(data[:EXCERPT_CHARS].decode("utf-8", "replace"))


def _parsed(data: bytes) -> Any:
    """The JSON value in these bytes; None if there is none.

    orjson holds to the letter: no NaN, no lone surrogates, no broken UTF-8. Python's own json writes the first two, and
    the spec of event streams asks for U+FFFD instead of the third, so what orjson refuses is tried once more.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return _parsed_leniently(data)


def _parsed_leniently(data: bytes) -> Any:
    try:
        value = json.loads(data.decode("utf-8-sig", "replace"))
        return json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
