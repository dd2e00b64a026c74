"""How requests ended, by when they ended: colour above the blue is failure, a gap is a time when nothing ended."""

from typing import Any

import numpy as np

from genbench.metrics.summary import Run
from genbench.plots import _parts as parts
from genbench.plots._figure import Nothing, Table
from genbench.plots._look import Look
from genbench.plots._source import NS, bins_said, edges, joined, place, zero_ns
from genbench.types import Outcome

TITLE = "Outcomes over the run"
BINS, FEW, LEAST_BINS = 60, 20, 5
STEPS = 2  # in a closed loop requests end in step: a bin holds several steps where there are more than a few bins
REQUESTS = 5  # in a bin, at least, where there are enough
KINDS = 6  # colours there are: ok, the most frequent others, and the rest together
REST = "other"


def data(run: Run) -> Table:
    """Requests of the measured phase that ended in each bin of time (s), by outcome; bins with none are left out."""
    table = run.table
    if not len(table):
        raise Nothing("the run has no request")
    ended = table.measured & (table.end_ns >= 0)
    if not ended.any():
        raise Nothing("no request of the measured phase has ended")
    try:
        zero = zero_ns(run)
    except Nothing:  # nothing was sent: from the first end
        zero = int(table.end_ns[ended].min())
    at = (table.end_ns - zero) / NS
    took = float((table.end_ns - np.maximum(table.sent_ns, table.start_ns))[ended].mean()) / NS
    steps = max(float(np.ptp(at[ended])) / max(STEPS * took, 1e-9), FEW)
    count = round(min(max(min(int(ended.sum()) / REQUESTS, steps), LEAST_BINS), BINS))
    bins = edges(min(0.0, float(at[ended].min())), float(at[ended].max()), count)
    kinds = np.array(table.outcome)
    found = {str(kind): ended & (kinds == str(kind)) for kind in Outcome}
    counted = {kind: int(rows.sum()) for kind, rows in found.items() if rows.any()}
    ok = [kind for kind in counted if kind == Outcome.OK]
    others = sorted((kind for kind in counted if kind != Outcome.OK), key=lambda kind: (-counted[kind], kind))
    kept = others if len(ok + others) <= KINDS else others[: KINDS - 2]
    groups = {kind: found[kind] for kind in ok + kept}
    if kept != others:
        groups[REST] = np.logical_or.reduce([found[kind] for kind in others[len(kept) :]])
    columns = [
        _bins(kind, np.bincount(place(at[rows], bins), minlength=bins.size - 1), bins) for kind, rows in groups.items()
    ]
    said = ", ".join(f"{counted[kind]:,} {kind}" for kind in ok + others)
    return Table(
        {name: np.concatenate([column[name] for column in columns]) for name in columns[0]},
        joined(said, bins_said(bins)),
    )


def _bins(kind: str, counts: Any, bins: Any) -> dict[str, Any]:
    some = np.flatnonzero(counts)
    return {
        "outcome": np.repeat(kind, some.size),
        "from_s": bins[some],
        "to_s": bins[some + 1],
        "requests": counts[some],
        "requests_ps": counts[some] / (bins[1] - bins[0]),
    }


def chart(table: Table, look: Look) -> Any:
    """Stacked bars, ok at the bottom; a panel for each run."""
    import altair as alt

    columns = table.columns
    known = list(dict.fromkeys(columns["outcome"].tolist()))
    kinds = [kind for kind in known if kind == Outcome.OK] + [k for k in known if k not in (Outcome.OK, REST)]
    kinds += [kind for kind in known if kind == REST]
    others = [look.bad, *(one for one in look.series[1:] if one != look.bad), look.faint]
    colours = {kind: others[i % len(others)] for i, kind in enumerate(k for k in kinds if k != Outcome.OK)}
    colour = parts.by_name("outcome", kinds, look, colours=colours | {str(Outcome.OK): look.main})
    x = parts.time_axis(table, "from_s", "to_s")
    tips = parts.tooltips(
        outcome=("outcome", ""),
        from_s=("from (s)", ",.2f"),
        to_s=("to (s)", ",.2f"),
        requests=("requests", ",.0f"),
    )

    def one(part: Table, width: int, height: int) -> Any:
        ranked = {kind: i for i, kind in enumerate(kinds)}
        rank = np.array([ranked[kind] for kind in part.columns["outcome"].tolist()])
        return (
            alt.Chart(parts.data(Table({**part.columns, "rank": rank})))
            .mark_bar(orient="vertical", binSpacing=0.5)
            .encode(
                x=alt.X("from_s:Q", **x),
                x2="to_s:Q",
                y=alt.Y("requests_ps:Q", title="requests ended (req/s)", stack="zero"),
                color=colour,
                order="rank:Q",
                tooltip=tips,
            )
            .properties(width=width, height=height)
        )

    return parts.panels(table, one)
