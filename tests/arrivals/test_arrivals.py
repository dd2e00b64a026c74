"""Arrival processes: their gaps by distribution, exactness over long runs, the seed, and that nothing is rescaled."""

import itertools
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from genbench import registry
from genbench.arrivals import burst, constant, gamma, poisson

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "arrivals.py"
PROCESSES = ("burst", "constant", "gamma", "poisson", str(EXAMPLE))

Floats = np.ndarray[Any, np.dtype[np.float64]]
Offsets = np.ndarray[Any, np.dtype[np.int64]]


def taken(process: Any, rate: float, count: int, seed: int = 0, options: Mapping[str, Any] | None = None) -> Offsets:
    """The first `count` offsets."""
    found = process.offsets(rate, np.random.default_rng(seed), options or {})
    return np.fromiter(itertools.islice(found, count), dtype=np.int64, count=count)


def gaps_s(process: Any, rate: float, seed: int, options: Mapping[str, Any] | None = None) -> Floats:
    """2,000 gaps."""
    return np.diff(taken(process, rate, 2001, seed, options)) / 1e9


@pytest.mark.parametrize("name", PROCESSES)
def test_all_begin_at_0_and_never_go_back(name: str) -> None:
    found = taken(registry.load("arrivals", name), 50.0, 10_000, options={"burstiness": 0.1})
    assert found[0] == 0
    assert (np.diff(found) >= 0).all()


@pytest.mark.parametrize("name", PROCESSES)
def test_the_seed_decides(name: str) -> None:
    process = registry.load("arrivals", name)
    first, again, other = (taken(process, 50.0, 1000, seed) for seed in (3, 3, 4))
    assert (first == again).all()
    assert (first == other).all() == (name in ("burst", "constant"))  # where nothing is drawn


def test_poisson_gaps_are_exponential() -> None:
    rate = 50.0
    p_values = [stats.kstest(gaps_s(poisson, rate, seed), "expon", args=(0, 1 / rate)).pvalue for seed in range(20)]
    # One in twenty is below 0.05 by chance; three or more among twenty in 8 of 100 such sets, below 0.001 in 2 of 100.
    assert sum(p > 0.05 for p in p_values) >= 18
    assert min(p_values) > 0.001


def test_the_same_test_refuses_gaps_that_are_not_exponential() -> None:
    rate = 50.0
    for b in (0.8, 1.25):
        drawn = gaps_s(gamma, rate, 0, {"burstiness": b})
        assert stats.kstest(drawn, "expon", args=(0, 1 / rate)).pvalue < 0.001


def test_the_mean_of_poisson_gaps() -> None:
    # Standard error of a mean of 2,000 exponential gaps of 1/50 s: 0.02 / sqrt(2000) s.
    far = [abs(gaps_s(poisson, 50.0, seed).mean() - 0.02) / (0.02 / math.sqrt(2000)) for seed in range(20)]
    assert max(far) < 3


@pytest.mark.parametrize("b", [0.25, 1.0, 4.0])
def test_gamma_gaps(b: float) -> None:
    rate = 50.0
    p_values, cvs = [], []
    for seed in range(20):
        drawn = gaps_s(gamma, rate, seed, {"burstiness": b})
        p_values.append(stats.kstest(drawn, "gamma", args=(b, 0, 1 / (b * rate))).pvalue)
        cvs.append(drawn.std(ddof=1) / drawn.mean())
    assert sum(p > 0.05 for p in p_values) >= 18
    assert min(p_values) > 0.001
    # Of a gamma's CV = 1/sqrt(b), the standard error is about CV * sqrt((1 + 1/b) / (2 n)), here n = 40,000 gaps: below
    # 1 % at each of these shapes; three of them.
    assert np.mean(cvs) == pytest.approx(1 / math.sqrt(b), rel=3 * math.sqrt((1 + 1 / b) / 80_000))


def test_gamma_of_shape_1_is_poisson_gap_for_gap() -> None:
    expected = taken(poisson, 20.0, 5000)
    assert (taken(gamma, 20.0, 5000, options={"burstiness": 1.0}) == expected).all()
    assert (taken(gamma, 20.0, 5000) == expected).all()


@pytest.mark.parametrize("rate", [3, 7, 1000])
def test_constant_gaps_do_not_drift_over_an_hour(rate: int) -> None:
    count = 3600 * rate
    found = taken(constant, float(rate), count + 1)
    # In whole numbers, k * 10^9 / rate rounded: (2 k 10^9 + rate) // (2 rate); no half occurs at these rates.
    k = np.arange(count + 1)
    assert (found == (2 * k * 10**9 + rate) // (2 * rate)).all()
    assert found[-1] == 3600 * 10**9
    assert (np.abs(np.diff(found) - 1e9 / rate) < 1).all()
    assert all(found[i] == round(i * 1e9 / rate) for i in range(0, count + 1, 997))


def test_burst_is_everything_at_once() -> None:
    assert not taken(burst, math.inf, 1000).any()


@pytest.mark.parametrize("process", [constant, poisson, gamma])
def test_a_rate_so_low_that_nothing_comes(process: Any) -> None:
    found = taken(process, 1e-12, 100)  # a gap is some 30,000 years
    assert found[0] == 0
    assert (found[1:] == poisson.LAST_NS).all()


def test_sums_stay_exact_over_ten_million_gaps() -> None:
    rate, count = 1000.0, 10_000_000
    found = taken(poisson, rate, count + 1, seed=1)
    rng = np.random.default_rng(1)
    whole, part = 0, 0.0
    # The exact sum: whole ns and fractions apart, each small enough for its type; checked at the end of every block.
    for end in range(poisson.BLOCK, count, poisson.BLOCK):
        gaps = rng.exponential(1e9 / rate, poisson.BLOCK)
        cut = np.floor(gaps)
        whole += int(cut.astype(np.int64).sum())
        part += float((gaps - cut).sum())
        assert abs(int(found[end]) - (whole + part - 0.5)) < 0.6  # cut to whole ns: up to 1 below the exact sum
    assert found[-1] > 9e12


def test_a_million_offsets_are_quick() -> None:
    began = time.process_time()
    taken(poisson, 1000.0, 1_000_000)
    assert time.process_time() - began < 1.5


def test_a_process_of_ones_own() -> None:
    found = taken(registry.load("arrivals", str(EXAMPLE)), 20.0, 40_000)
    groups = found.reshape(-1, 4)
    assert (groups == groups[:, :1]).all()
    gaps = np.diff(groups[:, 0]) / 1e9
    assert stats.kstest(gaps, "expon", args=(0, 4 / 20)).pvalue > 0.01
