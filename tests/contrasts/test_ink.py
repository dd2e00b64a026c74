"""Figures of a comparison as pictures: colours of verdicts inside the axes, axes with units, words of each side."""

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from genbench import contrasts
from genbench.contrasts import _draw
from genbench.plots._figure import Table
from genbench.plots._look import DARK, LIGHT
from tests.contrasts.made_comparisons import DOCUMENTS, LONG, comparison, document, row
from tests.plots.test_ink import encodings, inked, picture, rgb

UNIT = re.compile(r".+ \((requests|req/s|×|ratio)(, log scale)?\)")
GOOD, BAD = LIGHT.series[2], LIGHT.bad
MANY = ("three", "six", "long")
HOSTILE = "</script> \"quoted\" 'b' \\ | {{x}}"


def drawn(name: str, of: str = "pair", look: Any = LIGHT) -> dict[str, Any]:
    table = _draw.tables(DOCUMENTS[of])[name]
    assert isinstance(table, Table), table
    return _draw.spec(name, table, look)


def solid(pixels: "np.ndarray[Any, np.dtype[np.float64]]", colour: str) -> "np.ndarray[Any, np.dtype[np.bool_]]":
    """Where a picture is this colour and nothing else."""
    return np.asarray(np.abs(pixels - rgb(colour)).max(axis=-1) < 8)


def texts(part: Any) -> Iterator[dict[str, Any]]:
    """The rows of every text mark."""
    if isinstance(part, dict):
        if part.get("mark", {}) and isinstance(part["mark"], dict) and part["mark"].get("type") == "text":
            yield from part["data"]["values"]
        for value in part.values():
            yield from texts(value)
    elif isinstance(part, list):
        for value in part:
            yield from texts(value)


CASES = [("ratios", "pair"), ("ratios", "six"), ("ratios_by_load", "loads"), ("value", "six")]


@pytest.mark.parametrize(("name", "of"), CASES)
def test_every_axis_has_its_unit(name: str, of: str) -> None:
    made = drawn(name, of)
    titles = {encoding["title"] for _, encoding in encodings(made) if encoding.get("title")}
    assert titles
    for title in titles:
        assert UNIT.fullmatch(title), title
    logs = {encoding["title"] for _, encoding in encodings(made) if encoding.get("scale", {}).get("type") == "log"}
    assert all(title.endswith("log scale)") for title in logs if title)
    assert made["title"]["text"]


def test_a_pair_has_the_colours_of_its_verdicts_and_the_words_of_its_sides() -> None:
    made = drawn("ratios")
    pixels = picture(made)
    np.testing.assert_array_equal(pixels[0, 0], rgb(LIGHT.ground))
    assert inked(pixels, GOOD, LIGHT.ground) > 300
    assert inked(pixels, BAD, LIGHT.ground) > 300
    assert [one["side"] for one in texts(made)] == ["← baseline better", "candidate better →"]
    assert "'better|0|−9.0 %  faster'" in str(made)
    assert "'no difference seen|7|+1.0 %  no difference seen'" in str(made)


def test_where_nothing_differs_nothing_has_a_colour() -> None:
    pixels = picture(drawn("ratios", "same"))
    assert inked(pixels, GOOD, LIGHT.ground) == 0
    assert inked(pixels, BAD, LIGHT.ground) == 0


def test_better_stands_on_the_right() -> None:
    def middle(ratio: float) -> float:
        made = document([comparison("a", "b") | {"rows": [row("ttft", "p50", "TTFT", "ms", "low", 80.0, ratio)]}])
        table = _draw.tables(made)["ratios"]
        assert isinstance(table, Table)
        pixels = picture(_draw.spec("ratios", table, LIGHT))[:, :800]  # without the words on the right
        return float(np.nonzero(solid(pixels, GOOD if ratio < 1 else BAD).any(axis=0))[0].mean())

    assert middle(0.8) > 600
    assert middle(1.25) < 360


@pytest.mark.parametrize("of", MANY)
def test_several_comparisons_have_a_colour_each(of: str) -> None:
    made = drawn("ratios", of)
    others = list(contrasts.short([one["b"] for one in DOCUMENTS[of]["comparisons"]]).values())
    assert f"'domain': {others}" in str(made)
    pixels = picture(made)
    for colour in LIGHT.series[1 : len(others) + 1]:
        assert inked(pixels, colour, LIGHT.ground) > 100, colour
    assert pixels.shape[0] < 760  # it has to fit a slide


def test_long_names_do_not_widen_a_figure() -> None:
    for name in ("ratios", "value"):
        assert picture(drawn(name, "long")).shape[1] < 960
    assert LONG not in [one.get("side") for one in texts(drawn("ratios", "long"))]


def test_sweeps_have_a_panel_for_each_metric() -> None:
    made = drawn("ratios_by_load", "loads")
    assert len(made["concat"]) == 10
    assert made["concat"][0]["title"]["text"] == "Time to first token p50"
    made["concat"] = made["concat"][:1]
    assert inked(picture(made), BAD, LIGHT.ground) > 30
    assert "'domain': ['b', 'c']" in str(drawn("ratios_by_load", "three sweeps"))


def test_the_base_is_grey_among_the_bars() -> None:
    pixels = picture(drawn("value", "six"))[60:-60, 40:]  # without labels, which are grey
    # the bars are 0.8 + 1.4 + 1.1 + 0.95 + 2.1 = 6.35 times as long as the base's
    assert solid(pixels, LIGHT.main).sum() / solid(pixels, LIGHT.faint).sum() == pytest.approx(6.35, rel=0.05)


def test_hostile_names_are_drawn() -> None:
    made = document([comparison("a", HOSTILE)], value=[])
    table = _draw.tables(made)["ratios"]
    assert isinstance(table, Table)
    assert inked(picture(_draw.spec("ratios", table, LIGHT)), GOOD, LIGHT.ground) > 300


@pytest.mark.parametrize(("name", "of"), CASES)
@pytest.mark.parametrize("look", [LIGHT, DARK], ids=["light", "dark"])
def test_nothing_is_drawn_in_a_colour_that_the_look_does_not_have(name: str, of: str, look: Any) -> None:
    own = {look.ground, look.ink, look.faint, look.grid, look.shade, look.bad, *look.series, *look.ramp}
    assert set(re.findall(r"#[0-9a-fA-F]{3,8}\b", str(drawn(name, of, look)))) <= own
