"""A run's records beside the engine's log: which events are compared, how requests are matched, the errors."""

from typing import Any

import numpy as np

from genbench.records import table_from
from genbench.studies import truth
from genbench.types import EventKind, Outcome, Record

ROLE, CONTENT, FINISH = EventKind.ROLE, EventKind.CONTENT, EventKind.FINISH


def answer(sent_ns: int, connection: int, *events: tuple[EventKind, int, int]) -> Record:
    """An answer that is ok, of (kind, time, shared) events."""
    record = Record(index=sent_ns, connection=connection, sent_ns=sent_ns, end_ns=events[-1][1], streamed=True)
    record.outcome = Outcome.OK
    for kind, t_ns, shared in events:
        record.event_ns.append(t_ns)
        record.event_kind.append(kind)
        record.event_choice.append(0)
        record.event_tokens.append(1)
        record.event_shared.append(shared)
    return record


def entry(received_ns: int, connection: int, *events: tuple[str, int]) -> dict[str, Any]:
    """A request as GET /truth has it."""
    return {
        "id": f"sim-{received_ns}",
        "connection": connection,
        "received_ns": received_ns,
        "events": [(kind, t_ns, 1) for kind, t_ns in events],
    }


def test_only_events_alone_in_their_read_are_compared() -> None:
    table = table_from(
        [
            # role with the first token: its stamp is its own, but the gap after it is left out.
            # The tokens at 400 came in one read, so the first of them has the other's stamp: three gaps are left out.
            answer(
                100, 1, (ROLE, 200, 0), (CONTENT, 200, 1), (CONTENT, 300, 0), (CONTENT, 400, 0), (CONTENT, 400, 1),
                (CONTENT, 500, 0), (CONTENT, 600, 0), (FINISH, 700, 0),
            ),
            # the first token came with the second: its stamp is the second's
            answer(110, 2, (ROLE, 190, 0), (CONTENT, 250, 0), (CONTENT, 250, 1), (CONTENT, 350, 0)),
        ]
    )  # fmt: skip
    first, second = truth.seen(table)
    assert first.gaps_ns is not None
    assert first.clean is not None
    assert first.gaps_ns.tolist() == [100, 100, 0, 100, 100]
    assert first.clean.tolist() == [False, False, False, False, True]
    assert (first.ttft_ns, first.exact, first.sent_ns, first.connection) == (100, True, 100, 1)
    assert (second.ttft_ns, second.exact) == (140, False)
    assert second.clean is not None
    assert second.clean.tolist() == [False, False]


def test_the_last_token_with_the_finish_event_has_the_wrong_stamp() -> None:
    table = table_from([answer(100, 1, (CONTENT, 200, 0), (CONTENT, 300, 0), (CONTENT, 400, 0), (FINISH, 400, 1))])
    (one,) = truth.seen(table)
    assert one.clean is not None
    assert one.clean.tolist() == [True, False]


def test_requests_are_matched_by_their_order_and_connection() -> None:
    table = table_from(
        [
            answer(1_000_000_100, 7, (CONTENT, 1_000_000_300, 0), (CONTENT, 1_000_000_420, 0)),
            answer(1_000_000_110, 9, (CONTENT, 1_000_000_350, 0), (CONTENT, 1_000_000_450, 0)),
        ]
    )
    preflight = entry(5, 1, ("content", 9))
    entries = [
        preflight,
        entry(1_000_000_130, 3, ("role", 1_000_000_200), ("content", 1_000_000_340), ("content", 1_000_000_430)),
        entry(1_000_000_120, 2, ("content", 1_000_000_290), ("content", 1_000_000_400), ("done", 1_000_000_500)),
    ]
    matched = truth.pairs(truth.seen(table), truth.logged(entries))
    assert [(mine.connection, theirs.connection) for mine, theirs in matched] == [(7, 2), (9, 3)]
    # TTFT 200 against 290 - 120 = 170; 240 against 340 - 130 = 210. Gaps 120 against 110; 100 against 90.
    assert truth.ttft_errors_ns(matched).tolist() == [30, 30]
    assert truth.gap_errors_ns(matched).tolist() == [10, 10]
    assert truth.quantiles_ms(np.array([0, 2_000_000]), 50) == [1.0]
    assert truth.quantiles_ms([], 50) is None
    assert truth.pairs(truth.seen(table), truth.logged(entries[:2])) == []  # the counts differ
    entries[1]["connection"] = 2
    assert truth.pairs(truth.seen(table), truth.logged(entries)) == []  # two of ours were one of theirs
    assert truth.gap_errors_ns([]).size == 0
