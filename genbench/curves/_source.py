"""What figures of a sweep read: one curve, its levels as columns, and why there is nothing to draw.

A curve is one group of one sweep, a mapping of `analysis["groups"]` (see `genbench.metrics.curve`). Several curves
share a figure: `curves` names each by its sweep and its group, and `tables` makes one table of them with a column
`series`, as the figures of runs do.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import orjson

from genbench.curves import _search
from genbench.errors import RecordError
from genbench.metrics.curve import analyse, level_of
from genbench.metrics.definitions import by_key
from genbench.metrics.levels import REQUESTS, TOKENS, AveragedLevel, value_of, words
from genbench.plots._figure import SEPARATOR, Column, Mark, Nothing, Table, together
from genbench.stats import PERCENTILES, Floats

SWEEP = "sweep.json"
COLUMNS = {"concurrency": "concurrency", "request_rate": "request_rate_rps"}
NAMES = {"in_flight": "concurrency_mean"}
ENDS = ("value", "low", "high")
THROUGHPUT = {  # of a figure: its column and its title
    TOKENS: ("output_tps", "output throughput (token/s)"),
    REQUESTS: ("requests_ps", "request throughput (req/s)"),
}


@dataclass(frozen=True, slots=True)
class Curve:
    """One group of a sweep as its `analysis` has it; `by` is the kind of load."""

    by: str
    found: Mapping[str, Any]

    @property
    def levels(self) -> list[AveragedLevel]:
        """By rising load, those that delivered nothing among them."""
        return list(self.found["levels"])

    @property
    def column(self) -> str:
        """The name of the column of loads."""
        return COLUMNS[self.by]


def read(folder: Path) -> dict[str, Any]:
    """The sweep in a folder, or its capacity search as one. Raises RecordError where there is none that can be read."""
    searched = (folder / _search.NAME).is_file() and not (folder / SWEEP).is_file()
    path = folder / (_search.NAME if searched else SWEEP)
    try:
        found = orjson.loads(path.read_bytes())
    except OSError as error:
        raise RecordError(f"{path}: {(error.strerror or str(error)).lower()}; name the folder of a sweep") from error
    except ValueError as error:
        raise RecordError(f"{path} is not JSON ({error}); run the sweep again with --resume {folder}") from error
    if not isinstance(found, dict):
        raise RecordError(f"{path} does not hold a sweep; name the folder of a sweep")
    return _search.as_sweep(found) if searched else found


def analysis(sweep: Mapping[str, Any]) -> Mapping[str, Any]:
    """The sweep's own analysis, or one of its points where it has none."""
    known = sweep.get("analysis")
    if isinstance(known, Mapping) and known.get("groups"):
        return known
    gpus = sweep.get("gpus")
    return analyse([level_of(point) for point in sweep.get("points") or ()], gpus if isinstance(gpus, int) else None)


def curves(sweeps: Sequence[tuple[str, Mapping[str, Any]]]) -> list[tuple[str, Curve]]:
    """The curves of some sweeps, each by a name of its own: its sweep's, its group's, or both."""
    found = []
    for name, sweep in sweeps:
        said = analysis(sweep)
        for group in said["groups"]:
            parts = [name if len(sweeps) > 1 else "", group["group"] if len(said["groups"]) > 1 else ""]
            found.append((" · ".join(part for part in parts if part), Curve(str(said["by"]), group)))
    return found


def joined(series: Sequence[tuple[str, Curve]], data: Callable[[Curve], Table], *, of_load: bool) -> Table:
    """One table of several curves; `of_load`: the figure has the load on an axis, which two kinds cannot share.

    Raises Nothing where there is nothing to draw.
    """
    if not series:
        raise Nothing("the sweep has no point")
    if of_load and len({curve.by for _, curve in series}) > 1:
        raise Nothing("some of these sweeps are by concurrency and some by request rate: they share no axis")
    return together(cast(Any, series), cast(Any, data))  # it asks nothing of what it hands to `data`


def usable(curve: Curve) -> list[AveragedLevel]:
    """Levels at which requests ended ok; raises Nothing where there is none."""
    found = [level for level in curve.levels if (value_of(level, REQUESTS) or 0.0) > 0]
    if not found:
        raise Nothing("no request of the sweep ended ok")
    return found


def having(curve: Curve, *keys: str) -> list[AveragedLevel]:
    """Usable levels that have these figures; raises Nothing where there is none."""
    found = [level for level in usable(curve) if all(value_of(level, key) is not None for key in keys)]
    if not found:
        lacking = next(key for key in keys if all(value_of(level, key) is None for level in usable(curve)))
        raise Nothing(f"no load has a {label(lacking)}")
    return found


def label(key: str) -> str:
    """A figure's name, in lower letters: that of its metric."""
    row = by_key().get(NAMES.get(key, key).partition(".")[0])
    return row.label.lower() if row is not None else key


def loads(curve: Curve, levels: Sequence[AveragedLevel]) -> dict[str, Column]:
    """The columns that every figure has: the load, and whether its queue grew without bound."""
    return {
        curve.column: np.array([level["value"] for level in levels], dtype=np.float64),
        "saturated": np.array([bool(level["saturated"]) for level in levels]),
    }


def column(levels: Sequence[AveragedLevel], key: str, end: str = "value") -> Floats:
    """A figure's value, or an end of its interval, at each level; NaN where there is none."""
    found = [(level["figures"].get(key) or {}).get(end) for level in levels]
    return np.array([np.nan if value is None else value for value in found], dtype=np.float64)


def ends(levels: Sequence[AveragedLevel], key: str, name: str) -> dict[str, Column]:
    """Value and interval of a figure as columns `name`, `low_name`, `high_name`."""
    return {f"{'' if end == 'value' else f'{end}_'}{name}": column(levels, key, end) for end in ENDS}


def intervals_said(levels: Sequence[AveragedLevel], *keys: str) -> str:
    """What the bars and bands are."""
    kinds = {(level["figures"].get(key) or {}).get("interval") for level in levels for key in keys}
    said = {"ci95": "shaded: 95 % intervals", "range": "shaded: smallest to largest of the repeats"}
    return SEPARATOR.join(text for kind, text in said.items() if kind in kinds)


def hollow_said(levels: Sequence[AveragedLevel]) -> str:
    """What a hollow point is, where there is one."""
    return "hollow: the queue grew without bound" if any(level["saturated"] for level in levels) else ""


def left_out_said(curve: Curve, shown: Sequence[AveragedLevel]) -> str:
    """Loads that are not in the figure, where some delivered nothing or lack the figure."""
    missing = len(curve.levels) - len(shown)
    return f"{missing} {'load has' if missing == 1 else 'loads have'} no such figure" if missing else ""


def answers(curve: Curve) -> tuple[Mark, ...]:
    """What a capacity search found, as a mark."""
    found = curve.found.get("answer")
    if not found:
        return ()
    value = float(found["value"])
    low, high = (value if found[end] is None else float(found[end]) for end in ("low", "high"))
    return (Mark("answer", low, high, words(curve.by, float(f"{value:.3g}")), value),)


def promises(curve: Curve, metric: str) -> tuple[Mark, ...]:
    """The promises on a metric's percentiles or mean, as marks."""
    return tuple(
        Mark(
            "promise", float(one["bound"]), float(one["bound"]), str(one["rule"]), PERCENTILES.get(one["stat"], np.nan)
        )
        for one in curve.found["promises"]
        if one.get("metric") == metric and one.get("bound") is not None
    )
