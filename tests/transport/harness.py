"""Drives the wire transport by itself, on asyncio or uvloop."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import uvloop

from genbench.transport.exchange import Address, Exchange, Timeouts
from genbench.transport.poller import Poller
from genbench.transport.wire import WireTransport
from genbench.types import Record, Request, Sample

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: test\r\nContent-Length: "


def run(loop: str, main: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine on one of the two loops."""
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        return runner.run(main)


@contextlib.asynccontextmanager
async def transport(
    port: int,
    *,
    tls: ssl.SSLContext | None = None,
    connect_s: float = 5.0,
    idle_s: float = 5.0,
    retry: bool = True,
    host: str = "127.0.0.1",
) -> AsyncIterator[WireTransport]:
    """A transport to a port of this machine; closed at the end."""
    loop = asyncio.get_running_loop()
    poller = Poller(loop)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    address = Address("localhost", family, (host, port), HEAD, tls)
    timeouts = Timeouts(round(connect_s * 1e9), round(idle_s * 1e9))
    wire = WireTransport(loop, poller, [address], timeouts, retry=retry)
    try:
        yield wire
    finally:
        await wire.close()
        poller.close()


async def send(wire: WireTransport, body: bytes = b"{}", *, index: int = 0) -> Exchange:
    """One request to its end."""
    ended: asyncio.Future[Exchange] = asyncio.get_running_loop().create_future()
    exchange = start(wire, body, ended.set_result, index=index)
    assert await asyncio.wait_for(ended, 20) is exchange
    return exchange


def start(wire: WireTransport, body: bytes, done: Callable[[Exchange], None], *, index: int = 0) -> Exchange:
    """Start a request without waiting for it."""
    exchange = Exchange(Request(index, Sample(), body), Record(index=index), lambda _: None, done)
    wire.send(exchange)
    return exchange


def body_of(exchange: Exchange) -> bytes:
    """The response body."""
    return b"".join(piece for _, piece in exchange.reply.chunks)
