"""A responder that costs next to nothing: every POST gets one fixed vector, every GET the model list.

    python benchmarks/canned.py            # prints its address; ends when its standard input ends

A bare protocol on uvloop (asyncio where it is missing). It looks for the end of the head and for Content-Length, and
parses nothing else, so that a client's cost per request is the client's own. Not an HTTP server. Its token count is the
number of blanks in the body and one: near enough for a client that finds out how many tokens a word has.
"""

import asyncio
import sys
from typing import cast

MODEL = "canned"
VECTOR = b"0.125,-0.25,0.5,0.0625,-0.125,0.25,-0.5,0.375"
EMBEDDING = (
    b'{"object":"list","data":[{"object":"embedding","index":0,"embedding":[%b]}],"model":"canned",'
    b'"usage":{"prompt_tokens":%%6d,"total_tokens":%%6d}}' % VECTOR
)
MODELS = b'{"object":"list","data":[{"id":"canned","object":"model","created":0,"owned_by":"genbench"}]}'
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
ANSWER = (HEAD % len(EMBEDDING % (0, 0))).replace(b"%", b"%%") + EMBEDDING
MODEL_LIST = HEAD % len(MODELS) + MODELS
LENGTH = b"content-length:"


class Canned(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's do not inherit from it

    def data_received(self, data: bytes) -> None:
        """Answer every request that is whole."""
        self._buffer += data
        assert self._transport
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].lower() + b"\r\n"
            at = head.find(LENGTH)
            length = int(head[at + len(LENGTH) : head.index(b"\r\n", at)]) if at >= 0 else 0
            if len(self._buffer) < end + 4 + length:
                return
            if self._buffer.startswith(b"P"):
                tokens = self._buffer.count(b" ", end, end + 4 + length) + 1
                self._transport.write(ANSWER % (tokens, tokens))
            else:
                self._transport.write(MODEL_LIST)
            self._buffer = self._buffer[end + 4 + length :]


async def main() -> None:
    """Serve on a free port until standard input ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Canned, "127.0.0.1", 0, backlog=1024)
    sys.stdout.write(f"canned answers at http://127.0.0.1:{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    over = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), over.set)
    await over.wait()
    loop.remove_reader(sys.stdin.fileno())


if __name__ == "__main__":
    try:
        import uvloop

        uvloop.run(main())
    except ImportError:
        asyncio.run(main())
