"""The time-outs that are the user's: no token within so long, no end within so long.

Both run from the request's own clock points: the first token from `sent_ns`, the end from `start_ns` (a wait for a
connection counts, as it does for who waits for the answer). Each is a queue in the order of sending with one timer for
its oldest request, so a request costs two dictionary entries and no timer of its own. What has arrived is decoded
before a request is given up: a token that came in time is never missed for want of decoding.
"""

import asyncio
from collections.abc import Callable

from genbench.clock import now_ns
from genbench.transport.exchange import Exchange
from genbench.types import MISSING, Outcome

GiveUp = Callable[[Exchange, Outcome, str], None]


class Deadlines:
    """`has_token` decodes and tells; `give_up` ends an exchange. A limit of None never comes."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        first_token_ns: int | None,
        total_ns: int | None,
        has_token: Callable[[Exchange], bool],
        give_up: GiveUp,
    ) -> None:
        self._loop = loop
        self._first_token_ns, self._total_ns = first_token_ns, total_ns
        self._has_token, self._give_up = has_token, give_up
        self._without_token: dict[Exchange, None] = {}
        self._without_end: dict[Exchange, None] = {}
        self._timers: dict[Callable[[], None], asyncio.TimerHandle] = {}

    def add(self, exchange: Exchange) -> None:
        """A request leaves."""
        if self._first_token_ns is not None:
            self._without_token[exchange] = None
            self._at_latest(self._look_for_tokens, self._first_token_ns)
        if self._total_ns is not None:
            self._without_end[exchange] = None
            self._at_latest(self._look_for_ends, self._total_ns)

    def remove(self, exchange: Exchange) -> None:
        """A request has ended."""
        self._without_token.pop(exchange, None)
        self._without_end.pop(exchange, None)

    def close(self) -> None:
        """No timer is left."""
        for timer in self._timers.values():
            timer.cancel()

    def _at_latest(self, look: Callable[[], None], wait_ns: int) -> None:
        if look not in self._timers:
            self._timers[look] = self._loop.call_later(max(0, wait_ns) / 1e9, look)

    def _again(self, look: Callable[[], None], waiting: dict[Exchange, None], wait_ns: int) -> None:
        """Only now, at the end of a look: a request sent in the midst of one must not put off those before it."""
        del self._timers[look]
        if waiting:
            self._at_latest(look, wait_ns)

    def _look_for_tokens(self) -> None:
        limit = wait = self._first_token_ns or 0
        for exchange in list(self._without_token):
            sent = exchange.record.sent_ns
            if sent != MISSING and sent + limit > now_ns():
                wait = sent + limit - now_ns()
                break
            self._without_token.pop(exchange, None)
            if sent == MISSING:  # it has no connection yet: to the back
                self._without_token[exchange] = None
            elif not self._has_token(exchange):
                self._give_up(exchange, Outcome.TIMEOUT_FIRST_TOKEN, f"no token within {limit / 1e9:g} s")
        self._again(self._look_for_tokens, self._without_token, wait)

    def _look_for_ends(self) -> None:
        limit = wait = self._total_ns or 0
        for exchange in list(self._without_end):
            if exchange.record.start_ns + limit > now_ns():
                wait = exchange.record.start_ns + limit - now_ns()
                break
            self._without_end.pop(exchange, None)
            self._give_up(exchange, Outcome.TIMEOUT_TOTAL, f"no end within {limit / 1e9:g} s")
        self._again(self._look_for_ends, self._without_end, wait)
