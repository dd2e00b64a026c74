"""Wakes the engine at absolute moments: a bare timerfd on the poller, since loop timers have a grain of a millisecond.

Where there is no timerfd a loop timer wakes early and what is left is spun away, with readers served meanwhile.
Nothing is skipped or re-anchored: a wake-up that comes late finds its moment in the past, and who is due leaves now.
"""

import asyncio
from collections.abc import Callable

from genbench import timerfd
from genbench.clock import now_ns
from genbench.transport.poller import READ, Poller

SPIN_NS = 1_500_000  # a loop timer is late by up to a millisecond, and then some


class Pacer:
    """Calls `wake` once at each moment given to `at`; only the latest given moment counts.

    `exact` False: where there is no timerfd it may be a millisecond late, and nothing is spun.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, poller: Poller, wake: Callable[[], None], *, exact: bool = True
    ) -> None:
        self._loop = loop
        self._poller = poller
        self._wake = wake
        self._handle: asyncio.TimerHandle | None = None
        self._timer = timerfd.TimerFd() if timerfd.available() else None
        self._due_ns = 0
        self._early_ns = SPIN_NS if exact else 0
        self.source = "loop timer and spin" if self._timer is None else "timerfd"
        if self._timer is not None:
            poller.watch(self._timer.fd, self, READ)

    def at(self, t_ns: int) -> None:
        """Wake at `t_ns` of the monotonic clock, at once when that is past."""
        if self._timer is not None:
            self._timer.set(max(t_ns, 1))  # 0 would disarm it
            return
        if self._handle is not None:
            self._handle.cancel()
        self._due_ns = t_ns
        self._handle = self._loop.call_later(max(0, t_ns - self._early_ns - now_ns()) / 1e9, self._spin)

    def _spin(self) -> None:
        while self._early_ns and now_ns() < self._due_ns:
            self._poller.dispatch()
        self._wake()

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
