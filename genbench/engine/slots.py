"""The slots of a closed loop: how many are open, and when the next one opens.

Without a ramp-up all of them are, but warm-up requests go alone first: no more slots than those until the first
measured request leaves. With one, slot j of N opens j/N of its time after the start, whatever is in flight then.
"""

from genbench.engine.pacing import NEVER
from genbench.types import Schedule


class Slots:
    """`open` of them may be taken; 0 for an open loop, which has none."""

    def __init__(self, schedule: Schedule) -> None:
        self._all = schedule.concurrency or 1
        self._ramp_up_ns = schedule.ramp_up_ns
        self._closed_loop = schedule.offset_ns is None
        self._warmup = schedule.warmup
        self.open = 0

    def begin(self) -> None:
        """The run begins; without a ramp-up slots open at once."""
        if self._closed_loop and not self._ramp_up_ns:
            self.open = min(self._all, self._warmup or self._all)

    def measuring(self) -> None:
        """The first measured request leaves."""
        if self._closed_loop and not self._ramp_up_ns:
            self.open = self._all

    def next_ns(self, start_ns: int) -> int:
        """When the clock opens the next one."""
        if not self._closed_loop or not self._ramp_up_ns or self.open >= self._all:
            return NEVER
        return start_ns + self._ramp_up_ns * self.open // self._all
