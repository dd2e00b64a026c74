"""One request on its way: what the engine hands to a transport, and what comes back.

The transport fills `reply` and the clock points of `record`, calls `arrived(exchange)` when there is something to
decode and `done(exchange)` exactly once, when the response has ended, whichever way. Nothing here decodes.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from genbench.types import Record, Reply, Request

if TYPE_CHECKING:
    from genbench.decode import ResponseDecoder

Callback = Callable[["Exchange"], None]


class Exchange:
    """Live state of one request; `queued`, `ended` and `broken` belong to the engine's decoding queue."""

    __slots__ = ("arrived", "broken", "connection", "decoder", "done", "ended", "queued", "record", "reply", "request")

    def __init__(self, request: Request, record: Record, arrived: Callback, done: Callback) -> None:
        self.request = request
        self.record = record
        self.reply = Reply()
        self.arrived = arrived
        self.done = done
        self.connection: Any = None
        self.decoder: ResponseDecoder | None = None
        self.broken = ""
        self.queued = False
        self.ended = False


class Transport(Protocol):
    """Bytes out, (time, bytes) in."""

    async def open(self, connections: int) -> list[int]:
        """Open so many connections ahead; returns how long each took in ns. Failures show in the requests later."""

    def send(self, exchange: Exchange) -> None:
        """Start a request; never raises for what the network does."""

    def cancel(self, exchange: Exchange) -> None:
        """Give an exchange up: it ends as `cancelled` with what had arrived."""

    def close(self) -> None:
        """Close every connection."""

    def facts(self) -> dict[str, Any]:
        """For the run's header: name, source of the time stamps, counts of what went differently."""
