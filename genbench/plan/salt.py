"""What stands in front of every prompt: the salt, then a shared prefix; and the exact length of synthetic ones.

The salt is a few words, new for each plan: it keeps a repeated run from measuring the server's prefix cache. It stands
before the shared prefix and inside a synthetic prompt's length; the shared prefix comes on top of that length. Warm-up
requests have a salt of their own.
"""

import hashlib
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from genbench.datasets import random, synthetic
from genbench.options import RunConfig
from genbench.sources import dataset_of, synthetic_text
from genbench.tokens import Tokenizer
from genbench.types import MISSING, Sample

SALT_WORDS = 3
Messages = tuple[Mapping[str, Any], ...]


def fresh_salt() -> str:
    """A few common words: about one token each, and some 10^9 of them."""
    vocabulary = synthetic.words()
    return " ".join(secrets.choice(vocabulary) for _ in range(SALT_WORDS))


def warmup_salt(salt: str) -> str:
    """Other words than the measured phase's, derived from them."""
    if not salt:
        return ""
    vocabulary = synthetic.words()
    digest = hashlib.sha256(f"warm-up {salt}".encode()).digest()
    return " ".join(vocabulary[int.from_bytes(digest[2 * i : 2 * i + 2]) % len(vocabulary)] for i in range(SALT_WORDS))


class Prefixes:
    """The shared prefixes and who gets which; `wanted` is the length of each in tokens."""

    def __init__(self, config: RunConfig, tokenizer: Tokenizer | None, tokens_per_word: float) -> None:
        workload = config.workload
        self.wanted = workload.shared_prefix_tokens
        self._texts: list[str] = []
        if not self.wanted:
            return
        source = synthetic.Words(np.random.default_rng((config.seed, 3)))
        for _ in range(workload.num_prefixes):
            text = source.text(max(1, round(self.wanted / tokens_per_word)))
            if tokenizer is not None:
                text, _ = tokenizer.fit(text.split(" "), self.wanted, synthetic.words())
            self._texts.append(text)
        weights = np.ones(workload.num_prefixes)
        if workload.prefix_distribution == "zipf":
            weights /= np.arange(1, workload.num_prefixes + 1)
        self._shares = np.cumsum(weights) / weights.sum()
        self._drawn = self._draw(np.random.default_rng((config.seed, 4)))

    def _draw(self, rng: np.random.Generator) -> Iterator[int]:
        while True:
            yield from np.searchsorted(self._shares, rng.random(4096), side="right").tolist()

    def next(self) -> str:
        """The prefix of the next request; empty where there is none."""
        return self._texts[next(self._drawn)] if self._texts else ""


class Salter:
    """Puts salt and prefix in front, and makes synthetic prompts exactly as long as asked where a tokenizer can tell.

    `tokens_per_word` is the server's, for prefixes without a tokenizer.
    """

    def __init__(self, salt: str, config: RunConfig, tokenizer: Tokenizer | None, tokens_per_word: float) -> None:
        self._salt = salt
        self._warm_salt = warmup_salt(salt)
        dataset = config.workload.dataset
        self._synthetic = synthetic_text(dataset)
        self._random = dataset_of(dataset)[0] == "random"
        self._tokenizer = tokenizer if tokenizer is not None and tokenizer.local else None
        self._words = synthetic.words()
        self._prefixes = Prefixes(config, self._tokenizer, tokens_per_word)
        self._inexact = self._most = 0

    def front(self, *, warm: bool) -> tuple[str, str]:
        """(salt, prefix) of the next request or conversation."""
        return (self._warm_salt if warm else self._salt), self._prefixes.next()

    def first(self, sample: Sample, salt: str, prefix: str) -> tuple[Sample, int]:
        """A sample with its front, and its length by a local tokenizer (else -1)."""
        if sample.messages:
            messages = fronted(sample.messages, f"{salt} {prefix}".strip())
            return replace(sample, messages=messages), self.count(messages)
        if sample.token_ids:
            return self._ids(sample, salt, prefix)
        if sample.texts:
            each = sample.isl // len(sample.texts)
            fitted = [self._text(text, salt, prefix, each) for text in sample.texts]
            isl = sum(count for _, count in fitted) if self._tokenizer else MISSING
            wanted = sample.isl + len(fitted) * self._prefixes.wanted if sample.isl >= 0 else MISSING
            return replace(sample, texts=tuple(text for text, _ in fitted), isl=wanted), isl
        text, isl = self._text(sample.prompt, salt, prefix, sample.isl)
        wanted = sample.isl + self._prefixes.wanted if sample.isl >= 0 else MISSING
        return replace(sample, prompt=text, isl=wanted), isl

    def later(self, sample: Sample) -> tuple[str, int]:
        """A later turn's own words, fitted where they are synthetic, and their length (else -1)."""
        return self._text(sample.prompt, "", "", sample.isl)

    def _text(self, text: str, salt: str, prefix: str, isl: int) -> tuple[str, int]:
        if not (self._synthetic or self._random) or isl < 0:
            whole = " ".join(part for part in (salt, prefix, text) if part)
            return whole, self.count_text(whole)
        wanted = isl + (self._prefixes.wanted if prefix else 0)
        if self._random:
            assert self._tokenizer is not None  # the data set needed one to draw it
            whole = " ".join(part for part in (salt, prefix, text) if part)
            return self._counted(*random.fitted(self._tokenizer, whole, wanted, iter(())), wanted)
        words = text.split(" ")
        in_front = salt.split()[: max(0, len(words) - 1)]
        words = [*in_front, *prefix.split(), *words[: max(1, len(words) - len(in_front))]]
        if self._tokenizer is None:
            return " ".join(words), MISSING
        return self._counted(*self._tokenizer.fit(words, wanted, self._words), wanted)

    def _counted(self, text: str, count: int, wanted: int) -> tuple[str, int]:
        self._inexact += count != wanted
        self._most = max(self._most, abs(count - wanted))
        return text, count

    def _ids(self, sample: Sample, salt: str, prefix: str) -> tuple[Sample, int]:
        assert self._tokenizer is not None  # the data set needed one to draw them
        ids = list(sample.token_ids)
        if salt:
            in_front = list(self._tokenizer.encode(salt))[: max(0, len(ids) - 1)]
            ids = [*in_front, *ids[len(in_front) :]]
            before = in_front
        else:
            before = []
        if prefix:
            ids = [*before, *self._tokenizer.encode(prefix), *ids[len(before) :]]
        return replace(sample, token_ids=tuple(ids), isl=len(ids)), len(ids)

    def count_text(self, text: str) -> int:
        """Its length by a local tokenizer, else -1."""
        return self._tokenizer.count(text) if self._tokenizer is not None else MISSING

    def count(self, messages: Messages) -> int:
        """Content tokens of messages by a local tokenizer, else -1."""
        if self._tokenizer is None:
            return MISSING
        return sum(self._tokenizer.count(text) for text in texts_of(messages))

    def notes(self) -> list[str]:
        """A sentence when the tokenizer's merges did not allow the exact length."""
        if not self._inexact:
            return []
        return [f"{self._inexact} prompts are off the exact input length, by at most {self._most} tokens"]


def fronted(messages: Messages, front: str) -> Messages:
    """Messages with words in front of the first one's text."""
    if not front:
        return messages
    first = dict(messages[0])
    content = first.get("content")
    if isinstance(content, list):
        first["content"] = [{"type": "text", "text": front + " "}, *content]
    else:
        first["content"] = f"{front} {content or ''}"
    return (first, *messages[1:])


def texts_of(messages: Messages) -> Iterator[str]:
    """The texts in messages."""
    for message in messages:
        content = message.get("content")
        if isinstance(content, str):
            yield content
        elif isinstance(content, list):
            yield from (str(part.get("text", "")) for part in content if isinstance(part, dict))
