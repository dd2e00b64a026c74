"""Figures on the page: each specification once, with what is different in the dark, its rows by column.

The drawing library is one script for all figures, taken from vl-convert: nothing is fetched. What has nothing to draw
says so in its place.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from genbench import registry
from genbench.metrics.summary import Run
from genbench.plots import _draw
from genbench.plots._figure import Nothing, Table
from genbench.plots._look import DARK, LIGHT, Look
from genbench.report.markup import Html, e

HALF = frozenset(
    {
        "ttft_cdf",
        "itl_cdf",
        "latency_cdf",
        "itl_by_position",
        "ttft_box",
        "latency_box",
        "ttft_by_input",
        "lengths_heatmap",
    }
)  # two of them side by side; the others are as wide as the page
ORDER = (
    "latency_over_run",
    "ttft_cdf",
    "itl_cdf",
    "latency_cdf",
    "itl_by_position",
    "ttft_box",
    "latency_box",
    "throughput_over_run",
    "arrivals_over_run",
    "outcomes_over_run",
    "ttft_by_input",
    "lengths_heatmap",
    "lengths",
    "timeline",
    "client_lag",
)
ROWS = "$rows"  # the page's script makes `values` of it
COLUMNAR = 4  # fewer rows are shorter as they are
FONT = (
    "-apple-system, BlinkMacSystemFont, 'Segoe UI', Inter, Roboto, 'Helvetica Neue', Arial, 'Liberation Sans', "
    "sans-serif"
)
ZOOM = "wheel![event.ctrlKey || event.metaKey]"  # the wheel alone moves the page
MOVE = "[mousedown, window:mouseup] > window:mousemove!"  # a finger moves the page
SEVERAL_PARTS = ("concat", "hconcat", "vconcat", "facet")


@dataclass(frozen=True, slots=True)
class Drawn:
    """The figures' place on the page, and their data for its script: empty where nothing can be drawn."""

    places: Html
    data: dict[str, Any]


def drawn(series: Sequence[tuple[str, Run]], tables: Mapping[str, Table | Nothing] | None = None) -> Drawn:
    """All figures of a run, or of several in one; `tables` are their numbers where somebody has them already."""
    why = _draw.missing()
    if why:
        return Drawn(e("p", f"{why[0].upper()}{why[1:]}.", class_="nothing"), {})
    known = _draw.names()
    chosen = [name for name in ORDER if name in known] + [name for name in known if name not in ORDER]
    numbers = _draw.tables(series, chosen) if tables is None else tables
    found = {name: numbers[name] for name in chosen if name in numbers}
    specs: list[dict[str, Any]] = []
    places: list[Html] = []
    for name, table in found.items():
        wide = "half" if name in HALF else "wide"
        title = str(_draw.figure(name).TITLE)
        if isinstance(table, Nothing):
            places.append(_absent(title, str(table), wide))
            continue
        try:
            light, dark = _light_and_dark(name, table)
        except Exception as error:  # one figure's fault is not the page's
            places.append(_absent(title, f"this figure failed ({type(error).__name__})", wide))
            continue
        places.append(_place(name, title, table.note, wide, len(specs)))
        specs.append({"name": name, "spec": light, "dark": list(differences(light, dark))})
    if not specs:
        reasons = "; ".join(dict.fromkeys(map(str, found.values())))
        return Drawn(e("p", f"No figures: {reasons}.", class_="nothing"), {})
    looks = {look.name: _config(look) for look in (LIGHT, DARK)}
    return Drawn(e("div", places, class_="figures"), {"looks": looks, "figures": specs})


def _light_and_dark(name: str, table: Table) -> tuple[dict[str, Any], dict[str, Any]]:
    """A figure in both looks."""
    return _prepared(_draw.spec(name, table, LIGHT)), _prepared(_draw.spec(name, table, DARK))


def _place(name: str, title: str, note: str, wide: str, at: int) -> Html:
    reading = registry.first_line("plots", name)
    return e(
        "figure",
        e(
            "header",
            e("h3", title),
            e("button", "SVG", type="button", class_="quiet", data_save=at, aria_label=f"Save as SVG: {title}"),
        ),
        e("p", note, class_="note") if note else None,
        e("div", class_="plot", data_figure=at, role="img", aria_label=f"{title}. {reading}"),
        e("figcaption", reading),
        class_=wide,
        id=f"figure-{name}",
    )


def _absent(title: str, why: str, wide: str) -> Html:
    return e("figure", e("h3", title), e("p", f"Not drawn: {why}.", class_="nothing"), class_=f"{wide} absent")


def _config(look: Look) -> dict[str, Any]:
    """A look as the page needs it: the card is the ground, the card's edge the padding."""
    made = look.config() | {"background": "transparent", "font": FONT, "aria": False}
    return made | {"padding": {"left": 4, "right": 12, "top": 6, "bottom": 4}}


def _prepared(spec: Mapping[str, Any]) -> dict[str, Any]:
    """A specification as the page draws it: title and look apart, movable, its rows by column."""
    bare = {key: value for key, value in spec.items() if key not in ("title", "config", "$schema")}
    made: dict[str, Any] = by_column(bare)
    if not any(part in made for part in SEVERAL_PARTS):
        _movable(made)
    return made


def by_column(node: Any) -> Any:
    """The same with every list of like rows turned into columns: a name once, not in each row."""
    if isinstance(node, list):
        return [by_column(one) for one in node]
    if not isinstance(node, Mapping):
        return node
    rows = node.get("values")
    if isinstance(rows, list) and len(rows) >= COLUMNAR and _alike(rows):
        rest = {key: by_column(value) for key, value in node.items() if key != "values"}
        return rest | {ROWS: {key: [row[key] for row in rows] for key in rows[0]}}
    return {key: by_column(value) for key, value in node.items()}


def _alike(rows: list[Any]) -> bool:
    return all(isinstance(row, Mapping) and row.keys() == rows[0].keys() for row in rows) and bool(rows[0])


def _movable(spec: dict[str, Any]) -> None:
    """Let a reader move and zoom: along x, and along y where the marks are points.

    The selection stands in the last layer with an x axis (of several the last one's scale counts). What is moved out of
    the axes is cut off, but for words above the chart.
    """
    layers = spec.get("layer", [spec])
    axes = [layer for layer in layers if layer.get("encoding", {}).get("x", {}).get("type") == "quantitative"]
    if not axes:
        return
    points = any(_mark(layer)["type"] == "circle" for layer in layers)
    last = axes[-1]
    both = points and last["encoding"].get("y", {}).get("type") == "quantitative"
    interval = {"type": "interval", "encodings": ["x", "y"] if both else ["x"], "zoom": ZOOM, "translate": MOVE}
    last["params"] = [*last.get("params", ()), {"name": "moved", "select": interval, "bind": "scales"}]
    for layer in layers:
        words = layer.get("encoding", {}).get("y", {}).get("value") == 0
        layer["mark"] = _mark(layer) | {"clip": not words}  # said, or the axis that moves would have it cut off


def _mark(layer: Mapping[str, Any]) -> dict[str, Any]:
    mark = layer["mark"]
    return {"type": mark} if isinstance(mark, str) else dict(mark)


def differences(one: Any, other: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[list[str | int], Any]]:
    """(path, value) of what has to be set in `one` to make it `other`; nothing below what differs in its keys."""
    if one == other:
        return
    if isinstance(one, Mapping) and isinstance(other, Mapping) and one.keys() == other.keys():
        for key in one:
            yield from differences(one[key], other[key], (*path, key))
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for at, (here, there) in enumerate(zip(one, other, strict=True)):
            yield from differences(here, there, (*path, at))
    else:
        yield list(path), other


@cache
def library() -> str:
    """The drawing library as one script: vega, vega-lite and vega-embed.

    Making it takes one to three seconds, so it is kept in the user's cache, one file for each version of vl-convert.
    """
    import vl_convert

    base = Path(os.environ.get("XDG_CACHE_HOME") or "")
    folder = (base if base.is_absolute() else Path.home() / ".cache") / "genbench"
    kept = folder / f"vega-of-vl-convert-{version('vl-convert-python')}.js"
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return _alone(kept.read_text(encoding="utf-8"))
    made = str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;"))
    with contextlib.suppress(OSError):  # a cache that cannot be written costs a second next time
        folder.mkdir(parents=True, exist_ok=True)
        _draw.replaced(kept, made.encode())
    return _alone(made)


def _alone(made: str) -> str:
    return f'"use strict";(() => {{{made}\n}})();'  # its names are short and would be everybody's
