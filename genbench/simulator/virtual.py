"""The scheduler in virtual time: no server, no waiting, the records made directly. For statistics on many requests.

    table = run(costs, arrivals_ns, isl, osl)                    # open loop; concurrency is a cap
    table = run(costs, None, isl, osl, concurrency=8)            # closed loop
    session = Session(costs, asks(arrivals_ns, isl, osl))        # piece by piece, from an endless iterator if need be
    while not judged(session.run_until(t_ns := t_ns + SECOND)): ...

Time starts at 0. A request is sent when it arrives, or when the cap lets it; it reaches the engine in no time and its
tokens reach the client in no time. So a record has what an ideal client would have seen of this engine: `sent_ns`,
`ready_ns`, `start_ns` and `headers_ns` are the same moment. Lengths are those the server would tell.
"""

from array import array
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import MISSING as DATACLASS_MISSING
from dataclasses import fields
from itertools import repeat
from typing import Any, NamedTuple

import numpy as np

from genbench.records import Ints, RecordTable
from genbench.simulator.costs import Costs
from genbench.simulator.scheduler import Scheduler, Sequence
from genbench.types import MISSING, EventKind, Outcome, Record

FAR_NS = 1 << 62
REFUSED = 400


class Ask(NamedTuple):
    """One request: when it wants to be sent (0 and never earlier than the one before), and its lengths in tokens."""

    arrival_ns: int
    isl: int
    osl: int
    cached: int = 0


class Sent(Sequence):
    """A request under way or done: its index, and the moments that the engine does not know."""

    __slots__ = ("end_ns", "index", "intended_ns", "refused")

    def __init__(self, index: int, ask: Ask, sent_ns: int) -> None:
        super().__init__(sent_ns, ask.isl, ask.osl, cached=ask.cached)
        self.index, self.intended_ns = index, ask.arrival_ns
        self.end_ns = MISSING
        self.refused = False


def asks(arrivals_ns: Ints | None, isl: Ints, osl: Ints, cached: Ints | None = None) -> Iterator[Ask]:
    """Requests of columns. Without arrivals each wants to leave as soon as it may."""
    moments = repeat(0) if arrivals_ns is None else arrivals_ns.tolist()
    known = repeat(0) if cached is None else cached.tolist()
    return map(Ask, moments, isl.tolist(), osl.tolist(), known)


def run(
    costs: Costs,
    arrivals_ns: Ints | None,
    isl: Ints,
    osl: Ints,
    *,
    concurrency: int | None = None,
    cached: Ints | None = None,
    seed: int = 0,
    all_events: bool = False,
) -> RecordTable:
    """The records of these requests, by index; int64[n] each, all requests measured.

    Open loop with `arrivals_ns` (non-decreasing, `concurrency` a cap), else closed with `concurrency` in flight.
    `all_events` False: two events for each request, the first token and the last, which carries the count of the
    others: ttft, tpot, request_latency and lengths are exact, what lies between is not. Raises ValueError for neither
    arrivals nor concurrency.
    """
    if arrivals_ns is None and concurrency is None:
        raise ValueError("a closed loop needs its concurrency")
    session = Session(
        costs, asks(arrivals_ns, isl, osl, cached), concurrency=concurrency, closed=arrivals_ns is None, seed=seed,
        all_events=all_events,
    )  # fmt: skip
    return session.run_until(None)


class Session:
    """One engine and the load on it, as far as it has come.

    `run_until` goes on and hands out what ended; the blocks together are what one call without end would have given,
    whatever their lengths. `scheduler` is open to be read: queue, batch, KV room, counts.
    """

    def __init__(
        self,
        costs: Costs,
        requests: Iterable[Ask],
        *,
        concurrency: int | None = None,
        closed: bool = False,
        seed: int = 0,
        all_events: bool = False,
    ) -> None:
        self.scheduler = Scheduler(costs, seed)
        self.now_ns = 0  # the end of the last step; up to a step after what `run_until` was asked for
        self._costs = costs
        self._requests = iter(requests)
        self._next = next(self._requests, None)
        self._cap = concurrency
        self._closed = closed
        self._all_events = all_events
        self._sent_ns = array("q")
        self._queue_ns = array("q")
        self._end_ns = array("q")
        self._ends = array("q")  # of the steps in which sequences decoded
        self._under_way: dict[Sent, None] = {}
        self._ended: deque[Sent] = deque()  # not yet handed out, in order of their end

    @property
    def done(self) -> bool:
        """Whether every request has ended."""
        return self._next is None and not self._under_way

    def run_until(self, t_ns: int | None) -> RecordTable:
        """Go on to this moment (None: until all is done) and return the requests that ended since, by index."""
        limit = FAR_NS if t_ns is None else t_ns
        self._go(limit)
        rows = []
        while self._ended and self._ended[0].end_ns <= limit:
            rows.append(self._ended.popleft())
        return self._table(sorted(rows, key=lambda one: one.index), Outcome.OK)

    def under_way(self) -> RecordTable:
        """Requests sent and not ended at `now_ns`, by index, as if they were cancelled there."""
        return self._table(list(self._under_way), Outcome.CANCELLED)

    def in_flight(self, at_ns: Ints) -> Ints:
        """How many were sent and not ended at these moments, up to `now_ns`; one that ends at a moment has ended."""
        sent, ended = np.array(self._sent_ns, dtype=np.int64), np.array(self._end_ns, dtype=np.int64)
        return np.searchsorted(sent, at_ns, "right") - np.searchsorted(ended, at_ns, "right")

    def queue_ns(self) -> Ints:
        """How long each request waited for its admission, by index; -1 before its end and for a refused one."""
        return np.array(self._queue_ns, dtype=np.int64)

    def _go(self, limit_ns: int) -> None:
        scheduler, ends = self.scheduler, self._ends
        while self.now_ns < limit_ns:
            self._send_due(0)
            stop_ns = limit_ns if scheduler.full else min(limit_ns, self._next_ns())
            now_ns = scheduler.coast(self.now_ns, stop_ns, ends)
            if now_ns != self.now_ns:
                self.now_ns = now_ns
                continue
            length = scheduler.begin(now_ns)
            if length is None:
                next_ns = self._next_ns()
                self.now_ns = min(next_ns, limit_ns) if limit_ns < FAR_NS or next_ns < FAR_NS else now_ns
                if next_ns >= limit_ns:
                    break
                continue
            self.now_ns += length
            self._send_due(0)  # what came during the step, before the cap lets others go
            before = scheduler.decodes
            _, finished = scheduler.end(self.now_ns)
            if scheduler.decodes > before:
                ends.append(self.now_ns)
            for one in finished:
                assert isinstance(one, Sent)
                del self._under_way[one]
                self._queue_ns[one.index] = one.admitted_ns - one.arrival_ns
                self._end(one, self.now_ns)
            if finished:
                self._send_due(self.now_ns)
        self._send_due(0)

    def _next_ns(self) -> int:
        """When the next request will be sent if nothing ends until then; far away when the cap holds it."""
        if self._next is None or (self._cap is not None and len(self._under_way) >= self._cap):
            return FAR_NS
        return self._next.arrival_ns

    def _send_due(self, freed_ns: int) -> None:
        """Send what has arrived by now and the cap lets go, none earlier than `freed_ns`."""
        while self._next_ns() <= self.now_ns:
            ask = self._next
            assert ask is not None
            sent_ns = max(ask.arrival_ns, freed_ns)
            one = Sent(len(self._sent_ns), ask, sent_ns)
            if self._closed:
                one.intended_ns = sent_ns
            self._sent_ns.append(sent_ns)
            self._queue_ns.append(MISSING)
            if self._costs.fits(ask.isl, ask.osl):
                self._under_way[one] = None
                self.scheduler.add(one)
            else:
                one.refused = True
                self._end(one, sent_ns)
            self._next = next(self._requests, None)

    def _end(self, one: Sent, end_ns: int) -> None:
        one.end_ns = end_ns
        self._end_ns.append(end_ns)
        self._ended.append(one)

    # -- records --

    def _table(self, rows: list[Sent], outcome: Outcome) -> RecordTable:
        count = len(rows)
        columns = _missing(count) | self._events(rows)
        sent_ns = _ints(one.arrival_ns for one in rows)
        refused = [one.refused for one in rows]
        ok = np.array([outcome is Outcome.OK and not no for no in refused], dtype=np.bool_)
        isl, osl = _ints(one.isl for one in rows), _ints(one.osl for one in rows)
        columns |= {
            "index": _ints(one.index for one in rows),
            "intended_ns": _ints(one.intended_ns for one in rows),
            "ready_ns": sent_ns,
            "start_ns": sent_ns,
            "sent_ns": sent_ns,
            "sent_end_ns": sent_ns,
            "headers_ns": sent_ns,
            "end_ns": _ints(self.now_ns if one.end_ns == MISSING else one.end_ns for one in rows),
            "streamed": np.ones(count, dtype=np.bool_),
            "isl_wanted": isl,
            "osl_wanted": osl,
            "isl_usage": np.where(ok, isl, MISSING),
            "osl_usage": np.where(ok, osl, MISSING),
            "cached_tokens": np.where(ok, _ints(one.cached for one in rows), MISSING),
            "status": _ints(REFUSED if no else 200 for no in refused),
            "done": ok,
            "finish_reason": ["length" if whole else "" for whole in ok],
            "outcome": [str(Outcome.HTTP_ERROR if no else outcome) for no in refused],
            "error": ["longer than the model's context" if no else "" for no in refused],
        }
        return RecordTable(**columns)

    def _events(self, rows: list[Sent]) -> dict[str, Any]:
        """The event columns: the runs of tokens that each request had, between two preemptions, laid end to end."""
        ends = np.array(self._ends, dtype=np.int64)
        first_ns, start, length, of_row = [], [], [], []
        for row, one in enumerate(rows):
            tokens = [join[2] for join in one.joins[1:]] + [one.tokens(self.scheduler.decodes)]
            for (t_ns, decodes, before), after in zip(one.joins, tokens, strict=False):
                first_ns.append(t_ns)
                start.append(decodes)
                length.append(after - before)
                of_row.append(row)
        lengths = _ints(length)
        skipped = np.repeat(np.cumsum(lengths) - lengths, lengths)
        place = np.arange(lengths.sum()) - skipped  # in its run; the first token has a moment of its own
        steps = np.repeat(_ints(start), lengths) + place - 1
        event_ns = np.repeat(_ints(first_ns), lengths)
        event_ns[place > 0] = ends[steps[place > 0]]
        counts = np.bincount(_ints(of_row), weights=lengths, minlength=len(rows)).astype(np.int64)
        event_tokens = np.ones(event_ns.size, dtype=np.int32)
        if not self._all_events:
            last = np.cumsum(counts) - 1
            some, several = counts > 0, counts > 1
            keep = np.union1d((last - counts + 1)[some], last[several])
            event_ns, event_tokens = event_ns[keep], event_tokens[keep]
            event_tokens[np.cumsum(np.minimum(counts, 2))[several] - 1] = counts[several] - 1
            counts = np.minimum(counts, 2)
        size = event_ns.size
        return {
            "event_start": np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(counts))),
            "event_ns": event_ns,
            "event_kind": np.full(size, EventKind.CONTENT, dtype=np.uint8),
            "event_choice": np.zeros(size, dtype=np.int16),
            "event_tokens": event_tokens,
            "event_shared": np.zeros(size, dtype=np.bool_),
        }


def _ints(values: Iterable[int]) -> Ints:
    return np.array(list(values), dtype=np.int64)


def _missing(count: int) -> dict[str, Any]:
    """The columns of so many records of which nothing is known."""
    found: dict[str, Any] = {"tokens_amended": np.zeros(count, dtype=np.bool_)}
    for column in fields(Record):
        if isinstance(column.default, str):
            found[column.name] = [str(column.default)] * count
        elif column.default is not DATACLASS_MISSING:
            kind = np.bool_ if isinstance(column.default, bool) else np.int64
            found[column.name] = np.full(count, column.default, dtype=kind)
    return found
