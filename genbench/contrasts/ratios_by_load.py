"""How many times better or worse each metric is at each load: up is better; a bar across 1 may be chance."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from genbench.contrasts import _source as source
from genbench.contrasts.ratios import TIPS, compared, of_comparison, of_difference, of_verdict
from genbench.curves import _lines
from genbench.curves._source import COLUMNS
from genbench.plots import _parts as parts
from genbench.plots._figure import SEPARATOR, Nothing, Table
from genbench.plots._look import WIDTH, Look

TITLE = "Ratios by load"
ACROSS = 3
PANEL = 120
GAP = 62  # px between panels, for the axis of the next


def data(document: Mapping[str, Any]) -> Table:
    """The tested rows of each load, of sweeps that have several in common."""
    found = [(one, row) for one, row in source.tested(document) if one.get("load")]
    loads = {float(one["load"]["value"]) for one, _ in found}
    if len(loads) < 2:
        raise Nothing("fewer than two loads were compared")
    kinds = {str(one["load"]["by"]) for one, _ in found}
    if len(kinds) > 1:
        raise Nothing("some loads are concurrencies and some request rates: they share no axis")
    up = f"above 1 better than {source.bases(document)}, below it worse, by so many times"
    said = "full points: a difference, hollow ones: none seen"
    made = source.table(document, found, SEPARATOR.join((up, source.note(document), said)))
    values = np.array([float(one["load"]["value"]) for one, _ in found])
    return Table({COLUMNS[kinds.pop()]: values, **made.columns}, made.note)


def chart(table: Table, look: Look) -> Any:
    """A panel for each metric; one pair: coloured by verdict; several: a colour for each."""
    import altair as alt

    table = source.fit(table)
    metrics = list(dict.fromkeys(table.columns["metric"].tolist()))
    across = min(ACROSS, len(metrics))
    width = (WIDTH - GAP * (across - 1)) // across
    made = []
    for at, metric in enumerate(metrics):
        part = table.take(table.columns["metric"] == metric)
        head = alt.TitleParams(metric, anchor="start", fontSize=13, fontWeight=600, offset=6)
        layers = _layers(part, table, look, left=at % across == 0, last=at + across >= len(metrics))
        made.append(alt.layer(*layers).properties(width=width, height=PANEL, title=head))
    return alt.concat(*made, columns=across, spacing=24)


def _layers(part: Table, whole: Table, look: Look, *, left: bool, last: bool) -> Sequence[Any]:
    """One metric: its axes have titles where no panel is `left` of it, or below it."""
    import altair as alt

    ends = source.reach(part)
    y = source.scale(ends, "ratio (×, log scale)" if left else "", "1")
    field = _lines.load_column(whole)
    axis = _lines.axis(whole, field, _lines.LOADS[field], ticks=True)
    x = axis.x() if last else axis.x(title=None)
    several = len(compared(whole)) > 1
    rows = parts.inline(source.clipped(part, ends))
    base = alt.Chart(rows).encode(x=x, color=of_comparison(compared(whole), look) if several else of_verdict(look))
    line = base if several else alt.Chart(rows).encode(x=x, color=alt.value(look.faint))
    known = base.transform_filter("isValid(datum.from)")
    ground = alt.Chart(parts.inline([source.band(part, ends)]))
    value = alt.Y("times_better:Q", **y)
    made = [
        ground.mark_rect(color=look.shade).encode(y=alt.Y("low:Q", **y), y2="high:Q"),
        ground.mark_rule(color=look.faint).encode(y=alt.Y("equal:Q", **y)),
        line.mark_line(strokeWidth=1.4, opacity=0.7).encode(y=value, order=alt.Order(f"{field}:Q")),
        known.mark_rule(strokeWidth=3, strokeCap="round", opacity=0.7).encode(y=alt.Y("from:Q", **y), y2="to:Q"),
    ]
    tips = parts.tooltips(**{field: (field.replace("_", " "), ",.4~g")}, **TIPS)
    for full in (True, False):
        fill: Any = {"filled": True} if full else {"fill": look.ground, "strokeWidth": 1.8}
        point = of_difference(base, full).mark_point(size=60, opacity=1, **fill)
        made.append(point.encode(y=value, tooltip=tips))
    return made
