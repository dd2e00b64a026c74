"""What a figure is: numbers that can be saved, and one specification that gives PNG, SVG and the interactive page.

A figure is a module with
    TITLE                 what it shows, in the field's terms
    data(run) -> Table    the numbers it draws, at most `MOST` rows; raises `Nothing` with the reason when there are none
    chart(table, look)    an altair chart of them; every axis has its unit
and a first docstring line that says how to read it. A run of a million requests is binned or thinned in `data`, and
`Table.note` says so on the figure. Several runs become one table with a column `series` (see `together`); a figure that
finds it colours by it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np

from genbench.metrics.summary import Run
from genbench.plots._look import Look

MOST = 2_000

Column: TypeAlias = np.ndarray[Any, np.dtype[Any]]


class Nothing(Exception):
    """There is nothing to draw; the message says why, in one sentence for the page."""


@dataclass(frozen=True, slots=True)
class Table:
    """Columns of equal length, by name (units end a name); `note` is said under the figure's title."""

    columns: Mapping[str, Column]
    note: str = ""

    def __len__(self) -> int:
        """Rows."""
        return len(next(iter(self.columns.values()), ()))

    def rows(self) -> list[dict[str, Any]]:
        """As a chart takes them; what is not a number is null."""
        names = list(self.columns)
        lists = [_plain(self.columns[name]) for name in names]
        return [dict(zip(names, row, strict=True)) for row in zip(*lists, strict=True)]


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

    A run with nothing to draw is left out and named in the note. Raises Nothing when none has anything.
    """
    if len(series) == 1:
        return data(series[0][1])
    found: list[tuple[str, Table]] = []
    missing: list[str] = []
    for name, run in series:
        try:
            found.append((name, data(run)))
        except Nothing as why:
            missing.append(f"{name}: {why}")
    if not found:
        raise Nothing("; ".join(missing))
    columns = {
        name: np.concatenate([table.columns[name] for _, table in found]) for name in found[0][1].columns
    }
    columns["series"] = np.repeat([name for name, _ in found], [len(table) for _, table in found])
    notes = dict.fromkeys([table.note for _, table in found if table.note] + missing)
    return Table(columns, "; ".join(notes))
