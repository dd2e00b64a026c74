"""The time-outs that are the user's: no token within so long, no end within so long.

Both run from the request's own clock points: the first token from `sent_ns`, the end from `start_ns` (a wait for a
connection counts, as it does for who waits for the answer). A request that nobody asks after costs two dictionary
entries and no timer of its own: one timer for each time-out looks at those that have waited long enough. What has
arrived is decoded before a request is given up, and the token's own stamp decides: one that came in time is never
missed for want of decoding, and one that came late does not save its request.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from genbench.clock import now_ns
from genbench.transport.exchange import Exchange
from genbench.types import MISSING, Outcome

GiveUp = Callable[[Exchange, Outcome, str], None]
LOOKS = 100  # in the time of a limit, at most: 10,000 requests are looked at in a millisecond
GRAIN_NS = (1_000_000, 100_000_000)


class Deadlines:
    """`token_of` decodes and says when the first token came; `give_up` ends an exchange. A limit of None never comes.

    `guarded` calls what may raise, and ends the run in order if it does.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        first_token_ns: int | None,
        total_ns: int | None,
        token_of: Callable[[Exchange], int],
        give_up: GiveUp,
        guarded: Callable[..., None],
    ) -> None:
        self._loop = loop
        self._first_token_ns, self._total_ns = first_token_ns, total_ns
        self._token_of, self._give_up, self._guarded = token_of, give_up, guarded
        self._without_token: dict[Exchange, None] = {}
        self._without_end: dict[Exchange, None] = {}
        self._timers: dict[Any, asyncio.TimerHandle] = {}

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

    def _at_latest(self, look: Callable[[], int], wait_ns: int) -> None:
        if look not in self._timers:
            limit = (self._first_token_ns if look == self._look_for_tokens else self._total_ns) or 0
            grain = min(max(limit // LOOKS, GRAIN_NS[0]), GRAIN_NS[1])
            self._timers[look] = self._loop.call_later(max(grain, wait_ns) / 1e9, self._look, look)

    def _look(self, look: Callable[[], int]) -> None:
        """One look, then a timer for the next: a request sent in its midst must not put off those before it."""
        wait_ns = 0

        def now() -> None:
            nonlocal wait_ns
            wait_ns = look()

        try:
            self._guarded(now)
        finally:
            del self._timers[look]
        if self._without_token if look == self._look_for_tokens else self._without_end:
            self._at_latest(look, wait_ns)

    def _look_for_tokens(self) -> int:
        """Give up those without a token; returns how long until the next can be due.

        All of them are looked at: requests are not sent in the order in which they were taken up.
        """
        limit = wait = self._first_token_ns or 0
        for exchange in list(self._without_token):
            sent = exchange.record.sent_ns
            if sent == MISSING:  # it has no connection yet
                continue
            left = sent + limit - now_ns()
            if left > 0:
                wait = min(wait, left)
                continue
            self._without_token.pop(exchange, None)
            came = self._token_of(exchange)
            if came == MISSING or came > sent + limit:
                self._give_up(exchange, Outcome.TIMEOUT_FIRST_TOKEN, f"no token within {limit / 1e9:g} s")
        return wait

    def _look_for_ends(self) -> int:
        """Give up those that have not ended; returns how long until the next can be due. The oldest stand first."""
        limit = self._total_ns or 0
        for exchange in list(self._without_end):
            left = exchange.record.start_ns + limit - now_ns()
            if left > 0:
                return left
            self._without_end.pop(exchange, None)
            self._give_up(exchange, Outcome.TIMEOUT_TOTAL, f"no end within {limit / 1e9:g} s")
        return limit
