"""From `Work` to a script: timed pieces of bytes and how it ends.

Two halves with a seam between them. A *brain* says when: `Brain` is a function from work to the offsets (ns after the
request's last byte) of its steps, asked one at a time, right after the step before has left, so that a brain that
models a batch can decide late. `compose` says what: rendering, faults, framing, the same for every brain.

Rules
- The pieces are made lazily: a stream costs its next piece, not its whole answer, when the request arrives.
- Offsets are absolute, so nothing drifts; a late piece is sent late and the next one keeps its own time.
- A piece is one write. The marks name the events that the piece *completes*: a stream's truth is taken per mark.
"""

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus
from itertools import count, islice

import orjson

from genbench.simulator.render import Marks, Stream, whole
from genbench.simulator.work import Refusal, Work
from genbench.types import CONTENT_KINDS, EventKind

Brain = Callable[[Work], Iterator[int]]
Step = tuple[int, bytes, Marks]  # offset in ns, bytes of one write, the events it completes

JSON = b"application/json"
EVENT_STREAM = b"text/event-stream; charset=utf-8"
LAST_CHUNK = b"0\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
GARBAGE = b"\x00\x01\x02 this is not HTTP \xff\xfe\r\n\r\n"
SPLIT_NS = 1_000_000


class Ending(Enum):
    """What happens to the connection when the script is over."""

    KEEP = "keep"
    CLOSE = "close"
    RESET = "reset"
    STALL = "stall"


@dataclass(frozen=True, slots=True)
class Script:
    """Timed writes in order, the ending, and the outcome for the truth (complete, refused or a fault's name)."""

    steps: Iterator[Step]
    ending: Ending
    outcome: str = "complete"


# Faults that end a stream after K content events, and the connection's ending.
STOPS = {
    "inband_error": Ending.KEEP,
    "event_error": Ending.KEEP,
    "cut": Ending.CLOSE,
    "reset": Ending.RESET,
    "stall": Ending.STALL,
}


def scripted(work: Work) -> Iterator[int]:
    """The script brain: ttft, then the explicit gaps, then one itl after the other; computed from k, never summed up.

    Jitter moves each later step by up to `jitter` (at most half) of the gap, so the order stays.
    """
    at = work.ttft_ns
    yield at
    for gap in work.gaps_ns:
        at += gap
        yield at
    if work.jitter:
        draw = random.Random(work.number).uniform
        for k in count(1):
            yield at + round((k + draw(-work.jitter, work.jitter)) * work.itl_ns)
    for k in count(1):
        yield at + k * work.itl_ns


def compose(work: Work, offsets: Iterator[int]) -> Script:
    """The script of a generative request whose steps are due at `offsets`."""
    if "close_before_byte" in work.faults:
        return Script(iter(()), Ending.CLOSE, "close_before_byte")
    if "garbage" in work.faults:
        return Script(iter([(0, GARBAGE, ())]), Ending.CLOSE, "garbage")
    stop = next((name for name in work.faults if name in STOPS), "")
    kept = Ending.CLOSE if work.close or "keepalive_close" in work.faults else Ending.KEEP
    ending = kept if STOPS.get(stop, Ending.KEEP) is Ending.KEEP else STOPS[stop]
    silent = next((name for name in ("empty_body", "immediate_finish") if name in work.faults), "complete")
    if work.stream:
        steps = _streamed(work, offsets, stop)
        return Script(_split(steps) if "split" in work.faults else steps, ending, stop or silent)
    broken = "truncated_json" in work.faults
    outcome = stop or ("truncated_json" if broken else silent)
    return Script(_unstreamed(work, offsets, stop, broken), Ending.CLOSE if broken and not stop else ending, outcome)


def answer(status: int, body: object, request_id: str, *, close: bool, head: bytes = b"", kind: bytes = JSON) -> Script:
    """The script of an answer that has no times: `body` is bytes or becomes JSON."""
    data = body if isinstance(body, bytes) else orjson.dumps(body)
    length = b"content-length: %d\r\n" % len(data)
    wire = _head(status, kind, request_id, head + length, close) + data
    return Script(iter([(0, wire, ())]), Ending.CLOSE if close else Ending.KEEP)


def refused(refusal: Refusal, request_id: str, *, close: bool) -> Script:
    """The script of a refusal."""
    script = answer(refusal.status, refusal.body, request_id, close=close, head=refusal.head)
    return Script(script.steps, script.ending, refusal.fault or "refused")


def _head(status: int, kind: bytes, request_id: str, more: bytes, close: bool) -> bytes:
    reason = HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else "Simulated"
    return b"HTTP/1.1 %d %b\r\nserver: genbench-simulator\r\ncontent-type: %b\r\nx-request-id: %b\r\n%b%b\r\n" % (
        status,
        reason.encode(),
        kind,
        request_id.encode("latin-1", "replace"),
        more,
        b"connection: close\r\n" if close else b"",
    )


def _head_steps(work: Work, head: bytes, at: int = 0) -> Iterator[Step]:
    """The head in one write, or as `slow_head` and `continue_head` want it."""
    if "continue_head" in work.faults:
        yield 0, CONTINUE, ()
    if "slow_head" in work.faults:
        delay, size = round(work.faults["slow_head"] * 1e6), len(head)
        for quarter in range(4):
            piece = head[quarter * size // 4 : (quarter + 1) * size // 4]
            yield delay * (quarter + 1) // 4, piece, ()
    else:
        yield at, head, ()


def _streamed(work: Work, offsets: Iterator[int], stop: str) -> Iterator[Step]:
    framing = b"" if work.until_close else b"transfer-encoding: chunked\r\n"
    yield from _head_steps(work, _head(200, EVENT_STREAM, work.request_id, framing, work.close))
    wrap: Callable[[bytes], bytes] = bytes if work.until_close else _chunk
    last = b"" if work.until_close else LAST_CHUNK
    if "empty_body" in work.faults:
        yield next(offsets), last, ()
        return
    stream = Stream(work)
    timed = _timed(stream, offsets)
    if "packed" in work.faults:
        timed = _packed(timed, int(work.faults["packed"]))
    limit = int(work.faults[stop]) if stop else -1
    seen = 0
    for at, piece, marks, final in timed:
        if stop and (seen >= limit or final):
            if STOPS[stop] is Ending.KEEP:
                yield at, wrap(stream.failure(stop == "event_error")) + last, ((EventKind.ERROR, 0),)
            else:
                yield at, b"", ()  # the ending comes when the next event would have
            return
        seen += sum(kind in CONTENT_KINDS for kind, _ in marks)
        data = wrap(piece) if piece else b""
        yield at, data + last if final else data, marks


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _timed(stream: Stream, offsets: Iterator[int]) -> Iterator[tuple[int, bytes, Marks, bool]]:
    """Pieces with their offsets; the last one, the trailer, is marked `final`. It leaves right after the last event."""
    early = "early_role" in stream.work.faults
    if early:
        for piece, marks in stream.roles():
            yield 0, piece, marks, False
    at = -1
    for pieces in stream.contents():
        first, at = at < 0, next(offsets)
        for piece, marks in [*stream.roles(), *pieces] if first and not early else pieces:
            yield at, piece, marks, False
    if at < 0:
        at = next(offsets)
        for piece, marks in [] if early else stream.roles():
            yield at, piece, marks, False
    yield at, *stream.trailer(), True


def _packed(timed: Iterable[tuple[int, bytes, Marks, bool]], size: int) -> Iterator[tuple[int, bytes, Marks, bool]]:
    """`size` pieces in one write, when the last of them is due; the trailer keeps its own."""
    held: list[tuple[int, bytes, Marks, bool]] = []
    for one in timed:
        if held and (one[3] or len(held) == size):
            yield held[-1][0], b"".join([piece[1] for piece in held]), sum((piece[2] for piece in held), ()), False
            held = []
        if one[3]:
            yield one
        else:
            held.append(one)


def _split(steps: Iterable[Step]) -> Iterator[Step]:
    """Each write with an event in two, cut in the middle."""
    for at, data, marks in steps:
        if not marks:
            yield at, data, marks
            continue
        yield at, data[: len(data) // 2], ()
        yield at + SPLIT_NS, data[len(data) // 2 :], marks


def _unstreamed(work: Work, offsets: Iterator[int], stop: str, broken: bool) -> Iterator[Step]:
    """Head and body in one write when the last token is due; a fault may leave half of the body out."""
    at = next(islice(offsets, max(0, work.tokens - 1), None))
    body, marks = (b"", ()) if "empty_body" in work.faults else whole(work)
    length = b"" if work.until_close else b"content-length: %d\r\n" % len(body)
    head = _head(200, JSON, work.request_id, length, work.close)
    if broken or (stop and STOPS[stop] is not Ending.KEEP):
        body, marks = body[: len(body) // 2], ()
    if "slow_head" in work.faults or "continue_head" in work.faults:
        yield from _head_steps(work, head, at)
        yield at, body, marks
    else:
        yield at, head + body, marks
