"""Samples, salt, arrivals and seed become a plan: the exact bytes of every request and when it is due.

Everything follows from the seed and the salt, so the same two give the same bytes. The salt is a few words at the very
front of every prompt, inside the exact input length: it keeps a repeated run from measuring the server's prefix cache.
Warm-up requests have a salt of their own.
"""

import hashlib
import itertools
import secrets
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import orjson

from genbench import registry
from genbench.clock import now_ns
from genbench.datasets import synthetic
from genbench.errors import DatasetError
from genbench.options import Load, RunConfig
from genbench.tokens import Tokenizer
from genbench.types import MISSING, OPEN_ENDED, Endpoint, Phase, Plan, Request, Sample, Schedule

SALT_WORDS = 3
AHEAD_S = 10
HASHED_SAMPLES = 10_000  # of an open-ended plan
MAX_ARRIVALS = 50_000_000


@dataclass(frozen=True, slots=True)
class Facts:
    """What the preflight learnt of the server, as far as bodies depend on it.

    `tokens_per_word` is None when there is a local tokenizer; `latency_s` is that of one small request.
    """

    model: str
    max_tokens_field: str = "max_tokens"
    ignore_eos: bool = False
    include_usage: bool = True
    tokens_per_word: float | None = None
    latency_s: float = 0.1


class BuiltRequests:
    """See `types.Requests`: builds from an endless iterator of samples, in order."""

    def __init__(self, make: Callable[[int], Request], total: int, ahead: int) -> None:
        self._make = make
        self._total = total
        self._ahead = ahead
        self._ready: deque[tuple[Request, bytes]] = deque()  # each with the digest of its body
        self._first = 0  # index of _ready[0]
        self._sent = hashlib.sha256()  # over the digests of what was handed out; a list of them would grow for ever
        self.on_build: Callable[[int, bytes], None] | None = None

    def __len__(self) -> int:
        return self._total

    def __getitem__(self, index: int) -> Request:
        while self.made <= index:
            self._build()
        while self._first < index:  # what was never asked for (it was not sent) is dropped
            self._ready.popleft()
            self._first += 1
        self._first += 1
        request, digest = self._ready.popleft()
        self._sent.update(digest)
        return request

    @property
    def made(self) -> int:
        """How many were built so far."""
        return self._first + len(self._ready)

    def is_made(self, index: int) -> bool:
        """Whether it is ready to be sent."""
        return index < self.made

    def refill(self, used: int, budget_ns: int) -> bool:
        """Build ahead of `used` for about `budget_ns`; True when far enough ahead."""
        until = now_ns() + budget_ns
        while self.made < min(self._total, used + self._ahead):
            if now_ns() > until:
                return False
            self._build()
        return True

    def peek(self) -> list[Request]:
        """What is built and not yet handed out."""
        return [request for request, _ in self._ready]

    def sha256(self) -> str:
        """Hash over the bodies handed out so far, in order: equal for two runs that sent the same bytes."""
        return self._sent.hexdigest()

    def _build(self) -> None:
        request = self._make(self.made)
        self._ready.append((request, hashlib.sha256(request.body).digest()))
        if self.on_build is not None:
            self.on_build(request.index, request.body)


def build(config: RunConfig, facts: Facts, endpoint: Endpoint, tokenizer: Tokenizer | None) -> Plan:
    """The plan of a resolved config. Raises DatasetError for a file without usable lines."""
    load = config.load
    assert load.warmup is not None
    samples = _Samples(config, facts)
    stream = samples.stream()
    salt = fresh_salt() if config.workload.salt is None else config.workload.salt
    salt = "" if salt == "none" else salt
    salter = _Salter(salt, config, tokenizer)
    options = body_options(config, facts)
    asked = options["extra"].get("n")
    choices = asked if isinstance(asked, int) and asked > 1 else 1

    def make(index: int) -> Request:
        warm = index < load.warmup  # type: ignore[operator]
        sample, isl = salter.salted(next(stream), warm=warm)
        if facts.max_tokens_field and sample.osl is not None:
            body = endpoint.build(sample, options | {"max_tokens": sample.osl})
        else:
            body = endpoint.build(sample, options)
        phase = Phase.WARMUP if warm else Phase.MEASURED
        # A copy: what orjson returns keeps a buffer of some KiB alive, however short it is.
        data = bytes(memoryview(orjson.dumps(body)))
        limit = body.get(facts.max_tokens_field)  # not the sample's: --extra may have the last word
        return Request(index, sample, data, limit if isinstance(limit, int) else None, phase, isl, choices)

    total, offset_ns = _arrivals(load, config.seed)
    rate = load.request_rate or (load.concurrency or 1) / max(facts.latency_s, 0.001)
    ahead = int(min(total, 1e6 if rate == float("inf") else max(1000, AHEAD_S * rate)))
    requests = BuiltRequests(make, total, ahead)
    requests.refill(0, 1 << 62)
    schedule = Schedule(
        offset_ns=offset_ns,
        concurrency=load.concurrency,
        duration_ns=None if load.duration_s is None else round(load.duration_s * 1e9),
        warmup=load.warmup,
        grace_ns=round(load.grace_s * 1e9),
    )
    notes = (*samples.notes(total), *salter.notes())
    return Plan(requests, schedule, config.seed, salt, _dataset_sha256(samples, total), notes)


def body_options(config: RunConfig, facts: Facts) -> dict[str, Any]:
    """What an endpoint's `build` gets besides the sample."""
    target, workload = config.target, config.workload
    return {
        "model": facts.model,
        "stream": bool(target.stream),
        "include_usage": facts.include_usage,
        "max_tokens": None,
        "max_tokens_field": facts.max_tokens_field,
        "ignore_eos": facts.ignore_eos,
        "temperature": workload.temperature,
        "top_p": workload.top_p,
        "seed": workload.request_seed,
        "extra": parse_extra(target.extra),
    }


def parse_extra(items: Sequence[str]) -> dict[str, Any]:
    """Extra body fields: key=value, key:value (a value that reads as JSON is JSON), or a whole JSON object."""
    found: dict[str, Any] = {}
    for item in items:
        if item.lstrip().startswith("{"):
            try:
                value = orjson.loads(item)
            except orjson.JSONDecodeError as error:
                raise DatasetError(
                    f"--extra {item}: not a JSON object ({error}); give key=value or valid JSON"
                ) from error
            found |= value
            continue
        at = min((i for i in (item.find("="), item.find(":")) if i > 0), default=-1)
        if at < 0:
            raise DatasetError(f"--extra {item}: no '=' in it; give key=value or a JSON object")
        try:
            found[item[:at]] = orjson.loads(item[at + 1 :])
        except orjson.JSONDecodeError:
            found[item[:at]] = item[at + 1 :]
    return found


def fresh_salt() -> str:
    """A few common words: about one token each, and some 10^9 of them."""
    vocabulary = synthetic.words()
    return " ".join(secrets.choice(vocabulary) for _ in range(SALT_WORDS))


def _arrivals(load: Load, seed: int) -> tuple[int, np.ndarray[Any, np.dtype[np.int64]] | None]:
    """(number of requests with warm-up, offsets or None for a closed loop)."""
    warmup = load.warmup or 0
    total = OPEN_ENDED if load.request_count is None else load.request_count + warmup
    if load.request_rate is None:
        return total, None
    name = "burst" if load.request_rate == float("inf") else "poisson"
    stream = registry.load("arrivals", name).offsets(load.request_rate, np.random.default_rng((seed, 1)), {})
    offsets: list[int] = []
    end = None
    for offset in stream:
        if len(offsets) == warmup and load.duration_s is not None:
            end = offset + round(load.duration_s * 1e9)
        if len(offsets) >= total or (end is not None and offset >= end) or len(offsets) >= MAX_ARRIVALS:
            break
        offsets.append(offset)
    return len(offsets), np.array(offsets, dtype=np.int64)


def _source(config: RunConfig, facts: Facts) -> Iterator[Sample]:
    """The data set's samples, once through."""
    workload = config.workload
    kind = config.target.endpoint_type
    options: dict[str, Any] = {
        "isl": workload.isl,
        "isl_stddev": workload.isl_stddev,
        "osl": workload.osl,
        "osl_stddev": workload.osl_stddev,
        "batch_size": workload.batch_size,
        "texts": kind == "embeddings",
        "chat": kind not in ("embeddings", "completions"),
        "tokens_per_word": facts.tokens_per_word or 1.0,
        "path": workload.input_file,
    }
    name = "synthetic" if workload.input_file is None else "jsonl"
    rng = np.random.default_rng((config.seed, 0))
    found: Iterator[Sample] = registry.load("datasets", name).load(options, rng)
    return found


class _Samples:
    """The data set over and over. A file is read once, whole: every line is looked at before any load is sent."""

    def __init__(self, config: RunConfig, facts: Facts) -> None:
        self._source = partial(_source, config, facts)
        self._listed: tuple[Sample, ...] = ()
        path = config.workload.input_file
        if path is not None:
            self._listed = tuple(self._source())
            if not self._listed:
                raise DatasetError(f"--input-file {path} has no samples in it; give at least one JSON line")

    def stream(self) -> Iterator[Sample]:
        """From the beginning, for ever."""
        return itertools.cycle(self._listed) if self._listed else self._source()

    def notes(self, total: int) -> list[str]:
        """A sentence when samples repeat."""
        count = len(self._listed)
        if not count or total <= count:
            return []
        times = "over and over" if total == OPEN_ENDED else f"{total / count:.3g}x"
        return [f"{count} samples used {times}; the prefix cache may answer"]


class _Salter:
    """Puts the salt in front, and makes synthetic prompts exactly as long as asked where a local tokenizer can tell."""

    def __init__(self, salt: str, config: RunConfig, tokenizer: Tokenizer | None) -> None:
        self._salt = salt
        self._warm_salt = _warmup_salt(salt)
        self._synthetic = config.workload.input_file is None
        self._tokenizer = tokenizer if tokenizer is not None and tokenizer.local else None
        self._words = synthetic.words()
        self._inexact = 0

    def salted(self, sample: Sample, *, warm: bool) -> tuple[Sample, int]:
        """A sample with the salt in it, and its length by a local tokenizer (else -1)."""
        salt = self._warm_salt if warm else self._salt
        if sample.messages:
            messages = _salted_messages(sample.messages, salt)
            return replace(sample, messages=messages), self._count(" ".join(_texts(messages)))
        if sample.texts:
            each = sample.isl // len(sample.texts)
            fitted = [self._text(text, salt, each) for text in sample.texts]
            isl = sum(count for _, count in fitted) if self._tokenizer else MISSING
            return replace(sample, texts=tuple(text for text, _ in fitted)), isl
        text, isl = self._text(sample.prompt, salt, sample.isl)
        return replace(sample, prompt=text), isl

    def _text(self, text: str, salt: str, isl: int) -> tuple[str, int]:
        if not self._synthetic:
            salted = f"{salt} {text}" if salt else text
            return salted, self._count(salted)
        words = text.split(" ")
        in_front = salt.split()[: max(0, len(words) - 1)]
        words = in_front + words[: max(1, len(words) - len(in_front))]
        if self._tokenizer is None:
            return " ".join(words), MISSING
        fitted, count = self._tokenizer.fit(words, isl, self._words)
        self._inexact += count != isl
        return fitted, count

    def _count(self, text: str) -> int:
        return self._tokenizer.count(text) if self._tokenizer is not None else MISSING

    def notes(self) -> list[str]:
        """A sentence when the tokenizer's merges did not allow the exact length."""
        return [f"{self._inexact} prompts are not of the exact input length"] if self._inexact else []


def _salted_messages(messages: tuple[Mapping[str, Any], ...], salt: str) -> tuple[Mapping[str, Any], ...]:
    if not salt:
        return messages
    first = dict(messages[0])
    content = first.get("content")
    if isinstance(content, list):
        first["content"] = [{"type": "text", "text": salt + " "}, *content]
    else:
        first["content"] = f"{salt} {content or ''}"
    return (first, *messages[1:])


def _texts(messages: tuple[Mapping[str, Any], ...]) -> Iterator[str]:
    for message in messages:
        content = message.get("content")
        if isinstance(content, str):
            yield content
        elif isinstance(content, list):
            yield from (str(part.get("text", "")) for part in content if isinstance(part, dict))


def _warmup_salt(salt: str) -> str:
    """Other words than the measured phase's, derived from them."""
    if not salt:
        return ""
    vocabulary = synthetic.words()
    digest = hashlib.sha256(f"warm-up {salt}".encode()).digest()
    return " ".join(vocabulary[int.from_bytes(digest[2 * i : 2 * i + 2]) % len(vocabulary)] for i in range(SALT_WORDS))


def _dataset_sha256(samples: _Samples, total: int) -> str:
    """Over the samples before the salt; an open-ended plan over its first ones."""
    digest = hashlib.sha256(b"open" if total == OPEN_ENDED else str(total).encode())
    for sample in itertools.islice(samples.stream(), min(total, HASHED_SAMPLES)):
        digest.update(orjson.dumps([sample.messages, sample.prompt, sample.texts, sample.isl, sample.osl]))
    return digest.hexdigest()
