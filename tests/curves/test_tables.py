"""Figures of a sweep by their numbers: each cell is a figure of the analysis, and the notes say what is not there."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from genbench import curves
from genbench.curves import _draw
from genbench.errors import RecordError
from genbench.plots._draw import Failed
from genbench.plots._figure import Nothing, Table
from tests.curves.made_sweeps import batching, entry, figure, modelled, serial, sweep

RULE = {"rule": "ttft.p95<400ms", "metric": "ttft", "stat": "p95", "op": "<", "bound": 400.0, "unit": "ms"}


def of(name: str, *points: list[dict[str, Any]], **more: Any) -> Table:
    """The table of a figure of one sweep, or of several by the names a, b, ..."""
    sweeps = [(chr(97 + i), sweep(each, **more)) for i, each in enumerate(points)]
    found = _draw.tables(sweeps, [name])[name]
    assert isinstance(found, Table), found
    return found


def column(table: Table, name: str, line: str = "") -> list[Any]:
    """A column, or its cells of one line."""
    cells = table.columns[name]
    return [*(cells[table.columns["line"] == line] if line else cells).tolist()]


def promised(points: list[dict[str, Any]], shares: list[float]) -> list[dict[str, Any]]:
    """Points with a promise that these shares of the requests keep."""
    return [
        point
        | {
            "slo": [RULE | {"value": point["metrics"]["ttft"]["p95"], "passed": share >= 95, "attainment_pct": share}],
            "run": point["run"] | {"slo_attainment": figure(share, "%")},
        }
        for point, share in zip(points, shares, strict=True)
    ]


def test_throughput_by_load() -> None:
    table = of("throughput_by_load", batching((1, 4, 16, 64), each=0.0, error=0.05))
    assert column(table, "concurrency") == [1, 4, 16, 64]
    assert column(table, "output_tps") == pytest.approx([100, 400, 1600, 1600])  # 100 tokens in 100 steps of 10 ms
    assert column(table, "low_output_tps") == pytest.approx([95, 380, 1520, 1520])
    assert column(table, "high_output_tps") == pytest.approx([105, 420, 1680, 1680])
    assert column(table, "bend") == ["", "", "knee, saturated from here on", ""]
    assert table.note == "of the whole run; shaded: 95 % intervals"


def test_throughput_without_tokens_is_that_of_requests() -> None:
    points = [entry(n, requests=n, latency=1000, osl=None, by="request_rate") for n in (0.5, 2)]
    table = of("throughput_by_load", points)
    assert column(table, "request_rate_rps") == [0.5, 2]
    assert column(table, "requests_ps") == [0.5, 2]


def test_percentiles_by_load_with_their_promises() -> None:
    points = promised([entry(n, requests=1, latency=900, ttft=100 * n) for n in (1, 2, 4)], [100, 99, 60])
    table = of("ttft_by_load", points)
    assert column(table, "concurrency", "p95") == [1, 2, 4]
    assert column(table, "ttft_ms", "p50") == pytest.approx([100, 200, 400])
    assert column(table, "ttft_ms", "p95") == pytest.approx([120, 240, 480])
    assert column(table, "ttft_ms", "p99") == pytest.approx([150, 300, 600])
    (mark,) = table.marks
    assert (mark.kind, mark.low, mark.text, mark.share_pct) == ("promise", 400, "ttft.p95<400ms", 95)


def test_percentiles_with_too_few_requests_are_told() -> None:
    points = [entry(n, requests=1, latency=900, ttft=100) for n in (1, 2)]
    points[0]["metrics"]["ttft"]["few"] = ["p99", "p99.9"]
    assert of("ttft_by_load", points).note == "too few requests for p99 at some loads"


@pytest.mark.parametrize("metric", ["itl", "tpot", "icl"])
def test_time_between_tokens_is_the_best_that_every_load_has(metric: str) -> None:
    points = [entry(n, requests=1, latency=900, itl=10) for n in (1, 2)]
    for point in points:
        point["metrics"] = {"request_latency": point["metrics"]["request_latency"], metric: point["metrics"]["itl"]}
    assert f"{metric}_ms" in of("itl_by_load", points).columns


def test_latency_by_throughput() -> None:
    table = of("latency_by_throughput", serial())
    assert column(table, "output_tps") == [400] * 4
    assert column(table, "latency_p95_ms") == pytest.approx([120, 240, 480, 960])
    assert column(table, "load") == ["1", "2", "4", "8"]
    assert "numbers at the points: concurrency" in table.note


def test_the_front_is_of_each_gpu_where_their_number_is_known() -> None:
    points = [
        entry(1, requests=1, latency=1, itl=10),
        entry(2, requests=4, latency=1, itl=20),
        entry(4, requests=3, latency=1, itl=25),
    ]
    table = of("pareto", points, gpus=4)
    assert column(table, "output_tps_per_user") == pytest.approx([100, 50, 40])
    assert column(table, "output_tps") == [100, 400, 300]
    assert column(table, "output_tps_per_gpu") == [25, 100, 75]
    assert column(table, "on_front") == [True, True, False]
    assert "off the line: another load is better in both" in table.note
    assert "output_tps_per_gpu" not in of("pareto", points).columns


def test_in_flight_and_waiting_by_littles_law() -> None:
    table = of("in_flight_by_load", serial((1, 2, 4)))  # 10 req/s, waiting 0, 100 and 300 ms
    assert column(table, "requests", "in flight") == pytest.approx([1, 2, 4])
    assert column(table, "requests", "waiting") == pytest.approx([0, 1, 3])
    assert "in flight is within 0.0 % of Little's law" in table.note


def test_waiting_is_left_out_where_nobody_knows_it() -> None:
    table = of("in_flight_by_load", serial((2, 4)))
    assert set(column(table, "line")) == {"in flight"}


def test_promises_kept_by_load() -> None:
    points = promised([entry(n, requests=1, latency=900, ttft=100) for n in (1, 2, 4)], [100, 96, 40])
    other = RULE | {"rule": "request_latency.mean<1s", "metric": "request_latency", "stat": "mean", "passed": True}
    pooled = RULE | {"rule": "itl.p99<40ms", "metric": "itl", "stat": "p99", "attainment_pct": None, "passed": True}
    for point in points:
        point["slo"] = [*point["slo"], other | {"value": 900.0, "attainment_pct": 80.0}, pooled | {"value": 12.0}]
    table = of("promises_by_load", points)
    assert column(table, "kept_pct", "ttft.p95<400ms") == [100, 96, 40]
    assert column(table, "kept_pct", "request_latency.mean<1s") == [80, 80, 80]
    assert column(table, "kept_pct", "every promise") == [100, 96, 40]
    assert set(column(table, "line")) == {"ttft.p95<400ms", "request_latency.mean<1s", "every promise"}
    assert [(mark.low, mark.text) for mark in table.marks] == [(95, "ttft.p95<400ms")]


def test_saturated_levels_are_marked_and_told() -> None:
    points = [entry(r, requests=min(r, 3), latency=100 * r, ttft=9, itl=5, by="request_rate") for r in (1, 2, 4)]
    points[2]["saturated"] = "it grew"
    for name in _draw.names():
        if name != "promises_by_load":
            table = of(name, points)
            marked = [load for load, grown in zip(column(table, "load") if "load" in table.columns else column(
                table, "request_rate_rps"), column(table, "saturated"), strict=True) if grown]  # fmt: skip
            assert {float(load) for load in marked} == {4}
            assert "hollow: the queue grew without bound" in table.note


def test_repeats_are_told_apart_from_intervals() -> None:
    points = [entry(n, requests=n + i, latency=100, repeat=i, error=0.1) for n in (1, 8) for i in range(3)]
    table = of("throughput_by_load", points)
    assert column(table, "output_tps") == [200, 900]
    assert column(table, "low_output_tps") == [100, 800]
    assert "shaded: smallest to largest of the repeats" in table.note


# -- several curves --


def test_groups_of_one_sweep_are_curves_by_their_names() -> None:
    points = [point | {"group": name} for name in ("128:32", "2048:8") for point in batching((1, 2, 4))]
    table = of("ttft_by_load", points)
    assert list(dict.fromkeys(column(table, "series"))) == ["128:32", "2048:8"]
    assert len(table) == 2 * 3 * 3


def test_curves_of_several_sweeps_have_both_names() -> None:
    grouped = [point | {"group": name} for name in ("128:32", "2048:8") for point in batching((1, 2))]
    table = of("throughput_by_load", batching((1, 2, 4)), grouped)
    assert list(dict.fromkeys(column(table, "series"))) == ["a", "b · 128:32", "b · 2048:8"]


def test_concurrency_and_rate_share_no_axis_of_loads() -> None:
    sweeps = [("a", sweep(batching((1, 2)))), ("b", sweep(batching((1, 2), by="request_rate")))]
    found = _draw.tables(sweeps)
    apart = {name for name, table in found.items() if isinstance(table, Nothing) and "share no axis" in str(table)}
    assert apart == {name for name in _draw.names() if _draw.figure(name).OF_LOAD}
    assert {"latency_by_throughput", "pareto"} == {name for name, table in found.items() if isinstance(table, Table)}


# -- the model and the files --


def test_a_model_of_an_engine_is_drawn_from_its_summaries() -> None:
    points = modelled(values=(1, 8), fewest=40, osl=40, rules=("ttft.p95<60ms",))
    table = of("ttft_by_load", points)
    wanted = [point["metrics"]["ttft"]["p95"] for point in points]
    assert column(table, "ttft_ms", "p95") == wanted
    assert np.isfinite(table.columns["low_ttft_ms"]).any()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a sweep's file and nothing else."""
    (tmp_path / "sweep.json").write_bytes(orjson.dumps(sweep(batching((1, 4, 16, 64), error=0.05))))
    return tmp_path


def test_draw_writes_a_picture_and_its_numbers(folder: Path) -> None:
    assert curves.draw(folder) == ""
    names = sorted(path.name for path in (folder / "plots").iterdir())
    drawn = [name for name in _draw.names() if name != "promises_by_load"]
    assert names == sorted(f"{name}.{kind}" for name in drawn for kind in ("csv", "png"))
    with (folder / "plots" / "throughput_by_load.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["concurrency"] for row in rows] == ["1.0", "4.0", "16.0", "64.0"]


def test_an_old_picture_does_not_stay(folder: Path) -> None:
    (folder / "plots").mkdir()
    old = folder / "plots" / "promises_by_load.png"
    old.write_bytes(b"old")
    _draw.write(_draw.tables([("", sweep(batching((1, 2))))], ["promises_by_load"]), folder / "plots")
    assert not old.exists()


def test_svg_is_written_where_it_is_asked_for(folder: Path) -> None:
    found = _draw.tables([("", sweep(batching((1, 2))))], ["pareto"])
    written = _draw.write(found, folder, ["svg"])
    assert [path.name for path in written] == ["pareto.csv", "pareto.svg"]


def test_a_figure_that_fails_leaves_the_others(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise ZeroDivisionError("by nothing")

    monkeypatch.setattr(_draw, "ORDER", ("pareto", "ttft_by_load", "throughput_by_load"))
    monkeypatch.setattr("genbench.registry.names", lambda package: list(_draw.ORDER))
    monkeypatch.setattr(_draw.figure("pareto"), "chart", broken)
    monkeypatch.setattr(_draw.figure("ttft_by_load"), "data", broken)
    said = curves.draw(folder)
    assert "pareto: this figure failed (ZeroDivisionError: by nothing)" in said
    assert "ttft_by_load: this figure failed" in said
    names = sorted(path.name for path in (folder / "plots").iterdir())
    assert names == ["pareto.csv", "throughput_by_load.csv", "throughput_by_load.png"]
    assert isinstance(_draw.tables([("", sweep(batching((1, 2))))])["ttft_by_load"], Failed)


@pytest.mark.parametrize("content", [None, b"{", b"[]"])
def test_a_folder_without_a_sweep_is_one_sentence(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "sweep.json").write_bytes(content)
    with pytest.raises(RecordError, match=r"sweep\.json"):
        curves.draw(tmp_path)


def test_a_sweep_without_its_analysis_is_analysed(folder: Path) -> None:
    bare = sweep(batching((1, 2)), analysis={})
    table = _draw.tables([("", bare)], ["throughput_by_load"])["throughput_by_load"]
    assert isinstance(table, Table)
