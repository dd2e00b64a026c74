"""CNN/DailyMail: articles to summarise, with highlights as reference; CSV, Parquet, JSON lines or a JSON array."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from genbench.datasets._samples import questions
from genbench.types import Sample

COLUMNS = {"prompt": "article", "output": "highlights"}
INSTRUCTION = "Summarize this news article in a few sentences."


def load(options: Mapping[str, Any], rng: np.random.Generator) -> Iterator[Sample]:
    """Yield a request to summarise each article once; the output length is that of its highlights.

    In embeddings the article goes without the instruction. Raises DatasetError.
    """
    yield from questions(
        options, rng, COLUMNS, lambda asked, row, article: article if asked.texts else f"{INSTRUCTION}\n\n{article}"
    )
