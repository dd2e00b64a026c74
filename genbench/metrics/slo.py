"""Promises: read from text, held against a run, and against each request.

Rules
- `ttft.p95<500ms` names a statistic of a per-request metric, `error_rate<1%` a figure of the whole run.
- For attainment and goodput the bound of a per-request promise applies to each request's own value, whatever the
  statistic. Pooled metrics (icl, itl) have no value per request and take no part in it.
- A failure is a miss; a request that lacks the metric misses it, but for tpot with fewer than two tokens; one that was
  due and never sent is a miss. Cancelled by us and `no_output` are in no denominator.
- A number the run does not have is a promise missed.
"""

import difflib
import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from genbench.errors import ConfigError
from genbench.metrics.definitions import METRICS, MetricDef, Values, by_key, osl_streamed
from genbench.records import Bools, RecordTable
from genbench.stats import STATISTICS, Floats
from genbench.types import Distribution, Outcome, RunValue, Slo, SloResult

OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
_UNITS: dict[str, dict[str, float]] = {
    "ms": {"ms": 1.0, "s": 1e3, "us": 1e-3},
    "s": {"s": 1.0, "ms": 1e-3, "us": 1e-6, "m": 60.0},
    "%": {"%": 1.0},
    "req/s": {"req/s": 1.0},
    "token/s": {"token/s": 1.0, "tokens/s": 1.0, "tok/s": 1.0},
    "input/s": {"input/s": 1.0, "inputs/s": 1.0},
    "token": {"token": 1.0, "tokens": 1.0},
    "requests": {"requests": 1.0},
}
_RULE = re.compile(r"\s*(?P<name>[^<>=\s]+)\s*(?P<op><=|>=|<|>)\s*(?P<bound>[-+\d.eE]+)\s*(?P<unit>[^\s\d]\S*)?\s*")
_EXAMPLE = "write it like ttft.p95<500ms or error_rate<1%"


def parse(text: str) -> Slo:
    """The promise that `text` means, its bound in the metric's own unit.

    Raises ConfigError for an unknown metric, statistic or operator and for a unit that the metric is not measured in.
    """
    found = _RULE.fullmatch(text)
    if found is None:
        raise ConfigError(f"cannot read the SLO '{text}'; {_EXAMPLE}, with one of < <= > >=")
    metric, _, stat = found["name"].partition(".")
    known = by_key()
    if metric not in known:
        raise ConfigError(f"unknown metric '{metric}' in the SLO '{text}'; use one of {_closest_first(metric, known)}")
    row = known[metric]
    if isinstance(row, MetricDef):
        if stat not in STATISTICS:
            said = f"'{metric}.{stat}' in the SLO '{text}' is unknown" if stat else f"'{text}' names no statistic"
            raise ConfigError(f"{said}; use {metric}. and one of {_closest_first(stat, STATISTICS)}")
    elif stat:
        raise ConfigError(f"'{metric}' in the SLO '{text}' is one figure of the run; leave out .{stat}")
    try:
        bound = float(found["bound"])
    except ValueError as error:
        raise ConfigError(f"'{found['bound']}' in the SLO '{text}' is not a number; {_EXAMPLE}") from error
    units = _UNITS[row.unit]
    unit = found["unit"] or row.unit
    if unit not in units:
        raise ConfigError(f"{metric} in the SLO '{text}' is not measured in '{unit}'; use {', '.join(units)}")
    if not math.isfinite(bound):
        raise ConfigError(f"the bound of the SLO '{text}' is not finite; {_EXAMPLE}")
    return Slo(metric, stat, found["op"], bound * units[unit], text.strip())


def _closest_first(word: str, known: Sequence[str] | Mapping[str, object]) -> str:
    close = difflib.get_close_matches(word, known, n=3)
    return ", ".join([*close, *(name for name in known if name not in close)])


def per_request(slos: Sequence[Slo]) -> list[Slo]:
    """The promises that each request can be held against: those of metrics with one value per request."""
    single = {row.key for row in METRICS if not row.pooled}
    return [slo for slo in slos if slo.metric in single]


def due(table: RecordTable) -> Bools:
    """Rows in the denominator of attainment: measured, not cancelled by us, not without visible output."""
    apart = (Outcome.CANCELLED, Outcome.NO_OUTPUT)
    return table.measured & np.fromiter((o not in apart for o in table.outcome), dtype=np.bool_, count=len(table))


def met(table: RecordTable, slo: Slo, values: Values) -> Bools:
    """Rows that keep one per-request promise, bool[n]; only `ok` rows can."""
    own: Floats = np.full(len(table), np.nan)
    own[values.rows] = values.values
    kept = np.asarray(OPERATORS[slo.op](own, slo.bound))  # type: ignore[arg-type]  # element by element; NaN keeps nothing
    if slo.metric == "tpot":
        length = osl_streamed(table)
        kept = kept | ((length >= 0) & (length < 2))
    return kept & table.ok


def check(
    slos: Sequence[Slo],
    metrics: Mapping[str, Distribution],
    run: Mapping[str, RunValue],
    attainment_pct: Mapping[Slo, float],
) -> tuple[SloResult, ...]:
    """Each promise held against the run's own numbers; `attainment_pct` as far as there is one."""
    results = []
    for slo in slos:
        value: float | None = None
        if slo.metric in metrics:
            value = metrics[slo.metric].stats.get(slo.stat)
        elif slo.metric in run:
            value = run[slo.metric].value
        passed = value is not None and OPERATORS[slo.op](value, slo.bound)
        results.append(SloResult(slo, value, passed, attainment_pct.get(slo)))
    return tuple(results)
