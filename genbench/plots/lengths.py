"""How long the inputs and the answers were, in tokens: what the run asked of the server."""

from typing import Any

import numpy as np

from genbench.metrics.definitions import isl, osl
from genbench.metrics.summary import Run
from genbench.plots import _parts as parts
from genbench.plots._figure import Nothing, Table
from genbench.plots._look import HEIGHT, WIDTH, Look
from genbench.plots._source import absence, counted, joined, place, token_edges
from genbench.records import Ints

TITLE = "Lengths of inputs and outputs"
BINS = (40, 100)  # least and most, by the number of requests


def data(run: Run) -> Table:
    """Requests by input and by output length: one row for each bin that has any, of ok requests."""
    table = run.table
    found = {"input": isl(table)[table.ok], "output": osl(table)[table.ok]}
    known = {what: lengths[lengths >= 0] for what, lengths in found.items()}
    known = {what: lengths for what, lengths in known.items() if lengths.size}
    if not known:
        raise Nothing(absence(run, "isl"))
    if all(lengths.size == 1 for lengths in known.values()):
        raise Nothing(f"one request only: {_ranges(known)}")
    if all(lengths.min() == lengths.max() for lengths in known.values()):
        raise Nothing(f"all requests have the same lengths: {_ranges(known)}")
    rows = [_bins(what, lengths) for what, lengths in known.items()]
    columns = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
    count = max(lengths.size for lengths in known.values())
    return Table(columns, joined(counted(count, "request"), _ranges(known)))


def _bins(what: str, lengths: Ints) -> dict[str, Any]:
    edges = token_edges(
        int(lengths.min()), int(lengths.max()), round(min(max(4 * lengths.size ** (1 / 3), BINS[0]), BINS[1]))
    )
    counts = np.bincount(place(lengths, edges), minlength=edges.size - 1)
    some = counts > 0
    return {
        "what": np.repeat(what, int(some.sum())),
        "from_tokens": edges[:-1][some],
        "to_tokens": edges[1:][some],
        "requests": counts[some],
        "share_pct": 100 * counts[some] / lengths.size,
    }


def _ranges(known: dict[str, Ints]) -> str:
    return ", ".join(
        f"{what} {counted(int(lengths.min()), 'token')}"
        if lengths.min() == lengths.max()
        else f"{what} {lengths.min():,} to {lengths.max():,} (median {np.median(lengths):,.0f})"
        for what, lengths in known.items()
    )


def chart(table: Table, look: Look) -> Any:
    """A histogram of the inputs and one of the outputs, side by side; runs lie over each other."""
    import altair as alt

    several = bool(parts.names(table))
    known = list(dict.fromkeys(table.columns["what"].tolist()))
    width = WIDTH if len(known) == 1 else (WIDTH - 70) // 2
    made = []
    for what in known:
        own = table.take(table.columns["what"] == what)
        own = parts.coarsened(own, [("from_tokens", "to_tokens")], ["what"], ["requests", "share_pct"])
        low, high = float(own.columns["from_tokens"].min()), float(own.columns["to_tokens"].max())
        if high - low <= 1:  # one length: a bar of one token in the middle
            low, high = low - 5, high + 5
        x = parts.axis(f"{what} length (tokens)", own.columns["from_tokens"], ends=(low, high), whole=True)
        tips = parts.tooltips(
            from_tokens=("from (tokens)", ",.0f"),
            to_tokens=("below (tokens)", ",.0f"),
            requests=("requests", ",.0f"),
            share_pct=("share (%)", ".1f"),
        )
        bars = alt.Chart(parts.data(own)).mark_bar(orient="vertical", opacity=0.55 if several else 1.0, binSpacing=0.5)
        made.append(
            bars.encode(
                x=alt.X("from_tokens:Q", **x),
                x2="to_tokens:Q",
                y=alt.Y("share_pct:Q", title="share of requests (%)", stack=None),
                color=parts.colour(table, look),
                tooltip=tips,
            ).properties(width=width, height=HEIGHT - 60)
        )
    return alt.hconcat(*made, spacing=24)
