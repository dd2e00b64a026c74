import base64
import struct
from typing import Any

import orjson
import pytest

from genbench.endpoints import embeddings
from genbench.errors import ConfigError
from genbench.types import Event, EventKind, Sample, Usage
from tests import wire


def finite(*vectors: Any) -> int:
    [event] = embeddings.read({"data": [{"embedding": vector, "index": 0} for vector in vectors]})
    assert event.kind == EventKind.CONTENT
    return event.embeddings


def packed(*numbers: float) -> str:
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


INF, NAN = float("inf"), float("nan")

VECTORS = [
    ([0.5, -1, 2], 1),
    ([], 0),
    (None, 0),
    ([0.5, None], 0),
    ([0.5, "1"], 0),
    ([INF, 1.0], 0),
    ([INF, -INF], 0),
    ([NAN], 0),
    ([1.7e308, 1.7e308], 1),  # the sum overflows, the numbers do not
    ([[0.5, 1.0], [2.0, 3.0]], 1),
    ([[0.5], []], 0),
    ([[0.5], None], 0),
    ([[0.5], [NAN]], 0),
    (packed(0.5, -1.0), 1),
    (packed(0.5, NAN), 0),
    (packed(INF), 0),
    ("", 0),
    ("AAA=", 0),  # two bytes: not a float32
    ("not base64!", 0),
    ("\xe9", 0),
    (3, 0),
    ({"a": 1}, 0),
]


@pytest.mark.parametrize(("vector", "count"), VECTORS)
def test_finite_vectors(vector: Any, count: int) -> None:
    assert finite(vector) == count
    assert finite([1.0], vector, packed(2.0)) == count + 2


def test_items_that_are_none() -> None:
    assert embeddings.read({"data": [None, 5, {}, {"embedding": [1.0]}]}) == [Event(EventKind.CONTENT, embeddings=1)]
    assert embeddings.read({"data": []}) == [Event(EventKind.CONTENT, embeddings=0)]
    assert embeddings.read({"data": None}) == []
    assert embeddings.read({}) == []


CAPTURES = [
    # name, vectors, prompt tokens
    ("vllm-emb", 2, 7),
    ("vllm-emb-b64", 1, 3),
    ("vllm-emb-ids", 1, 3),
    ("infinity-emb", 2, 12),  # characters, not tokens: len("one") + len("two words") = 3 + 9
    ("infinity-emb-b64", 1, 3),
    ("infinity-emb-dims", 1, 3),
    ("infinity-emb-long", 1, 29999),
    ("llamacpp-emb", 2, 4),  # one vector per token
    ("llamacpp-emb-b64", 1, 1),  # base64 was asked for and ignored
]


@pytest.mark.parametrize(("name", "vectors", "tokens"), CAPTURES)
def test_captures(name: str, vectors: int, tokens: int) -> None:
    assert embeddings.read(orjson.loads(wire.load(name).body)) == [
        Event(EventKind.CONTENT, usage=Usage(prompt_tokens=tokens), embeddings=vectors)
    ]


def test_vllm_says_zero_completion_tokens_and_that_is_left_out() -> None:
    assert orjson.loads(wire.load("vllm-emb").body)["usage"]["completion_tokens"] == 0
    [event] = embeddings.read(orjson.loads(wire.load("vllm-emb").body))
    assert event.usage is not None
    assert event.usage.completion_tokens == -1


def test_build() -> None:
    options = {"model": "m", "stream": True, "max_tokens": 9, "extra": {"encoding_format": "base64"}}
    assert embeddings.build(Sample(texts=("a", "b")), options) == {
        "model": "m",
        "input": ["a", "b"],
        "encoding_format": "base64",
    }
    assert embeddings.build(Sample(prompt="p"), {"model": "m"}) == {"model": "m", "input": ["p"]}


def test_build_refuses_messages() -> None:
    with pytest.raises(ConfigError, match="use --endpoint-type chat"):
        embeddings.build(Sample(messages=({"role": "user", "content": "x"},)), {"model": "m"})
