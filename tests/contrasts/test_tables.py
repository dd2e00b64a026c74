"""Figures of a comparison by their numbers: every ratio in one direction, what is left out, and the CSV beside it."""

import csv
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genbench import contrasts
from genbench.contrasts import _draw, _source, ratios, ratios_by_load, value
from genbench.plots._draw import Failed
from genbench.plots._figure import Nothing, Table
from tests.contrasts.made_comparisons import (
    DOCUMENTS,
    METRICS,
    barred,
    by_load,
    comparison,
    document,
    errors,
    priced,
    row,
    untested,
)

TTFT, RATE = METRICS[0], METRICS[-2]


def of(rows: list[dict[str, Any]], **more: Any) -> Table:
    return ratios.data(document([comparison("a", "b") | {"rows": rows}], **more))


def test_better_is_above_one_for_times_and_for_throughputs() -> None:
    table = of([row(*TTFT, ratio=0.8, width=0.1), row(*RATE, ratio=0.8, width=0.1)])
    assert table.columns["ratio"].tolist() == [0.8, 0.8]
    # of a time: 1 / 0.8 = 1.25, between 1 / 0.9 and 1 / 0.7; of a throughput the ratio itself
    assert table.columns["times_better"].tolist() == pytest.approx([1.25, 0.8])
    assert table.columns["low_times_better"].tolist() == pytest.approx([1 / 0.9, 0.7])
    assert table.columns["high_times_better"].tolist() == pytest.approx([1 / 0.7, 0.9])


def test_an_interval_without_an_end_has_none_on_the_other_side_either() -> None:
    made = row(*TTFT, ratio=1.5) | {"ci95": [1.2, None]}
    table = of([made])
    assert math.isnan(table.columns["high_ratio"][0])
    assert math.isnan(table.columns["low_times_better"][0])
    assert table.columns["high_times_better"].tolist() == pytest.approx([1 / 1.2])


@pytest.mark.parametrize(
    "made",
    [
        barred(row(*TTFT, ratio=2.0), "the base has none"),
        row(*TTFT, ratio=2.0) | {"p": None, "p_holm": None},
        untested(row(*TTFT, ratio=2.0)),
        row(*TTFT, ratio=2.0) | {"ratio": 0.0},
        row(*TTFT, ratio=2.0) | {"ratio": math.inf},
        errors(),
    ],
    ids=["barred", "without a p", "not tested", "zero", "infinite", "without a ratio"],
)
def test_what_was_not_tested_is_not_drawn(made: dict[str, Any]) -> None:
    assert of([made, row(*RATE, ratio=1.1)]).columns["metric"].tolist() == ["Output throughput"]
    with pytest.raises(Nothing, match="no metric of this comparison could be tested"):
        of([made])


def test_names_have_their_statistic_once() -> None:
    assert _source.name({"label": "TTFT", "stat": "p50"}) == "TTFT p50"
    assert _source.name({"label": "TTFT p50", "stat": "p50"}) == "TTFT p50"
    assert _source.name({"label": "Output throughput", "stat": "value"}) == "Output throughput"
    assert _source.name({"metric": "mine", "stat": ""}) == "mine"


@pytest.mark.parametrize(
    ("ratio", "said"),
    [(1.05, "+5.0 %"), (0.91, "−9.0 %"), (1.0, "±0.0 %"), (0.9999, "±0.0 %"), (0.2, "−80.0 %"), (3.14159, "3.14×")],
)
def test_a_ratio_in_words(ratio: float, said: str) -> None:
    assert _source.change(ratio) == said


def test_several_bases_are_named_with_each() -> None:
    made = document([comparison("a", "b"), comparison("c", "d")])
    assert list(dict.fromkeys(ratios.data(made).columns["comparison"].tolist())) == ["b / a", "d / c"]
    assert ratios.data(made).columns["against"][0] == "the other"


def test_loads_are_in_their_own_figure() -> None:
    with pytest.raises(Nothing, match="load by load"):
        ratios.data(DOCUMENTS["loads"])
    table = ratios_by_load.data(DOCUMENTS["loads"])
    assert np.unique(table.columns["concurrency"]).tolist() == [1, 4, 8, 16, 32, 64]
    assert len(table) == 6 * len(METRICS)
    with pytest.raises(Nothing, match="fewer than two loads"):
        ratios_by_load.data(DOCUMENTS["pair"])


def test_one_load_in_common_is_drawn_as_runs_are() -> None:
    made = by_load(loads=(8,))
    assert len(ratios.data(made)) == len(METRICS)
    assert ratios.data(made).note.startswith("at concurrency 8; bars")
    with pytest.raises(Nothing):
        ratios_by_load.data(made)


def test_one_load_that_could_be_tested_is_drawn_as_runs_are() -> None:
    made = by_load(loads=(1, 8))
    made["comparisons"][1]["rows"] = [barred(one, "too few requests") for one in made["comparisons"][1]["rows"]]
    assert ratios.data(made).note.startswith("at concurrency 1; bars")


def test_concurrencies_and_rates_share_no_axis() -> None:
    made = document([comparison("a", "b", load=1), comparison("a", "c", load=2, by="request_rate")])
    with pytest.raises(Nothing, match="share no axis"):
        ratios_by_load.data(made)


def test_value_is_relative_to_the_first_that_has_a_price() -> None:
    table = value.data(document([comparison("a", "b")], value=priced("bc", (1.0, 1.4))))
    assert table.columns["is_base"].tolist() == [True, False]
    assert table.columns["output_tokens_per_dollar"].tolist() == pytest.approx([2.1e6, 2.94e6])
    assert table.note.startswith("b is 1")


def test_without_tokens_requests_are_bought() -> None:
    known = [one | {"output_tokens_per_dollar": None} for one in priced("ab", (1.0, 1.4))]
    assert value.data(document([], value=known)).columns["requests_per_dollar"].tolist() == pytest.approx([9000, 12600])
    with pytest.raises(Nothing, match="neither tokens nor requests"):
        value.data(document([], value=[one | {"requests_per_dollar": None} for one in known]))


def test_draw_writes_a_csv_and_a_picture_of_each(tmp_path: Path) -> None:
    stale = tmp_path / "plots" / "ratios_by_load.png"
    stale.parent.mkdir()
    stale.write_bytes(b"of another time")
    found = contrasts.draw(DOCUMENTS["pair"], tmp_path, ("svg",))
    assert {path.name for path in stale.parent.iterdir() if path != stale} == {
        "ratios.csv",
        "ratios.svg",
        "value.csv",
        "value.svg",
    }
    assert not stale.exists()
    assert isinstance(found["ratios_by_load"], Nothing)
    with (tmp_path / "plots" / "ratios.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [one["metric"] for one in rows] == [metric[2] for metric in METRICS]
    assert float(rows[0]["ratio"]) == 0.91
    assert float(rows[0]["times_better"]) == pytest.approx(1 / 0.91)
    assert {one["min_effect_pct"] for one in rows} == {"2.0"}


def test_the_fault_of_one_figure_costs_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(value, "data", lambda document: 1 / 0)
    found = _draw.tables(DOCUMENTS["pair"])
    assert isinstance(found["value"], Failed)
    assert "ZeroDivisionError" in str(found["value"])
    assert isinstance(found["ratios"], Table)


@pytest.mark.parametrize(
    ("high", "expected"),
    [
        (1.07, [1 / 1.06, 1 / 1.04, 1 / 1.02, 1, 1.02, 1.04, 1.06]),
        (3.4, [1 / 3, 1 / 2.5, 1 / 2, 1 / 1.5, 1, 1.5, 2, 2.5, 3]),
        (150.0, [1 / 100, 1 / 20, 1 / 5, 1, 5, 20, 100]),
    ],
)
def test_ticks_are_round_factors_up_and_down(high: float, expected: list[float]) -> None:
    found = _source.ticks(1 / high, high)
    assert found[len(found) // 2] == 1
    assert len(found) <= 9
    if high < 100:
        assert found == pytest.approx(expected)
    assert [1 / one for one in reversed(found)] == pytest.approx(found)


def test_an_axis_holds_every_point_and_no_endless_interval() -> None:
    wide = row(*TTFT, ratio=1.2) | {"ci95": [0.001, 900.0]}
    low, high = _source.reach(of([wide, row(*RATE, ratio=1.3)]))
    assert low < 1 / 1.2 < 1.3 < high < 4
    assert low > 1 / 4
    (first, _) = _source.clipped(of([wide, row(*RATE, ratio=1.3)]), (low, high))
    assert (first["from"], first["to"]) == (low, high)


def test_short_names_stay_apart() -> None:
    names = [f"vllm-0.11.0-h200-{i}-with-chunked-prefill-and-more" for i in (1, 2)]
    found = contrasts.short(["plain", *names])
    assert found["plain"] == "plain"
    assert len(set(found.values())) == 3
    assert all(len(one) <= 32 for one in found.values())
