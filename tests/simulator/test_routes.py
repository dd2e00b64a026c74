"""What each route answers when nothing is wrong with the server, and how it refuses."""

import base64
import http.client
import json
import re
from array import array
from collections.abc import Callable
from typing import Any

import pytest
from openai.types import Completion, CreateEmbeddingResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from tests.simulator.process import Simulator
from tests.simulator.raw import CHAT, COMPLETIONS, EMBEDDINGS, ask, connect, read_answer


def test_a_chat_stream_has_vllms_shape(simulator: Simulator) -> None:
    answer = ask(simulator.port, stream_options={"include_usage": True})
    chunks = [ChatCompletionChunk.model_validate(message, strict=True) for message in answer.messages()]
    role, *contents, usage = chunks
    assert (role.choices[0].delta.role, role.choices[0].delta.content) == ("assistant", "")
    assert [chunk.choices[0].finish_reason for chunk in contents] == [None] * 4 + ["length"]
    assert all(len((chunk.choices[0].delta.content or "").split()) == 1 for chunk in contents)
    assert usage.choices == []
    assert usage.usage
    # three words, 3 for the message, 3 for the template
    assert (usage.usage.prompt_tokens, usage.usage.completion_tokens, usage.usage.total_tokens) == (9, 5, 14)
    assert answer.body.endswith(b"data: [DONE]\n\n")
    assert answer.headers["x-request-id"] == answer.request_id
    assert {chunk.id for chunk in chunks} == {f"chatcmpl-{answer.request_id}"}


def test_unstreamed_answers_fit_the_schema(simulator: Simulator) -> None:
    chat = ChatCompletion.model_validate(ask(simulator.port, stream=False).json, strict=True)
    assert len((chat.choices[0].message.content or "").split()) == 5
    text = Completion.model_validate(ask(simulator.port, COMPLETIONS, stream=False).json, strict=True)
    assert text.usage
    assert (text.usage.prompt_tokens, text.usage.completion_tokens) == (3, 5)


def test_a_stream_and_a_whole_answer_count_the_same(simulator: Simulator) -> None:
    streamed = ask(simulator.port, COMPLETIONS, n=2, prompt=["a", "b c"], stream_options={"include_usage": True})
    whole = ask(simulator.port, COMPLETIONS, n=2, prompt=["a", "b c"], stream=False).json
    assert streamed.messages()[-1]["usage"] == whole["usage"]
    assert whole["usage"] == {"prompt_tokens": 3, "total_tokens": 23, "completion_tokens": 20}
    order = [message["choices"][0]["index"] for message in streamed.messages()[:-1]]
    assert order == [0, 1, 2, 3] * 5


def test_choices_of_a_chat_are_interleaved(simulator: Simulator) -> None:
    messages = ask(simulator.port, n=2, max_tokens=2).messages()
    found = [(message["choices"][0]["index"], "role" in message["choices"][0]["delta"]) for message in messages]
    assert found == [(0, True), (1, True), (0, False), (1, False), (0, False), (1, False)]
    assert [message["choices"][0]["finish_reason"] for message in messages[-2:]] == ["length", "length"]


def test_continuous_usage(simulator: Simulator) -> None:
    options = {"include_usage": True, "continuous_usage_stats": True}
    messages = ask(simulator.port, max_tokens=3, stream_options=options).messages()
    assert [message["usage"]["completion_tokens"] for message in messages] == [0, 1, 2, 3, 3]
    assert ask(simulator.port, stream_options={"include_usage": False}).body.count(b'"usage"') == 0


@pytest.mark.parametrize(
    ("fields", "control", "tokens", "reason"),
    [
        ({"max_tokens": 3}, {}, 3, "length"),
        ({"max_tokens": None, "max_completion_tokens": 4}, {}, 4, "length"),
        ({"max_tokens": 9}, {"tokens": 2}, 2, "stop"),
        ({"max_tokens": None}, {"gaps_ms": [1, 1]}, 3, "stop"),
        ({"max_tokens": None}, {"itl_ms": 0}, 128, "stop"),
        ({"max_tokens": 2, "ignore_eos": True, "min_tokens": 2, "stop": ["x"], "logprobs": True}, {}, 2, "length"),
    ],
)
def test_the_answers_length(
    simulator: Simulator, fields: dict[str, Any], control: dict[str, Any], tokens: int, reason: str
) -> None:
    messages = ask(simulator.port, control=control, **fields).messages()
    assert len(messages) == 1 + tokens
    assert messages[-1]["choices"][0]["finish_reason"] == reason


def test_the_header_controls_too(simulator: Simulator) -> None:
    answer = ask(simulator.port, headers={"X-Simulate": '{"tokens": 2, "ttft_ms": 1}'})
    assert len(answer.messages()) == 3


def test_embeddings(simulator: Simulator) -> None:
    answer = ask(simulator.port, EMBEDDINGS, input=["one", "two words"], dimensions=8)
    found = CreateEmbeddingResponse.model_validate(answer.json, strict=True)
    assert [len(one.embedding) for one in found.data] == [8, 8]
    assert found.data[0].embedding != found.data[1].embedding
    assert found.usage.prompt_tokens == 3
    coded = ask(simulator.port, EMBEDDINGS, input="two words", dimensions=8, encoding_format="base64").json
    assert array("f", base64.b64decode(coded["data"][0]["embedding"])).tolist() == found.data[1].embedding
    ids = ask(simulator.port, EMBEDDINGS, input=[[1, 2], [3]]).json
    assert (len(ids["data"]), ids["usage"]["prompt_tokens"]) == (2, 3)
    assert len(ask(simulator.port, EMBEDDINGS, input=[1, 2, 3]).json["data"]) == 1


def test_tokenize_agrees_with_usage(simulator: Simulator) -> None:
    messages = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "a b"}]},
    ]
    counted = ask(simulator.port, "/tokenize", messages=messages).json
    used = ask(simulator.port, messages=messages, stream=False).json["usage"]["prompt_tokens"]
    assert counted["count"] == used == len(counted["tokens"]) == 4 + 2 * 3 + 3
    assert ask(simulator.port, "/tokenize", model="simulated-model", prompt="a b c").json["count"] == 3
    assert counted["max_model_len"] > 0


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/models", 200),
        ("GET", "/some/prefix/v1/models?x=1", 200),
        ("GET", "/health", 200),
        ("GET", "/version", 200),
        ("GET", "/metrics", 200),
        ("GET", "/v1/nothing", 404),
        ("GET", "/", 404),
        ("POST", "/chat/completions", 404),
        ("POST", "/v1/v1/chat/completions", 404),
        ("GET", CHAT, 405),
        ("POST", "/v1/models", 405),
    ],
)
def test_routes(simulator: Simulator, method: str, path: str, status: int) -> None:
    assert ask(simulator.port, path, method=method).status == status


def test_the_one_model_is_listed(simulator: Simulator) -> None:
    assert [one["id"] for one in ask(simulator.port, "/v1/models", method="GET").json["data"]] == ["simulated-model"]


@pytest.mark.parametrize(
    ("path", "fields", "status", "said"),
    [
        (CHAT, {"model": "other"}, 404, "The model `other` does not exist."),
        (EMBEDDINGS, {"model": "other"}, 404, "The model `other` does not exist."),
        (CHAT, {"messages": None}, 400, "Field required"),
        (CHAT, {"messages": [{"role": "user", "content": 5}]}, 400, "valid string"),
        (CHAT, {"max_tokens": "many"}, 400, "max_tokens"),
        (CHAT, {"max_tokens": 10**9}, 400, "max_tokens"),
        (CHAT, {"n": 0}, 400, "n=0"),
        (CHAT, {"stream_options": 5}, 400, "dictionary"),
        (COMPLETIONS, {"prompt": None}, 400, "Field required"),
        (EMBEDDINGS, {"input": []}, 400, "at least one"),
        (EMBEDDINGS, {"input": ["a", 5]}, 400, "strings or token ids"),
        (EMBEDDINGS, {"dimensions": 0}, 400, "dimensions"),
    ],
)
def test_refusals(simulator: Simulator, path: str, fields: dict[str, Any], status: int, said: str) -> None:
    answer = ask(simulator.port, path, **fields)
    assert answer.status == status
    assert said in answer.json["error"]["message"]
    assert answer.json["error"]["code"] == status
    assert simulator.truth_of(answer.request_id)["outcome"] == "refused"


@pytest.mark.parametrize(
    "control", [{"ttft_ms": -1}, {"tokens": 1.5}, {"gaps_ms": 5}, {"gaps_ms": ["x"]}, {"fault": "nope"}, {"what": 1}]
)
def test_a_wrong_control_is_refused(simulator: Simulator, control: dict[str, Any]) -> None:
    assert ask(simulator.port, control=control).status == 400


def test_bad_json_and_bad_http(simulator: Simulator) -> None:
    with connect(simulator.port) as sock:
        sock.sendall(b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\n{x:1")
        answer = read_answer(sock)
        assert (answer.status, answer.json["error"]["param"]) == (400, "body")
        sock.sendall(b"this is not HTTP\r\n\r\n")
        answer = read_answer(sock)
        assert answer.status == 400
        assert sock.recv(1) == b""


def test_a_key(start_simulator: Callable[..., Simulator]) -> None:
    simulator = start_simulator("--api-key", "secret", "--model", "mine")
    for headers in ({}, {"authorization": "Bearer wrong"}):
        answer = ask(simulator.port, headers=headers)
        assert (answer.status, answer.json) == (401, {"error": "Unauthorized"})
    assert ask(simulator.port, "/v1/models", method="GET").status == 401
    assert ask(simulator.port, "/health", method="GET").status == 200
    assert ask(simulator.port, headers={"authorization": "Bearer secret"}, model="mine").status == 200


def test_metrics_move_with_the_requests(start_simulator: Callable[..., Simulator]) -> None:
    simulator = start_simulator("--ttft", "2ms", "--itl", "1ms")
    ask(simulator.port, COMPLETIONS, max_tokens=5)
    ask(simulator.port, COMPLETIONS, fault="cut:2")
    text = ask(simulator.port, "/metrics", method="GET").body.decode()
    labels = '{engine="0",model_name="simulated-model"'
    for line in (
        f"vllm:num_requests_running{labels}}} 0.0",
        f"vllm:num_requests_waiting{labels}}} 0.0",
        f"vllm:prompt_tokens_total{labels}}} 6.0",
        f"vllm:generation_tokens_total{labels}}} 7.0",
        f'vllm:request_success_total{labels},finished_reason="length"}} 1.0',
        f'vllm:request_success_total{labels},finished_reason="error"}} 1.0',
        f"vllm:time_to_first_token_seconds_count{labels}}} 2.0",
        f'vllm:time_to_first_token_seconds_bucket{labels},le="+Inf"}} 2.0',
        f"vllm:inter_token_latency_seconds_count{labels}}} 5.0",
        f"vllm:e2e_request_latency_seconds_count{labels}}} 1.0",
        f"vllm:request_queue_time_seconds_sum{labels}}} 0.0",
        f"vllm:request_decode_time_seconds_count{labels}}} 1.0",
        f"vllm:kv_cache_usage_perc{labels}}} 0.0",
        f"vllm:num_preemptions_total{labels}}} 0.0",
    ):
        assert line in text.splitlines()


def test_http_client_keeps_the_connection(simulator: Simulator) -> None:
    client = http.client.HTTPConnection("127.0.0.1", simulator.port, timeout=5)
    connections = set()
    for k in range(3):
        body = json.dumps({"prompt": "a", "max_tokens": 1, "simulate": {"ttft_ms": 1}})
        client.request("POST", COMPLETIONS, body, {"x-request-id": f"kept-{k}"})
        assert client.getresponse().read()
        connections.add(simulator.truth_of(f"kept-{k}")["connection"])
    client.close()
    assert len(connections) == 1


def test_every_metric_has_its_type(simulator: Simulator) -> None:
    text = ask(simulator.port, "/metrics", method="GET").body.decode()
    types = dict(re.findall(r"^# TYPE (\S+) (\w+)$", text, re.M))
    for name, value in re.findall(r"^(vllm:\w+){.*} (\S+)$", text, re.M):
        family = re.sub("_(bucket|sum|count)$", "", name)
        assert types[family if types.get(family) == "histogram" else name] in ("gauge", "counter", "histogram")
        assert float(value) >= 0
    assert types["vllm:kv_cache_usage_perc"] == types["vllm:num_requests_waiting"] == "gauge"
    assert types["vllm:num_preemptions_total"] == types["vllm:prefix_cache_hits_total"] == "counter"


def test_the_longest_request_may_be_set_for_the_script_too(start_simulator: Callable[..., Simulator]) -> None:
    simulator = start_simulator("--max-model-len", "20")
    assert ask(simulator.port, "/v1/models", method="GET").json["data"][0]["max_model_len"] == 20
    assert ask(simulator.port, "/tokenize", prompt="a").json["max_model_len"] == 20
    assert ask(simulator.port, COMPLETIONS, prompt="a b c", max_tokens=17).status == 200
    answer = ask(simulator.port, COMPLETIONS, prompt="a b c", max_tokens=18)
    assert (answer.status, answer.json["error"]["param"]) == (400, "input_tokens")
    assert simulator.truth_of(answer.request_id)["outcome"] == "refused"
