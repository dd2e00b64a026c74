"""Quantiles, intervals, resampling and step functions: arrays in, numbers out.

Rules
- Percentiles are numpy's default (linear interpolation). A weighted percentile is that of the list in which each value
  stands `weight` times; `np.repeat` is never carried out.
- Intervals are 95 %, two-sided. A bound for which no order statistic exists is None, and no interval is given where
  fewer than `MIN_BLOCKS` blocks could be resampled: an interval from less would look like knowledge.
- Resampling draws from a generator seeded by the caller: the same records give the same interval.

Sources: order statistics: Hahn & Meeker, Statistical Intervals, 5.2. Block length: Carlstein 1986 for an AR(1) series.
"""

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from scipy.special import bdtr

Floats: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]
Ints: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]

PERCENTILES: dict[str, float] = {f"p{q:g}": q for q in (1, 5, 10, 25, 50, 75, 90, 95, 99, 99.9)}
TAIL_PERCENTILES = ("p90", "p95", "p99", "p99.9")
STATISTICS = ("mean", "std", "min", "max", *PERCENTILES)

REPLICATES = 500
MIN_BLOCKS = 8
MAX_BLOCKS = 500  # more blocks cost time and memory and do not sharpen the interval
BINS = 4096
AUTOCORRELATED = 0.2


def percentiles(ordered: Floats, percents: Sequence[float], weights: Floats | None = None) -> Floats:
    """Percentiles of ascending values, by linear interpolation.

    With whole weights the result equals `np.percentile(np.repeat(ordered, weights), percents)` to the last bit. Real
    weights (each at least 1) continue that rule: the value at position t of the long list is a step function, and
    linear interpolation at h = (total - 1) * percent / 100 is its mean over [h, h + 1].
    """
    if weights is None:
        return np.asarray(np.percentile(ordered, percents), dtype=np.float64)
    ends = np.cumsum(weights)
    total = float(ends[-1])
    at = (total - 1) * (np.asarray(percents, dtype=np.float64) / 100)
    if np.all(weights == np.floor(weights)):
        low = np.floor(at)
        a = ordered[np.searchsorted(ends, low, side="right")]
        b = ordered[np.searchsorted(ends, np.minimum(low + 1, total - 1), side="right")]
        return _between(a, b, at - low)
    return np.array([_window_mean(ordered, ends, h) for h in np.maximum(at, 0.0)])


def _between(a: Floats, b: Floats, t: Floats) -> Floats:
    """Linear interpolation with numpy's own rounding: from the nearer end."""
    return np.where(t >= 0.5, b - (b - a) * (1 - t), a + (b - a) * t)


def _window_mean(ordered: Floats, ends: Floats, h: float) -> float:
    """Mean over [h, h + 1] of the step function whose value j holds up to ends[j]."""
    first = int(np.searchsorted(ends, h, side="right"))
    last = min(int(np.searchsorted(ends, h + 1, side="left")), ends.size - 1)
    edges = np.concatenate(([h], ends[first:last], [h + 1]))
    return float(np.dot(np.diff(edges), ordered[first : last + 1]))


def distribution(values: Floats, weights: Floats | None = None, order: Ints | None = None) -> dict[str, float]:
    """Statistics of at least one value: mean, std, min, max and the ten percentiles.

    `weights` count each value so many times; `order` is `np.argsort(values)` where the caller has it already. `std` is
    the sample's (n - 1) and left out where there is only one value.
    """
    if order is None:
        order = np.argsort(values)
    ordered = values[order]
    ordered_weights = None if weights is None else weights[order]
    total = float(values.size if weights is None else weights.sum())
    mean = float(np.average(values, weights=weights))
    stats = {"mean": mean}
    if total > 1:
        squares = np.square(values - mean)
        stats["std"] = math.sqrt(float(squares.sum() if weights is None else np.dot(squares, weights)) / (total - 1))
    stats |= {"min": float(ordered[0]), "max": float(ordered[-1])}
    found = percentiles(ordered, list(PERCENTILES.values()), ordered_weights)
    return stats | {name: float(value) for name, value in zip(PERCENTILES, found, strict=True)}


def samples_needed(percent: float) -> int:
    """Samples that support a high percentile: the 99 % one-sided test with no miss, p99 -> 459."""
    return math.ceil(math.log(0.01) / math.log(percent / 100))


def few(count: int) -> tuple[str, ...]:
    """The high percentiles that have too few samples behind them."""
    return tuple(name for name in TAIL_PERCENTILES if count < samples_needed(PERCENTILES[name]))


def order_statistic_interval(n: int, q: float, level: float = 0.95) -> tuple[int | None, int | None]:
    """Indices (from 0) of the two order statistics that enclose the q-quantile of n independent values.

    Each side misses with a probability of at most (1 - level) / 2; None where no such order statistic exists.
    """
    tail = (1 - level) / 2

    def first_with(bound: float) -> int:
        """Smallest k in 0..n with P(binomial(n, q) <= k) >= bound."""
        low: int = 0
        high: int = n
        while low < high:
            middle = (low + high) // 2
            if bdtr(middle, n, q) >= bound:
                high = middle
            else:
                low = middle + 1
        return low

    lower = first_with(tail)
    if bdtr(lower, n, q) > tail:
        lower -= 1  # the largest k with P(binomial <= k) <= tail
    upper = first_with(1 - tail)
    return (lower if lower >= 0 else None, upper if upper < n else None)


def lag1_autocorrelation(values: Floats) -> float:
    """Correlation of a series with itself one step later; 0 for fewer than three values or a constant series."""
    if values.size < 3:
        return 0.0
    away = values - values.mean()
    power = float(np.dot(away, away))
    return float(np.dot(away[:-1], away[1:])) / power if power > 0 else 0.0


def block_length(n: int, rho: float) -> int:
    """How many requests in a row make a block: n^(1/3) * max(1, (2 rho / (1 - rho^2))^(2/3)), at most n / 10."""
    rho = min(max(rho, 0.0), 0.99)
    stretch = max(1.0, math.cbrt(2 * rho / (1 - rho * rho)) ** 2)
    return max(1, min(math.ceil(stretch * math.cbrt(n)), n // 10))


def block_bootstrap(
    values: Floats,
    weights: Floats | None,
    unit: Ints,
    units: int,
    *,
    length: int,
    seed: int,
    names: Sequence[str] = (),
    order: Ints | None = None,
) -> dict[str, tuple[float, float]]:
    """95 % intervals of the mean and of the percentiles `names`, by resampling blocks of whole requests.

    `unit[k]` is the place in time (0..units-1) of the request that value k belongs to; `length` requests in a row make
    a block, and blocks are drawn with replacement. Nothing is sorted again: each block keeps its weight per bin of
    rank (up to 4096 bins of the pooled, sorted values), a replicate is a sum of such rows, and a percentile is read
    from its running total, interpolated between the sorted values inside the bin. Empty when there are too few blocks.
    """
    blocks = min(MAX_BLOCKS, units // length)
    if blocks < MIN_BLOCKS:
        return {}
    draws = block_draws(blocks, seed)
    block = unit * blocks // units
    heavy = values if weights is None else values * weights
    weight_sums = draws @ np.bincount(block, weights=weights, minlength=blocks).astype(np.float64)
    kept = weight_sums > 0  # a replicate may draw only blocks without a value
    sums = draws @ np.bincount(block, weights=heavy, minlength=blocks)
    found = {"mean": _middle(sums[kept] / weight_sums[kept])}
    if names:
        order = np.argsort(values) if order is None else order
        percents = np.array([PERCENTILES[name] for name in names])
        table = replicate_percentiles(values, weights, block, draws[kept], percents, order)
        found |= {name: _middle(table[:, i]) for i, name in enumerate(names)}
    return found


def block_draws(blocks: int, seed: int, replicates: int = REPLICATES) -> Floats:
    """How often each replicate takes each block, float64[replicates, blocks]."""
    generator = np.random.default_rng(seed)
    return generator.multinomial(blocks, np.full(blocks, 1 / blocks), size=replicates).astype(np.float64)


def _middle(replicates: Floats) -> tuple[float, float]:
    low, high = np.percentile(replicates, [2.5, 97.5])
    return float(low), float(high)


def replicate_percentiles(
    values: Floats, weights: Floats | None, block: Ints, draws: Floats, percents: Floats, order: Ints
) -> Floats:
    """Percentiles of each replicate, float64[len(draws), len(percents)].

    `block[k]` is the block of value k, `draws[r, j]` how often replicate r takes block j, `order` is argsort(values).
    """
    n = values.size
    bins = min(n, BINS)
    bin_of = np.empty(n, dtype=np.int64)
    bin_of[order] = np.arange(n) * bins // n
    start = -(-np.arange(bins + 1) * n // bins)  # first sorted position of each bin: the smallest i with i*bins//n == b
    cells = np.bincount(block * bins + bin_of, weights=weights, minlength=draws.shape[1] * bins)
    totals = draws @ np.cumsum(cells.reshape(-1, bins).astype(np.float64), axis=1)
    ordered = values[order]
    out = np.empty((draws.shape[0], percents.size))
    rows = np.arange(draws.shape[0])
    for i, percent in enumerate(percents):
        at = np.maximum(totals[:, -1] - 1, 0) * percent / 100 + 0.5
        chosen = np.minimum((totals <= at[:, None]).sum(axis=1), bins - 1)
        before = np.where(chosen > 0, totals[rows, chosen - 1], 0.0)
        share = (at - before) / np.maximum(totals[rows, chosen] - before, 1e-12)
        position = start[chosen] + (np.clip(share, 0, 1) * (start[chosen + 1] - start[chosen] - 1)).round()
        out[:, i] = ordered[position.astype(np.int64)]
    return out


def rate_interval(
    amounts: Floats,
    from_ns: Ints,
    at_ns: Ints,
    start_ns: int,
    end_ns: int,
    *,
    length: int,
    shortest_ns: float,
    seed: int,
) -> tuple[float, float] | None:
    """95 % interval of sum(amounts) per second over [start_ns, end_ns], by resampling equal stretches of time.

    Each amount is spread evenly over the time its request took (`from_ns` to `at_ns`): requests that run in step
    complete in waves, and a stretch would hold one wave or two by where it was cut. A stretch holds `length`
    completions on average and lasts at least `shortest_ns` (one request: a closed loop completes in waves, and a
    stretch must hold a whole one). None when fewer than `MIN_BLOCKS` stretches fit.
    """
    span = end_ns - start_ns
    if amounts.size == 0 or span <= 0:
        return None
    blocks = min(MAX_BLOCKS, int(span / max(span * length / amounts.size, shortest_ns, 1.0)))
    if blocks < MIN_BLOCKS:
        return None
    took = np.maximum(at_ns - from_ns, 1)
    edges = start_ns + span * np.arange(1, blocks) / blocks
    done = [float(np.dot(np.clip((edge - from_ns) / took, 0, 1), amounts)) for edge in edges]
    each = np.diff(np.concatenate(([0.0], done, [float(amounts.sum())])))
    low, high = _middle(block_draws(blocks, seed) @ each)
    return low / span * 1e9, high / span * 1e9


def steps(start_ns: Ints, end_ns: Ints) -> tuple[Ints, Ints]:
    """How many of the intervals [start, end) are open, as a step function: (times, level from that time on)."""
    times = np.concatenate((start_ns, end_ns))
    change = np.concatenate((np.ones(start_ns.size, dtype=np.int64), np.full(end_ns.size, -1, dtype=np.int64)))
    order = np.lexsort((change, times))  # at one instant ends come before starts
    times, levels = times[order], np.cumsum(change[order])
    last = np.append(times[1:] != times[:-1], True)[: times.size]  # of no interval there is no step
    return times[last], levels[last]


def time_weighted_mean(times: Ints, levels: Ints, end_ns: int) -> float:
    """Mean of a step function from times[0] to end_ns; levels[i] holds from times[i] to times[i + 1]."""
    span = end_ns - int(times[0])
    if span <= 0:
        return float(levels[0])
    return float(np.dot(np.diff(np.append(times, end_ns)), levels)) / span
