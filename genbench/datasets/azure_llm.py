"""Azure LLM inference traces of 2023 and 2024: TIMESTAMP, ContextTokens, GeneratedTokens; words are made up."""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np

from genbench.datasets import _trace
from genbench.types import Sample

SYNTHETIC_TEXT = True  # the plan makes prompts exactly as long as the trace says
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:?\d\d)?")


def load(options: Mapping[str, Any], rng: np.random.Generator) -> Iterator[Sample]:
    """Yield the trace's requests once; see `_trace.load`.

    Source: https://github.com/Azure/AzurePublicDataset
    """
    form = "one like 2023-11-16 18:01:51.1627340"
    columns = _trace.Columns("TIMESTAMP", "ContextTokens", "GeneratedTokens", _time_ns, form)
    yield from _trace.load(options, rng, columns)


def _time_ns(text: str) -> int:
    """Nanoseconds since 1970 of '2023-11-16 18:01:51.1627340', with or without '+00:00'; none means UTC.

    The seven digits of 100 ns are more than datetime keeps. Raises ValueError.
    """
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(text)
    day, time, fraction, zone = match.groups()
    moment = datetime.fromisoformat(f"{day} {time}{zone or ''}")
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp()) * 1_000_000_000 + int((fraction or "0").ljust(9, "0"))
