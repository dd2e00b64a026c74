"""How many times better or worse each metric is: right is better; a bar across the middle may be chance."""

from collections.abc import Mapping, Sequence
from typing import Any

from genbench.contrasts import _source as source
from genbench.contrasts._source import BETTER, SAME, WORSE
from genbench.plots import _parts as parts
from genbench.plots._figure import SEPARATOR, Nothing, Table
from genbench.plots._look import WIDTH, Look

TITLE = "Ratios with their intervals"
ROW = 27  # px of a metric
EACH, LEAST_STEP, MOST_STEP = 52, 8, 14  # px: of a metric that has several comparisons, of each of them
OUTER = 0.6  # steps between two metrics, half
BAR = 3.0
ROWS: Any = {"paddingInner": 0, "paddingOuter": 0}
TIPS = {
    "comparison": ("compared", ""),
    "metric": ("metric", ""),
    "ratio": ("ratio B / A", ".4f"),
    "low_ratio": ("95 % from", ".4f"),
    "high_ratio": ("95 % to", ".4f"),
    "p_holm": ("p (Holm)", ".3~g"),
    "verdict": ("verdict", ""),
}


def data(document: Mapping[str, Any]) -> Table:
    """The tested rows of all comparisons: ratios, intervals, verdicts. Several loads have their own figure."""
    known = list(source.tested(document))
    loads = {source.load(one) for one, _ in known} - {""}
    found = [(one, row) for one, row in known if len(loads) < 2 or not source.load(one)]
    if not found:
        raise Nothing("the ratios are load by load" if known else "no metric of this comparison could be tested")
    several = len({source.pair(document, one) for one, _ in found}) > 1
    full = "full points: a difference, hollow ones: none seen" if several else ""
    at = "".join(f"at {load}" for load in loads) if len(loads) == 1 else ""
    said = (at, source.note(document), full)
    return source.table(document, found, SEPARATOR.join(text for text in said if text))


def chart(table: Table, look: Look) -> Any:
    """A row for each metric; one comparison: coloured by verdict, with words; several: a colour for each."""
    import altair as alt

    table = source.fit(table)
    ends = source.reach(table)
    x = source.scale(ends, "times better or worse (×, log scale)")
    rows, several = source.clipped(table, ends), len(compared(table)) > 1
    metrics = list(dict.fromkeys(row["metric"] for row in rows))
    axis = alt.Axis(labelLimit=190, ticks=False, domain=False, grid=several, bandPosition=0 if several else 0.5)
    y = alt.Y("metric:N", title=None, sort=metrics, scale=alt.Scale(domain=metrics, **ROWS), axis=axis)
    under = [*_ground(table, look, x, ends), *_words(table, look, x, ends)]
    if several:
        step = min(max(EACH / (len(compared(table)) + 2 * OUTER), LEAST_STEP), MOST_STEP)
        made = alt.layer(*under, *_several(table, rows, look, x, y, step))
        return made.properties(width=WIDTH, height=alt.Step(step, **{"for": "offset"}))
    inner = alt.layer(*under, *_one(rows, look, x, y))
    made = alt.layer(inner, _said(rows, look)).resolve_scale(y="independent")
    return made.properties(width=WIDTH, height=ROW * len(metrics))


def compared(table: Table) -> list[str]:
    """The comparisons in a table, in order."""
    return list(dict.fromkeys(table.columns["comparison"].tolist()))


def against(table: Table) -> str:
    """The base of a table."""
    return str(table.columns["against"][0])


def _ground(table: Table, look: Look, x: Mapping[str, Any], ends: tuple[float, float]) -> list[Any]:
    """The effects that are too small to count, and the middle."""
    import altair as alt

    base = alt.Chart(parts.inline([source.band(table, ends)]))
    return [
        base.mark_rect(color=look.shade).encode(x=alt.X("low:Q", **x), x2="high:Q"),
        base.mark_rule(color=look.faint).encode(x=alt.X("equal:Q", **x)),
    ]


def _words(table: Table, look: Look, x: Mapping[str, Any], ends: tuple[float, float]) -> list[Any]:
    """Which side is whose, above the chart."""
    import altair as alt

    names = compared(table)
    base = source.shortened(against(table), 24)
    sides = (f"← {base} better", f"{source.shortened(names[0], 24)} better →")
    if len(names) > 1:
        sides = (f"← worse than {base}", f"better than {base} →")
    made = []
    for side, short, at in zip(sides, ("← worse", "better →"), ends, strict=True):
        text: Any = {"text": source.fitting("side", "short"), "fontSize": 12, "fontWeight": 600, "color": look.ink}
        place = alt.Chart(parts.inline([{"at": at, "side": side, "short": short}]))
        mark = place.mark_text(align="left" if at < 1 else "right", baseline="bottom", dy=-5, **text)
        made.append(mark.encode(x=alt.X("at:Q", **x), y=alt.value(0)))
    return made


def _one(rows: Sequence[Mapping[str, Any]], look: Look, x: Mapping[str, Any], y: Any) -> list[Any]:
    import altair as alt

    shapes = alt.Scale(domain=[BETTER, WORSE, SAME], range=["circle", "diamond", "circle"])
    base = alt.Chart(parts.inline(rows)).encode(y=y, color=of_verdict(look))
    tips = parts.tooltips(**TIPS)
    made = [_bars(base, x).encode(tooltip=tips)]
    for full in (True, False):
        fill: Any = {"filled": True} if full else {"fill": look.ground, "strokeWidth": 2}
        point = of_difference(base, full).mark_point(size=110, opacity=1, **fill)
        shape = alt.Shape("kind:N", scale=shapes, legend=None)
        made.append(point.encode(x=alt.X("times_better:Q", **x), shape=shape, tooltip=tips))
    return made


def _bars(base: Any, x: Mapping[str, Any], width: float = BAR) -> Any:
    import altair as alt

    known = base.transform_filter("isValid(datum.from)")
    return known.mark_rule(strokeWidth=width, strokeCap="round", opacity=0.75).encode(
        x=alt.X("from:Q", **x), x2=alt.X2("to:Q")
    )


def _several(
    table: Table, rows: Sequence[Mapping[str, Any]], look: Look, x: Mapping[str, Any], y: Any, step: float
) -> list[Any]:
    import altair as alt

    colour = of_comparison(compared(table), look)
    colour["legend"]["offset"] = 26  # the words of the two sides stand below it
    offset = alt.YOffset("comparison:N", scale=alt.Scale(domain=compared(table), paddingOuter=OUTER))
    base = alt.Chart(parts.inline(rows)).encode(y=y, yOffset=offset, color=colour)
    tips = parts.tooltips(**TIPS)
    made = [_bars(base, x, BAR * step / MOST_STEP).encode(tooltip=tips)]
    for full in (True, False):
        fill: Any = {"filled": True} if full else {"fill": look.ground, "strokeWidth": 1.6}
        point = of_difference(base, full).mark_point(size=(0.66 * step) ** 2, opacity=1, **fill)
        made.append(point.encode(x=alt.X("times_better:Q", **x), tooltip=tips))
    return made


def of_difference(base: Any, full: bool) -> Any:
    """The rows of a chart in which a difference was seen, or the others."""
    return base.transform_filter(f"(datum.kind !== '{SAME}') === {'true' if full else 'false'}")


def of_comparison(names: Sequence[str], look: Look) -> Any:
    """Colour by comparison: that of the other side in the figures of runs, whose first colour is the base's."""
    colours = {name: look.series[(at + 1) % len(look.series)] for at, name in enumerate(names)}
    return parts.by_name("comparison", names, look, colours=colours)


def of_verdict(look: Look) -> Any:
    """Colour by what a verdict says of B."""
    import altair as alt

    colours = [look.series[2], look.bad, look.faint]
    return alt.Color("kind:N", scale=alt.Scale(domain=[BETTER, WORSE, SAME], range=colours), legend=None)


def _said(rows: Sequence[Mapping[str, Any]], look: Look) -> Any:
    """Change and verdict of each metric, as the labels of an axis on the right: so that it has room of its own."""
    import altair as alt

    domain = [f"{row['kind']}|{at}|{source.change(row['ratio'])}  {row['verdict']}" for at, row in enumerate(rows)]
    told = "split(datum.label, '|')"
    colours = {BETTER: look.series[2], WORSE: look.bad}
    axis = alt.Axis(
        orient="right",
        labelExpr=f"{told}[2]",
        labelColor={
            "condition": [{"test": f"{told}[0] === '{one}'", "value": colour} for one, colour in colours.items()],
            "value": look.faint,
        },
        labelLimit=260,
        labelFontWeight=600,
        ticks=False,
        domain=False,
        grid=False,
        title=None,
    )
    y = alt.Y("said:N", sort=domain, scale=alt.Scale(domain=domain, **ROWS), axis=axis)
    return alt.Chart(parts.inline([{"said": one} for one in domain])).mark_point(opacity=0).encode(y=y)
