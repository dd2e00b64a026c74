"""What can be said while a run is under way, at a cost that does not show.

TTFT goes into buckets of 2 % width, so that a percentile costs one walk over a fixed number of them.
"""

import math
from dataclasses import dataclass

from genbench.types import CONTENT_KINDS, NOT_FAILED, Outcome, Phase, Record

GROWTH = math.log(1.02)
FLOOR_NS = 1_000
BUCKETS = 1_300  # 1 us * 1.02^1300 is above a day


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One moment of a run. `total` and `left_s` are None where they are not known; times in ms, rates per second."""

    elapsed_s: float
    done: int
    total: int | None
    in_flight: int
    failed: int
    warming_up: bool
    tokens_per_s: float
    ttft_p50_ms: float | None
    ttft_p99_ms: float | None
    left_s: float | None


class Live:
    """Counts as records are decoded; `done` is the engine's, which knows before they are."""

    def __init__(self) -> None:
        self.done = self.failed = 0
        self.ended_at_all = self.failed_at_all = 0  # the warm-up's, too
        self._counts = [0] * BUCKETS
        self._n = 0
        self._seen = (0, 0)  # time and content events of the last rate

    def add(self, record: Record) -> None:
        """Take a decoded record."""
        self.ended_at_all += 1
        self.failed_at_all += record.outcome not in NOT_FAILED
        if record.phase != Phase.MEASURED:
            return
        if record.outcome not in NOT_FAILED:
            self.failed += 1
        elif record.outcome == Outcome.OK and record.streamed:
            first = next(t for kind, t in zip(record.event_kind, record.event_ns, strict=True) if kind in CONTENT_KINDS)
            ttft = max(first - record.sent_ns, FLOOR_NS)
            self._counts[min(BUCKETS - 1, int(math.log(ttft / FLOOR_NS) / GROWTH))] += 1
            self._n += 1

    def tokens_per_s(self, now: int, content_events: int) -> float:
        """Content events per second since the last call (one token each, where the server sends them one by one)."""
        then, before = self._seen
        self._seen = (now, content_events)
        return (content_events - before) * 1e9 / (now - then) if then and now > then else 0.0

    def ttft_ms(self, q: float) -> float | None:
        """Percentile of TTFT so far to within 2 %, None before the first."""
        if not self._n:
            return None
        rank, seen = q * self._n, 0
        for i, count in enumerate(self._counts):
            seen += count
            if seen >= rank:
                return FLOOR_NS * math.exp((i + 0.5) * GROWTH) / 1e6
        return None
