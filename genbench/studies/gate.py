"""Rules that fail a job: `ttft.p99 worse 5%`, held against the rows of a comparison.

Rules
- A rule is broken where the value is worse by the bound or more and the difference is significant: p below 0.05 after
  Holm's correction among the rows that rules name, and only those.
- "Worse" is longer for a time, less for a throughput. An error rate is worse by percentage points: 1 % is from 0.5 %
  to 1.5 %.
- A row that the comparison does not test is judged all the same, by its p; the line says so.
- A rule that cannot be judged counts as broken: a job must not pass because its server answered nothing.
"""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from genbench import ratios
from genbench.errors import ConfigError
from genbench.metrics import contrast
from genbench.stats import PERCENTILES, samples_needed
from genbench.studies.compare_words import p_value

SIGNIFICANT = 0.05
EXAMPLE = "write it like 'ttft.p99 worse 5%' or 'error_rate worse 1%'"
POINTS = "error_rate"
_RULE = re.compile(r"\s*(?P<name>[\w.]+)\s+worse\s+(?:by\s+|than\s+)?(?P<bound>\S+?)\s*%\s*")


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: `metric.stat` may not be worse by `bound` percent (an error rate: percentage points) or more."""

    text: str
    metric: str
    stat: str
    bound: float


def parse(text: str) -> Rule:
    """The rule that a text means. Raises ConfigError in one sentence, with the nearest names for an unknown metric."""
    said = f"--fail-if {text!r}"
    match = _RULE.fullmatch(text)
    if match is None:
        raise ConfigError(f"{said} is no rule; {EXAMPLE}")
    try:
        bound = float(match["bound"])
    except ValueError:
        bound = -1.0
    if not 0 <= bound < 1e6:
        raise ConfigError(f"{said}: {match['bound']} is no percentage from 0 on; {EXAMPLE}")
    metric, _, stat = match["name"].partition(".")
    known = names()
    if match["name"] not in known:
        near = [name for name in known if name.partition(".")[0] == metric]
        near = near or difflib.get_close_matches(match["name"], known, 3, 0.4)
        hint = f"; the nearest: {', '.join(near)}" if near else f"; use one of {', '.join(known)}"
        raise ConfigError(f"{said}: {match['name']} is not among the rows of a comparison{hint}")
    return Rule(" ".join(text.split()), metric, stat, bound)


def names() -> list[str]:
    """What a rule can be about: the rows of a comparison."""
    return [f"{metric}.{stat}" if stat and stat != "value" else metric for metric, stat in contrast.ROWS]


def judge(rules: Sequence[Rule], comparisons: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each rule held against each comparison of a document, as `gates` has it."""
    found = [(rule, one, _row(rule, one)) for rule in rules for one in comparisons]
    distinct: dict[tuple[int, str, str], float] = {}
    for _, one, row in found:
        if row is not None and row["p"] is not None:
            distinct[id(one), row["metric"], row["stat"]] = float(row["p"])
    adjusted = dict(zip(distinct, ratios.holm(list(distinct.values())), strict=True))
    gates = []
    for rule, one, row in found:
        p = None if row is None else adjusted.get((id(one), row["metric"], row["stat"]))
        gates.append(_gate(rule, one, row, p, several=len(comparisons) > 1))
    return gates


def _row(rule: Rule, one: Mapping[str, Any]) -> Mapping[str, Any] | None:
    for row in one["rows"]:
        if row["metric"] == rule.metric and (row["stat"] == rule.stat or (not rule.stat and row["stat"] == "value")):
            return dict(row)
    return None


def _gate(
    rule: Rule, one: Mapping[str, Any], row: Mapping[str, Any] | None, p: float | None, *, several: bool
) -> dict[str, Any]:
    where = f"{one['b']}: " if several else ""
    if several and one["load"]:
        where = f"{one['b']} at {one['load']['text']}: "
    gate = {
        "rule": rule.text, "metric": rule.metric, "stat": rule.stat, "b": one["b"], "load": one["load"],
        "bound_pct": rule.bound, "observed_pct": None, "ci95_pct": None, "p": p, "passed": False,
    }  # fmt: skip
    observed, ends = (None, None) if row is None else _worse(row)
    if row is not None and row["why"].startswith(contrast.OFFERED) and observed is not None and observed < rule.bound:
        return gate | {"observed_pct": observed, "passed": True, "text": f"{where}not tested: {row['why']}"}
    if observed is None or p is None:
        why = str((row or {}).get("why") or "neither run has it")
        if why == contrast.FEW and rule.stat in PERCENTILES:
            why += f", {rule.stat} wants {samples_needed(PERCENTILES[rule.stat])} on both sides"
        seen = "" if observed is None else f"{_worded(observed, rule)}, but "
        return gate | {"observed_pct": observed, "text": f"{where}{seen}cannot be judged: {why}"}
    broken = observed >= rule.bound and p < SIGNIFICANT
    text = where + _worded(observed, rule)
    if ends is not None:
        text += f" (95 %: {ends[0]:+.3g} .. {ends[1]:+.3g}{' points' if rule.metric == POINTS else ' %'})"
    text += f", p {p_value(p)}"
    if observed >= rule.bound and not broken:
        text += ": over the bound, but within the noise"
    if row is not None and row["verdict"] == contrast.UNTESTED:
        text += f" (this row has no verdict: {row['why']})"
    return gate | {
        "observed_pct": observed,
        "ci95_pct": None if ends is None else list(ends),
        "passed": not broken,
        "text": text,
    }


def _worse(row: Mapping[str, Any]) -> tuple[float | None, tuple[float, float] | None]:
    """By how much B is worse, in percent or points, with its interval; negative where it is better."""
    sign = -1.0 if row["better"] == "high" else 1.0
    if row["metric"] == POINTS:
        if row["a"] is None or row["b"] is None:
            return None, None
        return float(row["b"]) - float(row["a"]), None
    if row["ratio"] is None:
        return None, None
    observed = sign * 100 * (float(row["ratio"]) - 1)
    ends = [sign * 100 * (float(end) - 1) for end in row["ci95"] or () if end is not None]
    return observed, (min(ends), max(ends)) if len(ends) == 2 else None


def _worded(observed: float, rule: Rule) -> str:
    unit = "percentage points" if rule.metric == POINTS else "%"
    word = "worse" if observed > 0 else "better"
    return "no difference" if observed == 0 else f"{word} by {abs(observed):.3g} {unit}"
