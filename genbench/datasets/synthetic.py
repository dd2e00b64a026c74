"""Prompts of common English words, each different, of a wanted length; also as conversations."""

from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from typing import Any, NamedTuple

import numpy as np

from genbench.lengths import Lengths, Pair
from genbench.types import MISSING, Sample

BLOCK = 8192
SYNTHETIC_TEXT = True  # words without meaning: the plan fits each text to exactly its `isl`, salt included


@cache
def words() -> tuple[str, ...]:
    """The shipped list of common words."""
    return tuple(resources.files("genbench.datasets").joinpath("words.txt").read_text().split())


class Words:
    """Words at random, of a generator of their own: a child of `rng`, so that nothing else shifts them."""

    def __init__(self, rng: np.random.Generator) -> None:
        (self._rng,) = rng.spawn(1)
        self._vocabulary = np.array(words(), dtype=object)
        self._block: list[str] = []  # one draw per text would cost more than the text
        self._at = 0

    def text(self, count: int) -> str:
        """So many words."""
        if self._at + count > len(self._block):
            drawn = self._rng.integers(0, len(self._vocabulary), max(BLOCK, count))
            self._block, self._at = self._vocabulary[drawn].tolist(), 0
        self._at += count
        return " ".join(self._block[self._at - count : self._at])


class Shape(NamedTuple):
    """What is drawn of a request before its text: lengths in tokens, its place in a conversation, the wait before."""

    isl: int
    osl: int | None
    session: int
    turn: int
    think_ns: int


def load(options: Mapping[str, Any], rng: np.random.Generator) -> Iterator[Sample]:
    """Yield samples for ever.

    options: those of `shapes`; `tokens_per_word` as the server counts them (1 where a tokenizer fits the texts);
    `texts` (for embeddings: `batch_size` texts of `isl` tokens each make a sample, whose `isl` is their sum). A text
    has about as many words as make its length; the plan makes it exact.
    """
    per_word = float(options.get("tokens_per_word") or 1.0)
    batch = int(options.get("batch_size", 1)) if options.get("texts") else 0
    source = Words(rng)
    for shape in shapes(options, rng):
        count = max(1, round(shape.isl / per_word))
        if batch:
            yield Sample(texts=tuple(source.text(count) for _ in range(batch)), isl=batch * shape.isl)
        else:
            yield sample_of(shape, prompt=source.text(count))


def sample_of(shape: Shape, *, prompt: str = "", token_ids: tuple[int, ...] = ()) -> Sample:
    """A request's sample: its shape with a text or token ids."""
    isl, osl, session, turn, think_ns = shape
    return Sample(prompt=prompt, token_ids=token_ids, isl=isl, osl=osl, session=session, turn=turn, think_ns=think_ns)


def shapes(options: Mapping[str, Any], rng: np.random.Generator) -> Iterator[Shape]:
    """Lengths, turns and think times for ever, each from a generator of its own: changing one does not shift another.

    options: `isl` (Lengths), `osl` (Lengths, None: the model decides), `pairs` of the two in their place, one drawn by
    weight for each request; `turns` (Lengths, None: single requests, as with 1) of each conversation, lengths drawn for
    each of them; `think_s` and `think_stddev_s` before every turn but the first (normal, cut at 0). Embeddings
    (`texts`) have no output and no turns.
    """
    for_lengths, for_turns, for_think = rng.spawn(3)
    texts = bool(options.get("texts"))
    lengths = _lengths(options["isl"], None if texts else options.get("osl"), options.get("pairs") or (), for_lengths)
    turns: Lengths | None = None if texts else options.get("turns")
    if turns is None or (turns.fixed and turns.a == 1):
        for isl, osl in lengths:
            yield Shape(isl, osl, MISSING, 0, 0)
        return
    waits = _waits(float(options.get("think_s") or 0), float(options.get("think_stddev_s") or 0), for_think)
    for session, count in enumerate(turns.drawn(for_turns)):
        for turn in range(count):
            isl, osl = next(lengths)
            yield Shape(isl, osl, session, turn, next(waits) if turn else 0)


def _lengths(
    isl: Lengths, osl: Lengths | None, pairs: tuple[Pair, ...], rng: np.random.Generator
) -> Iterator[tuple[int, int | None]]:
    """(isl, osl) for ever; of a pair where there are some."""
    if not pairs:
        for_isl, for_osl = rng.spawn(2)
        inputs = isl.drawn(for_isl)
        outputs = None if osl is None else osl.drawn(for_osl)
        while True:
            yield next(inputs), None if outputs is None else next(outputs)
    (for_choice,) = rng.spawn(1)
    drawn = [(one.isl.drawn(a), one.osl.drawn(b)) for one in pairs for a, b in (rng.spawn(2),)]
    weights = np.array([one.weight for one in pairs])
    bounds = np.cumsum(weights / weights.max())
    while True:
        # From the right: a draw of 0 is the first pair's, and one that rounds up to the sum stays the last's.
        chosen = np.searchsorted(bounds[:-1], for_choice.random(BLOCK) * bounds[-1], side="right")
        for index in chosen.tolist():
            inputs, outputs = drawn[index]
            yield next(inputs), next(outputs)


def _waits(mean_s: float, stddev_s: float, rng: np.random.Generator) -> Iterator[int]:
    """Think times in ns for ever."""
    while True:
        block = rng.normal(mean_s, stddev_s, BLOCK) if stddev_s else np.full(BLOCK, mean_s)
        yield from np.rint(np.maximum(0, block) * 1e9).astype(np.int64).tolist()
