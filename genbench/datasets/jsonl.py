"""Lines of JSON: {"prompt": ...}, {"text": ...} or {"messages": [...]}, each with an optional "max_tokens"."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import orjson

from genbench.errors import DatasetError
from genbench.types import Sample


def load(options: Mapping[str, Any], rng: np.random.Generator) -> Iterator[Sample]:
    """Yield the file's samples once, in order.

    options: `path`; `osl` for lines without max_tokens (None: the model decides); `texts` true for embeddings, then
    `batch_size` lines make one sample. Raises DatasetError naming the line for anything that is not such an object.
    """
    path = options["path"]
    found: list[str] = []
    try:
        with open(path, "rb") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                sample = _sample(line, f"{path} line {number}", options)
                if not options.get("texts"):
                    yield sample
                    continue
                found.append(sample.prompt)
                if len(found) == options["batch_size"]:
                    yield Sample(texts=tuple(found))
                    found = []
    except OSError as error:
        raise DatasetError(f"--input-file {path}: {(error.strerror or str(error)).lower()}; check the path") from error
    if found:
        yield Sample(texts=tuple(found))


def _sample(line: bytes, where: str, options: Mapping[str, Any]) -> Sample:
    try:
        item = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise DatasetError(f"{where} is not JSON ({error}); each line must be one JSON object") from error
    if not isinstance(item, dict):
        raise DatasetError(
            f"{where} is no JSON object; give {{'prompt': ...}}, {{'text': ...}} or {{'messages': [...]}}"
        )
    osl = item.get("max_tokens", options["osl"])
    if osl is not None and (not isinstance(osl, int) or isinstance(osl, bool) or osl < 1):
        raise DatasetError(f"{where}: max_tokens {osl!r} is no positive number; correct it or leave it out")
    messages = item.get("messages")
    if messages is not None:
        if options.get("texts") or not options.get("chat"):
            raise DatasetError(f"{where} has messages, which only chat takes; use --endpoint-type chat")
        if (
            not isinstance(messages, list)
            or not messages
            or not all(isinstance(m, dict) and "role" in m for m in messages)
        ):
            raise DatasetError(f"{where}: messages must be a non-empty list of objects with a role")
        return Sample(messages=tuple(messages), osl=osl)
    text = item.get("prompt", item.get("text"))
    if not isinstance(text, str) or not text:
        raise DatasetError(f"{where} has no text; give a non-empty 'prompt', 'text' or 'messages'")
    return Sample(prompt=text, osl=osl)
