"""What servers and GPUs said over the run, on the time axis of the client's own figures: a panel for each word."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from genbench.metrics.summary import Run
from genbench.plots import _parts as parts
from genbench.plots._figure import Nothing, Table, thinned
from genbench.plots._look import WIDTH, Look
from genbench.plots._source import NS, all_phases, joined, phases, zero_ns
from genbench.stats import Floats, Ints
from genbench.telemetry.log import together, tracks
from genbench.telemetry.vocabulary import BY_KEY

FLYING = "in_flight"
HEIGHT = 110


def columns(run: Run, keys: Sequence[str], nobody: str, said: str = "") -> Table:
    """The words' values at each scrape, by time (s), and the client's requests in flight then; raises Nothing.

    From the first send to the last end, which have a row of their own, so that the axis is that of the other figures.
    """
    if run.server is None:
        raise Nothing(nobody)
    table, zero = all_phases(run.table), zero_ns(run)
    sent, ended = np.sort(table.sent_ns[table.sent_ns >= 0]), np.sort(table.end_ns[table.sent_ns >= 0])
    first, last = int(sent.min()), int(max(sent.max(), ended.max()))
    known = {key: one for key in keys if (one := tracks(run.server.told, key))}
    found = {key: together(one, BY_KEY[key].several) for key, one in known.items()}
    inside = [t_ns[(t_ns >= first) & (t_ns <= last)] for t_ns, _ in found.values()]
    if not found or not any(one.size for one in inside):
        raise Nothing(nobody if not found else "no scrape fell into the run")
    t_ns = np.unique(np.concatenate([*inside, np.array([first, last], np.int64)]))
    t_ns = t_ns[thinned(t_ns.size)]
    made: dict[str, Any] = {"t_s": (t_ns - zero) / NS}
    made |= {key: _at(t_ns, *one) for key, one in found.items()}
    made[FLYING] = (np.searchsorted(sent, t_ns, side="right") - np.searchsorted(ended, t_ns, side="right")).astype(
        np.float64
    )
    who = dict.fromkeys(run.server.told[track.source].dialect for one in known.values() for track in one)
    speak = ", ".join(name for name in who if name)
    gap_s = float(np.median(np.diff(next(iter(found.values()))[0]))) / NS
    told = f"told by {speak}" if speak else ""
    return Table(made, joined(told, f"asked every {gap_s:.2g} s", said), phases(run))


def _at(t_ns: Ints, moments: Ints, values: Floats) -> Floats:
    """The value that was told at each moment, NaN where none was."""
    place = np.minimum(np.searchsorted(moments, t_ns), moments.size - 1)
    return np.where(moments[place] == t_ns, values[place], np.nan)


def chart(table: Table, look: Look, titles: Mapping[str, str], beside: str = "") -> Any:
    """A panel for each word that is there; in the panel `beside`, of one run, the client's requests in flight."""
    import altair as alt

    x = parts.time_axis(table, "t_s")
    drawn = parts.data(table)
    shown = [name for name in titles if name in table.columns]
    made = []
    for name in shown:
        own = x if name == shown[-1] else {**x, "title": None, "axis": alt.Axis(labels=False, ticks=False, tickCount=9)}
        values = [table.columns[name], *([table.columns[FLYING]] if name == beside else [])]
        top = max(float(np.nanmax(one)) for one in values) or 1.0
        scale = alt.Scale(domain=[0, 1.04 * top], nice=False)
        y = alt.Y(f"{name}:Q", title=titles[name], scale=scale, axis=alt.Axis(tickCount=4, minExtent=52))
        base = alt.Chart(drawn).transform_filter(f"isValid(datum.{name})")
        base = base.encode(x=alt.X("t_s:Q", **own), y=y, color=parts.colour(table, look))
        tips = parts.tooltips(t_s=("time (s)", ",.2f"), **{name: (titles[name], ",.1f")})
        layers = [base.mark_line(strokeWidth=1.8), parts.hover(base, tips)]
        if name == beside and not parts.names(table):
            flying = alt.Chart(drawn).mark_line(strokeWidth=1.2, strokeDash=[4, 3], color=look.faint)
            layers.insert(0, flying.encode(x=alt.X("t_s:Q", **own), y=alt.Y(f"{FLYING}:Q", scale=scale)))
        shades = parts.shade_layers(table, look, own)
        made.append(
            alt.layer(*(shades if name == shown[0] else shades[:1]), *layers).properties(width=WIDTH, height=HEIGHT)
        )
    return alt.vconcat(*made, spacing=14)
