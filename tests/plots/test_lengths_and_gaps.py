"""Lengths, TTFT by input length and gaps by position, by their numbers."""

import numpy as np
import pytest

from genbench.plots import _parts, itl_by_position, lengths, lengths_heatmap, ttft_by_input
from genbench.plots._figure import MOST, Nothing, together
from genbench.plots._source import place, token_edges
from genbench.types import Outcome
from tests.metrics.made import stream
from tests.plots.made_runs import run_of


def test_the_line_is_what_the_lengths_cost() -> None:
    # TTFT = 20 ms + 0.05 ms a token: 50 ms for a thousand
    run = run_of(
        [stream(i, 90.0 * i, [90.0 * i + 20 + 0.05 * isl], isl=isl) for i, isl in enumerate((10, 200, 400, 700))]
    )
    table = ttft_by_input.data(run)
    assert table.note == "line: 20.00 ms + 50.00 ms per 1k tokens (least squares, R² 1.00); 4 requests"
    assert table.columns["isl_tokens"].tolist() == [10, 200, 400, 700]
    np.testing.assert_allclose(table.columns["fit_ms"], [20.5, 30, 40, 55])
    np.testing.assert_allclose(table.columns["ttft_ms"], [20.5, 30, 40, 55])


def test_a_line_through_scattered_points_and_through_a_falling_cloud() -> None:
    # lengths 1 2 3, TTFT 3 1 2: slope (-1*1 + 0 + 1*0)/2 = -0.5, start 2 + 0.5*2 = 3; R² = 0.5/2 = 0.25
    run = run_of([stream(i, 90.0 * i, [90.0 * i + ttft], isl=i + 1) for i, ttft in enumerate((3, 1, 2))])
    table = ttft_by_input.data(run)
    assert table.note.startswith("line: 3.000 ms - 500.0 ms per 1k tokens (least squares, R² 0.25)")


def test_without_variety_in_the_input_there_is_no_line() -> None:
    table = ttft_by_input.data(run_of([stream(i, 90.0 * i, [90.0 * i + 20 + i]) for i in range(3)]))
    assert table.note == "no line: every input has 10 tokens; 3 requests"
    assert np.isnan(table.columns["fit_ms"]).all()


def test_of_many_points_some_are_shown_and_the_line_is_of_all() -> None:
    table = ttft_by_input.data(run_of([stream(i, 90.0 * i, [90.0 * i + 20 + i], isl=i) for i in range(2500)]))
    assert len(table) == MOST
    assert (
        table.note
        == "line: 20.00 ms + 1,000 ms per 1k tokens (least squares, R² 1.00); 2,000 of 2,500 requests, evenly spread"
    )
    assert (table.columns["isl_tokens"].min(), table.columns["isl_tokens"].max()) == (0, 2499)


def test_gaps_stand_at_the_position_of_the_token_that_ends_them() -> None:
    # 25 answers of three tokens: gaps of 10 ... 34 ms to the second token, of 20 ms to the third
    run = run_of([stream(i, 90.0 * i, [90.0 * i + 5, 90.0 * i + 15 + i, 90.0 * i + 35 + i]) for i in range(25)])
    table = itl_by_position.data(run)
    assert table.columns["from_position"].tolist() == table.columns["to_position"].tolist() == [2, 3]
    assert table.columns["gaps"].tolist() == [25, 25]
    # of 25 values the p5 lies at 0.05 * 24 = 1.2 from the first, the p95 at 22.8
    np.testing.assert_allclose(table.columns["p5_ms"], [11.2, 20])
    np.testing.assert_allclose(table.columns["p50_ms"], [22, 20])
    np.testing.assert_allclose(table.columns["p95_ms"], [32.8, 20])


def test_an_event_of_several_tokens_stands_at_its_last() -> None:
    # tokens 1, 2, 1: the second event ends with token 3, 8 ms for two; the third is token 4, 6 ms
    run = run_of(
        [stream(i, 90.0 * i, [90 * i + 5, 90 * i + 13, 90 * i + 19], tokens=[1, 2, 1], osl=4) for i in range(3)]
    )
    table = itl_by_position.data(run)
    # a mean event has 4/3 tokens: bins of two positions; 2 to 3 holds the first gap, 4 to 5 the second
    assert table.columns["from_position"].tolist() == [2, 4]
    np.testing.assert_allclose(table.columns["p50_ms"], [4, 6])


def test_positions_that_few_answers_reach_are_left_out() -> None:
    run = run_of([stream(i, 90.0 * i, [90.0 * i + 5 * k for k in range(1, 6 if i == 0 else 4)]) for i in range(30)])
    table = itl_by_position.data(run)
    assert table.columns["from_position"].tolist() == [2, 3]
    assert table.note.endswith("62 gaps; 2 at positions with fewer than 20 are left out")


def test_more_than_200_positions_are_binned() -> None:
    run = run_of([stream(i, 5000.0 * i, [5000.0 * i + 5 + 2 * k for k in range(500)]) for i in range(2)])
    table = itl_by_position.data(run)
    # positions 2 ... 500 are 499: bins of 3, 167 of them, each with 6 gaps of 2 ms but the last
    assert len(table) == 167
    assert table.columns["gaps"].tolist() == [6] * 166 + [2]
    assert set(table.columns["p95_ms"].round(9)) == {2.0}
    assert "500 positions in 167 bins of 3" in table.note


def test_lengths_are_counted_in_bins_of_whole_tokens() -> None:
    pairs = [(10, 4), (10, 5), (11, 4), (13, 4)]
    records = [stream(i, 50.0 * i, [50.0 * i + 9], isl=isl, osl=osl) for i, (isl, osl) in enumerate(pairs)]
    records.append(stream(9, 900, [920], isl=700, osl=90, outcome=Outcome.TRUNCATED))  # not ok: not counted
    columns = lengths.data(run_of(records)).columns
    rows = list(zip(*(columns[name].tolist() for name in columns), strict=True))
    assert rows == [
        ("input", 10, 11, 2, 50),
        ("input", 11, 12, 1, 25),
        ("input", 13, 14, 1, 25),
        ("output", 4, 5, 3, 75),
        ("output", 5, 6, 1, 25),
    ]


def test_the_map_counts_pairs() -> None:
    pairs = [(10, 4), (10, 5), (11, 4), (10, 4)]
    run = run_of([stream(i, 50.0 * i, [50.0 * i + 9], isl=isl, osl=osl) for i, (isl, osl) in enumerate(pairs)])
    columns = lengths_heatmap.data(run).columns
    cells = zip(columns["isl_from"], columns["osl_from"], columns["requests"], strict=True)
    assert sorted(cells) == [(10, 4, 2), (10, 5, 1), (11, 4, 1)]


@pytest.mark.parametrize("low", [0, 7, 530])
@pytest.mark.parametrize("high", [531, 600, 4000, 131_072])
def test_bins_of_tokens_hold_everything_and_are_powers_of_two(low: int, high: int) -> None:
    edges = token_edges(low, high, 40)
    assert edges[0] <= low < edges[1]
    assert edges[-2] <= high < edges[-1]
    assert edges.size <= 41
    width = edges[1] - edges[0]
    assert width >= 1
    assert np.log2(width) == round(np.log2(width))
    assert place(np.array([low, high]), edges).tolist() == [0, edges.size - 2]


def test_bins_of_two_runs_become_bins_of_one_width() -> None:
    narrow = [stream(i, 50.0 * i, [50.0 * i + 9], isl=100 + i % 8, osl=4 + i % 2) for i in range(16)]
    wide = [stream(i, 50.0 * i, [50.0 * i + 9], isl=100 + 8 * i, osl=4 + i % 2) for i in range(16)]
    table = together([("narrow", run_of(narrow)), ("wide", run_of(wide))], lengths.data)
    own = table.take(table.columns["what"] == "input")
    merged = _parts.coarsened(own, [("from_tokens", "to_tokens")], ["what"], ["requests", "share_pct"]).columns
    # inputs 100 ... 220 in at most 40 bins: 4 tokens wide; 100 ... 107 are then two bins of eight requests each
    assert set(merged["to_tokens"] - merged["from_tokens"]) == {4.0}
    first = merged["series"] == "narrow"
    assert merged["from_tokens"][first].tolist() == [100, 104]
    assert merged["requests"][first].tolist() == [8, 8]
    assert merged["share_pct"][~first].sum() == pytest.approx(100)


def test_lengths_that_do_not_vary_are_a_sentence() -> None:
    run = run_of([stream(i, 50.0 * i, [50.0 * i + 9], isl=38, osl=8) for i in range(4)])
    with pytest.raises(Nothing, match="all requests have the same lengths: input 38 tokens, output 8 tokens"):
        lengths.data(run)
    with pytest.raises(Nothing, match="all requests have an input of 38 tokens"):
        lengths_heatmap.data(run)
