"""What a figure is: numbers that can be saved, and one specification that gives PNG, SVG and the interactive page.

A figure is a module with
    TITLE                 what it shows, in the field's terms
    data(run) -> Table    the numbers it draws, at most `MOST` rows a run; raises `Nothing` with the reason when there
                          are none
    chart(table, look)    an altair chart of them; every axis has its unit
and a first docstring line that says how to read it. A run of a million requests is binned or thinned in `data`, and
`Table.note` says so on the figure. Several runs become one table with a column `series` (see `together`); a figure that
finds it colours by it, or draws one panel for each.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np

from genbench.metrics.summary import Run
from genbench.plots._look import Look

MOST = 2_000
SEPARATOR = "; "  # of the clauses of a note
BETWEEN_RUNS = " | "  # of what several runs say, and what all of them say

Column: TypeAlias = np.ndarray[Any, np.dtype[Any]]


class Nothing(Exception):
    """There is nothing to draw; the message says why, in one sentence for the page."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What a figure shows beside its rows, in the units of its x axis.

    A `phase` is the stretch from `low` to `high`; a `promise` is an SLO with its bound at both, `share_pct` the
    percentile it names (NaN: none); an `answer` is a load, there, and the ends of its interval. `series` is the run it
    belongs to, empty where there is one.
    """

    kind: Literal["phase", "promise", "answer"]
    low: float
    high: float
    text: str
    share_pct: float = float("nan")
    series: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Columns of equal length, by name (units end a name); `note` is said under the figure's title."""

    columns: Mapping[str, Column]
    note: str = ""
    marks: tuple[Mark, ...] = ()

    def __len__(self) -> int:
        """Rows."""
        return len(next(iter(self.columns.values()), ()))

    def rows(self) -> list[dict[str, Any]]:
        """As a chart takes them; what is not a number is null."""
        names = list(self.columns)
        lists = [_plain(self.columns[name]) for name in names]
        return [dict(zip(names, row, strict=True)) for row in zip(*lists, strict=True)]

    def take(self, among: Column) -> "Table":
        """The rows of a mask or of indices, in order."""
        return replace(self, columns={name: column[among] for name, column in self.columns.items()})


class Figure(Protocol):
    """A module in `plots/`."""

    TITLE: str

    def data(self, run: Run) -> Table:
        """The numbers it draws."""

    def chart(self, table: Table, look: Look) -> Any:
        """The altair chart of them."""


def _plain(column: Column) -> list[Any]:
    if column.dtype.kind != "f":
        found: list[Any] = column.tolist()
        return found
    return [None if value != value else value for value in np.round(column, 6).tolist()]


def thinned(count: int, most: int = MOST) -> Column:
    """Indices of at most `most` of `count` things, evenly spread, the first and the last among them."""
    if count <= most:
        return np.arange(count)
    return np.unique(np.linspace(0, count - 1, most).round().astype(np.int64))


def together(series: Sequence[tuple[str, Run]], data: Callable[[Run], Table]) -> Table:
    """One table of several runs, each row with its run's name in `series`; of one run its own table.

    A run with nothing to draw is left out and named in the note; a column that a run does not have is empty for it.
    Raises Nothing when none has anything, and ValueError when two runs have the same name.
    """
    if len(series) == 1:
        return data(series[0][1])
    if len({name for name, _ in series}) < len(series):
        raise ValueError(f"two runs have the same name: {', '.join(name for name, _ in series)}")
    found: dict[str, Table] = {}
    missing: dict[str, str] = {}
    for name, run in series:
        try:
            found[name] = data(run)
        except Nothing as why:
            missing[name] = str(why)
    if not found:
        raise Nothing(_said(missing))
    columns = {
        column: np.concatenate([_column(table, column, found) for table in found.values()])
        for column in dict.fromkeys(column for table in found.values() for column in table.columns)
    }
    columns["series"] = np.repeat(list(found), [len(table) for table in found.values()])
    marks = [
        replace(mark, series="" if mark.kind == "promise" else name)
        for name, table in found.items()
        for mark in table.marks
    ]
    notes = [_said({name: table.note for name, table in found.items()})]
    notes += [f"{name} is not shown: {why}" for name, why in missing.items()]
    return Table(columns, BETWEEN_RUNS.join(note for note in notes if note), tuple(dict.fromkeys(marks)))


def _column(table: Table, name: str, found: Mapping[str, Table]) -> Column:
    """A table's column; where it has none, as many empty cells of the kind the others have."""
    if name in table.columns:
        return table.columns[name]
    kind = next(other.columns[name].dtype.kind for other in found.values() if name in other.columns)
    return np.full(len(table), "") if kind == "U" else np.full(len(table), np.nan)


def _said(notes: Mapping[str, str]) -> str:
    """What several runs say: each one's own clauses after its name, then the clauses that all of them say."""
    clauses = {name: note.split(SEPARATOR) if note else [] for name, note in notes.items()}
    first = next(iter(clauses.values()))
    common = [clause for clause in first if all(clause in own for own in clauses.values())]
    own = {name: [clause for clause in said if clause not in common] for name, said in clauses.items()}
    said_by = [f"{name}: {SEPARATOR.join(said)}" for name, said in own.items() if said]
    return BETWEEN_RUNS.join([*said_by, *([SEPARATOR.join(common)] if common else [])])
