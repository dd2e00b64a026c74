import copy
from pathlib import Path
from typing import Any

import pytest

from genbench.metrics.summary import Run
from genbench.plots import _draw
from genbench.plots._look import DARK, LIGHT
from genbench.report import figures
from tests.report import made
from tests.report.dom import parse


@pytest.fixture(scope="module")
def run() -> Run:
    return made.full()


@pytest.fixture(scope="module")
def drawn(run: Run) -> figures.Drawn:
    return figures.drawn([("run", run)])


def rows(node: Any) -> Any:
    """What the page's script makes of columns."""
    if isinstance(node, list):
        return [rows(one) for one in node]
    if not isinstance(node, dict):
        return node
    found = {key: rows(value) for key, value in node.items() if key != figures.ROWS}
    if figures.ROWS in node:
        names = list(node[figures.ROWS])
        found["values"] = [dict(zip(names, row, strict=True)) for row in zip(*node[figures.ROWS].values(), strict=True)]
    return found


def test_every_figure_has_a_place(drawn: figures.Drawn) -> None:
    tree = parse(drawn.places)
    titles = {node.text for node in tree.all("h3")}
    shown = set(_draw.names()) - figures.ONLY_WITH_NUMBERS  # nobody was scraped
    assert titles == {str(_draw.figure(name).TITLE) for name in shown}
    places = tree.all("div", class_="plot")
    assert [int(node.attributes["data-figure"]) for node in places] == list(range(len(drawn.data["figures"])))
    for node in places:
        assert node.attributes["role"] == "img"
        assert len(node.attributes["aria-label"]) > 20


def test_a_figure_says_how_to_read_it(drawn: figures.Drawn) -> None:
    for figure in parse(drawn.places).all("figure"):
        if "absent" not in figure.attributes["class"]:
            assert figure.one("figcaption").text in figure.one("div", class_="plot").attributes["aria-label"]


def test_the_order_knows_every_figure() -> None:
    assert set(figures.ORDER) == set(_draw.ORDER)
    assert set(figures.ORDER) >= figures.HALF


def test_data_is_there_once(drawn: figures.Drawn) -> None:
    for figure in drawn.data["figures"]:
        for path, value in figure["dark"]:
            assert figures.ROWS not in path, (figure["name"], path)
            assert not isinstance(value, dict) or figures.ROWS not in value


def test_dark_is_light_with_its_differences(run: Run, drawn: figures.Drawn) -> None:
    table = _draw.tables([("run", run)], ["latency_cdf"])["latency_cdf"]
    assert not isinstance(table, Exception)
    wanted = _draw.spec("latency_cdf", table, DARK)
    figure = next(one for one in drawn.data["figures"] if one["name"] == "latency_cdf")
    assert figure["dark"]
    found = rows(copy.deepcopy(figure["spec"]))
    for path, value in figure["dark"]:
        node = found
        for key in path[:-1]:
            node = node[key]
        node[path[-1]] = value
    assert colours(found) == colours(wanted | {"config": None})


def colours(node: Any) -> list[str]:
    """Every colour of a specification, in order of its keys."""
    if isinstance(node, dict):
        return [colour for key in sorted(node) for colour in colours(node[key])]
    if isinstance(node, list):
        return [colour for one in node for colour in colours(one)]
    return [node] if isinstance(node, str) and node.startswith("#") else []


def test_differences_are_the_least() -> None:
    one = {"a": 1, "b": [{"c": 2}, {"c": 3}], "d": {"e": 4}}
    other = {"a": 1, "b": [{"c": 2}, {"c": 5}], "d": {"f": 4}}
    assert list(figures.differences(one, other)) == [(["b", 1, "c"], 5), (["d"], {"f": 4})]


def test_rows_become_columns_and_rows_again() -> None:
    spec = {"layer": [{"data": {"values": [{"x": i, "y": None} for i in range(9)]}, "mark": "line"}]}
    slim = figures.by_column(spec)
    assert slim["layer"][0]["data"] == {figures.ROWS: {"x": list(range(9)), "y": [None] * 9}}
    assert rows(slim) == spec


def test_rows_that_differ_stay_rows() -> None:
    spec = {"values": [{"x": 1}, {"x": 2}, {"y": 3}, {"x": 4}]}
    assert figures.by_column(spec) == spec
    assert figures.by_column({"values": [1, 2, 3, 4, 5]}) == {"values": [1, 2, 3, 4, 5]}


def test_figures_can_be_moved_and_what_leaves_the_axes_is_cut(drawn: figures.Drawn) -> None:
    moved = []
    for figure in drawn.data["figures"]:
        spec = figure["spec"]
        layers = spec.get("layer", [spec])
        params = [one for layer in layers for one in layer.get("params", ())]
        if params:
            moved.append(figure["name"])
            assert [one["bind"] for one in params] == ["scales"]
            assert "ctrlKey" in params[0]["select"]["zoom"]  # the wheel alone scrolls the page
            for layer in layers:
                over = layer["encoding"].get("y", {}).get("value") == 0
                assert layer["mark"]["clip"] is not over
    assert {"latency_over_run", "ttft_cdf", "latency_cdf", "ttft_by_input"} <= set(moved)


def test_titles_and_looks_are_apart(drawn: figures.Drawn) -> None:
    assert not any(key in figure["spec"] for figure in drawn.data["figures"] for key in ("title", "config", "$schema"))
    assert drawn.data["looks"]["light"]["title"]["color"] == LIGHT.ink
    assert drawn.data["looks"]["dark"]["title"]["color"] == DARK.ink


def test_without_the_drawing_library_one_sentence(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_draw, "missing", lambda: "no pictures: vl_convert is not installed")
    found = figures.drawn([("run", run)])
    assert parse(found.places).one("p").text == "No pictures: vl_convert is not installed."
    assert found.data == {}


def test_the_library_is_one_strict_script() -> None:
    source = figures.library()
    assert source.startswith('"use strict";(() => {')
    assert "window.vegaEmbed" in source
    assert len(source) < 1_500_000


def test_the_library_is_made_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    figures.library.cache_clear()
    first = figures.library()
    (kept,) = (tmp_path / "genbench").iterdir()
    assert kept.read_text(encoding="utf-8") in first
    kept.write_text("window.vegaEmbed = 'kept';", encoding="utf-8")
    figures.library.cache_clear()
    assert "'kept'" in figures.library()
    figures.library.cache_clear()
