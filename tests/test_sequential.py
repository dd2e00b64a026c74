"""Error rates of the tests by simulation, and how soon they decide."""

import math

import numpy as np
import pytest

from genbench.sequential import PRIOR, Betting, inflation, side
from genbench.stats import Floats


def bernoulli(mean: float, count: int, seed: int) -> Floats:
    return (np.random.default_rng(seed).random(count) < mean).astype(np.float64)


def autoregressive(rho: float, count: int, seed: int) -> Floats:
    """A stationary series with lag-k correlation rho^k, deviation 1."""
    rng = np.random.default_rng(seed)
    found, now = np.empty(count), rng.normal()
    for k, step in enumerate(rng.normal(size=count) * math.sqrt(1 - rho**2)):
        now = rho * now + step
        found[k] = now
    return found


def test_capital_by_hand() -> None:
    """One perfect value against a mean of 0.8: a player who stakes the share f has 1 + f / 0.8 * 0.2 = 1 + f / 4."""
    game = Betting(0.8)
    game.add(np.array([1.0]))
    fractions = [0.02, 0.05, 0.1, 0.2, 0.3, 0.45, 0.6, 0.8, 0.95, 1.0]
    assert math.exp(game.above) == pytest.approx(np.mean([1 + f / 4 for f in fractions]))
    assert math.exp(game.below) == pytest.approx(np.mean([1 - f for f in fractions]))


def test_nothing_played_and_everything_lost() -> None:
    game = Betting(0.5)
    assert (game.above, game.below) == (0.0, 0.0)
    game.add(np.array([0.0, 1.0]))
    assert math.isfinite(game.above)
    assert math.isfinite(game.below)


@pytest.mark.parametrize("mean", [0.0, 1.0, 1.5])
def test_a_mean_at_the_edge_is_refused(mean: float) -> None:
    with pytest.raises(ValueError, match="must lie between 0 and 1"):
        Betting(mean)


def test_in_pieces_as_at_once() -> None:
    values = bernoulli(0.9, 10_000, 1)
    whole, pieces = Betting(0.9), Betting(0.9)
    whole.add(values)
    for part in np.array_split(values, [1, 7, 5000]):
        pieces.add(part)
    assert pieces.above == pytest.approx(whole.above)
    assert pieces.below == pytest.approx(whole.below)


@pytest.mark.parametrize("mean", [0.5, 0.95])
def test_looking_after_every_value_errs_as_rarely_as_promised(mean: float) -> None:
    """1,000 players at the true mean, 300 values, a look after each: at most 5 % ever have 20 times their start."""
    won = {"above": 0, "below": 0}
    for seed in range(1000):
        values = bernoulli(mean, 300, seed)
        stakes = {"above": 1 / mean, "below": -1 / (1 - mean)}
        for which, stake in stakes.items():
            fractions = np.array([0.02, 0.05, 0.1, 0.2, 0.3, 0.45, 0.6, 0.8, 0.95, 1.0])
            gains = np.cumprod(1 + stake * fractions[:, None] * (values - mean), axis=1).mean(axis=0)
            won[which] += gains.max() >= 20
        if seed < 20:
            game = Betting(mean)
            game.add(values)
            assert math.exp(game.above) == pytest.approx(
                np.prod(1 + fractions[:, None] / mean * (values - mean), axis=1).mean()
            )
    assert max(won.values()) <= 50


def test_what_is_clear_is_decided_soon() -> None:
    """Without a miss 95 % needs log(1/0.05) / log(1/0.95) = 59 independent values, and more while the prior counts."""
    perfect = np.ones(400)
    needed = next(n for n in range(1, 400) if side(perfect[:n], 0.95, 0.05) == "above")
    assert 59 <= needed <= 59 * PRIOR
    awful = bernoulli(0.3, 400, 2)
    assert next(n for n in range(1, 400) if side(awful[:n], 0.95, 0.05) == "below") <= 30
    assert side(bernoulli(0.95, 400, 3), 0.95, 0.05) == ""
    assert side(np.empty(0), 0.95, 0.05) == ""


@pytest.mark.parametrize(("rho", "expected"), [(0.0, 1.0), (0.5, 3.0), (0.8, 9.0)])
def test_inflation_is_that_of_an_autoregression(rho: float, expected: float) -> None:
    """1 + 2 (rho + rho^2 + ...) = (1 + rho) / (1 - rho)."""
    found = [inflation(autoregressive(rho, 4000, seed)) for seed in range(10)]
    assert np.mean(found) == pytest.approx(expected, rel=0.15)


def test_inflation_of_little_is_what_was_there_before() -> None:
    assert inflation(np.empty(0)) == PRIOR
    assert inflation(np.array([1.0])) == pytest.approx(PRIOR, rel=0.1)
    assert inflation(np.ones(100_000)) == pytest.approx(1, rel=0.01)


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.7])
def test_dependent_values_err_as_rarely(rho: float) -> None:
    """Shares of 95 % in the mean that resemble their neighbours, 200 series, looked at after every tenth value."""
    wrong = 0
    for seed in range(200):
        latent = autoregressive(rho, 200, seed)
        values = 1 - np.clip(np.exp(latent - 0.5) * 0.05, 0, 1)  # lognormal misses of 5 % in the mean
        wrong += any(side(values[:n], 0.95, 0.05) != "" for n in range(20, 201, 10))
    assert wrong <= 20  # 5 % on either side
