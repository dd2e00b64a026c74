"""Traces: when requests came and how long they were, without their words; those are made up."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from genbench.datasets._rows import Row
from genbench.datasets._samples import Asked, Timeline
from genbench.datasets.synthetic import Words
from genbench.errors import DatasetError
from genbench.types import Sample


class Columns(NamedTuple):
    """What a trace calls time, input and output tokens; `time_ns` reads the first, from any zero of the trace's."""

    time: str
    isl: str
    osl: str
    time_ns: Callable[[str], int]  # raises ValueError
    time_form: str


def load(options: Mapping[str, Any], rng: np.random.Generator, columns: Columns) -> Iterator[Sample]:
    """Yield the trace's requests once: words of about its input length, its output length, `at_ns` from its first row.

    Rows with no time or with 0 tokens are left out and counted. Out of order there are no times. options besides the
    usual: `tokens_per_word`, `replay` (times are used: they must not go backwards). Raises DatasetError.
    """
    words = Words(rng)
    asked = Asked(options, rng)
    per_word = float(options.get("tokens_per_word") or 1.0)

    def made() -> Iterator[Sample]:
        left_out = asked.left_out("has no time or no tokens")
        timeline = Timeline(asked, columns.time)
        for row in asked.rows():
            isl = _tokens(row, columns.isl)
            osl = _tokens(row, asked.named.get("osl", columns.osl))
            time_ns = _time_ns(row, columns)
            if time_ns is None or not isl or not osl:
                left_out.add(row.where)
                continue
            left_out.keep()
            yield Sample(
                prompt=words.text(max(1, round(isl / per_word))),
                isl=isl,
                osl=None if asked.texts else asked.osl(osl, ""),
                at_ns=timeline.at_ns(row, time_ns),
            )
        left_out.end()

    yield from asked.batched(made())


def _tokens(row: Row, column: str) -> int | None:
    row.value(column)  # a trace without the column is another trace
    return row.whole(column, at_least=0)


def _time_ns(row: Row, columns: Columns) -> int | None:
    value = row.value(columns.time)
    text = "" if value is None else str(value).strip()
    if not text:
        return None
    try:
        return columns.time_ns(text)
    except ValueError as error:
        raise DatasetError(f"{row.where}: {columns.time} '{text}' is no time; expected {columns.time_form}") from error
