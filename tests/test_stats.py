import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import comb

from genbench import stats

WEIGHTED = st.lists(st.tuples(st.floats(-1e9, 1e9, allow_subnormal=False), st.integers(1, 9)), min_size=1, max_size=40)


def test_p99_of_21_integers() -> None:
    # position (21 - 1) * 0.99 = 19.8 between the largest two: 777 + 0.8 * 7 = 782.6
    values = np.array([*range(100, 119), 784, 777], dtype=np.float64)
    assert stats.distribution(values)["p99"] == pytest.approx(782.60, abs=1e-9)


def test_distribution_of_four() -> None:
    # 1 2 3 6: mean 3, squares 4 + 1 + 0 + 9 = 14, sample std sqrt(14 / 3); p75 at 2.25: 3 + 0.25 * 3
    found = stats.distribution(np.array([6.0, 1.0, 3.0, 2.0]))
    assert (found["mean"], found["min"], found["max"], found["p50"], found["p75"]) == (3.0, 1.0, 6.0, 2.5, 3.75)
    assert found["std"] == pytest.approx(math.sqrt(14 / 3))
    assert tuple(found) == stats.STATISTICS


def test_one_value_has_no_std() -> None:
    found = stats.distribution(np.array([5.0]))
    assert "std" not in found
    assert {found[name] for name in ("mean", "min", "max", "p1", "p50", "p99.9")} == {5.0}


@given(WEIGHTED)
@settings(max_examples=300, deadline=None)
def test_whole_weights_equal_the_repeated_list(pairs: list[tuple[float, int]]) -> None:
    pairs.sort()
    values = np.array([value for value, _ in pairs])
    weights = np.array([weight for _, weight in pairs], dtype=np.float64)
    percents = list(stats.PERCENTILES.values())
    repeated = np.repeat(values, weights.astype(np.int64))
    assert stats.percentiles(values, percents, weights).tolist() == np.percentile(repeated, percents).tolist()


@given(WEIGHTED)
@settings(max_examples=100, deadline=None)
def test_real_weights_continue_whole_ones(pairs: list[tuple[float, int]]) -> None:
    pairs.sort()
    values = np.array([value for value, _ in pairs])
    weights = np.array([weight for _, weight in pairs], dtype=np.float64)
    ends = np.cumsum(weights)
    for percent in (1.0, 37.0, 50.0, 99.0):
        at = (ends[-1] - 1) * (percent / 100)
        expected = stats.percentiles(values, [percent], weights)[0]
        assert stats._window_mean(values, ends, at) == pytest.approx(expected, rel=1e-9, abs=1e-3)


def test_real_weights_by_hand() -> None:
    # 10 holds [0, 1.5), 20 holds [1.5, 4): p50 is the mean over [1.5, 2.5] = 20; p10 over [0.3, 1.3] = 10;
    # p25: h = 0.75, mean over [0.75, 1.75] = 0.75 * 10 + 0.25 * 20 = 12.5
    found = stats.percentiles(np.array([10.0, 20.0]), [50, 10, 25], np.array([1.5, 2.5]))
    assert found.tolist() == pytest.approx([20.0, 10.0, 12.5])


def test_weighted_distribution_equals_the_repeated_one() -> None:
    values, weights = np.array([3.0, 1.0, 2.0]), np.array([2.0, 1.0, 4.0])
    repeated = stats.distribution(np.repeat(values, weights.astype(np.int64)))
    assert stats.distribution(values, weights) == pytest.approx(repeated)


@pytest.mark.parametrize(("percent", "needed"), [(99, 459), (95, 90), (90, 44), (99.9, 4603)])
def test_samples_needed(percent: float, needed: int) -> None:
    assert stats.samples_needed(percent) == needed


def test_few() -> None:
    assert stats.few(43) == ("p90", "p95", "p99", "p99.9")
    assert stats.few(90) == ("p99", "p99.9")
    assert stats.few(4603) == ()


def _brute_force(n: int, q: float) -> tuple[int | None, int | None]:
    below = np.cumsum([comb(n, k, exact=True) * q**k * (1 - q) ** (n - k) for k in range(n + 1)])
    lower = [k for k in range(n) if below[k] <= 0.025]
    upper = [k for k in range(n) if below[k] >= 0.975]
    return (max(lower) if lower else None, min(upper) if upper else None)


@pytest.mark.parametrize("q", [0.01, 0.1, 0.5, 0.75, 0.95, 0.99])
def test_order_statistics_against_brute_force(q: float) -> None:
    for n in range(1, 130):
        assert stats.order_statistic_interval(n, q) == _brute_force(n, q), n


def test_order_statistics_known_case() -> None:
    # Hahn & Meeker: median of 10, the 2nd and the 9th value enclose it with 97.9 %
    assert stats.order_statistic_interval(10, 0.5) == (1, 8)
    assert stats.order_statistic_interval(100, 0.99) == (96, None)
    assert stats.order_statistic_interval(3, 0.5) == (None, None)


def test_lag1_autocorrelation() -> None:
    # 1 2 3 4 5 around 3: (-2 * -1) + (-1 * 0) + 0 + (1 * 2) = 4 over 4 + 1 + 0 + 1 + 4 = 10
    assert stats.lag1_autocorrelation(np.array([1.0, 2, 3, 4, 5])) == pytest.approx(0.4)
    assert stats.lag1_autocorrelation(np.full(9, 7.0)) == 0
    assert stats.lag1_autocorrelation(np.array([1.0, 2.0])) == 0


def test_block_length() -> None:
    assert stats.block_length(1000, 0.0) == 10  # 1000^(1/3)
    assert stats.block_length(1000, 0.8) == 28  # (1.6 / 0.36)^(2/3) = 2.703; 27.03 rounded up
    assert stats.block_length(1000, 0.99) == 100  # at most a tenth
    assert stats.block_length(5, 0.9) == 1


def test_too_few_blocks_give_no_interval() -> None:
    values = np.arange(7.0)
    assert stats.block_bootstrap(values, None, np.arange(7), 7, length=1, seed=1, names=("p50",)) == {}


def test_bootstrap_is_seeded() -> None:
    values = np.random.default_rng(5).normal(size=200)

    def found(seed: int) -> dict[str, tuple[float, float]]:
        return stats.block_bootstrap(values, None, np.arange(200), 200, length=5, seed=seed, names=("p90",))

    assert found(1) == found(1)
    assert found(1) != found(2)


def test_bootstrap_covers() -> None:
    """Of 100 seeded series, the 95 % interval holds the true mean and median about 95 times; 88 is 3 sigma below."""
    generator = np.random.default_rng(7)
    mean = median = 0
    for seed in range(100):
        values = generator.exponential(size=300)
        found = stats.block_bootstrap(values, None, np.arange(300), 300, length=7, seed=seed, names=("p50",))
        mean += found["mean"][0] <= 1 <= found["mean"][1]
        median += found["p50"][0] <= math.log(2) <= found["p50"][1]
    assert 86 <= mean <= 100
    assert 86 <= median <= 100


def test_bootstrap_of_pooled_values_knows_that_requests_differ() -> None:
    """100 requests of 50 equal gaps each have 100 independent values, not 5000: the interval must be as wide."""
    level = np.random.default_rng(3).normal(20, 2, size=100)
    unit = np.repeat(np.arange(100), 50)
    low, high = stats.block_bootstrap(level[unit], None, unit, 100, length=1, seed=0)["mean"]
    assert high - low == pytest.approx(2 * 1.96 * 2 / math.sqrt(100), rel=0.25)  # 0.78 ms


def test_bootstrap_bins_agree_with_sorting() -> None:
    """More values than bins: the percentile of the plain sample is what equal draws give."""
    values = np.random.default_rng(1).lognormal(size=20_000)
    order = np.argsort(values)
    block = np.arange(20_000) * 10 // 20_000
    percents = np.array([50.0, 99.0, 99.9])
    found = stats.replicate_percentiles(values, None, block, np.ones((1, 10)), percents, order)[0]
    assert found.tolist() == pytest.approx(np.percentile(values, percents).tolist(), rel=2e-3)


def test_bootstrap_weights_count() -> None:
    """Weights of 3 equal values that stand three times."""
    values = np.random.default_rng(2).normal(size=60)
    unit = np.arange(60)
    weighted = stats.block_bootstrap(values, np.full(60, 3.0), unit, 60, length=2, seed=4)
    thrice = stats.block_bootstrap(np.repeat(values, 3), None, np.repeat(unit, 3), 60, length=2, seed=4)
    assert weighted["mean"] == pytest.approx(thrice["mean"])


def test_rate_interval() -> None:
    # 1000 completions, one every 10 ms: 100 per second whatever is drawn
    at = np.arange(1000) * 10_000_000 + 5_000_000
    found = stats.rate_interval(np.ones(1000), at, at, 0, 10_000_000_000, length=10, shortest_ns=0, seed=1)
    assert found == pytest.approx((100, 100))
    # stretches no shorter than 2 s: five of them are too few
    assert stats.rate_interval(np.ones(1000), at, at, 0, 10_000_000_000, length=10, shortest_ns=2e9, seed=1) is None
    assert (
        stats.rate_interval(
            np.empty(0), np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), 0, 9, length=1, shortest_ns=0, seed=1
        )
        is None
    )


def test_rate_interval_covers_poisson() -> None:
    generator = np.random.default_rng(11)
    held = 0
    for seed in range(100):
        at = np.sort(generator.integers(0, 10**10, size=generator.poisson(500)))
        found = stats.rate_interval(np.ones(at.size), at, at, 0, 10**10, length=8, shortest_ns=0, seed=seed)
        assert found is not None
        held += found[0] <= 50 <= found[1]
    assert 86 <= held <= 100


def test_steps_and_their_mean() -> None:
    # [0, 10) and [5, 10), then [10, 20): 1 for 5, 2 for 5, 1 for 10 -> (5 + 10 + 10) / 20 = 1.25
    times, levels = stats.steps(np.array([0, 5, 10]), np.array([10, 10, 20]))
    assert times.tolist() == [0, 5, 10, 20]
    assert levels.tolist() == [1, 2, 1, 0]
    assert stats.time_weighted_mean(times, levels, 20) == 1.25
    assert stats.time_weighted_mean(np.array([3]), np.array([4]), 3) == 4


def test_rate_interval_of_requests_in_step() -> None:
    """Eight users, 12 rounds of 1.31 s: the rate is the same at any time, and the interval says so."""
    start = np.repeat(np.arange(12) * 1_310_000_000, 8)
    end = start + 1_310_000_000
    found = stats.rate_interval(np.ones(96), start, end, 0, int(end.max()), length=8, shortest_ns=1.31e9, seed=0)
    assert found is not None
    assert found[0] == pytest.approx(8 / 1.31)
    assert found[1] == pytest.approx(8 / 1.31)


def test_no_interval_has_no_step() -> None:
    none = np.zeros(0, dtype=np.int64)
    times, levels = stats.steps(none, none)
    assert times.size == levels.size == 0
