import numpy as np
import pytest

from genbench.metrics import steady
from genbench.metrics.definitions import METRICS
from genbench.records import RecordTable, table_from
from genbench.types import Outcome, Phase, Record, RunValue
from tests.metrics.made import ns, stream

TTFT = {row.key: row for row in METRICS}["ttft"]


def figures(
    table: RecordTable, span: tuple[int, int], *, open_loop: bool = False
) -> tuple[dict[str, RunValue], steady.Unsteady | None]:
    return steady.figures(table, TTFT.of(table), span, open_loop=open_loop)


def lanes(count: int, rounds: int, *, stagger: float = 25, slower: float = 0) -> list[Record]:
    """`count` users with requests of 100 ms back to back: tokens 40 and 100 ms after the send."""
    records: list[Record] = []
    for k in range(rounds):
        for lane in range(count):
            sent = lane * stagger + 100 * k
            first = 40 + (slower if k >= rounds / 2 else 0)
            records.append(stream(len(records), sent, [sent + first, sent + 100], osl=10))
    return records


def test_window_of_a_closed_loop() -> None:
    """4 users begin at 0 25 50 75; 10 rounds; the last send is at 75 + 900."""
    table = table_from(lanes(4, 10))
    assert steady.window(table, 4, open_loop=False) == (ns(75), ns(975))
    assert steady.window(table, None, open_loop=False) == (ns(75), ns(975))  # the most that were ever in flight
    assert steady.window(table, 5, open_loop=False) is None  # five were never in flight


def test_warmup_does_not_fill_the_slots() -> None:
    records = lanes(2, 15)
    for record in records[:4]:
        record.phase = Phase.WARMUP
    # measured begins with the third round: user 0 at 200, user 1 at 225
    assert steady.window(table_from(records), 2, open_loop=False) == (ns(225), ns(1425))


def test_window_of_an_open_loop() -> None:
    records = [stream(i, 10 * i + 0.5, [10 * i + 5], intended_ns=ns(10 * i)) for i in range(30)]
    assert steady.window(table_from(records), None, open_loop=True) == (0, ns(290))


def test_short_runs_have_no_window() -> None:
    assert steady.window(table_from(lanes(1, 15)), 1, open_loop=False) is None
    assert steady.window(table_from([]), 1, open_loop=False) is None


def test_figures_by_hand() -> None:
    """From 75 to 975 in 0.9 s: each user's requests end every 100 ms, each with 5 tokens at 40 and 5 at 100 ms.

    Ends in [75, 975): user 0 at 100..900: 9; user 1 at 125..925: 9; user 2 at 150..950: 9; user 3 at 175..: 8 (975 is
    outside); together 35. First tokens: user 0 at 140..940: 9; user 1 at 65 + 100k, 165..965: 9; user 2 at 90..890: 9,
    user 3 at 115..915: 9; together 36. Tokens: 5 * (35 + 36) = 355.
    """
    found, unsteady = figures(table_from(lanes(4, 10)), (ns(75), ns(975)))
    assert unsteady is None
    assert found["steady_duration"].value == pytest.approx(0.9)
    assert found["steady_request_throughput"].value == pytest.approx(35 / 0.9)
    assert found["steady_output_token_throughput"].value == pytest.approx(355 / 0.9)
    assert found["steady_concurrency_mean"].value == pytest.approx(4)


def test_tokens_are_booked_by_the_events_own_counts() -> None:
    """9 of 10 tokens come with the first event, inside; the last one outside."""
    table = table_from([stream(0, 0, [40, 100], tokens=[9, 1], osl=10)])
    assert steady._tokens(table, (0, ns(50))) == pytest.approx(9)


def test_no_lengths_no_token_figure() -> None:
    records = lanes(4, 10)
    for record in records:
        record.osl_usage = -1
    assert "steady_output_token_throughput" not in figures(table_from(records), (ns(75), ns(975)))[0]


def test_failed_requests_give_no_tokens_but_are_in_flight() -> None:
    records = lanes(4, 10)
    for record in records:
        record.outcome = Outcome.TRUNCATED
    found, _ = figures(table_from(records), (ns(75), ns(975)))
    assert found["steady_request_throughput"].value == 0
    assert found["steady_concurrency_mean"].value == pytest.approx(4)


def test_ttft_that_drifts_is_not_steady() -> None:
    found, unsteady = figures(table_from(lanes(4, 20, slower=10)), (ns(75), ns(1975)))
    assert found == {}
    assert unsteady is not None
    assert unsteady.text.startswith("mean TTFT")
    assert unsteady.differ_pct > 10


def test_chance_is_no_drift() -> None:
    """Poisson arrivals at 40/s for 5 s, each 0.4 s long: in many a run the halves' means differ by over 10 %."""
    rough = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        starts = np.cumsum(rng.exponential(25, 200))
        records = [stream(i, t, [t + 50, t + 400]) for i, t in enumerate(starts.tolist())]
        table = table_from(records)
        span = (ns(400), ns(float(starts[-1])))
        rough += figures(table, span)[1] is not None
        assert figures(table, span, open_loop=True)[1] is None
    assert rough > 10


def test_load_that_drifts_is_not_steady() -> None:
    """One user for 2 s, a second one for the first half of them."""
    records = lanes(1, 20) + lanes(1, 10)
    for index, record in enumerate(records):
        record.index = index
    found, unsteady = figures(table_from(records), (0, ns(2000)))
    assert found == {}
    assert unsteady is not None
    assert "requests in flight" in unsteady.text


def talks(
    users: int, each: int, turns: int, *, think: float = 30, stagger: float = 25, slower: float = 0, drift: float = 0
) -> list[Record]:
    """`users` with conversations one after the other; turns of 100 ms, TTFT 40 ms plus `slower` for each turn before.

    `drift` ms more in the second half of each user's conversations.
    """
    records: list[Record] = []
    for user in range(users):
        sent = stagger * user
        for k in range(each):
            for turn in range(turns):
                first = 40 + slower * turn + (drift if k >= each / 2 else 0)
                record = stream(
                    len(records), sent, [sent + first, sent + 100], session=user * each + k, turn=turn, osl=10
                )
                record.intended_ns = ns(sent)
                records.append(record)
                sent += 100 + (think if turn + 1 < turns else 0)
    return records


def test_window_of_a_closed_loop_with_conversations() -> None:
    """Three users begin at 0 25 50; a conversation takes 100 + 30 + 100 = 230 ms, five of them 1150 ms.

    All three are under way from 50 on, in flight together hardly ever; user 0 ends its last conversation at 1150.
    """
    table = table_from(talks(3, 5, 2))
    assert steady.window(table, 3, open_loop=False) == (ns(50), ns(1150))
    assert steady.window(table, 4, open_loop=False) is None
    found, unsteady = figures(table, (ns(50), ns(1150)))
    assert unsteady is None
    # each user is in flight for 200 of 230 ms; the window's ends cut into a conversation
    assert found["steady_concurrency_mean"].value == pytest.approx(3 * 200 / 230, rel=0.03)


def test_the_warm_ups_conversations_are_not_in_the_window() -> None:
    """The first of each user's; user 2's ends at 280, the measured ones began at 230, 255 and 280."""
    records = talks(3, 8, 2)
    for record in records:
        if record.session % 8 == 0:
            record.phase = Phase.WARMUP
    assert steady.window(table_from(records), 3, open_loop=False) == (ns(280), ns(1840))


def test_the_number_in_flight_is_not_compared_where_users_think() -> None:
    """Two of three users think for 400 ms between turns in the second half: fewer are in flight, nothing is wrong."""
    records = talks(1, 60, 2, think=0)
    sent = 0.0
    for k in range(30):
        for turn in range(2):
            records.append(
                stream(len(records), sent, [sent + 40, sent + 100], session=100 + k, turn=turn, intended_ns=ns(sent))
            )
            sent += 100 + (400 if k >= 15 and not turn else 0)
    table = table_from(records)
    span = steady.window(table, 2, open_loop=False)
    assert span is not None
    assert figures(table, span)[1] is None
    for record in records:  # without knowing that they think it is a load that falls
        record.session = -1
    unsteady = figures(table_from(records), span)[1]
    assert unsteady is not None
    assert "requests in flight" in unsteady.text


def test_ttft_is_compared_turn_by_turn() -> None:
    """One conversation of 12 turns, each 10 ms slower to begin than the one before: that is no drift of the server."""
    table = table_from(talks(4, 1, 12, slower=4))
    assert figures(table, (ns(75), ns(1500)))[1] is None
    alone = [stream(k, 130 * k, [130 * k + 40 + 4 * (k // 4), 130 * k + 100]) for k in range(48)]
    assert figures(table_from(alone), (0, ns(6200)))[1] is not None
    drifting = figures(table_from(talks(4, 20, 3, drift=20)), (ns(75), ns(6500)))[1]
    assert drifting is not None
    assert drifting.text.startswith("mean TTFT")


def test_window_of_an_open_loop_is_that_of_first_turns() -> None:
    records = [
        stream(2 * i + t, 10 * i + 500 * t, [10 * i + 500 * t + 5], session=i, turn=t, intended_ns=ns(10 * i + 500 * t))
        for i in range(30)
        for t in range(2)
    ]
    assert steady.window(table_from(records), None, open_loop=True) == (0, ns(290))


def test_conversations_arrive_together() -> None:
    """4 requests of 100 ms as one conversation weigh (400)^2, alone 4 * 100^2: the error is twice as large."""
    records = talks(1, 1, 4, think=0)
    together = steady._arrivals_error(table_from(records), 0, ns(1000))
    assert together == pytest.approx(0.4)
    for record in records:
        record.session = -1
    assert steady._arrivals_error(table_from(records), 0, ns(1000)) == pytest.approx(0.2)
