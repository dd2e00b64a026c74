"""What more throughput costs in latency, load by load: a wall on the right is the server's limit."""

from typing import Any

import numpy as np

from genbench.curves import _lines
from genbench.curves._source import (
    THROUGHPUT,
    Curve,
    column,
    ends,
    having,
    hollow_said,
    intervals_said,
    left_out_said,
    loads,
)
from genbench.plots import _parts as parts
from genbench.plots._figure import Table
from genbench.plots._look import HEIGHT, WIDTH, Look
from genbench.plots._source import joined

TITLE = "Latency by throughput"
OF_LOAD = False
P95 = "request_latency.p95"


def data(curve: Curve) -> Table:
    """Request latency p95 (ms) and throughput of each load, both with their intervals."""
    key = curve.found["throughput"]
    levels = having(curve, key, P95)
    columns = loads(curve, levels) | ends(levels, key, THROUGHPUT[key][0]) | ends(levels, P95, "latency_p95_ms")
    columns["load"] = np.array([f"{level['value']:,.10g}" for level in levels])
    unit = "concurrency" if curve.by == "concurrency" else "req/s"
    said = (f"numbers at the points: {unit}", intervals_said(levels, key, P95), hollow_said(levels))
    few = any(np.isfinite(column(levels, P95))) and any(level["figures"][P95]["few"] for level in levels)
    return Table(
        columns, joined(*said, "too few requests for p95 at some loads" if few else "", left_out_said(curve, levels))
    )


def chart(table: Table, look: Look) -> Any:
    """A line for each curve through its loads in order, each point with its load."""
    import altair as alt

    name, title = next(pair for pair in THROUGHPUT.values() if pair[0] in table.columns)
    x = _lines.axis(table, name, title, even=True, room=_lines.WORDS)
    y = _lines.axis(table, "latency_p95_ms", "request latency, p95 (ms)")
    made = _lines.layers(table, look, x, y, parts.colour(table, look))
    made += _lines.words(table, look, x, y, "load")
    return alt.layer(*made).properties(width=WIDTH, height=HEIGHT)
