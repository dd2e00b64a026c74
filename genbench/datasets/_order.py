"""The order in which a file's rows are taken: as they stand, shuffled, or at random with repeats.

As they stand they are streamed. Otherwise the file is indexed first: eight bytes a row, found by looking for line ends
in blocks. What is not JSON lines is written once, as JSON lines, to an unnamed temporary file and read from there. The
last few indexes are kept for the next pass, as long as the file does not change.
"""

import os
import tempfile
import weakref
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import repeat
from typing import Any

import numpy as np
import orjson

from genbench.clock import now_ns
from genbench.datasets._rows import BOM, Row, Source, line_row, read, reading
from genbench.errors import DatasetError

BLOCK_BYTES = 1 << 22
DRAWS = 4096
PEEK_BYTES = 64
NEWLINE, SPACE = 10, 32
Ints = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Index:
    """Where rows are: row k is bytes starts[k] to starts[k + 1] of `fd`.

    `starts` is int64[n + 1]; `numbers` int64[n], each row's line in the file, or None when that is k + 1.
    """

    fd: int
    starts: Ints
    numbers: Ints | None

    def __len__(self) -> int:
        return len(self.starts) - 1

    def line(self, k: int) -> bytes:
        """The bytes of row k, with what separates it from the next one."""
        start, end = self.starts[k : k + 2].tolist()
        return os.pread(self.fd, end - start, start)

    def number(self, k: int) -> int:
        """The line row k stands on, or its place, counted from 1."""
        return k + 1 if self.numbers is None else int(self.numbers[k])


def rows(source: Source, sampling: str, rng: np.random.Generator, say: Callable[[str], None]) -> Iterator[Row]:
    """One pass over a file; without end when `sampling` is random. Raises DatasetError like `_rows.read`."""
    if sampling == "sequential":
        yield from read(source)
        return
    with reading(source):
        found = _index(source, sampling, say)
        for k in places(len(found), sampling, rng):
            line = found.line(k)
            if source.kind == "lines":
                yield line_row(source, line, found.number(k))
            else:
                yield Row(source, found.number(k), orjson.loads(line))


def places(count: int, sampling: str, rng: np.random.Generator) -> Iterator[int]:
    """Numbers below `count`: each once in order (sequential) or not (shuffle), or drawn for ever (random)."""
    if sampling == "sequential":
        yield from range(count)
    elif sampling == "shuffle":
        for block in np.array_split(rng.permutation(count), count // DRAWS + 1):
            yield from block.tolist()
    elif count:
        for _ in repeat(None):
            yield from rng.integers(0, count, DRAWS).tolist()


def _index(source: Source, sampling: str, say: Callable[[str], None]) -> Index:
    status = os.stat(source.file)
    before, began = _kept.cache_info().misses, now_ns()
    found = _kept(source, (status.st_ino, status.st_size, status.st_mtime_ns))
    if _kept.cache_info().misses > before:
        done = "indexed" if source.kind == "lines" else "copied and indexed"
        unit = "lines" if source.kind == "lines" else "rows"
        took = (now_ns() - began) / 1e9
        say(f"{done} {len(found):,} {unit} of {source.path} in {took:.1f} s for --sampling {sampling}")
    return found


@lru_cache(maxsize=4)
def _kept(source: Source, stamp: tuple[int, int, int]) -> Index:
    """The index of a file as it was at `stamp` (inode, bytes, time of change)."""
    if source.kind == "lines":
        starts, numbers = line_starts(source.file)
        found = Index(os.open(source.file, os.O_RDONLY), starts, numbers)
    else:
        found = _copied(source)
    weakref.finalize(found, os.close, found.fd)
    return found


def line_starts(path: str) -> tuple[Ints, Ints | None]:
    """(first byte of every line that is not blank and the file's size, their line numbers or None when 1, 2, 3 ...)."""
    starts: list[Ints] = []
    blank: list[int] = []  # line numbers, from 1
    at = lines = 0
    fresh = True  # the next byte begins a line
    with open(path, "rb", buffering=0) as file:
        if os.pread(file.fileno(), len(BOM), 0) == BOM and _is_blank(file.fileno(), len(BOM)):
            blank.append(1)
        while block := file.read(BLOCK_BYTES):
            data = np.frombuffer(block, np.uint8)
            begins = np.flatnonzero(data == NEWLINE) + 1
            if fresh:
                begins = np.concatenate(([0], begins))
            fresh = bool(data[-1] == NEWLINE)
            if fresh:
                begins = begins[:-1]
            doubtful = np.flatnonzero(data[begins] <= SPACE).tolist()
            blank += [lines + k + 1 for k in doubtful if _is_blank(file.fileno(), at + int(begins[k]))]
            starts.append(begins + at)
            at += len(block)
            lines += len(begins)
    starts.append(np.array([at], np.int64))
    found = np.concatenate(starts).astype(np.int64, copy=False)
    if not blank:
        return found, None
    kept = np.delete(np.arange(lines, dtype=np.int64), np.array(blank) - 1)
    return np.append(found[kept], at), kept + 1


def _is_blank(fd: int, at: int) -> bool:
    """Whether nothing but white space stands between `at` and the end of its line."""
    while chunk := os.pread(fd, PEEK_BYTES, at):
        rest = chunk.lstrip(b" \t\r\v\f")
        if rest:
            return rest[0] == NEWLINE
        at += len(chunk)
    return True


def _copied(source: Source) -> Index:
    """The rows as JSON lines in an unnamed temporary file."""
    starts, numbers = array("q", [0]), array("q")
    with tempfile.TemporaryFile(prefix="genbench-") as file:
        for row in read(source):
            try:
                line = orjson.dumps(row.values, default=str) + b"\n"
            except TypeError as error:
                raise DatasetError(f"{row.where} has a value that JSON cannot hold ({error}); correct it") from error
            numbers.append(row.number)
            starts.append(starts[-1] + file.write(line))
        file.flush()
        fd = os.dup(file.fileno())
    return Index(fd, np.array(starts, np.int64), np.array(numbers, np.int64))
