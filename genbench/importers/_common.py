"""What the importers share: an opened file, what was found in one, and how foreign numbers become ours.

Rules
- What a file does not tell stays at its default (-1, "", absent). NaN, infinity, null and a text are no number.
- Moments become whole ns from the earliest one in the file; `zero_unix_ns` is the wall clock of that zero.
- An event is placed only where the file has its moment. Where a tool takes another moment for ours (its start, its
  end), that moment is used and a note says whose definition the figure then follows.
- A file that is broken ends in one DatasetError that names the place.
"""

import hashlib
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genbench.errors import DatasetError
from genbench.types import MISSING, NOT_FAILED, EventKind, Outcome, Record

NS = 1_000_000_000
NS_PER_MS = 1_000_000
ERROR_CHARS = 1024
STATS = {"avg": "mean", "median": "p50", "std_dev": "std"}
HTTP = re.compile(r"HTTP (\d{3})")
FAILURES = frozenset(outcome for outcome in Outcome if outcome not in NOT_FAILED)
GAPS = ("ttst", "icl", "itl")  # what needs every token's moment
Spread = dict[str, float | str]


@dataclass(frozen=True, slots=True)
class Source:
    """A file as it was opened: its documents with the line each begins in; `text` is that of a file that is no JSON."""

    path: Path
    sha256: str
    documents: tuple[tuple[int, Any], ...]
    text: str = ""


@dataclass(frozen=True, slots=True)
class Imported:
    """One result in a file: what it says of the run, and its requests or, where it has none, its figures.

    `metrics` and `run` are keyed by our key where the definition is ours, else by "<tool>.<name>". `absent` names
    metrics of ours that the requests would give wrongly, because moments between are not in the file. `made` is the
    moment of the run as YYYYmmddTHHMMSSZ, "" where the file has none.
    """

    tool: str
    version: str
    format: str
    model: str = ""
    endpoint_type: str = ""
    url: str = ""
    load: Mapping[str, Any] = field(default_factory=dict)
    workload: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None
    made: str = ""
    zero_unix_ns: int = MISSING
    records: tuple[Record, ...] = ()
    metrics: Mapping[str, Spread] = field(default_factory=dict)
    run: Mapping[str, Spread] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()


def open_source(path: Path) -> Source:
    """Read a file: one JSON document, one per line, or text. Raises DatasetError with the place where it is broken."""
    try:
        data = path.read_bytes()
    except IsADirectoryError:
        raise DatasetError(f"{path} is a folder; give the result file in it") from None
    except OSError as error:
        raise DatasetError(f"cannot read {path} ({error.strerror}); give another tool's result file") from error
    digest = hashlib.sha256(data).hexdigest()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is not text (byte {error.start}); give the JSON file of the tool") from error
    if not text.strip():
        raise DatasetError(f"{path} is empty; give a result file that was written to its end")
    if text.lstrip()[0] not in "{[":
        return Source(path, digest, (), text)
    try:
        return Source(path, digest, ((1, json.loads(text)),))
    except json.JSONDecodeError as error:
        lines = _lines(path, text)
        if lines is None:
            raise DatasetError(f"{path} is cut or broken: {_place(error)}; export it again") from error
    except RecursionError as error:
        raise DatasetError(f"{path} is nested too deeply to be a result; give the tool's own file") from error
    return Source(path, digest, lines)


def _lines(path: Path, text: str) -> tuple[tuple[int, Any], ...] | None:
    """The documents of a file with one per line; None when the first line is no document."""
    found: list[tuple[int, Any]] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            found.append((number, json.loads(line)))
        except json.JSONDecodeError as error:
            if not found:
                return None
            raise DatasetError(
                f"{path} is cut or broken at line {number}, column {error.colno} ({error.msg}); remove that line or"
                " export it again"
            ) from error
    return tuple(found)


def _place(error: json.JSONDecodeError) -> str:
    return f"{error.msg} at line {error.lineno}, column {error.colno}"


@contextmanager
def placed(source: Source, place: str, what: str) -> Iterator[None]:
    """Whatever does not have the shape that `what` writes ends in one sentence with the place."""
    try:
        yield
    except (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError) as error:
        said = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise DatasetError(f"{source.path}, {place}: not as {what} writes it ({said}); export it again") from error


# -- values -----------------------------------------------------------------------------------------------------------


def number(value: Any) -> float | None:
    """A finite number, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if math.isfinite(value) else None


def count(value: Any) -> int:
    """A whole number from 0 up, else -1."""
    found = number(value)
    return int(found) if found is not None and found >= 0 and found == int(found) else MISSING


def words(value: Any) -> str:
    """A text, else ''."""
    return value if isinstance(value, str) else ""


def part(document: Any, *path: str | int) -> Any:
    """What is there along a path of keys and places; None where it ends."""
    for key in path:
        if isinstance(key, str):
            document = document.get(key) if isinstance(document, Mapping) else None
        else:
            document = document[key] if isinstance(document, list) and -len(document) <= key < len(document) else None
    return document


def ns_of_s(value: Any) -> int:
    """A moment or a span in s as ns, -1 where there is none; whole seconds are taken apart, so a double keeps all."""
    found = number(value)
    if found is None:
        return MISSING
    whole = math.floor(found)
    return whole * NS + round((found - whole) * NS)


def ns_of_ms(value: Any) -> int:
    """A span in ms as ns, -1 where there is none."""
    found = number(value)
    return MISSING if found is None else round(found * NS_PER_MS)


def given(**values: Any) -> dict[str, Any]:
    """Those that are there."""
    return {name: value for name, value in values.items() if value not in (None, "", MISSING)}


def column(document: Mapping[str, Any], name: str, rows: int) -> list[Any]:
    """A list of one entry per request; raises ValueError where its length is another."""
    found = document[name]
    if not isinstance(found, list):
        raise ValueError(f"{name} is not a list")
    if len(found) != rows:
        raise ValueError(f"{name} has {len(found)} entries, not {rows}")
    return found


def spread(value: Mapping[str, Any], unit: str = "") -> Spread:
    """Its statistics by our names, its unit; what is no number is left out."""
    found: Spread = {"unit": unit or words(value.get("unit"))}
    for name, one in value.items():
        if (known := number(one)) is not None:
            found[STATS.get(name, name)] = known
    return found


def figure(value: float, unit: str) -> Spread:
    """One figure of the whole run."""
    return {"unit": unit, "value": value}


# -- records ----------------------------------------------------------------------------------------------------------


def place(record: Record, events: Iterable[tuple[int, EventKind]]) -> None:
    """Give a record its events, in order; one with the moment of the one before shared its read."""
    last = None
    for ns, kind in events:
        record.event_ns.append(ns)
        record.event_kind.append(int(kind))
        record.event_choice.append(0)
        record.event_tokens.append(MISSING)
        record.event_shared.append(int(ns == last))
        last = ns
    record.streamed = True


def from_gaps(first_ns: int, gaps_ns: Sequence[int]) -> list[int]:
    """The moments of events, from the first one's and the gaps between them."""
    moments = [first_ns]
    for gap in gaps_ns:
        moments.append(moments[-1] + gap)
    return moments


def in_order(records: Sequence[Record]) -> tuple[Record, ...]:
    """The records numbered in the order of their sending."""
    ordered = sorted(records, key=lambda record: record.sent_ns)
    for index, record in enumerate(ordered):
        record.index = index
    return tuple(ordered)


def failed(record: Record, text: str, code: int = MISSING) -> None:
    """Name how a request failed, as far as its message tells; what none of the words fits is a protocol error."""
    record.error = text[:ERROR_CHARS]
    lower, head = text.lower(), text.partition(":")[0]
    told = HTTP.search(text) if head == Outcome.HTTP_ERROR else None
    code = int(told[1]) if told else code
    if head in FAILURES:  # a file that genbench exported
        record.outcome, record.status = Outcome(head), code if code >= 400 else MISSING
    elif 400 <= code <= 599:
        record.status, record.outcome = code, Outcome.HTTP_ERROR
    elif "timeout" in lower or "timed out" in lower:
        record.outcome = Outcome.TIMEOUT_TOTAL
    elif "chunkedencoding" in lower or "payload is not completed" in lower or "incompleteread" in lower:
        record.outcome = Outcome.TRUNCATED
    elif "connect" in lower:
        record.outcome = Outcome.CONNECT_ERROR
    else:
        record.outcome = Outcome.PROTOCOL_ERROR


def counted(n: int, what: str) -> str:
    """'1 request', '3 requests'."""
    return f"{n:,} {what}{'' if n == 1 else 's'}"
