"""One connection of the wire transport: connect, TLS, send, read, one exchange after another.

A state machine driven by the poller; nothing here waits. It ends every exchange it was given by exactly one call of
`pool.finished(connection, exchange)` or `pool.broken(connection, exchange, ...)`, never from within `start`.

Clock points: `sent_ns` just before the first send call, `sent_end_ns` after the call that handed over the last byte,
`headers_ns` and every body piece with the stamp of the read that completed them. The earliest stamp an answer can have
is `sent_ns`, not `sent_end_ns`: when the client is preempted right after the send, the answer may arrive before the
client reads its own clock.
"""

import errno
import os
import socket
import ssl
from typing import TYPE_CHECKING, Any

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from genbench.clock import now_ns
from genbench.transport.exchange import Address, Exchange
from genbench.transport.poller import READ, WRITE
from genbench.transport.stamps import Stamps
from genbench.transport.tls import TlsSession
from genbench.types import MISSING, Outcome

if TYPE_CHECKING:
    from genbench.transport.wire import WireTransport

UNIX = getattr(socket, "AF_UNIX", None)
FULL_S = 0.002
FRESH_NS = 200_000  # less than any keep-alive timer
FRAMING_BYTES = 1 << 18  # of heads, chunk sizes and trailers with no body between them; httptools has no limit
CONNECTING, HANDSHAKE, IDLE, BUSY, CLOSED = range(5)


class Connection:
    """A socket to one of the pool's addresses (`target` is its place among them)."""

    __slots__ = (
        "_bare",
        "_complete",
        "_framed",
        "_free_ns",
        "_got_byte",
        "_interim",
        "_keep",
        "_parser",
        "_pieces",
        "_sock",
        "_stamp_ns",
        "_writing",
        "answers",
        "exchange",
        "fd",
        "id",
        "last_ns",
        "pending",
        "pool",
        "start_ns",
        "state",
        "target",
        "tcp_end_ns",
        "tls",
        "tls_end_ns",
    )

    def __init__(self, pool: "WireTransport", number: int, target: int) -> None:
        address = pool.addresses[target]
        self.pool = pool
        self.id = number
        self.target = target
        self.exchange: Exchange | None = None
        self.answers = 0
        self.pending = memoryview(b"")
        self._writing = False
        self._free_ns = MISSING
        self.start_ns = self.last_ns = self._stamp_ns = now_ns()
        self.tcp_end_ns = self.tls_end_ns = MISSING
        self._pieces: list[bytes] = []  # of the body, in the read under way
        self._reset()
        self._parser: Any = HttpResponseParser(self)
        self.tls = TlsSession(address.tls, server_hostname=address.host) if address.tls is not None else None
        self.state = CONNECTING
        self._sock = socket.socket(address.family, socket.SOCK_STREAM)
        self._sock.setblocking(False)
        self.fd = self._sock.fileno()
        if address.family != UNIX:  # the kernel stamps no segments there, for there are none
            Stamps.enable(self._sock)
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connect(address)

    def _reset(self) -> None:
        self._complete = self._interim = self._framed = self._got_byte = False
        self._keep = True
        self._bare = 0

    # -- coming up ----------------------------------------------------------------------------------------------------

    def _connect(self, address: Address) -> None:
        if self.state == CLOSED:  # given up while the server's queue was full
            return
        code = self._sock.connect_ex(address.sockaddr)
        if code == errno.EAGAIN and address.family == UNIX:  # its queue is full: nothing tells when it no longer is
            self.pool.loop.call_later(FULL_S, self._connect, address)
        elif code in (0, errno.EINPROGRESS, errno.EWOULDBLOCK):
            self.pool.poller.watch(self.fd, self, WRITE)
        else:
            self.pool.loop.call_soon(self._failed, Outcome.CONNECT_ERROR, os.strerror(code))

    def ready(self, mask: int) -> None:
        """Called by the poller."""
        if self.state == CONNECTING:
            self._connected()
            return
        if mask & WRITE and self.pending:
            self._flush()
        if mask & ~WRITE and self.state != CLOSED:
            self._read()

    def _connected(self) -> None:
        code = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._failed(Outcome.CONNECT_ERROR, os.strerror(code))
            return
        self.tcp_end_ns = self.last_ns = now_ns()
        self.pool.poller.watch(self.fd, self, READ)
        if self.tls is None:
            self.state = IDLE
            self.pool.opened(self)
        else:
            self.state = HANDSHAKE
            self._shake_hands()

    def _shake_hands(self) -> None:
        assert self.tls is not None
        try:
            ready = self.tls.handshake()
        except ssl.SSLError as error:
            self._hand_over(self.tls.outgoing())  # the alert that tells the server why
            self._failed(Outcome.TLS_ERROR, tls_message(error))
            return
        self._hand_over(self.tls.outgoing())
        if ready and self.state == HANDSHAKE:
            self.tls_end_ns = now_ns()
            self.state = IDLE
            self.pool.opened(self)

    # -- sending ------------------------------------------------------------------------------------------------------

    def just_answered(self) -> bool:
        """Whether an answer was read to its end so short a time ago that a look at the socket would tell no more."""
        return now_ns() - self._free_ns < FRESH_NS

    def alive(self) -> bool:
        """Whether an idle connection is still open and silent (a look at the socket, nothing is consumed)."""
        try:
            self._sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        # TLS 1.3 session tickets may be waiting unread; for plain HTTP a byte (or the end) means it is over.
        if self.tls is None or self.tls.closed:
            return False
        self._read()
        return self.state == IDLE

    def start(self, exchange: Exchange, data: bytes) -> None:
        """Send a request on this idle connection."""
        self.exchange = exchange
        exchange.connection = self
        self.state = BUSY
        self._reset()
        record = exchange.record
        record.connection = self.id
        record.request_bytes = len(exchange.request.body)
        if self.tls is not None:
            self.tls.write(data)
            data = self.tls.outgoing()
        self.last_ns = now_ns()
        if record.sent_ns == MISSING:  # a retry keeps the first
            record.sent_ns = self.last_ns
        self._hand_over(data)

    def _hand_over(self, data: bytes) -> None:
        """Give bytes to the kernel, in order; what it does not take goes on when the socket is writable."""
        if not data:
            return
        if self.pending:
            self.pending = memoryview(bytes(self.pending) + data)
            return
        self.pending = memoryview(data)
        self._flush()

    def _flush(self) -> None:
        try:
            taken = self._sock.send(self.pending)
        except (BlockingIOError, InterruptedError):
            taken = 0
        except OSError as error:
            # The answer (a 413, say) may already be waiting although the server no longer takes our upload.
            self.pending = memoryview(b"")
            self.pool.loop.call_soon(self._send_failed, error)
            return
        self.pending = self.pending[taken:]
        if not self.pending and self.exchange is not None and self.exchange.record.sent_end_ns == MISSING:
            self.exchange.record.sent_end_ns = now_ns()
        if bool(self.pending) != self._writing:
            self._writing = not self._writing
            self.pool.poller.watch(self.fd, self, READ | WRITE if self._writing else READ)

    def _send_failed(self, error: OSError) -> None:
        if self.state in (BUSY, HANDSHAKE):
            self._read()
        if self.state == HANDSHAKE:
            self._failed(Outcome.TLS_ERROR, describe(error))
        elif self.state == BUSY and not self._got_byte:
            self._ended(describe(error))

    # -- reading ------------------------------------------------------------------------------------------------------

    def _read(self) -> None:
        try:
            data, self._stamp_ns = self.pool.stamps.receive(self._sock, self.last_ns)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._ended(describe(error))
            return
        self.last_ns = self._stamp_ns
        if not data:
            self._ended("the server closed the connection", orderly=self.tls is None)
            return
        if self.tls is None:
            self._take(data)
            return
        self.tls.feed(data)
        if self.state == HANDSHAKE:
            self._shake_hands()
            if self.state in (HANDSHAKE, CLOSED):
                return
        try:
            pieces = self.tls.plaintext()
        except ssl.SSLError as error:
            self._failed(Outcome.TLS_ERROR, tls_message(error))
            return
        self._hand_over(self.tls.outgoing())
        if pieces and self.state != CLOSED:
            self._take(b"".join(pieces))  # as a whole: when it ends an answer, nothing behind it is the next one's
        if self.tls.closed and self.state != CLOSED:
            self._ended("the server closed the TLS connection", orderly=True)

    def _take(self, data: bytes) -> None:
        exchange = self.exchange
        if exchange is None:
            self.pool.lost_idle(self)  # bytes nobody asked for
            self.close()
            return
        self._got_byte = True
        self._bare += len(data)
        wrong = ""
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            wrong = "the server switched protocols"
        except HttpParserError as error:
            wrong = f"not HTTP/1.1: {error}; it began {excerpt(data)}"
        if self._pieces:  # one piece a read: a server may send each byte as a chunk, and a piece takes 130 bytes
            exchange.reply.chunks.append((self._stamp_ns, b"".join(self._pieces)))
            self._pieces.clear()
            self._bare = 0
        if self._complete:  # what is wrong came after the answer: that is whole all the same
            self._keep = self._keep and not wrong
            self._answered(exchange)
        elif wrong or self._bare > FRAMING_BYTES:
            self._failed(Outcome.PROTOCOL_ERROR, wrong or f"over {FRAMING_BYTES >> 10} KiB of head or framing in a row")
        elif exchange.reply.chunks and not exchange.queued:
            exchange.arrived(exchange)

    def _answered(self, exchange: Exchange) -> None:
        exchange.record.end_ns = self._stamp_ns
        self.answers += 1
        self._free_ns = now_ns()
        self.exchange = None
        exchange.connection = None
        # An answer before our upload was through leaves bytes in the air: this connection cannot carry another request.
        if self._keep and not self.pending and not (self.tls is not None and self.tls.closed):
            self.state = IDLE
        else:
            self.close()
        self.pool.finished(self, exchange)

    def _ended(self, why: str, *, orderly: bool = False) -> None:
        """The connection is over: what does that mean for the exchange on it?

        Only an orderly end (over TLS: with close_notify) may stand for the end of a body that has no other.
        """
        if self.state == HANDSHAKE:
            self._failed(Outcome.TLS_ERROR, f"{why} during the TLS handshake")
            return
        exchange = self.exchange
        if exchange is None:
            if self.state != CLOSED:
                self.pool.lost_idle(self)
                self.close()
            return
        if orderly and exchange.record.headers_ns != MISSING and not self._framed:
            exchange.reply.until_close = True
            self._keep = False
            self._answered(exchange)
            return
        before = "the response was complete" if self._got_byte else "it answered"
        self._failed(Outcome.TRUNCATED, f"{why} before {before}")

    def give_up(self, outcome: Outcome, why: str) -> None:
        """A time-out or a cancellation: end what is under way now."""
        self._failed(outcome, why, retry=False)

    def _failed(self, outcome: Outcome, why: str, *, retry: bool = True) -> None:
        if self.state == CLOSED:
            return
        came_up = self.state in (IDLE, BUSY)
        exchange = self.exchange
        self.exchange = None
        untouched = exchange is not None and came_up and not self._got_byte
        self.close()
        self.pool.broken(self, exchange, outcome, why, came_up=came_up, retry=retry and untouched)

    def close(self) -> None:
        """Close the socket; the parser goes too: it and this object hold each other, and the collector is off."""
        if self.state == CLOSED:
            return
        self.state = CLOSED
        self.pool.poller.forget(self.fd)
        self._sock.close()
        self._parser = None

    # -- what httptools calls -----------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A second answer in the same read: nobody asked for it."""
        if self._complete:
            self._keep = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep the three headers that matter, and whether the body's end is framed; a trailer changes nothing."""
        exchange = self.exchange
        if exchange is None or exchange.record.headers_ns != MISSING:
            return
        name = name.lower()
        if name == b"content-length" or (name == b"transfer-encoding" and b"chunked" in value.lower()):
            self._framed = True
        elif name == b"content-type":
            exchange.reply.content_type = value.decode("latin-1")
        elif name == b"retry-after":
            exchange.reply.retry_after = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """The head is there; a 1xx head is not the answer."""
        exchange = self.exchange
        if self._complete or exchange is None:
            return
        status = self._parser.get_status_code()
        self._interim = 100 <= status < 200
        if self._interim:
            exchange.reply.content_type = exchange.reply.retry_after = ""
            return
        if status in (204, 304):
            self._framed = True
        exchange.reply.status = status
        exchange.record.headers_ns = self._stamp_ns

    def on_body(self, body: bytes) -> None:
        """A piece of the body, chunked coding already removed."""
        if self.exchange is not None and not self._complete:
            self._pieces.append(body)

    def on_message_complete(self) -> None:
        """The framing is complete."""
        if self._interim:
            self._interim = self._framed = False
            return
        self._keep = self._parser.should_keep_alive() and not self._complete
        self._complete = True


def describe(error: OSError) -> str:
    """An operating system error in a few words."""
    return (error.strerror or str(error)).lower()


def tls_message(error: ssl.SSLError) -> str:
    """A TLS error without OpenSSL's source positions."""
    return getattr(error, "verify_message", "") or (error.reason or str(error)).replace("_", " ").lower()


def excerpt(data: bytes) -> str:
    """The first bytes of something unexpected, printable."""
    return repr(data[:40].decode("latin-1"))
