"""Which input lengths came with which output lengths: a dark cell holds many requests."""

from typing import Any

import numpy as np

from genbench.metrics.definitions import isl, osl
from genbench.metrics.summary import Run
from genbench.plots import _parts as parts
from genbench.plots._figure import Nothing, Table
from genbench.plots._look import Look
from genbench.plots._source import absence, counted, place, token_edges

TITLE = "Input and output lengths"
BINS = 40


def data(run: Run) -> Table:
    """Requests in each cell of input by output tokens that has any, of ok requests with both lengths."""
    table = run.table
    if not table.ok.any():
        raise Nothing(absence(run, "osl"))
    inputs, outputs = isl(table), osl(table)
    both = table.ok & (inputs >= 0) & (outputs >= 0)
    if not both.any():
        raise Nothing("no ok request has both an input and an output length")
    inputs, outputs = inputs[both], outputs[both]
    for what, lengths in (("an input", inputs), ("an output", outputs)):
        if lengths.min() == lengths.max():
            who = "the only request has" if lengths.size == 1 else "all requests have"
            raise Nothing(f"{who} {what} of {counted(int(lengths[0]), 'token')}: there is no plane to map")
    columns, rows = (token_edges(int(lengths.min()), int(lengths.max()), BINS) for lengths in (inputs, outputs))
    cell = place(inputs, columns) * (rows.size - 1) + place(outputs, rows)
    counts = np.bincount(cell, minlength=(columns.size - 1) * (rows.size - 1))
    some = np.flatnonzero(counts)
    i, j = some // (rows.size - 1), some % (rows.size - 1)
    return Table(
        {
            "isl_from": columns[i],
            "isl_to": columns[i + 1],
            "osl_from": rows[j],
            "osl_to": rows[j + 1],
            "requests": counts[some],
        },
        f"{counted(inputs.size, 'request')}; at most {BINS} x {BINS} bins",
    )


def chart(table: Table, look: Look) -> Any:
    """A map of counts; one for each run, with the same axes and colours."""
    import altair as alt

    table = parts.coarsened(table, [("isl_from", "isl_to"), ("osl_from", "osl_to")], [], ["requests"])
    cells = table.columns
    x = parts.axis(
        "input length (tokens)", cells["isl_from"], ends=_ends(cells["isl_from"], cells["isl_to"]), whole=True
    )
    y = parts.axis(
        "output length (tokens)", cells["osl_from"], ends=_ends(cells["osl_from"], cells["osl_to"]), whole=True
    )
    many = cells["requests"].max() > parts.MAGNITUDES
    colour = parts.by_number("requests", f"requests{' (log scale)' * bool(many)}", look, cells["requests"], log=many)
    tips = parts.tooltips(
        isl_from=("input from (tokens)", ",.0f"),
        isl_to=("input below (tokens)", ",.0f"),
        osl_from=("output from (tokens)", ",.0f"),
        osl_to=("output below (tokens)", ",.0f"),
        requests=("requests", ",.0f"),
    )

    def one(part: Table, width: int, height: int) -> Any:
        return (
            alt.Chart(parts.data(part))
            .mark_rect(stroke=look.ground, strokeWidth=0.5)
            .encode(
                x=alt.X("isl_from:Q", **x),
                x2="isl_to:Q",
                y=alt.Y("osl_from:Q", **y),
                y2="osl_to:Q",
                color=colour,
                tooltip=tips,
            )
            .properties(width=width, height=height)
        )

    return parts.panels(table, one, columns=2)


def _ends(low: Any, high: Any) -> tuple[float, float]:
    return float(low.min()), float(high.max())
