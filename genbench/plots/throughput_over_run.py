"""What the server delivered and how much it had to do: throughput above, in flight below; grey: not the steady load."""

from typing import Any

import numpy as np

from genbench import stats
from genbench.metrics.definitions import osl
from genbench.metrics.summary import Run
from genbench.plots import _parts as parts
from genbench.plots._figure import Nothing, Table
from genbench.plots._look import WIDTH, Look
from genbench.plots._source import NS, all_phases, bins_said, edges, phases, place, zero_ns
from genbench.records import Ints, RecordTable
from genbench.stats import Floats

TITLE = "Throughput and requests in flight over the run"
BINS, LEAST_BINS = 100, 8
THINGS = 10  # delivered in a bin, at least: of fewer a line is all noise
THINGS_LAST = (
    4  # in a closed loop requests go in step: a bin holds several of their steps, or it shows where it was cut
)
SHOWN = {
    "output_tps": "output (token/s)",
    "inputs_ps": "embedded inputs (input/s)",
    "requests_ps": "answers (req/s)",
}


def data(run: Run) -> Table:
    """Output tokens per second (embeddings: inputs; no length known: answers) and mean requests in flight by time (s).

    Tokens of ok requests are booked when their event came, those of an answer in one piece at its end; in flight is
    every request that was sent, whatever became of it. The warm-up is in both.
    """
    zero = zero_ns(run)
    table = all_phases(run.table)
    flying = (table.sent_ns >= 0) & (table.end_ns >= table.sent_ns)
    if not flying.any():
        raise Nothing("no request that was sent has an end")
    sent, ended = table.sent_ns[flying] - zero, table.end_ns[flying] - zero
    if not table.ok.any():
        raise Nothing("no request ended ok, so nothing was delivered")
    column, at_ns, amounts, what = _delivered(table)
    start, end = float(sent.min()) / NS, float(ended.max()) / NS
    bins = edges(start, end, _count(table, end - start, at_ns.size))
    came = np.bincount(place((at_ns - zero) / NS, bins), weights=amounts, minlength=bins.size - 1)
    low, high = bins[:-1], bins[1:]
    mean = _in_flight(sent, ended, low, high)
    marks = phases(run)
    return Table(
        {"from_s": low, "to_s": high, column: came / (high - low), "in_flight": mean},
        f"{what}, {bins_said(bins)}",
        marks,
    )


def _delivered(table: RecordTable) -> tuple[str, Ints, Floats, str]:
    """Column, moments, amounts, and what they are."""
    ended = table.end_ns[table.ok]
    if (table.embeddings[table.ok] > 0).any():
        return "inputs_ps", ended, table.inputs[table.ok].astype(np.float64), "inputs of ok requests at their end"
    length = osl(table)
    known = table.ok & (length >= 0)
    if not known.any():
        return "requests_ps", ended, np.ones(ended.size), "ok requests at their end; no output length is known"
    content = table.content
    mine = np.flatnonzero(known[content.row])
    row, position = content.row[mine], content.position[mine]
    told = table.event_tokens[position]
    share: Floats | float = 1.0  # of an event in its answer: evenly, or as told where every event of the answer tells
    total = content.count.astype(np.float64)
    if (told >= 0).any():
        untold = np.bincount(row[told < 0], minlength=len(table)) > 0
        share = np.where(untold[row], 1.0, told)
        total = np.bincount(row, weights=share, minlength=len(table)).astype(np.float64)
    whole = known & (total == 0)
    moments = np.concatenate((table.event_ns[position], table.end_ns[whole]))
    amounts = np.concatenate((share * (length / np.maximum(total, 1e-9))[row], length[whole]))
    return "output_tps", moments, amounts, "tokens of ok requests when they came"


def _count(table: RecordTable, seconds: float, things: int) -> int:
    """How many bins: each holds some things, and lasts some times as long as a request takes for one of them."""
    took = (table.end_ns - table.sent_ns)[table.ok] / np.maximum(table.content.count[table.ok], 1)
    slowest = seconds / max(THINGS_LAST * float(took.mean()) / NS, 1e-9)
    return round(min(max(min(things / THINGS, slowest), LEAST_BINS), BINS))


def _in_flight(sent: Ints, ended: Ints, low: Floats, high: Floats) -> Floats:
    """Time-weighted mean number in flight between each low and high, in seconds."""
    times, levels = stats.steps(sent, ended)
    seconds = times / NS
    area = np.concatenate(([0.0], np.cumsum(levels[:-1] * np.diff(seconds))))
    integral = np.interp(high, seconds, area) - np.interp(low, seconds, area)
    return np.asarray(integral / np.maximum(high - low, 1e-9), dtype=np.float64)


def chart(table: Table, look: Look) -> Any:
    """Two panels over one time axis, a line for each run in steps of its bins; no length known: a panel more."""
    import altair as alt

    x = parts.time_axis(table, "from_s", "to_s")
    drawn = parts.data(parts.closed(table))
    rates = [name for name in SHOWN if name in table.columns]
    made = []
    for field in (*rates, "in_flight"):
        title, height = SHOWN.get(field, "in flight (requests)"), 110 if field == "in_flight" else 200
        below = field == "in_flight"
        own = x if below else {**x, "title": None, "axis": alt.Axis(labels=False, ticks=False, tickCount=9)}
        top = float(np.nanmax(table.columns[field])) or 1.0
        scale = alt.Scale(domain=[0, 1.04 * top], nice=False)
        y = alt.Y(f"{field}:Q", title=title, scale=scale, axis=alt.Axis(tickCount=4 if below else 5, minExtent=52))
        base = alt.Chart(drawn).transform_filter(f"isValid(datum.{field})")
        base = base.encode(x=alt.X("from_s:Q", **own), y=y, color=parts.colour(table, look))
        tips = parts.tooltips(from_s=("from (s)", ",.2f"), to_s=("to (s)", ",.2f"), **{field: (title, ",.1f")})
        layers = [base.mark_line(strokeWidth=1.8, interpolate="step-after"), parts.hover(base, tips)]
        if not parts.names(table):
            layers.insert(0, base.mark_area(opacity=0.18, interpolate="step-after"))
        shades = parts.shade_layers(table, look, own)
        layers = [*(shades if field == rates[0] else shades[:1]), *layers]
        made.append(alt.layer(*layers).properties(width=WIDTH, height=height))
    return alt.vconcat(*made, spacing=14)
