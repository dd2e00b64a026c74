"""Linux's timer that wakes a poll at an absolute moment to the microsecond; Python has it only from 3.13 on.

See timerfd_create(2). Where the platform has none, `available()` says so and the caller uses its loop's own timers.
"""

import ctypes
import os
import sys

_CLOCK_MONOTONIC = 1  # the clock of `clock.now_ns`
_ABSOLUTE = 1


def available() -> bool:
    """Whether this platform has timerfds."""
    return sys.platform == "linux"


class _Spec(ctypes.Structure):
    _fields_ = [(name, ctypes.c_long) for name in ("interval_s", "interval_ns", "value_s", "value_ns")]


class TimerFd:
    """A timer on CLOCK_MONOTONIC; its descriptor `fd` is readable from the set time on, until it is set again.

    Raises OSError when the system gives no descriptor.
    """

    def __init__(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self.fd: int = libc.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._spec = _Spec()
        self._settime = libc.timerfd_settime
        self._settime.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
        self._address = ctypes.addressof(self._spec)

    def set(self, due_ns: int) -> None:
        """Readable from `due_ns` on; 0 disarms. Setting also clears what had expired, so nothing is ever read."""
        self._spec.value_s, self._spec.value_ns = divmod(due_ns, 1_000_000_000)
        self._settime(self.fd, _ABSOLUTE, self._address, None)

    def close(self) -> None:
        """Give the descriptor back; stop watching it before."""
        os.close(self.fd)
