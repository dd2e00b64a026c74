"""Prompts of common English words, each different, of a wanted length."""

from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from genbench.types import Sample

BLOCK = 8192


@cache
def words() -> tuple[str, ...]:
    """The shipped list of common words."""
    return tuple(resources.files("genbench.datasets").joinpath("words.txt").read_text().split())


def load(options: Mapping[str, Any], rng: np.random.Generator) -> Iterator[Sample]:
    """Yield samples for ever.

    options: `isl`, `isl_stddev`, `osl` (None: the model decides), `osl_stddev` in tokens; `tokens_per_word` as measured
    or 1; `batch_size` and `texts` (true for embeddings: so many texts of `isl` tokens each). Lengths are normal, cut at
    1. A sample's text is as long as words can make it; the plan fits it to the tokenizer when it adds the salt.
    """
    per_word = float(options.get("tokens_per_word", 1.0))
    texts = bool(options.get("texts"))
    source = _Words(rng)
    while True:
        made = []
        isl = 0
        for _ in range(options["batch_size"] if texts else 1):
            tokens = _length(options["isl"], options["isl_stddev"], rng)
            isl += tokens
            made.append(source.text(max(1, round(tokens / per_word))))
        osl = None if options["osl"] is None else _length(options["osl"], options["osl_stddev"], rng)
        if texts:
            yield Sample(texts=tuple(made), isl=isl)
        else:
            yield Sample(prompt=made[0], isl=isl, osl=osl)


class _Words:
    """Words at random; drawn in blocks, since one draw per text would cost more than the text."""

    def __init__(self, rng: np.random.Generator) -> None:
        (self._rng,) = rng.spawn(1)  # of their own, so that lengths and words do not shift each other
        self._vocabulary = np.array(words(), dtype=object)
        self._block: list[str] = []
        self._at = 0

    def text(self, count: int) -> str:
        """So many words."""
        if self._at + count > len(self._block):
            drawn = self._rng.integers(0, len(self._vocabulary), max(BLOCK, count))
            self._block, self._at = self._vocabulary[drawn].tolist(), 0
        self._at += count
        return " ".join(self._block[self._at - count : self._at])


def _length(mean: float, stddev: float, rng: np.random.Generator) -> int:
    return max(1, round(rng.normal(mean, stddev))) if stddev else int(mean)
