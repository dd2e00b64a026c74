"""One request on its way: what the engine hands to a transport, and what comes back.

The transport fills `reply` and the clock points of `record`, calls `arrived(exchange)` when there is something to
decode and `done(exchange)` exactly once, when the response has ended, whichever way. Nothing here decodes.
"""

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from genbench.types import MISSING, Outcome, Record, Reply, Request

if TYPE_CHECKING:
    from genbench.decode import ResponseDecoder

Callback = Callable[["Exchange"], None]


@dataclass(frozen=True, slots=True)
class Proxy:
    """An http proxy; `authorization` is the value of its Proxy-Authorization header (secret; empty for none)."""

    host: str
    port: int
    authorization: str = ""

    @property
    def url(self) -> str:
        """Its address, without what is secret."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Address:
    """One target: a name resolved once and pinned, and everything a request to it carries but its body.

    `sockaddr` is a path for AF_UNIX. `head` is the request's head up to where the body length goes, for a transport
    that writes its own bytes; `url` and `headers` say the same to one that does not. `proxy` is what stands between.
    """

    host: str
    family: int
    sockaddr: Any
    head: bytes
    tls: ssl.SSLContext | None = None
    url: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    proxy: Proxy | None = None


@dataclass(frozen=True, slots=True)
class Timeouts:
    """In ns: to get a connection (TCP and TLS), and between two reads of a response (the first included)."""

    connect_ns: int
    idle_ns: int


class Exchange:
    """Live state of one request; `queued`, `ended`, `judged` and `broken` belong to the engine's decoding queue.

    `session` is the conversation whose connection this request is to use, where each has one of its own (MISSING: any
    connection will do). `last` says whether the connection is free afterwards; the engine may set it in `done`, when a
    turn that was to be followed by others was not.
    """

    __slots__ = (
        "arrived",
        "broken",
        "connection",
        "decoder",
        "done",
        "ended",
        "judged",
        "last",
        "queued",
        "record",
        "reply",
        "request",
        "session",
    )

    def __init__(
        self,
        request: Request,
        record: Record,
        arrived: Callback,
        done: Callback,
        *,
        session: int = MISSING,
        last: bool = True,
    ) -> None:
        self.request = request
        self.record = record
        self.reply = Reply()
        self.arrived = arrived
        self.done = done
        self.session = session
        self.last = last
        self.connection: Any = None
        self.decoder: ResponseDecoder | None = None
        self.broken = ""
        self.queued = False
        self.ended = False
        self.judged = False


class Transport(Protocol):
    """Bytes out, (time, bytes) in. `exchange.record.target` says to which of its addresses."""

    async def open(self, connections: int) -> list[int]:
        """Open so many connections ahead; returns how long each took in ns. Failures show in the requests later."""

    def send(self, exchange: Exchange) -> None:
        """Start a request; never raises for what the network does."""

    def cancel(
        self, exchange: Exchange, outcome: Outcome = Outcome.CANCELLED, why: str = "cancelled by the client"
    ) -> None:
        """Give an exchange up: it ends with this outcome and what had arrived."""

    async def close(self) -> None:
        """Close every connection; nothing is reported any more."""

    def facts(self) -> dict[str, Any]:
        """For the run's header: name, source of the time stamps, counts of what went differently."""
