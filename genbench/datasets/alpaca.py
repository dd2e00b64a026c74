"""Alpaca: instruction, input and output; a JSON array, JSON lines, CSV or Parquet."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from genbench.datasets._rows import Row
from genbench.datasets._samples import Asked, prompt_column, questions
from genbench.types import Sample

COLUMNS = {"prompt": "instruction", "output": "output"}


def load(options: Mapping[str, Any], rng: np.random.Generator) -> Iterator[Sample]:
    """Yield the file's instructions once, each with its input below it; the output length is that of the output.

    With --columns prompt=... that column is sent alone. Raises DatasetError.
    """
    yield from questions(options, rng, COLUMNS, with_input)


def with_input(asked: Asked, row: Row, instruction: str) -> str:
    """An instruction and, where there is one, what it is about."""
    if prompt_column(asked) != COLUMNS["prompt"] or "input" not in row.values:
        return instruction
    about = row.text("input")
    return f"{instruction}\n\n{about}" if about.strip() else instruction
