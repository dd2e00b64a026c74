"""Rows become samples: what the options ask for, the same way for every format.

Output lengths: --osl where the user gave it, else the file's own number, else the tokens of its answer where a local
tokenizer counts, else the --osl in force, else none. Nothing is guessed from characters.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import repeat
from typing import Any, NamedTuple

import numpy as np

from genbench.datasets import _order, _rows
from genbench.datasets._rows import Row, shown
from genbench.errors import DatasetError
from genbench.types import MISSING, Sample

ENDLESS = 100_000  # rows at random of which none is of use: the pass would never end
USER = frozenset({"human", "user"})
ASSISTANT = frozenset({"gpt", "assistant", "chatgpt", "bing", "bard", "model"})


class Turn(NamedTuple):
    """One turn of a conversation in a file: `osl` None where the file does not say."""

    prompt: str
    answer: str = ""
    osl: int | None = None
    think_ns: int = 0


class LeftOut:
    """Rows that a pass leaves out, and why: the first is said at once, how many it were at the end."""

    def __init__(self, why: str, path: str, say: Callable[[str], None], *, endless: bool) -> None:
        self._why = why
        self._path = path
        self._say = say
        self._endless = endless
        self._left = self._kept = 0

    def add(self, where: str) -> None:
        """Leave one out. Raises DatasetError where it goes on like that for ever."""
        self._left += 1
        if self._left == 1:
            self._say(f"{where} {self._why}: such rows are left out")
        if self._endless and not self._kept and self._left == ENDLESS:
            raise DatasetError(f"{self._path}: each of {ENDLESS:,} rows at random {self._why}; give other data")

    def keep(self) -> None:
        """Count one that was of use."""
        self._kept += 1

    def end(self) -> None:
        """Say how many, at the end of a pass."""
        if self._left > 1:
            self._say(f"{self._path}: {self._left:,} of {self._left + self._kept:,} rows left out")


class Asked:
    """What the options ask of a data set; `columns` are the format's own names, overridden by --columns.

    Order and output lengths have random streams of their own, so that neither shifts the other.
    """

    def __init__(
        self, options: Mapping[str, Any], rng: np.random.Generator, columns: Mapping[str, str] | None = None
    ) -> None:
        self._order, drawing = rng.spawn(2)
        self.name: str = options["name"]
        self.path: str | None = options["path"]
        self.named: Mapping[str, str] = options.get("columns") or {}
        self.columns: Mapping[str, str] = {**(columns or {}), **self.named}
        self.sampling: str = options.get("sampling") or "sequential"
        self.texts = bool(options.get("texts"))
        self.chat = bool(options.get("chat"))
        self.replay = bool(options.get("replay"))
        self.turns: int | None = options.get("turns")
        self.say: Callable[[str], None] = options.get("say") or (lambda remark: None)
        self.count: Callable[[str], int] | None = options.get("count")
        self._batch_size: int = options.get("batch_size") or 1
        self._osl_named = bool(options.get("osl_named"))
        wanted = options.get("osl")
        self._drawn: Iterator[int | None] = repeat(None) if wanted is None else wanted.drawn(drawing)
        self._sessions = 0
        if self.replay and self.sampling != "sequential":
            raise DatasetError(f"--sampling {self.sampling} would mix up the times of a trace; leave it out to replay")

    def rows(self) -> Iterator[Row]:
        """The file's rows, in the order asked for."""
        yield from _order.rows(_rows.find(self.name, self.path), self.sampling, self._order, self.say)

    def places(self, count: int) -> Iterator[int]:
        """The order asked for of a source that is read by number."""
        return _order.places(count, self.sampling, self._order)

    def left_out(self, why: str) -> LeftOut:
        """A count of rows that cannot be used; `why` goes on from the row's name."""
        return LeftOut(why, self.path or self.name, self.say, endless=self.sampling == "random")

    def column(self, row: Row, role: str) -> str:
        """A column's text that a format can do without: "" where it is not there, unless --columns named it."""
        column = self.columns.get(role)
        if column is None or (role not in self.named and column not in row.values):
            return ""
        return row.text(column, role)

    def own(self, row: Row) -> int | None:
        """The output length a row itself asks for."""
        column = self.columns.get("osl")
        if column is None:
            return None
        if "osl" in self.named:
            row.value(column, "osl")  # must be there
        return row.whole(column)

    def osl(self, own: int | None, answer: str) -> int | None:
        """Wanted output tokens: see the module."""
        if self._osl_named:
            return next(self._drawn)
        if own is not None:
            return own
        if answer and self.count is not None:
            return max(1, self.count(answer))
        return next(self._drawn)

    def request(
        self, prompt: str, system: str = "", *, own: int | None = None, answer: str = "", isl: int = MISSING
    ) -> Sample:
        """A single request. The system's words are a message to chat, stand in front otherwise, not in embeddings."""
        if self.texts:
            return Sample(prompt=prompt, isl=isl)
        osl = self.osl(own, answer)
        if system and self.chat:
            return Sample(messages=_opened(system, prompt), isl=isl, osl=osl)
        return Sample(prompt=f"{system}\n\n{prompt}" if system else prompt, isl=isl, osl=osl)

    def conversation(self, turns: list[Turn], system: str = "", *, most: int | None = None) -> Iterator[Sample]:
        """The samples of a conversation, at most --turns of them (else `most`); a request when that is 1.

        The system's words are then the first of the first turn's messages, which every later turn repeats.
        """
        most = most if self.turns is None else self.turns
        if most == 1 or self.texts:
            first = turns[0]
            yield self.request(first.prompt, system, own=first.osl, answer=first.answer)
            return
        session, self._sessions = self._sessions, self._sessions + 1
        for k, turn in enumerate(turns[:most]):
            yield Sample(
                prompt="" if system and not k else turn.prompt,
                messages=_opened(system, turn.prompt) if system and not k else (),
                osl=self.osl(turn.osl, turn.answer),
                session=session,
                turn=k,
                think_ns=turn.think_ns if k else 0,
                answer=turn.answer,
            )

    def batched(self, samples: Iterator[Sample]) -> Iterator[Sample]:
        """For embeddings so many prompts make one sample (the last one the rest); otherwise as they are."""
        if not self.texts:
            yield from samples
            return
        found: list[Sample] = []
        for sample in samples:
            found.append(sample)
            if len(found) == self._batch_size:
                yield _batch(found)
                found = []
        if found:
            yield _batch(found)


class Timeline:
    """Moments of rows from the first one on; -1 out of order. When replayed, they must not go backwards."""

    def __init__(self, asked: Asked, column: str) -> None:
        self._asked = asked
        self._column = column
        self._first = self._latest = MISSING
        self._last: Row | None = None

    def at_ns(self, row: Row, time_ns: int) -> int:
        """A row's moment, from its time on any clock. Raises DatasetError naming both rows and their times."""
        if self._asked.sampling != "sequential":
            return MISSING
        last = self._last
        if last is None:
            self._first = time_ns
        elif self._asked.replay and time_ns < self._latest:
            raise DatasetError(
                f"{row.where}: {self._column} {row.values[self._column]} is before {last.values[self._column]} of "
                f"{last.where.removeprefix(row.source.path).strip()}; sort the file by time, or do not replay it"
            )
        self._last, self._latest = row, time_ns
        return time_ns - self._first


def _batch(samples: list[Sample]) -> Sample:
    known = all(sample.isl >= 0 for sample in samples)
    isl = sum(sample.isl for sample in samples) if known else MISSING
    return Sample(texts=tuple(sample.prompt for sample in samples), isl=isl, at_ns=samples[0].at_ns)


def questions(
    options: Mapping[str, Any],
    rng: np.random.Generator,
    columns: Mapping[str, str],
    shaped: Callable[[Asked, Row, str], str] = lambda asked, row, text: text,
) -> Iterator[Sample]:
    """One request per row: `columns` names the format's prompt, system, output and osl; `shaped` words the prompt.

    Rows whose prompt is empty are left out. Raises DatasetError for a column that is not there or holds no text.
    """
    asked = Asked(options, rng, columns)

    def made() -> Iterator[Sample]:
        left_out = asked.left_out("has an empty prompt")
        for row in asked.rows():
            text = row.text(prompt_column(asked), "prompt")
            if not text.strip():
                left_out.add(row.where)
                continue
            left_out.keep()
            yield asked.request(
                shaped(asked, row, text),
                asked.column(row, "system"),
                own=asked.own(row),
                answer=asked.column(row, "output"),
            )
        left_out.end()

    yield from asked.batched(made())


def prompt_column(asked: Asked) -> str:
    """The column of the words to send: --columns prompt= or text=, else the format's."""
    return asked.named.get("prompt") or asked.named.get("text") or asked.columns["prompt"]


def _opened(system: str, prompt: str) -> tuple[dict[str, str], ...]:
    """A system's and a user's message."""
    return ({"role": "system", "content": system}, {"role": "user", "content": prompt})


def dialogues(asked: Asked, rows: Iterator[Row], column: str, *, most: int | None) -> Iterator[Sample]:
    """The conversations of rows that hold a list of messages, {from, value} or {role, content}, in a column.

    Those that do not begin with the user's words, after the system's if any, are left out.
    """
    left_out = asked.left_out("does not begin with a user's words")
    for row in rows:
        system, turns = dialogue(row, column)
        if not turns:
            left_out.add(row.where)
            continue
        left_out.keep()
        yield from asked.conversation(turns, system, most=most)
    left_out.end()


def dialogue(row: Row, column: str) -> tuple[str, list[Turn]]:
    """(system's words or "", turns) of a list of messages; no turns where it does not begin with a user's words.

    What one side says in several messages is one text. It ends before a speaker that is neither user nor assistant.
    Raises DatasetError for what is no list of such messages.
    """
    messages = row.value(column, "messages")
    if not isinstance(messages, list):
        raise DatasetError(f"{row.where}: '{column}' is {shown(messages)}, expected a list of messages")
    system = ""
    turns: list[Turn] = []
    for k, message in enumerate(messages):
        speaker, words = _said(row, column, k, message)
        if speaker == "system" and not turns and not system:
            system = words
        elif speaker in USER and (not turns or turns[-1].answer):
            if not words.strip():
                break
            turns.append(Turn(words))
        elif speaker in USER:
            turns[-1] = turns[-1]._replace(prompt=f"{turns[-1].prompt}\n\n{words}")
        elif speaker in ASSISTANT and turns:
            answer = turns[-1].answer
            turns[-1] = turns[-1]._replace(answer=f"{answer}\n\n{words}" if answer else words)
        else:
            break
    return system, turns


def _said(row: Row, column: str, k: int, message: Any) -> tuple[str, str]:
    """(speaker, words) of one message."""
    if isinstance(message, dict):
        speaker = message.get("from", message.get("role"))
        words = message.get("value", message.get("content"))
        if isinstance(speaker, str) and (words is None or isinstance(words, str)):
            return speaker.lower(), words or ""
    raise DatasetError(
        f"{row.where}: message {k + 1} of '{column}' is not of the form {{'from': ..., 'value': ...}} or "
        "{'role': ..., 'content': ...} with text in it"
    )
