"""The wire transport: our own sockets, the kernel's stamps, httptools for the framing.

Holds the pool of connections to pinned addresses: idle ones are used last-in first-out and looked at before use, new
ones are opened on demand with at most `CONNECTS` under way. A request is sent a second time only when its
connection had carried an answer or sat idle and then closed without a byte: that is a race with the server's keep-alive
timer, not an answer. `sent_ns` stays the first.
A conversation that is to have a connection of its own (`Exchange.session`) takes any for its first turn; from then on
nobody else gets it until the last turn has ended, or the engine says that none follows. If it has closed meanwhile, the
next turn gets a new one, and that is counted.
Failures met inside `send` are reported in the loop's next turn, so the engine may send from within `done`.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any

from genbench.clock import now_ns
from genbench.transport.connection import BUSY, CONNECTING, HANDSHAKE, IDLE, Connection
from genbench.transport.exchange import Address, Exchange, Timeouts
from genbench.transport.poller import Poller
from genbench.transport.stamps import Stamps
from genbench.types import MISSING, Outcome

CONNECTS = 128


class WireTransport:
    """See `exchange.Transport`; any number of connections to each address."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        poller: Poller,
        addresses: Sequence[Address],
        timeouts: Timeouts,
        *,
        retry: bool,
    ) -> None:
        self.loop = loop
        self.poller = poller
        self.addresses = tuple(addresses)
        self.stamps = Stamps()
        self._timeouts = timeouts
        self._retry = retry
        self._idle: tuple[list[Connection], ...] = tuple([] for _ in addresses)
        self._kept: dict[int, Connection] = {}  # by conversation, between its turns
        self._live: set[Connection] = set()
        self._owner: dict[Connection, Exchange | None] = {}  # connections coming up, and who waits for them
        self._waiting: deque[Exchange] = deque()  # no connection slot yet
        self._preopening: asyncio.Future[None] | None = None
        self._connect_times: list[int] = []
        self._tried = self._opened = self._replaced = self._retried = self._waited = self._sessions_lost = 0
        self._sweep_s = max(0.01, min(1.0, timeouts.connect_ns / 1e10, timeouts.idle_ns / 1e10))
        self._sweeper = loop.call_later(self._sweep_s, self._sweep)

    # -- for the engine -----------------------------------------------------------------------------------------------

    async def open(self, connections: int) -> list[int]:
        """Open connections ahead, round robin over the addresses; those that fail the requests will find out."""
        for first in range(0, connections, CONNECTS):
            self._preopening = self.loop.create_future()
            for k in range(first, min(first + CONNECTS, connections)):
                self._connect(None, k % len(self.addresses))
            if self._owner:  # else not one could be made: the requests will say why
                await self._preopening
        self._preopening = None
        return self._connect_times

    def send(self, exchange: Exchange) -> None:
        """Start a request on an idle connection, its conversation's own where it has one, or on a new one."""
        exchange.record.start_ns = now_ns()
        if exchange.session == MISSING or exchange.record.turn == 0:
            self._place(exchange)
            return
        kept = self._kept.pop(exchange.session, None)
        if kept is None or not self._started(kept, exchange):
            self._sessions_lost += 1
            self._open_for(exchange)

    def _place(self, exchange: Exchange) -> None:
        idle = self._idle[exchange.record.target]
        while idle:
            if self._started(idle.pop(), exchange):
                return
        self._open_for(exchange)

    def _started(self, connection: Connection, exchange: Exchange) -> bool:
        """Send a request on a connection that was idle; False when that has closed."""
        if connection not in self._live:
            return False
        if connection.just_answered() or connection.alive():
            connection.start(exchange, self._data(exchange))
            return True
        if connection in self._live:  # else it noticed by itself, just now
            self.lost_idle(connection)
            connection.close()
        return False

    def _open_for(self, exchange: Exchange) -> None:
        self._waited += 1
        if len(self._owner) < CONNECTS:
            self._connect(exchange, exchange.record.target)
        else:
            self._waiting.append(exchange)

    def cancel(
        self, exchange: Exchange, outcome: Outcome = Outcome.CANCELLED, why: str = "cancelled by the client"
    ) -> None:
        """End an exchange, wherever it is."""
        if exchange.connection is not None:
            exchange.connection.give_up(outcome, why)
            return
        for connection, owner in list(self._owner.items()):
            if owner is exchange:
                connection.give_up(outcome, f"{why} while connecting")
                return
        if exchange in self._waiting:
            self._waiting.remove(exchange)
            self._end(exchange, outcome, f"{why} while waiting for a connection")

    async def close(self) -> None:
        """Close everything; nothing is reported any more."""
        self._sweeper.cancel()
        for connection in list(self._live):
            connection.close()
        self._live.clear()
        self._kept.clear()
        for idle in self._idle:
            idle.clear()
        self.stamps.close()

    def facts(self) -> dict[str, Any]:
        """Source of stamps and what went differently, for the header."""
        return {
            "transport": "wire",
            "connections_opened": self._opened,
            "connection_waits": self._waited,
            "connections_replaced": self._replaced,
            "retries": self._retried,
            "session_connections_lost": self._sessions_lost,
            **self.stamps.facts(),
        }

    # -- for the connections ------------------------------------------------------------------------------------------

    def opened(self, connection: Connection) -> None:
        """A connection is ready for its first request."""
        exchange = self._owner.pop(connection)
        self._opened += 1
        if exchange is None:
            self._connect_times.append(max(connection.tcp_end_ns, connection.tls_end_ns) - connection.start_ns)
            self._release(connection)
        else:
            exchange.record.tcp_end_ns = connection.tcp_end_ns
            exchange.record.tls_end_ns = connection.tls_end_ns
            connection.start(exchange, self._data(exchange))
        self._next_waiting()

    def finished(self, connection: Connection, exchange: Exchange) -> None:
        """An answer is complete."""
        goes_on = exchange.session != MISSING and not exchange.last
        if connection.state != IDLE:
            self._live.discard(connection)
        elif goes_on:
            self._kept[exchange.session] = connection
        else:
            self._release(connection)
        exchange.done(exchange)
        if goes_on and exchange.last:  # the engine found no turn to follow
            kept = self._kept.pop(exchange.session, None)
            if kept is not None and kept in self._live:
                self._release(kept)

    def broken(
        self,
        connection: Connection,
        exchange: Exchange | None,
        outcome: Outcome,
        why: str,
        *,
        came_up: bool,
        retry: bool,
    ) -> None:
        """A connection failed, before it was ready (then its owner fails) or with an exchange on it."""
        self._live.discard(connection)
        if not came_up:
            exchange = self._owner.pop(connection, None)
            self._next_waiting()
        if exchange is None:
            return
        exchange.connection = None
        if (
            retry
            and self._retry
            and exchange.record.attempts == 1
            and (connection.answers or _sat_idle(connection, exchange))
        ):
            self._sessions_lost += exchange.session != MISSING and exchange.record.turn > 0
            exchange.record.attempts = 2
            exchange.record.sent_end_ns = MISSING
            self._retried += 1
            self._connect(exchange, exchange.record.target)
            return
        self._end(exchange, outcome, why)

    def lost_idle(self, connection: Connection) -> None:
        """The server closed a connection that nobody was using."""
        self._live.discard(connection)
        idle = self._idle[connection.target]
        if connection in idle:
            idle.remove(connection)
        self._replaced += 1

    # -- within -------------------------------------------------------------------------------------------------------

    def _data(self, exchange: Exchange) -> bytes:
        body = exchange.request.body
        return b"%b%d\r\n\r\n%b" % (self.addresses[exchange.record.target].head, len(body), body)

    def _connect(self, exchange: Exchange | None, target: int) -> None:
        try:
            connection = Connection(self, self._tried, target)
            self._tried += 1
        except OSError as error:  # no descriptor, no port
            if exchange is not None:
                self.loop.call_soon(self._end, exchange, Outcome.CONNECT_ERROR, f"{error.strerror or error}")
            return
        self._live.add(connection)
        self._owner[connection] = exchange

    def _release(self, connection: Connection) -> None:
        self._idle[connection.target].append(connection)

    def _next_waiting(self) -> None:
        while self._waiting and (len(self._owner) < CONNECTS or self._idle[self._waiting[0].record.target]):
            self._waited -= 1  # it was counted when it began to wait
            self._place(self._waiting.popleft())
        if self._preopening is not None and not self._owner and not self._preopening.done():
            self._preopening.set_result(None)

    def _end(self, exchange: Exchange, outcome: Outcome, why: str) -> None:
        exchange.record.end_ns = now_ns()
        exchange.reply.outcome = outcome
        exchange.reply.error = why
        exchange.done(exchange)

    def _sweep(self) -> None:
        """Time-outs, to within a tenth of their length: cheaper than a timer for every request."""
        self.stamps.check()
        now = now_ns()
        for connection in list(self._live):
            if connection.state in (CONNECTING, HANDSHAKE):
                if now - connection.start_ns > self._timeouts.connect_ns:
                    seconds = self._timeouts.connect_ns / 1e9
                    connection.give_up(Outcome.TIMEOUT_CONNECT, f"no connection within {seconds:g} s")
            elif connection.state == BUSY and now - connection.last_ns > self._timeouts.idle_ns:
                seconds = self._timeouts.idle_ns / 1e9
                connection.give_up(Outcome.TIMEOUT_IDLE, f"no byte for {seconds:g} s")
        self._sweeper = self.loop.call_later(self._sweep_s, self._sweep)


def _sat_idle(connection: Connection, exchange: Exchange) -> bool:
    """Whether the connection was open before this request wanted one."""
    return connection.tcp_end_ns < exchange.record.start_ns
