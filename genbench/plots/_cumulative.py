"""Cumulative figures: quantiles of a metric with their intervals, and the promises made of it.

The intervals are the summary's own: order statistics where requests are independent; where they are not, or where
values are pooled over requests, the block bootstrap, at the percentiles for which the summary has one.
"""

from typing import Any

import numpy as np

from genbench.block import number
from genbench.metrics.summary import Run
from genbench.plots import _parts as parts
from genbench.plots._figure import Table
from genbench.plots._look import HEIGHT, WIDTH, Look
from genbench.plots._source import counted, joined, metric, promises, several
from genbench.stats import PERCENTILES, Floats, order_statistic_interval, percentiles
from genbench.types import Distribution

TAIL = 99.9
SHARES = np.unique(
    np.round([*np.arange(0, 99, 0.5), *np.arange(99, 99.95, 0.1), 100, *PERCENTILES.values()], 3).astype(np.float64)
)
FAR = 1.5  # times p99.9: a maximum beyond that is left outside the axis
LABEL_STEP = 7  # percent of the height between the labels of two promises


def table(run: Run, key: str) -> Table:
    """Quantiles of a metric in ms at `share_pct`, with the ends of their 95 % interval where there is one."""
    found = several(run, key)
    if found.weights is None or (found.weights == 1).all():
        ordered, weights = np.sort(found.values), None
    else:
        order = np.argsort(found.values)
        ordered, weights = found.values[order], found.weights[order]
    values = percentiles(ordered, SHARES.tolist(), weights)
    low, high, how = _band(ordered, run.summary.metrics[key])
    made = promises(run, key)
    low_end, high_end, _ = parts.span(values[values <= _end(values)])
    room = high_end - low_end  # a promise further away than that would squeeze the curve
    near = tuple(mark for mark in made if low_end - room <= mark.low <= high_end + room)
    far = [mark.text for mark in made if mark not in near]
    count = counted(found.values.size, "request" if found.weights is None else "gap")
    note = joined(
        count,
        f"{how[0]}: 95 % interval ({how[1]})" if np.isfinite(low).any() else "",
        f"the slowest, {number(values[-1], 'ms')} ms, is outside the axis" if values[-1] > _end(values) else "",
        f"outside the axis: {', '.join(far)}" if far else "",
    )
    return Table({"share_pct": SHARES, f"{key}_ms": values, "low_ms": low, "high_ms": high}, note, near)


def _end(values: Floats) -> float:
    """Where the axis ends: the largest value, or p99.9 where that is far below it."""
    tail = float(values[np.searchsorted(SHARES, TAIL)])
    return tail if values[-1] > FAR * tail else float(values[-1])


def _band(ordered: Floats, told: Distribution) -> tuple[Floats, Floats, tuple[str, str]]:
    """Ends of the quantiles' intervals, NaN where there is none, how they are drawn and how they were found."""
    low, high = np.full(SHARES.size, np.nan), np.full(SHARES.size, np.nan)
    if "order statistics" in told.ci_method.values():
        for i, share in enumerate(SHARES.tolist()):
            first, last = order_statistic_interval(ordered.size, share / 100) if 0 < share < 100 else (None, None)
            if first is not None and last is not None:
                low[i], high[i] = ordered[first], ordered[last]
        return low, high, ("band", "order statistics")
    for name, ends in told.ci95.items():
        if name in PERCENTILES and None not in ends:
            at = int(np.searchsorted(SHARES, PERCENTILES[name]))
            low[at], high[at] = ends
    return low, high, ("bars", "block bootstrap")


def chart(table: Table, look: Look, key: str, of: str) -> Any:
    """Share over value, a line for each run with its band; `of` is what the shares are shares of."""
    import altair as alt

    field, title = f"{key}_ms", f"{metric(key).label.lower()} (ms)"
    columns = table.columns
    bounds = np.array([mark.low for mark in table.marks])
    x = parts.axis(title, [columns[field][_shown(table, field)], bounds])
    y = alt.Y("share_pct:Q", title=f"share of {of} (%)", scale=alt.Scale(domain=[0, 100]), axis=alt.Axis(tickCount=6))
    colour = parts.colour(table, look)
    base = alt.Chart().encode(y=y, color=colour)
    tips = parts.tooltips(share_pct=(f"share of {of} (%)", ".1f"), **{field: (title, ",.2f")})
    tips += parts.tooltips(low_ms=("95 % from (ms)", ",.2f"), high_ms=("95 % to (ms)", ",.2f"))
    line = base.encode(x=alt.X(f"{field}:Q", **x), order="share_pct:Q")
    layers = [line.mark_line(strokeWidth=2, clip=True), parts.hover(line, tips)]
    told = np.isfinite(columns["low_ms"])
    if told.any():
        known = base.transform_filter("isValid(datum.low_ms)")
        few = told.sum() <= len(PERCENTILES) * max(len(parts.names(table)), 1)
        band = (
            known.mark_rule(strokeWidth=6, opacity=0.35, clip=True)
            if few
            else known.mark_area(orient="horizontal", opacity=0.22, clip=True)
        )
        layers.insert(0, band.encode(x=alt.X("low_ms:Q", **x), x2="high_ms:Q"))
    layers += _promise_layers(table, look, x, float(np.median(columns[field])))
    return alt.layer(*layers, data=parts.data(table)).properties(width=WIDTH, height=HEIGHT)


def _shown(table: Table, field: str) -> Any:
    """Rows inside the axis: all, or without the largest values of runs where they are far from p99.9."""
    shares, values = table.columns["share_pct"], table.columns[field]
    tails = float(values[shares == TAIL].max())
    return (shares <= TAIL) | (values <= FAR * tails)


def _promise_layers(table: Table, look: Look, x: dict[str, Any], middle: float) -> list[Any]:
    """A dashed line at each bound, a ring where the curve has to pass above it, and the promise in words."""
    import altair as alt

    layers: list[Any] = []
    rows = []
    for i, mark in enumerate(mark for mark in table.marks if mark.kind == "promise"):
        kept_side = mark.low >= middle
        inner = parts.across(mark.low, x)
        right = inner < 0.7 if kept_side else inner < 0.25
        height = 4 + LABEL_STEP * i if kept_side else 96 - LABEL_STEP * i
        rows.append({"bound": mark.low, "at": height, "promise": mark.text, "share": mark.share_pct, "right": right})
    rings = [row for row in rows if row["share"] == row["share"]]
    for row in rows:
        row["share"] = row["share"] if row["share"] == row["share"] else None
    if rows:
        rule = alt.Chart(parts.inline(rows)).mark_rule(strokeDash=[5, 4], strokeWidth=1.3, color=look.ink)
        layers.append(rule.encode(x=alt.X("bound:Q", **x), tooltip=alt.Tooltip("promise:N", title="SLO")))
    if rings:
        ring = alt.Chart(parts.inline(rings)).mark_point(size=60, color=look.ink, fill=look.ground, opacity=1)
        layers.append(ring.encode(x=alt.X("bound:Q", **x), y="share:Q"))
    for right in (True, False):
        side = [row for row in rows if row["right"] is right]
        if side:
            text = alt.Chart(parts.inline(side)).mark_text(
                align="left" if right else "right", dx=6 if right else -6, color=look.ink, fontSize=12
            )
            layers.append(text.encode(x=alt.X("bound:Q", **x), y="at:Q", text="promise:N"))
    return layers
