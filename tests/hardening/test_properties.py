"""Whatever a server sends, one record comes of it: nothing raises, and `ok` only where the answer was whole."""

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from genbench.decode import ResponseDecoder, raw_line
from genbench.endpoints import chat, completions, embeddings
from genbench.records import RecordTable, RecordWriter, open_table
from genbench.transport.connection import FRAMING_BYTES
from genbench.types import MISSING, Endpoint, Outcome, Record, Reply
from tests.hardening.answers import (
    ANSWERS,
    CHAT,
    CHUNKED,
    KINDS,
    MESSAGE,
    Answer,
    chunked,
    cut,
    delta,
    events,
    head,
    spoiled,
)
from tests.hardening.driven import Driven
from tests.hardening.oracle import may_be_ok
from tests.wire import decoded, kinds, stream

NOT_OF_THE_READING = {"event_ns", "event_shared", "error"}  # what may depend on how the bytes were cut
TIMES = {f.name for f in fields(Record) if f.name.endswith("_ns")} | {"connection"}
SPLITS = st.lists(st.integers(0, 5000), max_size=8)


@pytest.fixture(scope="module")
def driven(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driven]:
    with Driven(tmp_path_factory.mktemp("driven")) as made:
        yield made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("records")


def said(record: Record) -> dict[str, Any]:
    """What a record says, but for what depends on the cuts."""
    return {name: value for name, value in asdict(record).items() if name not in NOT_OF_THE_READING | TIMES}


# -- HTTP -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_cut_at_every_byte(name: str, driven: Driven) -> None:
    answer = ANSWERS[name]
    for place in range(len(answer.data)):
        part = answer.data[:place]
        closed = driven.record([part], answer.endpoint).outcome
        silent = driven.record([part], answer.endpoint, close=False).outcome
        if answer.framed or place < len(answer.head):
            assert (closed, silent) == (Outcome.TRUNCATED, Outcome.TIMEOUT_IDLE), place
        else:
            whole_so_far = may_be_ok(part, answer.kind, closed=True)
            assert closed != Outcome.OK or whole_so_far, place
            assert closed == Outcome.OK or not (whole_so_far and part.endswith(b"\n\n")), place
            assert silent == Outcome.TIMEOUT_IDLE
    whole = [driven.record(pieces, answer.endpoint) for pieces in ([answer.data], [answer.head, *answer.pieces])]
    assert [record.outcome for record in whole] == [Outcome.OK, Outcome.OK]


@given(spoiled(), SPLITS, st.booleans())
@settings(max_examples=400, deadline=None)
def test_a_spoiled_answer_is_ok_only_where_it_is_whole(
    driven: Driven, case: tuple[Answer, bytes], places: list[int], close: bool
) -> None:
    answer, data = case
    whole = driven.record([data], answer.endpoint, close=close)
    assert whole.outcome != Outcome.CANCELLED  # the value a record begins with: it was judged
    if whole.outcome == Outcome.OK:
        assert may_be_ok(data, answer.kind, closed=close)
    split = driven.record(cut(data, places), answer.endpoint, close=close)
    assert said(split) == said(whole)


@given(st.binary(max_size=200), SPLITS, st.sampled_from(list(KINDS)))
@settings(max_examples=100, deadline=None)
def test_any_bytes_for_a_head_or_a_body(driven: Driven, data: bytes, places: list[int], kind: str) -> None:
    for start in (b"", b"HTTP/1.1 200 OK\r\n", head(CHUNKED), head()):
        whole = driven.record([start + data], KINDS[kind])
        assert whole.outcome != Outcome.OK or may_be_ok(start + data, kind, closed=True)
        assert said(driven.record(cut(start + data, places), KINDS[kind])) == said(whole)


GOOD = ANSWERS["chat, chunked"].data
AFTER = [b"garbage", b"\r\n", b"H", b"HTTP/1.1 200 OK\r\n", GOOD, GOOD + GOOD, GOOD[:200], b"\x00"]
AFTER += [b"HTTP/1.1 101 S\r\nUpgrade: x\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"]


@pytest.mark.parametrize("after", AFTER)
def test_what_comes_behind_an_answer_neither_spoils_it_nor_is_the_next_answer(after: bytes, driven: Driven) -> None:
    for pieces in ([GOOD + after], [GOOD[:-1], GOOD[-1:] + after], [GOOD, after]):
        first = driven.exchange(pieces, close=False, keep=True)
        second = driven.exchange([GOOD], close=False)
        assert (first.reply.outcome, second.reply.outcome) == (None, None), pieces
        assert [data for _, data in first.reply.chunks] != []
        kept = first.record.connection == second.record.connection
        assert kept == (after == b"\r\n" and pieces != [GOOD, after])  # httptools skips a blank line
        assert b"".join(data for _, data in second.reply.chunks) == b"".join(CHAT)


def test_an_answer_that_says_close_may_be_followed_by_anything(driven: Driven) -> None:
    data = head(CHUNKED, b"Connection: close") + b"".join(chunked(CHAT))
    assert driven.record([data + b"garbage"], chat).outcome == Outcome.OK


ENDLESS = {
    "a header's value": (b"HTTP/1.1 200 OK\r\nX: ", b"a"),
    "a header's name": (b"HTTP/1.1 200 OK\r\n", b"a"),
    "headers": (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
    "the reason": (b"HTTP/1.1 200 ", b"a"),
    "blank lines": (b"", b"\r\n"),
    "1xx heads": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "chunk extensions": (head(CHUNKED) + b"5;", b"a"),
    "zeros of a chunk size": (head(CHUNKED), b"0"),
    "trailers": (head(CHUNKED) + b"0\r\n", b"X: y\r\n"),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_framing_without_end_is_given_up(name: str, driven: Driven) -> None:
    start, more = ENDLESS[name]
    pieces = [start, *[more * (10_000 // len(more))] * (FRAMING_BYTES // 10_000 + 20)]
    record = driven.record(pieces, chat, close=False)
    assert record.outcome == Outcome.PROTOCOL_ERROR
    assert "in a row" in record.error or "HTTP" in record.error
    assert record.response_bytes == 0


def test_long_framing_between_bytes_of_body_is_not(driven: Driven) -> None:
    ones = tuple(bytes([byte]) for byte in b"".join(CHAT))
    pieces = [b"1;" + b"x" * 5000 + b"\r\n%b\r\n" % one for one in ones]
    assert sum(map(len, pieces)) > 4 * FRAMING_BYTES
    assert driven.record([head(CHUNKED), *pieces, b"0\r\n\r\n"], chat).outcome == Outcome.OK


@pytest.mark.parametrize(
    "framing",
    [
        b"Content-Length: -5",
        b"Content-Length: 99999999999999999999999",
        b"Content-Length: 5\r\nContent-Length: 6",
        b"Content-Length: 0x5",
        b"Content-Length: 5\r\nTransfer-Encoding: chunked",
        b"Content-Length:",
    ],
)
def test_a_length_that_is_none(framing: bytes, driven: Driven) -> None:
    assert driven.record([head(framing), *chunked(CHAT)], chat).outcome == Outcome.PROTOCOL_ERROR


@pytest.mark.parametrize("size", [b"-5", b"+5", b"0x5", b"g", b"fffffffffffffffff", b" 5", b""])
def test_a_chunk_size_that_is_none(size: bytes, driven: Driven) -> None:
    record = driven.record([head(CHUNKED), size + b"\r\nhello\r\n"], chat, close=False)
    assert record.outcome == Outcome.PROTOCOL_ERROR


def test_a_huge_length_that_is_not_delivered_is_truncated(driven: Driven) -> None:
    data = head(b"Content-Length: 9223372036854775807") + b"".join(CHAT)
    assert driven.record([data], chat).outcome == Outcome.TRUNCATED
    data = head(CHUNKED) + b"fffffffffffffff\r\n" + b"".join(CHAT)
    assert driven.record([data], chat).outcome == Outcome.TRUNCATED


def test_a_read_is_one_piece_however_many_chunks_it_holds(driven: Driven) -> None:
    # 13,000 chunks of one byte in a read would take 1.7 MB as pieces with a stamp each.
    exchange = driven.exchange([head(CHUNKED), b"1\r\nx\r\n" * 5000, b"0\r\n\r\n"])
    assert [len(data) for _, data in exchange.reply.chunks] == [5000]


# -- events and JSON --------------------------------------------------------------------------------------------------


def reread(folder: Path, record: Record, reply: Reply, kind: str) -> RecordTable:
    """The record as the log gives it back: decoded in time (index 0), and written raw (index 1)."""
    path = folder / "requests.jsonl"
    path.unlink(missing_ok=True)
    writer = RecordWriter(path)
    writer.append(record)
    writer.append_raw(Record(index=1, inputs=record.inputs, choices=record.choices), raw_line(reply))
    writer.close()
    return open_table(path, kind)


def through(folder: Path, kind: str, data: bytes, content_type: str, **rest: Any) -> Record:
    """Decode, write, read again; the record, after a look at the table."""
    record, _ = decoded(stream(data, content_type=content_type), KINDS[kind], **rest)
    table = reread(folder, record, stream(data, content_type=content_type), kind)
    assert table.outcome == [record.outcome, record.outcome]
    for name in ("osl_usage", "isl_usage", "cached_tokens", "reasoning_tokens", "embeddings"):
        assert getattr(table, name).tolist() == [getattr(record, name)] * 2
    assert table.event_tokens.tolist() == record.event_tokens * 2
    assert table.event_choice.tolist() == record.event_choice * 2
    assert np.all(table.event_choice >= 0)
    return record


@given(MESSAGE, st.booleans(), st.sampled_from([1, 2]))
@settings(max_examples=150, deadline=None)
@example(("chat", {"choices": [{"delta": {"content": "a"}}], "usage": {"completion_tokens": 1 << 63}}), True, 1)
def test_any_values_in_a_message(folder: Path, case: tuple[str, Any], streamed: bool, asked: int) -> None:
    kind, message = case
    text = json.dumps(message).encode()
    data = b"".join(events(message)) if streamed else text
    content_type = "text/event-stream" if streamed else "application/json"
    record = through(folder, kind, data, content_type, choices=asked, inputs=asked)
    if record.outcome == Outcome.OK:
        assert may_be_ok(b"HTTP/1.1 200 OK\r\n\r\n" + data, kind, closed=True, inputs=asked)


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


BIG = [(1 << 31), (1 << 63) - 1, 1 << 63, 1 << 64, 10**30, 10**400, -1, -(1 << 63), 1.5, True, "7", None, [], {}]
A = '{"content":"a"}'
DOCUMENTS: list[tuple[str, str, Outcome]] = [
    ("chat", '{"choices":"text"}', Outcome.EMPTY_BODY),
    ("chat", '{"choices":{"0":{"delta":{"content":"a"}}}}', Outcome.EMPTY_BODY),
    ("chat", '{"choices":[null,1,"a",[],{}]}', Outcome.EMPTY_BODY),
    ("chat", '{"choices":[{"delta":null,"message":null}]}', Outcome.EMPTY_BODY),
    ("chat", '{"choices":[{"message":{"content":["a",1,null,{"text":5},{"text":"b"}]}}]}', Outcome.OK),
    ("chat", f'{{"choices":[{{"index":{1 << 40},"message":{A}}}]}}', Outcome.OK),
    ("chat", f'{{"choices":[{{"index":-1,"message":{A}}}]}}', Outcome.OK),
    ("chat", f'{{"choices":[{{"index":1.5,"message":{A}}}]}}', Outcome.OK),
    ("chat", '{"choices":[{"message":{"content":"\\ud800"}}]}', Outcome.OK),
    ("chat", f'{{"choices":[{{"message":{A},"logprobs":NaN}}],"usage":{{"prompt_tokens":{10**30}}}}}', Outcome.OK),
    ("chat", nested(100_000), Outcome.PROTOCOL_ERROR),
    ("chat", f'{{"choices":{nested(100_000)}}}', Outcome.PROTOCOL_ERROR),
    ("chat", f'{{"choices":{nested(1000)}}}', Outcome.EMPTY_BODY),
    ("chat", f'{{"detail":[{nested(1000)}]}}', Outcome.STREAM_ERROR),
    ("chat", f'{{"detail":[{{"loc":[{nested(1000)},"a",1],"msg":"no"}}]}}', Outcome.STREAM_ERROR),
    ("chat", f'{{"error":{nested(1000)}}}', Outcome.EMPTY_BODY),
    ("chat", '{"choices":[' + ",".join(['{"message":' + A + "}"] * 40_000) + "]}", Outcome.OK),
    ("completions", '{"choices":[{"text":["a"]}]}', Outcome.OK),
    ("completions", '{"choices":[{"text":{"a":"b"}}]}', Outcome.EMPTY_BODY),
    ("embeddings", '{"data":"AAAA"}', Outcome.EMPTY_BODY),
    ("embeddings", '{"data":[{"embedding":"AAAA"}]}', Outcome.PROTOCOL_ERROR),  # 3 bytes: no float32
    ("embeddings", '{"data":[{"embedding":"AAAAA"}]}', Outcome.PROTOCOL_ERROR),
    ("embeddings", '{"data":[{"embedding":"AACAPw=="}]}', Outcome.OK),  # 1.0
    ("embeddings", '{"data":[{"embedding":"AACAfw=="}]}', Outcome.PROTOCOL_ERROR),  # inf
    ("embeddings", '{"data":[{"embedding":"\\u00e9"}]}', Outcome.PROTOCOL_ERROR),
    ("embeddings", '{"data":[{"embedding":[true,false]}]}', Outcome.PROTOCOL_ERROR),
    ("embeddings", '{"data":[{"embedding":[1,true]}]}', Outcome.PROTOCOL_ERROR),
    ("embeddings", '{"data":[{"embedding":[[1],[true]]}]}', Outcome.PROTOCOL_ERROR),
    ("embeddings", '{"data":[{"embedding":[1e308,1e308]}]}', Outcome.OK),  # their sum is not finite, they are
    ("embeddings", '{"data":[{"embedding":[Infinity,-Infinity]}]}', Outcome.PROTOCOL_ERROR),
    ("embeddings", f'{{"data":[{{"embedding":[{10**400},NaN]}}]}}', Outcome.PROTOCOL_ERROR),
    ("embeddings", '{"data":[{"embedding":[]}]}', Outcome.PROTOCOL_ERROR),
    ("embeddings", '{"data":[{"embedding":{}}]}', Outcome.PROTOCOL_ERROR),
    ("embeddings", '{"data":[{"embedding":[1]},{"embedding":[1]}]}', Outcome.PROTOCOL_ERROR),  # two for one input
]


@pytest.mark.parametrize(("kind", "text", "outcome"), DOCUMENTS, ids=[f"{k}-{t[:60]}" for k, t, _ in DOCUMENTS])
def test_a_document_with_wrong_values(folder: Path, kind: str, text: str, outcome: Outcome) -> None:
    assert through(folder, kind, text.encode(), "application/json").outcome == outcome


@pytest.mark.parametrize("count", BIG, ids=lambda count: repr(count)[:24])
def test_counts_that_are_none(folder: Path, count: Any) -> None:
    usage = {"prompt_tokens": count, "completion_tokens": count, "prompt_tokens_details": {"cached_tokens": count}}
    message = {"choices": [{"delta": {"content": "a\ud800"}, "finish_reason": "stop"}], "usage": usage}
    for text in (json.dumps(message), json.dumps(message).replace("\\ud800", "")):  # through Python's json and orjson's
        record = through(folder, "chat", b"data: " + text.encode() + b"\n\n", "text/event-stream")
        assert (record.outcome, record.osl_usage, record.isl_usage) == (Outcome.OK, MISSING, MISSING)
        assert (record.cached_tokens, record.event_tokens) == (MISSING, [MISSING, MISSING])


def test_the_largest_count_is_read(folder: Path) -> None:
    message = delta("a", finish_reason="stop") | {"usage": {"completion_tokens": 2147483647}}
    record = through(folder, "chat", b"".join(events(message, done=False)), "text/event-stream")
    assert (record.osl_usage, record.event_tokens) == (2147483647, [2147483647, MISSING])


def test_a_long_finish_reason_is_kept_in_part(folder: Path) -> None:
    message = {"choices": [{"delta": {"content": "a"}, "finish_reason": "x" * 100_000}]}
    record = through(folder, "chat", b"".join(events(message)), "text/event-stream")
    assert (record.outcome, record.finish_reason) == (Outcome.OK, "x" * 1024)


# -- work is linear: each of these took minutes, or would, where a step was quadratic ----------------------------------


def timed(endpoint: Endpoint, content_type: str, pieces: list[bytes], **rest: Any) -> tuple[Record, float]:
    record = Record(**rest)
    decoder = ResponseDecoder(record, endpoint)
    began = time.process_time()
    reply = Reply(200, content_type)
    for number, piece in enumerate(pieces):
        reply.chunks.append((number, piece))
        decoder.feed(reply)
    decoder.finish(reply)
    return record, time.process_time() - began


def test_many_choices_in_one_message_take_linear_time() -> None:
    # Tokens were taken off the front of a list: 150,000 choices took 4 times as long as without a usage to share out.
    data = b'data: {"%b":{"completion_tokens":5},"choices":[' + b",".join([b'{"text":"a"}'] * 150_000) + b"]}\n\n"
    spent = {}
    for name in (b"usage", b"-"):
        record, spent[name] = timed(completions, "text/event-stream", [data.replace(b"%b", name)])
        assert len(record.event_ns) == 150_000
    assert spent[b"usage"] < 2.5 * spent[b"-"]


def test_blanks_without_a_content_type_take_linear_time() -> None:
    # What was held back was joined anew for each piece: 50 MiB took 17 s.
    record, spent = timed(chat, "", [b" " * 65536] * 800)
    assert (record.outcome, record.response_bytes) == (Outcome.EMPTY_BODY, 800 * 65536)
    assert spent < 2


@pytest.mark.parametrize("size", [1, 10, 65536])
def test_a_long_event_takes_linear_time(size: int) -> None:
    data = events({"choices": [{"delta": {"content": "a" * (size * 100_000 if size < 100 else 30_000_000)}}]})[0]
    record, spent = timed(chat, "text/event-stream", [data[k : k + size] for k in range(0, len(data), size)])
    assert (kinds(record), record.response_bytes) == ("C", len(data))
    assert spent < 4


def test_a_long_row_of_base64_and_numbers_takes_linear_time() -> None:
    rows = b",".join([b'{"embedding":[' + b",".join([b"1e308"] * 1000) + b"]}"] * 1000)
    record, spent = timed(embeddings, "application/json", [b'{"data":[' + rows + b"]}"], inputs=1000)
    assert record.outcome == Outcome.OK
    assert spent < 4
