"""The log of a run: written one line per request as it ends, read back as columns, judged later.

On disk
- `requests.jsonl` holds one JSON object per line, only ever appended to. A line is a `Record` without the fields that
  stand at their default (so no -1 is written); the five event lists are always there, and run in parallel.
- A line with `"raw"` is a reply that was not decoded in time; the reader decodes it as the run would have.
- A line with `"amend": INDEX` overrides fields of that request, wherever it stands (token counts made after the run).
- Two lines with one index: the later one stands. Nothing else is ever rewritten.
- `run.json` is the header, replaced as a whole. Its `schema` is that of the folder; a reader refuses a newer one.

Invariants
- All times are nanoseconds of `clock.now_ns` as they were taken; the header has the wall clock of their zero.
- Missing is -1 in a column and no key in a line. A reader ignores keys it does not know: new fields keep the schema.
- A `RecordTable` is sorted by index, each index once.

What a crash leaves
- What was appended but not flushed is lost: with a flush every second, at most that second.
- One write may be cut short: the last line is then torn, has no newline, and is ignored by the reader and cut off by
  the next writer. A line that cannot be read anywhere else means that something else wrote there: RecordError.
"""

import os
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np
import orjson

from genbench import registry
from genbench.decode import ResponseDecoder, reply_from_raw
from genbench.errors import RecordError
from genbench.types import Endpoint, EventKind, Outcome, Phase, Record

SCHEMA = 1
RECORDS_NAME = "requests.jsonl"
HEADER_NAME = "run.json"
ALL_MESSAGES = 1 << 30

Ints: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]
Bools: TypeAlias = np.ndarray[Any, np.dtype[np.bool_]]

EVENT_CODES = {"event_ns": "q", "event_kind": "B", "event_choice": "h", "event_tokens": "i", "event_shared": "B"}
_DEFAULTS = {f.name: f.default for f in fields(Record) if f.name not in EVENT_CODES}
_OUTCOMES = frozenset(str(outcome) for outcome in Outcome)
_TEXTS = tuple(name for name, default in _DEFAULTS.items() if isinstance(default, str))
_FLAGS = tuple(name for name, default in _DEFAULTS.items() if isinstance(default, bool))
_INTS = tuple(name for name in _DEFAULTS if name not in _TEXTS and name not in _FLAGS)


def as_row(record: Record) -> dict[str, Any]:
    """What is written of a record: its index, fields that differ from their default, the event lists."""
    row: dict[str, Any] = {"index": record.index}
    for name, default in _DEFAULTS.items():
        value = getattr(record, name)
        if value != default:
            row[name] = value
    for name in EVENT_CODES:
        row[name] = getattr(record, name)
    return row


class RecordWriter:
    """Appends to a run's `requests.jsonl`. Lines wait in memory until `flush`, which the caller calls every second."""

    def __init__(self, path: Path) -> None:
        """Opens for appending and cuts off a torn last line. Raises RecordError where that is not possible."""
        self.path = path
        self._lines = bytearray()  # not a list of what orjson returns: each keeps some KiB alive
        try:
            _cut_torn_line(path)
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise RecordError(f"cannot write {path} ({error.strerror}); choose another --artifact-dir") from error

    def append(self, record: Record) -> None:
        """Buffer one finished request."""
        self._lines += orjson.dumps(as_row(record), option=orjson.OPT_APPEND_NEWLINE)

    def append_raw(self, record: Record, raw: Mapping[str, Any]) -> None:
        """Buffer one finished request whose reply is still undecoded; `raw` comes from `decode.raw_line`."""
        self._lines += orjson.dumps(as_row(record) | {"raw": raw}, option=orjson.OPT_APPEND_NEWLINE)

    def amend(self, index: int, changed: Mapping[str, Any]) -> None:
        """Buffer new values of fields of a request that is already there. An event list must keep its length."""
        self._lines += orjson.dumps({"amend": index, **changed}, option=orjson.OPT_APPEND_NEWLINE)

    def flush(self) -> None:
        """Write everything buffered. Raises RecordError when the disk does not take it."""
        try:
            while self._lines:
                del self._lines[: os.write(self._fd, self._lines)]
        except OSError as error:
            raise RecordError(f"cannot write {self.path} ({error.strerror}); free space and run again") from error

    def close(self) -> None:
        """Flush, then close the file."""
        try:
            self.flush()
        finally:
            os.close(self._fd)


def _cut_torn_line(path: Path) -> None:
    if not path.exists():
        return
    with path.open("rb+") as file:
        end = file.seek(0, os.SEEK_END)
        found = -1
        while end > 0 and found < 0:
            start = max(0, end - (1 << 16))
            file.seek(start)
            found = file.read(end - start).rfind(b"\n")
            end = start + found + 1 if found >= 0 else start
        file.truncate(end)


@dataclass(frozen=True)
class Content:
    """The content events of a table: their place in the event arrays, their row, and each row's range among them."""

    position: Ints
    row: Ints
    start: Ints  # int64[n + 1]

    @cached_property
    def count(self) -> Ints:
        """Content events of each row, int64[n]."""
        return np.diff(self.start)


@dataclass(frozen=True, eq=False)
class RecordTable:
    """`Record` by columns, sorted by index. Missing is -1.

    Numbers are int64[n], flags bool[n], texts lists of n. Events are ragged: those of row i lie at
    event_start[i]:event_start[i + 1] of the event arrays. `tokens_amended` tells rows whose `event_tokens` were counted
    after the run by a tokenizer.
    """

    index: Ints
    worker: Ints
    target: Ints
    session: Ints
    turn: Ints
    phase: Ints
    connection: Ints
    attempts: Ints
    streamed: Bools
    intended_ns: Ints
    ready_ns: Ints
    start_ns: Ints
    dns_ns: Ints
    tcp_end_ns: Ints
    tls_end_ns: Ints
    sent_ns: Ints
    sent_end_ns: Ints
    headers_ns: Ints
    end_ns: Ints
    isl_wanted: Ints
    isl_usage: Ints
    isl_tokenizer: Ints
    osl_wanted: Ints
    osl_usage: Ints
    osl_tokenizer: Ints
    cached_tokens: Ints
    reasoning_tokens: Ints
    inputs: Ints
    embeddings: Ints
    choices: Ints
    request_bytes: Ints
    response_bytes: Ints
    status: Ints
    done: Bools
    unterminated: Bools
    tokens_amended: Bools
    finish_reason: list[str]
    outcome: list[str]
    error: list[str]
    retry_after: list[str]
    event_start: Ints
    event_ns: Ints
    event_kind: "np.ndarray[Any, np.dtype[np.uint8]]"
    event_choice: "np.ndarray[Any, np.dtype[np.int16]]"
    event_tokens: "np.ndarray[Any, np.dtype[np.int32]]"
    event_shared: Bools

    def __len__(self) -> int:
        """Rows."""
        return int(self.index.size)

    @cached_property
    def measured(self) -> Bools:
        """Rows of the measured phase, bool[n]."""
        return np.asarray(self.phase == Phase.MEASURED)

    @cached_property
    def ok(self) -> Bools:
        """Rows of the measured phase whose response is whole, bool[n]."""
        return self.measured & np.fromiter((o == Outcome.OK for o in self.outcome), dtype=np.bool_, count=len(self))

    @cached_property
    def content(self) -> Content:
        """Events that carry at least one new token: reasoning, content and tool, whose numbers are neighbours."""
        is_content = (self.event_kind >= EventKind.REASONING) & (self.event_kind <= EventKind.TOOL)
        position = np.flatnonzero(is_content)
        start = np.searchsorted(position, self.event_start).astype(np.int64)
        return Content(position, np.repeat(np.arange(len(self)), np.diff(start)), start)

    def take(self, rows: Ints) -> "RecordTable":
        """The table of these rows, in this order."""
        lengths = np.diff(self.event_start)[rows]
        start = np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(lengths)))
        events = np.repeat(self.event_start[:-1][rows] - start[:-1], lengths) + np.arange(start[-1])
        columns: dict[str, Any] = {"event_start": start}
        for f in fields(self):
            column = getattr(self, f.name)
            if f.name in EVENT_CODES:
                columns[f.name] = column[events]
            elif f.name != "event_start":
                columns[f.name] = [column[i] for i in rows] if isinstance(column, list) else column[rows]
        return RecordTable(**columns)


class _Columns:
    """Columns that grow row by row; 16 bytes an event, about 400 a row."""

    def __init__(self) -> None:
        self.scalars = {name: array("q") for name in (*_INTS, *_FLAGS)}
        self.texts: dict[str, list[str]] = {name: [] for name in _TEXTS}
        self.events = {name: array(code) for name, code in EVENT_CODES.items()}
        self.start = array("q", [0])
        self._appends: list[tuple[str, Any, Any]] = [
            (name, column, _DEFAULTS[name]) for name, column in (self.scalars | self.texts).items()
        ]

    def add(self, row: Mapping[str, Any]) -> None:
        """Append one row; raises ValueError or TypeError for one that is not a record."""
        if "index" not in row:
            raise ValueError("it has no index")
        if row.get("outcome", Outcome.CANCELLED) not in _OUTCOMES:
            raise ValueError(f"unknown outcome '{row['outcome']}'")
        length = len(row.get("event_ns", ()))
        for name, column in self.events.items():
            values = row.get(name, ())
            if len(values) != length:
                raise ValueError(f"{name} has {len(values)} entries, event_ns {length}")
            column.extend(values)
        for name, target, default in self._appends:
            target.append(row.get(name, default))
        self.start.append(self.start[-1] + length)

    def table(self) -> RecordTable:
        """The table of all rows added, sorted by index; of two rows with one index the later stands."""
        columns: dict[str, Any] = {name: np.array(self.scalars[name], dtype=np.int64) for name in _INTS}
        columns |= {name: np.array(self.scalars[name], dtype=np.bool_) for name in _FLAGS}
        columns |= self.texts | {"outcome": [str(outcome) for outcome in self.texts["outcome"]]}
        columns |= {name: np.array(column) for name, column in self.events.items()}
        columns["event_shared"] = columns["event_shared"].astype(np.bool_)
        columns["event_start"] = np.array(self.start, dtype=np.int64)
        columns["tokens_amended"] = np.zeros(columns["index"].size, dtype=np.bool_)
        return _ordered(RecordTable(**columns))


def _ordered(table: RecordTable) -> RecordTable:
    index = table.index
    if np.all(index[1:] > index[:-1]):
        return table
    order = np.argsort(index, kind="stable")
    last = np.append(index[order][1:] != index[order][:-1], True)
    return table.take(order[last])


def table_from(records: Iterable[Record]) -> RecordTable:
    """The table of records in memory."""
    columns = _Columns()
    for record in records:
        columns.add(as_row(record))
    return columns.table()


def merge(tables: Sequence[RecordTable]) -> RecordTable:
    """One table of several parts of a run; where an index occurs twice the later part stands."""
    if not tables:
        return table_from(())
    columns: dict[str, Any] = {}
    for f in fields(RecordTable):
        parts = [getattr(table, f.name) for table in tables]
        if f.name == "event_start":
            lengths = np.concatenate([np.diff(part) for part in parts])
            columns[f.name] = np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(lengths)))
        elif isinstance(parts[0], list):
            columns[f.name] = [text for part in parts for text in part]
        else:
            columns[f.name] = np.concatenate(parts)
    return _ordered(RecordTable(**columns))


def open_table(path: Path, endpoint: str = "chat") -> RecordTable:
    """The records of a run, read line by line. `path` is the run's folder or its `requests.jsonl`.

    `endpoint` is the kind that undecoded replies are read with. Raises RecordError for a missing file and for a line
    that is not a record; only the last line may be torn.
    """
    path = path / RECORDS_NAME if path.is_dir() else path
    columns, amends = _Columns(), []
    kind: Endpoint = registry.load("endpoints", endpoint)
    try:
        with path.open("rb") as file:
            for number, row in _rows(file, path):
                if "amend" in row:
                    amends.append((number, row))
                    continue
                try:
                    columns.add(_decoded(row, kind) if "raw" in row else row)
                except (KeyError, TypeError, ValueError, OverflowError) as error:
                    raise RecordError(f"{path} line {number} is not a record: {error}; remove that line") from error
    except OSError as error:
        raise RecordError(f"cannot read {path} ({error.strerror}); give the folder of a run") from error
    table = columns.table()
    for number, row in amends:
        try:
            _amend(table, row)
        except (TypeError, ValueError, OverflowError) as error:
            raise RecordError(f"{path} line {number} amends nothing: {error}; remove that line") from error
    return table


def _rows(file: IO[bytes], path: Path) -> Iterable[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(file, 1):
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            if not line.endswith(b"\n"):
                return  # torn by a crash; only the last line can lack its newline
            raise RecordError(f"{path} line {number} cannot be read ({error}); remove that line") from error
        if not isinstance(row, dict):
            raise RecordError(f"{path} line {number} is not an object; remove that line")
        yield number, row


def _decoded(row: dict[str, Any], endpoint: Endpoint) -> dict[str, Any]:
    record = Record(**{name: row[name] for name in (*_DEFAULTS, *EVENT_CODES) if name in row})
    reply = reply_from_raw(row["raw"])
    decoder = ResponseDecoder(record, endpoint)
    decoder.feed(reply, ALL_MESSAGES)
    decoder.finish(reply)
    return as_row(record)


def _amend(table: RecordTable, changed: Mapping[str, Any]) -> None:
    """Write the changed fields into the table's own columns."""
    row = int(np.searchsorted(table.index, changed["amend"]))
    if row == len(table) or table.index[row] != changed["amend"]:
        raise ValueError(f"there is no request {changed['amend']}")
    for name, value in changed.items():
        if name in EVENT_CODES:
            events = getattr(table, name)[table.event_start[row] : table.event_start[row + 1]]
            if len(value) != events.size:
                raise ValueError(f"{name} has {len(value)} entries, the request {events.size} events")
            events[:] = value
        elif name in _DEFAULTS and name != "index":
            getattr(table, name)[row] = value
    if "event_tokens" in changed:
        table.tokens_amended[row] = True


def write_header(path: Path, info: Mapping[str, Any]) -> None:
    """Write `run.json` as a whole, with the schema version in front. `path` is the run's folder or the file itself."""
    file = path if path.suffix == ".json" else path / HEADER_NAME
    try:
        fresh = file.with_suffix(".tmp")
        fresh.write_bytes(
            orjson.dumps({"schema": SCHEMA, **info}, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY)
        )
        os.replace(fresh, file)
    except OSError as error:
        raise RecordError(f"cannot write {file} ({error.strerror}); choose another --artifact-dir") from error


def read_header(path: Path) -> dict[str, Any]:
    """The header of a run. Raises RecordError when there is none, it is damaged, or a newer genbench wrote it."""
    file = path if path.suffix == ".json" else path / HEADER_NAME
    try:
        info = orjson.loads(file.read_bytes())
    except OSError as error:
        raise RecordError(
            f"{path} is not a run: cannot read {file.name} ({(error.strerror or '').lower()}); give a run's folder"
        ) from error
    except orjson.JSONDecodeError as error:
        raise RecordError(f"{file} is not JSON ({error}); restore it or run again") from error
    if not isinstance(info, dict) or not isinstance(info.get("schema"), int):
        raise RecordError(f"{file} has no schema number, so it is not a run of genbench; give a run's folder")
    if info["schema"] > SCHEMA:
        raise RecordError(f"{file} has schema {info['schema']}, this genbench reads up to {SCHEMA}; upgrade genbench")
    return info
