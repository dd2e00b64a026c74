"""Tests that may be looked at as often as one likes: does the mean of a series of numbers from 0 to 1 exceed a value?

Rules
- `Betting` plays against "the mean is at most m" and against "the mean is at least m". If the claim is true, the
  capital of a player who starts with 1 ever exceeds 1/a with a chance of at most a, however often one looks and
  whenever one stops (Ville's inequality). The player mixes fixed fractions of what may be staked: Waudby-Smith & Ramdas
  2024, Estimating means of bounded random variables by betting, J. R. Stat. Soc. B 86, the grid Kelly process.
- That needs values whose expectation, given those before, is the mean: blocks long enough to be nearly independent.
  What is left of dependence is taken into account by `inflation`: so many values in a row say as much as one would, so
  the log capital is divided by it. This makes the test hold asymptotically, as a variance of the mean would.
"""

import math
from typing import Literal

import numpy as np

from genbench.stats import Floats

Side = Literal["above", "below", ""]

FRACTIONS = np.array([0.02, 0.05, 0.1, 0.2, 0.3, 0.45, 0.6, 0.8, 0.95, 1.0])
PRIOR, PRIOR_VALUES = 4.0, 40  # what `inflation` starts from, and how many values that is worth


class Betting:
    """The capitals of two players, one who bets that the mean is above `mean`, one that it is below; 0 < mean < 1.

    `above` and `below` are logarithms, 0 at the start.
    """

    def __init__(self, mean: float) -> None:
        """Raises ValueError for a mean that no value can lie on both sides of."""
        if not 0 < mean < 1:
            raise ValueError(f"a mean of {mean:g} cannot be tested: it must lie between 0 and 1")
        self.mean = mean
        self._logs = np.zeros((2, FRACTIONS.size))
        self._stakes = np.array([FRACTIONS / mean, -FRACTIONS / (1 - mean)])

    def add(self, values: Floats) -> None:
        """Play on; values from 0 to 1."""
        for part in np.array_split(values, values.size // 4096 + 1):
            with np.errstate(divide="ignore"):  # a player who stakes everything may lose everything
                gains = np.log(np.maximum(1 + self._stakes[:, :, None] * (part - self.mean), 0))
            self._logs += gains.sum(axis=2)

    @property
    def above(self) -> float:
        """Log capital of the player who bets that the mean is above."""
        return _log_mean(self._logs[0])

    @property
    def below(self) -> float:
        """Log capital of the player who bets that the mean is below."""
        return _log_mean(self._logs[1])


def side(values: Floats, mean: float, error: float) -> Side:
    """On which side of `mean` the mean of these values lies, as far as it is decided with this chance of an error."""
    if not values.size:
        return ""
    game = Betting(mean)
    game.add(values)
    needed = math.log(1 / error) * inflation(values)
    if game.above >= needed:
        return "above"
    return "below" if game.below >= needed else ""


def inflation(values: Floats) -> float:
    """How many values in a row say as much as one independent value: 1 + 2 * (sum of autocorrelations), at least 1.

    Lags are taken in pairs (0 and 1, 2 and 3, ...), up to the first pair whose sum is not positive: Geyer 1992,
    Practical Markov chain Monte Carlo, initial positive sequence. A short series cannot show it: the result is a mean
    of what it shows and of `PRIOR`, which counts as `PRIOR_VALUES` values. A constant series shows 1.
    """
    n = values.size
    away = values - values.mean() if n else values
    power = float(np.dot(away, away))
    total = 1.0
    if power > 0:
        total = 0.0
        for lag in range(0, n // 3, 2):
            pair = float(np.dot(away[: n - lag], away[lag:]) + np.dot(away[: n - lag - 1], away[lag + 1 :])) / power
            if pair <= 0:
                break
            total += pair
    shown = max(1.0, 2 * total - 1)
    return (n * shown + PRIOR_VALUES * PRIOR) / (n + PRIOR_VALUES)


def _log_mean(logs: Floats) -> float:
    """log(mean(exp(logs))), without overflow; some may be minus infinity, never all."""
    top = float(logs.max())
    return top + math.log(float(np.exp(logs - top).mean()))
