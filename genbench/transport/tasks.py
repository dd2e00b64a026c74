"""What the transports over a library share: a task for each exchange, one end for each, one table of errors.

Rules
- `send` only makes a task; it begins in the loop's next turn, and that wait is the client's own (`client_lag`).
- An exchange ends exactly once: by its task, or by `cancel`, which ends it on the spot. A task that was cancelled finds
  out at its next await and touches neither the reply nor the record after that.
- Whatever a library raises becomes an outcome here, in `outcome_of`, and nowhere else.
- `CURRENT` tells a library's callbacks, which know nothing of exchanges, for which one they are called.
"""

import asyncio
import errno
import os
import re
import ssl
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from genbench.clock import now_ns
from genbench.transport.connection import tls_message
from genbench.transport.exchange import Address, Exchange, Timeouts
from genbench.types import MISSING, Outcome, Record

CURRENT: ContextVar[Exchange | None] = ContextVar("CURRENT", default=None)
RESET = (errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE)
UNFINISHED = re.compile("disconnected|closed connection|not completed", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Errors:
    """A library's exceptions by their meaning. `broken`: the answer is not HTTP, or (by its text) not all of it."""

    timeout: tuple[type[BaseException], ...]
    broken: tuple[type[BaseException], ...]
    lost: tuple[type[BaseException], ...]


class TaskTransport:
    """An `exchange.Transport` but for the part that a library does: `carry`, `errors`, `open`, `facts`, `shut`."""

    errors = Errors((), (), ())

    def __init__(self, loop: asyncio.AbstractEventLoop, addresses: Sequence[Address], timeouts: Timeouts) -> None:
        self.loop = loop
        self.addresses = tuple(addresses)
        self.timeouts = timeouts
        self.connections = Numbers()
        self._live: dict[Exchange, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()  # those of ended exchanges, too, until they have noticed

    async def carry(self, exchange: Exchange) -> None:
        """Send one request and read its answer to the end, `record.end_ns` included; may raise anything."""
        raise NotImplementedError

    async def shut(self) -> None:
        """Close what the library holds open."""
        raise NotImplementedError

    def send(self, exchange: Exchange) -> None:
        """Start a request in a task of its own."""
        exchange.record.start_ns = now_ns()
        exchange.record.request_bytes = len(exchange.request.body)
        task = self.loop.create_task(self._run(exchange))
        self._live[exchange] = task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def cancel(
        self, exchange: Exchange, outcome: Outcome = Outcome.CANCELLED, why: str = "cancelled by the client"
    ) -> None:
        """End an exchange, wherever it is."""
        task = self._live.get(exchange)
        if task is None:
            return
        task.cancel()
        if exchange.record.sent_ns == MISSING:
            why += " while connecting"
        self._end(exchange, outcome, why)

    async def close(self) -> None:
        """Close everything; nothing is reported any more."""
        self._live.clear()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.shut()

    def arrived(self, exchange: Exchange, t_ns: int, data: bytes) -> None:
        """Keep a piece of the body and tell the engine."""
        exchange.reply.chunks.append((t_ns, data))
        if not exchange.queued:
            exchange.arrived(exchange)

    async def _run(self, exchange: Exchange) -> None:
        CURRENT.set(exchange)
        outcome: Outcome | None = Outcome.CANCELLED
        why = "its task was cancelled"  # and not by `cancel`: the loop is being shut down
        try:
            await self.carry(exchange)
            outcome, why = None, ""
        except Exception as error:  # what a library raises is the network's doing, or shows in the error's text
            outcome, why = outcome_of(error, self.errors, exchange.record, self.timeouts)
        finally:
            exchange.connection = None
            if exchange in self._live:
                self._end(exchange, outcome, why)

    def _end(self, exchange: Exchange, outcome: Outcome | None, why: str) -> None:
        del self._live[exchange]
        if outcome is not None:
            exchange.record.end_ns = now_ns()
            exchange.reply.until_close = False
        exchange.reply.outcome = outcome
        exchange.reply.error = why
        exchange.done(exchange)


class Numbers:
    """Numbers for a library's connections (any object that lives as long as one), in the order they are first seen."""

    def __init__(self) -> None:
        self._known: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
        self.count = 0

    def of(self, connection: Any) -> tuple[int, bool]:
        """Its number, and whether it is new."""
        number = self._known.get(connection)
        if number is not None:
            return number, False
        self._known[connection] = self.count
        self.count += 1
        return self.count - 1, True


def outcome_of(error: Exception, errors: Errors, record: Record, timeouts: Timeouts) -> tuple[Outcome, str]:
    """What an exception means for its request, by how far the request had come; the words are the wire transport's."""
    chain = list(_causes(error))
    connecting = record.sent_ns == MISSING
    if any(isinstance(one, (TimeoutError, *errors.timeout)) for one in chain):
        if connecting:
            return Outcome.TIMEOUT_CONNECT, f"no connection within {timeouts.connect_ns / 1e9:g} s"
        return Outcome.TIMEOUT_IDLE, f"no byte for {timeouts.idle_ns / 1e9:g} s"
    for one in reversed(chain):  # the innermost is OpenSSL's own
        if isinstance(one, ssl.SSLError) and (connecting or not isinstance(one, ssl.SSLEOFError)):
            return Outcome.TLS_ERROR, tls_message(one)
    numbers = [one.errno or 0 for one in reversed(chain) if isinstance(one, OSError)]
    number = next((one for one in numbers if one > 0), 0)  # those of name lookups are negative
    if connecting:
        if number in RESET or (not number and isinstance(chain[-1], ConnectionError)):  # TCP was up
            who = os.strerror(number).lower() if number else "the server closed the connection"
            return Outcome.TLS_ERROR, f"{who} during the TLS handshake"
        return Outcome.CONNECT_ERROR, os.strerror(number) if number else _said(chain[-1])
    broken = next((one for one in chain if isinstance(one, errors.broken)), None)
    if broken is not None and not UNFINISHED.search(str(broken)):
        return Outcome.PROTOCOL_ERROR, _said(broken)
    if any(isinstance(one, (OSError, *errors.broken, *errors.lost)) for one in chain):
        who = os.strerror(number).lower() if number else "the server closed the connection"
        when = "it answered" if record.headers_ns == MISSING else "the response was complete"
        return Outcome.TRUNCATED, f"{who} before {when}"
    return Outcome.PROTOCOL_ERROR, _said(error)


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        yield found
        found = found.__cause__ or found.__context__


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
