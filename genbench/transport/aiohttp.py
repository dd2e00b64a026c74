"""The aiohttp transport: for proxies, and for a second opinion from a client that many use.

The same bytes as the wire transport's, sent and read by aiohttp: no cookies, no redirects, no decompression, no limit
to the connections, one session for each address. A piece of the body is stamped when its task runs again after the
read (docs/transports.md): a late loop makes it late, and what came in meanwhile is one piece.

aiohttp's own `trust_env` asks for proxy and netrc again for each request, in a thread. The proxy is known already
(`Address.proxy`); there is no netrc.
"""

import asyncio
import socket
from collections.abc import Callable, Sequence
from typing import Any

from genbench.clock import now_ns
from genbench.errors import ConfigError
from genbench.transport.exchange import Address, Exchange, Timeouts
from genbench.transport.tasks import CURRENT, Errors, TaskTransport
from genbench.types import MISSING

try:
    import aiohttp
    from aiohttp import abc, payload, tracing
    from yarl import URL
except ImportError as missing:
    raise ConfigError("--transport aiohttp needs the aiohttp package; pip install 'genbench[aiohttp]'") from missing

CONNECTS = 128
KEEP_S = 86_400.0  # as long as the server does


class AiohttpTransport(TaskTransport):
    """See `exchange.Transport`. Make it on the running loop."""

    errors = Errors(
        timeout=(aiohttp.ServerTimeoutError,),
        broken=(aiohttp.ClientResponseError, aiohttp.ClientPayloadError, aiohttp.http.HttpProcessingError),
        lost=(aiohttp.ClientConnectionError,),
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, addresses: Sequence[Address], timeouts: Timeouts) -> None:
        super().__init__(loop, addresses, timeouts)
        self._timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=timeouts.connect_ns / 1e9, sock_read=timeouts.idle_ns / 1e9
        )
        self._urls = [URL(address.url, encoded=True) for address in self.addresses]
        self._headers = [_headers(address) for address in self.addresses]
        self._sessions = [self._session(address) for address in self.addresses]

    def _session(self, address: Address) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=_connector(address, self._connected),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=self._timeout,
            auto_decompress=False,
            skip_auto_headers=("Accept",),
        )

    async def open(self, connections: int) -> list[int]:
        """Open connections ahead, round robin over the addresses; those that fail the requests will find out."""
        found: list[int | BaseException] = []
        for first in range(0, connections, CONNECTS):
            last = min(first + CONNECTS, connections)
            opening = [self._open(k % len(self.addresses)) for k in range(first, last)]
            # All are taken before any is given back: else the pool would hand out one of them again.
            made = await asyncio.gather(*opening, return_exceptions=True)
            for one in made:
                if isinstance(one, BaseException):
                    found.append(one)
                else:
                    found.append(one[1])
                    one[0].release()
        return [one for one in found if isinstance(one, int)]

    async def _open(self, target: int) -> tuple[Any, int]:
        address, session = self.addresses[target], self._sessions[target]
        request = aiohttp.ClientRequest(
            "POST", self._urls[target], loop=self.loop, session=session, ssl=_tls(address), **_proxy(address)
        )
        start_ns = now_ns()
        assert session.connector is not None
        connection = await session.connector.connect(request, [], self._timeout)
        return connection, now_ns() - start_ns

    def _connected(self, connection: Any) -> None:
        """A request (or `open`) has got this connection."""
        number, new = self.connections.of(connection.protocol)
        exchange = CURRENT.get()
        if exchange is None:
            return
        exchange.connection = connection.transport
        exchange.record.connection = number
        if new:
            if self.addresses[exchange.record.target].tls is None:
                exchange.record.tcp_end_ns = now_ns()
            else:  # aiohttp does not say when TCP alone was through
                exchange.record.tls_end_ns = now_ns()

    async def carry(self, exchange: Exchange) -> None:
        """One request and its answer."""
        record = exchange.record
        try:
            await self._ask(exchange)
        finally:
            if exchange.connection is not None and record.sent_ns != MISSING == record.sent_end_ns:
                exchange.connection.abort()  # it ended during the upload, which aiohttp would go on with

    async def _ask(self, exchange: Exchange) -> None:
        record, reply = exchange.record, exchange.reply
        address = self.addresses[record.target]
        async with self._sessions[record.target].post(
            self._urls[record.target],
            data=Body(exchange),
            headers=self._headers[record.target],
            allow_redirects=False,
            ssl=_tls(address),
            **_proxy(address),
        ) as response:
            record.headers_ns = now_ns()
            headers = response.headers
            reply.status = response.status
            reply.content_type = headers.get("Content-Type", "")
            reply.retry_after = headers.get("Retry-After", "")
            content = response.content
            while True:
                data = await content.readany()
                t_ns = now_ns()
                ended = content.at_eof()
                if data and not ended:
                    self.arrived(exchange, t_ns, data)
                elif data:
                    reply.chunks.append((t_ns, data))
                if ended:
                    break
            record.end_ns = t_ns
            chunked = "chunked" in headers.get("Transfer-Encoding", "").lower()
            reply.until_close = not chunked and "Content-Length" not in headers and response.status not in (204, 304)

    async def shut(self) -> None:
        """Close the sessions and their connections."""
        for session in self._sessions:
            await session.close()

    def facts(self) -> dict[str, Any]:
        """Source of stamps and how many connections, for the header."""
        return {
            "transport": "aiohttp",
            "library": f"aiohttp {aiohttp.__version__}",
            "stamp_source": "the read clock",
            "connections_opened": self.connections.count,
        }


class Body(payload.Payload):
    """The plan's bytes as they are, stamped where aiohttp writes them.

    Not `BytesPayload`: that one warns of bodies above 1 MiB. Versions differ in which of the two ways they call.
    """

    def __init__(self, exchange: Exchange) -> None:
        super().__init__(exchange.request.body, content_type="application/json")
        self._record = exchange.record
        self._size = len(exchange.request.body)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """The body as text; aiohttp's interface asks for it."""
        return bytes(self._value).decode(encoding, errors)

    async def write(self, writer: abc.AbstractStreamWriter) -> None:
        """Hand all of it over: aiohttp keeps the head until now and sends both together."""
        if self._record.sent_ns == MISSING:
            self._record.sent_ns = now_ns()
        await writer.write(self._value)
        self._record.sent_end_ns = now_ns()

    async def write_with_length(self, writer: abc.AbstractStreamWriter, content_length: int | None) -> None:
        """The same; the length is our own."""
        await self.write(writer)


class Noting(aiohttp.BaseConnector):
    """Tells which connection a request has got."""

    noted: Callable[[Any], None]

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[tracing.Trace], timeout: aiohttp.ClientTimeout
    ) -> Any:
        """Take a connection from the pool or make one."""
        connection = await super().connect(req, traces, timeout)
        self.noted(connection)
        return connection


class TcpConnector(Noting, aiohttp.TCPConnector):
    """To an address with host and port."""


class UnixConnector(Noting, aiohttp.UnixConnector):
    """To a unix socket."""


class Pinned(abc.AbstractResolver):
    """Knows one name: the server's, at its pinned address."""

    def __init__(self, address: Address) -> None:
        self._address = address

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[abc.ResolveResult]:
        """The pinned address, whatever is asked."""
        found = self._address
        return [
            {
                "hostname": host,
                "host": str(found.sockaddr[0]),
                "port": port,
                "family": found.family,
                "proto": 0,
                "flags": socket.AI_NUMERICHOST,
            }
        ]

    async def close(self) -> None:
        """Nothing to let go of."""


def _connector(address: Address, noted: Callable[[Any], None]) -> Noting:
    made: Noting
    if isinstance(address.sockaddr, str):
        made = UnixConnector(address.sockaddr, limit=0, keepalive_timeout=KEEP_S)
    else:
        # Through a proxy it is the proxy's name that is looked up, and that is aiohttp's business.
        resolver = None if address.proxy else Pinned(address)
        made = TcpConnector(limit=0, keepalive_timeout=KEEP_S, resolver=resolver, use_dns_cache=resolver is None)
    made.noted = noted
    return made


def _tls(address: Address) -> Any:
    return address.tls if address.tls is not None else True


def _proxy(address: Address) -> dict[str, Any]:
    """The arguments for a proxy; the password apart from its address, which aiohttp repeats in messages."""
    if address.proxy is None:
        return {}
    tunnel = address.tls is not None and address.proxy.authorization
    headers = {"Proxy-Authorization": address.proxy.authorization} if tunnel else None
    return {"proxy": URL(address.proxy.url), "proxy_headers": headers}


def _headers(address: Address) -> dict[str, str]:
    """A request's headers; without a tunnel the proxy's are among them."""
    forwarded = address.proxy is not None and address.tls is None and address.proxy.authorization
    return dict(address.headers) | ({"Proxy-Authorization": str(forwarded)} if forwarded else {})
