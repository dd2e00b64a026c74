"""Wakes the engine at absolute moments: a bare timerfd on the poller, since loop timers have a grain of a millisecond.

Nothing is skipped or re-anchored: a wake-up that comes late finds its moment in the past, and who is due leaves now.
"""

import asyncio
from collections.abc import Callable

from genbench import timerfd
from genbench.clock import now_ns
from genbench.transport.poller import READ, Poller


class Pacer:
    """Calls `wake` once at each moment given to `at`; only the latest given moment counts."""

    def __init__(self, loop: asyncio.AbstractEventLoop, poller: Poller, wake: Callable[[], None]) -> None:
        self._loop = loop
        self._poller = poller
        self._wake = wake
        self._handle: asyncio.TimerHandle | None = None
        self._timer = timerfd.TimerFd() if timerfd.available() else None
        self.source = "loop timer" if self._timer is None else "timerfd"
        if self._timer is not None:
            poller.watch(self._timer.fd, self, READ)

    def at(self, t_ns: int) -> None:
        """Wake at `t_ns` of the monotonic clock, at once when that is past."""
        if self._timer is not None:
            self._timer.set(max(t_ns, 1))  # 0 would disarm it
            return
        if self._handle is not None:
            self._handle.cancel()
        self._handle = self._loop.call_later(max(0, t_ns - now_ns()) / 1e9, self._wake)

    def ready(self, mask: int) -> None:
        """Called by the poller."""
        if self._timer is not None:
            self._timer.set(0)  # else it stays readable
            self._wake()

    def close(self) -> None:
        """Give the descriptor back."""
        if self._handle is not None:
            self._handle.cancel()
        if self._timer is not None:
            self._poller.forget(self._timer.fd)
            self._timer.close()
            self._timer = None
