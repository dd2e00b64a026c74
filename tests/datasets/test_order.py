"""The order of rows: each once, shuffled or not, or with repeats; the index finds every line of any file."""

import gc
import os
import warnings
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genbench.datasets import _order
from genbench.datasets._order import Index, line_starts, places, rows
from genbench.datasets._rows import find
from genbench.errors import DatasetError
from tests.datasets.options import writer

PIECES = st.sampled_from(
    [b"\n", b"\r\n", b"\r", b" ", b"\t", b"x", b"{}", b"\x0b\x0c", b"\xef\xbb\xbf", b"\0", b" " * 70]
)
Write = Callable[[str, str | bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    return writer(tmp_path)


def order(path: Path, sampling: str, seed: int = 1, most: int | None = None) -> list[int]:
    found = rows(find("it", str(path)), sampling, np.random.default_rng(seed), lambda remark: None)
    return [row.values["k"] for row in islice(found, most)]


def numbered(count: int) -> str:
    return "".join(f'{{"k": {k}}}\n' for k in range(count))


@given(content=st.lists(PIECES, max_size=40).map(b"".join), block=st.integers(1, 50))
def test_the_index_gives_back_each_line(tmp_path_factory: pytest.TempPathFactory, content: bytes, block: int) -> None:
    path = tmp_path_factory.getbasetemp() / "lines"
    path.write_bytes(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_order, "BLOCK_BYTES", block)
        patch.setattr(_order, "PEEK_BYTES", 1 + block % 7)
        starts, lines = line_starts(str(path))
    fd = os.open(path, os.O_RDONLY)
    try:
        index = Index(fd, starts, lines)
        found = [(index.number(k), index.line(k).split(b"\n")[0]) for k in range(len(index))]
    finally:
        os.close(fd)
    split = content.split(b"\n")
    bare = [split[0].removeprefix(b"\xef\xbb\xbf"), *split[1:]]
    assert found == [(k, line) for k, line in enumerate(split, 1) if bare[k - 1].strip()]


def test_in_order(write: Write) -> None:
    assert order(write("a.jsonl", numbered(5)), "sequential") == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv"])
def test_shuffled_rows_come_once_each_and_the_same_for_the_same_seed(write: Write, name: str) -> None:
    text = {"a.jsonl": numbered(9000), "a.csv": "k\n" + "".join(f"{k}\n" for k in range(9000))}
    text["a.json"] = f"[{text['a.jsonl'].strip().replace(chr(10), ',')}]"
    path = write(name, text[name])
    first = [int(k) for k in order(path, "shuffle")]
    assert sorted(first) == list(range(9000))
    assert first != sorted(first)
    assert [int(k) for k in order(path, "shuffle")] == first
    assert [int(k) for k in order(path, "shuffle", seed=2)] != first
    if name != "a.jsonl":  # the order is of rows, not of files
        assert order(write("other.jsonl", numbered(9000)), "shuffle") == first


def test_at_random_rows_repeat_and_the_pass_does_not_end(write: Write) -> None:
    found = order(write("a.jsonl", numbered(50)), "random", most=10_000)
    counts = np.bincount(found, minlength=50)
    assert len(found) == 10_000
    # Each is drawn 200 times on average, with a standard deviation of 14.
    assert 100 < counts.min() < counts.max() < 300
    assert len(set(found[:50])) < 50


@pytest.mark.parametrize("sampling", ["sequential", "shuffle", "random"])
def test_nothing_to_take(sampling: str) -> None:
    assert list(places(0, sampling, np.random.default_rng(1))) == []


def test_what_it_cost_is_said_once_and_the_index_kept_until_the_file_changes(write: Write) -> None:
    path = write("a.jsonl", numbered(1200))
    said: list[str] = []

    def passes() -> list[int]:
        found = rows(find("it", str(path)), "shuffle", np.random.default_rng(1), said.append)
        return [row.values["k"] for row in found]

    passes()
    passes()
    assert len(said) == 1
    assert said[0].startswith(f"indexed 1,200 lines of {path} in ")
    assert said[0].endswith(" s for --sampling shuffle")
    path.write_text(numbered(7))
    assert sorted(passes()) == list(range(7))
    assert len(said) == 2


def test_other_formats_are_copied_first(write: Write) -> None:
    said: list[str] = []
    path = write("a.csv", "k,t\n" + 'x,"two\nlines"\n' * 3)
    found = list(rows(find("it", str(path)), "shuffle", np.random.default_rng(1), said.append))
    assert [dict(row.values) for row in found] == [{"k": "x", "t": "two\nlines"}] * 3
    assert sorted(row.number for row in found) == [2, 4, 6]
    assert said[0].startswith("copied and indexed 3 rows of ")


def test_two_passes_at_once_do_not_disturb_each_other(write: Write) -> None:
    source = find("it", str(write("a.json", orjson.dumps([{"k": k} for k in range(100)]))))
    one, two = (rows(source, "shuffle", np.random.default_rng(1), lambda remark: None) for _ in range(2))
    pairs = list(zip(one, two, strict=True))
    assert all(a == b for a, b in pairs)
    assert len(pairs) == 100


def test_a_bad_line_met_out_of_order_is_named_by_its_line(write: Write) -> None:
    path = write("a.jsonl", '\n\n{"k": 1}\n   \n{"k" 2}\n')
    with pytest.raises(DatasetError, match=r"a.jsonl line 5 is not JSON at column 6"):
        order(path, "shuffle")
    with pytest.raises(DatasetError, match="line 1 is not JSON"):
        order(write("b.jsonl", '{"k"'), "random", most=1)


def test_no_room_for_the_copy(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**named: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", full)
    with pytest.raises(DatasetError, match="no space left on device; make room or set TMPDIR"):
        order(write("a.csv", "k\n1\n"), "shuffle")


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files are counted in /proc")
def test_indexes_no_longer_kept_are_closed(tmp_path: Path) -> None:
    write = writer(tmp_path)
    before = len(os.listdir("/proc/self/fd"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for k in range(12):
            order(write(f"{k}.{'jsonl' if k % 2 else 'csv'}", numbered(3) if k % 2 else "k\n1\n"), "shuffle")
        gc.collect()
    assert len(os.listdir("/proc/self/fd")) <= before + 4
