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

SAME = 1e-3  # relative
NS_PER_MS = 1e6
NOTHING = "no request here has one"

Rule: TypeAlias = Callable[[Floats, Floats | None, str], float]


@dataclass(frozen=True, slots=True)
class Figure:
    """One number: `stat` as the tool prints it ("" for a figure of the whole run), theirs and ours; None: no such.

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
    distinct, place = np.unique(values, return_inverse=True)
    share = np.bincount(place, weights=weights) / weights.sum()
    if stat == "mean":
        return float(np.dot(distinct, share))
    if stat == "std":
        return float(np.sqrt(np.dot(np.square(distinct - np.dot(distinct, share)), share)))
    if stat in PLAIN:
        return _plain(distinct, stat)
    # As guidellm does it, with the rounding of its running total.
    at = int(np.searchsorted(np.cumsum(share), float(stat[1:]) / 100))
    return float(distinct[min(at, distinct.size - 1)])


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


@dataclass(frozen=True, slots=True)
class Sheet:
    """Makes the rows of one run for one tool, whose distributions are shown by `shown`."""

    run: Run
    shown: Shown

    def spread(
        self,
        name: str,
        unit: str,
        values: Floats,
        key: str,
        why: str,
        *,
        weights: Floats | None = None,
        scale: float = 1.0,
        nothing: str = NOTHING,
    ) -> Row:
        """The row of a distribution. A value of weight 0 counts for nothing; `nothing` says why there may be none."""
        if weights is not None:
            values, weights = values[weights > 0], weights[weights > 0]
        own = _own(self.run.table, key, [stat for _, stat in self.shown.stats])
        figures = []
        for label, stat in self.shown.stats:
            theirs = self.shown.rule(values, weights, stat) if values.size else None
            mine = own.get(stat)
            figures.append(Figure(label, theirs, None if mine is None else mine * scale))
        return row_of(name, unit, key, why if values.size else nothing, tuple(figures))

    def figure(
        self, name: str, unit: str, theirs: float | str | None, key: str, why: str, *, ours: float | None = None
    ) -> Row:
        """The row of one figure of the whole run; ours is our figure `key`, or `ours` where it is none of them."""
        found = self.run.summary.run.get(key)
        mine = ours if ours is not None or found is None else found.value
        return row_of(name, unit, key, why, (Figure("", theirs, mine),))

    def rates(self, unit: str, seconds: float | None, why: str, *rates: tuple[str, float, str]) -> list[Row]:
        """A row for each (name, amount, our key): the amount per second."""
        return [self.figure(name, unit, per_second(amount, seconds), key, why) for name, amount, key in rates]

    def count(self, name: str, unit: str, theirs: float, why: str, ours: float | None) -> Row:
        """The row of a count or a sum; ours is none of our figures, but follows from them."""
        return self.figure(name, unit, theirs, "", why, ours=ours)


def row_of(name: str, unit: str, key: str, why: str, figures: tuple[Figure, ...]) -> Row:
    """A row; says so where the definitions are the same, and where they differ but the figures agree."""
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


def load_of(run: Run) -> Mapping[str, Any]:
    """The load that the run was asked for, as its header has it; empty where it does not."""
    config = run.header.get("config")
    load = config.get("load") if isinstance(config, Mapping) else None
    return load if isinstance(load, Mapping) else {}


def is_embeddings(run: Run) -> bool:
    """Whether the run asked for embeddings."""
    return run.header.get("endpoint_type") == "embeddings"


def ok_count(run: Run) -> int:
    """Our successes."""
    return run.summary.outcomes.get("ok", 0)


def not_done(table: RecordTable, done: Bools) -> int:
    """Measured requests that are not in `done` and were not cancelled by us."""
    return int((table.measured & ~done & ~given_up(table)).sum())


def known(lengths: Ints, among: Bools) -> Floats:
    """The known lengths of some rows."""
    return lengths[among & (lengths >= 0)].astype(np.float64)


# -- notes ------------------------------------------------------------------------------------------------------------


def cancelled_note(run: Run) -> list[str]:
    """What to say of the requests that we cut ourselves."""
    number = int(given_up(run.table).sum())
    return [f"{counted(number, 'request')} cancelled by us at the end: in no figure of theirs here"] if number else []


def broken_notes(table: RecordTable, done: Bools, word: str) -> list[str]:
    """What to say of answers that broke off, for a tool that calls an answer with content a `word`."""
    notes = []
    broken = int((done & ended(table, Outcome.STREAM_ERROR)).sum())
    if broken:
        notes.append(
            f"{counted(broken, 'answer')} broken off by an error inside the stream: a {word} for it, as an error sent"
            " as plain data is; one sent as 'event: error' fails there, and the log does not tell them apart"
        )
    return [*notes, *truncated_note(table, word)]


def truncated_note(table: RecordTable, word: str) -> list[str]:
    """What to say of answers without an end."""
    cut = int(ended(table, Outcome.TRUNCATED).sum())
    if not cut:
        return []
    return [
        f"{counted(cut, 'truncated answer')}: failed here, as when the connection breaks off; one that ends cleanly"
        f" without a finish_reason is a {word} there"
    ]


def unknown_note(among: Bools, lengths: Ints) -> list[str]:
    """What to say of answers whose length the log does not have."""
    unknown = int((among & (lengths < 0)).sum())
    if not unknown:
        return []
    return [
        f"{counted(unknown, 'answer')} without a token count: it would tokenise the text, which is not in the log; left"
        " out of every figure that takes tokens"
    ]
