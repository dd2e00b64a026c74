"""Lines of JSON: {"prompt": ...}, {"text": ...}, {"messages": [...]} or {"turns": [...]}, optional "max_tokens"."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from genbench.datasets._rows import Row, shown
from genbench.datasets._samples import Asked, Timeline, Turn
from genbench.errors import DatasetError
from genbench.types import MISSING, Sample

TIME = "timestamp"
LONGEST_S = 1e6
FORMS = "give a non-empty 'prompt', 'text' or 'messages', or name a column with --columns prompt=NAME"


def load(options: Mapping[str, Any], rng: np.random.Generator) -> Iterator[Sample]:
    """Yield the file's samples once. Each row is a request or, with "turns", a conversation of all its turns.

    A turn is {"prompt": ..., "answer"?: ..., "max_tokens"?: ..., "think_s"?: ...}. "timestamp" is in seconds; `at_ns`
    counts from the first row's. Raises DatasetError naming line and field for anything else.
    """
    asked = Asked(options, rng, {"messages": "messages", "osl": "max_tokens"})
    yield from asked.batched(_samples(asked))


def _samples(asked: Asked) -> Iterator[Sample]:
    timeline = Timeline(asked, TIME)
    for row in asked.rows():
        time_ns = _time_ns(row, needed=asked.replay)
        at_ns = MISSING if time_ns is None else timeline.at_ns(row, time_ns)
        for sample in _of_row(row, asked):
            yield sample if at_ns == MISSING or sample.turn else replace(sample, at_ns=at_ns)


def _of_row(row: Row, asked: Asked) -> Iterator[Sample]:
    if "turns" in row.values and not asked.named.keys() & {"prompt", "text", "messages"}:
        if asked.texts:
            raise DatasetError(f"{row.where} has turns, which embeddings do not take; give a non-empty 'text'")
        yield from asked.conversation(_turns(row))
        return
    own = asked.own(row)
    column = asked.columns["messages"]
    if row.values.get(column) is not None:
        if asked.texts or not asked.chat:
            raise DatasetError(f"{row.where} has messages, which only chat takes; use --endpoint-type chat")
        messages = row.values[column]
        if (
            not isinstance(messages, list)
            or not messages
            or not all(isinstance(m, dict) and "role" in m and _content(m.get("content")) for m in messages)
        ):
            raise DatasetError(f"{row.where}: {column} must be a non-empty list of objects with a role and a content")
        answer = asked.column(row, "output")
        yield Sample(messages=tuple(messages), osl=asked.osl(own, answer))
        return
    yield asked.request(_words(row, asked), asked.column(row, "system"), own=own, answer=asked.column(row, "output"))


def _content(value: Any) -> bool:
    """Whether it is what a message may say: a text, parts, or nothing (a call of a tool)."""
    return value is None or isinstance(value, str | list)


def _words(row: Row, asked: Asked) -> str:
    named = asked.named.get("prompt") or asked.named.get("text")
    column = named or next((name for name in ("prompt", "text") if name in row.values), None)
    if column is None and row.source.tabular:
        column = "prompt"  # which is not there: the message has the columns that are
    text = row.text(column, "prompt") if column else ""
    if text:
        return text
    hint = f", or use --dataset sharegpt:{row.source.path}" if "conversations" in row.values else ""
    raise DatasetError(f"{row.where} has no text{f' in {named!r}' if named else ''}; {FORMS}{hint}")


def _turns(row: Row) -> list[Turn]:
    turns = row.values["turns"]
    if not isinstance(turns, list) or not turns:
        raise DatasetError(f"{row.where}: turns must be a non-empty list of objects with a prompt")
    return [_turn(row, k, turn) for k, turn in enumerate(turns)]


def _turn(row: Row, k: int, turn: Any) -> Turn:
    where = f"{row.where}: turn {k + 1}"
    if not isinstance(turn, dict):
        raise DatasetError(f"{where} is {shown(turn)}, expected an object with a prompt")
    prompt, answer = turn.get("prompt"), turn.get("answer") or ""
    if not isinstance(prompt, str) or not prompt:
        raise DatasetError(f"{where} has no text; give a non-empty 'prompt'")
    if not isinstance(answer, str):
        raise DatasetError(f"{where}: 'answer' is {shown(answer)}, expected text")
    osl = row._replace(values=turn).whole("max_tokens")
    think_s = turn.get("think_s") or 0.0
    if not isinstance(think_s, int | float) or isinstance(think_s, bool) or not 0 <= think_s <= LONGEST_S:
        raise DatasetError(f"{where}: think_s {think_s!r} is no time in seconds; correct it or leave it out")
    return Turn(prompt, answer, osl, round(think_s * 1e9))


def _time_ns(row: Row, *, needed: bool) -> int | None:
    """The row's timestamp in nanoseconds of its own clock, None where it has none."""
    value = row.values.get(TIME)
    if value is None:
        if needed:
            raise DatasetError(f"{row.where} has no {TIME}, which a replay needs; give it in seconds, or do not replay")
        return None
    seconds = value
    if row.source.tabular and isinstance(value, str):
        try:
            seconds = float(value)
        except ValueError:
            seconds = None
    if isinstance(seconds, int | float) and not isinstance(seconds, bool) and 0 <= seconds < 1e10:
        return round(seconds * 1e9)
    raise DatasetError(f"{row.where}: {TIME} {value!r} is no number of seconds; correct it or leave it out")
