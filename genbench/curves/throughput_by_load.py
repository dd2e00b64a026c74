"""What the server delivers at each load: where the line turns flat it is at its limit, where it falls it is beyond."""

from typing import Any

import numpy as np

from genbench.curves import _lines
from genbench.curves._source import THROUGHPUT, Curve, ends, having, hollow_said, intervals_said, left_out_said, loads
from genbench.plots import _parts as parts
from genbench.plots._figure import Table
from genbench.plots._look import HEIGHT, WIDTH, Look
from genbench.plots._source import joined

TITLE = "Throughput by load"
OF_LOAD = True


def data(curve: Curve) -> Table:
    """Throughput and its interval at each load; `bend` names the knee and where saturation begins."""
    key = curve.found["throughput"]
    levels = having(curve, key)
    columns = loads(curve, levels) | ends(levels, key, THROUGHPUT[key][0])
    columns["bend"] = np.array([_bend(curve, level["value"]) for level in levels])
    windows = {level["window"] for level in levels}
    window = f"of the {windows.pop()}" if len(windows) == 1 else "of the steady window, but for saturated loads"
    said = (window, intervals_said(levels, key), hollow_said(levels), left_out_said(curve, levels))
    return Table(columns, joined(*said))


def _bend(curve: Curve, value: float) -> str:
    knee, top = curve.found["knee"] or {}, curve.found["saturation"] or {}
    names = ["knee"] if knee.get("value") == value else []
    names += ["saturated from here on"] if top.get("reached") and top.get("from") == value else []
    return ", ".join(names)


def chart(table: Table, look: Look) -> Any:
    """A line for each curve with its intervals; of one curve the bends are named."""
    import altair as alt

    name, title = next(pair for pair in THROUGHPUT.values() if pair[0] in table.columns)
    x, y = _lines.load_axis(table), _lines.axis(table, name, title, even=True)
    made = _lines.layers(table, look, x, y, parts.colour(table, look))
    if not parts.names(table):
        made += _lines.words(table, look, x, y, "bend")
    return alt.layer(*made).properties(width=WIDTH, height=HEIGHT)
