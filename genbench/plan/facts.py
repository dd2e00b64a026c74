"""What bodies depend on besides the samples: what is known of the server, and the options of every body."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from genbench.errors import DatasetError
from genbench.options import RunConfig


@dataclass(frozen=True, slots=True)
class Facts:
    """What the preflight learnt of the server, as far as bodies depend on it.

    `tokens_per_word` is None when there is a local tokenizer; `latency_s` is that of one small request;
    `max_model_len` is what a prompt and its answer may come to, None where the server does not say.
    """

    model: str
    max_tokens_field: str = "max_tokens"
    ignore_eos: bool = False
    include_usage: bool = True
    tokens_per_word: float | None = None
    latency_s: float = 0.1
    max_model_len: int | None = None
    template_tokens: int = 0


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
