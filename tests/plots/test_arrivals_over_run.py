"""The figure of arrivals, by its numbers: what was due, what was asked, what chance makes of it, what was sent."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from genbench.metrics.summary import Run
from genbench.options import Load
from genbench.plan.schedule import arrivals
from genbench.plots import _draw, arrivals_over_run
from genbench.plots._figure import MOST, Nothing, Table, together
from genbench.plots._look import LIGHT
from genbench.types import OPEN_ENDED, Phase
from tests.metrics.made import ns, stream
from tests.plots.made_runs import run_of

GAP = 100.0  # ms


def arrived(
    due: Sequence[float], load: dict[str, Any], *, sent: Sequence[float] = (), warmup: int = 0, **header: Any
) -> Run:
    """A run whose requests were due at these ms, sent then or at `sent`, and took 20 ms each."""
    made = []
    for i, (at, left) in enumerate(zip(due, sent or due, strict=True)):
        phase = Phase.WARMUP if i < warmup else Phase.MEASURED
        made.append(stream(i, left, [left + 20], intended_ns=ns(at), ready_ns=ns(left), phase=phase))
    return run_of(made, config={"load": load}, **header)


def evenly(count: int, gap: float = GAP) -> list[float]:
    return [1000 + gap * i for i in range(count)]


def shares(table: Table, name: str) -> list[float]:
    found: list[float] = np.round(table.columns[name], 6).tolist()
    return found


def test_even_arrivals_fill_their_bins_evenly() -> None:
    load = {"request_rate": 10.0, "arrival": "constant", "duration_s": 6.0}
    table = arrivals_over_run.data(arrived(evenly(60), load))
    # 60 arrivals, 15 in a bin: four bins of 15 gaps
    assert shares(table, "from_s") == [0, 1.5, 3, 4.5]
    assert shares(table, "to_s") == [1.5, 3, 4.5, 6]
    assert shares(table, "due") == [15] * 4
    assert shares(table, "due_ps") == shares(table, "asked_from_ps") == shares(table, "asked_to_ps") == [10] * 4
    assert "low_ps" not in table.columns  # chance has no part in it
    assert "sent_ps" not in table.columns  # each left when it was due
    assert table.note == "constant gaps at 10 req/s; 60 arrivals in bins of 1.5 s; shaded: tail"


def test_even_arrivals_that_do_not_come_out_even_differ_in_the_last_bin_only() -> None:
    load = {"request_rate": 10.0, "arrival": "constant", "duration_s": 5.0}
    table = arrivals_over_run.data(arrived(evenly(50), load))
    # three bins for 50: 17, 17 and what is left, each over as many gaps as it holds
    assert shares(table, "due") == [17, 17, 16]
    assert shares(table, "due_ps") == [10] * 3
    assert "; 50 arrivals in bins of about 17; " in table.note


def test_the_band_is_what_chance_makes_of_poisson_arrivals() -> None:
    table = arrivals_over_run.data(arrived(evenly(60), {"request_rate": 10.0, "duration_s": 6.0}))
    # 15 expected in 1.5 s: 15 -+ 1.96 sqrt(15) = 7.409 ... 22.591
    np.testing.assert_allclose(table.columns["low_ps"], 7.409 / 1.5, rtol=1e-4)
    np.testing.assert_allclose(table.columns["high_ps"], 22.591 / 1.5, rtol=1e-4)


@pytest.mark.parametrize("process", [{}, {"arrival": "gamma", "burstiness": 0.5}, {"arrival": "mine.py"}])
def test_only_poisson_arrivals_have_a_band(process: dict[str, Any]) -> None:
    table = arrivals_over_run.data(arrived(evenly(60), {"request_rate": 10.0, "duration_s": 6.0, **process}))
    assert ("high_ps" in table.columns) is (not process)
    assert ("'95 % by chance'" in str(_draw.spec("arrivals_over_run", table, LIGHT))) is (not process)


def test_a_ramp_has_bins_for_equal_numbers_and_its_own_line() -> None:
    # 0 to 20 per second in 6 s: 5/3 t^2 are due by t, so arrival k at sqrt(0.6 k) s
    due = [1000 + 1000 * (0.6 * k) ** 0.5 for k in range(60)]
    table = arrivals_over_run.data(arrived(due, {"ramp": "0:20:6s", "duration_s": 6.0}))
    # 15 of the 60 by 3 s, 30 by 4.243 s, 45 by 5.196 s
    np.testing.assert_allclose(table.columns["to_s"], [3, 3 * 2**0.5, 3 * 3**0.5, 6])
    assert shares(table, "due") == [15] * 4
    np.testing.assert_allclose(table.columns["asked_from_ps"], [0, 10, 10 * 2**0.5, 10 * 3**0.5])
    np.testing.assert_allclose(table.columns["asked_to_ps"], [10, 10 * 2**0.5, 10 * 3**0.5, 20])


def test_a_ramps_last_rate_goes_on_as_a_stage_of_its_own() -> None:
    table = arrivals_over_run.data(arrived(evenly(80), {"ramp": "10:10:3s", "duration_s": 8.0}))
    assert list(zip(shares(table, "stage"), shares(table, "from_s"), strict=True)) == [
        (1, 0),
        (1, 1.5),
        (2, 3),
        (2, 4.666667),
        (2, 6.333333),
    ]


def staged(**header: Any) -> Run:
    """Stages of 10 and 20 per second with a pause between them, ten of warm-up before."""
    due = [100.0 * i for i in range(10)] + evenly(30) + [6000 + 50.0 * i for i in range(60)]
    return arrived(due, {"stages": "10@3s,0@2s,20@3s", "duration_s": 8.0}, warmup=10, **header)


def test_bins_end_where_stages_do() -> None:
    table = arrivals_over_run.data(staged())
    assert shares(table, "stage") == [0, 1, 1, 2, 3, 3, 3, 3]
    assert shares(table, "from_s") == [-1, 0, 1.5, 3, 5, 5.75, 6.5, 7.25]
    assert shares(table, "to_s")[-1] == 8
    assert shares(table, "due") == [10, 15, 15, 0, 15, 15, 15, 15]
    assert shares(table, "asked_from_ps") == [10, 10, 10, 0, 20, 20, 20, 20]
    assert (shares(table, "low_ps")[3], shares(table, "high_ps")[3]) == (0, 0)  # a pause leaves nothing to chance
    assert table.note == (
        "Poisson arrivals in stages 10@3s,0@2s,20@3s; 100 arrivals in bins of about 15; shaded: warm-up"
    )
    assert [(mark.text, mark.low, mark.high) for mark in table.marks] == [("warm-up", -1, 0)]


def data_of(layer: dict[str, Any], made: dict[str, Any]) -> list[dict[str, Any]]:
    found = layer["data"]
    values: list[dict[str, Any]] = found["values"] if "values" in found else made["datasets"][found["name"]]
    return values


def test_borders_of_stages_are_marked_and_the_asked_rate_is_one_line_through_them() -> None:
    made = _draw.spec("arrivals_over_run", arrivals_over_run.data(staged()), LIGHT)
    rules = [one for one in made["layer"] if one["mark"]["type"] == "rule" and "strokeDash" in one["mark"]]
    assert [[row["x"] for row in data_of(one, made)] for one in rules] == [[3, 5]]
    (line,) = [one for one in made["layer"] if one["mark"]["type"] == "line"]
    points = [(row["x"], row["y"]) for row in data_of(line, made)]
    assert points[:2] == [(-1, 10), (0, 10)]
    assert points[5:9] == [(3, 10), (3, 0), (5, 0), (5, 20)]
    assert line["encoding"]["order"]["field"] == "at"


def test_a_pause_before_the_first_arrival_is_part_of_the_run() -> None:
    due = [0.0, 50.0, *(1100 + 50.0 * i for i in range(40))]  # two of warm-up in two gaps, a pause of a second
    load = {"stages": "0@1s,20@2s", "arrival": "constant", "duration_s": 3.0}
    table = arrivals_over_run.data(arrived(due, load, warmup=2))
    assert shares(table, "stage") == [0, 1, 2, 2]
    assert shares(table, "from_s") == [-1.1, -1, 0, 1]
    assert shares(table, "due") == [2, 0, 20, 20]
    assert shares(table, "asked_to_ps") == [20, 0, 20, 20]


def test_more_stages_than_can_be_told_apart_have_common_bins() -> None:
    stages = ",".join(f"{5 + 10 * (i % 2)}@0.1s" for i in range(3000))  # 10 per second in the mean, for 300 s
    table = arrivals_over_run.data(arrived(evenly(3000), {"stages": stages, "duration_s": 300.0}))
    assert len(table) <= MOST
    assert set(shares(table, "stage")) == {1}
    assert sum(shares(table, "due")) == 3000
    np.testing.assert_allclose(table.columns["asked_from_ps"], 10, rtol=0.02)


def test_sends_are_there_where_they_differ_and_go_on_after_the_last_arrival() -> None:
    late = [1000 + 2 * GAP * i for i in range(60)]  # the server takes half of what is asked
    load = {"request_rate": 10.0, "arrival": "constant", "duration_s": 6.0, "concurrency": 1}
    table = arrivals_over_run.data(arrived(evenly(60), load, sent=late))
    # 6 s with 15 due and 7 or 8 sent in each bin; 30 more until 11.8 s, of which the last is sent at its end
    assert shares(table, "stage") == [1, 1, 1, 1, -1, -1]
    assert shares(table, "to_s")[-1] == 11.8
    np.testing.assert_array_equal(table.columns["due"], [15, 15, 15, 15, np.nan, np.nan])
    sent = table.columns["sent_ps"] * (table.columns["to_s"] - table.columns["from_s"])
    assert sent.round(6).tolist() == [8, 7, 8, 7, 15, 15]
    assert np.isnan(table.columns["asked_from_ps"][-2:]).all()
    made = str(_draw.spec("arrivals_over_run", table, LIGHT))
    assert "'domain': ['due', 'asked', 'sent']" in made
    assert "requests (req/s)" in made


def test_a_lag_that_is_small_beside_a_bin_is_not_drawn() -> None:
    load = {"request_rate": 10.0, "duration_s": 6.0}
    table = arrivals_over_run.data(arrived(evenly(60), load, sent=[at + 3 for at in evenly(60)]))
    assert "sent_ps" not in table.columns
    assert set(shares(table, "stage")) == {1}


def test_a_moment_without_sends_is_seen_in_a_long_run() -> None:
    held = [max(at, 40_000.0) if at >= 35_000 else at for at in evenly(1000)]
    load = {"request_rate": 10.0, "duration_s": 100.0}
    columns = arrivals_over_run.data(arrived(evenly(1000), load, sent=held)).columns
    assert columns["sent_ps"].min() == 0
    assert columns["due_ps"].min() > 9


def test_what_was_due_and_never_sent_is_unknown_and_not_nothing() -> None:
    load = {"request_rate": 10.0, "duration_s": 6.0, "concurrency": 1}
    late = [1000 + 2 * GAP * i for i in range(30)]
    health = {"due": 60, "last_due_ns": ns(6900)}
    table = arrivals_over_run.data(arrived(evenly(30), load, sent=late, health=health))
    # the log ends with the arrival at 2.9 s; its gap is over at 3 s, and what was asked for goes on
    assert table.note.startswith(
        "Poisson arrivals at 10 req/s, at most 1 at a time; 30 arrivals in bins of 1.5 s; "
        "30 more were due and never sent, the log does not say when"
    )
    assert shares(table, "from_s") == [0, 1.5, 3, 4.5]
    np.testing.assert_array_equal(table.columns["due"], [15, 15, np.nan, np.nan])
    assert shares(table, "asked_from_ps") == [10] * 4
    assert (table.columns["sent_ps"] > 0).all()


@pytest.mark.parametrize(
    "why", [{"interrupted": True}, {"stopped_early": "5 of 9 requests had failed"}, {"stopped_at": "p50 is known"}]
)
def test_a_run_that_ended_early_was_asked_for_until_its_last_arrival(why: dict[str, Any]) -> None:
    table = arrivals_over_run.data(arrived(evenly(30), {"request_rate": 10.0, "duration_s": 60.0}, **why))
    assert shares(table, "to_s") == [1.5, 3]  # 30 arrivals take 30 gaps
    assert shares(table, "due") == [15, 15]


def test_a_run_of_so_many_requests_ends_with_the_last() -> None:
    load = {"request_rate": 10.0, "request_count": 30, "duration_s": 60.0}
    table = arrivals_over_run.data(arrived(evenly(30), load, health={"due": 30}))
    assert shares(table, "to_s") == [1.5, 3]
    longer = arrivals_over_run.data(arrived(evenly(30), load | {"request_count": 900}, health={"due": 30}))
    assert longer.columns["to_s"][-1] == 60  # the time was up first: 30 s and more without an arrival are to be seen
    assert longer.columns["due"][-1] == 0


def test_a_trace_has_arrivals_and_no_asked_rate() -> None:
    due = [1000, 1010, 1020, 3000, 7000, 7000]
    table = arrivals_over_run.data(arrived(due, {"arrival": "trace", "speed": 2.0}))
    assert shares(table, "from_s") == [0, 1, 2, 3, 4, 5]  # six bins at least
    assert shares(table, "due") == [3, 0, 1, 0, 0, 2]  # the last ones end the last bin
    assert np.isnan(table.columns["asked_from_ps"]).all()
    assert table.note == "the data's own times, 2 times as fast; 6 arrivals in bins of 1 s"
    made = str(_draw.spec("arrivals_over_run", table, LIGHT))
    assert "'domain': ['due']" in made


def test_conversations_arrive_with_their_first_turns() -> None:
    made = []
    for i in range(30):
        for turn in range(3):
            at = 1000 + GAP * i + 300 * turn
            made.append(stream(3 * i + turn, at, [at + 20], intended_ns=ns(at), session=i, turn=turn))
    load = {"request_rate": 10.0, "duration_s": 3.0}
    table = arrivals_over_run.data(run_of(made, config={"load": load}))
    assert shares(table, "due") == [15, 15]
    assert table.note.startswith("Poisson arrivals at 10 req/s; 30 first turns in bins of 1.5 s")


@pytest.mark.parametrize(
    ("load", "why"),
    [
        ({"concurrency": 4, "request_rate": None}, "a closed loop sends when an answer has come"),
        ({"request_rate": "inf"}, "all requests were due at once"),
        (None, "the header of the run does not say how requests were to arrive"),
    ],
)
def test_without_a_rate_there_is_nothing_and_a_reason(load: Any, why: str) -> None:
    with pytest.raises(Nothing, match=why):
        arrivals_over_run.data(arrived(evenly(30), load))


def test_a_warm_up_alone_is_no_figure() -> None:
    with pytest.raises(Nothing, match="no request of the measured phase was due"):
        arrivals_over_run.data(arrived(evenly(5), {"request_rate": 10.0}, warmup=5))


@pytest.mark.parametrize(
    "given",
    [{"request_rate": 40.0}, {"ramp": "5:75:100s"}, {"stages": "10@30s,0@5s,80@40s,30@25s"}],
    ids=["rate", "ramp", "stages"],
)
def test_of_arrivals_as_they_are_planned_95_percent_of_bins_lie_in_the_band(given: dict[str, Any]) -> None:
    load = {**given, "duration_s": 100.0, "warmup": 10}
    inside = bins = 0
    for seed in range(3):
        count, offsets = arrivals(Load(**load), seed, OPEN_ENDED, None)
        assert offsets is not None
        table = arrivals_over_run.data(arrived((offsets / 1e6).tolist(), load, warmup=10))
        assert table.columns["due"].sum() == count
        measured = table.columns["asked_from_ps"] > 0
        due = table.columns["due_ps"]
        within = (due >= table.columns["low_ps"]) & (due <= table.columns["high_ps"])
        inside, bins = inside + int(within[measured].sum()), bins + int(measured.sum())
    # at least 200 bins: 95 % give or take 1.5 % for one standard error
    assert bins > 200
    assert 0.91 < inside / bins < 0.99


@pytest.mark.parametrize("given", [{"request_rate": 33.0}, {"ramp": "5:65:10s"}, {"stages": "10@3s,0@1s,70@6s"}])
def test_of_even_arrivals_as_they_are_planned_every_full_bin_holds_the_same_number(given: dict[str, Any]) -> None:
    load = {**given, "arrival": "constant", "duration_s": 10.0, "warmup": 0}
    _, offsets = arrivals(Load(**load), 0, OPEN_ENDED, None)
    assert offsets is not None
    table = arrivals_over_run.data(arrived((offsets / 1e6).tolist(), load))
    stage, due = table.columns["stage"], table.columns["due"]
    full = (stage[1:] == stage[:-1]) & (table.columns["asked_from_ps"][:-1] > 0)
    for number in set(stage[:-1][full].tolist()):
        assert len(set(due[:-1][full & (stage[:-1] == number)].tolist())) == 1


def test_several_runs_stand_in_panels_with_one_scale() -> None:
    fast = arrived(evenly(120, GAP / 2), {"request_rate": 20.0, "arrival": "constant", "duration_s": 6.0})
    slow = arrived(evenly(60), {"request_rate": 10.0, "duration_s": 6.0})
    closed = arrived(evenly(60), {"concurrency": 4})
    table = together([("fast", fast), ("slow", slow), ("closed", closed)], arrivals_over_run.data)
    assert set(table.columns["series"]) == {"fast", "slow"}
    assert "closed is not shown: a closed loop" in table.note
    assert np.isnan(table.columns["high_ps"][table.columns["series"] == "fast"]).all()
    made = _draw.spec("arrivals_over_run", table, LIGHT)
    assert [one["title"]["text"] for one in made["concat"]] == ["fast", "slow"]
    tops = {str(one["layer"][-1]["encoding"]["y"]["scale"]["domain"]) for one in made["concat"]}
    assert len(tops) == 1
