"""Wakes the engine at absolute moments: a bare timerfd on the poller, since loop timers have a grain of a millisecond.

Where there is no timerfd a loop timer wakes early and what is left is spun away, with readers served meanwhile.
Nothing is skipped or re-anchored: a wake-up that comes late finds its moment in the past, and who is due leaves now.
"""

import asyncio
from collections.abc import Callable

from genbench import timerfd
from genbench.clock import now_ns
from genbench.transport.poller import READ, Poller

NEVER = 1 << 62
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
        mine = self._handle
        while self._early_ns and self._handle is mine and now_ns() < self._due_ns:
            self._poller.dispatch()
        if self._handle is mine:  # else a reader that was served meanwhile gave another moment
            self._handle = None
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
            self._handle = None
        if self._timer is not None:
            self._poller.forget(self._timer.fd)
            self._timer.close()
            self._timer = None


class Alarm:
    """A pacer that exists from the first moment on that it is needed for; `source` is what wakes it, empty before.

    A moment that is set already costs nothing to set again.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, poller: Poller, wake: Callable[[], None]) -> None:
        self._loop = loop
        self._poller = poller
        self._wake = wake
        self._pacer: Pacer | None = None
        self._at_ns = NEVER

    @property
    def source(self) -> str:
        """See `Pacer.source`."""
        return "" if self._pacer is None else self._pacer.source

    def at(self, t_ns: int) -> None:
        """Wake at `t_ns` instead of when it was set to; NEVER leaves it as it is: waking too often does no harm."""
        if t_ns in (NEVER, self._at_ns):
            return
        if self._pacer is None:
            self._pacer = Pacer(self._loop, self._poller, self._ring)
        self._at_ns = t_ns
        self._pacer.at(t_ns)

    def _ring(self) -> None:
        self._at_ns = NEVER
        self._wake()

    def close(self) -> None:
        """See `Pacer.close`."""
        if self._pacer is not None:
            self._pacer.close()
