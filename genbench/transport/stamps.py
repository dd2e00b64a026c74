"""When did a segment arrive? The kernel's answer, brought onto the monotonic clock and checked.

Rules
- `SO_TIMESTAMPNS` is set before connect; `recvmsg` then returns one timespec (CLOCK_REALTIME): the last segment's.
- The offset to the monotonic clock is kept for the whole run. `check()`, called about every second, takes a fresh one:
  a difference beyond the readings' own uncertainty is a step of the wall clock, counted, and the fresh one is used on.
- A stamp must lie between the connection's last clock point and now. One that does not is replaced by the read time,
  counted, and makes the offset be checked at once. A read without a stamp uses the read time and is counted.
"""

import socket
import struct
import sys
from typing import Any

from genbench.clock import drift_ns, now_ns, take_offset

# <asm-generic/socket.h>; the constant is missing in Python's socket module.
SO_TIMESTAMPNS = 35 if sys.platform == "linux" else None
TIMESPEC = struct.Struct("@ll")
SPACE = socket.CMSG_SPACE(TIMESPEC.size) if SO_TIMESTAMPNS else 0
READ_BYTES = 1 << 16


class Stamps:
    """Reads sockets and says when what was read had arrived."""

    def __init__(self) -> None:
        self.offset = take_offset()
        self.kernel = 0  # reads with a usable kernel stamp
        self.missing = 0  # reads without one
        self.implausible = 0
        self.steps = 0

    @staticmethod
    def enable(sock: socket.socket) -> bool:
        """Ask for stamps, before connect; False where the platform has none."""
        if SO_TIMESTAMPNS is None:
            return False
        try:
            sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        except OSError:
            return False
        return True

    def receive(self, sock: socket.socket, after_ns: int) -> tuple[bytes, int]:
        """Read once: (bytes, arrival in monotonic ns). `after_ns` is the connection's last clock point.

        Raises what recvmsg raises (BlockingIOError, ConnectionResetError, ...).
        """
        data, ancillary, _, _ = sock.recvmsg(READ_BYTES, SPACE)
        now = now_ns()
        if not ancillary:
            if data:
                self.missing += 1
            return data, now
        seconds, nanoseconds = TIMESPEC.unpack(ancillary[0][2][: TIMESPEC.size])
        t = seconds * 1_000_000_000 + nanoseconds - self.offset.ns
        if after_ns - self.offset.width_ns <= t <= now + self.offset.width_ns:
            self.kernel += 1
            return data, max(after_ns, min(t, now))
        self.implausible += 1
        self.check()
        return data, now

    def check(self) -> None:
        """Compare with a fresh offset; a step is counted and the fresh one used from here on."""
        fresh = take_offset(100)
        if drift_ns(self.offset, fresh):
            self.steps += 1
            self.offset = fresh

    def facts(self) -> dict[str, Any]:
        """For the run's header."""
        source = "kernel stamps" if self.kernel else "the read clock"
        if self.kernel and self.missing + self.implausible:
            source = "kernel stamps, some by the read clock"
        return {
            "stamp_source": source,
            "reads_kernel_stamp": self.kernel,
            "reads_without_stamp": self.missing,
            "reads_implausible_stamp": self.implausible,
            "clock_steps": self.steps,
            "offset_width_ns": self.offset.width_ns,
        }
