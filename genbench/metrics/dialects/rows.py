"""What a dialect is made of: rows of their figure beside ours, and the rules by which tools make statistics.

A row is built from their values, already in their unit, and the key of our nearest metric, brought to that unit by
`scale`. `why` says where the definitions differ; "same here" is added where the shown figures agree all the same.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from genbench import stats
from genbench.metrics.definitions import MetricDef, Values, by_key
from genbench.metrics.summary import Run
from genbench.records import Bools, Ints, RecordTable
from genbench.stats import Floats
from genbench.types import Outcome

SAME = 5e-4  # relative; what three to four printed digits show as one number
NS_PER_MS = 1e6
NOTHING = "no request here has one"

Rule: TypeAlias = Callable[[Floats, Floats | None, str], float]


@dataclass(frozen=True, slots=True)
class Figure:
    """One number: `stat` as the tool prints it ("" for a figure of the whole run), theirs and ours, None: there is none.

    Theirs is a text where the tool prints a word.
    """

    stat: str
    theirs: float | str | None
    ours: float | None


@dataclass(frozen=True, slots=True)
class Row:
    """One metric as the tool names it, our key nearest to it ("": we have none), and why the two differ."""

    name: str
    unit: str
    ours: str
    why: str
    figures: tuple[Figure, ...]


@dataclass(frozen=True, slots=True)
class Dialect:
    """A run in another tool's words; `notes` say what the log does not hold and what was assumed."""

    name: str
    tool: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Shown:
    """How a tool shows a distribution: (its label, our name of the statistic) in its order, and its arithmetic."""

    stats: tuple[tuple[str, str], ...]
    rule: Rule


# -- their statistics -------------------------------------------------------------------------------------------------


def numpy_rule(values: Floats, weights: Floats | None, stat: str) -> float:
    """numpy's defaults: linear percentiles, population standard deviation. Takes no weights."""
    assert weights is None
    if stat == "std":
        return float(values.std())
    return _plain(values, stat) if stat in PLAIN else float(np.percentile(values, float(stat[1:])))


def step_rule(values: Floats, weights: Floats | None, stat: str) -> float:
    """The smallest value whose share of the weight, summed up from below, reaches the percentile; population std."""
    weights = np.ones(values.size) if weights is None else weights
    order = np.argsort(values, kind="stable")
    ordered, share = values[order], weights[order] / weights.sum()
    if stat == "mean":
        return float(np.dot(ordered, share))
    if stat == "std":
        return float(np.sqrt(np.dot(np.square(ordered - np.dot(ordered, share)), share)))
    if stat in PLAIN:
        return _plain(ordered[share > 0], stat)
    # The running total is float: without the slack its rounding could put a percentile one value too high.
    place = int(np.searchsorted(np.cumsum(share), float(stat[1:]) / 100 - 1e-12))
    return float(ordered[min(place, ordered.size - 1)])


def floor_rule(values: Floats, weights: Floats | None, stat: str) -> float:
    """loadgen's: of n ascending values the one at position floor(n * percentile); the mean is a whole number."""
    assert weights is None
    if stat in PLAIN:
        return float(np.floor(_plain(values, stat)))
    place = int(values.size * (float(stat[1:]) / 100))
    return float(np.sort(values)[min(place, values.size - 1)])


PLAIN: Mapping[str, Callable[[Floats], Any]] = {"mean": np.mean, "min": np.min, "max": np.max}


def _plain(values: Floats, stat: str) -> float:
    return float(PLAIN[stat](values))


# -- rows -------------------------------------------------------------------------------------------------------------


def spread(
    run: Run,
    name: str,
    unit: str,
    values: Floats,
    shown: Shown,
    key: str,
    why: str,
    *,
    weights: Floats | None = None,
    scale: float = 1.0,
    nothing: str = NOTHING,
) -> Row:
    """The row of a distribution. A value of weight 0 counts for nothing; `nothing` says why there may be no value."""
    if weights is not None:
        values, weights = values[weights > 0], weights[weights > 0]
    own = _own(run.table, key, [stat for _, stat in shown.stats])
    figures = []
    for label, stat in shown.stats:
        theirs = shown.rule(values, weights, stat) if values.size else None
        mine = own.get(stat)
        figures.append(Figure(label, theirs, None if mine is None else mine * scale))
    return _row(name, unit, key, why if values.size else nothing, tuple(figures))


def figure(
    run: Run,
    name: str,
    unit: str,
    theirs: float | str | None,
    key: str,
    why: str,
    *,
    scale: float = 1.0,
    ours: float | None = None,
) -> Row:
    """The row of one figure of the whole run; ours is that of `key`, or `ours` where it is a sum or a count."""
    found = run.summary.run.get(key)
    mine = ours if ours is not None else None if found is None else found.value * scale
    return _row(name, unit, key, why, (Figure("", theirs, mine),))


def _row(name: str, unit: str, key: str, why: str, figures: tuple[Figure, ...]) -> Row:
    numbers = [(one.theirs, one.ours) for one in figures if isinstance(one.theirs, float | int)]
    agree = bool(numbers) and all(b is not None and abs(a - b) <= SAME * abs(b) for a, b in numbers)
    if not why:
        why = "same definition"
    elif agree:
        why += "; same here"
    return Row(name, unit, key, why, figures)


def _own(table: RecordTable, key: str, names: Sequence[str]) -> dict[str, float]:
    """Our statistics of a metric of ours by name; empty where there is no such metric or no value."""
    found = values_of(table, key)
    if found is None or not found.values.size:
        return {}
    order = np.argsort(found.values)
    own = stats.distribution(found.values, found.weights, order)
    weights = None if found.weights is None else found.weights[order]
    for name in names:
        if name not in own and name[0] == "p":
            own[name] = float(stats.percentiles(found.values[order], [float(name[1:])], weights)[0])
    return own


def values_of(table: RecordTable, key: str) -> Values | None:
    """Our values of one of our per-request metrics; None where `key` is none."""
    row = by_key().get(key)
    return row.of(table) if isinstance(row, MetricDef) else None


def total_of(table: RecordTable, key: str) -> float | None:
    """Sum of our values of one of our metrics; None where no request has one."""
    found = values_of(table, key)
    return float(found.values.sum()) if found is not None and found.values.size else None


# -- populations ------------------------------------------------------------------------------------------------------


def ended(table: RecordTable, *outcomes: Outcome) -> Bools:
    """Measured rows that ended in one of these ways, bool[n]."""
    return table.measured & np.fromiter((o in outcomes for o in table.outcome), dtype=np.bool_, count=len(table))


def given_up(table: RecordTable) -> Bools:
    """Measured rows cancelled by us, bool[n]."""
    return ended(table, Outcome.CANCELLED)


def per_second(amount: float, seconds: float | None) -> float | None:
    """A rate; None without a duration."""
    return amount / seconds if seconds else None


def seconds_between(start_ns: Ints, end_ns: Ints) -> float | None:
    """From the earliest start to the latest end in s; moments that did not happen left out, None of nothing."""
    start, end = start_ns[start_ns >= 0], end_ns[end_ns >= 0]
    if not start.size or not end.size or end.max() <= start.min():
        return None
    return float(end.max() - start.min()) / 1e9


def counted(number: int, what: str) -> str:
    """'1 request', '3 requests'."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def is_embeddings(run: Run) -> bool:
    """Whether the run asked for embeddings."""
    return run.header.get("endpoint_type") == "embeddings"


def cancelled_note(run: Run) -> list[str]:
    """What to say of the requests that we cut ourselves."""
    number = int(given_up(run.table).sum())
    return [f"{counted(number, 'request')} cancelled by us at the end: in no figure of theirs here"] if number else []
