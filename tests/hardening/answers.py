"""Good answers of every kind and framing, and ways to spoil them."""

import itertools
import json
import math
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from genbench.endpoints import chat, completions, embeddings
from genbench.types import Endpoint

KINDS: dict[str, Endpoint] = {"chat": chat, "completions": completions, "embeddings": embeddings}


@dataclass(frozen=True)
class Answer:
    """A whole answer. `framed` if it tells its own end; `pieces` as a server would write it."""

    kind: str
    head: bytes
    pieces: tuple[bytes, ...]
    framed: bool = True

    @property
    def data(self) -> bytes:
        """All of it."""
        return self.head + b"".join(self.pieces)

    @property
    def endpoint(self) -> Endpoint:
        """The kind that reads it."""
        return KINDS[self.kind]


def events(*messages: dict[str, Any], done: bool = True) -> tuple[bytes, ...]:
    """Event stream of these messages."""
    found = [b"data: " + json.dumps(message).encode() + b"\n\n" for message in messages]
    return (*found, b"data: [DONE]\n\n") if done else tuple(found)


def delta(text: str, **rest: Any) -> dict[str, Any]:
    """One chunk of a chat."""
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None, **rest}]}


USAGE = {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2}}
CHAT = events(delta("Hé"), delta("llo", finish_reason="stop"), USAGE)
TEXT = events({"choices": [{"text": "Hé"}]}, {"choices": [{"text": "", "finish_reason": "length"}]}, done=False)
WHOLE = (json.dumps({"choices": [{"message": {"content": "Hello"}, "finish_reason": "stop"}]}).encode(),)
VECTORS = (json.dumps({"data": [{"index": 0, "embedding": [0.5, -1.25]}], "usage": {"prompt_tokens": 1}}).encode(),)


def head(*fields: bytes, sse: bool = True, before: bytes = b"") -> bytes:
    """Head of an answer with status 200."""
    kind = b"text/event-stream" if sse else b"application/json"
    return before + b"\r\n".join((b"HTTP/1.1 200 OK", b"Content-Type: " + kind, *fields, b"", b""))


def chunked(pieces: tuple[bytes, ...], trailer: bytes = b"") -> tuple[bytes, ...]:
    """Chunked coding, a chunk a piece."""
    return (*(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces), b"0\r\n" + trailer + b"\r\n")


def length(pieces: tuple[bytes, ...]) -> bytes:
    """The header that says how long they are."""
    return b"Content-Length: %d" % sum(map(len, pieces))


CHUNKED = b"Transfer-Encoding: chunked"
HINT = b"HTTP/1.1 103 Early Hints\r\nContent-Type: text/html\r\n\r\n"
ANSWERS = {
    "chat, chunked": Answer("chat", head(CHUNKED), chunked(CHAT)),
    "chat, trailer": Answer("chat", head(CHUNKED, before=HINT), chunked(CHAT, b"Content-Type: text/html\r\n")),
    "chat, length": Answer("chat", head(length(CHAT)), CHAT),
    "chat, until close": Answer("chat", head(b"Connection: close"), CHAT, framed=False),
    "chat, document": Answer("chat", head(length(WHOLE), sse=False), WHOLE),
    "completions, chunked": Answer("completions", head(CHUNKED), chunked(TEXT)),
    "completions, until close": Answer("completions", head(), TEXT, framed=False),
    "embeddings, length": Answer("embeddings", head(length(VECTORS), sse=False), VECTORS),
    "embeddings, chunked": Answer("embeddings", head(CHUNKED, sse=False), chunked(VECTORS)),
}


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """The same bytes in pieces."""
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[a:b] for a, b in itertools.pairwise(edges)]


SNIPPETS = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b"0\r\n\r\n",
    b"-1",
    b"ffffffffffffffff",
    b";x",
    b": ",
    b"\xff",
    b"\x00",
]
SNIPPETS += [
    b"HTTP/1.1 100 X\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n",
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
]
SNIPPETS += [
    b"data: ",
    b"event: error\n",
    b"[DONE]",
    b'"',
    b"{",
    b"}",
    b"null",
    b"1e999",
    b"NaN",
    b"\\ud800",
    b"[" * 50,
]
SNIPPETS += [b"2147483648", b"9223372036854775808", b"18446744073709551616", b'{"detail":[', b'"completion_tokens":']


@st.composite
def spoiled(draw: st.DrawFn) -> tuple[Answer, bytes]:
    """A good answer, and its bytes after up to three accidents."""
    answer = draw(st.sampled_from(list(ANSWERS.values())))
    data = answer.data
    for _ in range(draw(st.integers(1, 3))):
        data = _accident(draw, data)
    return answer, data


def _accident(draw: st.DrawFn, data: bytes) -> bytes:
    a = draw(st.integers(0, len(data)))
    b = draw(st.integers(a, min(len(data), a + draw(st.sampled_from([1, 8, 100])))))
    kind = draw(st.sampled_from(["truncate", "flip", "insert", "delete", "duplicate", "replace"]))
    if kind == "truncate":
        return data[:a]
    if kind == "flip" and a < len(data):
        return data[:a] + bytes([data[a] ^ (1 << draw(st.integers(0, 7)))]) + data[a + 1 :]
    if kind == "delete":
        return data[:a] + data[b:]
    if kind == "duplicate":
        return data[:b] + data[a:]
    new = draw(st.sampled_from(SNIPPETS) | st.binary(max_size=6))
    return data[:a] + new + (data[b:] if kind == "replace" else data[a:])


# -- JSON that has the right names and the wrong values ---------------------------------------------------------------

NAMES = ["choices", "delta", "message", "content", "text", "role", "index", "finish_reason", "usage", "error", "detail"]
NAMES += ["prompt_tokens", "completion_tokens", "prompt_tokens_details", "cached_tokens", "completion_tokens_details"]
NAMES += ["reasoning_tokens", "reasoning_content", "reasoning", "tool_calls", "function", "function_call", "name"]
NAMES += [
    "arguments",
    "refusal",
    "token_ids",
    "logprobs",
    "tokens",
    "data",
    "embedding",
    "object",
    "msg",
    "type",
    "loc",
]
INTEGERS = [0, -1, 1, 5, 1 << 15, (1 << 31) - 1, 1 << 31, (1 << 63) - 1, 1 << 63, 1 << 64, -(1 << 63) - 1, 10**400]
NUMBERS = st.sampled_from([*INTEGERS, 0.0, 1.5, 1e308, -1e308, math.inf, -math.inf, math.nan])
TEXTS = st.sampled_from(["", "a", "stop", "é", "\ud800", "error", "assistant", "AAAAAA==", "AACAPw==", "AAA", "0" * 99])
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5),
    max_leaves=12,
)


def hostile(good: Any) -> st.SearchStrategy[Any]:
    """A good message with any of its parts replaced by any value."""
    if isinstance(good, dict):
        fields = st.fixed_dictionaries({name: hostile(value) for name, value in good.items()})
        extra = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=2)
        return VALUES | fields | st.tuples(fields, extra).map(lambda two: two[0] | two[1])
    if isinstance(good, list):
        return VALUES | st.tuples(*(hostile(item) for item in good)).map(list)
    return VALUES | st.just(good)


COUNTS = {"prompt_tokens": 1, "completion_tokens": 1}
MESSAGES: dict[str, Any] = {
    "chat": {"choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": "stop"}], "usage": COUNTS},
    "completions": {"choices": [{"text": "a", "finish_reason": "stop"}], "usage": COUNTS},
    "embeddings": {"data": [{"embedding": [1.0, 2.0]}], "usage": COUNTS},
}
MESSAGE = st.sampled_from(list(KINDS)).flatmap(lambda kind: st.tuples(st.just(kind), hostile(MESSAGES[kind])))
