import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import orjson
import pytest

from genbench.decode import raw_line
from genbench.errors import RecordError
from genbench.records import (
    RecordTable,
    RecordWriter,
    merge,
    open_table,
    read_header,
    table_from,
    write_header,
)
from genbench.types import EventKind, Outcome, Phase, Record, Reply
from tests.metrics.made import MS, stream

FAILED = Record(
    index=1,
    phase=Phase.WARMUP,
    outcome=Outcome.HTTP_ERROR,
    status=503,
    error="überlastet",
    retry_after="2",
    sent_ns=5 * MS,
    end_ns=6 * MS,
)


def written(path: Path, *records: Record) -> Path:
    writer = RecordWriter(path)
    for record in records:
        writer.append(record)
    writer.close()
    return path


def same(one: RecordTable, other: RecordTable) -> bool:
    return all(
        value == vars(other)[name] if isinstance(value, list) else np.array_equal(value, vars(other)[name])
        for name, value in vars(one).items()
        if name in RecordTable.__dataclass_fields__
    )


def test_a_line_leaves_defaults_out(tmp_path: Path) -> None:
    path = written(tmp_path / "requests.jsonl", FAILED)
    line = orjson.loads(path.read_bytes())
    assert line == {
        "index": 1,
        "phase": 0,
        "outcome": "http_error",
        "status": 503,
        "error": "überlastet",
        "retry_after": "2",
        "sent_ns": 5 * MS,
        "end_ns": 6 * MS,
        "event_ns": [],
        "event_kind": [],
        "event_choice": [],
        "event_tokens": [],
        "event_shared": [],
    }


def test_round_trip(tmp_path: Path) -> None:
    records = [stream(0, 1, [10, 20, 30], tokens=[1, 2, 3]), FAILED, stream(2, 2, [])]
    table = open_table(written(tmp_path / "requests.jsonl", *records))
    assert same(table, table_from(records))
    assert table.index.tolist() == [0, 1, 2]
    assert table.event_start.tolist() == [0, 5, 5, 7]
    assert table.event_ns.tolist()[:5] == [1_500_000, 10 * MS, 20 * MS, 30 * MS, 30 * MS]
    assert table.event_kind.tolist()[:5] == [0, 3, 3, 3, 5]
    assert table.event_tokens.tolist() == [-1, 1, 2, 3, -1, -1, -1]
    assert table.outcome == ["ok", "http_error", "ok"]
    assert [type(outcome) for outcome in table_from(records).outcome] == [str, str, str]
    assert table.error == ["", "überlastet", ""]
    assert table.status.tolist() == [200, 503, 200]
    assert table.streamed.tolist() == [True, False, True]
    assert table.tcp_end_ns.tolist() == [-1, -1, -1]
    assert table.measured.tolist() == [True, False, True]
    assert table.ok.tolist() == [True, False, True]
    assert table.content.position.tolist() == [1, 2, 3]
    assert table.content.count.tolist() == [3, 0, 0]


def test_the_folder_is_enough(tmp_path: Path) -> None:
    written(tmp_path / "requests.jsonl", FAILED)
    assert len(open_table(tmp_path)) == 1


def test_rows_are_sorted_and_the_last_of_an_index_stands(tmp_path: Path) -> None:
    first, last = stream(3, 1, [2]), stream(3, 1, [2, 3, 4])
    path = written(tmp_path / "requests.jsonl", first, stream(1, 0, [5, 6]), last, stream(2, 0, []))
    table = open_table(path)
    assert same(table, table_from([stream(1, 0, [5, 6]), stream(2, 0, []), last]))


def test_nothing_is_lost_before_a_flush_and_nothing_written(tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"
    writer = RecordWriter(path)
    writer.append(FAILED)
    assert path.read_bytes() == b""
    writer.flush()
    assert len(open_table(path)) == 1
    writer.append(stream(2, 0, [1]))
    writer.close()
    assert len(open_table(path)) == 2


def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole: Callable[[int, memoryview], int] = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: whole(fd, data[:7]))
    path = written(tmp_path / "requests.jsonl", FAILED, stream(2, 0, [1, 2]))
    assert same(open_table(path), table_from([FAILED, stream(2, 0, [1, 2])]))


def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = RecordWriter(tmp_path / "requests.jsonl")
    writer.append(FAILED)

    def full(_fd: int, _data: memoryview) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(RecordError, match=r"No space left on device.*free space"):
        writer.close()


@pytest.mark.parametrize("kept", [1, 20, 60])
def test_a_torn_last_line_is_ignored(tmp_path: Path, kept: int) -> None:
    path = written(tmp_path / "requests.jsonl", FAILED, stream(2, 0, [1, 2]))
    first = path.read_bytes().index(b"\n") + 1
    path.write_bytes(path.read_bytes()[: first + kept])
    assert same(open_table(path), table_from([FAILED]))


def test_a_whole_last_line_without_newline_counts(tmp_path: Path) -> None:
    path = written(tmp_path / "requests.jsonl", FAILED)
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    assert len(open_table(path)) == 1


@pytest.mark.parametrize("filler", [0, 200_000])
def test_the_next_writer_cuts_a_torn_line_off(tmp_path: Path, filler: int) -> None:
    path = written(tmp_path / "requests.jsonl", FAILED)
    path.write_bytes(path.read_bytes() + b'{"index":7,"error":"' + b"x" * filler)
    assert same(open_table(written(path, stream(2, 0, [1]))), table_from([FAILED, stream(2, 0, [1])]))


def test_the_writer_cuts_a_file_of_one_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"
    path.write_bytes(b'{"index":7,')
    RecordWriter(path).close()
    assert path.read_bytes() == b""


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b'{"index":7,\n', "line 2 cannot be read"),
        (b"[1]\n", "line 2 is not an object"),
        (b"{}\n", "line 2 is not a record: it has no index"),
        (b'{"index":"a"}\n', "line 2 is not a record"),
        (b'{"index":7,"outcome":"fine"}\n', "line 2 is not a record: unknown outcome 'fine'"),
        (b'{"index":7,"event_ns":[1]}\n', "line 2 is not a record: event_kind has 0 entries"),
        (b'{"index":7,"raw":{"status":200}}\n', "line 2 is not a record"),
        (b'{"amend":9,"osl_tokenizer":1}\n', "line 2 amends nothing: there is no request 9"),
        (b'{"amend":1,"event_tokens":[1]}\n', "line 2 amends nothing"),
    ],
)
def test_a_bad_line_in_the_middle_is_named(tmp_path: Path, line: bytes, said: str) -> None:
    path = written(tmp_path / "requests.jsonl", FAILED)
    path.write_bytes(path.read_bytes() + line)
    written(path, stream(8, 0, [1]))
    with pytest.raises(RecordError, match=said):
        open_table(path)


def test_unknown_keys_are_ignored(tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"
    path.write_bytes(b'{"index":7,"colour":"blue"}\n')
    assert open_table(path).index.tolist() == [7]


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="give the folder of a run"):
        open_table(tmp_path / "requests.jsonl")


def test_amend(tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"
    writer = RecordWriter(path)
    writer.append(stream(5, 0, [1, 2]))
    writer.append(stream(4, 0, [3]))
    writer.amend(5, {"osl_tokenizer": 7, "event_tokens": [-1, 3, 4, -1], "error": "seen"})
    writer.close()
    table = open_table(path)
    assert table.osl_tokenizer.tolist() == [-1, 7]
    assert table.event_tokens.tolist() == [-1, -1, -1, -1, 3, 4, -1]
    assert table.tokens_amended.tolist() == [False, True]
    assert table.error == ["", "seen"]


def test_raw_rows_are_decoded(tmp_path: Path) -> None:
    chunk = b'data: {"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
    last = b'data: {"object":"chat.completion.chunk","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
    reply = Reply(
        status=200,
        content_type="text/event-stream",
        chunks=[(10 * MS, chunk), (30 * MS, chunk), (31 * MS, last + b"data: [DONE]\n\n")],
    )
    path = tmp_path / "requests.jsonl"
    writer = RecordWriter(path)
    writer.append_raw(Record(index=3, sent_ns=MS, end_ns=31 * MS), raw_line(reply))
    writer.close()
    table = open_table(path, "chat")
    assert table.outcome == ["ok"]
    assert table.sent_ns.tolist() == [MS]
    assert table.finish_reason == ["stop"]
    content = table.event_ns[table.event_kind == EventKind.CONTENT]
    assert content.tolist() == [10 * MS, 30 * MS]


def test_merge() -> None:
    one, two = [stream(0, 1, [2]), stream(4, 1, [2, 3])], [stream(2, 5, [6, 7, 8]), stream(4, 1, [9])]
    merged = merge([table_from(one), table_from(two)])
    assert same(merged, table_from([one[0], two[0], two[1]]))
    assert len(merge([])) == 0


def test_take() -> None:
    table = table_from([stream(0, 1, [2]), stream(1, 1, [2, 3]), stream(2, 1, [])])
    taken = table.take(np.array([2, 1]))
    assert taken.index.tolist() == [2, 1]
    assert taken.event_start.tolist() == [0, 2, 6]
    assert taken.event_ns[2:].tolist() == table.event_ns[3:7].tolist()


def test_header_round_trip(tmp_path: Path) -> None:
    write_header(tmp_path, {"seed": 3, "preflight": {"template_tokens": np.int64(21)}})
    assert read_header(tmp_path) == {"schema": 1, "seed": 3, "preflight": {"template_tokens": 21}}
    assert read_header(tmp_path / "run.json")["seed"] == 3
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.json"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"schema": 2}', "schema 2, this genbench reads up to 1; upgrade genbench"),
        (b'{"seed": 2}', "no schema number"),
        (b"[]", "no schema number"),
        (b'{"schema": ', "is not JSON"),
    ],
)
def test_bad_headers(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(RecordError, match=said):
        read_header(tmp_path)


def test_not_a_run_folder(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"is not a run: cannot read run\.json .*give a run's folder"):
        read_header(tmp_path)
    with pytest.raises(RecordError, match="choose another"):
        write_header(tmp_path / "missing", {})
    with pytest.raises(RecordError, match="choose another"):
        RecordWriter(tmp_path / "missing" / "requests.jsonl")
