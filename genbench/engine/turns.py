"""Conversations between their turns: what comes after an answer, and when.

Rules
- A turn that ended whole (`ok` or `no_output`) is followed by the next one, `think_ns` after its last byte: that moment
  is the next turn's `intended_ns`. The plan makes its body from the answer, which is decoded on the spot.
- A turn that failed breaks its conversation. What the end of the run leaves of a conversation is cut. Either way turns
  are missing that were planned; both are counted, of the measured phase only, like everything.
"""

import heapq
from typing import NamedTuple

from genbench.engine.decoding import Decoding
from genbench.engine.pacing import NEVER
from genbench.transport.exchange import Exchange
from genbench.types import MISSING, Outcome, Phase, Record, Request


class Due(NamedTuple):
    """A request and its moment. `number` is its place in the plan where that has not handed it over (`request` None).

    They sort by their moment; no two have the same `turn` and `number`.
    """

    at_ns: int
    turn: int
    number: int
    target: int
    request: Request | None = None

    def record(self, request: Request, ready_ns: int) -> Record:
        """The record of the request as it leaves."""
        sample = request.sample
        return Record(
            index=request.index,
            target=self.target,
            session=sample.session,
            turn=sample.turn,
            phase=request.phase,
            intended_ns=self.at_ns,
            ready_ns=ready_ns,
            isl_wanted=sample.isl,
            isl_tokenizer=request.isl_tokenizer,
            osl_wanted=MISSING if request.max_tokens is None else request.max_tokens,
            inputs=max(1, len(sample.texts)),
            choices=request.choices,
        )


class Turns:
    """Later turns, from the end of the turn before to their own moment; as many as there are users thinking."""

    def __init__(self, decoding: Decoding) -> None:
        self._decoding = decoding
        self._thinking: list[Due] = []
        self.broken = self.cut = 0

    def __len__(self) -> int:
        return len(self._thinking)

    @property
    def next_ns(self) -> int:
        """When the next of them is due."""
        return self._thinking[0].at_ns if self._thinking else NEVER

    def pop(self) -> Due:
        """Take the next one out."""
        return heapq.heappop(self._thinking)

    def after(self, exchange: Exchange, stopped: bool) -> None:
        """A turn with others after it has ended: the next one becomes due, or the conversation is over.

        Raises what the plan raises when it cannot build the next turn.
        """
        record, then = exchange.record, exchange.request.then
        assert then is not None
        answer = self._decoding.answer(exchange)
        counts = record.phase == Phase.MEASURED
        if answer is None and record.outcome != Outcome.CANCELLED:
            self.broken += counts
            exchange.last = True
        elif answer is None or stopped:
            self.cut += counts
            exchange.last = True
        else:
            try:
                request = then(answer)
            except Exception:
                self.cut += counts
                exchange.last = True
                raise
            at_ns = record.end_ns + request.sample.think_ns
            heapq.heappush(self._thinking, Due(at_ns, request.sample.turn, request.index, record.target, request))

    def drop(self, waiting: list[Due]) -> None:
        """Nothing more is sent: these turns and those that are not due yet are left out."""
        for due in (*waiting, *self._thinking):
            self.cut += due.request is not None and due.request.phase == Phase.MEASURED
        self._thinking.clear()
