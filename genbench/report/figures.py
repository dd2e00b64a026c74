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
from typing import Any, Protocol

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
    "server_over_run",
    "gpu_over_run",
    "arrivals_over_run",
    "outcomes_over_run",
    "ttft_by_input",
    "lengths_heatmap",
    "lengths",
    "timeline",
    "client_lag",
)
ONLY_WITH_NUMBERS = frozenset({"server_over_run", "gpu_over_run"})  # most runs have none, and nothing is missing then
ROWS = "$rows"  # the page's script makes `values` of it
COLUMNAR = 4  # fewer rows are shorter as they are
FONT = (
    "-apple-system, BlinkMacSystemFont, 'Segoe UI', Inter, Roboto, 'Helvetica Neue', Arial, 'Liberation Sans', "
    "sans-serif"
)
ZOOM = "wheel![event.ctrlKey || event.metaKey]"  # the wheel alone moves the page
MOVE = "[mousedown, window:mouseup] > window:mousemove!"  # a finger moves the page
SEVERAL_PARTS = ("concat", "hconcat", "vconcat", "facet")


class Drawer(Protocol):
    """A package of figures, as `_draw` of `plots`, `curves` or `contrasts` has it."""

    def figure(self, name: str) -> _draw.Drawing:
        """A figure by its name."""

    def spec(self, name: str, table: Table, look: Look) -> dict[str, Any]:
        """Its Vega-Lite specification."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A figure for the page: its name in a package, its numbers or why it has none, and how wide it stands."""

    package: str
    drawer: Drawer
    name: str
    table: Table | Nothing
    half: bool = False


@dataclass(frozen=True, slots=True)
class Drawn:
    """The figures' place on the page, and their data for its script: empty where nothing can be drawn."""

    places: Html
    data: dict[str, Any]


def drawn(series: Sequence[tuple[str, Run]], tables: Mapping[str, Table | Nothing] | None = None) -> Drawn:
    """All figures of a run, or of several in one; `tables` are their numbers where somebody has them already."""
    if why := _draw.missing():
        return Drawn(absence(why), {})
    known = _draw.names()
    chosen = [name for name in ORDER if name in known] + [name for name in known if name not in ORDER]
    numbers = _draw.tables(series, chosen) if tables is None else tables
    shown = [name for name in chosen if name in numbers]
    shown = [n for n in shown if not (n in ONLY_WITH_NUMBERS and type(numbers[n]) is Nothing)]
    return together([Shown("plots", _draw, name, numbers[name], name in HALF) for name in shown])


def together(shown: Sequence[Shown]) -> Drawn:
    """Some figures as all that a page has; what has nothing to draw says so in its place."""
    specs: list[dict[str, Any]] = []
    places = placed(shown, specs)
    return Drawn(places, data_of(specs))


def placed(shown: Sequence[Shown], specs: list[dict[str, Any]]) -> Html:
    """The places of some figures of a page; what its script needs of each is appended to `specs`."""
    places, before = [], len(specs)
    for one in shown:
        wide = "half" if one.half else "wide"
        title = str(one.drawer.figure(one.name).TITLE)
        if isinstance(one.table, Nothing):
            places.append(absent(title, str(one.table), wide))
            continue
        try:
            light, dark = (prepared(one.drawer.spec(one.name, one.table, look)) for look in (LIGHT, DARK))
        except Exception as error:  # one figure's fault is not the page's
            places.append(absent(title, f"this figure failed ({type(error).__name__})", wide))
            continue
        places.append(_place(one, title, one.table.note, wide, len(specs)))
        specs.append({"name": one.name, "spec": light, "dark": list(differences(light, dark))})
    if len(specs) == before:
        reasons = "; ".join(dict.fromkeys(str(one.table) for one in shown))
        return e("p", f"No figures: {reasons}.", class_="nothing")
    return e("div", places, class_="figures")


def data_of(specs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What the page's script reads; empty where there is no figure."""
    looks = {look.name: page_config(look) for look in (LIGHT, DARK)}
    return {"looks": looks, "figures": list(specs)} if specs else {}


def absence(why: str) -> Html:
    """That nothing can be drawn here."""
    return e("p", f"{why[0].upper()}{why[1:]}.", class_="nothing")


def _place(one: Shown, title: str, note: str, wide: str, at: int) -> Html:
    reading = registry.first_line(one.package, one.name)
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
        id=f"figure-{one.name}",
    )


def absent(title: str, why: str, wide: str) -> Html:
    """The place of a figure that has nothing to draw."""
    return e("figure", e("h3", title), e("p", f"Not drawn: {why}.", class_="nothing"), class_=f"{wide} absent")


def page_config(look: Look) -> dict[str, Any]:
    """A look as the page needs it: the card is the ground, the card's edge the padding."""
    made = look.config() | {"background": "transparent", "font": FONT, "aria": False}
    return made | {"padding": {"left": 4, "right": 12, "top": 6, "bottom": 4}}


def prepared(spec: Mapping[str, Any]) -> dict[str, Any]:
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
