"""The data set's samples, over and over: grouped into conversations, kept to the bounds, cut to the model's length.

A request is a conversation of one turn. What is left out is counted, and the run says so. The hash is over the samples
as they come out here: before salt, prefix and history, so it is the same whatever the salt.
"""

import hashlib
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import orjson

from genbench import lengths, registry
from genbench.errors import ConfigError, DatasetError, GenbenchError
from genbench.options import RunConfig
from genbench.plan.facts import Facts
from genbench.plan.salt import texts_of
from genbench.sources import DRAWN, columns_of, dataset_of, synthetic_text
from genbench.tokens import Tokenizer
from genbench.types import MISSING, OPEN_ENDED, Sample

HASHED_SAMPLES = 10_000
HASHED_BYTES = 16 << 20
PAUSE = 32  # samples that are left out
PATIENCE, PATIENCE_DRAWN = 100_000, 1_000  # samples without one that fits
Conversation = tuple[Sample, ...]
KEPT = ("conversations ended", "cut short")  # what is used all the same
Say = Callable[[str], None]


def module_of(config: RunConfig) -> Any:
    """The data set's module (or the attribute a user named)."""
    return registry.load("datasets", dataset_of(config.workload.dataset)[0])


def options_of(config: RunConfig, facts: Facts, tokenizer: Tokenizer | None, say: Say) -> dict[str, Any]:
    """What a data set's `load` gets."""
    workload, kind = config.workload, config.target.endpoint_type
    local = tokenizer if tokenizer is not None and tokenizer.local else None
    turns = workload.turns
    path = dataset_of(workload.dataset)[1]
    return {
        "name": workload.dataset or "synthetic",
        "path": path,
        "columns": columns_of(workload.columns),
        "sampling": workload.sampling,
        "isl": lengths.parse(workload.isl, workload.isl_stddev),
        "osl": None if workload.osl is None else lengths.parse(workload.osl, workload.osl_stddev),
        "osl_named": workload.osl is not None and path is not None,
        "pairs": lengths.parse_pairs(workload.isl_osl) if workload.isl_osl else (),
        "turns": _turns(turns, of_file=path is not None),
        "think_s": workload.think_time_s or 0.0,
        "think_stddev_s": workload.think_time_stddev_s,
        "batch_size": workload.batch_size,
        "texts": kind == "embeddings",
        "chat": kind not in ("embeddings", "completions") or workload.apply_chat_template,
        "ids": kind == "completions" and not workload.apply_chat_template,
        "tokens_per_word": facts.tokens_per_word or 1.0,
        "tokenizer": local,
        "count": None if local is None else local.count,
        "replay": config.load.arrival == "trace",
        "download": config.target.download,
        "say": say,
    }


def _turns(text: str | None, *, of_file: bool) -> Any:
    """For a file the most turns to take (None: its own default); for synthetic ones their distribution."""
    if text is None:
        return None
    if of_file:
        return 1 << 30 if text == "all" else int(text)
    return lengths.parse(text)


class Samples:
    """Conversations of a data set; `left_out` counts by reason, over the first pass, `passes` how often it began."""

    def __init__(
        self, config: RunConfig, facts: Facts, tokenizer: Tokenizer | None, say: Say, salt_tokens: int = 0
    ) -> None:
        """`salt_tokens` come on top of a system prompt and of prompts that are not drawn."""
        self._config = config
        self._workload = config.workload
        self._module = module_of(config)
        load = getattr(self._module, "load", None) if isinstance(self._module, ModuleType) else self._module
        if load is None:
            raise ConfigError(f"--dataset {self._workload.dataset} has no load(options, rng); see docs/architecture.md")
        self._load: Any = load
        self._options = options_of(config, facts, tokenizer, say)
        self._count: Callable[[str], int] | None = self._options["count"]
        self._tokenizer: Tokenizer | None = self._options["tokenizer"]
        self._limit = self._workload.max_model_len or facts.max_model_len
        drawn = dataset_of(self._workload.dataset)[0] in DRAWN or synthetic_text(self._workload.dataset)
        system = self._workload.system_prompt or ""
        self._around = facts.template_tokens + self._workload.shared_prefix_tokens
        self._around += salt_tokens if system or not drawn else 0
        self._around += self._count(system) if self._count is not None else 0
        self._patience = PATIENCE_DRAWN if drawn else PATIENCE
        self._rng = np.random.default_rng((config.seed, 5))
        self.left_out: Counter[str] = Counter()
        self.dropped = self.left_out
        self.passes = 0
        self.first_pass = 0  # conversations in it, once it is over

    def stream(self) -> Iterator[Conversation]:
        """From the beginning, for ever; a trace once. An empty one now and then means: not yet.

        Raises DatasetError where a whole pass leaves nothing.
        """
        for epoch in itertools.count():
            self.passes += 1
            self.dropped = self.left_out if not epoch else Counter()  # each sample is counted once
            seed = (self._config.seed, 0, epoch) if epoch else (self._config.seed, 0)
            seen = kept = 0
            for conversation in grouped(self._loaded(np.random.default_rng(seed))):
                seen += 1
                fitting = self._kept(conversation)
                kept += bool(fitting)
                if fitting or seen % PAUSE == 0:  # an empty one: whoever asks has other things to do, too
                    yield fitting
                if not kept and seen >= self._patience:  # what is drawn never ends
                    raise DatasetError(self._nothing_left(seen))
            if not epoch:
                self.first_pass = kept
            if not kept:
                raise DatasetError(self._nothing_left(seen))
            if self._options["replay"]:
                return

    def _loaded(self, rng: np.random.Generator) -> Iterator[Sample]:
        """One pass over the data; what a data set of one's own does wrong is a sentence."""
        name = self._workload.dataset
        try:
            for sample in self._load(self._options, rng):
                if not isinstance(sample, Sample):
                    raise DatasetError(f"--dataset {name}: load yields {type(sample).__name__}, expected Sample")
                yield sample
        except GenbenchError:
            raise
        except Exception as error:
            if dataset_of(name)[0].isidentifier():  # ours: a fault to be seen
                raise
            raise DatasetError(f"--dataset {name} fails: {type(error).__name__}: {error}") from error

    def _nothing_left(self, seen: int) -> str:
        name = self._workload.dataset or "synthetic"
        if not seen:
            return f"--dataset {name} has no samples in it; give at least one"
        why = ", ".join(f"{count} {reason}" for reason, count in self.dropped.items())
        fix = "widen the bounds or give other data"
        if self._limit is not None and any(str(self._limit) in reason for reason in self.dropped):
            fix = "input, answer and template must fit it: ask for less, or see --max-model-len"
        return f"--dataset {name}: nothing is left of {seen} samples ({why}); {fix}"

    def _kept(self, turns: Conversation) -> Conversation:
        """What of a conversation is within the bounds; empty when nothing is."""
        workload, length = self._workload, MISSING
        if workload.min_isl is not None or workload.max_isl is not None or self._limit is not None:
            length = self._length(turns[0])
        if workload.min_isl is not None and length < workload.min_isl:
            self.dropped[f"shorter than --min-isl {workload.min_isl}"] += 1
            return ()
        if workload.max_isl is not None and length > workload.max_isl:
            self.dropped[f"longer than --max-isl {workload.max_isl}"] += 1
            return ()
        if workload.max_osl is not None:
            turns = tuple(replace(one, osl=min(one.osl or workload.max_osl, workload.max_osl)) for one in turns)
        if self._limit is not None and length >= 0:
            turns = self._within_limit(turns, length, self._limit)
        return self._thinking(turns) if len(turns) > 1 else turns

    def _length(self, sample: Sample) -> int:
        """Content tokens: as drawn, or by the tokenizer; -1 where neither tells."""
        if sample.isl >= 0 or self._count is None:
            return sample.isl
        texts = texts_of(sample.messages) if sample.messages else sample.texts or (sample.prompt,)
        return sum(map(self._count, texts))

    def _within_limit(self, turns: Conversation, length: int, limit: int) -> Conversation:
        """At most what the model takes: prompt, history and answer of each turn together."""
        total, kept = self._around, 0
        for k, one in enumerate(turns):
            own = length if k == 0 else max(0, self._length(one))
            total += own + (one.osl or 1)
            if total > limit:
                break
            kept = k + 1
        if kept == len(turns):
            return turns
        what = self._workload.on_too_long
        reason = f"beyond the model's {limit} tokens"
        if what == "fail":
            raise DatasetError(
                f"--dataset {self._workload.dataset or 'synthetic'}: a prompt of {length} tokens and its answer are "
                f"{reason}; see --on-too-long and --max-isl"
            )
        if kept:
            self.dropped[f"{KEPT[0]} early, {reason}"] += 1
            return turns[:kept]
        room = limit - self._around - (turns[0].osl or 1)
        if what == "truncate" and room >= 1 and self._tokenizer is not None and not turns[0].messages:
            self.dropped[f"{KEPT[1]}, {reason}"] += 1
            return (self._cut(turns[0], room),)
        self.dropped[reason] += 1
        return ()

    def _cut(self, sample: Sample, room: int) -> Sample:
        """The sample's beginning, at most `room` tokens."""
        single = replace(sample, session=MISSING, isl=min(sample.isl, room))
        if sample.token_ids:
            return replace(single, token_ids=sample.token_ids[:room])
        assert self._tokenizer is not None
        if sample.texts:
            each = max(1, room // len(sample.texts))
            return replace(single, texts=tuple(cut(text, each, self._tokenizer) for text in sample.texts))
        return replace(single, prompt=cut(sample.prompt, room, self._tokenizer))

    def _thinking(self, turns: Conversation) -> Conversation:
        """With the think times of the command line, or the file's own spread by it."""
        think, spread = self._workload.think_time_s, self._workload.think_time_stddev_s
        if self._options["path"] is None or (think is None and not spread):
            return turns
        away = self._rng.normal(0.0, spread, len(turns)).tolist() if spread else [0.0] * len(turns)
        waits = [(one.think_ns / 1e9 if think is None else think) + more for one, more in zip(turns, away, strict=True)]
        later = zip(turns[1:], waits[1:], strict=True)
        return (turns[0], *(replace(one, think_ns=max(0, round(wait * 1e9))) for one, wait in later))

    def notes(self, used: int) -> list[str]:
        """What was left out, and whether samples were used more than once, `used` conversations being used."""
        found = [
            f"{'of' if reason.startswith(KEPT) else 'left out of'} the data: {count} {reason}"
            for reason, count in self.left_out.items()
        ]
        if 0 < self.first_pass < used and self._options["path"] is not None:
            found.append(
                f"the data's {self.first_pass} samples were used more than once (warm-up is one use);"
                " the prefix cache may answer"
            )
        return found


def cut(text: str, tokens: int, tokenizer: Tokenizer) -> str:
    """The beginning of a text, whole words, at most `tokens` tokens by the tokenizer (one word at least)."""
    words = text.split(" ")
    low, high = 1, len(words)
    while low < high:
        middle = (low + high + 1) // 2
        if tokenizer.count(" ".join(words[:middle])) <= tokens:
            low = middle
        else:
            high = middle - 1
    return " ".join(words[:low])


def grouped(samples: Iterator[Sample]) -> Iterator[Conversation]:
    """Turns that belong together, as one; a sample without a session is one by itself."""
    turns: list[Sample] = []
    for sample in samples:
        if turns and (sample.session == MISSING or sample.turn == 0):
            yield tuple(turns)
            turns = []
        if sample.session == MISSING:
            yield (sample,)
        else:
            turns.append(sample)
    if turns:
        yield tuple(turns)


def dataset_sha256(head: Sequence[Conversation], total: int, config: RunConfig) -> str:
    """Over the samples before the salt, the first `HASHED_SAMPLES` of them, and what is put in front of all."""
    digest = hashlib.sha256(b"open" if total == OPEN_ENDED else str(total).encode())
    workload = config.workload
    shared: Mapping[str, Any] = {
        "system": workload.system_prompt,
        "prefix": [workload.shared_prefix_tokens, workload.num_prefixes, workload.prefix_distribution],
    }
    if workload.system_prompt or workload.shared_prefix_tokens:
        digest.update(orjson.dumps(shared))
    for sample in itertools.islice(itertools.chain.from_iterable(head), HASHED_SAMPLES):
        digest.update(orjson.dumps([sample.messages, sample.prompt, sample.texts, sample.isl, sample.osl]))
        if sample.token_ids:
            digest.update(orjson.dumps(sample.token_ids))
        if sample.session != MISSING:
            digest.update(orjson.dumps([sample.turn, sample.answer, sample.think_ns, workload.history]))
    return digest.hexdigest()


def first_ones(samples: Samples, stream: Iterator[Conversation], most: int) -> list[Conversation]:
    """So many conversations; or one pass of the data, `HASHED_SAMPLES` turns or `HASHED_BYTES` of text."""
    found: list[Conversation] = []
    turns = size = 0
    for conversation in stream:
        if not conversation:
            continue
        found.append(conversation)
        turns += len(conversation)
        size += sum(len(one.prompt) + len(one.answer) + sum(map(len, one.texts)) + 8 * len(one.token_ids)
                    + len(str(one.messages)) for one in conversation)  # fmt: skip
        if len(found) >= most or turns >= HASHED_SAMPLES or size >= HASHED_BYTES or samples.passes > 1:
            break
    return found
