"""Embeddings: a list of texts in, one vector for each out; never streamed.

Source: https://platform.openai.com/docs/api-reference/embeddings. A vector is a list of numbers, base64 of
little-endian float32 (`encoding_format`, asked for through extra), or a list of vectors, one per token
(llama-cpp-python).
"""

import array
import base64
import binascii
import math
import sys
from collections.abc import Mapping
from typing import Any

from genbench.endpoints._openai import closed, error_of, usage_of
from genbench.errors import ConfigError
from genbench.types import MISSING, Event, EventKind, Sample, Usage

PATH = "/v1/embeddings"
FRAMING = "json"


def build(sample: Sample, options: Mapping[str, Any]) -> dict[str, Any]:
    """Request body: the sample's texts, or its prompt as the only one. Raises ConfigError for one that has neither."""
    texts = list(sample.texts) or [sample.prompt]
    if sample.messages and not sample.texts and not sample.prompt:
        raise ConfigError("embeddings needs texts, but this input has messages; use --endpoint-type chat")
    return {"model": options.get("model", ""), "input": texts, **(options.get("extra") or {})}


def read(message: Mapping[str, Any]) -> list[Event]:
    """One CONTENT event whose `embeddings` counts the finite vectors, or an ERROR event; takes any JSON value."""
    if not isinstance(message, dict):
        return []
    data = message.get("data")
    if not isinstance(data, list):
        return closed(message, [])
    finite = sum(1 for item in data if isinstance(item, dict) and _finite(item.get("embedding")))
    usage = usage_of(message.get("usage"))
    if usage is not None:
        # vLLM reports 0 completion tokens here; an embedding has none to report, which is not the same as 0.
        usage = Usage(usage.prompt_tokens, MISSING, usage.cached_tokens)
    error = error_of(message) if "error" in message else None
    if error is not None:
        return [Event(EventKind.CONTENT, embeddings=finite), Event(EventKind.ERROR, error, usage=usage)]
    return [Event(EventKind.CONTENT, "", 0, MISSING, usage, "", finite)]


def _finite(vector: Any) -> bool:
    """Whether it is a vector, not empty, with nothing in it but finite numbers."""
    if isinstance(vector, str):
        return _finite_base64(vector)
    if not isinstance(vector, list) or not vector:
        return False
    if isinstance(vector[0], list):
        return all(isinstance(row, list) and _finite_numbers(row) for row in vector)
    return _finite_numbers(vector)


def _finite_numbers(numbers: list[Any]) -> bool:
    # Both run in C (1,024 numbers: 4 us the sum, 18 us the types; a look at each would take 32 us more). A sum is not
    # finite if any number is not; where it overflows, each is looked at. It would take true and false for numbers.
    if bool in map(type, numbers):
        return False
    try:
        if math.isfinite(sum(numbers)):
            return len(numbers) > 0
        return all(math.isfinite(number) for number in numbers)
    except (TypeError, OverflowError):
        return False


def _finite_base64(text: str) -> bool:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return False
    if not raw or len(raw) % 4:
        return False
    floats = array.array("f", raw)
    if sys.byteorder == "big":
        floats.byteswap()
    return math.isfinite(sum(floats))
