"""One small request before any load: is the server there, does it take what we will send, what does it report?

What is learnt decides the bodies: the model's name, which field limits the output, whether `ignore_eos` is taken, how
many tokens the template adds and, without a tokenizer of our own, how many tokens a common word has.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from genbench.clock import now_ns
from genbench.datasets import synthetic
from genbench.engine.prober import Prober
from genbench.errors import ConfigError, GenbenchError, TargetError
from genbench.options import RunConfig
from genbench.plan.facts import Facts, body_options
from genbench.sources import synthetic_text
from genbench.types import MISSING, Endpoint, Record, Sample

TOKENS = 4
SOME_WORDS = 128
PATIENCE_NS = 1_000_000_000
CUT_SHORT = 0.7  # all words cannot have so much less on average than some of them
CONTEXT_FIELDS = ("max_model_len", "context_length", "max_context_length", "context_window")
LENGTH_FIELDS = ("max_tokens", "max_completion_tokens", "min_tokens")
CHARACTERS_OFF = 4  # a server that counts characters may add a few special tokens


@dataclass(frozen=True, slots=True)
class Found:
    """What the preflight learnt. `template_tokens` is None where the server reports no usage."""

    facts: Facts
    family: int
    sockaddr: Any
    models: tuple[str, ...] = ()
    version: str = ""
    template_tokens: int | None = None
    time_to_ready_s: float = 0.0
    notes: tuple[str, ...] = field(default=())


def preflight(
    config: RunConfig, prober: Prober, path: str, endpoint: Endpoint, count: Callable[[str], int] | None
) -> Found:
    """Ask the server what the plan has to know; `count` is a local tokenizer's, None when there is none.

    Raises TargetError (not reachable, not ready) or ConfigError (it refuses: wrong model, key or path).
    """
    listed = _listed(prober)
    models = tuple(listed)
    model = config.target.model or (models[0] if models else None)
    if model is None:
        # Only now is it worth knowing whether anybody is there at all.
        record, _ = prober.ask(path, endpoint, _small(config), body_options(config, Facts("")))
        if record.status in (401, 403) or record.status >= 500:
            _judge(record, prober, path, "")
        listed = _listed(prober)  # it may have been loading until now
        models = tuple(listed)
        if not models:
            raise ConfigError(f"{prober.url.where} lists no models at /v1/models; name one with --model")
        model = models[0]
    facts, record, seconds, notes = _negotiate(config, prober, path, endpoint, model, models)
    ready_s = prober.waited_s - seconds

    def usage_of(text: str) -> int:
        """Input tokens of a text as the server counts them, template included; -1 where it does not say."""
        embeddings = config.target.endpoint_type == "embeddings"
        sample = Sample(texts=(text,)) if embeddings else Sample(prompt=text)
        options = _small_options(config, facts, None if embeddings else 1)
        try:
            return prober.ask(path, endpoint, sample, options, once=True)[0].isl_usage
        except TargetError:  # a slow prefill: we can do without this answer, the run itself will show it
            return MISSING

    template: int | None = None
    if models and model not in models:
        notes.append(f"the server lists {', '.join(models[:3])} and no '{model}': it may answer with another model")
    if record.isl_usage >= 0 and config.target.endpoint_type != "embeddings":
        small = _small(config).prompt
        # Without a tokenizer the text twice tells how many tokens it has by itself.
        own = count(small) if count is not None else usage_of(f"{small} {small}") - record.isl_usage
        template = max(0, record.isl_usage - (own if own > 0 else len(small.split())))
    synthetic = synthetic_text(config.workload.dataset)
    if count is None and synthetic and record.isl_usage < 0:
        notes.append(
            "no usage from the server and no tokenizer: prompts have as many words as tokens were asked for,"
            " and tokens are not counted; name one with --tokenizer"
        )
    elif count is None and synthetic:
        per_word, odd = _tokens_per_word(config, usage_of, template or 0)
        facts = replace(facts, tokens_per_word=per_word)
        notes += odd
    version = prober.get("/version")
    return Found(
        facts=replace(facts, latency_s=seconds, max_model_len=listed.get(model), template_tokens=template or 0),
        family=prober.family,
        sockaddr=prober.sockaddr,
        models=models,
        version=str(version.get("version", "")) if isinstance(version, dict) else "",
        template_tokens=template,
        time_to_ready_s=ready_s,
        notes=tuple(notes),
    )


def check_too(config: RunConfig, prober: Prober, path: str, endpoint: Endpoint, facts: Facts) -> None:
    """One small request to another of several servers: it must take what the first one took.

    Raises TargetError or ConfigError, as `preflight` does.
    """
    limit = None if config.target.endpoint_type == "embeddings" else TOKENS
    record, _ = prober.ask(path, endpoint, _small(config), _small_options(config, facts, limit))
    _judge(record, prober, path, facts.model, tuple(_listed(prober)))


def _listed(prober: Prober) -> dict[str, int | None]:
    """The models at /v1/models, each with its context length where the server says it."""
    answer = prober.get("/v1/models")
    items = answer.get("data") if isinstance(answer, dict) else None
    return {str(item["id"]): _context(item) for item in items or () if isinstance(item, dict) and "id" in item}


def _context(item: dict[str, Any]) -> int | None:
    """What a prompt and its answer may come to (vLLM, SGLang; others by the names they were seen to use)."""
    for name in CONTEXT_FIELDS:
        if isinstance(found := item.get(name), int) and found > 0:
            return found
    return None


def _small_options(config: RunConfig, facts: Facts, limit: int | None) -> dict[str, Any]:
    """The run's options with a small limit, which no `--extra` may lift: a long answer is cut before its usage."""
    options = body_options(config, facts)
    if limit is not None:
        options["extra"] = {key: value for key, value in options["extra"].items() if key not in LENGTH_FIELDS}
    return options | {"max_tokens": limit}


def _small(config: RunConfig) -> Sample:
    if config.target.endpoint_type == "embeddings":
        return Sample(texts=("hello there",))
    return Sample(prompt="say some words about this")


def _negotiate(
    config: RunConfig, prober: Prober, path: str, endpoint: Endpoint, model: str, models: Sequence[str]
) -> tuple[Facts, Record, float, list[str]]:
    """Find a body the server takes: each refusal drops or changes the one field it can be about."""
    wanted = config.workload.ignore_eos
    facts = Facts(model=model, ignore_eos=wanted is not False and config.target.endpoint_type != "embeddings")
    notes: list[str] = []
    limit = None if config.target.endpoint_type == "embeddings" else TOKENS
    while True:
        options = _small_options(config, facts, limit)
        record, seconds = prober.ask(path, endpoint, _small(config), options)
        if record.status not in (400, 422):
            break
        if "max_completion_tokens" in record.error and facts.max_tokens_field == "max_tokens":
            facts = replace(facts, max_tokens_field="max_completion_tokens")
        elif facts.ignore_eos and wanted is None:
            facts = replace(facts, ignore_eos=False)
            notes.append("the server refuses ignore_eos and min_tokens: answers may end before the output length")
        elif facts.include_usage and "stream_options" in record.error:
            facts = replace(facts, include_usage=False)
            notes.append("the server refuses stream_options: no usage in the stream")
        else:
            break
    _judge(record, prober, path, model, models)
    if facts.ignore_eos and wanted is None:
        notes.append("ignore_eos and min_tokens are sent: answers should run to the output length")
    return facts, record, seconds, notes


def _judge(record: Record, prober: Prober, path: str, model: str, models: Sequence[str] = ()) -> None:
    where = prober.url.where
    if record.status in (401, 403):
        raise ConfigError(f"{where} refuses the key ({record.error}); give --api-key or OPENAI_API_KEY")
    if record.status == 404 and "model" in record.error.lower():
        known = ", ".join(models[:3])
        fix = f"it lists {known}: choose with --model" if known else "choose another with --model"
        raise ConfigError(f"{where} does not serve '{model}' ({record.error}); {fix}")
    if record.status == 404:
        raise ConfigError(f"{where} knows no {path} ({record.error}); see --endpoint-type and --endpoint")
    if 400 <= record.status < 500:
        raise ConfigError(f"{where} refuses a small request to '{model}' ({record.error}); change what it names")
    if not 200 <= record.status < 300:
        raise TargetError(f"{where} fails on a small request ({record.error or record.outcome.value}); look at its log")


def _tokens_per_word(config: RunConfig, usage_of: Callable[[str], int], template: int) -> tuple[float, list[str]]:
    """Tokens of a word of our list, as the server counts them; and what is odd about its count.

    Every word once, so that chance has no part in the mean; some of them first, for servers that cut a long input short
    or refuse it.
    """
    words = np.random.default_rng((config.seed, 2)).permutation(synthetic.words()).tolist()
    text = " ".join(words[:SOME_WORDS])
    began = now_ns()
    usage = usage_of(text)
    if usage <= 0:
        return 1.0, []
    if abs(usage - template - len(text)) <= CHARACTERS_OFF:  # infinity's usage does
        return 1.0, [
            "the server's usage counts characters, not tokens: so does the input length shown, and prompts have as many"
            " words as tokens were asked for; name a --tokenizer"
        ]
    some = max(0.1, (usage - template) / SOME_WORDS)
    if now_ns() - began > PATIENCE_NS:  # the whole list would take as many times longer as it is longer
        return some, []
    every = (usage_of(" ".join(words)) - template) / len(words)
    return (every if every > CUT_SHORT * some else some), []


def explain(error: GenbenchError, url_named: bool) -> GenbenchError:
    """The sentence for a server that is not there: without --url the demo may have been meant."""
    if url_named or not isinstance(error, TargetError) or not str(error).startswith("no server"):
        return error
    return TargetError("no server at localhost:8000; give --url, or run `genbench profile` alone for the demo")
