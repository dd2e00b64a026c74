"""BurstGPT, a trace of ChatGPT and GPT-4 requests: Timestamp, Request tokens, Response tokens; words are made up."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from genbench.datasets import _trace
from genbench.types import Sample

SYNTHETIC_TEXT = True  # the plan makes prompts exactly as long as the trace says


def load(options: Mapping[str, Any], rng: np.random.Generator) -> Iterator[Sample]:
    """Yield the trace's requests once; see `_trace.load`. Failed requests have 0 response tokens and are left out.

    All columns: Timestamp (seconds), [Session ID, Elapsed time,] Model, Request tokens, Response tokens, Total tokens,
    Log Type. Rows of one session are requests of their own: their tokens have the history in them.
    Source: https://github.com/HPMLL/BurstGPT
    """
    columns = _trace.Columns("Timestamp", "Request tokens", "Response tokens", _seconds, "seconds like 45 or 45.5")
    yield from _trace.load(options, rng, columns)


def _seconds(text: str) -> int:
    seconds = float(text)
    if not 0 <= seconds < 1e10:
        raise ValueError(text)
    return round(seconds * 1e9)
