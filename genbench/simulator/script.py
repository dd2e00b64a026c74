"""From `Work` to a script: timed pieces of bytes and how it ends.

Two halves with a seam between them. A *brain* says when: it gives an iterator of offsets (ns after the request's last
byte), asked one at a time, right after the step before has left. `scripted` knows them all; a `feed.Feed` answers
PARKED where the batch has not come so far, and the play waits. `compose` says what: rendering, faults, framing, for
both brains the same.

Rules
- The pieces are made lazily: a stream costs its next piece, not its whole answer, when the request arrives.
- Offsets are absolute, so nothing drifts; a late piece is sent late and the next one keeps its own time.
- A piece is one write. The marks name the events that the piece *completes*: a stream's truth is taken per mark.
"""

import random
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus
from itertools import count, islice
from typing import TypeVar

import orjson

from genbench.simulator.feed import PARKED, Feed
from genbench.simulator.render import Cached, Marks, Stream, whole
from genbench.simulator.work import Refusal, Work
from genbench.types import CONTENT_KINDS, EventKind

Step = tuple[int, bytes, Marks]  # offset in ns (PARKED: wait), bytes of one write, the events it completes
Timed = tuple[int, bytes, Marks, bool]  # of one piece of a stream; the last says whether it is the trailer
T = TypeVar("T")

JSON = b"application/json"
EVENT_STREAM = b"text/event-stream; charset=utf-8"
LAST_CHUNK = b"0\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
GARBAGE = b"\x00\x01\x02 this is not HTTP \xff\xfe\r\n\r\n"
SPLIT_NS = 1_000_000
WAIT: Step = (PARKED, b"", ())
TIMED_WAIT: Timed = (*WAIT, False)


class Ending(Enum):
    """What happens to the connection when the script is over."""

    KEEP = "keep"
    CLOSE = "close"
    RESET = "reset"
    STALL = "stall"


@dataclass(frozen=True, slots=True)
class Script:
    """Timed writes in order, the ending, and the outcome for the truth (complete, refused or a fault's name).

    `feed` where the moments come from a batch.
    """

    steps: Iterator[Step]
    ending: Ending
    outcome: str = "complete"
    feed: Feed | None = None


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


SILENT = {"close_before_byte": b"", "garbage": GARBAGE}  # faults that are no answer, and what is sent


def compose(work: Work, offsets: Iterator[int], cached: Cached = lambda: None) -> Script:
    """The script of a generative request whose steps are due at `offsets`; `cached` as in `render.Stream`."""
    for name, data in SILENT.items():
        if name in work.faults:
            return Script(iter([(0, data, ())] if data else ()), Ending.CLOSE, name)
    stop = next((name for name in work.faults if name in STOPS), "")
    kept = Ending.CLOSE if work.close or "keepalive_close" in work.faults else Ending.KEEP
    ending = kept if STOPS.get(stop, Ending.KEEP) is Ending.KEEP else STOPS[stop]
    silent = next((name for name in ("empty_body", "immediate_finish") if name in work.faults), "complete")
    feed = offsets if isinstance(offsets, Feed) else None
    if work.stream:
        steps = _streamed(work, offsets, stop, cached)
        return Script(_split(steps) if "split" in work.faults else steps, ending, stop or silent, feed)
    broken = "truncated_json" in work.faults
    outcome = stop or ("truncated_json" if broken else silent)
    if feed is None:  # a feed has but one moment for it
        offsets = islice(offsets, max(0, work.tokens - 1), None)
    steps = _unstreamed(work, offsets, stop, broken, cached)
    return Script(steps, Ending.CLOSE if broken and not stop else ending, outcome, feed)


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


def _moment(offsets: Iterator[int], wait: T) -> Generator[T, None, int]:
    """The next offset; yields `wait` as long as it is not known."""
    at = next(offsets)
    while at < 0:
        yield wait
        at = next(offsets)
    return at


def _streamed(work: Work, offsets: Iterator[int], stop: str, cached: Cached) -> Iterator[Step]:
    framing = b"" if work.until_close else b"transfer-encoding: chunked\r\n"
    yield from _head_steps(work, _head(200, EVENT_STREAM, work.request_id, framing, work.close))
    wrap: Callable[[bytes], bytes] = bytes if work.until_close else _chunk
    last = b"" if work.until_close else LAST_CHUNK
    if "empty_body" in work.faults:
        at = yield from _moment(offsets, WAIT)
        yield at, last, ()
        return
    stream = Stream(work, cached)
    timed = _timed(stream, offsets)
    if "packed" in work.faults:
        timed = _packed(timed, int(work.faults["packed"]))
    limit = int(work.faults[stop]) if stop else -1
    seen = 0
    for at, piece, marks, final in timed:
        if at < 0:
            yield WAIT
            continue
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


def _timed(stream: Stream, offsets: Iterator[int]) -> Iterator[Timed]:
    """Pieces with their offsets; the last one, the trailer, is marked `final`. It leaves right after the last event."""
    early = "early_role" in stream.work.faults
    if early:
        for piece, marks in stream.roles():
            yield 0, piece, marks, False
    at = -1
    for pieces in stream.contents():
        first, at = at < 0, next(offsets)
        while at < 0:  # as `_moment`, which would cost a generator for each event
            yield TIMED_WAIT
            at = next(offsets)
        for piece, marks in [*stream.roles(), *pieces] if first and not early else pieces:
            yield at, piece, marks, False
    if at < 0:
        at = yield from _moment(offsets, TIMED_WAIT)
        for piece, marks in [] if early else stream.roles():
            yield at, piece, marks, False
    yield at, *stream.trailer(), True


def _packed(timed: Iterable[Timed], size: int) -> Iterator[Timed]:
    """`size` pieces in one write, when the last of them is due; the trailer keeps its own."""
    held: list[Timed] = []
    for one in timed:
        if one[0] < 0:
            yield one
            continue
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


def _unstreamed(work: Work, offsets: Iterator[int], stop: str, broken: bool, cached: Cached) -> Iterator[Step]:
    """Head and body in one write when the last token is due; a fault may leave half of the body out."""
    at = yield from _moment(offsets, WAIT)
    body, marks = (b"", ()) if "empty_body" in work.faults else whole(work, cached)
    length = b"" if work.until_close else b"content-length: %d\r\n" % len(body)
    head = _head(200, JSON, work.request_id, length, work.close)
    if broken or (stop and STOPS[stop] is not Ending.KEEP):
        body, marks = body[: len(body) // 2], ()
    if "slow_head" in work.faults or "continue_head" in work.faults:
        yield from _head_steps(work, head, at)
        yield at, body, marks
    else:
        yield at, head + body, marks
