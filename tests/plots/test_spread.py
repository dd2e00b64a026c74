"""Boxes and cumulative distributions by their numbers."""

import math

import numpy as np
import pytest

from genbench.plots import itl_cdf, latency_cdf, ttft_box, ttft_cdf
from genbench.plots._figure import Table
from genbench.plots._look import LIGHT
from genbench.types import Record
from tests.metrics.made import stream
from tests.plots.made_runs import run_of, usual


def spread(count: int = 101) -> list[Record]:
    """TTFT of 1, 2 ... `count` ms in a shuffled order."""
    return [stream(i, 200.0 * i, [200.0 * i + 1 + i * 37 % count]) for i in range(count)]


def at(table: Table, share: float, column: str) -> float:
    return float(table.columns[column][table.columns["share_pct"] == share][0])


def test_a_box_holds_percentiles_mean_and_what_is_beyond_the_whiskers() -> None:
    table = ttft_box.data(run_of(spread()))
    # of 1 ... 101 the q-th percentile is 1 + q; beyond p1 = 2 and p99 = 100 are 1 and 101
    expected = [
        ("p1", 2),
        ("p25", 26),
        ("p50", 51),
        ("p75", 76),
        ("p99", 100),
        ("mean", 51),
        ("beyond", 1),
        ("beyond", 101),
    ]
    assert list(zip(table.columns["what"], table.columns["ttft_ms"], strict=True)) == expected
    assert table.note.startswith(
        "101 requests: p50 51.00 ms, box p25 26.00 to p75 76.00, whiskers p1 2.000 to p99 100.0"
    )


def test_of_many_values_beyond_the_whiskers_some_are_kept_the_extremes_among_them() -> None:
    table = ttft_box.data(run_of(spread(20_001)))
    # beyond p1 = 201 and p99 = 19801 lie 1 ... 200 and 19802 ... 20001
    beyond = table.columns["ttft_ms"][table.columns["what"] == "beyond"]
    assert beyond.size == 300
    assert (beyond.min(), beyond.max()) == (1, 20_001)
    assert table.note.endswith("300 of the 400 requests beyond the whiskers")


def test_quantiles_and_their_intervals_are_the_summarys() -> None:
    run = run_of(spread())
    table = ttft_cdf.data(run)
    told = run.summary.metrics["ttft"]
    assert set(told.ci_method.values()) == {"order statistics", "block bootstrap"}
    for name, share in (("p1", 1), ("p25", 25), ("p50", 50), ("p90", 90)):
        assert at(table, share, "ttft_ms") == told.stats[name] == 1 + share
        ends = told.ci95[name]
        found = at(table, share, "low_ms"), at(table, share, "high_ms")
        assert all(math.isnan(v) for v in found) if None in ends else found == ends
    assert (at(table, 0, "ttft_ms"), at(table, 100, "ttft_ms")) == (1, 101)
    assert math.isnan(at(table, 100, "high_ms"))  # no order statistic is an upper bound of the maximum
    assert table.note == "101 requests; band: 95 % interval (order statistics)"


def test_a_distribution_of_dependent_requests_has_the_intervals_of_the_bootstrap() -> None:
    run = run_of([stream(i, 200.0 * i, [200.0 * i + 20 + i]) for i in range(120)])  # each slower than the one before
    table = ttft_cdf.data(run)
    told = run.summary.metrics["ttft"]
    assert (at(table, 50, "low_ms"), at(table, 50, "high_ms")) == told.ci95["p50"]
    assert np.isfinite(table.columns["low_ms"]).sum() == len([name for name in told.ci95 if name != "mean"]) == 10
    assert "bars: 95 % interval (block bootstrap)" in table.note


def test_a_gap_of_several_tokens_counts_several_times() -> None:
    # tokens 1, 3, 1 at 0, 30 and 40 ms after the first: gaps of 10, 10, 10 and 10 ms a token
    even = [stream(i, 100.0 * i, [100 * i + 5, 100 * i + 35, 100 * i + 45], tokens=[1, 3, 1], osl=5) for i in range(2)]
    assert set(itl_cdf.data(run_of(even)).columns["itl_ms"]) == {10.0}
    # 3 tokens at 1 ms each and 1 at 9 ms: the list is 1 1 1 9 twice, its median 1, its p90 9, its mean does not matter
    odd = [stream(i, 100.0 * i, [100 * i + 5, 100 * i + 8, 100 * i + 17], tokens=[1, 3, 1], osl=5) for i in range(2)]
    table = itl_cdf.data(run_of(odd))
    assert (at(table, 50, "itl_ms"), at(table, 90, "itl_ms")) == (1.0, 9.0)
    assert table.note.startswith("4 gaps")


def test_a_promise_near_the_values_is_a_mark_and_one_far_away_a_note() -> None:
    table = ttft_cdf.data(
        run_of(spread(), ["ttft.p95<120ms", "ttft.mean<90ms", "ttft.p99<900ms", "request_latency.p50<1s"])
    )
    found = [(mark.kind, mark.low, mark.share_pct) for mark in table.marks]
    assert found[0] == ("promise", 120.0, 95.0)
    assert found[1][:2] == ("promise", 90.0)
    assert math.isnan(found[1][2])
    assert len(found) == 2
    assert "outside the axis: ttft.p99<900ms" in table.note


def test_a_maximum_far_from_the_rest_is_left_outside_the_axis_and_named() -> None:
    slow = [*spread(2000), stream(2000, 400_050, [460_050])]
    table = ttft_cdf.data(run_of(slow))
    assert "the slowest, 60,000 ms, is outside the axis" in table.note
    layers = ttft_cdf.chart(table, LIGHT).to_dict(validate=False)["layer"]
    assert layers[0]["encoding"]["x"]["scale"]["domain"][1] < 3_000  # logarithmic from 1 to 2,000, and a margin
    assert layers[0]["mark"]["clip"]


@pytest.mark.parametrize("bound", ["0.001s", "55ms", "99ms", "130ms"])
def test_the_words_of_a_promise_stay_inside_the_chart(bound: str) -> None:
    chart = ttft_cdf.chart(ttft_cdf.data(run_of(spread(), [f"ttft.p95<{bound}"])), LIGHT).to_dict(validate=False)
    texts = [layer for layer in chart["layer"] if layer["mark"]["type"] == "text"]
    assert len(texts) == 1
    low, high = texts[0]["encoding"]["x"]["scale"]["domain"]
    row = texts[0]["data"]["values"][0]
    along = (row["bound"] - low) / (high - low)
    assert along < 0.75 if texts[0]["mark"]["align"] == "left" else along > 0.25


def test_promises_of_two_runs_are_drawn_once() -> None:
    from genbench.plots._figure import together

    table = together([("a", usual()), ("b", usual(slower=5))], latency_cdf.data)
    assert [mark.series for mark in table.marks] == [""] * len(table.marks)
    assert len({mark.text for mark in table.marks}) == len(table.marks)
