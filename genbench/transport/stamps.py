"""When did a segment arrive? The kernel's answer, brought onto the monotonic clock and checked.

Rules
- `SO_TIMESTAMPNS` is set before connect; `recvmsg` then returns one timespec (CLOCK_REALTIME): the last segment's.
- The kernel begins to stamp arrivals only some time after the first socket on the machine asked for it (a work queue
  switches it on), and until then answers with the time of the *read*, which nothing in the answer tells. So a socket of
  our own asks for as long as we live, and is tried until a stamp lies before its read.
- The offset to the monotonic clock is kept for the whole run. `check()`, called about every second, takes a fresh one:
  a difference beyond the readings' own uncertainty is a step of the wall clock, counted, and the fresh one is used on.
- A stamp must lie between the connection's last clock point and now. One that does not is replaced by the read time,
  counted, and makes the offset be checked at once. A read without a stamp uses the read time and is counted.
"""

import socket
import struct
import sys
import time
from typing import Any

from genbench.clock import drift_ns, now_ns, take_offset

# <asm-generic/socket.h>; the constant is missing in Python's socket module.
SO_TIMESTAMPNS = 35 if sys.platform == "linux" else None
TIMESPEC = struct.Struct("@ll")
SPACE = socket.CMSG_SPACE(TIMESPEC.size) if SO_TIMESTAMPNS else 0
READ_BYTES = 1 << 16
TRIES, TRY_S = 1000, 0.001  # a busy machine may take long to switch it on


class Stamps:
    """Reads sockets and says when what was read had arrived."""

    def __init__(self) -> None:
        self.offset = take_offset()
        self.kernel = 0  # reads with a usable kernel stamp
        self.missing = 0  # reads without one
        self.implausible = 0
        self.steps = 0
        self._keeper = _keeper()
        self.prompt = self._keeper is not None and _stamps_arrivals(self._keeper)

    def close(self) -> None:
        """Let go of the socket that keeps the kernel stamping."""
        if self._keeper is not None:
            self._keeper.close()

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
        source = "kernel stamps" if self.kernel and self.prompt else "the read clock"
        if self.kernel and self.prompt and self.missing + self.implausible:
            source = "kernel stamps, some by the read clock"
        return {
            "stamp_source": source,
            "reads_kernel_stamp": self.kernel,
            "reads_without_stamp": self.missing,
            "reads_implausible_stamp": self.implausible,
            "clock_steps": self.steps,
            "offset_width_ns": self.offset.width_ns,
        }


def _keeper() -> socket.socket | None:
    """A datagram socket connected to itself on loopback that asks for stamps; None where there is no such thing."""
    if SO_TIMESTAMPNS is None:
        return None
    try:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("127.0.0.1", 0))
        sock.connect(sock.getsockname())
        sock.settimeout(1)
    except OSError:
        return None
    return sock if Stamps.enable(sock) else None


def _stamps_arrivals(sock: socket.socket) -> bool:
    """Whether the kernel stamps when a segment arrives, not when it is read; waits for it to begin."""
    for _ in range(TRIES):
        try:
            sock.send(b"x")
            time.sleep(TRY_S)
            _, ancillary, _, _ = sock.recvmsg(16, SPACE)
        except OSError:
            return False
        if not ancillary:
            continue
        seconds, nanoseconds = TIMESPEC.unpack(ancillary[0][2][: TIMESPEC.size])
        if time.time_ns() - seconds * 1_000_000_000 - nanoseconds > TRY_S * 1e9 / 2:
            return True
    return False
