"""Drives the wire transport and the decoder over real sockets without an event loop: one answer, byte by byte.

The transport, its poller and the sockets (a unix socket: no stamps, no ports) are the real ones; the loop only keeps
what it is told to call. So an answer costs about 0.2 ms and nothing depends on time.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, cast

from genbench.decode import ResponseDecoder
from genbench.transport.exchange import Address, Exchange, Timeouts
from genbench.transport.poller import Poller
from genbench.transport.wire import WireTransport
from genbench.types import Endpoint, Outcome, Record, Request, Sample

HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: test\r\nContent-Length: "
PIECE = 1 << 15  # less than a socket's buffer, so that a write never waits


class StillLoop:
    """The few calls the transport makes of an event loop; `turn` runs what is due at once, time never passes."""

    def __init__(self) -> None:
        self._soon: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []

    def call_soon(self, call: Callable[..., Any], *arguments: Any) -> None:
        """Keep a call for the next turn."""
        self._soon.append((call, arguments))

    def call_later(self, seconds: float, call: Callable[..., Any], *arguments: Any) -> "StillLoop":
        """A timer that never fires."""
        return self

    def cancel(self) -> None:
        """Of such a timer."""

    def add_reader(self, fd: int, call: Callable[..., Any]) -> None:
        """The poller is asked by hand."""

    def remove_reader(self, fd: int) -> None:
        """The same."""

    def turn(self) -> bool:
        """Make the calls kept; False when there were none."""
        calls, self._soon = self._soon, []
        for call, arguments in calls:
            call(*arguments)
        return bool(calls)


class Driven:
    """A transport whose server is the caller. Use as a context; `folder` is where its socket file goes."""

    def __init__(self, folder: Path, *, retry: bool = False) -> None:
        self._loop = StillLoop()
        loop = cast(asyncio.AbstractEventLoop, self._loop)
        self._poller = Poller(loop)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(folder / "socket"))
        self._listener.listen(16)
        self._listener.setblocking(False)
        address = Address("localhost", socket.AF_UNIX, str(folder / "socket"), HEAD)
        self.wire = WireTransport(loop, self._poller, [address], Timeouts(1 << 60, 1 << 60), retry=retry)
        self.peer: socket.socket | None = None
        self.ended = 0  # how often the last exchange was reported

    def __enter__(self) -> "Driven":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.hang_up()
        closing = self.wire.close()
        with contextlib.suppress(StopIteration):
            closing.send(None)
        self._poller.close()
        self._listener.close()

    def settle(self) -> None:
        """Serve until nothing is ready any more."""
        while self._loop.turn() or self._poller.dispatch():
            pass

    def hang_up(self) -> None:
        """Close the server's side, and let the client see it."""
        if self.peer is not None:
            self.peer.close()
            self.peer = None
        self.settle()

    def exchange(
        self, pieces: Iterable[bytes], *, close: bool = True, keep: bool = False, record: Record | None = None
    ) -> Exchange:
        """One request answered with these pieces, each read by itself.

        Then the server closes (`close`), or falls silent and is given up. `keep`: the connection stays open for the
        next request, if the client wants it.
        """
        self.ended = 0
        made = Exchange(Request(0, Sample(), b"{}"), record or Record(), lambda _: None, self._count)
        self.wire.send(made)
        self.settle()
        self._accept().recv(PIECE)
        for piece in pieces:
            for start in range(0, len(piece), PIECE):
                self._write(piece[start : start + PIECE])
        if close:
            self.hang_up()
        if self.ended == 0:
            self.wire.cancel(made, Outcome.TIMEOUT_IDLE, "silent")
            self.settle()
        if not keep:
            self.hang_up()
        return made

    def _accept(self) -> socket.socket:
        with contextlib.suppress(BlockingIOError):  # on the connection that was kept
            sock, _ = self._listener.accept()
            self.hang_up()
            self.peer = sock
            self.settle()
        assert self.peer is not None
        return self.peer

    def _write(self, data: bytes) -> None:
        assert self.peer is not None
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the client has seen enough
            self.peer.sendall(data)
        self.settle()

    def _count(self, exchange: Exchange) -> None:
        self.ended += 1

    def record(self, pieces: Iterable[bytes], endpoint: Endpoint, *, close: bool = True, **fields: Any) -> Record:
        """The record of one such request, decoded at its end."""
        made = Record(**fields)
        exchange = self.exchange(pieces, close=close, record=made)
        assert self.ended == 1, f"reported {self.ended} times"
        decoder = ResponseDecoder(made, endpoint)
        decoder.feed(exchange.reply)
        decoder.finish(exchange.reply)
        return made
