"""Poisson arrivals: independent exponential gaps, the open loop of many users."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

BLOCK = 4096
LAST_NS = 1 << 62  # 146 years: an arrival that a tiny rate puts beyond it stays there


def offsets(rate: float, rng: np.random.Generator, options: Mapping[str, Any]) -> Iterator[int]:
    """Yield send offsets in ns, the first at 0.

    rate is in requests per second and above zero. Offsets are never rescaled to hit the rate: the delivered schedule's
    own rate differs from it by chance, by about 1/sqrt(n).
    """
    return summed(lambda: rng.exponential(1e9 / rate, BLOCK))


def summed(gaps: Callable[[], "np.ndarray[Any, np.dtype[np.float64]]"]) -> Iterator[int]:
    """0 and then the running sum of gaps in ns, which come in blocks, cut to whole ns.

    Each block is summed from 0 before the time so far is added, so the rounding of the long sum enters once per block:
    10^7 arrivals at 1,000 per second stay within 1 ns of the exact sum.
    """
    t = 0.0
    yield 0
    while True:
        block = t + np.cumsum(gaps())
        t = float(block[-1])
        yield from np.minimum(block, LAST_NS).astype(np.int64).tolist()
