"""When requests were due, against the rate that was asked: a bar outside the band is more than chance alone makes."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from genbench import loads
from genbench.metrics.summary import Run
from genbench.plan.rates import Ramp, Shape, Stages, Steady, parse_ramp, parse_stages
from genbench.plots import _parts as parts
from genbench.plots._figure import Nothing, Table
from genbench.plots._look import Look
from genbench.plots._source import NS, bins_said, counted, joined, part, phases, shaded, zero_ns
from genbench.stats import Floats

TITLE = "Arrivals over the run"
ARRIVALS = 15  # in a bin, at least, where there are enough: of fewer the band is as wide as its middle is high
BINS, LEAST_BINS = 80, 6
CHANCE = 1.96  # standard deviations: 95 %
DIFFER, DIFFER_LEAST = 0.05, 2  # of a bin's arrivals, and requests: so many more or fewer were sent in it
SLACK = 0.02  # of the time of arrivals: sends so soon after it are still in its last bin
ROUNDING_S = 1e-8  # moments are cut to whole ns: what is due on an edge belongs behind it
WARMUP, AFTER = 0, -1  # of the column `stage`
DUE, SENT, ASKED, BAND = "due", "sent", "asked", "95 % by chance"


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of the run with bins of its own, in seconds; `shape` began at `origin`, None: no rate was asked.

    `logged`: whether the arrivals of this time are in the log; what was due and never sent is not.
    """

    low: float
    high: float
    stage: int = 1
    shape: Shape | None = None
    origin: float = 0.0
    logged: bool = True

    @property
    def expected(self) -> float:
        """Arrivals asked for; NaN where no rate was."""
        if self.shape is None:
            return math.nan
        return self.shape.expected(self.high - self.origin) - self.shape.expected(self.low - self.origin)


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Of each request (conversations: of each first turn) when it was due and sent, in seconds; never sent: NaN."""

    due: Floats
    sent: Floats
    measured: "np.ndarray[Any, np.dtype[np.bool_]]"


def data(run: Run) -> Table:
    """Arrivals due per second (req/s) by time (s), warm-up included, and what was asked for at each bin's two ends.

    A bin holds about as many arrivals as every other of its stage. With Poisson arrivals `low_ps` to `high_ps` is where
    95 % of bins lie by chance. `sent_ps` is there where sends differ from arrivals. Open loops only.
    """
    load = part(run.header, "config", "load")
    form = _form(load)
    zero = zero_ns(run)
    table = run.table
    rows = (table.turn == 0) & (table.intended_ns >= 0)
    sent = np.where(table.sent_ns >= 0, (table.sent_ns - zero) / NS, np.nan)[rows]
    came = Arrivals((table.intended_ns[rows] - zero) / NS, sent, table.measured[rows])
    if not came.measured.any():
        raise Nothing("no request of the measured phase was due")
    missing = max(int(part(run.header, "health").get("due") or 0) - int(came.measured.sum()), 0)
    columns = _columns(_stretches(run.header, form, came, zero, missing), came, str(load.get("arrival") or "poisson"))
    marks = phases(run)
    of = "first turn" if (table.session[rows] >= 0).any() else "arrival"
    said = joined(
        loads.sentence(load),
        f"{counted(came.due.size, of)} {_bins_said(columns)}",
        f"{missing:,} more were due and never sent, the log does not say when" if missing else "",
        shaded(marks),
    )
    return Table(columns, said, marks)


def _bins_said(columns: Mapping[str, Any]) -> str:
    """How wide the bins of the measured phase are, or how many arrivals they are made for where their widths differ."""
    measured = columns["stage"] > WARMUP
    low, high = columns["from_s"][measured], columns["to_s"][measured]
    expected = (high - low) * (columns["asked_from_ps"] + columns["asked_to_ps"])[measured] / 2
    if np.ptp(high - low) < 0.01 * (high - low).max() or not (expected > 0).any():
        return bins_said(np.array([low[0], high[0]]))
    return f"in bins of about {np.median(expected[expected > 0]):.0f}"


def _form(load: Mapping[str, Any]) -> Shape | None:
    """The asked rate over time, None for a trace; raises Nothing for what has no arrivals."""
    if not load:
        raise Nothing("the header of the run does not say how requests were to arrive")
    if not loads.scheduled(load):
        if load.get("request_rate") is not None:
            raise Nothing("all requests were due at once, so there is no rate of arrivals")
        raise Nothing("a closed loop sends when an answer has come, so there is no rate of arrivals")
    if load.get("ramp"):
        return parse_ramp(str(load["ramp"]))
    if load.get("stages"):
        return parse_stages(str(load["stages"]))
    return None if load.get("arrival") == "trace" else Steady(float(load["request_rate"]))


def _stretches(header: Mapping[str, Any], form: Shape | None, came: Arrivals, zero: int, missing: int) -> list[Stretch]:
    """Warm-up, the stages (a ramp, a rate) as far as they were asked for, and the time in which only sends are left."""
    first, last = float(came.due[came.measured].min()), float(came.due.max())
    start, borders = first, [math.inf]
    if isinstance(form, Ramp | Stages):
        start -= float(form.moments(np.zeros(1))[0])  # stages may begin with a pause
        lengths = [length for _, length in form.parts] if isinstance(form, Stages) else [form.seconds]
        borders = [start + length for length in np.cumsum(lengths).tolist()]
        if len(borders) > BINS // 2:  # too many to be told apart
            borders = borders[-1:]
        if isinstance(form, Ramp):
            borders.append(math.inf)
    last_due = float(part(header, "health").get("last_due_ns") or 0) - zero
    end = _asked_until(header, form, start, first, max(last, last_due / NS), borders)
    known = min(_gap_after(form, start, last, borders), end) if missing else end
    found = []
    if not came.measured.all():
        rate = None if form is None else Steady(form.warmup_rate)
        low = float(came.due[~came.measured].min())
        found.append(Stretch(low, start, WARMUP, rate, low))
    low = start
    for stage, border in enumerate(borders, 1):
        for high, logged in ((min(border, known), True), (min(border, end), False)):
            if high > low:
                found.append(Stretch(low, high, stage, form, start, logged))
                low = high
    found = [one for one in found if one.high > one.low]
    left = float(np.nanmax(came.sent))
    if left - low > SLACK * (low - found[0].low if found else 0.0):
        found.append(Stretch(low, left, AFTER))
    return found


def _asked_until(
    header: Mapping[str, Any], form: Shape | None, start: float, first: float, last: float, borders: list[float]
) -> float:
    """Until when arrivals were asked for: the end of the time or the stages, or what ended them before."""
    load, engine = part(header, "config", "load"), part(header, "health")
    planned = first + float(load.get("duration_s") or math.inf)
    if isinstance(form, Stages):
        planned = min(planned, borders[-1])
    counted_out = load.get("request_count") and int(engine.get("due") or 0) >= int(load["request_count"])
    ended = any(header.get(why) for why in ("interrupted", "stopped_early", "stopped_at", "error"))
    if form is None or ended or counted_out or not math.isfinite(planned):
        return max(min(_gap_after(form, start, last, borders), planned), last)
    return max(planned, last)


def _gap_after(form: Shape | None, start: float, last: float, borders: list[float]) -> float:
    """The last arrival and a mean gap, within its stage: n arrivals at a rate take n gaps."""
    rate = 0.0 if form is None else form.at(last - start)
    return min(last + 1 / rate, *(border for border in borders if border > last), math.inf) if rate > 0 else last


def _edges(one: Stretch, per: float, came: Arrivals, *, even: bool) -> Floats:
    """The edges of a stretch's bins: of equal expected counts, or of equal lengths where no rate was asked.

    `even`: gaps are all the same. The counts are then whole: else such arrivals fall in one bin more often than in the
    next.
    """
    if one.shape is None:
        moments, least = (came.sent, 1) if one.stage == AFTER else (came.due, LEAST_BINS)
        held = int(((moments >= one.low) & (moments <= one.high)).sum())
        count = min(max(held // ARRIVALS, least), BINS)
        return np.linspace(one.low, one.high, count + 1)
    expected = one.expected
    count = max(1, int(max(expected / per, min(expected / ARRIVALS, LEAST_BINS))))
    size = expected / count
    if even:
        size = max(1.0, float(math.ceil(size - 1e-9)))
        count = max(1, round(expected / size))
    inner = np.arange(1, count, dtype=np.float64) * size + one.shape.expected(one.low - one.origin)
    between = np.clip(one.origin + one.shape.moments(inner), one.low, one.high)
    return np.unique(np.concatenate(([one.low], between, [one.high])))


def _columns(stretches: list[Stretch], came: Arrivals, arrival: str) -> dict[str, Any]:
    """The table's columns; sends, and the time in which only they are left, where sends differ from arrivals."""
    total = sum(one.expected for one in stretches if one.shape is not None)
    per, even = max(ARRIVALS, total / BINS), arrival == "constant"
    bins = [(one, _edges(one, per, came, even=even)) for one in stretches]
    low, high = (np.concatenate([edges[cut] for _, edges in bins]) for cut in (slice(None, -1), slice(1, None)))
    sizes = [edges.size - 1 for _, edges in bins]
    stage = np.repeat([one.stage for one in stretches], sizes)
    logged = np.repeat([one.logged and one.stage != AFTER for one in stretches], sizes)
    width, later = high - low, stage == AFTER
    due, sent = np.zeros(low.size), _counts(came.sent, low)
    due[~later] = _counts(came.due, low[~later])
    asked_from, asked_to, expected = np.concatenate([_asked(one, edges) for one, edges in bins]).T
    columns = {
        "stage": stage,
        "from_s": low,
        "to_s": high,
        "due": np.where(logged, due, np.nan),
        "due_ps": np.where(logged, due, np.nan) / width,
        "asked_from_ps": asked_from,
        "asked_to_ps": asked_to,
    }
    if arrival == "poisson":
        spread = CHANCE * np.sqrt(np.maximum(expected, 0.0))
        columns["low_ps"] = np.maximum(expected - spread, 0.0) / width
        columns["high_ps"] = (expected + spread) / width
    if (np.abs(sent - due) >= np.maximum(DIFFER_LEAST, DIFFER * due)).any():
        return columns | {"sent_ps": sent / width}
    return {name: column[~later] for name, column in columns.items()}


def _counts(moments: Floats, low: Floats) -> Floats:
    """How many lie in each bin; what lies outside counts in the nearest."""
    known = moments[np.isfinite(moments)]
    at = np.searchsorted(low, known + ROUNDING_S, side="right") - 1
    return np.bincount(np.maximum(at, 0), minlength=low.size).astype(np.float64)


def _asked(one: Stretch, edges: Floats) -> Floats:
    """Of each bin the asked rate at its two ends and the arrivals expected in it, float64[bins, 3]."""
    if one.shape is None:
        return np.full((edges.size - 1, 3), np.nan)
    since = (edges - one.origin).tolist()
    expected = np.diff([one.shape.expected(t) for t in since])
    if isinstance(one.shape, Ramp):
        rates = [one.shape.at(t) for t in since]
        return np.column_stack((rates[:-1], rates[1:], expected))
    mean = expected / np.diff(edges)
    return np.column_stack((mean, mean, expected))


def chart(table: Table, look: Look) -> Any:
    """Bars of arrivals, over them lines of what was asked and what was sent; a panel for each run."""
    import altair as alt

    shown = {
        BAND: (("low_ps", "high_ps"), look.series[4]),
        DUE: (("due_ps",), look.main),
        ASKED: (("asked_from_ps", "asked_to_ps"), look.ink),
        SENT: (("sent_ps",), look.series[1]),
    }
    there = {name: fields for name, (fields, _) in shown.items() if _any(table, fields)}
    colour = parts.by_name("what", list(there), look, colours={name: colour for name, (_, colour) in shown.items()})
    x = parts.time_axis(table, "from_s", "to_s")
    top = max(float(np.nanmax(table.columns[field])) for fields in there.values() for field in fields)
    scale = alt.Scale(domain=[0, 1.06 * top or 1.0], nice=False)
    title = "requests (req/s)" if SENT in there else "arrivals (req/s)"
    wide = {"x": alt.X("from_s:Q", **x), "x2": "to_s:Q", "color": colour}
    y = alt.Y("y:Q", title=title, scale=scale)
    tips = parts.tooltips(
        from_s=("from (s)", ",.2f"),
        to_s=("to (s)", ",.2f"),
        due=("arrivals", ",.0f"),
        due_ps=("arrivals (req/s)", ",.1f"),
    )

    def one(part: Table, width: int, height: int) -> Any:
        layers = parts.shade_layers(part, look, x, width)
        band, bars = _rows(part, BAND, "low_ps", "high_ps"), _rows(part, DUE, "due_ps")
        if band:
            base = alt.Chart(parts.inline(band)).mark_rect(opacity=0.22)
            layers.append(base.encode(**wide, y=y, y2="y2:Q"))
        base = alt.Chart(parts.inline(bars)).encode(**wide, y=y, tooltip=tips)
        layers += [base.mark_rect(opacity=0.35).encode(y2=alt.datum(0)), base.mark_rule(strokeWidth=1.8)]
        borders = _borders(part)
        if borders:
            layers.append(
                alt.Chart(parts.inline(borders))
                .mark_rule(color=look.faint, strokeDash=[2, 3])
                .encode(x=alt.X("x:Q", **x))
            )
        for name, ends, dash in (
            (ASKED, ("asked_from_ps", "asked_to_ps"), [6, 3]),
            (SENT, ("sent_ps", "sent_ps"), [1, 0]),
        ):
            if points := _path(part, name, *ends):
                line = alt.Chart(parts.inline(points)).mark_line(strokeWidth=1.8, strokeDash=dash)
                layers.append(line.encode(x=alt.X("x:Q", **x), y=y, color=colour, order="at:Q"))
        return alt.layer(*layers).properties(width=width, height=height)

    return parts.panels(table, one)


def _any(table: Table, fields: tuple[str, ...]) -> bool:
    return all(field in table.columns and np.isfinite(table.columns[field]).any() for field in fields)


def _rows(table: Table, what: str, y: str, y2: str = "") -> list[dict[str, Any]]:
    """The bins in which a column is known, as `y` (and `y2`)."""
    return [
        {**{name: row[name] for name in ("from_s", "to_s", "due", "due_ps")}, "what": what, "y": row[y]}
        | ({"y2": row[y2]} if y2 else {})
        for row in table.rows()
        if row.get(y) is not None
    ]


def _path(table: Table, what: str, at_from: str, at_to: str) -> list[dict[str, Any]]:
    """A line through both ends of each bin."""
    ends = [
        (row[place], row[field])
        for row in table.rows()
        if row.get(at_from) is not None
        for place, field in (("from_s", at_from), ("to_s", at_to))
    ]
    return [{"x": x, "y": y, "what": what, "at": at} for at, (x, y) in enumerate(ends)]


def _borders(table: Table) -> list[dict[str, Any]]:
    """Where one stage follows another."""
    stage = table.columns["stage"]
    found = np.flatnonzero((stage[1:] != stage[:-1]) & (stage[1:] > WARMUP) & (stage[:-1] > WARMUP)) + 1
    return [{"x": value} for value in np.round(table.columns["from_s"][found], 6).tolist()]
