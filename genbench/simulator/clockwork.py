"""One timer for all streams: a heap of due times, and a timerfd for the earliest of them.

Rules
- Due times are absolute ns of `clock.now_ns` (CLOCK_MONOTONIC, which is also the timerfd's clock).
- A loop's own timers are too coarse (uvloop: 1 ms); they are used only where there is no timerfd.
- What is overdue goes round robin: an item that was just run is put back behind what was due before now, so that one
  stream without gaps does not hold up the others. After `SLICE` items the loop gets its turn.
"""

import asyncio
import heapq
from itertools import count
from typing import Protocol

from genbench import timerfd
from genbench.clock import now_ns

SLICE = 256
DONE = -1


class Timed(Protocol):
    """Something that has to happen at certain moments; `over` when nothing more shall happen."""

    due_ns: int
    over: bool

    def run(self) -> int:
        """Do what is due; returns the next due time, or DONE when there is none (for now)."""


class Clockwork:
    """Runs every `Timed` at its moments, on one loop, `at_once` of them before the loop gets its turn."""

    def __init__(self, loop: asyncio.AbstractEventLoop, at_once: int = SLICE) -> None:
        self._loop = loop
        self._at_once = at_once
        self._heap: list[tuple[int, int, Timed]] = []
        self._order = count()
        self._armed_ns = 0  # what the timer is set to, 0 when it is not
        self._soon = False
        self._coarse: asyncio.TimerHandle | None = None
        self._timer: timerfd.TimerFd | None = None
        if timerfd.available():
            self._timer = timerfd.TimerFd()
            loop.add_reader(self._timer.fd, self._pump)

    def add(self, item: Timed) -> None:
        """Run `item` from its `due_ns` on."""
        due_ns = item.due_ns
        heapq.heappush(self._heap, (due_ns, next(self._order), item))
        if not self._soon and (not self._armed_ns or due_ns < self._armed_ns):
            self._arm()

    def close(self) -> None:
        """Stop; nothing runs any more."""
        self._heap.clear()
        if self._timer:
            self._loop.remove_reader(self._timer.fd)
            self._timer.close()
            self._timer = None

    def _pump_soon(self) -> None:
        self._soon = False
        self._pump()

    def _pump(self) -> None:
        heap, order = self._heap, self._order
        for _ in range(self._at_once):
            now = now_ns()
            if not heap or heap[0][0] > now:
                break
            item = heapq.heappop(heap)[2]
            if item.over:
                continue
            due_ns = item.run()
            if due_ns >= 0:
                heapq.heappush(heap, (due_ns if due_ns > now else now, next(order), item))
        self._arm()

    def _arm(self) -> None:
        """Have `_pump` called when the earliest item is due; right after the loop's next poll when it is overdue."""
        due_ns = self._heap[0][0] if self._heap else 0
        if due_ns and due_ns <= now_ns():
            if not self._soon:
                self._soon = True
                self._loop.call_soon(self._pump_soon)
            due_ns = 0
        if self._timer:
            if due_ns or self._armed_ns:
                self._timer.set(due_ns)
        elif self._coarse or due_ns:
            if self._coarse:
                self._coarse.cancel()
            self._coarse = (
                self._loop.call_at(self._loop.time() + (due_ns - now_ns()) / 1e9, self._pump) if due_ns else None
            )
        self._armed_ns = due_ns
