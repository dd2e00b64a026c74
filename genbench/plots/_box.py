"""Box figures: quartiles and whiskers of a metric, and what lies beyond them."""

from typing import Any

import numpy as np

from genbench.block import number
from genbench.metrics.summary import Run
from genbench.plots import _parts as parts
from genbench.plots._figure import Table, thinned
from genbench.plots._look import WIDTH, Look
from genbench.plots._source import counted, joined, metric, several
from genbench.stats import percentiles

BOX = {"p1": 1.0, "p25": 25.0, "p50": 50.0, "p75": 75.0, "p99": 99.0}
BEYOND = 300


def table(run: Run, key: str) -> Table:
    """Rows `p1` to `p99` and `mean` of a metric in ms, and one row `beyond` for each value outside p1 to p99."""
    found = several(run, key).values
    ordered = np.sort(found)
    five = percentiles(ordered, list(BOX.values()))
    beyond = ordered[(ordered < five[0]) | (ordered > five[-1])]
    kept = beyond[thinned(beyond.size, BEYOND)]
    what = [*BOX, "mean", *["beyond"] * kept.size]
    p1, p25, p50, p75, p99 = (number(float(value), "ms") for value in five)
    note = joined(
        f"{counted(found.size, 'request')}: p50 {p50} ms, box p25 {p25} to p75 {p75}, whiskers p1 {p1} to p99 {p99}",
        "diamond: mean",
        f"{kept.size} of the {beyond.size:,} requests beyond the whiskers" if kept.size < beyond.size else "",
    )
    return Table({"what": np.array(what), f"{key}_ms": np.concatenate((five, [found.mean()], kept))}, note)


def chart(table: Table, look: Look, key: str) -> Any:
    """A horizontal box for each run, values beyond its whiskers as ticks."""
    import altair as alt

    field = f"{key}_ms"
    known = parts.names(table) or [""]
    series = table.columns.get("series", np.full(len(table), ""))
    boxes = []
    for name in known:
        own = table.take((series == name) & (table.columns["what"] != "beyond")).columns
        boxes.append({"series": name} | dict(zip(own["what"].tolist(), own[field].tolist(), strict=True)))
    beyond = [row | {"series": row.get("series", "")} for row in table.rows() if row["what"] == "beyond"]
    x = parts.axis(f"{metric(key).label.lower()} (ms)", table.columns[field])
    y = alt.Y("series:N", title=None, sort=known, axis=alt.Axis(labelLimit=160, ticks=False, domain=False, grid=False))
    if known == [""]:
        y = alt.Y("series:N", title=None, axis=None)
    colour = parts.colour(table, look)
    if known != [""]:
        colour.legend = None
    tips = parts.tooltips(**{name: (name, ",.2f") for name in (*BOX, "mean")})
    base = alt.Chart(parts.inline(boxes)).encode(y=y, color=colour, tooltip=tips)
    size = 40 if len(known) == 1 else 26
    layers = [
        base.mark_rule(strokeWidth=1.5).encode(x=alt.X("p1:Q", **x), x2="p99:Q"),
        base.mark_tick(size=size * 0.5, thickness=1.5).encode(x=alt.X("p1:Q", **x)),
        base.mark_tick(size=size * 0.5, thickness=1.5).encode(x=alt.X("p99:Q", **x)),
        base.mark_bar(size=size).encode(x=alt.X("p25:Q", **x), x2="p75:Q"),
        base.mark_tick(size=size, thickness=2.5, color=look.ground).encode(
            x=alt.X("p50:Q", **x), color=alt.value(look.ground)
        ),
        base.mark_point(shape="diamond", size=55, filled=True, opacity=1).encode(
            x=alt.X("mean:Q", **x), color=alt.value(look.ink), stroke=alt.value(look.ground)
        ),
    ]
    if beyond:
        ticks = alt.Chart(parts.inline(beyond)).mark_tick(size=size * 0.4, thickness=1.5, opacity=0.55)
        tip = parts.tooltips(**{field: (f"{key} (ms)", ",.2f")})
        layers.insert(0, ticks.encode(x=alt.X(f"{field}:Q", **x), y=y, color=colour, tooltip=tip))
    return alt.layer(*layers).properties(width=WIDTH, height=max(90, 52 * len(known)))
