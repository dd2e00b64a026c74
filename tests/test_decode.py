from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genbench import decode
from genbench.decode import ResponseDecoder, raw_line, reply_from_raw
from genbench.endpoints import chat, completions, embeddings
from genbench.types import Endpoint, Outcome, Record, Reply
from tests import wire
from tests.wire import decoded, endpoint_of, kinds, stream


def chunk(text: str | None = None, *, finish: str | None = None, index: int = 0, **rest: Any) -> bytes:
    """A chat chunk; fields of the choice that are not of the delta go into `choice`."""
    delta = {} if text is None else {"content": text}
    choice = {"index": index, "delta": delta, "finish_reason": finish, **rest.pop("choice", {})}
    return b"data: " + orjson.dumps({"choices": [choice], **rest}) + b"\n\n"


def usage(completion: int, prompt: int = 10) -> dict[str, int]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


DONE = b"data: [DONE]\n\n"

# -- tokens -----------------------------------------------------------------------------------------------------------


def test_continuous_usage_counts_from_the_previous_content() -> None:
    # 1; an event without text brings the count to 2; the next text to 4: 4 - 1 = 3 tokens since the previous text.
    pieces = [
        chunk("", usage=usage(0)),
        chunk("a", usage=usage(1)),
        chunk("", usage=usage(2)),
        chunk("b", usage=usage(4)),
    ]
    record, _ = decoded(stream(*pieces, chunk(finish="stop", usage=usage(4)), DONE))
    assert (kinds(record), record.event_tokens) == ("ECECFD", [-1, 1, -1, 3, -1, -1])
    assert (record.osl_usage, record.isl_usage) == (4, 10)


def test_continuous_usage_goes_before_ids_and_never_below_zero() -> None:
    ids = {"token_ids": [1, 2, 3]}
    pieces = [chunk("a", usage=usage(2), choice=ids), chunk("b", usage=usage(1), choice=ids)]
    record, _ = decoded(stream(*pieces, chunk(finish="stop")))
    assert record.event_tokens == [2, 0, -1]  # 2 - 0, then 1 - 2 is cut off at 0


def test_continuous_usage_of_reasoning_and_content_in_one_message() -> None:
    both = {"delta": {"reasoning": "r", "content": "c"}}
    record, _ = decoded(stream(chunk(usage=usage(5), choice=both), chunk(finish="stop", usage=usage(5))))
    assert (kinds(record), record.event_tokens) == ("TCF", [1, 4, -1])  # one for the first, 5 - 1 for the last


def test_usage_in_the_last_content_event_alone_is_not_continuous() -> None:
    record, _ = decoded(stream(chunk("a"), chunk("b"), chunk("c", finish="stop", usage=usage(9)), DONE))
    assert record.event_tokens == [-1] * 5
    assert record.osl_usage == 9


def test_an_answer_in_one_message_has_all_the_tokens() -> None:
    record, _ = decoded(stream(chunk("abc", finish="stop", usage=usage(9)), DONE))
    assert record.event_tokens == [9, -1, -1]


def test_continuous_usage_is_no_help_with_two_choices() -> None:
    pieces = [chunk("a", usage=usage(1)), chunk("b", index=1, usage=usage(2)), DONE]
    record, _ = decoded(stream(*pieces), choices=2)
    assert record.event_tokens == [-1, -1, -1]


def test_ids_of_a_held_token_count_for_the_next_text_of_its_choice() -> None:
    one = {"token_ids": [7]}
    pieces = [
        chunk("", choice=one),
        chunk("x", index=1, choice=one),
        chunk("\ufffdy", choice=one),
        chunk("z", choice=one),
    ]
    record, _ = decoded(stream(*pieces, DONE), choices=2)
    assert (kinds(record), record.event_tokens) == ("ECCCD", [-1, 1, 2, 1, -1])  # 1 held + 1 of its own


def test_the_last_usage_that_counts_the_output_wins() -> None:
    details = {"prompt_tokens_details": {"cached_tokens": 6}, "completion_tokens_details": {"reasoning_tokens": 2}}
    last = b'data: {"choices": [], "usage": {"prompt_tokens": 99}}\n\n'
    record, _ = decoded(stream(chunk("a", usage=usage(1)), chunk("b", finish="stop", usage=usage(5) | details), last))
    assert (record.isl_usage, record.osl_usage, record.cached_tokens, record.reasoning_tokens) == (10, 5, 6, 2)
    record, _ = decoded(stream(chunk("a", finish="stop"), last))
    assert (record.isl_usage, record.osl_usage, record.cached_tokens) == (99, -1, -1)


# -- outcomes ---------------------------------------------------------------------------------------------------------

WRONG = b"data: oops\n\n"
IN_BAND = b'data: {"error": {"message": "CUDA out of memory", "code": 500}}\n\n'
ERROR_EVENT = b'event: error\ndata: {"message": "x", "error": "engine died"}\n\n'
ERROR_TEXT = b"event: error\ndata: engine died\n\n"
FINISH = chunk(finish="stop")

OUTCOMES: list[tuple[str, list[bytes], Outcome, str, str]] = [
    # what, pieces, outcome, error, kinds
    ("finish_reason without [DONE]", [chunk("a"), FINISH], Outcome.OK, "", "CF"),
    ("[DONE] without finish_reason", [chunk("a"), DONE], Outcome.OK, "", "CD"),
    ("neither", [chunk("a")], Outcome.TRUNCATED, "the stream ended without finish_reason or [DONE]", "C"),
    ("cut inside an event", [chunk("a"), FINISH[:-9]], Outcome.TRUNCATED, "the stream ended inside an event", "C"),
    (
        "cut after the finish",
        [chunk("a"), FINISH, b"data: {"],
        Outcome.TRUNCATED,
        "the stream ended inside an event",
        "CF",
    ),
    ("cut in the first event", [b"data: {"], Outcome.TRUNCATED, "the stream ended inside an event", ""),
    ("no token", [FINISH, DONE], Outcome.NO_OUTPUT, "finish_reason 'stop' without any token", "FD"),
    ("[DONE] and nothing else", [DONE], Outcome.EMPTY_BODY, "neither a token nor a finish_reason", "D"),
    ("nothing", [], Outcome.EMPTY_BODY, "the body is empty", ""),
    ("blank lines", [b"\n\n"], Outcome.EMPTY_BODY, "2 bytes of body, no event in them", ""),
    ("an error object", [chunk("a"), IN_BAND, DONE], Outcome.STREAM_ERROR, "CUDA out of memory", "CXD"),
    ("an error event", [chunk("a"), ERROR_EVENT], Outcome.STREAM_ERROR, "engine died", "CX"),
    ("an error event in plain text", [ERROR_TEXT], Outcome.STREAM_ERROR, "engine died", "X"),
    ("an error after the finish", [chunk("a"), FINISH, IN_BAND], Outcome.STREAM_ERROR, "CUDA out of memory", "CFX"),
    ("no JSON", [chunk("a"), WRONG, FINISH], Outcome.PROTOCOL_ERROR, "an event is not a JSON object: 'oops'", "CF"),
    ("no object", [b"data: [1]\n\n"], Outcome.PROTOCOL_ERROR, "an event is not a JSON object: '[1]'", ""),
    ("an error and no JSON", [WRONG, IN_BAND], Outcome.STREAM_ERROR, "CUDA out of memory", "X"),
    ("empty data is a ping", [b"data: \n\n", chunk("a"), FINISH], Outcome.OK, "", ":CF"),
    ("reasoning alone is output", [chunk(choice={"delta": {"reasoning": "r"}}), FINISH], Outcome.OK, "", "TF"),
]


@pytest.mark.parametrize(
    ("what", "pieces", "outcome", "error", "letters"), OUTCOMES, ids=[case[0] for case in OUTCOMES]
)
def test_outcome_of_a_stream(what: str, pieces: list[bytes], outcome: Outcome, error: str, letters: str) -> None:
    for until_close in (False, True):
        record, _ = decoded(replace(stream(*pieces), until_close=until_close))
        assert (record.outcome, record.error, kinds(record)) == (outcome, error, letters), what
        assert not record.unterminated  # half an event is not one without its blank line


def test_an_unterminated_last_event_that_parses_is_read_and_marked() -> None:
    record, texts = decoded(stream(chunk("a"), chunk("b", finish="stop")[:-2]))
    assert (kinds(record), record.outcome, record.unterminated) == ("CCF", Outcome.OK, True)
    assert [text for _, _, text in texts] == ["a", "b"]
    assert record.event_ns == [1, 2, 2]
    record, _ = decoded(stream(chunk("a"), b"data: [DONE]\n"))
    assert (kinds(record), record.outcome, record.unterminated, record.done) == ("CD", Outcome.OK, True, True)
    record, _ = decoded(stream(chunk("a") + chunk("b", finish="stop")[:-2]))
    assert record.event_shared == [0, 1, 1]


def test_what_the_transport_saw_wins() -> None:
    whole = stream(chunk("a"), FINISH, DONE)
    record, _ = decoded(replace(whole, outcome=Outcome.CANCELLED, error="cancelled by the client"))
    assert (record.outcome, record.error, kinds(record)) == (Outcome.CANCELLED, "cancelled by the client", "CFD")
    record, _ = decoded(replace(stream(IN_BAND), outcome=Outcome.TRUNCATED, error="closed"))
    assert (record.outcome, record.error) == (
        Outcome.TRUNCATED,
        "closed; the stream had said: CUDA out of memory",
    )
    record, _ = decoded(Reply(outcome=Outcome.CONNECT_ERROR, error="connection refused"))
    assert (record.outcome, record.status, record.streamed) == (Outcome.CONNECT_ERROR, -1, False)
    record, _ = decoded(replace(stream(b"busy", status=503), outcome=Outcome.TRUNCATED, error="closed"))
    assert (record.outcome, record.status) == (Outcome.TRUNCATED, 503)


def json_reply(*pieces: bytes, content_type: str = "application/json") -> Reply:
    return stream(*pieces, content_type=content_type)


WHOLE: list[tuple[bytes, Outcome, str]] = [
    (b'{"choices": [{"message": {"content": "a"}}]}', Outcome.OK, ""),
    (
        b'{"choices": [{"message": {"content": ""}, "finish_reason": "stop"}]}',
        Outcome.NO_OUTPUT,
        "finish_reason 'stop' without any token",
    ),
    (b'{"choices": [{"message": {"content": ""}}]}', Outcome.EMPTY_BODY, "43 bytes of body, no event in them"),
    (b'{"choices": [], "usage": {}}', Outcome.EMPTY_BODY, "neither a token nor a finish_reason"),
    (b"{}", Outcome.EMPTY_BODY, "2 bytes of body, no event in them"),
    (b" \n", Outcome.EMPTY_BODY, "2 bytes of body, no event in them"),
    (b'{"choices": [', Outcome.PROTOCOL_ERROR, "the body is not a JSON object: '{\"choices\": ['"),
    (b"[]", Outcome.PROTOCOL_ERROR, "the body is not a JSON object: '[]'"),
    (b"<html>", Outcome.PROTOCOL_ERROR, "the body is not a JSON object: '<html>'"),
    (b'{"error": {"message": "no"}}', Outcome.STREAM_ERROR, "no"),
    (b'{"object": "error", "message": "old"}', Outcome.STREAM_ERROR, "old"),
]


@pytest.mark.parametrize(("body", "outcome", "error"), WHOLE)
def test_outcome_of_a_whole_response(body: bytes, outcome: Outcome, error: str) -> None:
    for pieces in ([body], [body[k : k + 1] for k in range(len(body))]):
        record, _ = decoded(json_reply(*pieces))
        assert (record.outcome, record.error, record.streamed) == (outcome, error, False)


def test_without_a_content_type_the_first_byte_decides() -> None:
    body = b' \n{"choices": [{"message": {"content": "a"}}]}'
    for pieces in ([body], [body[k : k + 1] for k in range(len(body))]):
        record, _ = decoded(json_reply(*pieces, content_type=""))
        assert (record.streamed, record.outcome, record.response_bytes) == (False, Outcome.OK, len(body))
    body = b"\n" + chunk("a") + DONE
    for pieces in ([body], [body[k : k + 1] for k in range(len(body))]):
        record, _ = decoded(json_reply(*pieces, content_type=""))
        assert (record.streamed, record.outcome, kinds(record)) == (True, Outcome.OK, "CD")
        assert record.response_bytes == len(body)
    record, _ = decoded(json_reply(b" ", content_type=""))
    assert (record.streamed, record.outcome) == (False, Outcome.EMPTY_BODY)


def test_the_content_type_may_have_parameters_and_capitals() -> None:
    record, _ = decoded(stream(chunk("a"), DONE, content_type="Text/Event-Stream;charset=UTF-8"))
    assert (record.streamed, record.outcome) == (True, Outcome.OK)


def test_error_bodies_of_any_kind() -> None:
    def error(*pieces: bytes, **rest: Any) -> Record:
        return decoded(stream(*pieces, **{"status": 503, "content_type": "text/plain", **rest}))[0]

    assert error(b"").error == "HTTP 503"
    assert error(b'{"message": "slow down"}').error == "HTTP 503: slow down"
    assert error(b"\xff\xfe busy").error == "HTTP 503: \ufffd\ufffd busy"
    assert error(chunk("a"), content_type="text/event-stream").event_ns == []
    assert not error(chunk("a"), content_type="text/event-stream").streamed
    assert decoded(replace(stream(b"x", status=429), retry_after="3"))[0].retry_after == "3"
    assert error(b"", status=301).outcome == Outcome.HTTP_ERROR


def test_a_long_error_body_is_counted_but_not_kept() -> None:
    reply = stream(*[b"x" * 10_000] * 50, status=500)
    made = Record()
    decoder = ResponseDecoder(made, chat)
    decoder.feed(reply)
    assert sum(len(piece) for piece in decoder._body) < decode.ERROR_BODY_BYTES + 10_000
    decoder.finish(reply)
    assert made.response_bytes == 500_000  # 50 x 10,000
    assert made.error == ("HTTP 500: " + "x" * 1024)[:1024]


def test_what_python_servers_write_beyond_json_is_read() -> None:
    record, texts = decoded(stream(b'data: {"choices":[{"delta":{"content":"a"},"logprobs":NaN}]}\n\n', DONE))
    assert (record.outcome, texts) == (Outcome.OK, [(0, 0, "a")])
    record, texts = decoded(stream(b'data: {"choices":[{"delta":{"content":"a\\ud83d"}}]}\n\n', DONE))
    assert (record.outcome, texts) == (Outcome.OK, [(0, 0, "a?")])
    record, texts = decoded(stream(b'data: {"choices":[{"delta":{"content":"a\xf0\x9f"}}]}\n\n', DONE))
    assert (record.outcome, texts) == (Outcome.OK, [(0, 0, "a\ufffd")])
    record, _ = decoded(json_reply(b'{"data": [{"embedding": [NaN]}, {"embedding": [1]}]}'), embeddings, inputs=2)
    assert (record.outcome, record.error) == (Outcome.PROTOCOL_ERROR, "1 of 2 embeddings were finite")
    record, _ = decoded(json_reply(b"[" * 100_000))
    assert record.outcome == Outcome.PROTOCOL_ERROR


def test_a_character_cut_between_two_reads_is_whole() -> None:
    body = chunk("né") + DONE
    place = body.index("é".encode()) + 1
    _, texts = decoded(stream(body[:place], body[place:]))
    assert [text for _, _, text in texts] == ["né"]


def test_every_choice_must_finish_unless_done_was_said() -> None:
    both = [chunk("a"), chunk("b", index=1), chunk(finish="stop"), chunk(finish="length", index=1)]
    record, _ = decoded(stream(*both), choices=2)
    assert (record.outcome, record.finish_reason) == (Outcome.OK, "stop")
    record, _ = decoded(stream(*both[:3]), choices=2)
    assert record.outcome == Outcome.TRUNCATED
    assert record.error == "the stream ended when 1 of 2 choices had a finish_reason"
    record, _ = decoded(stream(*both[:3], DONE), choices=2)
    assert record.outcome == Outcome.OK


def test_a_comment_is_an_earlier_message_of_its_read() -> None:
    record, _ = decoded(stream(b": ping\n\n" + chunk("a", finish="stop"), DONE))
    assert kinds(record) == ":CFD"
    assert record.event_shared == [0, 1, 1, 0]


# -- in slices --------------------------------------------------------------------------------------------------------


def in_slices(reply: Reply, endpoint: Endpoint, budget: int, pieces_at_once: int) -> tuple[Record, int]:
    """Decode while the pieces come in, `pieces_at_once` between two slices."""
    waiting, made, slices = list(reply.chunks), Record(), 0
    reply.chunks = []
    decoder = ResponseDecoder(made, endpoint)
    while waiting or reply.chunks:
        reply.chunks += waiting[:pieces_at_once]
        del waiting[:pieces_at_once]
        slices += 1
        if decoder.feed(reply, budget):
            assert reply.chunks == []
    decoder.finish(reply)
    return made, slices


@pytest.mark.parametrize(
    "name", ["vllm-chat-stream", "transformers-cmpl-stream", "vllm-chat-nonstream", "vllm-err-nomsg"]
)
@pytest.mark.parametrize(("budget", "pieces_at_once"), [(1, 1), (1, 100), (3, 2), (1000, 1)])
def test_slices_give_the_same_record(name: str, budget: int, pieces_at_once: int) -> None:
    expected, _ = decoded(wire.load(name).reply(), endpoint_of(name))
    assert in_slices(wire.load(name).reply(), endpoint_of(name), budget, pieces_at_once)[0] == expected


def test_a_slice_stops_inside_a_piece_with_many_messages() -> None:
    reply = stream(b"".join(chunk(str(number)) for number in range(100)) + DONE)
    made = Record()
    decoder = ResponseDecoder(made, chat)
    for expected in range(16, 97, 16):
        assert not decoder.feed(reply, 16)
        assert len(made.event_ns) == expected
    assert decoder.feed(reply, 16)  # 6 x 16 = 96 of 101, so 5 were left
    assert len(made.event_ns) == 101
    assert reply.chunks == []


def test_a_long_backlog_is_taken_off_the_front() -> None:
    reply = stream(*[chunk("a")] * 2000)
    decoder = ResponseDecoder(made := Record(), chat)
    while not decoder.feed(reply, 16):
        assert len(reply.chunks) <= 2000 - len(made.event_ns) + decode.TRIM + 16
    assert made.event_ns == list(range(1, 2001))


def test_pieces_without_a_message_use_up_the_budget() -> None:
    reply = stream(b"data: ", *[b"x" * 10] * 100)
    decoder = ResponseDecoder(Record(), chat)
    assert not decoder.feed(reply, 50)
    assert not decoder.feed(reply, 50)
    assert decoder.feed(reply, 50)  # 101 pieces in all


@given(st.lists(st.tuples(st.integers(0, 1 << 62), st.binary(max_size=20)), max_size=4))
def test_any_bytes_survive_the_raw_line(chunks: list[tuple[int, bytes]]) -> None:
    reply = Reply(200, "text/event-stream", "", chunks, outcome=None)
    assert reply_from_raw(orjson.loads(orjson.dumps(raw_line(reply)))) == reply


@given(st.lists(st.binary(max_size=40), max_size=4), st.sampled_from(["text/event-stream", "application/json", ""]))
def test_no_bytes_raise(pieces: list[bytes], content_type: str) -> None:
    for endpoint in (chat, completions, embeddings):
        record, _ = decoded(stream(*pieces, content_type=content_type), endpoint)
        assert record.outcome != Outcome.CANCELLED  # the value a record begins with: it was judged
        lengths = {len(record.event_ns), len(record.event_kind), len(record.event_choice)}
        assert lengths == {len(record.event_tokens)} == {len(record.event_shared)}
