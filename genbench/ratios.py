"""Ratios of two sides with 95 % intervals and p-values: arrays in, numbers out. Everything is about the log of B / A.

Rules
- Series whose values depend on their neighbours are compared by drawing blocks of them with replacement. The spread of
  the replicates is the standard error, the interval is that of t: the percentiles of so few blocks are too narrow.
- The interval and the p-value are one statement: p < 0.05 exactly where the interval leaves 1 out.
- A and B are treated alike: exchanged, the ratio and its ends become their reciprocals and p stays as it is.
- What is not above zero has no ratio: that is for the caller to see.
- Replicates without any spread have no t. p is then the smallest that so many blocks could give by the signs of their
  differences (paired), or by which of them belong to which side; of repeats and rounds it is 0, for the caller to see.

Sources: blocks: Kuensch 1989, The jackknife and the bootstrap for general stationary observations. k / (k - 1) and t:
Hesterberg 2015, What teachers should know about the bootstrap, section 5. What a block pulls, from the replicates:
Efron 2014, Estimation and accuracy after model selection, theorem 1. Degrees of freedom of two sides: Satterthwaite
1946, Welch 1947. Several tests at once: Holm 1979. Two counts: Fisher's exact test, the two-sided p as the sum over all
tables that are no likelier than the one seen (as in R).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln, stdtr, stdtrit

from genbench.stats import Floats

TAIL = 0.025
LAGS = 2
TINY = 1e-12  # of a log ratio or its error: rounding
ALIKE = 1e-7  # two tables whose probabilities differ by less, relatively, are equally likely


@dataclass(frozen=True, slots=True)
class Ratio:
    """A ratio, the ends of its 95 % interval, and the p-value of "the true ratio is 1"."""

    value: float
    low: float
    high: float
    p: float


def paired_replicates(log_ratio: float, logs_a: Floats, logs_b: Floats, draws: Floats) -> Ratio:
    """The ratio of two figures from the logs of their replicates, float64[r], that took the same blocks `draws[r, k]`.

    Two replicates of one number are alike but for their blocks, so what both sides share cancels.
    """
    blocks = draws.shape[1]
    return _by_t(log_ratio, math.sqrt(variance(logs_b - logs_a, draws)), blocks - 1, 2 / 2**blocks)


def free_replicates(log_ratio: float, logs_a: Floats, logs_b: Floats, draws_a: Floats, draws_b: Floats) -> Ratio:
    """The ratio of two figures from the logs of their replicates, where each side has blocks of its own."""
    parts = variance(logs_a, draws_a), variance(logs_b, draws_b)
    blocks = draws_a.shape[1], draws_b.shape[1]
    df = _satterthwaite(parts, (blocks[0] - 1, blocks[1] - 1))
    return _by_t(log_ratio, math.sqrt(sum(parts)), df, 2 / math.comb(sum(blocks), blocks[0]))


def variance(logs: Floats, draws: Floats) -> float:
    """The variance of a figure from the logs of its replicates and how often each took each block.

    That of the replicates, times k / (k - 1), times what neighbouring blocks share (`inflation` of their pulls).
    """
    away, blocks = logs - logs.mean(), draws.shape[1]
    pulls = (draws - 1).T @ away / away.size
    spread: float = float(away.var()) * blocks / (blocks - 1)
    return spread * inflation(pulls)


def inflation(pulls: Floats) -> float:
    """How much the variance of a sum of such a series exceeds that of as many independent values; at least 1.

    1 + 2 * (sum of the autocorrelations of the first lags), each raised by 1/k, its bias where there is none; the sum
    ends at the first that is not positive.
    """
    away = pulls - pulls.mean()
    power = float(np.dot(away, away))
    total = 1.0
    for lag in range(1, LAGS + 1):
        rho = float(np.dot(away[:-lag], away[lag:])) / power + 1 / away.size if power > 0 else 0.0
        if rho <= 0:
            break
        total += 2 * rho
    return total


def _satterthwaite(variances: tuple[float, float], dfs: tuple[float, float]) -> float:
    total = sum(variances)
    if total <= 0:
        return float(sum(dfs))
    return 1 / sum((v / total) ** 2 / df for v, df in zip(variances, dfs, strict=True))


def _by_t(log_ratio: float, error: float, df: float, least: float = 0.0) -> Ratio:
    """`least`: p where the figures differ and nothing varies."""
    arm = float(-stdtrit(df, TAIL)) * error
    still = least if abs(log_ratio) > TINY else 1.0
    p = 2 * float(stdtr(df, -abs(log_ratio) / error)) if error > TINY else still
    return Ratio(math.exp(log_ratio), math.exp(log_ratio - arm), math.exp(log_ratio + arm), p)


# -- repeats -----------------------------------------------------------------------------------------------------------


def welch(logs_a: Sequence[float], logs_b: Sequence[float]) -> Ratio:
    """The ratio of two geometric means, by Welch's t test on at least two logs of each side."""
    sides = [np.asarray(logs, dtype=np.float64) for logs in (logs_a, logs_b)]
    log_ratio = float(sides[1].mean() - sides[0].mean())
    errors = tuple(float(one.var(ddof=1)) / one.size for one in sides)
    df = _satterthwaite((errors[0], errors[1]), (sides[0].size - 1, sides[1].size - 1))
    return _by_t(log_ratio, math.sqrt(sum(errors)), df)


def paired_t(log_ratios: Sequence[float]) -> Ratio:
    """The geometric mean of at least two ratios, by the t test on their logs."""
    logs = np.asarray(log_ratios, dtype=np.float64)
    return _by_t(float(logs.mean()), math.sqrt(float(logs.var(ddof=1)) / logs.size), logs.size - 1)


# -- counts, and several tests at once ---------------------------------------------------------------------------------


def fisher(yes_a: int, no_a: int, yes_b: int, no_b: int) -> float:
    """The two-sided p-value of "both sides have the same chance of a yes"; 1 where a side has nothing."""
    of_a, of_b, yes = yes_a + no_a, yes_b + no_b, yes_a + yes_b
    if not of_a or not of_b:
        return 1.0
    possible = np.arange(max(0, yes - of_b), min(yes, of_a) + 1)
    logs = _log_choose(of_a, possible) + _log_choose(of_b, yes - possible)
    chances = np.exp(logs - logs.max())
    seen = chances[yes_a - possible[0]]
    return min(1.0, float(chances[chances <= seen * (1 + ALIKE)].sum() / chances.sum()))


def _log_choose(n: int, k: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> Floats:
    return np.asarray(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1), dtype=np.float64)


def holm(ps: Sequence[float]) -> list[float]:
    """Each p-value such that all those below 0.05 may be believed at once, with a chance of 5 % of any error."""
    found = [1.0] * len(ps)
    highest = 0.0
    for place, i in enumerate(sorted(range(len(ps)), key=lambda i: ps[i])):
        highest = max(highest, min(1.0, (len(ps) - place) * ps[i]))
        found[i] = highest
    return found
