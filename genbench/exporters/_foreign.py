"""What the exporters of other tools' files share: moments of the wall clock, the dialect's figures, distributions."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from genbench.errors import ConfigError
from genbench.metrics.dialects import translate
from genbench.metrics.dialects.rows import given_up, is_embeddings, load_of, numpy_rule
from genbench.metrics.summary import Run
from genbench.records import Bools, Ints, RecordTable
from genbench.stats import Floats
from genbench.types import MISSING

NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Told:
    """A run and what its dialect makes of it: `figures` by (row, statistic), absent ones left out."""

    run: Run
    figures: Mapping[tuple[str, str], float]

    @property
    def table(self) -> RecordTable:
        """The log."""
        return self.run.table

    @property
    def zero_ns(self) -> int:
        """Wall clock of the log's zero; 0 where the header has none."""
        clock = self.run.header.get("clock")
        found = clock.get("zero_unix_ns") if isinstance(clock, Mapping) else None
        return found if isinstance(found, int) else 0

    @property
    def model(self) -> str:
        """The model's name; '' where the header has none."""
        return str(self.run.header.get("model") or self._target().get("model") or "")

    @property
    def url(self) -> str:
        """The first server's address; '' where the header has none."""
        found = self._target().get("url")
        return str((found[0] if found else "") if isinstance(found, list) else found or "")

    @property
    def kind(self) -> str:
        """The endpoint kind; chat where the header has none."""
        return str(self.run.header.get("endpoint_type") or "chat")

    @property
    def load(self) -> Mapping[str, Any]:
        """The load that was asked for."""
        return load_of(self.run)

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What the user said of the run, by key."""
        found = self.run.header.get("metadata")
        return found if isinstance(found, Mapping) else {}

    @property
    def embeddings(self) -> bool:
        """Whether the run asked for embeddings."""
        return is_embeddings(self.run)

    @property
    def rows(self) -> list[int]:
        """The measured rows that were not cancelled by us."""
        return [int(i) for i in np.flatnonzero(self.table.measured & ~given_up(self.table))]

    def wall_ns(self, ns: int) -> int:
        """A moment of the log by the wall clock; -1 stays."""
        return ns + self.zero_ns if ns >= 0 else MISSING

    def began(self, form: str) -> str:
        """The first start as UTC; '' where nothing started."""
        starts = self.table.start_ns[self.table.measured & (self.table.start_ns >= 0)]
        return time.strftime(form, time.gmtime(self.wall_ns(int(starts.min())) / NS)) if starts.size else ""

    def one(self, name: str, stat: str = "") -> float | None:
        """A figure of the dialect; None where it has none."""
        return self.figures.get((name, stat))

    def problem(self, row: int) -> str:
        """What went wrong with a request, with its outcome in front; never empty."""
        error, outcome = self.table.error[row], self.table.outcome[row]
        return f"{outcome}: {error}" if error else outcome

    def _target(self) -> Mapping[str, Any]:
        config = self.run.header.get("config")
        target = config.get("target") if isinstance(config, Mapping) else None
        return target if isinstance(target, Mapping) else {}


def told(name: str, run: Run) -> Told:
    """A run in the words of a tool. Raises ConfigError for a log without a request."""
    if not len(run.table):
        raise ConfigError(f"{run.folder or 'the run'} has no request, so there is nothing to export")
    rows = translate(name, run).rows
    figures = {(row.name, one.stat): one.theirs for row in rows for one in row.figures}
    return Told(run, {key: value for key, value in figures.items() if isinstance(value, int | float)})


def dump(path: Path, value: Any) -> Path:
    """Write a document as JSON; NaN becomes null."""
    path.write_bytes(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    return path


def by_row(among: Bools, values: Floats | Ints) -> Floats:
    """The values of the rows of `among`, NaN elsewhere, float64[n]."""
    return np.where(among, values, np.nan).astype(np.float64)


def spread(values: Floats, unit: str, percents: tuple[int, ...]) -> dict[str, Any]:
    """NVIDIA's statistics of the values that are there: numpy's, with the deviation of the population."""
    found = values[np.isfinite(values)]
    if not found.size:
        return {}
    stats = {f"p{p}": numpy_rule(found, None, f"p{p}") for p in percents}
    ends = {name: numpy_rule(found, None, name) for name in ("min", "max", "std")}
    return {"unit": unit, "avg": numpy_rule(found, None, "mean"), **stats, **ends}
