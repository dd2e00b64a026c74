from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from genbench.sse import Message, SseParser
from tests import wire


def event(data: bytes, kind: bytes = b"message") -> Message:
    return Message(kind, data, False)


def comment(text: bytes) -> Message:
    return Message(b"", text, True)


def parsed(pieces: Iterable[bytes]) -> tuple[list[Message], Message | None]:
    parser = SseParser()
    found = [message for piece in pieces for message in parser.feed(piece)]
    return found, parser.finish()


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[a:b] for a, b in pairwise(edges)]


def single(data: bytes) -> list[bytes]:
    return [data[place : place + 1] for place in range(len(data))]


CASES = {
    "the common case": (b"data: {}\n\ndata: [DONE]\n\n", [event(b"{}"), event(b"[DONE]")], None),
    "no space after the colon": (b"data:x\n\n", [event(b"x")], None),
    "only one space is dropped": (b"data:  x \n\n", [event(b" x ")], None),
    "CRLF": (b"data: a\r\n\r\ndata: b\r\n\r\n", [event(b"a"), event(b"b")], None),
    "lone CR": (b"data: a\r\rdata: b\r\r", [event(b"a"), event(b"b")], None),
    "a CR in the middle is a line end": (b"data: a\rb: c\n\n", [event(b"a")], None),
    "line ends mixed": (b"data: a\r\n\ndata: b\n\rdata: c\r\r\n", [event(b"a"), event(b"b"), event(b"c")], None),
    "byte order mark": (b"\xef\xbb\xbfdata: a\n\n", [event(b"a")], None),
    "a second byte order mark": (b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\n", [], None),
    "half a byte order mark": (b"\xef\xbbdata: a\n\ndata: b\n\n", [event(b"b")], None),
    # The three examples of the specification, section 9.2.6.
    "several data lines": (b"data: YHOO\ndata: +2\ndata: 10\n\n", [event(b"YHOO\n+2\n10")], None),
    "comment, id and an unterminated event": (
        b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event",
        [comment(b"test stream"), event(b"first event"), event(b"second event")],
        event(b" third event"),
    ),
    "empty data": (b"data\n\ndata\ndata\n\ndata:", [event(b""), event(b"\n")], event(b"")),
    "event name": (b"event: error\ndata: x\n\ndata: y\n\n", [event(b"x", b"error"), event(b"y")], None),
    "an event without data, and its name is forgotten": (b"event: error\n\ndata: y\n\n", [event(b"y")], None),
    "empty event name": (b"event: a\nevent:\ndata: y\n\n", [event(b"y")], None),
    "retry and unknown fields": (b"retry: 5\nfoo: 1\n data: no\ndata: x\n\n", [event(b"x")], None),
    "a comment inside an event comes first": (b"data: a\n: c\ndata: b\n\n", [comment(b"c"), event(b"a\nb")], None),
    "a comment that does not end": (b"data: a\n\n: ping", [event(b"a")], None),
    "an event with one line end": (b"data: [DONE]\n", [], event(b"[DONE]")),
    "blank lines": (b"\n\n\n\ndata: a\n\n\n\n\n", [event(b"a")], None),
    "nothing": (b"", [], None),
    "NEL and form feed are no line ends": (b"data: a\x0bb\x0cc\x85\n\n", [event(b"a\x0bb\x0cc\x85")], None),
}


@pytest.mark.parametrize("name", CASES)
def test_messages_of_a_body(name: str) -> None:
    data, messages, last = CASES[name]
    assert parsed([data]) == (messages, last)
    assert parsed(single(data)) == (messages, last)
    for place in range(len(data)):
        assert parsed([data[:place], b"", data[place:]]) == (messages, last)


def reference(data: bytes) -> tuple[list[Message], Message | None]:
    """The specification read aloud: normalise the line ends, then line by line."""
    text = data.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    *lines, rest = text.split(b"\n")
    found: list[Message] = []
    name = b""
    values: list[bytes] = []
    if rest and not rest.startswith(b":"):
        lines.append(rest)
    ended = len(found)
    for line in [*lines, None]:
        if line is None:
            ended = len(found)
        if not line:
            if values:
                found.append(event(b"\n".join(values), name or b"message"))
            name, values = b"", []
        elif line.startswith(b":"):
            found.append(comment(line[1:].removeprefix(b" ")))
        else:
            field, _, value = line.partition(b":")
            if field == b"data":
                values.append(value.removeprefix(b" "))
            if field == b"event":
                name = value.removeprefix(b" ")
    return found[:ended], (found[ended] if len(found) > ended else None)


PARTS = [
    b"data",
    b"data: ",
    b"event: e",
    b":",
    b" ",
    b"x",
    b"\n",
    b"\n\n",
    b"\r",
    b"\r\n",
    b"\xef\xbb\xbf",
    b"data: y\n\n",
]


@given(st.lists(st.sampled_from(PARTS), max_size=30), st.lists(st.integers(0, 200), max_size=8))
@example([b"data: ", b"x", b"\r", b"\n", b"\r", b"\n"], [8])
def test_any_bytes_cut_anywhere_give_what_the_specification_says(parts: list[bytes], places: list[int]) -> None:
    data = b"".join(parts)
    expected = reference(data)
    assert parsed([data]) == expected
    assert parsed(cut(data, places)) == expected
    assert parsed(single(data)) == expected


@given(st.binary(max_size=60), st.lists(st.integers(0, 60), max_size=5))
def test_any_bytes_at_all(data: bytes, places: list[int]) -> None:
    assert parsed(cut(data, places)) == reference(data)


def test_a_message_comes_with_the_byte_that_completes_it() -> None:
    # The CR of the blank line completes the event: waiting for a possible LF would give it the next read's stamp.
    parser = SseParser()
    assert parser.feed(b"data: a\r\n") == []
    assert parser.feed(b"\r") == [event(b"a")]
    assert parser.feed(b"\n: ping\r") == [comment(b"ping")]
    assert parser.feed(b"\ndata: b\n") == []
    assert parser.feed(b"\n") == [event(b"b")]


def test_a_comment_is_complete_before_its_blank_line() -> None:
    parser = SseParser()
    assert parser.feed(b": ping\n") == [comment(b"ping")]
    assert parser.feed(b"\ndata: a\n\n") == [event(b"a")]


def test_a_large_event_in_small_pieces_takes_linear_time() -> None:
    # 4 MiB in 64 byte pieces: joining what there is at each of the 65,536 pieces would copy 137 GB and time out.
    size = 4 << 20
    parser = SseParser()
    assert parser.feed(b"data: ") == []
    piece = b"x" * 64
    for _ in range(size // 64):
        assert not parser.feed(piece)
    [message] = parser.feed(b"\n\n")
    assert message.data == b"x" * size


def test_many_lines_in_one_piece_take_linear_time() -> None:
    # 300,000 lines and no CR: looking for one at each line would scan 300,000 x 2.4 MB / 2 = 360 GB.
    [message] = SseParser().feed(b"data: x\n" * 300_000 + b"\n")
    assert len(message.data) == 2 * 300_000 - 1


@pytest.mark.parametrize("name", [name for name in wire.names() if name.endswith("stream")])
def test_captures_cut_anywhere(name: str) -> None:
    capture = wire.load(name)
    expected = reference(capture.body)
    assert parsed(capture.chunks) == expected
    assert parsed([capture.body]) == expected
    assert parsed(single(capture.body)) == expected


def test_pings_of_llama_cpp() -> None:
    messages, last = parsed(wire.load("llamacpp-chat-ping").chunks)
    assert messages == [
        comment(b"ping - 2026-11-21 09:04:09.658953+00:00"),
        comment(b"ping - 2026-11-21 09:04:24.660216+00:00"),
    ]
    assert last is None
