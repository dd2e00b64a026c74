"""Figures over time, by their numbers."""

import numpy as np
import pytest

from genbench.plots import client_lag, latency_over_run, outcomes_over_run, throughput_over_run, timeline
from genbench.plots._figure import MOST, Table
from genbench.types import Outcome, Phase, Record
from tests.metrics.made import ns, stream
from tests.plots.made_runs import embedding, refused, run_of, usual


def test_time_begins_with_the_first_measured_send_and_the_warm_up_lies_before_it() -> None:
    warm = stream(0, 500, [540], phase=Phase.WARMUP, osl=7)
    measured = [stream(1 + i, 1000 + 100.0 * i, [1000 + 100.0 * i + 30 + i], osl=5 + i) for i in range(3)]
    table = latency_over_run.data(run_of([warm, *measured]))
    np.testing.assert_allclose(table.columns["from_s"], [-0.5, 0, 0.1, 0.2])
    np.testing.assert_allclose(table.columns["from_ms"], [40, 30, 31, 32])
    assert table.columns["osl_tokens"].tolist() == [7, 5, 6, 7]
    assert [(mark.text, mark.low, mark.high) for mark in table.marks] == [("warm-up", -0.5, 0.0)]
    assert table.note == "4 requests; shaded: warm-up"


def test_the_steady_window_is_what_is_not_shaded() -> None:
    run = usual()
    assert "steady_duration" in run.summary.run
    marks = {mark.text: mark for mark in latency_over_run.data(run).marks}
    # the first measured four leave at 150 ... 153 ms: a ramp of 3 ms, too short to be drawn; the last four at 2250 ms
    assert set(marks) == {"warm-up", "tail"}
    assert marks["tail"].low == pytest.approx(2.253 - 0.150)
    assert marks["warm-up"].low == pytest.approx(-0.150)


def test_many_requests_become_cells_that_hold_them_all() -> None:
    made = [stream(i, 10.0 * i, [10.0 * i + 20 + i % 50], osl=1 + i % 3) for i in range(MOST + 500)]
    table = latency_over_run.data(run_of(made))
    assert len(table) <= MOST
    assert table.columns["requests"].sum() == MOST + 500
    assert (table.columns["to_s"] > table.columns["from_s"]).all()
    assert table.note.startswith("2,500 requests in 80 x 25 cells")
    # the mean of 1, 2 and 3 tokens over all cells
    assert np.average(table.columns["osl_tokens"], weights=table.columns["requests"]) == pytest.approx(1.9996)


def test_cells_are_even_on_the_axis_they_are_drawn_on() -> None:
    made = [stream(i, 10.0 * i, [10.0 * i + 10 ** (1 + 3 * i / 2500)]) for i in range(2501)]  # 10 ms ... 10 s
    columns = latency_over_run.data(run_of(made)).columns
    ratios = columns["to_ms"] / columns["from_ms"]
    assert ratios == pytest.approx(10 ** (3 / 25))  # three powers of ten in 25 steps: a logarithmic axis


def test_tokens_are_booked_when_they_came_and_requests_while_they_were_in_flight() -> None:
    run = run_of([stream(i, 1000, [1000.0 + 100 * k for k in range(1, 11)]) for i in range(2)])
    table = throughput_over_run.data(run)
    # 20 tokens: 8 bins of 125 ms; two tokens each at 100, 200 ... 1000 ms; 500 is in the fifth, 1000 in the last
    assert (table.columns["to_s"] - table.columns["from_s"]).tolist() == [0.125] * 8
    np.testing.assert_allclose(table.columns["output_tps"] * 0.125, [2, 2, 2, 2, 4, 2, 2, 4])
    assert table.columns["in_flight"].tolist() == [2.0] * 8


def test_the_mean_in_flight_is_weighted_by_time() -> None:
    # one from 0 to 800 ms, one from 150 to 250 ms: bins of 100 ms have 1, 1.5, 1.5, 1 ... in flight
    run = run_of([stream(0, 1000, [1100, 1800]), stream(1, 1150, [1200, 1250])])
    table = throughput_over_run.data(run)
    np.testing.assert_allclose(table.columns["in_flight"], [1, 1.5, 1.5, 1, 1, 1, 1, 1])


def test_events_that_tell_their_tokens_are_booked_with_them() -> None:
    # 9 tokens at 400 ms and 1 at 800 ms
    table = throughput_over_run.data(run_of([stream(0, 0, [400, 800], tokens=[9, 1], osl=10)]))
    np.testing.assert_allclose(table.columns["output_tps"] * 0.1, [0, 0, 0, 0, 9, 0, 0, 1])


def test_tokens_of_answers_that_failed_do_not_count() -> None:
    made = [stream(0, 0, [400, 800]), stream(1, 0, [100, 200], end=300, outcome=Outcome.TRUNCATED)]
    table = throughput_over_run.data(run_of(made))
    assert (table.columns["output_tps"] * 0.1).sum() == pytest.approx(2)


def test_embeddings_have_inputs_and_an_unknown_length_has_answers() -> None:
    inputs = throughput_over_run.data(run_of([embedding(i) for i in range(4)])).columns
    width = inputs["to_s"] - inputs["from_s"]
    assert (inputs["inputs_ps"] * width).sum() == pytest.approx(12)
    unknown = throughput_over_run.data(run_of([stream(i, 50.0 * i, [50.0 * i + 9], osl=-1) for i in range(4)])).columns
    assert (unknown["requests_ps"] * (unknown["to_s"] - unknown["from_s"])).sum() == pytest.approx(4)


def test_outcomes_are_counted_where_they_ended() -> None:
    made = [stream(i, 100.0 * i, [100.0 * i + 50]) for i in range(8)]
    made += [stream(8 + i, 400, [420], end=500, outcome=Outcome.TRUNCATED) for i in range(2)]
    table = outcomes_over_run.data(run_of(made))
    # ends at 50, 150 ... 750 ms and twice 500 ms: five bins of 150 ms; ok 1 (50), 2 (150, 250), 1 (350), 2, 2
    rows = list(zip(table.columns["outcome"], table.columns["from_s"].round(3), table.columns["requests"], strict=True))
    assert rows == [
        ("ok", 0, 1),
        ("ok", 0.15, 2),
        ("ok", 0.3, 1),
        ("ok", 0.45, 2),
        ("ok", 0.6, 2),
        ("truncated", 0.45, 2),
    ]
    np.testing.assert_allclose(table.columns["requests_ps"], table.columns["requests"] / 0.15)
    assert table.note == "8 ok, 2 truncated; in bins of 150 ms"


def test_more_kinds_of_failure_than_colours_share_one() -> None:
    kinds = [Outcome.TRUNCATED] * 5 + [Outcome.HTTP_ERROR] * 4 + [Outcome.STREAM_ERROR] * 3 + [Outcome.TIMEOUT_IDLE] * 2
    kinds += [Outcome.EMPTY_BODY, Outcome.TIMEOUT_TOTAL, Outcome.OK]
    table = outcomes_over_run.data(
        run_of([stream(i, 10.0 * i, [10.0 * i + 5], outcome=k) for i, k in enumerate(kinds)])
    )
    found = {
        kind: table.columns["requests"][table.columns["outcome"] == kind].sum() for kind in table.columns["outcome"]
    }
    assert found == {"ok": 1, "truncated": 5, "http_error": 4, "stream_error": 3, "timeout_idle": 2, "other": 2}
    assert "1 empty_body, 1 timeout_total" in table.note


def test_requests_that_were_never_sent_have_an_outcome_too() -> None:
    table = outcomes_over_run.data(run_of([refused(i) for i in range(5)]))
    assert table.columns["requests"].sum() == 5
    assert set(table.columns["outcome"]) == {"connect_error"}


def lag(table: Table, what: str) -> list[float]:
    found: list[float] = table.columns["lag_ms"][table.columns["what"] == what].tolist()
    return found


def test_the_clients_lag_is_that_of_its_sends_and_its_loop() -> None:
    made = []
    for i in range(40):
        record = stream(i, 100.0 * i, [100.0 * i + 20])
        record.ready_ns = record.sent_ns - ns(1 + i % 4)  # 1, 2, 3, 4 ms late, ten times
        made.append(record)
    made[0].ready_ns = made[0].sent_ns  # time zero itself has no lag, so no negative time for a lag of none
    series = {"t_ns": [ns(1000), ns(2000)], "loop_lag_max_ns": [300_000, 7_000_000]}
    table = client_lag.data(run_of(made, health={"series": series}))
    # ten bins of four sends: 1 2 3 4 has the median 2.5 and the p99 3 + 0.97; the first has 0 2 3 4
    np.testing.assert_allclose(lag(table, "p50"), [2.5] * 10)
    np.testing.assert_allclose(lag(table, "p99"), [3.97] * 10)
    np.testing.assert_allclose(lag(table, "max"), [4] * 10)
    assert lag(table, "loop lag, worst of a second") == [0.3, 7.0]
    assert table.columns["time_s"][-2:].tolist() == [1.0, 2.0]


def test_a_request_has_parts_for_what_it_waited_for() -> None:
    whole = stream(1, 20, [60], end=70, intended_ns=ns(12))
    whole.streamed = False
    made: list[Record] = [
        stream(0, 10, [40, 80], intended_ns=ns(4), end=81),
        whole,
        stream(2, 30, [50, 60], end=90, outcome=Outcome.TRUNCATED, intended_ns=ns(30)),
    ]
    table = timeline.data(run_of(made))
    rows = sorted(
        zip(*(table.columns[name].tolist() for name in ("request", "from_s", "to_s", "part")), strict=True),
    )
    expected = [  # from the first send at 10 ms
        (0, -0.006, 0.0, "waiting (client)"),
        (0, 0.0, 0.03, "to the first token"),
        (0, 0.03, 0.071, "first token to end"),
        (1, 0.002, 0.01, "waiting (client)"),
        (1, 0.01, 0.06, "answer in one piece"),
        (2, 0.02, 0.04, "to the first token"),
        (2, 0.04, 0.08, "failed"),
    ]
    assert [(r, round(a, 6), round(b, 6), part) for r, a, b, part in rows] == expected
    assert table.note == "all 3 requests"


def test_of_many_requests_the_first_200_after_the_warm_up_are_drawn() -> None:
    made = [stream(i, 10.0 * i, [10.0 * i + 5], phase=Phase(i >= 30)) for i in range(400)]
    table = timeline.data(run_of(made))
    assert (table.columns["request"].min(), table.columns["request"].max()) == (30, 229)
    assert table.note == "200 of 400 requests, the first after the warm-up"


def test_the_timeline_shades_what_the_other_figures_shade_as_far_as_it_reaches() -> None:
    table = timeline.data(usual())
    others = latency_over_run.data(usual()).marks
    assert [mark.text for mark in table.marks] == [mark.text for mark in others] == ["warm-up", "tail"]
    # the first of all was sent at 0 ms, the first measured one at 150 ms
    assert table.marks[0].low == pytest.approx(-0.150)
    assert table.marks[0].high == 0.0
    assert table.note == "all 64 requests; shaded: warm-up, tail"
    assert timeline.data(run_of([stream(i, 10.0 * i, [10.0 * i + 5]) for i in range(8)])).marks == ()


def test_a_phase_that_the_timeline_does_not_reach_is_not_shaded() -> None:
    made = [stream(i, 10.0 * i, [10.0 * i + 5], phase=Phase(i >= 30)) for i in range(400)]
    made[30].intended_ns = ns(150)  # waited half of the warm-up: from 150 ms, and the first measured send is at 300 ms
    table = timeline.data(run_of(made))
    assert [(mark.text, mark.low, mark.high) for mark in table.marks] == [("warm-up", -0.15, 0.0)]
    made[30].intended_ns = ns(299)  # of 2 s less than can be seen
    assert timeline.data(run_of(made)).marks == ()
