"""Gamma arrivals (`--burstiness`): burstier than Poisson below 1, more even above."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from genbench.arrivals.poisson import BLOCK, summed


def offsets(rate: float, rng: np.random.Generator, options: Mapping[str, Any]) -> Iterator[int]:
    """Yield send offsets in ns, the first at 0; never rescaled.

    rate is in requests per second and above zero. Gaps are Gamma(shape b, scale 1 / (b * rate)) with b the option
    `burstiness` (above zero; 1 without it): mean 1/rate, standard deviation 1/sqrt(b) of the mean. At 1 they are the
    Poisson process's own, gap for gap. Source: `vllm bench serve --burstiness`, which then stretches all of them to end
    at n / rate; here they stay as drawn.
    """
    shape = float(options.get("burstiness", 1.0))
    return summed(lambda: rng.gamma(shape, 1e9 / (shape * rate), BLOCK))
