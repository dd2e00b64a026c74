"""Uniformly random tokens of the model's vocabulary: as token ids for completions, else as the text they make."""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Protocol

import numpy as np

from genbench.datasets.synthetic import sample_of, shapes
from genbench.errors import ConfigError
from genbench.types import Sample

BLOCK = 8192
ATTEMPTS = 32
SPARE = 8  # for every so many tokens that a text lacks one more is added: some always merge
# What no prompt should hold: replacement characters (bytes that are no character) and control characters.
UNFIT = re.compile("[\ufffd\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


class Tokens(Protocol):
    """The part of a tokenizer that is needed here."""

    def encode(self, text: str, /) -> Sequence[int]:
        """Token ids of a text as content."""

    def decode(self, ids: Sequence[int], /) -> str:
        """The text of token ids."""

    def vocabulary(self) -> list[int]:
        """The ids that may be drawn."""


def load(options: Mapping[str, Any], rng: np.random.Generator) -> Iterator[Sample]:
    """Yield samples for ever.

    options: those of `synthetic.shapes`, which gives the same lengths for the same seed; `tokenizer` (local); `ids`
    (the endpoint takes token ids: then exactly `isl` of them, every ordinary token equally likely); `texts` and
    `batch_size` for embeddings. A text is made of tokens drawn in the same way and fitted as `fitted` says. Raises
    ConfigError without a local tokenizer.
    """
    tokenizer: Tokens | None = options.get("tokenizer")
    if tokenizer is None:
        raise ConfigError(
            "--dataset random needs the model's --tokenizer (a folder with tokenizer.json, a name in the local hub"
            " cache or tiktoken:NAME), whose tokens it draws; name one, or use --dataset synthetic"
        )
    vocabulary = np.array(tokenizer.vocabulary(), dtype=np.int64)
    if not len(vocabulary):
        raise ConfigError("--dataset random: the --tokenizer has only special and added tokens; name the model's own")
    (for_ids,) = rng.spawn(1)
    spare = _drawn(vocabulary, for_ids)
    batch = int(options.get("batch_size", 1)) if options.get("texts") else 0

    def text(length: int) -> str:
        return fitted(tokenizer, "", length, spare)[0]

    for shape in shapes(options, rng):
        if batch:
            yield Sample(texts=tuple(text(shape.isl) for _ in range(batch)), isl=batch * shape.isl)
        elif options.get("ids"):
            yield sample_of(shape, token_ids=tuple(next(spare) for _ in range(shape.isl)))
        else:
            yield sample_of(shape, prompt=text(shape.isl))


def fitted(tokenizer: Tokens, text: str, length: int, spare: Iterator[int]) -> tuple[str, int]:
    """A text that begins like `text` and has exactly `length` tokens when it is encoded, and its count.

    It is cut, or lengthened by the text of `spare` tokens, until it reads back as so many: neighbours merge, and what
    is no whole character falls out. White space at the ends is left out, as chat templates do. After 32 attempts, or
    when `spare` has come to an end, the nearest is returned; its count tells.
    """
    best: tuple[str, int] | None = None
    text = _clean(text)
    ids = list(tokenizer.encode(text)) if text else []
    for attempt in range(ATTEMPTS):
        if text and (best is None or abs(len(ids) - length) < abs(best[1] - length)):
            best = text, len(ids)
        lacking = length - len(ids)
        if lacking == 0:
            break
        if lacking < 0:  # after a few attempts from further in front: the same cut may give the same miss
            ids = ids[: max(0, length - attempt // 4)]
        else:
            more = list(islice(spare, lacking + lacking // SPARE))
            if not more:
                break
            ids += more
        text = _clean(tokenizer.decode(ids))
        ids = list(tokenizer.encode(text)) if text else []
    return best or (text, len(ids))


def _clean(text: str) -> str:
    return UNFIT.sub("", text).strip()


def _drawn(vocabulary: np.ndarray[Any, np.dtype[np.int64]], rng: np.random.Generator) -> Iterator[int]:
    """Ids for ever, each as likely as any other."""
    while True:
        yield from vocabulary[rng.integers(0, len(vocabulary), BLOCK)].tolist()
