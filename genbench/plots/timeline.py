"""What each request spent its time on: waiting in the client, waiting for the first token, receiving the answer."""

from dataclasses import replace
from typing import Any

import numpy as np

from genbench.metrics.summary import Run
from genbench.plots import _parts as parts
from genbench.plots._figure import Mark, Nothing, Table
from genbench.plots._look import HEIGHT, Look
from genbench.plots._source import NS, joined, phases, shaded, zero_ns
from genbench.types import MISSING, Outcome

TITLE = "Requests over time"
SHOWN = 200
LEAST_SHADE = 0.002  # of the time shown
WAITING, PREFILL, DECODE, WHOLE, FAILED = (
    "waiting (client)",
    "to the first token",
    "first token to end",
    "answer in one piece",
    "failed",
)


def data(run: Run) -> Table:
    """All requests, or the first 200 sent after the warm-up: one row for each part of each, in seconds.

    Waiting: intended to sent (for a slot, a connection, the client). A request that did not end ok is `failed` from
    its first content event (or its send) to its end.
    """
    zero = zero_ns(run)
    table = run.table
    sent = np.flatnonzero((table.sent_ns >= 0) & (table.end_ns >= table.sent_ns))
    if not sent.size:
        raise Nothing("no request that was sent has an end")
    rows = sent[np.lexsort((table.index[sent], table.sent_ns[sent]))]
    if rows.size > SHOWN:
        rows = (rows[table.measured[rows]] if table.measured[rows].any() else rows)[:SHOWN]
    shown = table.take(rows)
    content = shown.content
    has = content.count > 0
    first = np.full(rows.size, MISSING, dtype=np.int64)
    first[has] = shown.event_ns[content.position[content.start[:-1][has]]]
    ok = np.array(shown.outcome) == str(Outcome.OK)
    streamed = shown.streamed & has
    waited = np.where(shown.intended_ns >= 0, shown.intended_ns, shown.sent_ns)
    everyone = np.ones(rows.size, dtype=np.bool_)
    pieces = [
        (WAITING, everyone, waited, shown.sent_ns),
        (PREFILL, streamed, shown.sent_ns, first),
        (DECODE, ok & streamed, first, shown.end_ns),
        (WHOLE, ok & ~streamed, shown.sent_ns, shown.end_ns),
        (FAILED, ~ok, np.where(streamed, first, shown.sent_ns), shown.end_ns),
    ]
    kept = [(what, np.flatnonzero(among & (end > start)), start, end) for what, among, start, end in pieces]
    columns = {
        "request": np.concatenate([shown.index[at] for _, at, _, _ in kept]),
        "place": np.concatenate([at for _, at, _, _ in kept]),
        "part": np.concatenate([np.repeat(what, at.size) for what, at, _, _ in kept]),
        "from_s": np.concatenate([(start[at] - zero) / NS for _, at, start, _ in kept]),
        "to_s": np.concatenate([(end[at] - zero) / NS for _, at, _, end in kept]),
    }
    if not columns["place"].size:
        raise Nothing("every request that was sent ended at once")
    some = f"{rows.size} of {sent.size:,} requests, the first after the warm-up" if rows.size < sent.size else ""
    every = f"all {sent.size:,} requests" if sent.size > 1 else "the only request"
    marks = _within(phases(run), float(columns["from_s"].min()), float(columns["to_s"].max()))
    return Table(columns, joined(some or every, shaded(marks)), marks)


def _within(marks: tuple[Mark, ...], low: float, high: float) -> tuple[Mark, ...]:
    """The phases as far as the requests shown reach; what is left of one may be too little to be seen."""
    cut = (replace(mark, low=max(mark.low, low), high=min(mark.high, high)) for mark in marks)
    return tuple(mark for mark in cut if mark.high - mark.low > LEAST_SHADE * (high - low))


def chart(table: Table, look: Look) -> Any:
    """A bar for each request, the first at the top; a panel for each run."""
    import altair as alt

    columns = table.columns
    colours = dict(
        zip(
            (WAITING, PREFILL, DECODE, WHOLE, FAILED),
            (look.faint, look.series[4], look.main, look.main, look.bad),
            strict=True,
        )
    )
    known = [part for part in colours if (columns["part"] == part).any()]
    colour = parts.by_name("part", known, look, colours=colours)
    x = parts.time_axis(table, "from_s", "to_s", zero=False)
    tips = parts.tooltips(
        request=("request", ",.0f"), part=("part", ""), from_s=("from (s)", ",.3f"), to_s=("to (s)", ",.3f")
    )

    def one(part: Table, width: int, height: int) -> Any:
        count = int(part.columns["place"].max()) + 1
        y = alt.Y(
            "y:Q",
            title="request (in order sent)",
            scale=alt.Scale(domain=[0, count], reverse=True, nice=False),
            axis=alt.Axis(tickCount=5, tickMinStep=1, grid=False),
        )
        thick = 0.9 if count <= 60 else 1.0
        drawn = Table({**part.columns, "y": part.columns["place"], "y2": part.columns["place"] + thick})
        bars = alt.Chart(parts.data(drawn)).mark_rect()
        bars = bars.encode(x=alt.X("from_s:Q", **x), x2="to_s:Q", y=y, y2="y2:Q", color=colour, tooltip=tips)
        made = alt.layer(*parts.shade_layers(part, look, x, width), bars)
        return made.properties(width=width, height=max(height, min(2 * count, HEIGHT + 80)))

    return parts.panels(table, one)
