"""What can be said while a run is under way, at a cost that does not show.

Times go into buckets of 2 % width, so that percentiles cost one walk over some tens of them. Gaps between tokens are
read off ended answers, at most `GAPS_PER_LOOK` of them between two looks (15 us for one of 100 tokens), and off none
when nobody looks. The drawing process reads `Snapshot` too: numpy is imported only where gaps are counted.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from genbench.types import CONTENT_KINDS, MISSING, NOT_FAILED, Outcome, Phase, Record

if TYPE_CHECKING:
    from genbench.engine.judge import Judge

GROWTH = math.log(1.02)
FLOOR_NS = 1_000
LOG_FLOOR = math.log(FLOOR_NS)
SHOWN = (0.5, 0.9, 0.99)
GAPS_PER_LOOK = 50  # with four looks a second: 200 answers/s, 2 ms/s
IS_CONTENT = bytes(kind in CONTENT_KINDS for kind in range(256))


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One moment of a run. Times in ms unless the name says s, rates per second, None where it is not known.

    `total` and `duration_s` are what the run was given (`total` in requests, so it is None where conversations may have
    any number of turns), `waiting` those that wait for the cap of an open loop;
    `failures` counts by outcome; `ttft_ms`, `itl_ms`, `latency_ms` are p50, p90, p99 so far; `lag_ms` is the loop's
    worst lag of the last whole second, `cpu_pct` the client's share of a core then. `over`: the last one there is.
    """

    elapsed_s: float
    duration_s: float | None
    left_s: float | None
    done: int
    total: int | None
    in_flight: int
    waiting: int | None
    failures: Mapping[str, int]
    warming_up: bool
    streams: bool
    tokens_per_s: float
    ttft_ms: Sequence[float] | None
    itl_ms: Sequence[float] | None
    latency_ms: Sequence[float] | None
    lag_ms: float | None
    cpu_pct: float | None
    over: bool = False

    @property
    def failed(self) -> int:
        """All that failed."""
        return sum(self.failures.values())


class Spread:
    """Durations, counted in buckets; only those that something fell into exist."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self._known: tuple[Sequence[float], list[float]] | None = None  # what the last walk found

    def add(self, duration_ns: int) -> None:
        """Count one."""
        self._known = None
        self._counts[int((math.log(max(duration_ns, FLOOR_NS)) - LOG_FLOOR) / GROWTH)] += 1

    def add_gaps(self, times_ns: Sequence[int], wanted: bytes) -> None:
        """Count the gaps between those of the instants whose byte in `wanted` is 1."""
        import numpy as np

        self._known = None
        begin, end = wanted.find(1), wanted.rfind(1) + 1
        times = np.array(times_ns[begin:end], np.int64)
        if wanted.count(1) != end - begin:
            times = times[np.frombuffer(wanted[begin:end], np.bool_)]
        gaps = np.maximum(times[1:] - times[:-1], FLOOR_NS)
        self._counts.update(((np.log(gaps) - LOG_FLOOR) / GROWTH).astype(np.int64).tolist())

    def percentiles_ms(self, shares: Sequence[float]) -> list[float] | None:
        """Percentiles so far to within 2 %, None before the first; `shares` in rising order."""
        if not self._counts:
            return None
        if self._known is not None and self._known[0] == shares:
            return self._known[1]
        found: list[float] = []
        total, seen = self._counts.total(), 0
        for place in sorted(self._counts):
            seen += self._counts[place]
            while len(found) < len(shares) and seen >= shares[len(found)] * total:
                found.append(FLOOR_NS * math.exp((place + 0.5) * GROWTH) / 1e6)
        self._known = (shares, found)
        return found


class Live:
    """Counts as records are decoded; `done` is the engine's, which knows before they are.

    The judges that may end a run are told of every measured request.
    """

    def __init__(self) -> None:
        self.judges: tuple[Judge, ...] = ()
        self.done = 0
        self.failures: dict[str, int] = {}
        self.ended_at_all = self.failed_at_all = 0  # the warm-up's, too
        self.ttft, self.itl, self.latency = Spread(), Spread(), Spread()
        self._ok = self._streamed = 0
        self._gaps_left = GAPS_PER_LOOK
        self._seen = (0, 0)  # time and content events of the last rate

    @property
    def failed(self) -> int:
        """Measured requests that failed."""
        return sum(self.failures.values())

    @property
    def streams(self) -> bool:
        """Whether answers come token by token; taken for granted until one ended that did not."""
        return self._streamed > 0 or not self._ok

    def add(self, record: Record) -> None:
        """Take a decoded record."""
        self.ended_at_all += 1
        self.failed_at_all += record.outcome not in NOT_FAILED
        if record.phase != Phase.MEASURED:
            return
        for judge in self.judges:
            judge.add(record)
        if record.outcome not in NOT_FAILED:
            self.failures[record.outcome.value] = self.failures.get(record.outcome.value, 0) + 1
        elif record.outcome == Outcome.OK:
            self._ok += 1
            if record.streamed:
                self._add_stream(record)
            else:
                self.latency.add(record.end_ns - record.sent_ns)

    def _add_stream(self, record: Record) -> None:
        self._streamed += 1
        wanted = bytes(record.event_kind).translate(IS_CONTENT)
        first = wanted.find(1)
        if first < 0:
            return
        self.ttft.add(record.event_ns[first] - record.sent_ns)
        if self._gaps_left and record.choices == 1:
            self._gaps_left -= 1
            self.itl.add_gaps(record.event_ns, wanted)

    def look(self, now: int, content_events: int) -> float:
        """Open the next look; returns `tokens_per_s`."""
        self._gaps_left = GAPS_PER_LOOK
        return self.tokens_per_s(now, content_events)

    def tokens_per_s(self, now: int, content_events: int) -> float:
        """Content events per second since the last call (one token each, where the server sends them one by one)."""
        then, before = self._seen
        self._seen = (now, content_events)
        return (content_events - before) * 1e9 / (now - then) if then and now > then else 0.0

    def ttft_ms(self, q: float) -> float | None:
        """A percentile of TTFT so far to within 2 %, None before the first."""
        found = self.ttft.percentiles_ms((q,))
        return None if found is None else found[0]

    def snapshot(
        self,
        now: int,
        *,
        measured_ns: int,
        duration_ns: int | None,
        total: int | None,
        in_flight: int,
        waiting: int | None,
        content_events: int,
        series: Mapping[str, Sequence[float]],
        over: bool,
    ) -> Snapshot:
        """This moment; `measured_ns` is when the measuring began, `series` the client's own (`health.Watch`)."""
        elapsed = (now - measured_ns) / 1e9 if measured_ns != MISSING else 0.0
        duration = None if duration_ns is None else duration_ns / 1e9
        left = None if duration is None else max(0.0, duration - elapsed)
        if total and self.done and elapsed:
            by_count = max(0, total - self.done) * elapsed / self.done
            left = by_count if left is None else min(left, by_count)
        lags, shares = series["loop_lag_max_ns"], series["cpu_pct"]
        return Snapshot(
            elapsed_s=elapsed,
            duration_s=duration,
            left_s=left,
            done=self.done,
            total=total,
            in_flight=in_flight,
            waiting=waiting,
            failures=dict(self.failures),
            warming_up=measured_ns == MISSING,
            streams=self.streams,
            tokens_per_s=self.look(now, content_events),
            ttft_ms=self.ttft.percentiles_ms(SHOWN),
            itl_ms=self.itl.percentiles_ms(SHOWN),
            latency_ms=self.latency.percentiles_ms(SHOWN),
            lag_ms=lags[-1] / 1e6 if lags else None,
            cpu_pct=shares[-1] if shares else None,
            over=over,
        )
