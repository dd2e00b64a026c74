"""The openai transport: what a user of the openai package feels.

`AsyncOpenAI` sends each request and parses each chunk; a chunk is stamped when the SDK yields it, then written as JSON
again (unknown fields kept) for the decoder that reads every transport's bytes. An answer that is not streamed is
stamped when the SDK has parsed it, and read from the response's own bytes.

`client.post` with the plan's bytes, not `chat.completions.create`: the methods put the fields they know into an order
of their own, which would be another body. Where `post` takes no bytes (older versions) it gets the parsed body, and
`bodies_rewritten` in the facts counts what went out differently.

What the SDK hides stays hidden: [DONE], comments, the connection's reads (docs/transports.md).
"""

import asyncio
import functools
import importlib
import inspect
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import orjson

from genbench.clock import now_ns
from genbench.errors import ConfigError
from genbench.transport.exchange import Address, Exchange, Timeouts
from genbench.transport.tasks import CURRENT, Errors, TaskTransport


class OpenaiTransport(TaskTransport):
    """See `exchange.Transport`; one client for each address. Raises ConfigError where the package is missing."""

    def __init__(self, loop: asyncio.AbstractEventLoop, addresses: Sequence[Address], timeouts: Timeouts) -> None:
        super().__init__(loop, addresses, timeouts)
        try:
            self._sdk: Any = importlib.import_module("openai")
        except ImportError as error:
            raise ConfigError("--transport openai needs the openai package; pip install 'genbench[openai]'") from error
        # The SDK's HTTP library is httpx, or httpx2 from version 3 on; we take whichever it is.
        name = type(self._sdk.DEFAULT_CONNECTION_LIMITS).__module__.partition(".")[0]
        self._http: Any = importlib.import_module(name)
        self.errors = Errors(
            timeout=(self._sdk.APITimeoutError, self._http.TimeoutException),
            broken=(self._http.RemoteProtocolError,),
            lost=(self._http.NetworkError,),
        )
        self._takes_bytes = "content" in inspect.signature(self._sdk.AsyncOpenAI.post).parameters
        self._rewritten = 0
        self._clients = [self._client(address) for address in self.addresses]
        self._types = [self._types_of(address) for address in self.addresses]

    def _client(self, address: Address) -> Any:
        connect_s, idle_s = self.timeouts.connect_ns / 1e9, self.timeouts.idle_ns / 1e9
        http = self._sdk.DefaultAsyncHttpxClient(transport=Seen(self, address), follow_redirects=False)
        return self._sdk.AsyncOpenAI(
            base_url=address.url,
            api_key="none",  # what goes out is Address.headers
            max_retries=0,
            timeout=self._sdk.Timeout(None, connect=connect_s, read=idle_s),
            http_client=http,
            default_headers=dict(address.headers),
        )

    def _types_of(self, address: Address) -> tuple[Any, Any]:
        """What the SDK makes of a whole answer and of a chunk, by the request's path; any JSON for other paths."""
        path, types = urlsplit(address.url).path, importlib.import_module("openai.types")
        if path.endswith("/chat/completions"):
            return types.chat.ChatCompletion, types.chat.ChatCompletionChunk
        if path.endswith("/completions"):
            return types.Completion, types.Completion
        return (types.CreateEmbeddingResponse, object) if path.endswith("/embeddings") else (object, object)

    def inner(self, address: Address) -> Any:
        """The HTTP library's own transport to an address, without a limit to the connections."""
        limits = type(self._sdk.DEFAULT_CONNECTION_LIMITS)
        return self._http.AsyncHTTPTransport(
            verify=address.tls if address.tls is not None else False,
            trust_env=False,
            limits=limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=None),
            proxy=self._proxy(address),
            uds=address.sockaddr if isinstance(address.sockaddr, str) else None,
        )

    def _proxy(self, address: Address) -> Any:
        if address.proxy is None:
            return None
        secret = address.proxy.authorization
        return self._http.Proxy(address.proxy.url, headers={"Proxy-Authorization": secret} if secret else None)

    async def open(self, connections: int) -> list[int]:
        """Nothing: the SDK opens a connection only for a request."""
        return []

    async def carry(self, exchange: Exchange) -> None:
        """One request and its answer."""
        target, body = exchange.record.target, exchange.request.body
        whole, chunk = self._types[target]
        fields = orjson.loads(body)
        stream = isinstance(fields, dict) and fields.get("stream") is True
        try:
            answer = await self._clients[target].post(
                self.addresses[target].url,
                cast_to=whole,
                stream=stream,
                stream_cls=self._sdk.AsyncStream[chunk] if stream else None,
                **({"content": body} if self._takes_bytes else {"body": fields}),
            )
        except self._sdk.APIStatusError as error:
            self._last(exchange, now_ns(), error.response.content)
            return
        except ValueError:  # not JSON: the decoder says so in its own words
            self._last(exchange, now_ns(), exchange.connection.content)
            return
        if stream:
            await self._read(exchange, answer)
        else:
            self._last(exchange, now_ns(), exchange.connection.content)

    async def _read(self, exchange: Exchange, answer: Any) -> None:
        try:
            async for chunk in answer:
                t_ns = now_ns()
                self.arrived(exchange, t_ns, b"data: %b\n\n" % _json(chunk))
        except (self._sdk.APIConnectionError, self._sdk.APIStatusError):
            raise
        except self._sdk.APIError as error:  # an error object inside the stream
            said = {"message": error.message} if error.body is None else error.body
            self._last(exchange, now_ns(), b"data: %b\n\n" % orjson.dumps({"error": said}))
        else:
            exchange.record.end_ns = now_ns()

    @staticmethod
    def _last(exchange: Exchange, t_ns: int, data: bytes) -> None:
        if data:
            exchange.reply.chunks.append((t_ns, data))
        exchange.record.end_ns = t_ns

    def sending(self, exchange: Exchange, body: bytes) -> None:
        """The SDK's HTTP library has been given this body to send."""
        exchange.record.request_bytes = len(body)
        self._rewritten += body != exchange.request.body

    async def shut(self) -> None:
        """Close the clients and their connections."""
        for client in self._clients:
            await client.close()

    def facts(self) -> dict[str, Any]:
        """Source of stamps and how many connections, for the header."""
        return {
            "transport": "openai",
            "library": f"openai {self._sdk.__version__}, {self._http.__name__} {self._http.__version__}",
            "stamp_source": "the read clock",
            "connections_opened": self.connections.count,
            "bodies_rewritten": self._rewritten,
        }


class Seen:
    """The HTTP library's transport with a window: clock points, status, and the pinned address.

    The library's client calls the two methods of its `AsyncBaseTransport`; the rest is its `trace` extension.
    """

    def __init__(self, owner: OpenaiTransport, address: Address) -> None:
        self._owner = owner
        self._address = address
        self._inner = owner.inner(address)
        self._pinned = not address.proxy and not isinstance(address.sockaddr, str)
        self._secret = any(name.lower() == "authorization" for name in address.headers)

    async def handle_async_request(self, request: Any) -> Any:
        """Send one request; returns when the response's head is there."""
        exchange = CURRENT.get()
        assert exchange is not None
        if not self._secret:  # the SDK makes one up from an API key that it insists on
            request.headers.pop("Authorization", None)
        if self._pinned:  # the Host header is there already, and TLS is told the name
            request.url = request.url.copy_with(host=self._address.sockaddr[0])
            request.extensions["sni_hostname"] = self._address.host
        request.extensions["trace"] = functools.partial(self._trace, exchange)
        self._owner.sending(exchange, request.content)
        response = await self._inner.handle_async_request(request)
        exchange.connection = response
        reply, headers = exchange.reply, response.headers
        reply.status = response.status_code
        reply.content_type = headers.get("content-type", "")
        reply.retry_after = headers.get("retry-after", "")
        chunked = "chunked" in headers.get("transfer-encoding", "").lower()
        reply.until_close = not chunked and "content-length" not in headers and reply.status not in (204, 304)
        stream = response.extensions.get("network_stream")
        if stream is not None:
            exchange.record.connection, _ = self._owner.connections.of(stream)
        return response

    async def _trace(self, exchange: Exchange, name: str, info: dict[str, Any]) -> None:
        record = exchange.record
        if name in ("connection.connect_tcp.complete", "connection.connect_unix_socket.complete"):
            record.tcp_end_ns = now_ns()
        elif name == "connection.start_tls.complete":
            record.tls_end_ns = now_ns()
        elif name == "http11.send_request_headers.started":
            if info["request"].method != b"CONNECT":  # that one is for the proxy
                record.sent_ns = now_ns()
        elif name == "http11.send_request_body.complete":
            record.sent_end_ns = now_ns()
        elif name == "http11.receive_response_headers.complete":
            record.headers_ns = now_ns()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()


def _json(chunk: Any) -> bytes:
    """What the SDK parsed as JSON again: only what the server sent, what the SDK does not know included."""
    if hasattr(chunk, "to_json"):
        text: str = chunk.to_json(indent=None, warnings=False)
        return text.encode()
    return orjson.dumps(chunk)
