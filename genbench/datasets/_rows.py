"""Files as rows: JSON lines, JSON arrays, CSV, TSV and Parquet, streamed from the front and never held whole.

A row knows where it stands, so that every complaint names file, line (or item, or row) and column. What order rows are
taken in is `_order`'s, what becomes of them `_samples`'.
"""

import csv
import errno
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from genbench.errors import DatasetError
from genbench.lengths import MOST

BOM = b"\xef\xbb\xbf"
HEAD_BYTES = 1 << 20
LOCATE_BYTES = 256 << 20  # a broken array is read again, whole, up to this size, to name the line
FIELD_CHARACTERS = 1 << 24  # more than that in one CSV field is a quote that was not closed
PARQUET_ROWS = 1024
PACKED = (b"\x1f\x8b", b"BZh", b"PK\x03\x04", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ")
LIST_OF_A_ROW = ("messages", "turns", "conversations")
UNITS = {"lines": "line", "csv": "line", "tsv": "line", "array": "item", "parquet": "row", "hub": "row"}


@dataclass(frozen=True, slots=True)
class Source:
    """A file and what it is: `kind` is a key of UNITS, `inside` where an array's items stand in ijson's words.

    `name` is the data set as the user wrote it, `path` the file as written, `file` the path to open.
    """

    name: str
    path: str
    kind: str
    file: str = ""
    inside: str = "item"

    @property
    def tabular(self) -> bool:
        """Whether all rows have the same columns, and numbers may be text."""
        return self.kind not in ("lines", "array")

    @property
    def flag(self) -> str:
        """The option that named it, with the path once."""
        return f"--dataset {self.name}" if self.path in self.name else f"--dataset {self.name}:{self.path}"

    def where(self, number: int) -> str:
        """How a message names one row; numbers count from 1."""
        return f"{self.path} {UNITS[self.kind]} {number}"


class Row(NamedTuple):
    """One row: `number` is its line in the file where the file has lines, else its place; both count from 1."""

    source: Source
    number: int
    values: Mapping[str, Any]

    @property
    def where(self) -> str:
        """File and place, to begin a message with."""
        return self.source.where(self.number)

    def value(self, column: str, role: str = "") -> Any:
        """What stands in a column. Raises DatasetError naming the columns there are; `role` is its --columns key."""
        if column in self.values:
            return self.values[column]
        what = f"{self.source.path} has no column" if self.source.tabular else f"{self.where} has no"
        advice = f"name one with --columns {role}=NAME" if role else "add it"
        raise DatasetError(f"{what} '{column}'; it has: {', '.join(map(str, self.values)) or 'nothing'}; {advice}")

    def text(self, column: str, role: str = "") -> str:
        """A column's text, "" for null. Raises DatasetError for anything else, and where there is no such column."""
        value = self.value(column, role)
        if isinstance(value, str):
            return value
        if value is None:
            return ""
        advice = f"name another column with --columns {role}=NAME" if role else "correct it"
        raise DatasetError(f"{self.where}: '{column}' is {shown(value)}, expected text; {advice}")

    def whole(self, column: str, at_least: int = 1) -> int | None:
        """A column's whole number; None where it is missing or empty. Raises DatasetError for anything else."""
        value = self.values.get(column)
        if value is None or value == "":
            return None
        number = value
        if self.source.tabular and isinstance(value, str | float):  # a table with gaps has 12.0 for 12, nan for none
            try:
                number = float(value)
            except ValueError:
                number = None
            if number is not None and number != number:
                return None
            if number is not None and number.is_integer():
                number = int(number)
        if not isinstance(number, int) or isinstance(number, bool) or not at_least <= number <= MOST:
            kind = "positive number" if at_least else "whole number"
            kind = kind if not isinstance(number, int) or number <= MOST else f"number up to {MOST:,}"
            raise DatasetError(f"{self.where}: {column} {value!r} is no {kind}; correct it or leave it out")
        return number


def shown(value: Any) -> str:
    """A value's kind, for a message."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int | float):
        return f"the number {value:g}"
    if isinstance(value, str):
        return f"the text {value[:40]!r}"
    return "an object" if isinstance(value, Mapping) else "a list" if isinstance(value, list) else str(type(value))


def find(name: str, path: str | None) -> Source:
    """The file a user named, and its kind: by its ending, else by its first bytes.

    Raises DatasetError for a file that is missing, unreadable, empty, packed, no text, or no regular file.
    """
    if not path:
        raise DatasetError(f"--dataset {name} needs a file; write --dataset {name}:FILE")
    source = Source(name, path, "lines", os.path.expanduser(path))
    with reading(source):
        mode = os.stat(source.file).st_mode
        if stat.S_ISDIR(mode):
            raise DatasetError(f"{source.flag} is a directory; give a file")
        if not stat.S_ISREG(mode):
            raise DatasetError(f"{source.flag} is no regular file, and data are read twice; save them to one")
        with open(source.file, "rb") as file:
            head = file.read(HEAD_BYTES)
    if head.startswith(PACKED):
        raise DatasetError(f"{path} is compressed; unpack it first")
    ending = Path(path).suffix.lower()
    if ending == ".parquet" or head.startswith(b"PAR1"):
        return Source(name, path, "parquet", source.file)
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in head[:64]:
        raise DatasetError(f"{path} is not UTF-8 text; save it as UTF-8")
    text = head.removeprefix(BOM).lstrip()
    if not text and len(head) < HEAD_BYTES:
        raise DatasetError(f"{path} is empty: it has no samples in it; give at least one")
    if ending in (".csv", ".tsv"):
        return Source(name, path, ending[1:], source.file)
    if text.startswith(b"["):
        return Source(name, path, "array", source.file)
    if ending == ".json" and text.startswith(b"{"):
        inside = _list_inside(source, text, whole=len(head) < HEAD_BYTES)
        return Source(name, path, "array", source.file, inside) if inside else source
    return source


def read(source: Source) -> Iterator[Row]:
    """The rows of a file in order, blank lines left out. Raises DatasetError naming the place of what is wrong."""
    readers = {"lines": _lines, "array": _array, "csv": _table, "tsv": _table, "parquet": _parquet}
    with reading(source):
        yield from readers[source.kind](source)


def line_row(source: Source, line: bytes, number: int) -> Row:
    """The row of one line of JSON. Raises DatasetError naming line and column."""
    try:
        values = orjson.loads(line.removeprefix(BOM) if number == 1 else line)
    except orjson.JSONDecodeError as error:
        where = source.where(number)
        column = _not_utf8(line)
        if column:
            raise DatasetError(f"{where} column {column} is not UTF-8; save the file as UTF-8") from error
        what = f"{where} is not JSON at column {error.colno}: {error.msg}"
        raise DatasetError(f"{what}; each line must be one JSON object") from error
    if not isinstance(values, dict):
        raise DatasetError(f"{source.where(number)} is no JSON object but {shown(values)}; each line must be one")
    return Row(source, number, values)


@contextmanager
def reading(source: Source) -> Iterator[None]:
    """What the system refuses becomes a DatasetError."""
    try:
        yield
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        advice = "make room or set TMPDIR" if error.errno == errno.ENOSPC else "check the path"
        raise DatasetError(f"{source.flag}: {reason}; {advice}") from error


def _lines(source: Source) -> Iterator[Row]:
    with open(source.file, "rb") as file:
        for number, line in enumerate(file, 1):
            if line.removeprefix(BOM if number == 1 else b"").strip():
                yield line_row(source, line, number)


def _array(source: Source) -> Iterator[Row]:
    import ijson

    number = 0
    with open(source.file, "rb") as file:
        if file.read(len(BOM)) != BOM:
            file.seek(0)
        try:
            for values in ijson.items(file, source.inside, use_float=True):
                number += 1
                if not isinstance(values, dict):
                    raise DatasetError(
                        f"{source.where(number)} is no JSON object but {shown(values)}; each must be one"
                    )
                yield Row(source, number, values)
        except ijson.JSONError as error:
            raise DatasetError(_broken(source, number + 1, str(error))) from error


def _list_inside(source: Source, text: bytes, *, whole: bool) -> str:
    """Where the list of rows stands in a .json file that begins with an object; "" when it is JSON lines after all."""
    first, _, rest = text.partition(b"\n")
    try:
        values = orjson.loads(first)
    except orjson.JSONDecodeError:
        if first.rstrip().endswith(b"}"):  # a broken line of JSON lines
            return ""
    else:
        if rest.strip() or not whole or any(key in values for key in LIST_OF_A_ROW):
            return ""
        lists = [
            key for key, value in values.items() if value and isinstance(value, list) and isinstance(value[0], dict)
        ]
        return f"{lists[0]}.item" if len(lists) == 1 else ""
    import ijson

    with open(source.file, "rb") as file:
        if file.read(len(BOM)) != BOM:
            file.seek(0)
        before = ("", "")
        try:
            for prefix, event, _ in ijson.parse(file, use_float=True):
                if event == "start_map" and before == (prefix.removesuffix(".item"), "start_array"):
                    return str(prefix)
                before = (prefix, event)
        except ijson.JSONError as error:
            raise DatasetError(_broken(source, 1, str(error))) from error
    raise DatasetError(f"{source.path} is one JSON object without a list of objects; give a JSON array or JSON lines")


def _broken(source: Source, number: int, reason: str) -> str:
    """What is wrong with a JSON array, with line and column where the file is small enough to find them."""
    advice = "the file must be a JSON array of objects, or one JSON object per line"
    if os.path.getsize(source.file) <= LOCATE_BYTES:
        data = Path(source.file).read_bytes().removeprefix(BOM)
        try:
            orjson.loads(data)
        except orjson.JSONDecodeError as error:
            bad = _not_utf8_line(source)
            if bad:
                return bad
            where = f"{source.path} line {error.lineno} column {error.colno} (item {number})"
            return f"{where} is not JSON: {error.msg}; {advice}"
    return f"{source.path} item {number} is not JSON: {reason.splitlines()[0]}; {advice}"


def _table(source: Source) -> Iterator[Row]:
    csv.field_size_limit(FIELD_CHARACTERS)
    with open(source.file, encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter="\t" if source.kind == "tsv" else ",", strict=True)
        header: list[str] = []
        ended = 0  # the line on which the record before ended
        try:
            for fields in reader:
                number, ended = ended + 1, reader.line_num
                if not any(fields) and len(fields) < 2:  # a blank line
                    continue
                if not header:
                    header = [name.strip() for name in fields]
                    continue
                if len(fields) != len(header):
                    raise DatasetError(
                        f"{source.where(number)} has {len(fields)} fields and the header {len(header)}; "
                        "put quotes around text with commas or line breaks"
                    )
                yield Row(source, number, dict(zip(header, fields, strict=True)))
        except csv.Error as error:
            raise DatasetError(f"{source.where(ended + 1)}: {error}; see that every quote is closed") from error
        except UnicodeDecodeError as error:
            raise DatasetError(_not_utf8_line(source) or f"{source.path} is not UTF-8; save it as UTF-8") from error


def _parquet(source: Source) -> Iterator[Row]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise DatasetError(f"{source.path} is a Parquet file; pip install 'genbench[parquet]' to read it") from error
    number = 0
    try:
        with parquet.ParquetFile(source.file, pre_buffer=False) as file:  # else it reads ahead to the file's end
            for batch in file.iter_batches(batch_size=PARQUET_ROWS):
                for values in batch.to_pylist():
                    number += 1
                    yield Row(source, number, values)
    except pyarrow.ArrowException as error:
        reason = str(error).splitlines()[0]
        raise DatasetError(
            f"{source.path} cannot be read as Parquet after row {number} ({reason}); check it"
        ) from error


def _not_utf8(line: bytes) -> int:
    """The column of the first byte that is not UTF-8, counted in characters from 1; 0 when all is."""
    try:
        line.decode()
    except UnicodeDecodeError as error:
        return len(line[: error.start].decode()) + 1
    return 0


def _not_utf8_line(source: Source) -> str:
    """A sentence that names the first line that is not UTF-8; "" when all are."""
    with open(source.file, "rb") as file:
        for number, line in enumerate(file, 1):
            column = _not_utf8(line)
            if column:
                return f"{source.path} line {number} column {column} is not UTF-8; save the file as UTF-8"
    return ""
