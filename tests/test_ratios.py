import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genbench import ratios, stats

LOGS = st.lists(st.floats(-3, 3), min_size=2, max_size=8)


def test_welch_by_hand() -> None:
    """Means 0.05 and 0.25, variances 0.005 over 2 each: error sqrt(0.005), df 2.

    t = 0.2 / 0.0707107 = 2.828427. For df 2 the two-sided p is 1 - t / sqrt(2 + t^2) = 1 - 2.828427 / sqrt(10), and t's
    97.5 % point is 4.302653, so the interval of the log is 0.2 +- 0.304243.
    """
    found = ratios.welch([0.0, 0.1], [0.2, 0.3])
    assert found.value == pytest.approx(math.exp(0.2))
    assert found.p == pytest.approx(0.1055728, abs=1e-7)
    assert (found.low, found.high) == pytest.approx((math.exp(-0.104243), math.exp(0.504243)), abs=1e-6)


def test_welch_weighs_the_less_certain_side_by_its_own_count() -> None:
    """Variances 0.02 / 2 = 0.01 and 0.000 / 3: df is the varying side's, 1: p = 1 - 2 atan(t) / pi."""
    found = ratios.welch([0.0, 0.2], [0.3, 0.3, 0.3])
    assert found.p == pytest.approx(1 - 2 * math.atan(0.2 / 0.1) / math.pi)


def test_paired_t_by_hand() -> None:
    """Mean 0.2, error 0.1 / sqrt(3), t = 3.464102, df 2: p = 1 - 3.464102 / sqrt(14)."""
    found = ratios.paired_t([0.1, 0.2, 0.3])
    assert found.value == pytest.approx(math.exp(0.2))
    assert found.p == pytest.approx(0.0741799, abs=1e-7)


@pytest.mark.parametrize(("same", "p"), [(0.0, 1.0), (0.1, 0.0)])
def test_repeats_without_any_spread(same: float, p: float) -> None:
    found = ratios.paired_t([same, same, same])
    assert (found.low, found.value, found.high) == pytest.approx((math.exp(same), math.exp(same), math.exp(same)))
    assert found.p == pytest.approx(p, abs=1e-9)


@given(LOGS, LOGS)
def test_sides_exchanged_give_the_reciprocal_and_the_same_p(a: list[float], b: list[float]) -> None:
    one, other = ratios.welch(a, b), ratios.welch(b, a)
    assert other.value == pytest.approx(1 / one.value)
    assert other.p == pytest.approx(one.p)
    assert (other.low, other.high) == pytest.approx((1 / one.high, 1 / one.low))


@given(LOGS, LOGS)
def test_p_is_below_5_percent_just_where_the_interval_leaves_1_out(a: list[float], b: list[float]) -> None:
    found = ratios.welch(a, b)
    if min(abs(math.log(found.low)), abs(math.log(found.high))) > 1e-9:
        assert (found.p < 0.05) == (not found.low <= 1 <= found.high)


@pytest.mark.parametrize(
    ("table", "p"),
    [
        ((3, 1, 1, 3), 34 / 70),  # tea and milk: 16 + 16 + 1 + 1 of 70 ways are no likelier
        ((4, 0, 0, 4), 2 / 70),
        ((1, 9, 11, 3), 0.002759456),
        ((0, 50, 0, 50), 1.0),
        ((0, 0, 3, 4), 1.0),
    ],
)
def test_fisher_by_hand(table: tuple[int, int, int, int], p: float) -> None:
    a, b, c, d = table
    assert ratios.fisher(a, b, c, d) == pytest.approx(p, rel=1e-6)
    assert ratios.fisher(c, d, a, b) == pytest.approx(p, rel=1e-6)


def test_fisher_of_large_counts() -> None:
    """60 of 100,000 against 100 of 100,000: z = 40 / sqrt(160) = 3.16, p 0.0016; the exact one is a bit more."""
    assert 0.0015 < ratios.fisher(60, 99_940, 100, 99_900) < 0.0025


def test_holm_by_hand() -> None:
    """0.01 x 3, then 0.03 x 2, then 0.04 x 1, which may not be below the one before."""
    assert ratios.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert ratios.holm([0.6, 0.7]) == [1.0, 1.0]
    assert ratios.holm([]) == []


@pytest.mark.parametrize(
    ("pulls", "factor"),
    [
        ([1.0, 1.0, -1.0, -1.0], 2.0),  # lag 1: (1 - 1 + 1) / 4 + 1/4 = 0.5; lag 2: -2/4 + 1/4 is below 0
        ([1.0, -1.0, 1.0, -1.0], 1.0),
        ([2.0, 2.0, 2.0, 2.0], 1.0),
    ],
)
def test_inflation_by_hand(pulls: list[float], factor: float) -> None:
    assert ratios.inflation(np.array(pulls)) == pytest.approx(factor)


def test_the_variance_of_a_mean_of_blocks_is_the_one_of_textbooks() -> None:
    """Eight block means of 1, -1, 1, -1, ...: their sample variance is 8/7, that of their mean 1/7."""
    draws = stats.block_draws(8, 3, 20_000)
    blocks = np.array([1.0, -1.0] * 4)
    assert ratios.variance(draws @ blocks / 8, draws) == pytest.approx(1 / 7, rel=0.03)


def test_what_both_sides_share_cancels() -> None:
    draws = stats.block_draws(8, 3)
    shared = draws @ np.array([1.0, -1.0] * 4) / 8
    found = ratios.paired_replicates(0.1, shared, shared + 0.1, draws)
    assert (found.low, found.high) == pytest.approx((math.exp(0.1), math.exp(0.1)))
    free = ratios.free_replicates(0.1, shared, shared + 0.1, draws, draws)
    assert free.low < 1 < free.high
