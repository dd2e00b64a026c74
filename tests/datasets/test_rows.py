"""Files as rows: what is a row in each format, that files are streamed, and the sentence for each thing wrong."""

import os
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
import pytest

from genbench.datasets import _rows
from genbench.datasets._rows import find, read
from genbench.errors import DatasetError
from tests.datasets.options import writer

Write = Callable[[str, str | bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    return writer(tmp_path)


def values(path: Path) -> list[dict[str, Any]]:
    return [dict(row.values) for row in read(find("it", str(path)))]


def numbers(path: Path) -> list[int]:
    return [row.number for row in read(find("it", str(path)))]


def refused(path: Path | str | None) -> str:
    with pytest.raises(DatasetError) as caught:
        list(read(find("it", None if path is None else str(path))))
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", '{"a": 1}\n{"a": 2.5}\n'),
        ("a.ndjson", '{"a": 1}\r\n\r\n  \n{"a": 2.5}'),
        ("a.json", '{"a": 1}\n{"a": 2.5}\n'),
        ("a.json", '\n [{"a": 1},\n {"a": 2.5}]\n'),
        ("a.jsonl", '[{"a": 1}, {"a": 2.5}]'),  # the first byte decides, not the ending
        ("a.json", '{\n "version": {"major": [1]},\n "data": [{"a": 1}, {"a": 2.5}], "more": [{"a": 3}]}'),
        ("a.json", '{"version": 1, "data": [{"a": 1}, {"a": 2.5}]}'),
        ("a.json", b"\xef\xbb\xbf" + b'[{"a": 1}, {"a": 2.5}]'),
        ("a.json", b"\xef\xbb\xbf" + b'{\n "data": [{"a": 1}, {"a": 2.5}]}'),
        ("a.jsonl", b"\xef\xbb\xbf" + b'{"a": 1}\n{"a": 2.5}'),
        ("a.jsonl", b"\xef\xbb\xbf" + b'\n{"a": 1}\n{"a": 2.5}'),
        ("a", '{"a": 1}\n{"a": 2.5}'),
    ],
)
def test_json_in_all_its_forms(write: Write, name: str, content: str | bytes) -> None:
    found = values(write(name, content))
    assert found == [{"a": 1}, {"a": 2.5}]
    assert [type(row["a"]) for row in found] == [int, float]


def test_a_json_file_of_one_line_that_is_a_row(write: Write) -> None:
    row = {"messages": [{"role": "user", "content": "x"}]}
    assert values(write("a.json", orjson.dumps(row))) == [row]


@pytest.mark.parametrize(("name", "separator"), [("a.csv", ","), ("a.tsv", "\t")])
def test_tables(write: Write, name: str, separator: str) -> None:
    text = 'a, b\r\n1,"two, ""three""\nfour"\r\n\r\n5,\r\n'.replace(",", separator).replace(f"two{separator}", "two,")
    path = write(name, b"\xef\xbb\xbf" + text.encode())
    assert values(path) == [{"a": "1", "b": 'two, "three"\nfour'}, {"a": "5", "b": ""}]
    assert numbers(path) == [2, 5]  # the lines on which records begin


def test_a_table_with_one_column_and_a_field_of_a_megabyte(write: Write) -> None:
    path = write("a.csv", "text\n" + "x" * 1_000_000 + "\n\nlast\n")
    assert [len(row["text"]) for row in values(path)] == [1_000_000, 4]


def test_lines_are_numbered_as_an_editor_does(write: Write) -> None:
    assert numbers(write("a.jsonl", '\n{"a": 1}\n\n\n{"a": 2}')) == [2, 5]


def test_parquet(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table({"a": [1, None, 3], "b": ["x", "y", None]}), path, row_group_size=2)
    assert values(path) == [{"a": 1, "b": "x"}, {"a": None, "b": "y"}, {"a": 3, "b": None}]
    assert numbers(path) == [1, 2, 3]
    elsewhere = path.rename(tmp_path / "a.data")
    assert len(values(elsewhere)) == 3  # known by its first bytes


def test_parquet_that_is_none(write: Write) -> None:
    pytest.importorskip("pyarrow")
    assert "cannot be read as Parquet" in refused(write("a.parquet", "PAR1 is all there is, and PAR1"))


def test_parquet_without_the_library(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    assert "pip install 'genbench[parquet]'" in refused(write("a.parquet", "PAR1"))


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.parquet"])
def test_the_first_rows_do_not_read_the_rest(tmp_path: Path, name: str) -> None:
    path, count = tmp_path / name, 60_000
    text = "some words of a prompt " * 4
    if name == "a.parquet":
        pyarrow = pytest.importorskip("pyarrow")
        parquet = pytest.importorskip("pyarrow.parquet")
        table = pyarrow.table({"a": [f"{k} {text}" for k in range(count)]})
        parquet.write_table(table, path, row_group_size=2000, use_dictionary=False, compression="none")
    elif name == "a.csv":
        path.write_text("a\n" + f"{text}\n" * count)
    else:
        row = f'{{"a": "{text}"}}'
        path.write_text(f"[{','.join([row] * count)}]" if name == "a.json" else f"{row}\n" * count)
    assert path.stat().st_size > 5_000_000
    rows = read(find("it", str(path)))
    before = read_bytes()
    assert len(list(islice(rows, 1000))) == 1000
    assert read_bytes() - before < 1_500_000
    rows.close()  # type: ignore[attr-defined]


def read_bytes() -> int:
    """Bytes this process has had from read calls."""
    try:
        lines = Path("/proc/self/io").read_text().splitlines()
    except OSError:
        pytest.skip("no /proc/self/io")
    return int(lines[0].split()[1])


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.jsonl", '{"a": 1}\n\n{"a": 1 "b": 2}\n', "a.jsonl line 3 is not JSON at column 9: unexpected character"),
        ("a.jsonl", '{"a": 1', "at column 8: unexpected end of data; each line must be one JSON object"),
        ("a.jsonl", '{"a": 1}\n[1]\n', "a.jsonl line 2 is no JSON object but a list"),
        ("a.json", '{"a": 1}\n{"a" 1}\n', "a.json line 2 is not JSON at column 6"),
        ("a.json", '{"a" 1}\n{"a": 1}\n', "a.json line 1 is not JSON at column 6"),
        ("a.jsonl", b'{"a": "\xc3\xa9\xe9"}', "a.jsonl line 1 column 9 is not UTF-8; save the file as UTF-8"),
        ("a.json", '[{"a": 1},\n {"a": 2},\n {"a" 3}]', "a.json line 3 column 7 (item 3) is not JSON: unexp"),
        ("a.json", '[{"a": 1}, {"a": 2}', "a.json line 1 column 20 (item 3) is not JSON: unexpected end of data"),
        ("a.json", '[{"a": 1}, 7]', "a.json item 2 is no JSON object but the number 7"),
        ("a.json", b'[{"a": 1},\n {"a": "\xff"}]', "a.json line 2 column 9 is not UTF-8"),
        ("a.json", '{\n "a": [1],\n "b": {}\n}', "a.json is one JSON object without a list of objects"),
        ("a.json", '{\n "a": [{"b": 1}\n}', "a.json line 3 column 1 (item 2) is not JSON"),
        ("a.json", '{\n "a" 1}\n}', "a.json line 2 column 6 (item 1) is not JSON"),
        ("a.csv", "a,b\n1,2\n3,4,5\n", "a.csv line 3 has 3 fields and the header 2; put quotes"),
        ("a.csv", 'a,b\n1,2\n3,"4\n5,6\n', "a.csv line 3: unexpected end of data; see that every quote is closed"),
        ("a.csv", 'a,b\n1,"2"x\n', "a.csv line 2: ',' expected after '\"'"),
        ("a.csv", b"a,b\n1,2\n3,caf\xe9\n", "a.csv line 3 column 6 is not UTF-8; save the file as UTF-8"),
        ("a.jsonl", '{"a": 1}'.encode("utf-16"), "a.jsonl is not UTF-8 text; save it as UTF-8"),
        ("a.jsonl", b"\x1f\x8b\x08\x00", "a.jsonl is compressed; unpack it first"),
        ("a.jsonl", "", "a.jsonl is empty: it has no samples in it"),
        ("a.csv", "\n  \n", "a.csv is empty: it has no samples in it"),
    ],
)  # fmt: skip
def test_what_is_wrong_has_a_place(write: Write, name: str, content: str | bytes, says: str) -> None:
    assert says in refused(write(name, content))


def test_a_large_broken_array_names_the_item(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_rows, "LOCATE_BYTES", 10)
    message = refused(write("a.json", '[{"a": 1}, {"a": 2}, {"a": x}]'))
    assert "a.json item 3 is not JSON: lexical error: invalid char in json text." in message


def test_a_quote_that_swallows_the_file(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_rows, "FIELD_CHARACTERS", 1000)
    message = refused(write("a.csv", 'a\n1\n"2\n' + "3\n" * 1000))
    assert "a.csv line 3: field larger than field limit (1000); see that every quote is closed" in message


def test_files_that_cannot_be_opened(tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    assert refused(tmp_path / "none.jsonl").endswith("none.jsonl: no such file or directory; check the path")
    assert "is a directory; give a file" in refused(tmp_path)
    assert refused(None) == "--dataset it needs a file; write --dataset it:FILE"
    os.mkfifo(tmp_path / "pipe")
    assert "is no regular file" in refused(tmp_path / "pipe")
    path = write("locked.jsonl", "{}")

    def locked(name: str, *rest: object) -> None:
        raise PermissionError(13, "Permission denied", name)

    monkeypatch.setattr("builtins.open", locked)
    assert refused(path).endswith("locked.jsonl: permission denied; check the path")


def test_a_home_folder_is_understood(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write("a.jsonl", '{"a": 1}')
    monkeypatch.setenv("HOME", str(path.parent))
    assert values(Path("~/a.jsonl")) == [{"a": 1}]


def row_of(write: Write, content: str, name: str = "a.jsonl") -> _rows.Row:
    return next(read(find("it", str(write(name, content)))))


def test_a_column_that_is_not_there_names_those_that_are(write: Write) -> None:
    with pytest.raises(
        DatasetError, match=r"a.csv has no column 'c'; it has: a, b; name one with --columns prompt=NAME"
    ):
        row_of(write, "a,b\n1,2\n", "a.csv").text("c", "prompt")
    with pytest.raises(DatasetError, match=r"a.jsonl line 1 has no 'c'; it has: a, b; add it"):
        row_of(write, '{"a": 1, "b": 2}').text("c")
    with pytest.raises(DatasetError, match=r"it has: nothing; add it"):
        row_of(write, "{}").value("c")


@pytest.mark.parametrize(
    ("value", "shown"),
    [("7", "the number 7"), ("true", "true"), ("[]", "a list"), ("{}", "an object"), ("1e3", "the number 1000")],
)
def test_a_value_of_the_wrong_type(write: Write, value: str, shown: str) -> None:
    with pytest.raises(DatasetError, match=rf"line 1: 'a' is {shown}, expected text; name another .* system=NAME"):
        row_of(write, f'{{"a": {value}}}').text("a", "system")
    assert row_of(write, '{"a": null}').text("a") == ""


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.jsonl", '{"n": 12}', 12),
        ("a.jsonl", '{"n": null}', None),
        ("a.jsonl", "{}", None),
        ("a.csv", "n,b\n12,", 12),
        ("a.csv", "n,b\n12.0,", 12),
        ("a.csv", "n,b\nnan,", None),
        ("a.csv", "n,b\n,1", None),
    ],
)
def test_whole_numbers(write: Write, name: str, content: str, expected: int | None) -> None:
    assert row_of(write, content, name).whole("n") == expected


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.jsonl", '{"n": 0}', "n 0 is no positive number"),
        ("a.jsonl", '{"n": true}', "n True is no"),
        ("a.jsonl", '{"n": "12"}', "n '12' is no"),
        ("a.jsonl", '{"n": 1.5}', "n 1.5 is no"),
        ("a.csv", "n,b\n1.5,", "line 2: n '1.5' is no"),
        ("a.csv", "n,b\ninf,", "line 2: n 'inf' is no"),
        ("a.csv", "n,b\nx,", "line 2: n 'x' is no"),
        ("a.csv", "n,b\n-1,", "line 2: n '-1' is no"),
    ],
)
def test_what_is_no_whole_number(write: Write, name: str, content: str, says: str) -> None:
    with pytest.raises(DatasetError, match=says):
        row_of(write, content, name).whole("n")
