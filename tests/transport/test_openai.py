"""What only the openai transport does: the SDK's view of an answer, written down for the common decoder."""

import socket
import sys
import time
from typing import Any

import orjson
import pytest

from genbench.clock import now_ns
from genbench.errors import ConfigError
from genbench.transport.openai import OpenaiTransport
from genbench.types import EventKind, Outcome
from tests.transport.harness import run
from tests.transport.raw_server import RawServer, Script, read_request
from tests.transport.side_by_side import ANSWER, CHUNKED, PATHS, STREAM, address, ask, decoded, once, opened, serve

ASKED = orjson.dumps({"stream": True})


def answers(*messages: Any, head: bytes = STREAM + b"\r\n", tail: bytes = b"data: [DONE]\n\n") -> Script:
    """A stream of these messages."""
    data = b"".join(b"data: %b\n\n" % orjson.dumps(message) for message in messages)

    def script(sock: socket.socket) -> None:
        read_request(sock)
        sock.sendall(head + data + tail)

    return script


def chunk(delta: Any, finish: str | None = None, **more: Any) -> dict[str, Any]:
    """A chunk of a chat answer."""
    return {"id": "c", "choices": [{"index": 0, "delta": delta, "finish_reason": finish, **more}]}


def test_fields_that_the_sdk_does_not_know_are_kept() -> None:
    messages = [
        chunk({"role": "assistant", "content": ""}),
        chunk({"reasoning_content": "hm"}, token_ids=[1, 2]),
        chunk({"content": "\u00e9 \u4e16"}, logprobs={"content": [{"token": "x", "logprob": -1.5}]}),
        chunk({}, "stop", stop_reason=None) | {"usage": {"prompt_tokens": 3, "completion_tokens": 3, "odd": {"a": 1}}},
    ]
    with RawServer(answers(*messages)) as server:
        exchange = once("openai", address(f"http://localhost:{server.port}"), ASKED)[0]
    pieces = [data for _, data in exchange.reply.chunks]
    assert [orjson.loads(data.removeprefix(b"data: ")) for data in pieces] == messages
    said = decoded(exchange, "chat", {})
    assert (said.outcome, said.kinds, said.tokens[1:3]) == ("ok", ("role", "reasoning", "content", "finish"), (2, 1))
    assert said.usage == (3, 3)


@pytest.mark.parametrize(
    "odd",
    [
        {"choices": "none"},
        {"choices": [{"index": "x", "delta": 5}]},
        {"object": 7, "choices": None, "usage": "many"},
        [1, 2],
        "text",
        None,
    ],
)
def test_a_chunk_of_another_shape_goes_through_as_it_is(odd: Any) -> None:
    with RawServer(answers(odd, chunk({"content": "x"}, "stop"))) as server:
        exchange = once("openai", address(f"http://localhost:{server.port}"), ASKED)[0]
    assert exchange.reply.outcome is None
    pieces = [data for _, data in exchange.reply.chunks]
    assert orjson.loads(pieces[0].removeprefix(b"data: ")) == odd
    assert len(pieces) == 2


@pytest.mark.parametrize("error", [{"message": "no room", "code": 500}, "no room"])
def test_an_error_in_the_stream_keeps_its_text(error: Any) -> None:
    with RawServer(answers(chunk({"content": "x"}), {"error": error})) as server:
        exchange = once("openai", address(f"http://localhost:{server.port}"), ASKED)[0]
    said = decoded(exchange, "chat", {})
    assert (said.outcome, said.texts) == (Outcome.STREAM_ERROR, {0: "x"})
    assert "no room" in said.error


def test_each_chunk_has_a_stamp_of_its_own_even_when_one_read_brought_them() -> None:
    sent: list[int] = []

    def script(sock: socket.socket) -> None:
        read_request(sock)
        time.sleep(0.02)
        sent.append(now_ns())
        data = b"".join(b"data: %b\n\n" % orjson.dumps(chunk({"content": "x"})) for _ in range(3))
        sock.sendall(CHUNKED + b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data))

    with RawServer(script) as server:
        exchange = once("openai", address(f"http://localhost:{server.port}"), ASKED)[0]
    stamps = [t_ns for t_ns, _ in exchange.reply.chunks]
    assert len(set(stamps)) == 3
    assert sent[0] < stamps[0] < stamps[1] < stamps[2] <= exchange.record.end_ns
    decoded(exchange, "chat", {})
    assert exchange.record.event_shared == [0, 0, 0]


@pytest.mark.parametrize("path", ["/generate", *PATHS.values()])
def test_any_path_and_any_json(path: str) -> None:
    with RawServer(answers({"text": "x", "n": 1})) as server:
        streamed = once("openai", address(f"http://localhost:{server.port}", path=path), ASKED)[0]
    assert orjson.loads(streamed.reply.chunks[0][1].removeprefix(b"data: ")) == {"text": "x", "n": 1}
    with RawServer(serve) as server:
        whole = once("openai", address(f"http://localhost:{server.port}", path=path), b"[1]")[0]
    assert (whole.reply.outcome, whole.reply.chunks[0][1]) == (None, b"{}")


def test_an_answer_that_is_not_json_is_left_to_the_decoder() -> None:
    def script(sock: socket.socket) -> None:
        read_request(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 4\r\n\r\n{oh}")

    with RawServer(script) as server:
        exchange = once("openai", address(f"http://localhost:{server.port}"), b"{}")[0]
    said = decoded(exchange, "chat", {})
    assert (said.outcome, said.error) == (Outcome.PROTOCOL_ERROR, "the body is not a JSON object: '{oh}'")


def test_no_key_of_its_own_and_no_retry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-environment")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://elsewhere.invalid")
    seen: list[bytes] = []

    def script(sock: socket.socket) -> None:
        seen.append(read_request(sock))
        sock.sendall(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 5\r\n\r\nlater")

    with RawServer(script) as server:
        exchange = once("openai", address(f"http://localhost:{server.port}"), b"{}")[0]
    assert len(seen) == 1
    assert b"authorization" not in seen[0].lower()
    assert decoded(exchange, "chat", {}).error == "HTTP 503: later"


def test_an_sdk_that_takes_no_bytes_gets_the_parsed_body(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bytes] = []

    def script(sock: socket.socket) -> None:
        while data := read_request(sock):
            seen.append(data.partition(b"\r\n\r\n")[2])
            sock.sendall(ANSWER)

    async def main(port: int) -> int:
        async with opened("openai", address(f"http://localhost:{port}")) as transport:
            assert isinstance(transport, OpenaiTransport)
            monkeypatch.setattr(transport, "_takes_bytes", False)
            compact = await ask(transport, b'{"b":1,"a":2}')
            spaced = await ask(transport, b'{"b": 1, "a": 2}')
            assert (compact.record.request_bytes, spaced.record.request_bytes) == (13, 13)
            count: int = transport.facts()["bodies_rewritten"]
            return count

    with RawServer(script) as server:
        assert run("asyncio", main(server.port)) == 1
    assert seen == [b'{"b":1,"a":2}'] * 2


def test_nothing_is_opened_ahead_and_facts_name_the_versions() -> None:
    async def main(port: int) -> dict[str, Any]:
        async with opened("openai", address(f"http://localhost:{port}")) as transport:
            assert await transport.open(4) == []
            await ask(transport, b"{}")
            return transport.facts()

    with RawServer(serve) as server:
        facts = run("asyncio", main(server.port))
        assert server.accepted == 1
    assert facts.pop("library").startswith("openai ")
    assert facts == {
        "transport": "openai",
        "stamp_source": "the read clock",
        "connections_opened": 1,
        "bodies_rewritten": 0,
    }


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(ConfigError, match=r"^--transport openai needs the openai package; pip install 'genbench\[o"):
        once("openai", address("http://localhost:1"))


def test_a_tool_call_in_parts() -> None:
    call = {"index": 0, "id": "t", "type": "function", "function": {"name": "look", "arguments": '{"a":'}}
    more = {"index": 0, "function": {"arguments": "1}"}}
    stream = answers(chunk({"tool_calls": [call]}), chunk({"tool_calls": [more]}), chunk({}, "tool_calls"))
    with RawServer(stream) as server:
        exchange = once("openai", address(f"http://localhost:{server.port}"), ASKED)[0]
    said = decoded(exchange, "chat", {})
    assert (said.texts, said.finish_reason) == ({0: 'look{"a":1}'}, "tool_calls")
    assert exchange.record.event_kind == [EventKind.TOOL, EventKind.TOOL, EventKind.FINISH]
