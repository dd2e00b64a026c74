"""What a data set holds, without sending anything: lengths, a histogram, what prompts share, a hash."""

import hashlib
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import orjson

from genbench import config, stats
from genbench.errors import ConfigError
from genbench.plan.facts import Facts
from genbench.plan.salt import Prefixes, texts_of
from genbench.plan.samples import Conversation, Samples
from genbench.resolve import resolve
from genbench.sources import DRAWN, dataset_of
from genbench.tokens import Tokenizer
from genbench.tokens import load as load_tokenizer
from genbench.types import Sample

DRAWN_COUNT = 1_000
PREFIX_PROMPTS = 20_000  # a hash for each block of each: 700,000 of 550 tokens
BLOCK_TOKENS = 16  # vLLM's default
BLOCK_CHARACTERS = 64
BINS = 12
SHOWN = ("mean", "std", "min", "p5", "p25", "p50", "p75", "p95", "p99", "max")


@dataclass(slots=True)
class Contents:
    """What was found. Lengths are tokens, or words where neither the data nor a tokenizer
    tell (`unit`); counts are of requests.

    `shared_pct` is the share of the first `prefix_prompts` prompts that a prefix cache without limits could answer, in
    blocks of `block`; None where nothing was to compare. `span_s` is a trace's length.
    """

    dataset: str
    unit: str
    conversations: int = 0
    requests: int = 0
    isl: "array[int]" = field(default_factory=lambda: array("q"))
    osl: "array[int]" = field(default_factory=lambda: array("q"))
    turns: "array[int]" = field(default_factory=lambda: array("q"))
    shared_pct: float | None = None
    prefix_prompts: int = 0
    block: str = ""
    span_s: float | None = None
    sha256: str = ""
    dropped: dict[str, int] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Plain data: statistics and histograms instead of the lengths."""
        return {
            "dataset": self.dataset,
            "conversations": self.conversations,
            "requests": self.requests,
            "unit": self.unit,
            "isl": described(self.isl),
            "osl": described(self.osl),
            "turns": described(self.turns) if self.conversations != self.requests else None,
            "shared_prefix": {"pct": self.shared_pct, "prompts": self.prefix_prompts, "block": self.block},
            "span_s": self.span_s,
            "sha256": self.sha256,
            "dropped": self.dropped,
        }


def described(lengths: "array[int]") -> dict[str, Any] | None:
    """Count, statistics and histogram of some lengths; None for none."""
    if not lengths:
        return None
    values = np.frombuffer(lengths, dtype=np.int64).astype(np.float64)
    found = stats.distribution(values)
    edges, counts = histogram(values)
    return {
        "count": values.size,
        **{name: found.get(name, 0.0) for name in SHOWN},  # one value has no deviation
        "histogram": {"edges": edges.tolist(), "counts": counts.tolist()},
    }


def histogram(values: "np.ndarray[Any, np.dtype[np.float64]]") -> tuple[Any, Any]:
    """(edges, counts): bins of equal width up to the 99th percentile, the last one takes the rest."""
    low, high = float(values.min()), float(np.percentile(values, 99))
    width = max(1.0, np.ceil((high - low + 1) / BINS))
    bins = int(max(1, np.ceil((high - low + 1) / width)))
    edges = low + width * np.arange(bins + 1)
    edges[-1] = max(edges[-1], values.max() + 1)
    counts, _ = np.histogram(values, edges)
    return edges, counts


def look(given: config.Given, say: Callable[[str], None]) -> Contents:
    """Go through a data set once. Raises ConfigError or DatasetError as a run would."""
    if given.config.workload.plan is not None:
        raise ConfigError("--plan is no data set; name one with --dataset")
    resolved, _ = resolve(given)
    workload, target = resolved.workload, resolved.target
    tokenizer, missing = _tokenizer(resolved)
    if missing:
        say(f"note: {missing}")
    name, _ = dataset_of(workload.dataset)
    samples = Samples(resolved, Facts(target.model or ""), tokenizer, say)
    most = resolved.load.request_count if "request_count" in given.named else None
    if name in DRAWN or workload.sampling == "random":
        most = most or DRAWN_COUNT
    found = Contents(workload.dataset or "synthetic", "tokens")
    prefixes = Prefixes(resolved, tokenizer, 1.0)
    _go_through(found, islice(_one_pass(samples), most), tokenizer, prefixes)
    found.dropped = dict(samples.left_out)
    return found


def _tokenizer(resolved: Any) -> tuple[Tokenizer | None, str]:
    name = resolved.target.tokenizer
    if name is None:
        return None, ""
    if name == "server":
        raise ConfigError("--tokenizer server needs a server, and nothing is sent here; name one on this machine")

    def nobody(path: str, body: dict[str, Any]) -> dict[str, Any]:
        raise OSError("no server was named")

    return load_tokenizer(name, download=resolved.target.download, post=nobody)


def _one_pass(samples: Samples) -> Iterator[Conversation]:
    """Conversations until the data begin again."""
    for conversation in samples.stream():
        if samples.passes > 1:
            return
        if conversation:
            yield conversation


def _go_through(
    found: Contents, stream: Iterator[Conversation], tokenizer: Tokenizer | None, prefixes: Prefixes
) -> None:
    digest = hashlib.sha256()
    seen: set[int] = set()
    blocks = known = 0
    first = last = -1
    for conversation in stream:
        found.conversations += 1
        found.requests += len(conversation)
        found.turns.append(len(conversation))
        prefix = prefixes.next()
        digest.update(prefix.encode())
        for k, sample in enumerate(conversation):
            found.isl.append(_length(sample, tokenizer) + (0 if k else prefixes.wanted))
            if sample.isl < 0 and tokenizer is None:
                found.unit = "words"
            if sample.osl is not None:
                found.osl.append(sample.osl)
            digest.update(
                orjson.dumps(
                    [sample.messages, sample.prompt, sample.texts, sample.token_ids, sample.osl, sample.answer]
                )
            )
        at = conversation[0].at_ns
        if at >= 0:
            first, last = (at if first < 0 else min(first, at)), max(last, at)
        if found.conversations <= PREFIX_PROMPTS:
            for block in _blocks(conversation[0], prefix, tokenizer):
                blocks += 1
                known += block in seen
                seen.add(block)
    found.prefix_prompts = min(found.conversations, PREFIX_PROMPTS)
    found.block = f"{BLOCK_TOKENS} tokens" if tokenizer else f"{BLOCK_CHARACTERS} characters"
    found.shared_pct = 100 * known / blocks if blocks else None
    found.span_s = (last - first) / 1e9 if first >= 0 else None
    found.sha256 = digest.hexdigest()


def _text(sample: Sample) -> str:
    """All text of a sample, one after the other."""
    if sample.messages:
        return "\n".join(texts_of(sample.messages))
    return "\n".join(sample.texts) if sample.texts else sample.prompt


def _length(sample: Sample, tokenizer: Tokenizer | None) -> int:
    if sample.isl >= 0:
        return sample.isl
    text = _text(sample)
    return tokenizer.count(text) if tokenizer else len(text.split())


def _blocks(sample: Sample, prefix: str, tokenizer: Tokenizer | None) -> Iterator[int]:
    """A hash for each whole block of a prompt and all before it."""
    text = f"{prefix} {_text(sample)}".lstrip()
    units: Any = list(tokenizer.encode(text)) if tokenizer else text
    if sample.token_ids and tokenizer:
        units = [*(tokenizer.encode(prefix) if prefix else ()), *sample.token_ids]
    size = BLOCK_TOKENS if sample.token_ids or tokenizer else BLOCK_CHARACTERS
    chained = 0
    for at in range(0, len(units) - size + 1, size):
        chained = hash((chained, tuple(units[at : at + size])))
        yield chained
