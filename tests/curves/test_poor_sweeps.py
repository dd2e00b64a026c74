"""Every figure of sweeps with little to show: numbers and a chart, or one sentence that says why there are none."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from genbench.curves import _draw
from genbench.plots._draw import image
from genbench.plots._figure import Nothing, Table
from genbench.plots._look import LIGHT
from tests.curves.made_sweeps import batching, dead, entry, figure, serial, sweep

ALL = set(_draw.ORDER)
UNPROMISED = ALL - {"promises_by_load"}
WITHOUT_TOKENS = {"throughput_by_load", "latency_by_throughput", "in_flight_by_load"}


def bare(keys: tuple[str, ...] = ("by", "value")) -> list[dict[str, Any]]:
    return [{key: value for key, value in point.items() if key in keys} for point in batching((1, 2))]


def with_intervals(ends: list[Any]) -> list[dict[str, Any]]:
    """Every interval is this one."""
    made = batching((1, 2, 4), error=0.1)
    for point in made:
        for metric in point["metrics"].values():
            metric["ci95"] = dict.fromkeys(metric["ci95"], ends)
        for run in point["run"].values():
            run["ci95"] = ends
    return made


def unknown_shares() -> list[dict[str, Any]]:
    """A promise that only a whole run can keep."""
    rule = {"rule": "error_rate<1%", "metric": "error_rate", "stat": "", "op": "<", "bound": 1.0, "unit": "%"}
    slo = [rule | {"value": 0.0, "passed": True, "attainment_pct": None}]
    return [point | {"slo": slo} for point in batching((1, 2))]


def lacking(key: str) -> list[dict[str, Any]]:
    """Levels without a metric in one of them."""
    made = batching((1, 2, 4))
    del made[1]["metrics"][key]
    return made


POOR: dict[str, tuple[Callable[[], list[dict[str, Any]]], set[str]]] = {
    "no point": (list, set()),
    "nothing but loads": (bare, set()),
    "all failed": (lambda: [dead(1), dead(2)], set()),
    "one level": (lambda: batching((8,)), UNPROMISED),
    "one rate": (lambda: batching((8,), by="request_rate"), UNPROMISED),
    "no tokens": (lambda: [entry(n, requests=n, latency=100, osl=None) for n in (1, 2)], WITHOUT_TOKENS),
    "no latency": (lambda: bare(("by", "value", "run")), {"throughput_by_load", "in_flight_by_load"}),
    "some failed": (lambda: [*batching((1, 2)), dead(4)], UNPROMISED),
    "saturated only": (
        lambda: [entry(r, requests=3, latency=900, ttft=800, itl=9, saturated="it grew") for r in (8, 16)],
        UNPROMISED,
    ),
    "NaN intervals": (lambda: with_intervals([math.nan, math.nan]), UNPROMISED),
    "half intervals": (lambda: with_intervals([None, 3.0]), UNPROMISED),
    "a promise on the run": (unknown_shares, UNPROMISED),
    "a level without TTFT": (lambda: lacking("ttft"), UNPROMISED),
    "a level without ITL": (lambda: lacking("itl"), UNPROMISED),
    "all alike": (lambda: serial((1, 2), service=1e-3), UNPROMISED),
    "far apart": (lambda: batching((1, 1e6)), UNPROMISED),
    "zero latency": (lambda: [entry(n, requests=1, latency=0, ttft=0, itl=10) for n in (1, 2)], UNPROMISED),
    "many loads": (lambda: batching([1 + i for i in range(60)]), UNPROMISED),
}


@pytest.mark.parametrize("kind", POOR)
def test_a_poor_sweep_gives_a_chart_or_one_sentence_for_every_figure(kind: str) -> None:
    points, wanted = POOR[kind]
    found = _draw.tables([("", sweep(points()))])
    assert list(found) == list(_draw.ORDER)
    drawn = set()
    for name, table in found.items():
        if isinstance(table, Nothing):
            assert type(table) is Nothing, table  # none has failed
            said = str(table)
            assert len(said) > 15, name
            assert "\n" not in said
            assert not said.endswith(".")
            continue
        drawn.add(name)
        assert len(table) > 0
        assert {column.size for column in table.columns.values()} == {len(table)}
        assert not any(np.isinf(column).any() for column in table.columns.values() if column.dtype.kind == "f")
        text = str(_draw.spec(name, table, LIGHT))
        assert "nan" not in text.lower(), name
    assert drawn == wanted


@pytest.mark.parametrize("kind", ["one level", "half intervals", "zero latency"])
def test_it_becomes_a_picture(kind: str) -> None:
    found = _draw.tables([("", sweep(POOR[kind][0]()))])
    for name in ("latency_by_throughput", "ttft_by_load"):
        table = found[name]
        assert isinstance(table, Table)
        assert image(_draw.spec(name, table, LIGHT), "png").startswith(b"\x89PNG")


def test_a_curve_with_nothing_beside_one_with_everything_is_named_in_the_note() -> None:
    plain = [entry(n, requests=n, latency=100, osl=None) for n in (1, 2)]
    table = _draw.tables([("good", sweep(batching((1, 2)))), ("plain", sweep(plain))])["ttft_by_load"]
    assert isinstance(table, Table)
    assert set(table.columns["series"].tolist()) == {"good"}
    assert "plain is not shown: no load has a time to first token" in table.note


def test_a_promise_that_no_value_belongs_to_is_no_line() -> None:
    points = batching((1, 2))
    points[0]["slo"] = [{"rule": "goodput>5", "metric": "goodput", "stat": "", "op": ">", "bound": 5, "value": None}]
    points[0]["run"]["goodput"] = figure(4, "req/s")
    found = _draw.tables([("", sweep(points))])
    assert not [table.marks for table in found.values() if isinstance(table, Table) and table.marks]
