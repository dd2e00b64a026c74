"""Any of the three transports by its name, driven without an engine, and what it made of an answer."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from genbench import registry
from genbench.decode import ResponseDecoder
from genbench.transport.address import parse_url, request_head, request_headers
from genbench.transport.aiohttp import AiohttpTransport
from genbench.transport.exchange import Address, Exchange, Timeouts, Transport
from genbench.transport.openai import OpenaiTransport
from genbench.transport.poller import Poller
from genbench.transport.wire import WireTransport
from genbench.types import EventKind, Record, Request, Sample
from tests.transport.harness import run
from tests.transport.raw_server import read_request

NAMES = ("wire", "aiohttp", "openai")
PATHS = {"chat": "/v1/chat/completions", "completions": "/v1/completions", "embeddings": "/v1/embeddings"}


def address(
    url: str, *, tls: ssl.SSLContext | None = None, path: str = PATHS["chat"], key: str | None = None, **more: Any
) -> Address:
    """An address as `studies.prepare` makes it, pinned to 127.0.0.1."""
    parts = parse_url(url, path)
    headers = request_headers(parts, key, {})
    pinned: Any = parts.socket or ("127.0.0.1", parts.port)
    family = socket.AF_UNIX if parts.socket else socket.AF_INET
    head = request_head(parts.path(path), headers)
    return Address(parts.host, family, pinned, head, tls, parts.full(path), headers, **more)


def make(name: str, *addresses: Address, connect_s: float = 5.0, idle_s: float = 5.0) -> tuple[Transport, Poller]:
    """A transport by its name, and the poller that the wire transport needs."""
    loop = asyncio.get_running_loop()
    poller = Poller(loop)
    timeouts = Timeouts(round(connect_s * 1e9), round(idle_s * 1e9))
    if name == "aiohttp":
        return AiohttpTransport(loop, addresses, timeouts), poller
    if name == "openai":
        return OpenaiTransport(loop, addresses, timeouts), poller
    return WireTransport(loop, poller, addresses, timeouts, retry=True), poller


def started(transport: Transport, body: bytes, done: Callable[[Exchange], None], **fields: Any) -> Exchange:
    """Start a request; `fields` go into its record."""
    exchange = Exchange(Request(0, Sample(), body), Record(**fields), lambda _: None, done)
    transport.send(exchange)
    return exchange


async def ask(transport: Transport, body: bytes, **fields: Any) -> Exchange:
    """One request to its end, not decoded."""
    ended: asyncio.Future[Exchange] = asyncio.get_running_loop().create_future()
    started(transport, body, ended.set_result, **fields)
    return await asyncio.wait_for(ended, 20)


@contextlib.asynccontextmanager
async def opened(name: str, *addresses: Address, **options: Any) -> AsyncIterator[Transport]:
    """A transport on the running loop, closed at the end."""
    transport, poller = make(name, *addresses, **options)
    try:
        yield transport
    finally:
        await transport.close()
        poller.close()


def once(name: str, where: Address, *bodies: bytes, loop: str = "asyncio", **options: Any) -> list[Exchange]:
    """Requests one after the other over one transport."""

    async def main() -> list[Exchange]:
        async with opened(name, where, **options) as transport:
            return [await ask(transport, body) for body in bodies]

    found: list[Exchange] = run(loop, main())
    return found


@dataclass(frozen=True)
class Said:
    """What a record says that does not depend on time."""

    outcome: str
    status: int
    error: str
    retry_after: str
    finish_reason: str
    streamed: bool
    done: bool
    unterminated: bool
    kinds: tuple[str, ...]
    tokens: tuple[int, ...]
    texts: Mapping[int, str]
    usage: tuple[int, int]
    embeddings: int
    response_bytes: int
    until_close: bool


def decoded(exchange: Exchange, kind: str, body: Mapping[str, Any]) -> Said:
    """The exchange's record as the engine would write it."""
    record = exchange.record
    record.choices = body.get("n", 1)
    inputs = body.get("input", "")
    record.inputs = len(inputs) if isinstance(inputs, list) else 1
    decoder = ResponseDecoder(record, registry.load("endpoints", kind), keep_text=True)
    decoder.finish(exchange.reply)
    texts: dict[int, str] = {}
    for _, choice, text in decoder.texts:
        texts[choice] = texts.get(choice, "") + text
    return Said(
        outcome=str(record.outcome),
        status=record.status,
        error=record.error,
        retry_after=record.retry_after,
        finish_reason=record.finish_reason,
        streamed=record.streamed,
        done=record.done,
        unterminated=record.unterminated,
        kinds=tuple(EventKind(kind).name.lower() for kind in record.event_kind),
        tokens=tuple(record.event_tokens),
        texts=texts,
        usage=(record.isl_usage, record.osl_usage),
        embeddings=record.embeddings,
        response_bytes=record.response_bytes,
        until_close=exchange.reply.until_close,
    )


OK_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "
ANSWER = OK_HEAD + b"2\r\n\r\n{}"
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
CHUNKED = STREAM + b"Transfer-Encoding: chunked\r\n\r\n"
EVENT = b'data: {"choices":[{"index":0,"delta":{"content":"x"},"finish_reason":%b}]}\n\n'


def serve(sock: socket.socket) -> None:
    """Answer every request of a connection with an empty object."""
    while read_request(sock):
        sock.sendall(ANSWER)
