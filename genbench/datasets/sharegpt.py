"""ShareGPT: conversations as lists of {from, value}; a JSON array, JSON lines or Parquet."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from genbench.datasets._samples import Asked, dialogues
from genbench.types import Sample

COLUMN = "conversations"


def load(options: Mapping[str, Any], rng: np.random.Generator) -> Iterator[Sample]:
    """Yield the file's conversations once: their first turn as a request, or with --turns as many turns.

    The output length is that of the assistant's words. Conversations that do not begin with a user's words (after the
    system's, if any) are left out and counted. Raises DatasetError.
    """
    asked = Asked(options, rng)
    column = asked.columns.get("messages", COLUMN)
    yield from asked.batched(dialogues(asked, asked.rows(), column, most=1))
