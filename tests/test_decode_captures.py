"""Captured answers of real servers, decoded: fed as they came, whole, byte by byte and cut anywhere."""

from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from functools import cache
from itertools import pairwise

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genbench.decode import raw_line, reply_from_raw
from genbench.endpoints import completions, embeddings
from genbench.types import EventKind, Outcome, Record, Reply
from tests import wire
from tests.wire import LETTERS, decoded, endpoint_of, kinds

TEXT_12 = 'uthentic2 globals secondored"> anothervalue namedso lists              '
CMPL_12 = "////ventventventventcodingauthODremain theRIchar"

STREAMS: dict[str, tuple[str, str, int, int, str]] = {
    # name: kinds, text, isl and osl by usage, finish_reason
    # vLLM: the role comes with content "", the last content carries finish_reason, usage has an event of its own.
    "vllm-chat-stream": ("R" + "C" * 12 + "FUD", TEXT_12, 45, 12, "length"),
    "vllm-chat-stream-nousage": ("RCCCCFD", "uthentic2 globals second", -1, -1, "length"),
    "vllm-chat-stream-mct": ("RCCCCFUD", "uthentic2 globals second", 45, 4, "length"),
    "vllm-chat-ignore-eos": ("RCCCCCFUD", "uthentic2 globals secondored", 45, 5, "length"),
    "vllm-chat-stop": ("RCCFUD", " support d", 45, 2, "stop"),
    "vllm-chat-parts": ("RCCCFUD", "internret fmt", 12, 3, "length"),
    "vllm-chat-logprobs": ("RCCCFUD", "uthentic2 globals", 45, 3, "length"),
    # 12 tokens in 11 events: counting events is not counting tokens.
    "vllm-cmpl-stream": ("C" * 11 + "FUD", CMPL_12, 5, 12, "length"),
    "vllm-cmpl-ids-stream": ("CCCCFUD", "ushisdir stackance", 4, 4, "length"),
    "vllm-cmpl-usage-continuous": ("CCCFUD", "__( contents cannot", 2, 3, "length"),
    # transformers: usage in the finish event, asked for or not; no [DONE]; several events in one HTTP chunk.
    "transformers-chat-stream": ("R" + "C" * 12 + "F", TEXT_12, 45, 12, "length"),
    "transformers-chat-stream-nousage": ("RCCCCF", "uthentic2 globals second", 45, 4, "length"),
    "transformers-chat-stop": ("RCF", "uthentic", 45, 1, "stop"),
    "transformers-chat-logprobs": ("RCCCF", "uthentic2 globals", 45, 3, "length"),
    "transformers-cmpl-stream": ("C" * 12 + "F", CMPL_12, 5, 12, "length"),
    "transformers-cmpl-usage-continuous": ("CCCF", "__( contents cannot", 2, 3, "length"),
    "transformers-err-ctx-stream": ("RCCCCF", " normalSMTPeplease", 9011, 4, "length"),
    # llama-cpp-python: never a usage in a stream, asked for or not.
    "llamacpp-chat-stream": ("R" + "C" * 12 + "FD", TEXT_12, -1, -1, "length"),
    "llamacpp-chat-stream-nousage": ("RCCCCFD", "uthentic2 globals second", -1, -1, "length"),
    "llamacpp-chat-stop": ("RCFD", " d", -1, -1, "stop"),
    "llamacpp-chat-logprobs": ("RCCCFD", "uthentic2 globals", -1, -1, "length"),
    "llamacpp-err-model-stream": ("RCCCCFD", "intern act clientauth", -1, -1, "length"),
    "llamacpp-cmpl-stream": (
        "C" * 12 + "FD",
        "////ventinterncodingauth\nintern eitherle XXXget#",
        -1,
        -1,
        "length",
    ),
    "llamacpp-cmpl-usage-continuous": ("CCCFD", "__( contents cannot", -1, -1, "length"),
    # guidellm's mock: content first, without a role; its completions number the events, not the choices.
    "guidellmmock-chat-stream": ("C" * 8 + "FUD", "Score each cause. Quality", 1, 8, "stop"),
    "guidellmmock-cmpl-stream": ("C" * 8 + "FUD", "Score each cause. Quality", 1, 8, "stop"),
    "guidellmmock-err-model": ("C" * 8 + "FD", "Score each cause. Quality", -1, -1, "stop"),
}


@pytest.mark.parametrize("name", STREAMS)
def test_captured_streams(name: str) -> None:
    letters, text, isl, osl, finish_reason = STREAMS[name]
    capture = wire.load(name)
    record, texts = decoded(capture.reply(), endpoint_of(name))
    assert kinds(record) == letters
    assert "".join(piece for _, _, piece in texts) == text
    assert (record.isl_usage, record.osl_usage) == (isl, osl)
    assert (record.finish_reason, record.outcome, record.error) == (finish_reason, Outcome.OK, "")
    assert record.streamed
    assert record.done == letters.endswith("D")
    assert not record.unterminated
    assert record.response_bytes == len(capture.body)
    assert record.status == 200


@cache
def by_message(name: str) -> tuple[Record, list[tuple[int, int, str]], list[int]]:
    """A captured stream decoded with one message in each piece, and where each message ends in the body."""
    messages = [part + b"\n\n" for part in wire.load(name).body.split(b"\n\n")[:-1]]
    record, texts = decoded(wire.load(name).reply(messages), endpoint_of(name))
    assert not any(record.event_shared)
    ends = [sum(len(message) for message in messages[: number + 1]) for number in range(len(messages))]
    return record, texts, ends


def assert_same_when_cut(name: str, places: Iterable[int]) -> None:
    record, texts, ends = by_message(name)
    body = wire.load(name).body
    edges = sorted({0, len(body), *places})
    pieces = [body[a:b] for a, b in pairwise(edges)]
    cut, cut_texts = decoded(wire.load(name).reply(pieces), endpoint_of(name))
    assert cut_texts == texts
    # Message m ends in the piece whose upper edge is the first at or after its last byte. In the base, its events have
    # the stamp (m + 1) ms, so m can be read off it.
    arrival = [next(k for k, edge in enumerate(edges[1:]) if edge >= end) for end in ends]
    of = [t_ns // 1_000_000 - 1 for t_ns in record.event_ns]
    assert cut.event_ns == [(arrival[m] + 1) * 1_000_000 for m in of]
    assert cut.event_shared == [int(m > 0 and arrival[m] == arrival[m - 1]) for m in of]
    same = {"event_ns": record.event_ns, "event_shared": record.event_shared}
    assert asdict(cut) | same == asdict(record)


@pytest.mark.parametrize("name", STREAMS)
def test_captured_streams_whole_and_byte_by_byte(name: str) -> None:
    assert_same_when_cut(name, [])
    assert_same_when_cut(name, range(len(wire.load(name).body)))


@given(st.sampled_from(sorted(STREAMS)), st.data())
def test_captured_streams_cut_anywhere(name: str, data: st.DataObject) -> None:
    places = st.integers(0, len(wire.load(name).body))
    assert_same_when_cut(name, data.draw(st.lists(places, max_size=12)))


def test_several_events_in_one_chunk_share_its_stamp() -> None:
    # The sixth HTTP chunk of this capture holds three events: the first is first in its read, two are shared.
    record, _ = decoded(wire.load("transformers-chat-stream").reply())
    assert record.event_ns[4:9] == [5_000_000, 6_000_000, 6_000_000, 6_000_000, 7_000_000]
    assert record.event_shared[4:9] == [0, 0, 1, 1, 0]
    assert sum(record.event_shared) == 2


def test_events_of_one_message_share_one_flag() -> None:
    # vLLM's last content event also is the finish event: one message, two events, alone in its read.
    record, _ = decoded(wire.load("vllm-chat-stream").reply())
    assert kinds(record)[12:14] == "CF"
    assert record.event_ns[12] == record.event_ns[13]
    assert record.event_shared[12:14] == [0, 0]


@pytest.mark.parametrize(
    ("name", "isl", "osl", "finish_reason"),
    [
        ("vllm-chat-nonstream", 45, 6, "length"),
        ("vllm-cmpl-nonstream", 5, 6, "length"),
        ("transformers-chat-nonstream", 45, 6, "length"),
        ("transformers-cmpl-nonstream", 5, 6, "length"),
        ("transformers-err-ctx-cmpl", 9001, 4, "length"),
        ("llamacpp-chat-nonstream", 45, 6, "length"),
        ("llamacpp-cmpl-nonstream", 5, 6, "length"),
        ("guidellmmock-chat-nonstream", 1, 8, "stop"),
        ("guidellmmock-cmpl-nonstream", 1, 8, "stop"),
    ],
)
def test_captured_whole_responses(name: str, isl: int, osl: int, finish_reason: str) -> None:
    body = wire.load(name).body
    for pieces in ([body], [body[:50], body[50:51], body[51:]]):
        record, texts = decoded(wire.load(name).reply(pieces), endpoint_of(name))
        assert (record.streamed, kinds(record), record.outcome) == (False, "CF", Outcome.OK)
        assert (record.isl_usage, record.osl_usage, record.finish_reason) == (isl, osl, finish_reason)
        assert record.event_ns == [len(pieces) * 1_000_000] * 2  # the last piece completes it
        assert record.event_shared == [0, 0]
        assert record.event_tokens == [osl, -1]  # one event brought them all
        assert len(texts) == 1
        assert record.response_bytes == len(body)


@pytest.mark.parametrize(
    ("name", "inputs", "isl"),
    [
        ("vllm-emb", 2, 7),
        ("vllm-emb-b64", 1, 3),
        ("infinity-emb", 2, 12),  # characters, not tokens: 3 + 9
        ("infinity-emb-b64", 1, 3),
        ("llamacpp-emb", 2, 4),
    ],
)
def test_captured_embeddings(name: str, inputs: int, isl: int) -> None:
    record, _ = decoded(wire.load(name).reply(), embeddings, inputs=inputs)
    assert (record.outcome, record.embeddings, record.isl_usage, record.osl_usage) == (Outcome.OK, inputs, isl, -1)
    record, _ = decoded(wire.load(name).reply(), embeddings, inputs=3)
    assert record.outcome == Outcome.PROTOCOL_ERROR
    assert record.error == f"{inputs} of 3 embeddings were finite"


ERRORS = {
    "vllm-err-badjson": "HTTP 400: 1 validation error:\n  {'type': 'json_invalid', 'loc': 'body.9'",
    "vllm-err-badvalue": "HTTP 400: 1 validation error:\n  {'type': 'float_parsing', 'loc': 'body.temperature'",
    "vllm-err-ctx-stream": "HTTP 400: This model's maximum context length is 2048 tokens. However, your prompt",
    "vllm-err-maxtok": "HTTP 400: max_tokens=100000 cannot be greater than max_model_len=2048.",
    "vllm-err-model-stream": "HTTP 404: The model `no-such-model` does not exist. Valid aliases: tiny.",
    "vllm-err-nomsg": "HTTP 400: 1 validation error:\n  {'type': 'missing', 'loc': 'body.messages'",
    "vllm-err-route": "HTTP 404: Not Found",
    "vllm-emb-empty": "HTTP 400: You must pass at least one prompt",
    "vllm-emb-long": "HTTP 400: This model's maximum context length is 512 tokens.",
    "transformers-err-badjson": "HTTP 422: body.9: JSON decode error",
    "transformers-err-badvalue": "HTTP 500: Internal Server Error",
    "transformers-err-model-stream": "HTTP 400: Server is pinned to './tiny-llama'; requested 'no-such-model'.",
    "transformers-chat-unknown-field": "HTTP 422: Unexpected fields in the request: {'no_such_field'}",
    "transformers-chat-ignore-eos": "HTTP 422: Unexpected fields in the request: {'ignore_eos', 'min_tokens'}",
    "transformers-cmpl-list-stream": "HTTP 400: prompt must be a string.",
    "transformers-emb": "HTTP 404: Not Found",
    "llamacpp-err-badjson": "HTTP 500: Internal Server Error",
    "llamacpp-err-badvalue": "HTTP 500: 1 validation error:\n  {'type': 'float_parsing'",
    "llamacpp-err-ctx-cmpl": "HTTP 400: This model's maximum context length is 2048 tokens, however you requested 9005",
    "llamacpp-err-route": "HTTP 404: Not Found",
    "llamacpp-cmpl-list-stream": "HTTP 500: internal_server_error",  # its message is empty
    "llamacpp-emb-empty": "HTTP 500: llama_decode returned -1",
    "infinity-emb-ids": "HTTP 422: body.text.input.list[constrained-str].0: Input should be a valid string; body",
    "infinity-emb-empty": "HTTP 422: body.text.input.list[constrained-str]: List should have at least 1 item",
    "guidellmmock-emb": "HTTP 404: Not Found",
}


@pytest.mark.parametrize("name", ERRORS)
def test_captured_error_bodies(name: str) -> None:
    body = wire.load(name).body
    for pieces in ([body], [body[k : k + 1] for k in range(len(body))]):
        record, _ = decoded(wire.load(name).reply(pieces), endpoint_of(name))
        assert record.outcome == Outcome.HTTP_ERROR
        assert record.error.startswith(ERRORS[name])
        assert record.status == wire.load(name).status
        assert record.event_ns == []


def test_llama_cpp_answers_a_long_prompt_with_nothing() -> None:
    record, _ = decoded(wire.load("llamacpp-err-ctx-stream").reply())
    assert (record.outcome, record.error, record.streamed) == (Outcome.EMPTY_BODY, "the body is empty", True)
    record, _ = decoded(wire.load("vllm-health").reply())
    assert (record.outcome, record.error, record.streamed) == (Outcome.EMPTY_BODY, "the body is empty", False)


def test_pings_alone_are_no_answer() -> None:
    capture = wire.load("llamacpp-chat-ping")
    assert not capture.whole
    timed_out = replace(capture.reply(), outcome=Outcome.TIMEOUT_IDLE, error="no byte for 14 s")
    record, _ = decoded(timed_out)
    assert (kinds(record), record.outcome, record.error) == ("::", Outcome.TIMEOUT_IDLE, "no byte for 14 s")
    record, _ = decoded(capture.reply())
    # Two comments of 43 bytes (2b in the capture): 2 x 43 = 86.
    assert (record.outcome, record.error) == (Outcome.EMPTY_BODY, "86 bytes of body, no event in them")


def test_two_choices_interleaved() -> None:
    record, texts = decoded(wire.load("vllm-cmpl-n2-stream").reply(), completions, choices=2)
    assert kinds(record) == "CCCCCFCFUD"
    assert record.event_choice == [0, 1, 0, 1, 0, 0, 1, 1, 0, 0]
    assert [(event, choice) for event, choice, _ in texts] == [(0, 0), (1, 1), (2, 0), (3, 1), (4, 0), (6, 1)]
    assert "".join(text for _, choice, text in texts if choice == 1) == "UD usedfix"
    assert (record.isl_usage, record.osl_usage, record.outcome) == (2, 6, Outcome.OK)


def test_transformers_ignores_n_and_is_found_out() -> None:
    record, _ = decoded(wire.load("transformers-cmpl-n2-stream").reply(), completions, choices=2)
    assert record.outcome == Outcome.TRUNCATED


def test_tokens_from_logprobs() -> None:
    for name in ("vllm-chat-logprobs", "llamacpp-chat-logprobs"):
        record, _ = decoded(wire.load(name).reply())
        assert record.event_tokens[:4] == [-1, 1, 1, 1]  # role, then one token per event
        assert set(record.event_tokens[4:]) == {-1}


def test_tokens_from_continuous_usage_in_a_capture() -> None:
    # completion_tokens 1, 2, 3 in the content events, 3 once more in the event of its own.
    record, _ = decoded(wire.load("vllm-cmpl-usage-continuous").reply(), completions)
    assert kinds(record) == "CCCFUD"
    assert record.event_tokens == [1, 1, 1, -1, -1, -1]


def shape(name: str) -> Callable[[Reply], Reply]:
    shapes: dict[str, Callable[[Reply], Reply]] = {
        "as it is": lambda reply: reply,
        "failed": lambda reply: replace(reply, outcome=Outcome.TRUNCATED, error="clösed", retry_after="1"),
        "until close": lambda reply: replace(reply, until_close=True),
    }
    return shapes[name]


@pytest.mark.parametrize("name", [*STREAMS, *ERRORS, "vllm-emb", "vllm-chat-nonstream", "llamacpp-err-ctx-stream"])
@pytest.mark.parametrize("how", ["as it is", "failed", "until close"])
def test_a_raw_line_gives_the_same_record_later(name: str, how: str) -> None:
    reply = shape(how)(wire.load(name).reply())
    line = orjson.loads(orjson.dumps(raw_line(reply)))
    again = reply_from_raw(line)
    assert again == reply
    assert decoded(again, endpoint_of(name)) == decoded(reply, endpoint_of(name))


def test_event_kinds_are_plain_integers() -> None:
    record, _ = decoded(wire.load("vllm-chat-stream").reply())
    assert {type(kind) for kind in record.event_kind} == {int}
    assert LETTERS[EventKind.DONE] == "D"
    assert len(LETTERS) == len(EventKind)
