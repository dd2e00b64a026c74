"""Poisson arrivals: independent exponential gaps, the open loop of many users."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

BLOCK = 4096


def offsets(rate: float, rng: np.random.Generator, options: Mapping[str, Any]) -> Iterator[int]:
    """Yield send offsets in ns, the first at 0.

    rate is in requests per second and above zero. Offsets are never rescaled to hit the rate: the delivered schedule's
    own rate differs from it by chance, by about 1/sqrt(n).
    """
    t = 0.0
    yield 0
    while True:
        block = t + np.cumsum(rng.exponential(1e9 / rate, BLOCK))
        t = block[-1]
        yield from map(int, block)
