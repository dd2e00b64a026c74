from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from genbench import registry
from genbench.endpoints import chat, completions, embeddings
from genbench.types import Event, EventKind, Sample, Usage
from tests import wire

NAMES = """choices delta message content reasoning role tool_calls function name arguments index usage error detail loc
msg object data embedding logprobs token_ids tokens text finish_reason prompt_tokens completion_tokens refusal
prompt_tokens_details cached_tokens function_call reasoning_content"""

JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(NAMES.split()),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


def choices_of(value: Any) -> list[Any]:
    return [
        {"choices": value},
        {"choices": [value]},
        {"choices": [{"delta": value}]},
        {"choices": [{"message": value}]},
    ]


@given(JSON)
@example({"choices": [{"index": 1 << 70, "delta": {"content": "x"}}]})
@example({"error": {"message": None, "code": None}})
@example({"detail": [None, {"loc": [None, 3], "msg": None}]})
def test_no_json_value_raises(value: Any) -> None:
    for endpoint in (chat, completions, embeddings):
        for message in (
            value,
            {"usage": value},
            {"error": value},
            {"detail": value},
            {"data": [value]},
            *choices_of(value),
        ):
            for event in endpoint.read(message):
                assert 0 <= event.choice < 1 << 15
                assert event.tokens >= -1


def read_delta(delta: Any, **rest: Any) -> list[Event]:
    return chat.read({"choices": [{"index": 0, "delta": delta, **rest}]})


KIND = EventKind

DELTAS: list[tuple[Any, list[tuple[EventKind, str]]]] = [
    ({"role": "assistant"}, [(KIND.ROLE, "")]),
    ({"role": "assistant", "content": ""}, [(KIND.ROLE, "")]),
    ({"role": "assistant", "content": None}, [(KIND.ROLE, "")]),
    ({"role": "assistant", "content": "Hi"}, [(KIND.CONTENT, "Hi")]),
    ({"content": ""}, [(KIND.EMPTY, "")]),
    ({}, [(KIND.EMPTY, "")]),
    ({"content": " "}, [(KIND.CONTENT, " ")]),
    ({"content": [{"type": "text", "text": "a"}, {"type": "image"}, "b"]}, [(KIND.CONTENT, "ab")]),
    ({"content": 5}, [(KIND.EMPTY, "")]),
    ({"refusal": "No."}, [(KIND.CONTENT, "No.")]),
    ({"reasoning_content": "hm"}, [(KIND.REASONING, "hm")]),
    ({"reasoning": "hm", "content": ""}, [(KIND.REASONING, "hm")]),
    ({"reasoning_content": "hm", "reasoning": "hm"}, [(KIND.REASONING, "hm")]),
    ({"reasoning_content": "", "content": "a"}, [(KIND.CONTENT, "a")]),
    ({"reasoning_content": "hm", "content": "a"}, [(KIND.REASONING, "hm"), (KIND.CONTENT, "a")]),
    ({"tool_calls": [{"index": 0, "id": "1", "function": {"name": "f", "arguments": ""}}]}, [(KIND.TOOL, "f")]),
    ({"tool_calls": [{"index": 0, "function": {"arguments": '{"a'}}]}, [(KIND.TOOL, '{"a')]),
    ({"tool_calls": [{"index": 0, "function": {"arguments": ""}}]}, [(KIND.EMPTY, "")]),
    ({"tool_calls": None, "content": "a"}, [(KIND.CONTENT, "a")]),
    ({"tool_calls": [None, {"function": None}, {"function": {"name": "g"}}]}, [(KIND.TOOL, "g")]),
    ({"function_call": {"name": "f", "arguments": "{}"}}, [(KIND.TOOL, "f{}")]),
    (None, []),
    ("x", []),
]


@pytest.mark.parametrize(("delta", "expected"), DELTAS, ids=[str(delta) for delta, _ in DELTAS])
def test_events_of_a_delta(delta: Any, expected: list[tuple[EventKind, str]]) -> None:
    assert [(event.kind, event.text) for event in read_delta(delta)] == expected


def test_finish_reason_is_an_event_of_its_own() -> None:
    assert read_delta({"content": "a"}, finish_reason="stop") == [
        Event(KIND.CONTENT, "a"),
        Event(KIND.FINISH, finish_reason="stop"),
    ]
    assert read_delta({}, finish_reason="length") == [Event(KIND.FINISH, finish_reason="length")]
    assert read_delta({"content": "a"}, finish_reason="") == [Event(KIND.CONTENT, "a")]


def test_choices_keep_their_index_or_take_their_place() -> None:
    events = chat.read(
        {
            "choices": [
                {"index": 3, "delta": {"content": "a"}},
                {"delta": {"content": "b"}},
                None,
                {"index": "x", "delta": {"content": "c"}, "finish_reason": "stop"},
                {"index": -1, "delta": {"content": "d"}},
            ]
        }
    )
    assert [(event.text, event.choice) for event in events] == [("a", 3), ("b", 1), ("c", 3), ("", 3), ("d", 4)]


def test_tokens_come_from_ids_else_logprobs() -> None:
    logprobs = {"content": [{"token": "a"}, {"token": "b"}]}
    assert read_delta({"content": "ab"}, token_ids=[1, 2, 3], logprobs=logprobs)[0].tokens == 3
    assert read_delta({"content": "ab"}, token_ids=None, logprobs=logprobs)[0].tokens == 2
    assert read_delta({"content": "ab"}, logprobs={"content": None})[0].tokens == -1
    assert read_delta({"content": ""}, token_ids=[7])[0] == Event(KIND.EMPTY, tokens=1)
    # Five tokens over reasoning and content: one for the first, 5 - 1 = 4 for the last.
    assert [e.tokens for e in read_delta({"reasoning": "r", "content": "c"}, token_ids=[1] * 5)] == [1, 4]


def test_usage_rides_on_the_last_event() -> None:
    usage = {
        "prompt_tokens": 10,
        "completion_tokens": 7,
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 3},
    }
    counts = Usage(10, 7, 4, 3)
    assert chat.read({"choices": [], "usage": usage}) == [Event(KIND.USAGE, usage=counts)]
    assert chat.read({"choices": None, "usage": usage}) == [Event(KIND.USAGE, usage=counts)]
    first, last = chat.read({"choices": [{"delta": {"content": "a"}, "finish_reason": "stop"}], "usage": usage})
    assert (first.usage, last.usage) == (None, counts)
    assert chat.read({"choices": [], "usage": None}) == []


def test_usage_that_is_odd_is_not_known() -> None:
    odd: dict[str, Any] = {
        "prompt_tokens": "10",
        "completion_tokens": True,
        "prompt_tokens_details": None,
        "completion_tokens_details": 1,
    }
    assert chat.read({"usage": odd}) == [Event(KIND.USAGE, usage=Usage(-1, -1, -1, -1))]
    assert chat.read({"usage": {"completion_tokens": -5, "prompt_tokens": 2.0}}) == [Event(KIND.USAGE, usage=Usage())]


ERRORS = [
    ({"error": {"message": "too long", "type": "BadRequestError", "code": 400}}, "too long"),
    ({"error": {"message": "", "type": "internal_server_error", "code": None}}, "internal_server_error"),
    ({"error": {"message": None, "code": 500}}, "500"),
    ({"error": {}}, "an error without a message"),
    ({"error": "out of memory"}, "out of memory"),
    ({"object": "error", "message": "old style", "code": 400}, "old style"),
    ({"detail": "Not Found"}, "Not Found"),
    ({"detail": [{"loc": ["body", 9], "msg": "JSON decode error"}, {"msg": "b"}]}, "body.9: JSON decode error; b"),
]


@pytest.mark.parametrize(("message", "text"), ERRORS)
def test_error_shapes(message: dict[str, Any], text: str) -> None:
    for endpoint in (chat, completions, embeddings):
        assert endpoint.read(message) == [Event(KIND.ERROR, text)]


def test_what_is_not_an_error() -> None:
    assert read_delta({"content": "a"}) == [Event(KIND.CONTENT, "a")]
    message = {"error": None, "detail": "x", "choices": [{"delta": {"content": "a"}}]}
    assert chat.read(message) == [Event(KIND.CONTENT, "a")]
    assert chat.read({"error": None, "detail": None}) == []


def test_an_error_beside_choices_comes_last() -> None:
    message = {"choices": [{"delta": {"content": "a"}}], "error": {"message": "gone"}}
    assert chat.read(message) == [Event(KIND.CONTENT, "a"), Event(KIND.ERROR, "gone")]


def test_whole_responses() -> None:
    whole: dict[str, Any] = {"role": "assistant", "content": "answer", "reasoning": "why", "tool_calls": []}
    message = {"choices": [{"index": 0, "message": whole, "finish_reason": "stop"}]}
    assert [event.kind for event in chat.read(message)] == [KIND.REASONING, KIND.CONTENT, KIND.FINISH]
    whole = {"role": "assistant", "content": "", "reasoning": None, "function_call": None}
    message = {"choices": [{"index": 0, "message": whole, "finish_reason": "stop"}]}
    assert [event.kind for event in chat.read(message)] == [KIND.FINISH]


@pytest.mark.parametrize(
    ("name", "text", "usage"),
    [
        ("vllm-chat-nonstream", 'uthentic2 globals secondored">', Usage(45, 6)),
        ("transformers-chat-nonstream", 'uthentic2 globals secondored">', Usage(45, 6)),
        ("llamacpp-chat-nonstream", 'uthentic2 globals secondored">', Usage(45, 6)),
    ],
)
def test_captured_whole_responses(name: str, text: str, usage: Usage) -> None:
    content, finish = chat.read(orjson.loads(wire.load(name).body))
    assert content == Event(KIND.CONTENT, text)
    assert finish == Event(KIND.FINISH, usage=usage, finish_reason="length")


def test_build_maps_options() -> None:
    sample = Sample(prompt="Hello")
    assert chat.build(sample, {"model": "m", "stream": True, "include_usage": True, "max_tokens": 8}) == {
        "model": "m",
        "messages": [{"role": "user", "content": "Hello"}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 8,
    }
    assert chat.build(sample, {"model": "m", "stream": False, "include_usage": True, "max_tokens": None}) == {
        "model": "m",
        "messages": [{"role": "user", "content": "Hello"}],
        "stream": False,
    }


def test_build_sends_lengths_and_sampling_only_when_asked() -> None:
    options = {
        "model": "m",
        "stream": True,
        "max_tokens": 8,
        "max_tokens_field": "max_completion_tokens",
        "ignore_eos": True,
        "temperature": 0.0,
        "top_p": None,
        "seed": 0,
        "extra": {"temperature": 0.5, "chat_template_kwargs": {"thinking": False}, "seed": None},
    }
    body = chat.build(Sample(messages=({"role": "system", "content": "s"},), prompt="unused"), options)
    assert body == {
        "model": "m",
        "messages": [{"role": "system", "content": "s"}],
        "stream": True,
        "max_completion_tokens": 8,
        "ignore_eos": True,
        "min_tokens": 8,
        "temperature": 0.5,
        "seed": None,
        "chat_template_kwargs": {"thinking": False},
    }
    unlimited = chat.build(Sample(prompt="p"), {"model": "m", "ignore_eos": True, "max_tokens": None})
    assert unlimited["ignore_eos"] is True
    assert "min_tokens" not in unlimited


def test_the_kinds_are_listed_by_their_first_line() -> None:
    assert registry.names("endpoints") == ["chat", "completions", "embeddings"]
    assert registry.first_line("endpoints", "chat").startswith("Chat completions")
    assert [chat.PATH, completions.PATH, embeddings.PATH] == [
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/embeddings",
    ]
    assert [chat.FRAMING, completions.FRAMING, embeddings.FRAMING] == ["sse", "sse", "json"]
