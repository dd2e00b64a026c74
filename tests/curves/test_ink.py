"""Figures of a sweep as pictures: colours inside the axes, axes with units, hollow points, promises, two curves."""

import re
from typing import Any

import numpy as np
import pytest

from genbench.curves import _draw
from genbench.plots._figure import Table
from genbench.plots._look import DARK, LIGHT, Look
from tests.curves.made_sweeps import batching, entry, figure, sweep
from tests.plots.test_ink import UNIT, encodings, inked, inside, picture, rgb

LINES = {"ttft_by_load": 3, "itl_by_load": 3, "in_flight_by_load": 2, "promises_by_load": 3}
IN_DARK = ("ttft_by_load", "pareto")
RULES = (("ttft.p95<400ms", "ttft", "p95", 400.0), ("itl.p99<12ms", "itl", "p99", 12.0))


def usual(slower: float = 0.0) -> list[dict[str, Any]]:
    """Seven levels of a batching engine with intervals, promises, and shares of requests that keep them."""
    made = batching(limit=16, base=10 + slower, error=0.08)
    for point in made:
        shares = {rule: 100 - i * 12 - point["value"] for i, (rule, *_) in enumerate(RULES)}
        point["slo"] = [
            {
                "rule": rule,
                "metric": metric,
                "stat": stat,
                "op": "<",
                "bound": bound,
                "unit": "ms",
                "value": point["metrics"][metric][stat],
                "passed": point["metrics"][metric][stat] < bound,
                "attainment_pct": shares[rule],
            }
            for rule, metric, stat, bound in RULES
        ]
        point["run"]["slo_attainment"] = figure(80 - point["value"], "%")
    return made


def tables(*points: list[dict[str, Any]]) -> dict[str, Table]:
    found = _draw.tables([(chr(97 + i), sweep(each)) for i, each in enumerate(points)])
    return {name: table for name, table in found.items() if isinstance(table, Table)}


def look_of(name: str) -> Look:
    return DARK if name in IN_DARK else LIGHT


@pytest.fixture(scope="module")
def specs() -> dict[str, dict[str, Any]]:
    return {name: _draw.spec(name, table, look_of(name)) for name, table in tables(usual()).items()}


@pytest.fixture(scope="module")
def both() -> dict[str, dict[str, Any]]:
    return {name: _draw.spec(name, table, LIGHT) for name, table in tables(usual(), usual(6)).items()}


@pytest.mark.parametrize("name", _draw.ORDER)
def test_a_figure_has_ink_of_its_colours_inside_its_axes(name: str, specs: dict[str, dict[str, Any]]) -> None:
    look = look_of(name)
    pixels = picture(specs[name])
    assert 720 < pixels.shape[1] < 900  # the axes and their labels: nothing lies beside them
    np.testing.assert_array_equal(pixels[0, 0], rgb(look.ground))
    for colour in look.series[: LINES.get(name, 1)]:
        assert inked(inside(pixels), colour, look.ground) > 100, colour


@pytest.mark.parametrize("name", _draw.ORDER)
def test_every_axis_has_its_unit(name: str, specs: dict[str, dict[str, Any]]) -> None:
    titles: dict[str, set[str]] = {"x": set(), "y": set()}
    for channel, encoding in encodings(specs[name]):
        titles[channel].add(encoding["title"])
        assert UNIT.fullmatch(encoding["title"]), encoding["title"]
        log = encoding.get("scale", {}).get("type") == "log"
        assert log == encoding["title"].endswith("log scale)")
    assert titles["x"]
    assert titles["y"]
    assert specs[name]["title"]["text"]


def test_a_decade_and_more_is_drawn_on_a_logarithmic_axis() -> None:
    def scales(factor: float) -> set[str | None]:
        points = [entry(n, requests=1, latency=1000, ttft=100 * factor**i) for i, n in enumerate((1, 4))]
        made = _draw.spec("ttft_by_load", tables(points)["ttft_by_load"], LIGHT)
        return {encoding["scale"].get("type") for channel, encoding in encodings(made) if channel == "y"}

    assert scales(6) == {None}  # with the 1.5 of p99 9 times
    assert scales(7) == {"log"}


@pytest.mark.parametrize("name", _draw.ORDER)
def test_two_curves_are_told_apart_by_colour(name: str, both: dict[str, dict[str, Any]]) -> None:
    assert "'domain': ['a', 'b']" in str(both[name])
    panels = both[name].get("vconcat", [both[name]])
    assert len(panels) == LINES.get(name, 1)


@pytest.mark.parametrize("name", ["latency_by_throughput", "itl_by_load"])
def test_two_curves_are_drawn(name: str, both: dict[str, dict[str, Any]]) -> None:
    pixels = picture(both[name])
    for colour in LIGHT.series[:2]:
        assert inked(inside(pixels), colour, LIGHT.ground) > 300


def test_a_panel_shows_the_promises_on_its_own_percentile(both: dict[str, dict[str, Any]]) -> None:
    panels = {panel["title"]["text"]: str(panel) for panel in both["ttft_by_load"]["vconcat"]}
    assert {name: "ttft.p95<400ms" in text for name, text in panels.items()} == {
        "p50": False,
        "p95": True,
        "p99": False,
    }


def dashes(made: dict[str, Any]) -> list[float]:
    """The bounds of the promises that are drawn."""
    layers = [layer for layer in made["layer"] if layer["mark"].get("strokeDash")]
    return [row["bound"] for layer in layers for row in layer["data"]["values"]]


def test_promises_are_lines_with_their_words(specs: dict[str, dict[str, Any]]) -> None:
    assert dashes(specs["ttft_by_load"]) == [400]
    assert dashes(specs["itl_by_load"]) == [12]
    assert dashes(specs["promises_by_load"]) == [95, 99]
    assert dashes(specs["throughput_by_load"]) == []
    words = [layer for layer in specs["ttft_by_load"]["layer"] if layer["mark"]["type"] == "text"]
    assert [row["promise"] for row in words[0]["data"]["values"]] == ["ttft.p95<400ms"]


@pytest.mark.parametrize("name", ["throughput_by_load", "pareto"])
def test_a_saturated_point_is_hollow(name: str) -> None:
    def dots(saturated: str) -> int:
        """Squares of four by four pixels that are nothing but the line's colour: a full point has some, a line none."""
        points = [entry(r, requests=r, latency=900, itl=10 * r, by="request_rate", saturated=saturated) for r in (1, 4)]
        pixels = inside(picture(_draw.spec(name, tables(points)[name], LIGHT)))
        own = np.abs(pixels - rgb(LIGHT.main)).max(axis=-1) < 12
        return int(np.lib.stride_tricks.sliding_window_view(own, (4, 4)).all(axis=(2, 3)).sum())

    assert dots("") > 4
    assert dots("it grew") == 0


def test_intervals_are_drawn_around_what_they_belong_to() -> None:
    def ink(error: float) -> int:
        points = batching((1, 2, 4, 8), error=error)
        pixels = picture(_draw.spec("ttft_by_load", tables(points)["ttft_by_load"], LIGHT))
        return int((np.abs(inside(pixels) - rgb(LIGHT.ground)).max(axis=-1) > 8).sum())

    assert ink(0.3) > ink(0.01) + 1000


def test_words_of_points_at_one_place_stand_once() -> None:
    points = [entry(n, requests=2, latency=1000 + n, itl=10) for n in (1, 2, 3)]
    made = _draw.spec("pareto", tables(points)["pareto"], LIGHT)
    words = [
        row["load"] for layer in made["layer"] if layer["mark"]["type"] == "text" for row in layer["data"]["values"]
    ]
    assert words == ["1, 2, 3"]


def test_nothing_is_drawn_in_a_colour_that_the_look_does_not_have(
    specs: dict[str, dict[str, Any]], both: dict[str, dict[str, Any]]
) -> None:
    made: list[tuple[Look, dict[str, Any]]] = [(look_of(name), one) for name, one in specs.items()]
    made += [(LIGHT, one) for one in both.values()]
    for look, one in made:
        own = {look.ground, look.ink, look.faint, look.grid, look.shade, look.bad, *look.series, *look.ramp}
        assert set(re.findall(r"#[0-9a-fA-F]{3,8}\b", str(one))) <= own
