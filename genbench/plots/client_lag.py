"""How late the client itself was: what is near the server's own times here is in them, too. Lower is better."""

from typing import Any

import numpy as np

from genbench.metrics.definitions import Values
from genbench.metrics.summary import Run
from genbench.plots import _parts as parts
from genbench.plots._figure import Table
from genbench.plots._look import Look
from genbench.plots._source import (
    NS,
    all_phases,
    bins_said,
    counted,
    edges,
    joined,
    metric,
    part,
    phases,
    place,
    shaded,
    values,
    zero_ns,
)
from genbench.stats import Floats

TITLE = "Client lag over the run"
BINS, LEAST_BINS = 80, 10
SENDS = 20  # in a bin, at least, where there are enough: a p99 of less is the maximum
LEAST_MS = 0.001  # the least a logarithmic axis shows: less is not known
LINES = ("p50", "p99", "max", "loop lag, worst of a second")


def data(run: Run) -> Table:
    """p50, p99 and maximum of the lag of sends (ms) by time (s), and the worst loop lag of each second if it is known.

    Every request that was sent counts, warm-up included. A row stands at the middle of its bin.
    """
    values(run, "client_lag")
    zero = zero_ns(run)
    table = all_phases(run.table)
    found = metric("client_lag").of(table)
    at = (table.sent_ns[found.rows] - zero) / NS
    bins = edges(float(at.min()), float(at.max()), min(max(at.size // SENDS, LEAST_BINS), BINS))
    times, three = _by_bin(found, at, bins)
    loop_at, loop_ms = _loop_lag(run, zero)
    columns = {
        "what": np.concatenate([np.repeat(name, len(lag)) for name, lag in zip(LINES, (*three, loop_ms), strict=True)]),
        "time_s": np.concatenate((times, times, times, loop_at)),
        "lag_ms": np.concatenate((*three, loop_ms)),
    }
    marks = phases(run)
    said = f"{counted(at.size, 'send')} {bins_said(bins)}"
    return Table(columns, joined(said, shaded(marks)), marks)


def _by_bin(found: Values, at: Floats, bins: Floats) -> tuple[Floats, tuple[Floats, Floats, Floats]]:
    """Middle of each bin that has a send, and p50, p99 and maximum of its lags."""
    group = place(at, bins)
    order = np.argsort(found.values)
    order = order[np.argsort(group[order].astype(np.uint16), kind="stable")]
    counts = np.bincount(group, minlength=bins.size - 1)
    start = np.concatenate(([0], np.cumsum(counts)))[:-1]
    some = np.flatnonzero(counts)
    lags = found.values[order]
    lines = tuple(
        np.interp(start[some] + (counts[some] - 1) * percent / 100, np.arange(lags.size), lags)
        for percent in (50.0, 99.0, 100.0)
    )
    return (bins[some] + bins[some + 1]) / 2, (lines[0], lines[1], lines[2])


def _loop_lag(run: Run, zero: int) -> tuple[Floats, Floats]:
    """Time (s) and worst lag (ms) of each second that the run watched its loop; empty where it did not."""
    series = part(run.header, "health", "series")
    times, lags = series.get("t_ns"), series.get("loop_lag_max_ns")
    if not isinstance(times, list) or not isinstance(lags, list) or len(times) != len(lags):
        return np.empty(0), np.empty(0)
    return (np.array(times, dtype=np.float64) - zero) / NS, np.array(lags, dtype=np.float64) / 1e6


def chart(table: Table, look: Look) -> Any:
    """A line for each of p50, p99 and maximum, points for the loop; a panel for each run."""
    import altair as alt

    drawn = Table({**table.columns, "lag_ms": np.maximum(table.columns["lag_ms"], LEAST_MS)}, marks=table.marks)
    known = [name for name in LINES if (drawn.columns["what"] == name).any()]
    x = parts.time_axis(drawn, "time_s")
    y = parts.axis("lag (ms)", drawn.columns["lag_ms"])
    colours = dict(zip(LINES, (look.series[0], look.series[2], look.series[1], look.faint), strict=True))
    colour = parts.by_name("what", known, look, colours=colours)
    # where a bin has few sends p99 and the maximum are one: the line on top lets the one below be seen
    dash = alt.StrokeDash("what:N", scale=alt.Scale(domain=known, range=[[1, 0], [1, 0], [5, 4], [1, 0]]), legend=None)
    tips = parts.tooltips(what=("what", ""), time_s=("time (s)", ",.2f"), lag_ms=("lag (ms)", ",.3f"))

    def one(part: Table, width: int, height: int) -> Any:
        base = alt.Chart(parts.data(part)).encode(
            x=alt.X("time_s:Q", **x), y=alt.Y("lag_ms:Q", **y), color=colour, tooltip=tips
        )
        loop = f"datum.what === '{LINES[-1]}'"
        layers = [
            *parts.shade_layers(part, look, x, width),
            base.transform_filter(f"!({loop})").mark_line(strokeWidth=1.8, point={"size": 14}).encode(strokeDash=dash),
            base.transform_filter(loop).mark_point(shape="cross", size=40, filled=True, opacity=0.9),
        ]
        return alt.layer(*layers).properties(width=width, height=height)

    return parts.panels(drawn, one)
