"""The one clock: integer nanoseconds of CLOCK_MONOTONIC, and how to bring wall-clock stamps onto it.

Rules: `now_ns` is the only source of "now" on the client's side. The kernel stamps received segments with
CLOCK_REALTIME (SO_TIMESTAMPNS); `Offset` turns such a stamp into monotonic time. A step of the wall clock during a
run is seen by `drift_ns` and counted by whoever asks; the offset is never changed silently.
"""

import time
from dataclasses import dataclass

now_ns = time.perf_counter_ns

BRACKETS = 1000
STEP_NS = 20_000  # beyond this, plus the bracket's own width, two offsets differ because the wall clock was stepped


@dataclass(frozen=True, slots=True)
class Offset:
    """Wall clock minus monotonic clock.

    `ns` is in nanoseconds; `width_ns` is the width of the bracket it was read in, so its error is at most half of it.
    """

    ns: int
    width_ns: int

    def to_monotonic(self, wall_ns: int) -> int:
        """Monotonic time of a wall-clock stamp."""
        return wall_ns - self.ns


def take_offset(brackets: int = BRACKETS) -> Offset:
    """Offset from the narrowest of `brackets` readings m0, wall, m1, as wall - (m0 + m1) / 2.

    The narrowest bracket, not the smallest difference: the plain minimum was off by up to 94 us.
    """
    best = Offset(0, 1 << 62)
    monotonic, wall = time.perf_counter_ns, time.time_ns
    for _ in range(brackets):
        m0 = monotonic()
        w = wall()
        m1 = monotonic()
        if m1 - m0 < best.width_ns:
            best = Offset(w - (m0 + m1) // 2, m1 - m0)
    return best


def drift_ns(kept: Offset, fresh: Offset) -> int:
    """How far the wall clock moved against the kept offset; 0 while it is within the readings' own uncertainty."""
    moved = fresh.ns - kept.ns
    return moved if abs(moved) > STEP_NS + kept.width_ns + fresh.width_ns else 0
