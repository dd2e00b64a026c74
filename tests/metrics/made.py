"""Records made by hand: times in ms from 0, so that the arithmetic in a test's comment is the test's."""

from collections.abc import Sequence
from typing import Any

from genbench.types import MISSING, EventKind, Outcome, Record

MS = 1_000_000


def ns(ms: float) -> int:
    return round(ms * MS)


def stream(
    index: int,
    sent: float,
    content: Sequence[float],
    *,
    end: float | None = None,
    kinds: Sequence[EventKind] | None = None,
    tokens: Sequence[int] | None = None,
    outcome: Outcome = Outcome.OK,
    osl: int | None = None,
    isl: int = 10,
    **other: Any,
) -> Record:
    """A streamed request sent at `sent` ms, with a role event, content events at `content` ms, and a finish event."""
    last = content[-1] if content else sent + 1
    kinds = kinds if kinds is not None else [EventKind.CONTENT] * len(content)
    times = [sent + 0.5, *content, last]
    record = Record(
        index=index,
        streamed=True,
        intended_ns=ns(sent - 0.25),
        ready_ns=ns(sent - 0.25),
        start_ns=ns(sent - 0.125),
        sent_ns=ns(sent),
        sent_end_ns=ns(sent + 0.0625),
        headers_ns=ns(sent + 0.5),
        end_ns=ns(end if end is not None else last),
        event_ns=[ns(t) for t in times],
        event_kind=[EventKind.ROLE, *kinds, EventKind.FINISH],
        event_choice=[0] * len(times),
        event_tokens=[MISSING, *(tokens if tokens is not None else [MISSING] * len(content)), MISSING],
        event_shared=[0] * len(times),
        isl_usage=isl,
        osl_usage=len(content) if osl is None else osl,
        finish_reason="length",
        status=200,
        outcome=outcome,
        done=True,
    )
    for name, value in other.items():
        setattr(record, name, value)
    return record
