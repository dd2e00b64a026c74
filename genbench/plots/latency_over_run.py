"""Latency of each request by when it was sent: a slope is a queue that grows, a band apart is a kind of request."""

import math
from typing import Any

import numpy as np

from genbench.metrics.definitions import osl
from genbench.metrics.summary import Run
from genbench.plots import _parts as parts
from genbench.plots._figure import MOST, Table
from genbench.plots._look import Look
from genbench.plots._source import NS, all_phases, counted, joined, metric, phases, place, shaded, values, zero_ns
from genbench.stats import Floats

TITLE = "Request latency over the run"
CELLS = (80, 25)  # in time, in latency: MOST of them


def data(run: Run) -> Table:
    """Request latency (ms), time sent (s) and output tokens of each ok request, warm-up included; many: cells of both.

    Of one request `to_s` is `from_s` and `to_ms` is `from_ms`; a cell reaches from one to the other, and
    `osl_tokens` is the mean of its requests.
    """
    values(run, "request_latency")  # none in the measured phase: the warm-up alone is no figure
    zero = zero_ns(run)
    table = all_phases(run.table)
    found = metric("request_latency").of(table)
    sent = (table.sent_ns[found.rows] - zero) / NS
    length = osl(table)[found.rows].astype(np.float64)
    length[length < 0] = np.nan
    columns, said = _cells(sent, found.values, length) if sent.size > MOST else _points(sent, found.values, length)
    marks = phases(run)
    return Table(columns, joined(said, shaded(marks)), marks)


def _points(sent: Floats, latency: Floats, length: Floats) -> tuple[dict[str, Any], str]:
    one = np.ones(sent.size, dtype=np.int64)
    return {
        "from_s": sent,
        "to_s": sent,
        "from_ms": latency,
        "to_ms": latency,
        "osl_tokens": length,
        "requests": one,
    }, counted(sent.size, "request")


def _cells(sent: Floats, latency: Floats, length: Floats) -> tuple[dict[str, Any], str]:
    across, up = CELLS
    low, high, log = parts.span(latency)
    times = np.linspace(sent.min(), sent.max(), across + 1)
    levels = np.geomspace(low, high, up + 1) if log else np.linspace(low, high, up + 1)
    i = place(sent, times) if times[0] < times[-1] else np.zeros(sent.size, dtype=np.int64)
    j = place(np.log(latency), np.log(levels)) if log else place(latency, levels)
    cell = i * up + j
    counts = np.bincount(cell, minlength=across * up)
    known = np.isfinite(length)
    tokens = np.bincount(cell[known], weights=length[known], minlength=across * up)
    told = np.bincount(cell[known], minlength=across * up)
    some = np.flatnonzero(counts)
    i, j = some // up, some % up
    mean = np.where(told[some] > 0, tokens[some] / np.maximum(told[some], 1), math.nan)
    columns = {
        "from_s": times[i],
        "to_s": times[i + 1],
        "from_ms": levels[j],
        "to_ms": levels[j + 1],
        "osl_tokens": mean,
        "requests": counts[some],
    }
    return columns, f"{sent.size:,} requests in {across} x {up} cells"


def chart(table: Table, look: Look) -> Any:
    """Points coloured by output length, or cells coloured by their number of requests; a panel for each run."""
    import altair as alt

    columns = table.columns
    x = parts.time_axis(table, "from_s", "to_s")
    y = parts.axis("request latency (ms)", [columns["from_ms"], columns["to_ms"]])
    binned = bool((columns["requests"] > 1).any() or (columns["to_s"] > columns["from_s"]).any())
    tips = parts.tooltips(
        from_s=("sent (s)", ",.2f"),
        from_ms=("latency (ms)", ",.1f"),
        osl_tokens=("output (tokens)", ",.0f"),
        requests=("requests", ",.0f"),
    )

    def one(part: Table, width: int, height: int) -> Any:
        colour = _colour(part if binned else table, look, binned)  # cells of two runs have two sizes: a legend for each
        base = alt.Chart(parts.data(part)).encode(
            x=alt.X("from_s:Q", **x), y=alt.Y("from_ms:Q", **y), color=colour, tooltip=tips
        )
        drawn = (
            base.mark_rect().encode(x2="to_s:Q", y2="to_ms:Q") if binned else base.mark_circle(size=30, opacity=0.85)
        )
        return alt.layer(*parts.shade_layers(part, look, x, width), drawn).properties(width=width, height=height)

    made = parts.panels(table, one)
    return made.resolve_scale(color="independent") if binned and parts.names(table) else made


def _colour(table: Table, look: Look, binned: bool) -> Any:
    columns = table.columns
    if binned:
        many = columns["requests"].max() > parts.MAGNITUDES
        title = f"requests in a cell{' (log scale)' * bool(many)}"
        return parts.by_number("requests", title, look, columns["requests"], log=bool(many))
    length = columns["osl_tokens"]
    if not np.isfinite(length).any() or np.nanmin(length) == np.nanmax(length):
        return parts.plain(look.main)
    return parts.by_number("osl_tokens", "output length (tokens)", look, length)
