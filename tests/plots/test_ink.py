"""Every figure as a picture: each has its colours inside its axes, axes with units, and says what it is."""

import re
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from genbench.metrics.summary import Run
from genbench.plots import _draw
from genbench.plots._figure import Nothing, Table
from genbench.plots._look import DARK, LIGHT, Look
from tests.plots.made_runs import opened, usual

OF_ARRIVALS = ("arrivals_over_run",)
ONE_DARK = ("latency_over_run", "ttft_cdf")
RAMPED = ("latency_over_run", "lengths_heatmap")
WITHOUT_Y = ("ttft_box", "latency_box")  # their other axis is the runs' names
UNIT = re.compile(r".+ \((ms|s|%|tokens|token/s|req/s|input/s|requests|in order sent|W|GiB)(, log scale)?\)")
COLOURS = {  # of the figures that tell several things apart, by place in the look's series
    "outcomes_over_run": (0, 1),
    "arrivals_over_run": (0, 1),
    "timeline": (0, 1, 4),
    "client_lag": (0, 1, 2),
}


@pytest.fixture(scope="module")
def tables() -> dict[str, Table | Nothing]:
    return both_kinds([("", usual())], [("", opened())])


@pytest.fixture(scope="module")
def specs(tables: dict[str, Table | Nothing]) -> dict[str, dict[str, Any]]:
    """Each figure's specification, two in dark."""
    looks = {name: DARK if name in ONE_DARK else LIGHT for name in tables}
    return {name: _draw.spec(name, table, looks[name]) for name, table in tables.items() if isinstance(table, Table)}


@pytest.fixture(scope="module")
def both() -> dict[str, Table | Nothing]:
    names = ("alpha", "beta")
    closed = zip(names, (usual(), usual(48, slower=12)), strict=True)
    return both_kinds(list(closed), list(zip(names, (opened(), opened(48)), strict=True)))


def both_kinds(closed: list[tuple[str, Run]], arriving: list[tuple[str, Run]]) -> dict[str, Table | Nothing]:
    """All figures: those of arrivals of open loops, the others of closed ones."""
    return _draw.tables(closed, _draw.names()) | _draw.tables(arriving, OF_ARRIVALS)


def picture(made: dict[str, Any]) -> "np.ndarray[Any, np.dtype[np.float64]]":
    """Every second pixel of a figure both ways, float64[height, width, 3]: one for each unit of its size."""
    return np.asarray(Image.open(BytesIO(_draw.image(made, "png"))).convert("RGB"), dtype=np.float64)[::2, ::2]


def rgb(colour: str) -> "np.ndarray[Any, np.dtype[np.float64]]":
    return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)], dtype=np.float64)


def inked(pixels: "np.ndarray[Any, np.dtype[np.float64]]", colour: str, ground: str) -> int:
    """How many pixels are of this colour, at least 30 % of it over the ground."""
    full, empty = rgb(colour), rgb(ground)
    share = ((pixels - empty) @ (full - empty)) / float((full - empty) @ (full - empty))
    near = empty + share[..., None] * (full - empty)
    return int(((share > 0.3) & (np.abs(pixels - near).max(axis=-1) < 12)).sum())


def inside(pixels: "np.ndarray[Any, np.dtype[np.float64]]") -> "np.ndarray[Any, np.dtype[np.float64]]":
    """The picture without title, legend and axes: no label has a colour, legends stand in the upper 120 pixels."""
    return pixels[120 if pixels.shape[0] > 250 else 60 :, 50:]


@pytest.mark.parametrize("name", _draw.ORDER)
def test_a_figure_has_ink_of_its_colours_inside_its_axes(name: str, specs: dict[str, dict[str, Any]]) -> None:
    look: Look = DARK if name in ONE_DARK else LIGHT
    pixels = picture(specs[name])
    assert 720 < pixels.shape[1] < 900  # the axes and their labels: nothing lies beside them
    np.testing.assert_array_equal(pixels[0, 0], rgb(look.ground))
    wanted = look.ramp[2:4] if name in RAMPED else [look.series[i] for i in COLOURS.get(name, (0,))]
    for colour in wanted:
        assert inked(inside(pixels), colour, look.ground) > 15, colour


def encodings(part: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """The position channels anywhere in a specification."""
    if isinstance(part, dict):
        for key, value in part.items():
            if key == "encoding":
                yield from ((channel, value[channel]) for channel in ("x", "y") if "field" in value.get(channel, {}))
            else:
                yield from encodings(value)
    elif isinstance(part, list):
        for value in part:
            yield from encodings(value)


@pytest.mark.parametrize("name", _draw.ORDER)
def test_every_axis_has_its_unit(name: str, specs: dict[str, dict[str, Any]]) -> None:
    made = specs[name]
    titles: dict[str, set[str]] = {"x": set(), "y": set()}
    for channel, encoding in encodings(made):
        if encoding.get("title"):
            titles[channel].add(encoding["title"])
            assert UNIT.fullmatch(encoding["title"]), encoding["title"]
            log = encoding.get("scale", {}).get("type") == "log"
            assert log == encoding["title"].endswith("log scale)")
    assert titles["x"]
    assert bool(titles["y"]) == (name not in WITHOUT_Y)
    assert made["title"]["text"]
    assert made["title"]["subtitle"]


@pytest.mark.parametrize("name", _draw.ORDER)
def test_two_runs_are_told_apart_by_colour_or_stand_in_panels(name: str, both: dict[str, Table | Nothing]) -> None:
    table = both[name]
    assert not isinstance(table, Nothing)
    assert list(dict.fromkeys(table.columns["series"].tolist())) == ["alpha", "beta"]
    text = str(_draw.spec(name, table, LIGHT))
    in_colour = "'domain': ['alpha', 'beta']" in text
    panels = "'concat'" in text and all(f"'text': '{run}'" in text for run in ("alpha", "beta"))
    assert in_colour != panels, name


@pytest.mark.parametrize("name", ["latency_cdf", "outcomes_over_run"])
def test_two_runs_are_drawn(name: str, both: dict[str, Table | Nothing]) -> None:
    table = both[name]
    assert not isinstance(table, Nothing)
    pixels = picture(_draw.spec(name, table, LIGHT))
    if name == "latency_cdf":
        for colour in LIGHT.series[:2]:
            assert inked(inside(pixels), colour, LIGHT.ground) > 75
    else:
        middle = pixels.shape[0] // 2
        for half in (pixels[120:middle], pixels[middle:]):
            assert inked(half, LIGHT.main, LIGHT.ground) > 1_250


def test_nothing_is_drawn_in_a_colour_that_the_look_does_not_have(specs: dict[str, dict[str, Any]]) -> None:
    for name, made in specs.items():
        look = DARK if name in ONE_DARK else LIGHT
        own = {look.ground, look.ink, look.faint, look.grid, look.shade, look.bad, *look.series, *look.ramp}
        used = set(re.findall(r"#[0-9a-fA-F]{3,8}\b", str(made)))
        assert used <= own, (name, used - own)
