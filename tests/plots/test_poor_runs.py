"""Every figure of runs with little to show: numbers and a chart, or one sentence that says why there are none."""

from pathlib import Path

import numpy as np
import pytest

from genbench.plots import _draw
from genbench.plots._figure import MOST, Nothing
from genbench.plots._look import LIGHT
from tests.plots.made_runs import poor, run_of, usual

KINDS = (
    "empty",
    "only failures",
    "only refused",
    "nothing streamed",
    "embeddings",
    "one request",
    "one token each",
    "only warm-up",
    "torn log",
)
SCRAPED = {"server_over_run", "gpu_over_run"}  # the poor runs have nothing of that
ORDER = set(_draw.ORDER) - {"arrivals_over_run"} - SCRAPED  # they are closed loops
DRAWN = {  # what is there all the same
    "empty": set(),
    "only failures": {"outcomes_over_run", "timeline", "client_lag"},
    "only refused": {"outcomes_over_run"},
    "nothing streamed": ORDER - {"ttft_cdf", "ttft_box", "ttft_by_input", "itl_cdf", "itl_by_position"},
    "embeddings": {
        "latency_over_run",
        "latency_cdf",
        "latency_box",
        "throughput_over_run",
        "outcomes_over_run",
        "lengths",
        "timeline",
        "client_lag",
    },
    "one request": {
        "latency_over_run",
        "throughput_over_run",
        "outcomes_over_run",
        "itl_by_position",
        "timeline",
        "client_lag",
    },
    "one token each": ORDER - {"itl_cdf", "itl_by_position", "lengths", "lengths_heatmap"},
    "only warm-up": {"timeline", "throughput_over_run"},
    "torn log": ORDER - {"lengths", "lengths_heatmap"},
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_poor_run_gives_a_chart_or_one_sentence_for_every_figure(kind: str, tmp_path: Path) -> None:
    run = poor(tmp_path)[kind]
    found = _draw.tables([(kind, run)], _draw.names())
    drawn = set()
    for name, table in found.items():
        if isinstance(table, Nothing):
            said = str(table)
            assert len(said) > 20, name
            assert "\n" not in said
            assert not said.endswith(".")
            continue
        drawn.add(name)
        assert 0 < len(table) <= MOST
        assert {column.size for column in table.columns.values()} == {len(table)}
        assert not any(np.isinf(column).any() for column in table.columns.values() if column.dtype.kind == "f")
        assert "NaN" not in str(_draw.spec(name, table, LIGHT)), name
    assert drawn == DRAWN[kind]


def test_a_run_with_nothing_beside_one_with_everything_is_named_in_the_note(tmp_path: Path) -> None:
    run = poor(tmp_path)["nothing streamed"]
    found = _draw.tables([("good", usual()), ("plain", run)], _draw.names())
    table = found["ttft_cdf"]
    assert not isinstance(table, Nothing)
    assert set(table.columns["series"]) == {"good"}
    assert "plain is not shown: no answer was streamed" in table.note
    assert {name for name, table in found.items() if not isinstance(table, Nothing)} == ORDER | {
        "server_over_run",
        "gpu_over_run",
    }


def test_several_runs_with_nothing_say_why_once() -> None:
    found = _draw.tables([("a", run_of([])), ("b", run_of([]))], ["ttft_box"])
    assert str(found["ttft_box"]) == "the run has no request"
