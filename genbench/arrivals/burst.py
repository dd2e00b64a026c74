"""Everything at once (`--request-rate inf`)."""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np


def offsets(rate: float, rng: np.random.Generator, options: Mapping[str, Any]) -> Iterator[int]:
    """Yield 0 for ever: all requests are due at the start."""
    return itertools.repeat(0)
