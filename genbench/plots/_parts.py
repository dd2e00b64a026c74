"""Parts that charts share: axes with units, the colour of a series, a panel for each run, shades, lines of promises.

altair is imported inside the functions: its 0.4 s are paid by who draws.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from genbench.plots._figure import Column, Mark, Table
from genbench.plots._look import HEIGHT, WIDTH, Look

TIME = "time since start (s)"
MAGNITUDES = 100.0  # an axis of quantities that differ by more is logarithmic, and its title says so
LEAST_SPAN = 0.05  # of its end: an axis does not blow up differences smaller than that
MARGIN = 0.03  # of an axis, beyond its last value
LABEL_PX = 6.5  # width of a letter
SYMBOL_PX = 34  # of a legend, with the gap to the next
PANEL = 210  # height of a panel where each run has one


def data(table: Table) -> Any:
    """The rows as a chart's data."""
    return inline(table.rows())


def inline(rows: Sequence[Mapping[str, Any]]) -> Any:
    """Rows of a chart's own as its data."""
    import altair as alt

    kind: Any = alt.Data  # altair gives it no types
    return kind(values=list(rows))


def span(values: Column) -> tuple[float, float, bool]:
    """Ends of an axis that holds all values and whether it is logarithmic; from zero unless all are far from it."""
    known = values[np.isfinite(values)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    if low > 0 and high > MAGNITUDES * low:
        return low, high, True
    if low >= 0 and low < high / 2:
        return 0.0, high * (1 + MARGIN), False
    more = max(LEAST_SPAN * abs(high) - (high - low), 0.0) / 2 or (high - low) * MARGIN or 0.5
    return (max(low - more, 0.0) if low >= 0 else low - more), high + more, False


def axis(
    title: str, values: Column | Sequence[Column], *, ends: tuple[float, float] | None = None, whole: bool = False
) -> dict[str, Any]:
    """`title`, `scale` and `axis` of a position channel for these values; `ends` fixes where the axis begins and ends.

    `whole`: counts of tokens, linear, with ticks at whole numbers only. The title ends with the unit in brackets, to
    which a logarithmic axis adds that it is one.
    """
    import altair as alt

    low, high, log = span(np.concatenate([np.asarray(one, dtype=np.float64) for one in _listed(values)]))
    if ends is not None:
        return {"title": title, "scale": alt.Scale(domain=list(ends), nice=False), "axis": _ticks(9, whole)}
    if log and not whole:
        margin = (high / low) ** 0.03
        scale = alt.Scale(type="log", domain=[low / margin, high * margin], nice=False)
        steps = _log_steps(low / margin, high * margin)
        return {"title": f"{title[:-1]}, log scale)", "scale": scale, "axis": alt.Axis(values=steps, format=",~r")}
    if log:
        low = 0.0
    scale = alt.Scale(domain=[low, high], nice=low == 0, zero=False)
    return {"title": title, "scale": scale, "axis": _ticks(7, whole)}


def _log_steps(low: float, high: float) -> list[float]:
    """Places of the ticks: powers of ten, with 2 and 5 times each where there are few of them."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if len(powers) <= 5 else (1,)
    return [value for power in powers for step in steps if low <= (value := step * 10.0**power) <= high]


def _ticks(count: int, whole: bool) -> Any:
    import altair as alt

    return alt.Axis(tickCount=count, tickMinStep=1) if whole else alt.Axis(tickCount=count)


def _listed(values: Column | Sequence[Column]) -> Sequence[Column]:
    return [values] if isinstance(values, np.ndarray) else values


def across(value: float, axis: Mapping[str, Any]) -> float:
    """How far along an axis a value lies, 0 to 1."""
    low, high = map(float, axis["scale"].domain)
    if axis["scale"].type == "log":
        return math.log(value / low) / math.log(high / low)
    return (value - low) / (high - low)


def time_axis(table: Table, *columns: str, zero: bool = True) -> dict[str, Any]:
    """The time axis over these columns, the table's phases, and zero unless it is not wanted."""
    found = [table.columns[name] for name in columns]
    ends = [end for mark in table.marks if mark.kind == "phase" for end in (mark.low, mark.high)]
    found += [np.array([0.0] * zero + ends)] if zero or ends else []
    low, high = float(min(one.min() for one in found)), float(max(one.max() for one in found))
    return axis(TIME, found, ends=(low, high if high > low else low + 1))


def names(table: Table) -> list[str]:
    """The runs in a table, in order; empty where there is one."""
    return list(dict.fromkeys(table.columns["series"].tolist())) if "series" in table.columns else []


def colour(table: Table, look: Look, title: str | None = None) -> Any:
    """Colour by run, or the look's main colour where there is one run."""
    return by_name("series", names(table), look, title) if names(table) else plain(look.main)


def by_name(
    field: str, known: Sequence[str], look: Look, title: str | None = None, colours: Mapping[str, str] | None = None
) -> Any:
    """Colour by the names in a column, in their order: the look's series, or `colours`; legend above the chart."""
    import altair as alt

    chosen = [colours[name] for name in known] if colours else [look.series[i % 7] for i in range(len(known))]
    longest = max((len(name) for name in known), default=0)
    columns = max(1, min(6, WIDTH // int(LABEL_PX * longest + SYMBOL_PX)))  # those that fit side by side
    legend = alt.Legend(title=title, orient="top", labelLimit=WIDTH // columns, columns=columns, symbolOpacity=1)
    return alt.Color(f"{field}:N", scale=alt.Scale(domain=list(known), range=chosen), sort=None, legend=legend)


def by_number(field: str, title: str, look: Look, values: Column, *, log: bool = False) -> Any:
    """Colour by a number, few to many; the faintest of the ramp is left out, it would vanish on the ground."""
    import altair as alt

    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    scale = alt.Scale(
        type="log" if log else "linear", domain=[low, high if high > low else low + 1], range=list(look.ramp[1:])
    )
    legend = alt.Legend(title=title, orient="top", gradientLength=220, gradientThickness=10, format=",~r", tickCount=4)
    return alt.Color(f"{field}:Q", scale=scale, legend=legend)


def plain(value: str) -> Any:
    """One colour for everything."""
    import altair as alt

    return alt.value(value)


def panels(table: Table, one: Callable[[Table, int, int], Any], columns: int = 1) -> Any:
    """One chart, or one for each run under its name; `one` draws a part of the table at a width and a height."""
    import altair as alt

    if not names(table):
        return one(table, WIDTH, HEIGHT)
    width = WIDTH if columns == 1 else (WIDTH - 70 * (columns - 1)) // columns
    made = []
    for name in names(table):
        own = replace(
            table.take(table.columns["series"] == name),
            marks=tuple(mark for mark in table.marks if mark.series in ("", name)),
        )
        title = alt.TitleParams(name, anchor="start", fontSize=13, fontWeight=600, offset=16 if own.marks else 6)
        made.append(one(own, width, PANEL if columns == 1 else width * 3 // 4).properties(title=title))
    return alt.concat(*made, columns=columns, spacing=26)


def coarsened(table: Table, pairs: Sequence[tuple[str, str]], keys: Sequence[str], sums: Sequence[str]) -> Table:
    """Bins of several runs as bins of one width, the widest that any of them has.

    `pairs` name the columns of a bin's two ends; widths are powers of two, so a narrower bin lies in one of the wider.
    Rows with equal `keys` (and `series`) and bins become one; `sums` are added up, other columns are left out.
    """
    columns = {name: table.columns[name] for name in (*keys, *[k for k in ("series",) if k in table.columns])}
    for low, high in pairs:
        width = float((table.columns[high] - table.columns[low]).max())
        columns[low] = np.floor(table.columns[low] / width) * width
        columns[high] = columns[low] + width
    codes = [np.unique(column, return_inverse=True)[1] for column in columns.values()]
    _, first, group = np.unique(np.stack(codes), axis=1, return_index=True, return_inverse=True)
    found = {name: column[first] for name, column in columns.items()}
    found |= {name: np.bincount(group.ravel(), weights=table.columns[name]) for name in sums}
    order = np.argsort(first)
    return replace(table, columns={name: column[order] for name, column in found.items()})


def shades(table: Table) -> list[Mark]:
    """The phases to shade: those of the one run a chart shows."""
    found = [mark for mark in table.marks if mark.kind == "phase"]
    return found if len({mark.series for mark in found}) < 2 else []


def shade_layers(table: Table, look: Look, x: Mapping[str, Any], width: int = WIDTH) -> list[Any]:
    """The phases as rectangles over the whole height, each named above the chart where its name has room."""
    import altair as alt

    found = shades(table)
    if not found:
        return []
    whole = float(np.ptp(x["scale"].domain)) or 1.0
    rows = [{"from": m.low, "to": m.high, "at": (m.low + m.high) / 2, "phase": m.text} for m in found]
    room = [row for row, m in zip(rows, found, strict=True) if _fits(m, whole, width)]
    shade = (
        alt.Chart(inline(rows))
        .mark_rect(color=look.shade)
        .encode(x=alt.X("from:Q", **x), x2="to:Q", tooltip=alt.Tooltip("phase:N"))
    )
    label = (
        alt.Chart(inline(room))
        .mark_text(color=look.faint, baseline="bottom", fontSize=11, dy=-3)
        .encode(x=alt.X("at:Q", **x), y=alt.value(0), text="phase:N")
    )
    return [shade, label] if room else [shade]


def _fits(mark: Mark, whole: float, width: int) -> bool:
    return (mark.high - mark.low) / whole * width > LABEL_PX * len(mark.text)


def tooltips(**fields: tuple[str, str]) -> list[Any]:
    """Tooltips by field: (title, number format); an empty format for what is no number."""
    import altair as alt

    return [
        alt.Tooltip(f"{name}:Q", title=title, format=form) if form else alt.Tooltip(f"{name}:N", title=title)
        for name, (title, form) in fields.items()
    ]


def hover(base: Any, tips: Sequence[Any]) -> Any:
    """Unseen points that carry the tooltips of a line, which itself has only one."""
    return base.mark_point(opacity=0, size=90, clip=True).encode(tooltip=list(tips))


def closed(table: Table) -> Table:
    """Bins from `from_s` to `to_s` with one row more for each run: the end of its last bin, where its steps end."""
    series = table.columns.get("series", np.zeros(len(table)))
    last = np.flatnonzero(np.append(series[1:] != series[:-1], True))
    order = np.sort(np.concatenate((np.arange(len(table)), last)))
    columns = {name: column[order] for name, column in table.columns.items()}
    ends = np.append(order[1:] == order[:-1], False)
    columns["from_s"] = np.where(np.roll(ends, 1), columns["to_s"], columns["from_s"])
    return replace(table, columns=columns)
