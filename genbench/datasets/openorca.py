"""OpenOrca: system_prompt, question and response; JSON lines, a JSON array, CSV or Parquet."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from genbench.datasets._samples import questions
from genbench.types import Sample

COLUMNS = {"prompt": "question", "system": "system_prompt", "output": "response"}


def load(options: Mapping[str, Any], rng: np.random.Generator) -> Iterator[Sample]:
    """Yield the file's questions once; the output length is that of the response. Raises DatasetError."""
    yield from questions(options, rng, COLUMNS)
