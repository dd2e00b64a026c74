"""The whole way, against the embedded engine: what is sent, what is recorded, what is said."""

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.certificates import Certificate
from tests.runs import Ran, Runner
from tests.simulator.process import Simulator
from tests.transport.raw_server import RawServer, read_request

SMALL = ("--isl", "20", "--osl", "6", "-n", "6", "-c", "3", "--warmup", "2")
FAST = json.dumps({"simulate": {"ttft_ms": 5, "itl_ms": 1}})


def profile(run: Runner, simulator: Simulator, *arguments: str, simulate: dict[str, Any] | None = None) -> Ran:
    """A small run; later arguments win."""
    extra = json.dumps({"simulate": {"ttft_ms": 5, "itl_ms": 1} | (simulate or {})})
    return run("profile", "--url", simulator.url, *SMALL, "--extra", extra, *arguments)


def test_a_closed_loop(run: Runner, simulator: Simulator) -> None:
    ran = profile(run, simulator)
    assert ran.code == 0
    summary = ran.summary
    assert summary["outcomes"] == {"ok": 6}
    assert summary["simulated"] is False
    assert summary["metrics"]["osl"]["mean"] == 6
    assert summary["metrics"]["isl"]["mean"] == 26  # 20 asked + 6 of the simulator's template
    assert summary["metrics"]["ttft"]["min"] >= 5
    assert summary["run"]["concurrency_max"]["value"] == 3
    phases = [record.get("phase", 1) for record in sorted(ran.records, key=lambda r: r.get("index", 0))]
    assert phases == [0, 0, 1, 1, 1, 1, 1, 1]
    assert ran.header["health"]["stamp_source"] == "kernel stamps"
    assert ran.out.rstrip().splitlines()[-1].startswith("again: genbench profile --url http://127.0.0.1:")
    assert ran.out.isascii()
    assert {path.name for path in ran.folder.iterdir()} == {
        "run.json", "requests.jsonl", "summary.json", "summary.csv", "summary.md", "requests.csv",
    }  # fmt: skip


def test_exactly_n_in_flight(run: Runner, simulator: Simulator) -> None:
    ran = profile(run, simulator, "-n", "30", "-c", "5", "--warmup", "0")
    spans = [(r["sent_ns"], r["end_ns"]) for r in ran.records]
    moments = sorted([(s, 1) for s, _ in spans] + [(e, -1) for _, e in spans], key=lambda m: (m[0], m[1]))
    level = np.cumsum([step for _, step in moments])
    assert level.max() == 5
    by_end = {r["end_ns"] for r in ran.records}
    assert sum(r["intended_ns"] in by_end for r in ran.records) == 25  # intended: the moment a slot became free


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        ("status:500", "http_error"),
        ("inband_error", "stream_error"),
        ("event_error", "stream_error"),
        ("cut", "truncated"),
        ("reset", "truncated"),
        ("empty_body", "empty_body"),
        ("immediate_finish", "no_output"),
        ("close_before_byte", "truncated"),
        ("garbage", "protocol_error"),
        ("early_role", "ok"),
        ("comments", "ok"),
        ("crlf", "ok"),
        ("split", "ok"),
        ("packed", "ok"),
        ("multi_token", "ok"),
        ("no_done", "ok"),
        ("unterminated", "ok"),
        ("usage_in_finish", "ok"),
        ("no_usage", "ok"),
        ("slow_head:20", "ok"),
        ("continue_head", "ok"),
        ("keepalive_close", "ok"),
        ("connection_close", "ok"),
        ("reasoning", "ok"),
        ("tools", "ok"),
    ],
)
def test_every_fault_ends_in_its_outcome(
    run: Runner, start_simulator: Callable[..., Simulator], fault: str, outcome: str
) -> None:
    # A share of 0.5 is every second request; the preflight asks again, so it gets through.
    server = start_simulator("--fault", fault, "--fault-share", "0.5", "--ttft", "5ms", "--itl", "1ms")
    ran = run(
        "profile",
        "--url",
        server.url,
        "--isl",
        "20",
        "--osl",
        "6",
        "-n",
        "10",
        "-c",
        "2",
        "--warmup",
        "0",
        "--no-retry" if outcome != "ok" else "--retry",
    )
    if ran.code == 2 or ran.code == 3:  # the preflight met it
        pytest.fail(ran.err)
    outcomes = ran.summary["outcomes"]
    assert sum(n for name, n in outcomes.items() if name != "http_429") == 10
    if outcome == "ok":
        assert outcomes == {"ok": 10}
    else:
        assert outcomes["ok"] + outcomes[outcome] == 10
        assert outcomes[outcome] == 5
        assert outcome in ran.out
    assert ran.code == 0


def test_429_is_counted_apart_and_not_retried(run: Runner, start_simulator: Callable[..., Simulator]) -> None:
    server = start_simulator("--fault", "status:429", "--fault-share", "0.5", "--ttft", "1ms", "--itl", "1ms")
    ran = run("profile", "--url", server.url, *SMALL, "--warmup", "0", "-n", "8")
    assert ran.summary["outcomes"]["http_error"] == ran.summary["outcomes"]["http_429"] == 4
    assert any(r.get("retry_after") == "1" for r in ran.records)


def test_not_one_request_ok_is_exit_1(run: Runner, simulator: Simulator) -> None:
    ran = profile(run, simulator, simulate={"fault": "cut:0"})
    assert ran.code == 1
    assert ran.summary["outcomes"] == {"ok": 0, "truncated": 6}


def test_open_loop_keeps_its_schedule(run: Runner, simulator: Simulator) -> None:
    ran = profile(run, simulator, "-c", "100", "-r", "100", "-n", "40", "--seed", "3")
    records = sorted(ran.records, key=lambda r: r.get("index", 0))
    rng = np.random.default_rng((3, 1))
    gaps = rng.exponential(1e9 / 100, 4096)
    expected = np.concatenate([[0], np.cumsum(gaps)])[: len(records)].astype(np.int64)
    start = ran.header["health"]["start_ns"]
    assert [r["intended_ns"] - start for r in records] == expected.tolist()
    assert all(r["ready_ns"] >= r["intended_ns"] for r in records)
    assert ran.summary["run"]["requested_rate"]["value"] > 0
    assert ran.header["health"]["pacing"] == "timerfd"


def test_a_cap_makes_requests_wait_and_the_wait_is_recorded(run: Runner, simulator: Simulator) -> None:
    ran = profile(run, simulator, "-c", "1", "-r", "400", "-n", "30", "--warmup", "0")
    waits = [r["ready_ns"] - r["intended_ns"] for r in ran.records]
    assert ran.summary["outcomes"] == {"ok": 30}  # none is skipped
    # 30 requests in about 75 ms, each some 10 ms long, one at a time: the last waits over 200 ms.
    assert max(waits) > 150_000_000
    assert ran.summary["metrics"]["cap_wait"]["max"] > 150
    assert "asked " in ran.out
    assert "delivered" in ran.out


def test_all_at_once(run: Runner, simulator: Simulator) -> None:
    ran = profile(run, simulator, "-c", "100", "-r", "inf", "-n", "20")
    assert len({r["intended_ns"] for r in ran.records}) == 1
    assert ran.summary["outcomes"] == {"ok": 20}


def test_time_is_up(run: Runner, simulator: Simulator) -> None:
    ran = run(
        "profile", "--url", simulator.url, "--isl", "10", "--osl", "1000", "-c", "2", "-d", "0.5", "--grace", "0.2",
        "--warmup", "0", "--extra", json.dumps({"simulate": {"ttft_ms": 5, "itl_ms": 10}}),
    )  # fmt: skip
    assert ran.summary["outcomes"] == {"ok": 0, "cancelled": 2}
    assert all(len(r["event_ns"]) > 20 for r in ran.records)  # what had arrived is kept
    assert ran.code == 1


def test_duration_alone_lifts_the_count(run: Runner, simulator: Simulator) -> None:
    ran = profile(run, simulator, "-d", "1", "-c", "4", "--warmup", "0", "-n", "100000")
    assert ran.summary["outcomes"]["ok"] > 100
    assert 0.9 < ran.summary["run"]["duration"]["value"] < 2
    assert ran.header["bodies_sha256"]


def test_not_streamed(run: Runner, simulator: Simulator) -> None:
    ran = profile(run, simulator, "--no-stream")
    assert ran.summary["outcomes"] == {"ok": 6}
    assert "ttft" not in ran.summary["metrics"]
    assert ran.summary["metrics"]["request_latency"]["min"] >= 10  # 5 + 5 x 1 ms
    assert ran.summary["metrics"]["osl"]["mean"] == 6


def test_completions(run: Runner, simulator: Simulator) -> None:
    ran = profile(run, simulator, "--endpoint-type", "completions")
    assert ran.summary["outcomes"] == {"ok": 6}
    assert ran.summary["metrics"]["isl"]["mean"] == 20


def test_embeddings(run: Runner, simulator: Simulator) -> None:
    ran = profile(run, simulator, "--endpoint-type", "embeddings", "--batch-size", "3")
    assert ran.summary["outcomes"] == {"ok": 6}
    assert ran.summary["metrics"]["isl"]["mean"] == 60
    assert "ttft" not in ran.summary["metrics"]
    rate = ran.summary["run"]
    assert rate["embedding_throughput"]["value"] == pytest.approx(3 * rate["request_throughput"]["value"])


def test_two_answers_to_one_request(run: Runner, simulator: Simulator) -> None:
    ran = profile(run, simulator, "--extra", "n=2")
    assert ran.summary["outcomes"] == {"ok": 6}
    assert ran.summary["metrics"]["osl"]["mean"] == 12
    assert "tpot" not in ran.summary["metrics"]
    assert {choice for r in ran.records for choice in r["event_choice"]} == {0, 1}


def test_a_file_of_prompts(run: Runner, simulator: Simulator, tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text(
        '{"prompt": "one two three"}\n\n{"messages": [{"role": "user", "content": "hello"}], "max_tokens": 3}\n'
    )
    ran = run(
        "profile", "--url", simulator.url, "-i", str(path), "-n", "4", "--warmup", "0", "--save-inputs",
        "--save-outputs", "--salt", "pepper", "--extra", json.dumps({"simulate": {"ttft_ms": 1, "itl_ms": 1}}),
    )  # fmt: skip
    assert ran.summary["outcomes"] == {"ok": 4}
    assert "2 samples were used more than once (warm-up is one use)" in ran.out
    inputs = [json.loads(line)["body"] for line in (ran.folder / "inputs.jsonl").read_text().splitlines()]
    assert [body["messages"][0]["content"] for body in inputs] == ["pepper one two three", "pepper hello"] * 2
    assert [body.get("max_tokens") for body in inputs] == [None, 3, None, 3]
    assert "ignore_eos" not in inputs[0]
    outputs = [json.loads(line) for line in (ran.folder / "outputs.jsonl").read_text().splitlines()]
    assert sorted(len(row["text"].split()) for row in outputs) == [3, 3, 128, 128]


def test_the_same_seed_and_salt_give_the_same_bytes(run: Runner, simulator: Simulator) -> None:
    first = profile(run, simulator, "--salt", "pepper")
    again = profile(run, simulator, "--salt", "pepper")
    fresh = profile(run, simulator)
    other = profile(run, simulator, "--salt", "pepper", "--seed", "1")
    assert first.header["bodies_sha256"] == again.header["bodies_sha256"]
    assert first.header["bodies_sha256"] != fresh.header["bodies_sha256"]
    assert first.header["dataset_sha256"] == fresh.header["dataset_sha256"] != other.header["dataset_sha256"]
    assert fresh.header["salt"]


def test_report_rebuilds_every_file(run: Runner, simulator: Simulator) -> None:
    ran = profile(run, simulator)
    made = ("summary.json", "summary.csv", "summary.md", "requests.csv")
    before = {name: (ran.folder / name).read_bytes() for name in made}
    for name in made:
        (ran.folder / name).unlink()
    again = run("report", str(ran.folder), "--no-plots")
    assert again.code == 0
    assert {name: (ran.folder / name).read_bytes() for name in made} == before
    assert again.out.partition("\nfiles: ")[0] == ran.out.partition("\nfiles: ")[0]


def test_slo_gate(run: Runner, simulator: Simulator) -> None:
    held = profile(run, simulator, "--slo", "ttft.p95<500ms", "--slo", "error_rate<1%")
    assert held.code == 0
    assert held.out.count("PASS") == 2
    missed = profile(run, simulator, "--slo", "ttft.p50<1ms")
    assert missed.code == 1
    assert "FAIL" in missed.out
    assert missed.summary["run"]["goodput"]["value"] == 0


def test_json_alone(run: Runner, simulator: Simulator) -> None:
    ran = profile(run, simulator, "--json")
    assert json.loads(ran.out) == ran.summary


def test_secrets_are_nowhere(run: Runner, start_simulator: Callable[..., Simulator]) -> None:
    server = start_simulator("--api-key", "sk-very-secret-1", "--ttft", "1ms", "--itl", "1ms")
    ran = run("profile", "--url", server.url, *SMALL, "--api-key", "sk-very-secret-1", "-H", "X-Token: hush-hush-2")
    assert ran.code == 0
    texts = [ran.out, ran.err, *(path.read_text() for path in ran.folder.iterdir())]
    assert not any("sk-very-secret-1" in text or "hush-hush-2" in text for text in texts)
    assert "X-Token" in ran.header["command"]
    refused = run("profile", "--url", server.url, *SMALL, "--api-key", "sk-wrong-3")
    assert refused.code == 2
    assert "sk-wrong-3" not in refused.err
    assert "refuses the key" in refused.err


def test_the_key_from_the_environment(
    run: Runner, start_simulator: Callable[..., Simulator], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start_simulator("--api-key", "sk-env", "--ttft", "1ms", "--itl", "1ms")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-env")
    assert run("profile", "--url", server.url, *SMALL).code == 0


def test_https(
    run: Runner,
    start_simulator: Callable[..., Simulator],
    certificate: Certificate,
    expired_certificate: Certificate,
) -> None:
    fast = ("--ttft", "1ms", "--itl", "1ms")
    good = start_simulator("--tls-cert", str(certificate.cert), "--tls-key", str(certificate.key), *fast)
    assert run("profile", "--url", good.url, *SMALL, "--ca-cert", str(certificate.ca)).summary["outcomes"] == {"ok": 6}
    assert run("profile", "--url", good.url, *SMALL, "--insecure-tls").summary["outcomes"] == {"ok": 6}
    closing = json.dumps({"simulate": {"fault": "connection_close"}})  # the body ends with close_notify
    ended = run("profile", "--url", good.url, *SMALL, "--insecure-tls", "--extra", closing)
    assert ended.summary["outcomes"] == {"ok": 6}
    untrusted = run("profile", "--url", good.url, *SMALL)
    assert untrusted.code == 3
    assert "--ca-cert" in untrusted.err
    old = start_simulator("--tls-cert", str(expired_certificate.cert), "--tls-key", str(expired_certificate.key), *fast)
    expired = run("profile", "--url", old.url, *SMALL, "--ca-cert", str(expired_certificate.ca))
    assert expired.code == 3
    assert "expired" in expired.err
    assert expired.err.count("\n") == 1


@pytest.mark.parametrize("path", ["", "/v1", "/v1/", "/v1/chat/completions", "/?key=1", "/v1?key=1"])
def test_urls(run: Runner, simulator: Simulator, path: str) -> None:
    ran = run("profile", "--url", simulator.url + path, *SMALL, "-n", "2", "--extra", FAST)
    assert ran.summary["outcomes"] == {"ok": 2}


def test_what_the_server_refuses_is_left_out(run: Runner, start_simulator: Callable[..., Simulator]) -> None:
    server = start_simulator(
        "--fault", "no_ignore_eos", "--fault", "no_max_tokens", "--fault", "no_stream_options",
        "--ttft", "1ms", "--itl", "1ms",
    )  # fmt: skip
    ran = run("profile", "--url", server.url, *SMALL, "--save-inputs")
    assert ran.code == 0
    body = json.loads((ran.folder / "inputs.jsonl").read_text().splitlines()[0])["body"]
    assert body["max_completion_tokens"] == 6
    assert not {"max_tokens", "ignore_eos", "min_tokens", "stream_options"} & set(body)
    assert "refuses ignore_eos" in ran.err


def test_a_server_that_is_loading_is_waited_for(run: Runner, start_simulator: Callable[..., Simulator]) -> None:
    server = start_simulator("--fault", "loading:1", "--ttft", "1ms", "--itl", "1ms")
    ran = run("profile", "--url", server.url, *SMALL, "-m", "simulated-model")
    assert ran.code == 0
    assert 0.3 < ran.header["preflight"]["time_to_ready_s"] < 10


def test_the_demo_says_that_it_is_simulated(run: Runner) -> None:
    ran = run("profile", "--osl", "4")
    assert ran.code == 0
    assert ran.folder.name.startswith("SIMULATED")
    assert "SIMULATED" in ran.out.splitlines()[0]
    assert "SIMULATED" in ran.err
    assert ran.summary["simulated"] is True
    assert ran.header["health"]["in_flight_max"] == 8


def start_process(folder: Path, url: str, *arguments: str) -> subprocess.Popen[str]:
    """genbench as a process of its own, for signals."""
    command = [sys.executable, "-m", "genbench", "profile", "--url", url, "--artifact-dir", str(folder), "--name", "x"]
    command.append("--no-plots")
    return subprocess.Popen(
        [*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def wait_for_records(path: Path, count: int) -> None:
    """Until the log has so many lines."""
    for _ in range(400):
        if path.exists() and path.read_bytes().count(b"\n") >= count:
            return
        time.sleep(0.05)
    pytest.fail(f"{path} never had {count} lines")


STREAM = ("--isl", "10", "--osl", "10", "-c", "2", "-d", "60", "--warmup", "0", "--extra", FAST)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_once_it_writes_what_there_is(simulator: Simulator, tmp_path: Path, number: signal.Signals) -> None:
    process = start_process(tmp_path, simulator.url, *STREAM)
    wait_for_records(tmp_path / "x" / "requests.jsonl", 5)
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    summary = json.loads((tmp_path / "x" / "summary.json").read_text())
    assert summary["outcomes"]["ok"] >= 5
    assert summary["outcomes"]["cancelled"] == 2
    assert json.loads((tmp_path / "x" / "run.json").read_text())["interrupted"] is True
    assert "interrupted" in out.lower()


def test_interrupted_twice_it_leaves_at_once(simulator: Simulator, tmp_path: Path) -> None:
    process = start_process(tmp_path, simulator.url, *STREAM)
    wait_for_records(tmp_path / "x" / "requests.jsonl", 1)
    os.kill(process.pid, signal.SIGINT)
    os.kill(process.pid, signal.SIGTERM)
    process.communicate(timeout=10)
    assert process.returncode == 130


def test_killed_it_loses_at_most_a_second(simulator: Simulator, tmp_path: Path, run: Runner) -> None:
    simulator.clear()
    process = start_process(tmp_path, simulator.url, *STREAM)
    path = tmp_path / "x" / "requests.jsonl"
    wait_for_records(path, 100)
    time.sleep(0.5)
    process.kill()
    killed_ns = time.perf_counter_ns()
    process.communicate(timeout=10)
    kept = path.read_bytes().count(b"\n")
    answered = [
        one
        for one in simulator.truth()
        if one["outcome"] == "complete" and one["events"][-1][1] < killed_ns - 1_200_000_000
    ]
    assert kept >= len(answered) - 10  # the preflight's few answers are not in the log
    again = run("report", str(tmp_path / "x"))
    assert again.code == 130  # a run that did not end is not whole
    assert "interrupted" in again.out.lower()


def test_the_last_line_repeats_the_run(run: Runner, simulator: Simulator) -> None:
    ran = profile(run, simulator)
    words = shlex.split(ran.out.rstrip().splitlines()[-1].removeprefix("again: "))
    assert words[:2] == ["genbench", "profile"]
    repeated = run(*words[1 : words.index("--artifact-dir")])
    assert repeated.code == 0
    assert repeated.header["dataset_sha256"] == ran.header["dataset_sha256"]


@pytest.mark.parametrize(("kind", "counted"), [("chat", 6), ("embeddings", None)])
def test_a_local_tokenizer_counts_answers_where_there_are_any(
    run: Runner, simulator: Simulator, bpe: Path, kind: str, counted: int | None
) -> None:
    ran = profile(run, simulator, "--endpoint-type", kind, "--tokenizer", str(bpe))
    assert ran.code == 0
    assert all(record["isl_tokenizer"] == 20 for record in ran.records)
    lines = [json.loads(line) for line in (ran.folder / "requests.jsonl").read_text().splitlines()]
    amended = [line["osl_tokenizer"] for line in lines if "amend" in line]
    assert (len(amended) == 8 and min(amended) >= counted) if counted else not amended


def test_an_answer_without_text_has_no_tokens_by_the_tokenizer(run: Runner, simulator: Simulator, bpe: Path) -> None:
    ran = profile(run, simulator, "--tokenizer", str(bpe), simulate={"fault": "immediate_finish"})
    lines = [json.loads(line) for line in (ran.folder / "requests.jsonl").read_text().splitlines()]
    assert [line["osl_tokenizer"] for line in lines if "amend" in line] == [0] * 8


def test_no_secret_by_any_way(
    run: Runner, start_simulator: Callable[..., Simulator], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start_simulator("--api-key", "sk-hidden-one", "--ttft", "1ms", "--itl", "1ms")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-hidden-one\n")  # as read from a mounted file
    ran = run(
        "profile", "--url", f"{server.url}?apikey=hidden-two&version=3", *SMALL, "-H", "X-Tenant: 1",
        "--endpoint", "/v1/chat/completions?accessToken=hidden-three", "--extra", "api_key=hidden-four",
        "--extra", '{"auth": "hidden-five"}',
    )  # fmt: skip
    assert ran.code == 0, ran.err
    texts = [ran.out, ran.err, *(path.read_text() for path in ran.folder.iterdir())]
    assert not any("hidden" in text for text in texts)
    assert "apikey=***&version=3" in ran.header["command"]


def test_a_server_that_repeats_the_key(run: Runner) -> None:
    def echo(sock: socket.socket) -> None:
        while request := read_request(sock):
            key = request.split(b"Bearer ")[1].split(b"\r\n")[0]
            body = b'{"error": {"message": "bad key ' + key + b'"}}'
            sock.sendall(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    with RawServer(echo) as server:
        url = f"http://127.0.0.1:{server.port}"
        ran = run("profile", "--url", url, "-m", "m", *SMALL, "-H", "Authorization: Bearer sk-hidden-six", "-H", "T: 1")
    assert ran.code == 2
    assert "hidden" not in ran.err
    assert "127.0.0.1" in ran.err  # a value too short to be a secret is left alone
    assert "bad key ***" in ran.err


@pytest.mark.parametrize("header", ["X Y: 1", "nothing", "X: a\nb"])
def test_headers_that_cannot_be_sent(run: Runner, simulator: Simulator, header: str) -> None:
    ran = run("profile", "--url", simulator.url, *SMALL, "-H", header)
    assert ran.code == 2
    assert "--header number 1" in ran.err
