"""The scheduler brain over the wire: timing by its own truth, what it refuses, /metrics, faults, clients that leave."""

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from genbench.simulator.costs import preset
from genbench.simulator.options import MAX_MODEL_LEN
from genbench.studies import simulated
from tests.simulator.process import Simulator
from tests.simulator.raw import CHAT, COMPLETIONS, EMBEDDINGS, ask, connect, read_answer, render

Start = Callable[..., Simulator]
MS = 1_000_000
# 5 ms a step, 10 ms for 100 prompt tokens, nothing else: every moment can be worked out by hand.
ARGUMENTS = (
    *("--preset", "serial", "--prefill-tps", "10000", "--step-base", "5ms", "--step-per-sequence", "0"),
    *("--step-per-kv-token", "0", "--max-batch", "2", "--kv-tokens", "400", "--prefix-cache"),
)


@pytest.fixture(scope="module")
def batching() -> Iterator[Simulator]:
    """Two at a time."""
    process = Simulator(*ARGUMENTS)
    yield process
    process.stop()


def figures(simulator: Simulator) -> dict[str, float]:
    """/metrics without labels; finished_reason becomes part of the name."""
    text = ask(simulator.port, "/metrics", method="GET").body.decode()
    found = {}
    for name, labels, value in re.findall(r"^vllm:(\w+){(.*)} (\S+)$", text, re.M):
        if "le=" not in labels:
            reason = re.search(r'finished_reason="(\w+)"', labels)
            found[f"{name}.{reason[1]}" if reason else name] = float(value)
    return found


def wait_for(simulator: Simulator, **wanted: float) -> None:
    """Until these figures stand so."""
    deadline = time.monotonic() + 5
    while any(figures(simulator)[name] != value for name, value in wanted.items()):
        assert time.monotonic() < deadline, figures(simulator)
        time.sleep(0.005)


def prompt(count: int, start: int = 0) -> str:
    return " ".join(f"w{k}" for k in range(start, start + count))


def test_timing_by_the_truth(batching: Simulator) -> None:
    answer = ask(batching.port, COMPLETIONS, scripted=False, prompt=prompt(100, 1000), max_tokens=6)
    assert len(answer.messages()) == 6
    truth = batching.truth_of(answer.request_id)
    times = [t_ns - truth["received_ns"] for kind, t_ns, _ in truth["events"] if kind == "content"]
    # the prompt 5 + 10 ms, then 5 ms each; late by what the host is late, never early
    assert all(0 <= at - (15 + 5 * k) * MS < 50 * MS for k, at in enumerate(times))
    assert len(times) == 6
    assert truth["outcome"] == "complete"


def test_two_run_and_the_third_waits(batching: Simulator) -> None:
    before = figures(batching)
    socks = [connect(batching.port) for _ in range(3)]
    for k, sock in enumerate(socks):
        body = {"prompt": prompt(10, 100 * k), "max_tokens": 60 if k < 2 else 2, "stream": True}
        sock.sendall(render(COMPLETIONS, body, f"three-{k}", {}, "POST"))
        wait_for(batching, num_requests_running=min(k + 1, 2), num_requests_waiting=max(0, k - 1))
    assert 0 < figures(batching)["kv_cache_usage_perc"] < 1
    assert [read_answer(sock).end for sock in socks] == ["complete"] * 3
    for sock in socks:
        sock.close()
    first, _, third = (batching.truth_of(f"three-{k}") for k in range(3))
    assert third["events"][0][1] > first["events"][-1][1]
    after = figures(batching)
    gained = {name: after[name] - before[name] for name in after}
    assert (after["num_requests_running"], after["num_requests_waiting"], after["kv_cache_usage_perc"]) == (0, 0, 0)
    assert (gained["prompt_tokens_total"], gained["generation_tokens_total"]) == (30, 122)
    assert gained["request_success_total.length"] == 3
    for name in ("time_to_first_token", "e2e_request_latency", "request_queue_time", "request_prefill_time"):
        assert gained[f"{name}_seconds_count"] == 3
    assert gained["inter_token_latency_seconds_count"] == 119
    # the third waited for most of 300 ms, the first two for at most one step of 11 ms
    assert 0.15 < gained["request_queue_time_seconds_sum"] < gained["time_to_first_token_seconds_sum"]
    parts = sum(gained[f"request_{part}_time_seconds_sum"] for part in ("queue", "prefill", "decode"))
    assert parts == pytest.approx(gained["e2e_request_latency_seconds_sum"])


def test_a_client_that_leaves_makes_room(batching: Simulator) -> None:
    body = {"prompt": "a b", "max_tokens": 300, "stream": True}
    socks = [connect(batching.port) for _ in range(2)]
    for k, sock in enumerate(socks):
        sock.sendall(render(COMPLETIONS, body, f"leaves-{k}", {}, "POST"))
    wait_for(batching, num_requests_running=2)
    for sock in socks:
        sock.close()
    wait_for(batching, num_requests_running=0, kv_cache_usage_perc=0)
    assert batching.truth_of("leaves-0")["outcome"] == "client_closed"


def test_a_request_may_bring_its_own_times(batching: Simulator) -> None:
    answer = ask(batching.port, COMPLETIONS, control={"ttft_ms": 1, "itl_ms": 0}, max_tokens=300)
    truth = batching.truth_of(answer.request_id)
    assert len(answer.messages()) == 300
    assert truth["events"][-1][1] - truth["received_ns"] < 500 * MS  # 1.5 s in the batch


def test_a_known_beginning_is_not_computed_again(batching: Simulator) -> None:
    text, include = prompt(330, 5000), {"include_usage": True}
    cached, first_ns = [], []
    for _ in range(2):
        answer = ask(
            batching.port, COMPLETIONS, scripted=False, prompt=text, max_tokens=2, stream_options=include
        )  # fmt: skip
        cached.append(answer.messages()[-1]["usage"]["prompt_tokens_details"]["cached_tokens"])
        truth = batching.truth_of(answer.request_id)
        first_ns.append(truth["events"][0][1] - truth["received_ns"])
    assert cached == [0, 320]
    assert first_ns[0] >= 38 * MS  # 5 + 33, the second 5 + 1
    whole = ask(batching.port, COMPLETIONS, scripted=False, prompt=text, max_tokens=2, stream=False).json
    assert whole["usage"]["prompt_tokens_details"] == {"cached_tokens": 320}
    found = figures(batching)
    assert 640 <= found["prefix_cache_hits_total"] < found["prefix_cache_queries_total"]


@pytest.mark.parametrize(
    ("path", "fields", "said"),
    [
        (COMPLETIONS, {"prompt": prompt(400)}, "maximum context length is 400 tokens. However, your prompt contains"),
        (CHAT, {"max_tokens": 401}, "max_tokens=401 cannot be greater than max_model_len=400"),
        (COMPLETIONS, {"prompt": prompt(390), "max_tokens": 11}, "you requested 11 output tokens and your prompt"),
        (EMBEDDINGS, {"input": ["a", prompt(401)]}, "contains at least 401 input tokens"),
    ],
)
def test_what_never_fits_is_refused_in_vllms_words(
    batching: Simulator, path: str, fields: dict[str, Any], said: str
) -> None:
    answer = ask(batching.port, path, scripted=False, **fields)
    assert (answer.status, answer.json["error"]["type"]) == (400, "BadRequestError")
    assert said in answer.json["error"]["message"]
    assert figures(batching)["num_requests_waiting"] == 0


def test_without_max_tokens_an_answer_fills_the_context(batching: Simulator) -> None:
    answer = ask(batching.port, COMPLETIONS, scripted=False, prompt=prompt(395), max_tokens=None)
    assert len(answer.messages()) == 5
    (model,) = ask(batching.port, "/v1/models", method="GET").json["data"]
    assert model["max_model_len"] == 400


@pytest.mark.parametrize(
    ("fault", "outcome", "contents"),
    [
        ("cut:2", "cut", 2),
        ("stall:2", "stall", 2),
        ("inband_error:3", "inband_error", 3),
        ("packed:3", "complete", 8),
        ("split", "complete", 8),
        ("multi_token:3", "complete", 3),
        ("immediate_finish", "immediate_finish", 0),
        ("empty_body", "empty_body", 0),
        ("slow_head:40", "complete", 8),
        ("early_role", "complete", 8),
        ("close_before_byte", "close_before_byte", 0),
    ],
)
def test_faults_on_top_of_the_batch(batching: Simulator, fault: str, outcome: str, contents: int) -> None:
    answer = ask(batching.port, scripted=False, fault=fault, max_tokens=8, timeout_s=0.3)
    wait_for(batching, num_requests_running=0)
    truth = batching.truth_of(answer.request_id)
    assert sum(1 for kind, _, _ in truth["events"] if kind == "content") == contents
    assert truth["outcome"] == outcome


def test_choices_and_embeddings(batching: Simulator) -> None:
    answer = ask(batching.port, COMPLETIONS, scripted=False, n=3, prompt=["a b", "c"], max_tokens=4)
    order = [message["choices"][0]["index"] for message in answer.messages()]
    assert order == [*range(6)] * 4
    found = ask(batching.port, EMBEDDINGS, scripted=False, input=["one", "two words"])
    assert (found.status, len(found.json["data"])) == (200, 2)
    truth = batching.truth_of(found.request_id)
    assert truth["events"][0][1] - truth["received_ns"] >= 5 * MS


def test_preemptions_are_counted_and_lose_nothing(start_simulator: Start) -> None:
    simulator = start_simulator(*ARGUMENTS, "--kv-tokens", "60", "--step-base", "1ms", "--no-prefix-cache")
    body = {"prompt": prompt(10), "max_tokens": 40, "stream": True}
    with connect(simulator.port) as one, connect(simulator.port) as two:
        for k, sock in enumerate((one, two)):
            sock.sendall(render(COMPLETIONS, body, f"put-back-{k}", {}, "POST"))
        answers = [read_answer(sock) for sock in (one, two)]
    assert [len(answer.messages()) for answer in answers] == [40, 40]
    found = figures(simulator)
    assert found["num_preemptions_total"] >= 1
    assert (found["generation_tokens_total"], found["prompt_tokens_total"]) == (80, 20)
    assert "cached_tokens" not in answers[0].body.decode()


def test_the_demo_is_a_batching_engine_and_others_ask_for_the_script() -> None:
    for arguments, length in (((), preset("small").max_model_len), (("--ttft", "1ms"), MAX_MODEL_LEN)):
        with simulated.engine(*arguments) as url:
            port = int(url.rpartition(":")[2])
            (model,) = ask(port, "/v1/models", method="GET").json["data"]
            assert model["max_model_len"] == length


def test_an_unknown_preset_is_one_sentence_and_exit_2() -> None:
    command = [sys.executable, "-m", "genbench.simulator", "--preset", "large"]
    found = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=10, check=False)
    assert (found.returncode, found.stdout, found.stderr.count("\n")) == (2, "", 1)
    assert "--preset large: no such preset or file; use one of" in found.stderr
