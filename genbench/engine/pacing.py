"""Wakes the engine at absolute moments: a bare timerfd on the poller, since loop timers have a grain of a millisecond.

Nothing is skipped or re-anchored: a wake-up that comes late finds its moment in the past, and who is due leaves now.
"""

import asyncio
import ctypes
import os
import sys
from collections.abc import Callable

from genbench.clock import now_ns
from genbench.transport.poller import READ, Poller

CLOCK_MONOTONIC = 1
TFD_TIMER_ABSTIME = 1


class _Itimerspec(ctypes.Structure):
    """struct itimerspec, see timerfd_create(2)."""

    _fields_ = (
        ("interval_s", ctypes.c_long),
        ("interval_ns", ctypes.c_long),
        ("value_s", ctypes.c_long),
        ("value_ns", ctypes.c_long),
    )


class Pacer:
    """Calls `wake` once at each moment given to `at`; only the latest given moment counts."""

    def __init__(self, loop: asyncio.AbstractEventLoop, poller: Poller, wake: Callable[[], None]) -> None:
        self._loop = loop
        self._poller = poller
        self._wake = wake
        self._handle: asyncio.TimerHandle | None = None
        self._libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
        self._fd = -1
        if self._libc is not None:
            self._fd = self._libc.timerfd_create(CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        self.source = "timerfd" if self._fd >= 0 else "loop timer"
        if self._fd >= 0:
            poller.watch(self._fd, self, READ)

    def at(self, t_ns: int) -> None:
        """Wake at `t_ns` of the monotonic clock, at once when that is past."""
        if self._fd >= 0 and self._libc is not None:
            t_ns = max(t_ns, 1)  # 0 would disarm it
            spec = _Itimerspec(0, 0, t_ns // 1_000_000_000, t_ns % 1_000_000_000)
            self._libc.timerfd_settime(self._fd, TFD_TIMER_ABSTIME, ctypes.byref(spec), None)
            return
        if self._handle is not None:
            self._handle.cancel()
        self._handle = self._loop.call_later(max(0, t_ns - now_ns()) / 1e9, self._wake)

    def ready(self, mask: int) -> None:
        """Called by the poller."""
        try:
            os.read(self._fd, 8)
        except BlockingIOError:  # re-armed between the poll and now
            return
        self._wake()

    def close(self) -> None:
        """Give the descriptor back."""
        if self._handle is not None:
            self._handle.cancel()
        if self._fd >= 0:
            self._poller.forget(self._fd)
            os.close(self._fd)
            self._fd = -1
