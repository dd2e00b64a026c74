"""Arrivals with a fixed gap: the steadiest open loop."""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from genbench.arrivals.poisson import BLOCK, LAST_NS


def offsets(rate: float, rng: np.random.Generator, options: Mapping[str, Any]) -> Iterator[int]:
    """Yield send offsets in ns, the first at 0; nothing is drawn.

    rate is in requests per second and above zero. Offset k is round(k * 1e9 / rate), from k rather than by adding gaps,
    so rounding does not add up over long runs.
    """
    for first in itertools.count(0, BLOCK):
        block = np.arange(first, first + BLOCK) * 1e9 / rate
        yield from np.rint(np.minimum(block, LAST_NS)).astype(np.int64).tolist()
