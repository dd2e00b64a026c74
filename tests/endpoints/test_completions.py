from typing import Any

import orjson
import pytest

from genbench.endpoints import completions
from genbench.errors import ConfigError
from genbench.types import Event, EventKind, Sample, Usage
from tests import wire

KIND = EventKind


def read(**choice: Any) -> list[Event]:
    return completions.read({"choices": [choice]})


def test_events_of_a_choice() -> None:
    assert read(index=0, text="a") == [Event(KIND.CONTENT, "a")]
    assert read(index=1, text="a", finish_reason="stop") == [
        Event(KIND.CONTENT, "a", 1),
        Event(KIND.FINISH, choice=1, finish_reason="stop"),
    ]
    assert read(index=0, text="", finish_reason="length") == [Event(KIND.FINISH, finish_reason="length")]
    assert read(index=0, text="", finish_reason=None, token_ids=[5]) == [Event(KIND.EMPTY, tokens=1)]
    assert read(index=0, text=None) == []
    assert completions.read({"choices": None}) == []


def test_tokens_come_from_ids_else_logprobs() -> None:
    assert read(text="ab", token_ids=[1, 2], logprobs={"tokens": ["ab"]})[0].tokens == 2
    assert read(text="ab", logprobs={"tokens": ["a", "b", "c"]})[0].tokens == 3
    assert read(text="ab", logprobs={"tokens": None})[0].tokens == -1


def test_whole_and_empty_responses() -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 0}
    message = {"choices": [{"text": "", "index": 0, "finish_reason": "stop"}], "usage": usage}
    assert completions.read(message) == [Event(KIND.FINISH, usage=Usage(3, 0), finish_reason="stop")]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("vllm-cmpl-nonstream", "////ventventventventcoding"),
        ("transformers-cmpl-nonstream", "////ventventventventcoding"),
        ("llamacpp-cmpl-nonstream", "////ventinterncodingauth\n"),
    ],
)
def test_captured_whole_responses(name: str, text: str) -> None:
    content, finish = completions.read(orjson.loads(wire.load(name).body))
    assert content == Event(KIND.CONTENT, text)
    assert finish == Event(KIND.FINISH, usage=Usage(5, 6), finish_reason="length")


def test_build() -> None:
    options = {"model": "m", "stream": True, "include_usage": False, "max_tokens": 4, "extra": {"n": 2}}
    assert completions.build(Sample(prompt="p"), options) == {
        "model": "m",
        "prompt": "p",
        "stream": True,
        "max_tokens": 4,
        "n": 2,
    }


def test_build_refuses_messages() -> None:
    with pytest.raises(ConfigError, match="use --endpoint-type chat"):
        completions.build(Sample(messages=({"role": "user", "content": "x"},)), {"model": "m"})
