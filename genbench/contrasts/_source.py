"""What figures of a comparison read: the tested rows of compare.json as columns, all in one direction.

A time that is 5 % longer and a throughput that is 5 % smaller are both worse. So that better is the same side
everywhere, a figure draws how many times better B is: the ratio B / A where more is better, A / B where less is. The
ratio itself stands in the table beside it, and is what words and tables show.
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from genbench.metrics.levels import words
from genbench.plots._figure import Column, Table

GOOD, BAD = ("faster", "better", "higher"), ("slower", "worse", "lower")
BETTER, WORSE, SAME = "better", "worse", "no difference seen"
LEAST_REACH = math.log(1.06)  # an axis shows at least that much on both sides
LEAST_SIDE = 0.3  # of the longer side: the shorter one has room for its words
ROOM = 1.06
FAR = 4.0  # an interval may reach that many times as far as the furthest point, the rest of it is cut off
WITHOUT = ("not comparable", "not tested")  # verdicts that say nothing about B
STEPS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
TICKS = 4  # on each side at most
NARROW = 420  # px: on a narrower chart words are short


def plain(text: Any) -> str:
    """A name in one line, as Vega's expressions can hold it: they stumble over U+2028."""
    return " ".join(str(text).split())


def name(row: Mapping[str, Any]) -> str:
    """A row's name: the metric's label with its statistic."""
    label, stat = plain(row.get("label") or row.get("metric") or ""), str(row.get("stat") or "")
    return label if stat in ("", "value", *label.split()) else f"{label} {stat}"


def kind(verdict: Any) -> str:
    """A verdict as good or bad news for B, or as no news."""
    return BETTER if verdict in GOOD else WORSE if verdict in BAD else SAME


def change(ratio: float) -> str:
    """A ratio as words: percent, or times from twice as much on."""
    if ratio >= 2:
        return f"{ratio:.3g}×"
    percent = f"{100 * (ratio - 1):+.1f}".replace("-", "−")
    return f"{'±0.0' if percent in ('+0.0', '−0.0') else percent} %"


def usable(value: Any) -> bool:
    """Whether a ratio can be drawn."""
    return isinstance(value, int | float) and math.isfinite(value) and value > 0


def pair(document: Mapping[str, Any], comparison: Mapping[str, Any]) -> str:
    """What a comparison is called beside others: the other side, with the base where there are several bases."""
    a, b = plain(comparison.get("a", "")), plain(comparison.get("b", ""))
    bases = {one.get("a") for one in document.get("comparisons") or ()}
    return b if len(bases) == 1 else f"{b} / {a}"


def load(comparison: Mapping[str, Any]) -> str:
    """The load of one comparison of two sweeps, in words; empty where it has none."""
    asked = comparison.get("load")
    return str(asked.get("text") or words(str(asked.get("by")), float(asked["value"]))) if asked else ""


def bases(document: Mapping[str, Any]) -> str:
    """What is compared against, in a name; "the other" where there are several bases."""
    found = {plain(one.get("a", "")) for one in document.get("comparisons") or ()}
    return found.pop() if len(found) == 1 else "the other"


def tested(document: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """(comparison, row) of every row that has a ratio and was tested."""
    for comparison in document.get("comparisons") or ():
        for row in comparison.get("rows") or ():
            if usable(row.get("ratio")) and row.get("p") is not None and row.get("verdict") not in WITHOUT:
                yield comparison, row


def table(
    document: Mapping[str, Any], found: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]], note: str
) -> Table:
    """The columns that all figures of ratios have, a row for each tested row."""
    rows = [row for _, row in found]
    low, high = ([(row.get("ci95") or (None, None))[end] for row in rows] for end in (0, 1))
    ratio = np.array([row["ratio"] for row in rows], dtype=np.float64)
    upward = np.array([row.get("better") != "low" for row in rows])
    ends = [_known(one) for one in (low, high)]
    columns: dict[str, Column] = {
        "comparison": np.array([pair(document, one) for one, _ in found]),
        "metric": np.array([name(row) for row in rows]),
        "ratio": ratio,
        "low_ratio": ends[0],
        "high_ratio": ends[1],
        "p_holm": _known([row.get("p_holm") for row in rows]),
        "verdict": np.array([plain(row.get("verdict") or "") for row in rows]),
        "times_better": np.where(upward, ratio, 1 / ratio),
        "low_times_better": np.where(upward, ends[0], 1 / ends[1]),
        "high_times_better": np.where(upward, ends[1], 1 / ends[0]),
        "against": np.full(len(rows), bases(document)),
        "min_effect_pct": np.full(len(rows), 100 * float(document.get("min_effect") or 0)),
    }
    return Table(columns, note)


def _known(values: Sequence[Any]) -> Column:
    return np.array([value if usable(value) else np.nan for value in values], dtype=np.float64)


def fit(table: Table) -> Table:
    """The same with names of comparisons that fit a legend."""
    fits = short(list(dict.fromkeys(table.columns["comparison"].tolist())))
    names = np.array([fits[one] for one in table.columns["comparison"].tolist()])
    return replace(table, columns={**table.columns, "comparison": names})


def note(document: Mapping[str, Any]) -> str:
    """What the bars and the shade of a figure of ratios are."""
    least = 100 * float(document.get("min_effect") or 0)
    shaded = f"; shaded: less than the {least:g} % that count as an effect" if least else ""
    return f"bars: 95 % intervals of the ratio{shaded}"


def reach(table: Table) -> tuple[float, float]:
    """Where the axis begins and ends, as factors: it holds every point, and intervals where they are not far away."""
    columns = table.columns
    logs = {key: np.log(columns[f"{key}times_better"]) for key in ("", "low_", "high_")}
    known = {key: one[np.isfinite(one)] for key, one in logs.items()}
    furthest = max(float(np.abs(known[""]).max()), LEAST_REACH)
    sides = []
    for side in (-1, 1):
        every = side * np.concatenate(list(known.values()))
        sides.append(min(max(float(every.max()), LEAST_REACH), FAR * furthest))
    longer = max(sides)
    low, high = (ROOM * max(one, LEAST_SIDE * longer) for one in sides)
    return math.exp(-low), math.exp(high)


def ticks(low: float, high: float) -> list[float]:
    """Factors with a tick: one, and the same steps up and down from it."""
    last = max(high, 1 / low)
    step = next((one for one in STEPS if (last - 1) / one < TICKS + 1), None)
    if step is None:
        powers = [factor * 10.0**power for power in range(12) for factor in (1, 2, 5)]
        inside = [factor for factor in powers if 1 < factor <= last]
        some = inside[:: max(1, math.ceil(len(inside) / TICKS))]
    else:
        some = [1 + step * k for k in range(1, TICKS + 1)]
    down = [1 / one for one in reversed(some) if 1 / one >= low]
    return [*down, 1.0, *(one for one in some if one <= high)]


FACTOR = (
    "datum.value > 1.0001 ? format(datum.value, '.3~f') + '×' : "
    "datum.value < 0.9999 ? format(1 / datum.value, '.3~f') + '×' : '{equal}'"
)


def scale(ends: tuple[float, float], title: str, equal: str = "equal") -> dict[str, Any]:
    """`title`, `scale` and `axis` of a position channel of factors."""
    import altair as alt

    return {
        "title": title,
        "scale": alt.Scale(type="log", domain=list(ends), nice=False),
        "axis": alt.Axis(values=ticks(*ends), labelExpr=FACTOR.format(equal=equal), grid=True),
    }


def clipped(table: Table, ends: tuple[float, float]) -> list[dict[str, Any]]:
    """The table's rows for a chart: the ends of intervals as far as the axis goes, and what a verdict says of B."""
    found = []
    for row in table.rows():
        low, high = row["low_times_better"], row["high_times_better"]
        known = low is not None or high is not None
        row["from"] = max(low if low is not None else 0.0, ends[0]) if known else None
        row["to"] = min(high if high is not None else math.inf, ends[1]) if known else None
        row["kind"] = kind(row["verdict"])
        found.append(row)
    return found


def band(table: Table, ends: tuple[float, float]) -> dict[str, float]:
    """The effects that are too small to count, as `low` and `high`, and what is equal."""
    last = 1 + float(table.columns["min_effect_pct"][0]) / 100
    return {"low": max(1 / last, ends[0]), "high": min(last, ends[1]), "equal": 1.0}


def fitting(long: str, short: str) -> Any:
    """The text of a mark: the field `long`, on a narrow page the field `short`."""
    import altair as alt

    return alt.ExprRef(f"width < {NARROW} ? datum.{short} : datum.{long}")


def shortened(text: str, most: int = 28) -> str:
    """A name that has to fit: it loses its middle, two that differ do so at an end more often."""
    half = (most - 1) // 2
    return text if len(text) <= most else f"{text[: most - 1 - half]}…{text[-half:]}"


def short(names: Sequence[str], most: int = 28) -> dict[str, str]:
    """Each name as `shortened` has it, those that would be the same told apart by a number."""
    found: dict[str, str] = {}
    for name in names:
        fits = shortened(plain(name), most)
        if fits in found.values():
            fits = next(one for k in itertools.count(2) if (one := f"{fits} ({k})") not in found.values())
        found[name] = fits
    return found
