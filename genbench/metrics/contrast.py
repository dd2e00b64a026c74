"""Rows of a comparison: B against A, metric by metric, with the interval of the ratio, a p-value and a verdict.

Rules
- One run against one run says whether these runs differ: blocks of requests, drawn with replacement. The same blocks
  on both sides (paired) where both runs had the same plan. Repeats and rounds say whether the engines differ.
- A row is tested where its interval was shown to be honest (docs/compare-statistics.md): not a percentile with fewer
  than `BEYOND` values beyond it, not a throughput that the load set. Such a row keeps its interval and p, and is called
  "not tested". Holm's rule is over the tested rows; one whose p could never be low (no failure at all) takes no part.
- A difference is called one where p after Holm is below 0.05 and it is at least `min_effect`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from genbench import ratios, stats
from genbench.metrics import resampled
from genbench.metrics.definitions import by_key
from genbench.metrics.resampled import NO_RATIO, Resampled, pooled
from genbench.metrics.subject import Subject
from genbench.ratios import Ratio

ROWS: tuple[tuple[str, str], ...] = (
    ("ttft", "p50"),
    ("ttft", "p95"),
    ("ttft", "p99"),
    ("tpot", "p50"),
    ("itl", "mean"),
    ("itl", "p50"),
    ("itl", "p99"),
    ("request_latency", "mean"),
    ("request_latency", "p50"),
    ("request_latency", "p99"),
    ("output_token_throughput", "value"),
    ("request_throughput", "value"),
    ("embedding_throughput", "value"),
    ("goodput", "value"),
    ("error_rate", "value"),
)
ERRORS = "error_rate"
WORDS = {ERRORS: ("better", "worse"), "goodput": ("better", "worse")}
BELIEVED = 0.05
JOINED = (12, 8)  # numbers of blocks; more of them were too short to be independent
LATENCIES = 2.0  # a block lasts at least so many request latencies
FEWEST = 8
BEYOND = 50  # values beyond a percentile that is tested
SAME, NOT_COMPARABLE, UNTESTED = "no difference seen", "not comparable", "not tested"
FEW = resampled.FEW
SHORT = "too few requests"
OFFERED = "the load set it"
STILL = "no spread between the runs, so nothing says how much is chance"
ALIKE = 1e-9  # relative; what differs by less does so by rounding


@dataclass(frozen=True, slots=True)
class Row:
    """One metric of two sides. `ratio` is b / a, `p` its own p-value, `p_holm` that among all tested rows.

    `p_holm` is None for a row that is not tested, and `why` says why: its `verdict` is "not tested" where both sides
    have the figure, "not comparable" where there is nothing to test. `ratio` and `ci95` are None for the error rate,
    whose values are in percent.
    """

    metric: str
    stat: str
    label: str
    unit: str
    better: str
    a: float | None
    b: float | None
    ratio: float | None
    ci95: tuple[float | None, float | None] | None
    p: float | None
    p_holm: float | None
    verdict: str
    why: str
    method: str


Sides = tuple[Sequence[Subject], Sequence[Subject]]
Compare = Callable[[str, str], Ratio | str]  # the ratio of a row, or why there is none


@dataclass(frozen=True, slots=True)
class Method:
    """A way to compare: its name, the ratio of a row, the p-value of the error rate, and what a percentile needs.

    `beyond`: so many values beyond a percentile that is tested. `each`: what a percentile of too few samples wants of
    runs that are taken one by one, {stat} of {needed} samples; "" where a side is one run.
    """

    name: str
    compare: Compare
    errors: Callable[[], float]
    beyond: int = 0
    each: str = ""


# -- one run against one run -------------------------------------------------------------------------------------------


def runs(
    a: Subject, b: Subject, *, min_effect: float, barred: Mapping[str, str] | None = None, seed: int = 0
) -> list[Row]:
    """One run against one run. `barred` says of a metric, or of "*", why it cannot be compared."""
    counts = _joined(a), _joined(b)
    paired = bool(a.plan) and a.plan == b.plan and a.blocks == b.blocks
    if paired:
        counts = (min(counts), min(counts))
    name = "block bootstrap, paired" if paired else "block bootstrap"
    method = Method(name, _by_blocks((a, b), counts, paired, seed), lambda: _fisher([a], [b]), BEYOND)
    return _rows(([a], [b]), method, min_effect, barred or {})


def _joined(one: Subject) -> int:
    """Into how many blocks a run is cut: each lasts some request latencies. 0 where there are too few."""
    latency = one.stats.get("request_latency", {}).get("p50", 0.0) / 1e3
    seconds = one.stats.get("duration", {}).get("value", 0.0)
    fit = (k for k in JOINED if one.blocks and one.blocks % k == 0 and seconds >= k * LATENCIES * latency)
    return next(fit, 0)


def _by_blocks(pair: tuple[Subject, Subject], counts: tuple[int, int], paired: bool, seed: int) -> Compare:
    """Ratios of rows by drawn blocks."""
    if min(counts) < FEWEST:
        return lambda metric, stat: SHORT
    a, b = (Resampled(one, count, seed) for one, count in zip(pair, counts, strict=True))

    def compare(metric: str, stat: str) -> Ratio | str:
        of_a, of_b = a.logs(metric, stat), b.logs(metric, stat)
        if isinstance(of_a, str) or isinstance(of_b, str):
            return of_a if isinstance(of_a, str) else str(of_b)
        (at_a, logs_a), (at_b, logs_b) = of_a, of_b
        if paired:
            return ratios.paired_replicates(at_b - at_a, logs_a, logs_b, a.draws)
        return ratios.free_replicates(at_b - at_a, logs_a, logs_b, a.draws, b.draws)

    return compare


def _fisher(a: Sequence[Subject], b: Sequence[Subject]) -> float:
    """Failed or not, over all runs of each side."""
    (bad_a, good_a), (bad_b, good_b) = (
        (sum(one.counts["failed"] for one in side), sum(one.counts["ok"] for one in side)) for side in (a, b)
    )
    return ratios.fisher(bad_a, good_a, bad_b, good_b)


# -- repeats and rounds ------------------------------------------------------------------------------------------------


def repeats(
    a: Sequence[Subject],
    b: Sequence[Subject],
    *,
    min_effect: float,
    barred: Mapping[str, str] | None = None,
    seed: int = 0,
) -> list[Row]:
    """Several runs of each side, by Welch's t test on the logs of each run's figure.

    A side of one run is compared with that run of the other that is the median in request latency, as `runs` does.
    Raises ValueError for a side of none.
    """
    if not a or not b:
        raise ValueError("a side without a run cannot be compared")
    if len(a) < 2 or len(b) < 2:
        rows = runs(_median(a), _median(b), min_effect=min_effect, barred=barred, seed=seed)
        return [replace(row, method=f"{row.method}, the median run of the repeats") for row in rows]

    def compare(metric: str, stat: str) -> Ratio | str:
        of_a, of_b = _each(a, metric, stat), _each(b, metric, stat)
        return _spread(ratios.welch(of_a, of_b)) if of_a and of_b else NO_RATIO

    def errors() -> float:
        return max(_fisher(a, b), ratios.welch(_angles(a), _angles(b)).p)

    method = Method("Welch's t over repeats", compare, errors, each="{stat} wants {needed} in every run")
    return _rows((a, b), method, min_effect, barred or {})


def _spread(found: Ratio) -> Ratio | str:
    """The ratio of several runs, or why it says nothing: without a spread any difference at all has a p of zero."""
    still = found.high - found.low <= ALIKE * found.value
    return STILL if still and abs(found.value - 1) > ALIKE else found


def _median(side: Sequence[Subject]) -> Subject:
    ordered = sorted(side, key=lambda one: one.stats.get("request_latency", {}).get("p50", math.inf))
    return ordered[(len(ordered) - 1) // 2]


def _angles(side: Sequence[Subject]) -> list[float]:
    """Each run's share of failures, on the scale where its variance does not depend on it."""
    return [math.asin(math.sqrt(one.counts["failed"] / max(sum(one.counts.values()), 1))) for one in side]


def _each(side: Sequence[Subject], metric: str, stat: str) -> list[float]:
    """The logs of each run's figure; empty where one of them has none."""
    found = [one.stats[metric][stat] for one in side]
    return [math.log(value) for value in found] if min(found) > 0 else []


def rounds(
    a: Sequence[Subject],
    b: Sequence[Subject],
    *,
    min_effect: float,
    barred: Mapping[str, str] | None = None,
    seed: int = 0,
) -> list[Row]:
    """Runs in rounds, a[i] and b[i] one after the other: from 8 rounds on they are the blocks, fewer: a paired t test.

    Raises ValueError for fewer than two rounds, or sides of different numbers.
    """
    if len(a) != len(b) or len(a) < 2:
        raise ValueError(f"rounds need two runs each and two of them at least: {len(a)} and {len(b)}")

    def errors() -> float:
        return max(_fisher(a, b), ratios.paired_t([y - x for x, y in zip(_angles(a), _angles(b), strict=True)]).p)

    if len(a) >= FEWEST:
        whole = pooled(a), pooled(b)
        method = Method("bootstrap of rounds, paired", _by_blocks(whole, (len(a), len(b)), True, seed), errors)
        return _rows(([whole[0]], [whole[1]]), method, min_effect, barred or {})

    def each(metric: str, stat: str) -> Ratio | str:
        of_a, of_b = _each(a, metric, stat), _each(b, metric, stat)
        if not of_a or not of_b:
            return NO_RATIO
        return _spread(ratios.paired_t([y - x for x, y in zip(of_a, of_b, strict=True)]))

    wants = f"{{stat}} wants {{needed}} in every block, or {FEWEST} rounds with {{needed}} in all"
    return _rows((a, b), Method("paired t over rounds", each, errors, each=wants), min_effect, barred or {})


# -- rows --------------------------------------------------------------------------------------------------------------


def _rows(sides: Sides, method: Method, min_effect: float, barred: Mapping[str, str]) -> list[Row]:
    """Every row that either side has, with Holm's rule over those that are tested."""
    found = [
        _row(sides, metric, stat, method, barred)
        for metric, stat in ROWS
        if any(_value(side, metric, stat) is not None for side in sides)
    ]
    tested = [i for i, (_, takes_part) in enumerate(found) if takes_part]
    corrected = dict(zip(tested, ratios.holm([found[i][0].p or 0.0 for i in tested]), strict=True))
    return [_judged(row, corrected.get(i), min_effect) for i, (row, _) in enumerate(found)]


def _row(sides: Sides, metric: str, stat: str, method: Method, barred: Mapping[str, str]) -> tuple[Row, bool]:
    """One row without a verdict yet, and whether it is tested."""
    known = by_key()[metric]
    label = known.label if stat == "value" else f"{known.label} {stat}"
    a, b = (_value(side, metric, stat) for side in sides)
    row = Row(metric, stat, label, known.unit, known.better, a, b, None, None, None, None, NOT_COMPARABLE, "", "")
    why = barred.get(metric) or barred.get("*") or ""
    if why or a is None or b is None:
        lacking = sides[0][0].name if a is None else sides[1][0].name
        return replace(row, why=why or f"{lacking} does not have it"), False
    if metric == ERRORS:
        return replace(row, p=method.errors(), method="Fisher's exact test"), a > 0 or b > 0
    ratio = method.compare(metric, stat)
    row = replace(row, ratio=b / a if a > 0 and b > 0 else None)
    if isinstance(ratio, str):
        return replace(row, why=ratio, verdict=UNTESTED if ratio == STILL else NOT_COMPARABLE), False
    short = [_short(one, metric, stat, method.beyond) for side in sides for one in side]
    if FEW in short:
        wants = method.each.format(stat=stat, needed=stats.samples_needed(stats.PERCENTILES[stat]))
        return replace(row, why=f"{FEW}: {wants}" if wants else FEW), False
    row = replace(row, ratio=ratio.value, ci95=(ratio.low, ratio.high), p=ratio.p, method=method.name)
    why = next((one for one in short if one), "") or _offered(sides, metric)
    return replace(row, why=why, verdict=UNTESTED if why else NOT_COMPARABLE), not why


def _offered(sides: Sides, metric: str) -> str:
    """That the load set a throughput, on one side at least; "" where it did not."""
    kept_up = sum(all(metric in one.flows and one.flows[metric].offered for one in side) for side in sides)
    return f"{OFFERED}: {'both' if kept_up > 1 else 'one side'} kept up with the arrivals" if kept_up else ""


def _value(side: Sequence[Subject], metric: str, stat: str) -> float | None:
    """The figure of one run, or the geometric mean over several; None where one lacks it."""
    found = [one.stats.get(metric, {}).get(stat) for one in side]
    known = [value for value in found if value is not None]
    if len(known) < len(found):
        return None
    if len(known) == 1:
        return known[0]
    if metric == ERRORS or min(known) <= 0:
        return float(np.mean(known))
    return math.exp(float(np.mean(np.log(known))))


def _short(one: Subject, metric: str, stat: str, needed: int) -> str:
    """Why a percentile is not tested: too few samples behind it, or beyond it."""
    part = one.parts.get(metric)
    if part is None or stat not in stats.PERCENTILES:
        return ""
    count = part.values.size if part.weights is None else round(float(part.weights.sum()))
    if stat in stats.few(count):
        return FEW
    beyond = count * (1 - stats.PERCENTILES[stat] / 100)
    return f"{FEW} to test it: {needed} beyond the {stat} are needed" if beyond < needed - 0.5 else ""


def _judged(row: Row, p_holm: float | None, min_effect: float) -> Row:
    if row.metric == ERRORS and row.p is not None:
        p_holm = 1.0 if p_holm is None else p_holm
    if p_holm is None:
        return row
    assert row.a is not None
    assert row.b is not None
    large = row.ratio is None or abs(row.ratio - 1) >= min_effect
    if p_holm >= BELIEVED or not large or row.a == row.b:
        return replace(row, p_holm=p_holm, verdict=SAME)
    good, bad = WORDS.get(row.metric, ("faster", "slower"))
    return replace(row, p_holm=p_holm, verdict=good if (row.b < row.a) == (row.better == "low") else bad)
