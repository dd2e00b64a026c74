"""Each fault on the wire: the bytes, how the connection ends, and what the truth says of it."""

import json
import re
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.simulator.process import Simulator
from tests.simulator.raw import CHAT, COMPLETIONS, EMBEDDINGS, Answer, ask, connect

Start = Callable[..., Simulator]


def texts(answer: Answer) -> list[str]:
    """The content of each message that has any."""
    deltas = [choice["delta"] for message in answer.messages() for choice in message.get("choices", ())]
    return [delta["content"] for delta in deltas if delta.get("content")]


def outcome(simulator: Simulator, answer: Answer) -> str:
    """The truth's outcome of this request."""
    found: str = simulator.truth_of(answer.request_id)["outcome"]
    return found


@pytest.mark.parametrize("status", [429, 500, 503])
def test_status(simulator: Simulator, status: int) -> None:
    answer = ask(simulator.port, fault=f"status:{status}")
    assert (answer.status, answer.end) == (status, "complete")
    assert answer.json["error"]["code"] == status
    assert answer.headers.get("retry-after") == ("1" if status == 429 else None)
    assert outcome(simulator, answer) == "status"


@pytest.mark.parametrize(("fault", "line"), [("inband_error:2", b""), ("event_error:2", b"event: error\n")])
def test_an_error_inside_the_stream(simulator: Simulator, fault: str, line: bytes) -> None:
    answer = ask(simulator.port, fault=fault)
    assert answer.end == "complete"
    assert len(texts(answer)) == 2
    last = answer.body.rstrip().split(b"\n\n")[-1]
    assert last.startswith(line + b'data: {"error":{"message":')
    assert b'"code":500' in last
    assert b"[DONE]" not in answer.body
    assert b'finish_reason":"' not in answer.body
    truth = simulator.truth_of(answer.request_id)
    assert truth["outcome"] == fault.partition(":")[0]
    assert truth["events"][-1][0] == "error"


@pytest.mark.parametrize("count", [0, 1, 2])
def test_cut_closes_without_the_last_chunk(simulator: Simulator, count: int) -> None:
    answer = ask(simulator.port, fault=f"cut:{count}")
    assert answer.end == "eof"
    assert len(texts(answer)) == count
    assert not answer.data.endswith(b"0\r\n\r\n")
    assert outcome(simulator, answer) == "cut"


def test_reset(simulator: Simulator) -> None:
    answer = ask(simulator.port, fault="reset:2", control={"itl_ms": 20})
    assert answer.end == "reset"
    assert len(texts(answer)) == 2
    assert outcome(simulator, answer) == "reset"


def test_stall_keeps_the_connection_open(simulator: Simulator) -> None:
    answer = ask(simulator.port, fault="stall:2", timeout_s=0.3)
    assert answer.end == "timeout"
    assert len(texts(answer)) == 2
    for _ in range(100):
        if outcome(simulator, answer) != "open":
            break
        time.sleep(0.01)
    assert outcome(simulator, answer) == "stall"


def test_empty_body(simulator: Simulator) -> None:
    answer = ask(simulator.port, fault="empty_body")
    assert (answer.status, answer.end, answer.body) == (200, "complete", b"")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.data.endswith(b"\r\n\r\n0\r\n\r\n")
    assert ask(simulator.port, fault="empty_body", stream=False).headers["content-length"] == "0"


def test_immediate_finish(simulator: Simulator) -> None:
    answer = ask(simulator.port, fault="immediate_finish", stream_options={"include_usage": True})
    role, finish, usage = answer.messages()
    assert role["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert finish["choices"][0]["finish_reason"] == "length"
    assert usage["usage"]["completion_tokens"] == 0
    assert [event[0] for event in simulator.truth_of(answer.request_id)["events"]] == [
        "role",
        "finish",
        "usage",
        "done",
    ]


def test_early_role_leaves_before_the_first_token(simulator: Simulator) -> None:
    answer = ask(simulator.port, fault="early_role", control={"ttft_ms": 40})
    events = simulator.truth_of(answer.request_id)["events"]
    assert [event[0] for event in events[:2]] == ["role", "content"]
    assert events[1][1] - events[0][1] > 20_000_000


def test_comments(simulator: Simulator) -> None:
    answer = ask(simulator.port, fault="comments")
    assert answer.body.count(b": ping\n\ndata: ") == 5
    kinds = [event[0] for event in simulator.truth_of(answer.request_id)["events"]]
    assert kinds == ["role", *["comment", "content"] * 5, "done"]


def test_crlf(simulator: Simulator) -> None:
    answer = ask(simulator.port, fault=["crlf", "event_error:5"])
    assert answer.body.count(b"\r\n\r\n") == 7  # role, 5 tokens, error
    assert b"event: error\r\ndata: " in answer.body
    assert answer.body.count(b"\n") == answer.body.count(b"\r\n")


def test_split_writes_each_event_in_two(simulator: Simulator) -> None:
    answer = ask(simulator.port, fault="split", control={"itl_ms": 10})
    assert re.fullmatch(r"( [a-z]+){5}", "".join(texts(answer)))
    # Of the seven cuts a late reader may miss some, hardly all: a read that ends inside an event has seen one.
    assert any(not data.endswith(b"\r\n") for _, data in answer.reads)
    first = simulator.truth_of(answer.request_id)["events"][0]
    assert first[0] == "role"
    assert first[1] - simulator.truth_of(answer.request_id)["received_ns"] >= 2_000_000 + 1_000_000


def test_packed_puts_several_events_into_one_write(simulator: Simulator) -> None:
    answer = ask(simulator.port, fault="packed:3", control={"itl_ms": 10})
    # role + 2 tokens, 3 tokens, the trailer: chunks of 3, 3 and 1 events
    chunks = re.findall(rb"\r\n[0-9a-f]+\r\n(.*?\n\n)(?=\r\n)", answer.data, re.DOTALL)
    assert [chunk.count(b"data: ") for chunk in chunks] == [3, 3, 1]
    events = simulator.truth_of(answer.request_id)["events"]
    assert len({t_ns for _, t_ns, _ in events}) == 3
    assert events[0][1] - simulator.truth_of(answer.request_id)["received_ns"] >= 12_000_000  # the second token's time


def test_multi_token(simulator: Simulator) -> None:
    answer = ask(simulator.port, fault="multi_token:2", stream_options={"include_usage": True})
    assert [len(text.split()) for text in texts(answer)] == [2, 2, 1]
    assert answer.messages()[-1]["usage"]["completion_tokens"] == 5
    events = simulator.truth_of(answer.request_id)["events"]
    assert [tokens for kind, _, tokens in events if kind == "content"] == [2, 2, 1]


def test_no_done(simulator: Simulator) -> None:
    answer = ask(simulator.port, fault="no_done")
    assert answer.end == "complete"
    assert b"[DONE]" not in answer.body
    assert answer.messages()[-1]["choices"][0]["finish_reason"] == "length"


def test_unterminated(simulator: Simulator) -> None:
    assert ask(simulator.port, fault="unterminated").body.endswith(b"\n\ndata: [DONE]")
    bare = ask(simulator.port, fault=["unterminated", "no_done"])
    assert bare.end == "complete"
    assert bare.body.endswith(b"}")
    assert bare.messages()[-1]["choices"][0]["finish_reason"] == "length"


def test_usage_rides_in_the_finish_event(simulator: Simulator) -> None:
    answer = ask(simulator.port, fault="usage_in_finish")
    last = answer.messages()[-1]
    assert last["choices"][0] | {"index": 0} == last["choices"][0]
    assert last["choices"][0]["delta"] == {}
    assert last["choices"][0]["finish_reason"] == "length"
    assert last["usage"] == {"prompt_tokens": 9, "total_tokens": 14, "completion_tokens": 5}
    assert [m["choices"][0]["finish_reason"] for m in answer.messages()[:-1]] == [None] * 6


@pytest.mark.parametrize("stream", [True, False])
def test_no_usage(simulator: Simulator, stream: bool) -> None:
    extra: dict[str, Any] = {"stream_options": {"include_usage": True}} if stream else {}
    assert b'"usage"' not in ask(simulator.port, fault="no_usage", stream=stream, **extra).body
    assert b'"usage"' in ask(simulator.port, stream=stream, **extra).body


def test_usage_in_characters(simulator: Simulator) -> None:
    answer = ask(simulator.port, EMBEDDINGS, fault="usage_chars", input=["one", "two words"])
    assert answer.json["usage"]["prompt_tokens"] == 12
    chat = ask(simulator.port, fault="usage_chars", stream=False).json
    assert chat["usage"]["completion_tokens"] == len(chat["choices"][0]["message"]["content"])


def test_reasoning(simulator: Simulator) -> None:
    answer = ask(simulator.port, fault="reasoning:2")
    deltas = [message["choices"][0]["delta"] for message in answer.messages()]
    assert [next(iter(delta)) for delta in deltas] == ["role", *["reasoning_content"] * 2, *["content"] * 3]
    kinds = [event[0] for event in simulator.truth_of(answer.request_id)["events"]]
    assert kinds == ["role", "reasoning", "reasoning", "content", "content", "content", "done"]
    message = ask(simulator.port, fault="reasoning:2", stream=False).json["choices"][0]["message"]
    assert (len(message["reasoning_content"].split()), len(message["content"].split())) == (2, 3)


@pytest.mark.parametrize("tokens", [1, 5])
def test_tools(simulator: Simulator, tokens: int) -> None:
    answer = ask(simulator.port, fault="tools", max_tokens=tokens)
    calls = [message["choices"][0]["delta"]["tool_calls"][0] for message in answer.messages()[1:]]
    assert len(calls) == tokens
    assert calls[0]["function"]["name"] == "look_up"
    arguments = json.loads("".join(call["function"]["arguments"] for call in calls))
    assert len(arguments["text"].split()) == tokens
    assert answer.messages()[-1]["choices"][0]["finish_reason"] == "tool_calls"
    assert simulator.truth_of(answer.request_id)["events"][1][0] == "tool"
    whole = ask(simulator.port, fault="tools", stream=False).json["choices"][0]
    assert json.loads(whole["message"]["tool_calls"][0]["function"]["arguments"])["text"]


def test_slow_head_trickles(simulator: Simulator) -> None:
    answer = ask(simulator.port, fault="slow_head:80")
    spread = [(t_ns - answer.reads[0][0]) / 1e6 for t_ns, _ in answer.reads]
    heads = sum(1 for k in range(len(answer.reads)) if b"\r\n\r\n" not in b"".join(d for _, d in answer.reads[:k]))
    assert heads == 4
    assert spread[3] > 50  # three more quarters of 20 ms each
    assert answer.end == "complete"
    assert len(texts(answer)) == 5


@pytest.mark.parametrize("stream", [True, False])
def test_continue_head(simulator: Simulator, stream: bool) -> None:
    answer = ask(simulator.port, fault="continue_head", stream=stream)
    assert answer.data.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")
    assert answer.end == "complete"


def test_close_before_a_byte(simulator: Simulator) -> None:
    answer = ask(simulator.port, fault="close_before_byte")
    assert (answer.data, answer.end) == (b"", "eof")
    assert outcome(simulator, answer) == "close_before_byte"


def test_garbage(simulator: Simulator) -> None:
    answer = ask(simulator.port, fault="garbage")
    assert answer.end == "eof"
    assert answer.data
    assert not answer.data.startswith(b"HTTP")


def test_keepalive_close(simulator: Simulator) -> None:
    with connect(simulator.port) as sock:
        answer = ask(simulator.port, fault="keepalive_close", sock=sock)
        assert answer.end == "complete"
        assert "connection" not in answer.headers
        assert sock.recv(1) == b""
    assert outcome(simulator, answer) == "complete"


@pytest.mark.parametrize("stream", [True, False])
def test_connection_close_has_no_framing(simulator: Simulator, stream: bool) -> None:
    answer = ask(simulator.port, fault="connection_close", stream=stream)
    assert answer.end == "eof"
    assert answer.headers["connection"] == "close"
    assert not {"transfer-encoding", "content-length"} & set(answer.headers)
    assert answer.body.endswith(b"data: [DONE]\n\n" if stream else b"}")


def test_truncated_json(simulator: Simulator) -> None:
    answer = ask(simulator.port, fault="truncated_json", stream=False)
    assert answer.end == "eof"
    assert int(answer.headers["content-length"]) > len(answer.body) > 0
    assert outcome(simulator, answer) == "truncated_json"


@pytest.mark.parametrize(("fault", "end"), [("cut", "eof"), ("reset", "reset"), ("stall", "timeout")])
def test_an_unstreamed_answer_breaks_off_in_its_body(simulator: Simulator, fault: str, end: str) -> None:
    answer = ask(simulator.port, COMPLETIONS, fault=fault, stream=False, timeout_s=0.3)
    assert answer.end == end
    assert int(answer.headers["content-length"]) > len(answer.body)


def test_fields_that_are_refused(simulator: Simulator) -> None:
    answer = ask(simulator.port, fault="no_ignore_eos", ignore_eos=True, min_tokens=5)
    assert (answer.status, answer.json) == (
        422,
        {"detail": "Unexpected fields in the request: {'ignore_eos', 'min_tokens'}"},
    )
    assert ask(simulator.port, fault="no_ignore_eos").status == 200
    answer = ask(simulator.port, fault="no_max_tokens")
    assert answer.status == 400
    assert "max_completion_tokens" in answer.json["error"]["message"]
    assert ask(simulator.port, fault="no_max_tokens", max_tokens=None, max_completion_tokens=2).status == 400
    assert ask(simulator.port, COMPLETIONS, fault="no_stream_options").status == 200
    answer = ask(simulator.port, fault="no_stream_options", stream_options={"include_usage": True})
    assert answer.status == 400
    assert answer.json["error"]["param"] == "stream_options"


def test_process_faults_hit_their_share_and_give_way_to_the_request(start_simulator: Start) -> None:
    simulator = start_simulator("--fault", "status:500", "--fault-share", "0.5")
    with connect(simulator.port) as sock:
        assert [ask(simulator.port, sock=sock).status for _ in range(4)] == [200, 500, 200, 500]
        assert ask(simulator.port, sock=sock).status == 200
        assert ask(simulator.port, sock=sock, control={"fault": []}).status == 200
        assert ask(simulator.port, "/v1/models", method="GET", sock=sock).status == 200


def test_loading_refuses_everything_for_a_while(start_simulator: Start) -> None:
    simulator = start_simulator("--fault", "loading:0.5")
    assert ask(simulator.port, "/health", method="GET").status == 503
    assert ask(simulator.port).status == 503
    assert ask(simulator.port, "/truth", method="GET").status == 200
    deadline = time.monotonic() + 5
    while ask(simulator.port, "/health", method="GET").status == 503:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert ask(simulator.port, CHAT).status == 200
