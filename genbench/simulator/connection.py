"""One client's connection: socket, TLS, HTTP parsing in; writes out. It knows nothing of what an answer says.

Rules
- A request's receive stamp is the kernel's for the segment that brought its last byte (SO_TIMESTAMPNS), brought onto
  the monotonic clock; where there is none, or it is not between the last one and now, the read's own time.
- One `socket.send` per write. What the kernel does not take waits here, the play is parked until it is gone: a client
  that does not read costs nobody else anything.
- One request at a time; pipelined ones wait in order.
"""

import errno
import socket
import ssl
import struct
from collections import deque
from collections.abc import Callable
from typing import Protocol

import httptools

from genbench.clock import now_ns
from genbench.simulator.play import Play
from genbench.simulator.script import CONTINUE, Ending
from genbench.simulator.work import Call
from genbench.transport.tls import TlsSession

SO_TIMESTAMPNS: int = getattr(socket, "SO_TIMESTAMPNS", 35)
_TIMESPEC = struct.Struct("@ll")
_ANCILLARY = socket.CMSG_SPACE(_TIMESPEC.size) if hasattr(socket, "CMSG_SPACE") else 0
_READ_BYTES = 1 << 16
_OLDEST_NS = 10_000_000_000
_RESET = struct.pack("ii", 1, 0)
_BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class House(Protocol):
    """What a connection needs of the server."""

    def to_monotonic(self, wall_ns: int) -> int:
        """Monotonic time of a kernel stamp."""

    def handle(self, connection: "Connection", call: Call) -> Play:
        """A play for the call, not yet begun."""

    def watch(self, connection: "Connection", *, write: bool) -> None:
        """Call `writable` when the socket is (or not any more)."""

    def soon(self, callback: Callable[[], None]) -> None:
        """Call back after what is under way now."""

    def forget(self, connection: "Connection") -> None:
        """The connection is about to be closed: remove its reader and writer."""


class Connection:
    """An accepted socket, non-blocking. `blocked` while bytes wait for the client to read."""

    __slots__ = (
        "_backlog",
        "_body",
        "_ending",
        "_headers",
        "_house",
        "_last_ns",
        "_parser",
        "_play",
        "_stamp",
        "_stamp_ns",
        "_tls",
        "_url",
        "_waiting",
        "blocked",
        "closed",
        "number",
        "sock",
    )

    def __init__(self, house: House, sock: socket.socket, number: int, context: ssl.SSLContext | None) -> None:
        self._house = house
        self.sock = sock
        self.number = number
        self._tls = TlsSession(context, server_side=True) if context else None
        self._parser: httptools.HttpRequestParser | None = httptools.HttpRequestParser(self)
        self._play: Play | None = None
        self._waiting: deque[Call] = deque()
        self._backlog = bytearray()
        self._ending: Ending | None = None
        self.blocked = False
        self.closed = False
        self._last_ns = now_ns() - _OLDEST_NS  # a late loop accepts after the first bytes came
        self._stamp_ns = 0
        self._stamp = "clock"
        self.on_message_begin()

    # What the parser calls.

    def on_message_begin(self) -> None:
        """A new request."""
        self._url = b""
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []

    def on_url(self, url: bytes) -> None:
        """A piece of the target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header line."""
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """The head is there; a client that waits for leave to send the body gets it."""
        if self._headers.get("expect", "").lower() == "100-continue":
            self.send(CONTINUE)

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """The request is whole: it is answered now, or in its turn."""
        parser = self._parser
        assert parser
        call = Call(
            method=parser.get_method().decode("latin-1"),
            path=self._url.partition(b"?")[0].decode("latin-1"),
            headers=self._headers,
            body=self._body[0] if len(self._body) == 1 else b"".join(self._body),
            received_ns=self._stamp_ns,
            stamp=self._stamp,
            connection=self.number,
            keep_alive=parser.should_keep_alive(),
            version=parser.get_http_version(),
        )
        self._waiting.append(call)
        if len(self._waiting) == 1 and not (self._play or self._ending):
            self._next()

    # What the loop calls.

    def readable(self) -> None:
        """Take one read's worth, with its stamp."""
        try:
            data, ancillary, _, _ = self.sock.recvmsg(_READ_BYTES, _ANCILLARY)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.close()
            return
        if not data:
            self.close()
            return
        self._take_stamp(ancillary)
        try:
            for piece in self._decrypt(data) if self._tls else (data,):
                if self._parser:  # None once a piece before has closed the connection
                    self._parser.feed_data(piece)
        except ssl.SSLError:
            self._write(self._tls.outgoing() if self._tls else b"")  # the alert
            self.close()
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            if self._play:
                self.close()
            elif not self.closed:
                self.send(_BAD_REQUEST)
                self.end(Ending.CLOSE)

    def writable(self) -> None:
        """Go on with what waits; when it is gone, the play goes on or the connection ends."""
        try:
            sent = self.sock.send(self._backlog)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.close()
            return
        del self._backlog[:sent]
        if self._backlog:
            return
        self.blocked = False
        self._house.watch(self, write=False)
        if self._ending:
            self.end(self._ending)
        elif self._play:
            self._play.resume()

    # What a play calls.

    def send(self, data: bytes) -> int:
        """Hand bytes to the kernel; returns the moment just before. See `play.Stage`."""
        if self._tls:
            self._tls.write(data)
            data = self._tls.outgoing()
        return self._write(data)

    def end(self, ending: Ending) -> None:
        """The answer is over: next request, or the end of the connection once everything is sent."""
        if self.closed or ending is Ending.STALL:
            return
        if ending is Ending.RESET:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.close()
            return
        self._play = None
        if self.blocked:
            self._ending = ending
        elif ending is Ending.CLOSE:
            if self._tls:
                self._write(self._tls.close())
            self.close()
        else:
            self._ending = None
            if self._waiting:
                self._house.soon(self._next)

    def close(self) -> None:
        """Close the socket; a play under way learns that its client is gone."""
        if self.closed:
            return
        self.closed = True
        self._house.forget(self)
        self.sock.close()
        play, self._play = self._play, None
        if play:
            play.abandon()
        self._waiting.clear()
        self._parser = None  # it holds this object: without the circle nothing waits for a collection

    # Inside.

    def _next(self) -> None:
        """Begin the next request's play; after the last answer, not inside of it, however many are waiting."""
        if self._waiting and not self._play:
            self._play = self._house.handle(self, self._waiting.popleft())
            self._play.begin()

    def _take_stamp(self, ancillary: list[tuple[int, int, bytes]]) -> None:
        now = now_ns()
        self._stamp_ns, self._stamp = now, "clock"
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS and len(data) >= _TIMESPEC.size:
                seconds, nanoseconds = _TIMESPEC.unpack_from(data)
                stamp_ns = self._house.to_monotonic(seconds * 1_000_000_000 + nanoseconds)
                if self._last_ns <= stamp_ns <= now:
                    self._stamp_ns, self._stamp = stamp_ns, "kernel"
        self._last_ns = self._stamp_ns

    def _decrypt(self, data: bytes) -> list[bytes]:
        tls = self._tls
        assert tls
        tls.feed(data)
        if not tls.ready and not tls.handshake():
            self._write(tls.outgoing())
            return []
        found = tls.plaintext()
        self._write(tls.outgoing())
        return found

    def _write(self, data: bytes) -> int:
        t_ns = now_ns()
        if self.closed or not data:
            return t_ns
        if self._backlog:
            self._backlog += data
            return t_ns
        try:
            sent = self.sock.send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError as error:
            if error.errno == errno.ENOBUFS:
                sent = 0
            else:
                self.close()
                return t_ns
        if sent < len(data):
            self._backlog += data[sent:]
            self.blocked = True
            self._house.watch(self, write=True)
        return t_ns
