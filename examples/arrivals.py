"""Requests in groups: `genbench profile --arrival examples/arrivals.py --request-rate 20`.

A page that asks for several things at once sends them together; its visitors come at random.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

GROUP = 4


def offsets(rate: float, rng: np.random.Generator, options: Mapping[str, Any]) -> Iterator[int]:
    """Yield send offsets in ns, the first at 0: GROUP at one moment, then an exponential gap.

    `rate` counts requests, so groups come at rate / GROUP. All chance comes from `rng`: same seed, same offsets.
    """
    t = 0.0
    while True:
        for _ in range(GROUP):
            yield int(t)
        t += rng.exponential(GROUP * 1e9 / rate)
