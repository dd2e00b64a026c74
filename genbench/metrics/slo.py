"""Promises: read from text, held against a run, and against each request.

Rules
- `ttft.p95<500ms` names a statistic of a per-request metric, `error_rate<1%` a figure of the whole run.
- For attainment and goodput the bound of a per-request promise applies to each request's own value, whatever the
  statistic. Pooled metrics (icl, itl) have no value per request and take no part in it.
- A failure is a miss; a request that lacks the metric misses it, but for tpot with fewer than two tokens; one that was
  due and never sent is a miss. Cancelled by us and `no_output` are in no denominator.
- A number the run does not have is a promise missed.
- `Share` is the same promise as a share of requests, which can be tested while a run goes on: `ttft.p95<500ms` is kept
  where at least 95 % of the requests due have a TTFT below 500 ms, failures being misses.
- A set is a profile `slo-NAME` with `slo:` lines; its name stands for them.
"""

import difflib
import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from genbench import config
from genbench.errors import ConfigError
from genbench.metrics.definitions import METRICS, MetricDef, Values, by_key, osl_streamed
from genbench.records import Bools, RecordTable
from genbench.stats import PERCENTILES, STATISTICS, Floats
from genbench.types import NOT_FAILED, Distribution, Outcome, RunValue, Slo, SloResult

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
_SET = "slo-"
ATTAINMENT = "95%"
_SOME_TURNS = ("ttft_first_turn", "ttft_later_turns")  # not every request can have one
_OTHERS_METRICS = {"e2el": "request_latency"}


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


@dataclass(frozen=True, slots=True)
class Share:
    """A promise as a share: at least `share` (0 to 1) of the requests due keep all `rules`; no rule: did not fail."""

    slo: Slo
    rules: tuple[Slo, ...]
    share: float


def shares(slos: Sequence[Slo]) -> tuple[Share, ...]:
    """Those promises that are a share of requests.

    Percentiles of per-request metrics, `error_rate<`, `slo_attainment>`; not means, maxima, pooled metrics and rates.
    """
    return tuple(found for found in (_share(slo, slos) for slo in slos) if found is not None)


def _share(slo: Slo, slos: Sequence[Slo]) -> Share | None:
    below = slo.op in ("<", "<=")
    each = per_request(slos)
    if slo in each and slo.stat in PERCENTILES and slo.metric not in _SOME_TURNS:
        q = PERCENTILES[slo.stat] / 100
        return Share(slo, (slo,), q if below else 1 - q)
    if slo.metric == "error_rate" and below:
        rules, share = [], 1 - slo.bound / 100
    elif slo.metric == "slo_attainment" and not below:
        rules, share = each, slo.bound / 100
    else:
        return None
    return Share(slo, tuple(rules), share) if 0 < share < 1 else None


def kept(table: RecordTable, share: Share, values: Mapping[str, Values]) -> Bools:
    """Rows that are good in the sense of a `Share`, bool[n]; `values` has the metrics of its rules."""
    good = table.ok if share.rules else _not_failed(table)
    for rule in share.rules:
        good = good & met(table, rule, values[rule.metric])
    return good


def _not_failed(table: RecordTable) -> Bools:
    return table.measured & np.fromiter((o in NOT_FAILED for o in table.outcome), dtype=np.bool_, count=len(table))


def promised(given: config.Given) -> config.Given:
    """The options with every promise written out as a rule of --slo: sets by their names, and --goodput.

    Raises ConfigError for what is no promise, and where --slo and --goodput both speak of single requests.
    """
    asked = given.config
    texts = expand(asked.slo)
    for text in texts:
        parse(text)
    if asked.goodput is not None:
        single = per_request([parse(text) for text in texts])
        if single:
            raise ConfigError(f"--goodput and --slo {single[0].text} both say what a request has to keep; give one")
        texts = (*goodput(asked.goodput, percent("--attainment", asked.attainment or ATTAINMENT)), *texts)
    elif asked.attainment is not None:
        raise ConfigError(f"--attainment {asked.attainment} is the share for --goodput; give that, or a percentile")
    if texts == asked.slo:
        return given
    plain = config.changed(given, {"slo": texts, "goodput": None, "attainment": None})
    return config.Given(plain.config, plain.named - {"goodput", "attainment"})


def percent(flag: str, text: str) -> float:
    """A share above 0 % and below 100 %, like 5% or 5. Raises ConfigError, for a bare 0.05 as well."""
    try:
        value = float(text.strip().removesuffix("%"))
    except ValueError:
        value = 0.0
    if 0 < value < 1 and not text.strip().endswith("%"):
        raise ConfigError(f"{flag} {text}: is that {100 * value:g}% or {value:g}%? Write the sign")
    if not 0 < value < 100:
        raise ConfigError(f"{flag} {text}: must be a share above 0 % and below 100 %, like 5%")
    return value


def goodput(text: str, attainment_pct: float) -> tuple[str, ...]:
    """The promises of a goodput rule, like 'ttft:500 tpot:50' (ms, or token/s): a request is good that keeps them all.

    They are the percentiles that follow from it, and the share itself as `slo_attainment`, for an attainment above 0 %
    and below 100 %. Raises ConfigError.
    """
    below = [name for name, percent in PERCENTILES.items() if percent <= attainment_pct]
    above = [name for name, percent in PERCENTILES.items() if percent >= 100 - attainment_pct]
    single = {row.key: row for row in METRICS if not row.pooled}
    found = []
    for item in text.replace(",", " ").split():
        name, _, bound = item.partition(":")
        key = _OTHERS_METRICS.get(name, name)
        if key not in single:
            raise ConfigError(f"--goodput {text}: unknown metric '{name}'; use one of {_closest_first(key, single)}")
        try:
            value = float(bound)
        except ValueError:
            value = 0.0
        if not 0 < value < math.inf:
            raise ConfigError(f"--goodput {text}: '{item}' has no bound above 0; write it like ttft:500 tpot:50")
        high = single[key].better == "high"
        stat = (above[0] if above else "p99") if high else (below[-1] if below else "p1")
        found.append(f"{key}.{stat}{'>=' if high else '<='}{value:g}{single[key].unit}")
    if not found:
        raise ConfigError("--goodput is empty; write it like 'ttft:500 tpot:50'")
    return (*found, f"slo_attainment>={attainment_pct:g}%")


def set_names() -> list[str]:
    """The sets of promises that come with genbench, without `slo-`."""
    return [name.removeprefix(_SET) for name in config.profile_names() if name.startswith(_SET)]


def expand(texts: Sequence[str]) -> tuple[str, ...]:
    """The rules of these texts: a name of a set becomes its rules. Raises ConfigError for a name that is none."""
    found: list[str] = []
    for text in texts:
        name = text.strip().removeprefix(_SET)
        if any(sign in text for sign in "<>="):
            found.append(text)
        elif name in set_names():
            found += config.load({}, (_SET + name,)).config.slo
        else:
            raise ConfigError(
                f"--slo {text} is neither a rule nor a set; {_EXAMPLE}, or use {_closest_first(name, set_names())}"
            )
    return tuple(dict.fromkeys(found))


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
