"""Lines over the load, or over something else: axes, points with their intervals, bounds of promises, panels.

A table of lines has a row for each level and each line: the column `line` names it, `low_...` and `high_...` are the
ends of the interval. One curve: a colour for each line. Several curves: a colour for each curve, a panel for each line.
"""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from genbench.curves._source import COLUMNS, Curve, column, intervals_said, left_out_said, loads
from genbench.metrics.levels import AveragedLevel
from genbench.plots import _parts as parts
from genbench.plots._figure import Column, Mark, Table
from genbench.plots._look import HEIGHT, WIDTH, Look
from genbench.plots._source import joined

LOADS = {"concurrency": "concurrency (requests)", "request_rate_rps": "request rate (req/s)"}
DECADE = 10.0  # an axis of values that differ by more is logarithmic, and its title says so
MOST_TICKS, NEXT_TICK = 12, 1.1  # on a log scale a tick nearer than that has no room for its number
PANEL = 190
WORDS = 1.15  # and so much where words stand beside its last point
NEAR = 14  # px: points so close share their words
NEAR_TOP = 1.12  # a bound that is less than this below the upper end
ROOM = 1.06  # an axis ends so much beyond its last value

Belongs: TypeAlias = Callable[[Mark, str], bool]


@dataclass(frozen=True, slots=True)
class Axis:
    """A column of the table on a position channel, with `title`, `scale` and `axis` of that channel."""

    field: str
    channel: Mapping[str, Any]

    def x(self, field: str = "", **changed: Any) -> Any:
        """The channel x of this column, or of another on the same axis."""
        import altair as alt

        return alt.X(f"{field or self.field}:Q", **{**self.channel, **changed})

    def across(self, value: float) -> float:
        """How far along the axis a value lies, 0 to 1."""
        return parts.across(value, self.channel)

    def y(self, field: str = "") -> Any:
        """The channel y."""
        import altair as alt

        return alt.Y(f"{field or self.field}:Q", **self.channel)


def axis(
    table: Table,
    field: str,
    title: str,
    *,
    even: bool = False,
    ticks: bool = False,
    beside: Sequence[float] = (),
    room: float = ROOM,
) -> Axis:
    """The axis of a column and of its interval: from zero, or logarithmic beyond a decade, but for an `even` one.

    `ticks`: its ticks stand at the column's own values, as long as they are not too many. `beside` are values that it
    has to hold as well; `room` is how far it goes on.
    """
    import altair as alt

    heads = [head for head in (field, f"low_{field}", f"high_{field}") if head in table.columns]
    every = np.concatenate([*(table.columns[head] for head in heads), np.asarray(beside, dtype=np.float64)])
    known = every[np.isfinite(every)]
    above = known[known > 0]
    low, high = (float(above.min()), float(above.max())) if above.size else (0.0, 1.0)
    places = np.unique(table.columns[field]).tolist() if ticks else []
    log = not even and above.size == known.size and high > DECADE * low
    if log:
        margin = max((high / low) ** 0.04, ROOM)
        low, high = low / margin**2, high * margin
        title = f"{title[:-1]}, log scale)"
    scale = alt.Scale(type="log", domain=[low, high]) if log else alt.Scale(domain=[0, high * room], zero=False)
    scale.nice = False
    crowded = log and any(after < NEXT_TICK * before for before, after in itertools.pairwise(places))
    if crowded or not 0 < len(places) <= MOST_TICKS:
        places = _steps(low, high) if log else []
    shown = alt.Axis(values=places, format=",~r") if places else alt.Axis(tickCount=6)
    return Axis(field, {"title": title, "scale": scale, "axis": shown})


def _steps(low: float, high: float) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if len(powers) <= 5 else (1,)
    return [value for power in powers for step in steps if low <= (value := step * 10.0**power) <= high]


def load_column(table: Table) -> str:
    """The table's column of loads."""
    return next(name for name in COLUMNS.values() if name in table.columns)


def load_axis(table: Table) -> Axis:
    """The axis of the load, with a tick at each."""
    name = load_column(table)
    return axis(table, name, LOADS[name], ticks=True)


def long(
    curve: Curve,
    levels: Sequence[AveragedLevel],
    keys: Mapping[str, str],
    name: str,
    *said: str,
    marks: Sequence[Mark] = (),
) -> Table:
    """A table of lines: `keys` maps each line's name to its figure, `name` is the column of values.

    A line that no level has is left out, and so is a level without any of them; `said` begins the note.
    """
    some = {line: key for line, key in keys.items() if np.isfinite(column(levels, key)).any()}
    shown = [level for level in levels if any(key in level["figures"] for key in some.values())]
    columns: dict[str, Column] = {head: np.tile(one, len(some)) for head, one in loads(curve, shown).items()}
    columns["line"] = np.repeat(list(some), len(shown))
    for end, before in (("value", ""), ("low", "low_"), ("high", "high_")):
        columns[before + name] = np.concatenate([column(shown, key, end) for key in some.values()])
    note = joined(*said, intervals_said(shown, *some.values()), left_out_said(curve, shown))
    return Table(columns, note, tuple(marks))


def lines(table: Table, look: Look, y: Axis, *, belongs: Belongs | None = None, named: bool = True) -> Any:
    """The lines of a table over the load, or a panel for each line where the table has several curves.

    `belongs` says whether a promise concerns a line, for the panels; `named`: promises have their words at their lines.
    """
    import altair as alt

    kinds = list(dict.fromkeys(table.columns["line"].tolist()))
    x = load_axis(table)
    if not parts.names(table):
        colour = parts.by_name("line", kinds, look) if len(kinds) > 1 else parts.plain(look.main)
        made = [*answer(table, look, x, y), *layers(table, look, x, y, colour, band=True)]
        made += bounds(table, look, x, y, named=named)
        return alt.layer(*made).properties(width=WIDTH, height=HEIGHT)
    colour = parts.by_name("series", parts.names(table), look)
    panels = []
    for kind in kinds:
        marks = tuple(mark for mark in table.marks if belongs is None or belongs(mark, kind))
        part = replace(table.take(table.columns["line"] == kind), marks=marks)
        own = x if kind == kinds[-1] else Axis(x.field, {**x.channel, "title": None})
        made = [*layers(part, look, own, y, colour, band=True), *bounds(part, look, own, y, named=named)]
        head = alt.TitleParams(kind, anchor="start", fontSize=13, fontWeight=600, offset=4)
        height = HEIGHT if len(kinds) == 1 else PANEL
        panels.append(alt.layer(*made).properties(width=WIDTH, height=height, title=head))
    return panels[0] if len(panels) == 1 else alt.vconcat(*panels, spacing=16)


def layers(table: Table, look: Look, x: Axis, y: Axis, colour: Any, *, band: bool = False) -> list[Any]:
    """Intervals, the line by rising load, full points, and hollow ones where the queue grew without bound.

    Intervals are bars in both directions, or a `band` around the line.
    """
    import altair as alt

    data = parts.data(table)
    both = f"isValid(datum.{x.field}) && isValid(datum.{y.field})"
    base = alt.Chart(data).transform_filter(both).encode(color=colour)
    made = []
    for one in (y, x):
        low, high = f"low_{one.field}", f"high_{one.field}"
        if low not in table.columns or not np.isfinite(table.columns[low]).any():
            continue
        known = base.transform_filter(f"isValid(datum.{low})")
        if one is x:
            made.append(_bar(known).encode(x=x.x(low), x2=f"{high}:Q", y=y.y()))
        else:
            drawn = known.mark_area(opacity=0.16) if band and _several_loads(table, low) else _bar(known)
            made.append(drawn.encode(x=x.x(), y=y.y(low), y2=f"{high}:Q"))
    base = base.encode(x=x.x(), y=y.y())
    made.append(base.mark_line(strokeWidth=2).encode(order=alt.Order(f"{load_column(table)}:Q")))
    tips = _tips(table, *dict.fromkeys((load_column(table), x.field, y.field)))
    shown = np.isfinite(table.columns[x.field]) & np.isfinite(table.columns[y.field])
    for saturated, said in ((False, "false"), (True, "true")):
        if (shown & (table.columns["saturated"] == saturated)).any():
            some = base.transform_filter(f"datum.saturated === {said}").encode(tooltip=tips)
            made.append(
                some.mark_point(size=70, opacity=1, strokeWidth=2, fill=look.ground)
                if saturated
                else some.mark_point(size=55, opacity=1, filled=True)
            )
    return made


def _bar(base: Any) -> Any:
    return base.mark_rule(strokeWidth=5, opacity=0.3, strokeCap="round")


def _several_loads(table: Table, low: str) -> bool:
    """Whether every line has intervals at two loads at least: of one a band would be nothing."""
    known = np.isfinite(table.columns[low])
    heads = [table.columns[name][known] for name in ("series", "line") if name in table.columns]
    names = list(zip(*(head.tolist() for head in heads), strict=True))
    return all(names.count(name) > 1 for name in set(names))


def _tips(table: Table, *fields: str) -> list[Any]:
    known = {}
    for field in fields:
        known[field] = (field.replace("_", " "), ",.4~g")
        known |= {
            f"{end}_{field}": (f"{end} end", ",.4~g") for end in ("low", "high") if f"{end}_{field}" in table.columns
        }
    words = {name: (title, "") for name, title in (("series", "curve"), ("line", "line")) if name in table.columns}
    return parts.tooltips(**words, **known)


def bounds(table: Table, look: Look, x: Axis, y: Axis, *, named: bool = True) -> list[Any]:
    """A dashed line at each promise's bound, with its words at the left end."""
    import altair as alt

    marks = [mark for mark in table.marks if mark.kind == "promise"]
    if not marks:
        return []
    left = float(x.channel["scale"].domain[0])
    rows: list[dict[str, Any]] = [{"bound": mark.low, "promise": mark.text, "left": left} for mark in marks]
    base = alt.Chart(parts.inline(rows)).encode(y=y.y("bound"))
    rule = base.mark_rule(strokeDash=[5, 4], strokeWidth=1.3, color=look.ink)
    made = [rule.encode(tooltip=alt.Tooltip("promise:N", title="SLO"))]
    if named:
        high = float(y.channel["scale"].domain[1])
        for under in (False, True):  # the words of a line near the upper edge stand below it
            among = [row for row in rows if (row["bound"] * NEAR_TOP > high) == under]
            if among:
                place = alt.Chart(parts.inline(among)).encode(y=y.y("bound"), x=x.x("left"), text="promise:N")
                side: Any = {"baseline": "top", "dy": 4} if under else {"baseline": "bottom", "dy": -3}
                made.append(place.mark_text(align="left", dx=6, color=look.ink, fontSize=12, **side))
    return made


def answer(table: Table, look: Look, x: Axis, y: Axis) -> list[Any]:
    """The load that a capacity search found, its interval as a band, over the whole height."""
    import altair as alt

    left, right = x.channel["scale"].domain
    found = [mark for mark in table.marks if mark.kind == "answer"]
    rows: list[dict[str, Any]] = [
        {
            "low": max(mark.low, left),
            "high": min(mark.high, right),
            "at": mark.share_pct,
            "says": mark.text,
            "half": half,
        }
        for mark in found
        for half in [y.channel["scale"].domain[1] / 2]
    ]
    if not rows:
        return []
    base = alt.Chart(parts.inline(rows)).encode(tooltip=alt.Tooltip("says:N", title="holds"))
    band = base.mark_rect(opacity=0.18, color=look.ink).encode(x=x.x("low"), x2="high:Q")
    line = base.mark_rule(strokeWidth=1.5, color=look.ink).encode(x=x.x("at"))
    text = base.mark_text(align="right", dx=-6, color=look.ink, fontSize=12)  # beside the band, where curves are steep
    return [band, line, text.encode(x=x.x("low"), y=y.y("half"), text="says:N")]


def words(table: Table, look: Look, x: Axis, y: Axis, field: str, *, above: bool = False) -> list[Any]:
    """What the column `field` says beside its point, below a rising line or `above` a falling one."""
    import altair as alt

    rows: dict[tuple[int, int], dict[str, Any]] = {}  # by place: at one there is one text
    for row in table.rows():
        if row[field] and row[x.field] is not None and row[y.field] is not None:
            place = (round(x.across(row[x.field]) * WIDTH / NEAR), round(y.across(row[y.field]) * HEIGHT / NEAR))
            known = rows.setdefault(place, {x.field: row[x.field], y.field: row[y.field], field: ""})
            if row[field] not in known[field].split(", "):
                known[field] = ", ".join(text for text in (known[field], row[field]) if text)
    made = []
    for left in (False, True):  # of its point, where it has no room on the right
        some = [row for row in rows.values() if _no_room(row[field], x.across(row[x.field])) is left]
        if some:
            text = alt.Chart(parts.inline(some)).mark_text(
                align="right" if left else "left",
                baseline="middle",
                dx=-8 if left else 8,
                dy=-14 if above is not left else 14,  # where a rising line, or with `above` a falling one, is not
                color=look.ink,
                fontSize=12,
            )
            made.append(text.encode(x=x.x(), y=y.y(), text=f"{field}:N"))
    return made


def _no_room(text: str, across: float) -> bool:
    return across * WIDTH + parts.LABEL_PX * len(text) + 8 > WIDTH
