"""The process: its start and end, timing by its own truth, connections, TLS, both event loops."""

import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import fields

import pytest

from genbench.simulator.__main__ import parser
from genbench.simulator.faults import KINDS
from genbench.simulator.options import SimulatorOptions
from tests.certificates import Certificate
from tests.simulator.process import Simulator
from tests.simulator.raw import COMPLETIONS, ask, connect, read_answer, render

Start = Callable[..., Simulator]
MS = 1_000_000


@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def either(request: pytest.FixtureRequest) -> Iterator[Simulator]:
    """A simulator on each of the loops."""
    process = Simulator("--loop", request.param)
    yield process
    process.stop()


def test_timing_by_the_truth(either: Simulator) -> None:
    answer = ask(either.port, control={"ttft_ms": 30, "gaps_ms": [5, 40], "itl_ms": 10}, max_tokens=5)
    truth = either.truth_of(answer.request_id)
    due = [truth["received_ns"] + offset * MS for offset in (30, 30, 35, 75, 85, 95, 95)]
    times = [t_ns for _, t_ns, _ in truth["events"]]
    assert [kind for kind, _, _ in truth["events"]] == ["role", *["content"] * 5, "done"]
    assert times == sorted(times)
    # Never early. How late depends on the host: 0.3 ms at rest, 50 ms is a host that is busy with something else.
    assert all(0 <= t_ns - at < 50 * MS for t_ns, at in zip(times, due, strict=True))
    arrived = [t_ns for t_ns, data in answer.reads if b"data: " in data]
    assert times[0] < arrived[0]
    assert truth["sent_bytes"] == len(answer.data)
    assert (truth["outcome"], truth["faults"]) == ("complete", [])


def test_the_receive_stamp_is_the_last_bytes(either: Simulator) -> None:
    request = render(COMPLETIONS, {"prompt": "a", "max_tokens": 1, "simulate": {"ttft_ms": 1}}, "late-byte", {}, "POST")
    with connect(either.port) as sock:
        before = time.perf_counter_ns()
        sock.sendall(request[:-1])
        time.sleep(0.03)
        last = time.perf_counter_ns()
        sock.sendall(request[-1:])
        after = time.perf_counter_ns()
        assert read_answer(sock).status == 200
    truth = either.truth_of("late-byte")
    assert before < last <= truth["received_ns"]
    if truth["stamp"] == "kernel":
        # 50 us for the two readings of the wall clock's offset
        assert truth["received_ns"] <= after + 50_000


def test_an_unstreamed_answer_leaves_with_its_last_token(either: Simulator) -> None:
    answer = ask(either.port, COMPLETIONS, stream=False, control={"ttft_ms": 20, "itl_ms": 5}, max_tokens=5)
    truth = either.truth_of(answer.request_id)
    ((kind, t_ns, tokens),) = truth["events"]
    assert (kind, tokens) == ("content", 5)
    assert t_ns - truth["received_ns"] >= 40 * MS


def test_requests_on_one_connection_come_in_order(either: Simulator) -> None:
    body = {"prompt": "a", "max_tokens": 1, "simulate": {"ttft_ms": 5}}
    with connect(either.port) as sock:
        sock.sendall(b"".join(render(COMPLETIONS, body, f"in-order-{k}", {}, "POST") for k in range(3)))
        data = b""
        while data.count(b"HTTP/1.1 200") < 3 or not data.endswith(b"}"):
            data += sock.recv(65536)
    assert re.findall(rb"cmpl-in-order-(\d)", data) == [b"0", b"1", b"2"]


def test_many_plain_requests_may_wait_on_a_connection(either: Simulator) -> None:
    with connect(either.port) as sock:
        sock.sendall(render("/health", {}, "h", {}, "GET") * 2000)
        data = b""
        while data.count(b"HTTP/1.1 200") < 2000:
            piece = sock.recv(65536)
            assert piece, "the server closed the connection before it had answered all"
            data += piece


def test_expect_100_continue(either: Simulator) -> None:
    request = render(COMPLETIONS, {"prompt": "a", "max_tokens": 1}, "expected", {"expect": "100-continue"}, "POST")
    head, blank, body = request.partition(b"\r\n\r\n")
    with connect(either.port) as sock:
        sock.sendall(head + blank)
        assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(body)
        assert read_answer(sock).status == 200


def test_the_client_may_ask_for_the_end_of_the_connection(either: Simulator) -> None:
    with connect(either.port) as sock:
        answer = ask(either.port, sock=sock, headers={"connection": "close"})
        assert (answer.end, answer.headers["connection"]) == ("complete", "close")
        assert sock.recv(1) == b""


def test_http_1_0_streams_until_the_end(either: Simulator) -> None:
    body = json.dumps({"prompt": "a", "max_tokens": 2, "stream": True, "simulate": {"ttft_ms": 1}}).encode()
    with connect(either.port) as sock:
        sock.sendall(b"POST /v1/completions HTTP/1.0\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        answer = read_answer(sock)
    assert answer.end == "eof"
    assert "transfer-encoding" not in answer.headers
    assert answer.body.endswith(b"data: [DONE]\n\n")


def test_a_client_that_leaves(either: Simulator) -> None:
    body = {"prompt": "a", "max_tokens": 1000, "stream": True, "simulate": {"ttft_ms": 1, "itl_ms": 5}}
    with connect(either.port) as sock:
        sock.sendall(render(COMPLETIONS, body, "left", {}, "POST"))
        sock.recv(10)
        assert either.truth_of("left")["outcome"] == "open"
    deadline = time.monotonic() + 5
    while either.truth_of("left")["outcome"] == "open":
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert either.truth_of("left")["outcome"] == "client_closed"


def test_a_client_that_does_not_read_hurts_nobody(either: Simulator) -> None:
    body = {"prompt": "a", "max_tokens": 60_000, "stream": True, "simulate": {"ttft_ms": 0, "itl_ms": 0}}
    body["stream_options"] = {"include_usage": True, "continuous_usage_stats": True}
    with socket.socket() as idle:
        idle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        idle.connect(("127.0.0.1", either.port))
        idle.sendall(render(COMPLETIONS, body, "idle", {}, "POST"))
        answer = ask(either.port, control={"ttft_ms": 20, "itl_ms": 2}, max_tokens=20)
        truth = either.truth_of(answer.request_id)
        assert answer.end == "complete"
        assert truth["events"][-1][1] - truth["received_ns"] < 200 * MS
        before = len(either.truth_of("idle")["events"])
        assert 0 < before < 60_000
        # It reads at last: everything comes, nothing twice.
        found = bytearray()
        while not found.endswith(b"\r\n0\r\n\r\n"):
            found += idle.recv(1 << 20)
    assert [int(k) for k in re.findall(rb'"completion_tokens":(\d+)', found)] == [*range(1, 60_001), 60_000]
    assert either.truth_of("idle")["outcome"] == "complete"


def test_tls(start_simulator: Start, certificate: Certificate, expired_certificate: Certificate) -> None:
    simulator = start_simulator("--tls-cert", str(certificate.cert), "--tls-key", str(certificate.key))
    assert simulator.url.startswith("https://127.0.0.1:")
    context = ssl.create_default_context(cafile=str(certificate.ca))
    with connect(simulator.port, context) as sock:
        for _ in range(2):
            answer = ask(simulator.port, sock=sock)
            assert (answer.status, answer.end, len(answer.messages())) == (200, "complete", 6)
        long = ask(simulator.port, "/tokenize", sock=sock, prompt="word " * 100_000)
        assert long.json["count"] == 100_000
        truth = ask(simulator.port, "/truth", method="GET", sock=sock).json["requests"]
        assert [one["outcome"] for one in truth] == ["complete", "complete"]
        assert truth[0]["connection"] == truth[1]["connection"]
        answer = ask(simulator.port, sock=sock, fault="cut:1")
        assert (answer.end, len(answer.messages())) == ("eof", 2)
    with pytest.raises(ssl.SSLCertVerificationError):
        connect(simulator.port, ssl.create_default_context())
    with connect(simulator.port) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert read_answer(plain).end in ("eof", "reset")
    stale = start_simulator("--tls-cert", str(expired_certificate.cert), "--tls-key", str(expired_certificate.key))
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        connect(stale.port, ssl.create_default_context(cafile=str(expired_certificate.ca)))


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_the_end_of_stdin_ends_it_and_sigint_does_not(start_simulator: Start, loop: str) -> None:
    simulator = start_simulator("--loop", loop)
    simulator.process.send_signal(signal.SIGINT)
    assert ask(simulator.port).status == 200
    assert simulator.process.poll() is None
    assert simulator.stop() == 0


def test_sigterm_ends_it_without_a_word(start_simulator: Start) -> None:
    simulator = start_simulator("--no-stdin-watch")
    assert simulator.process.stdin
    simulator.process.stdin.close()
    assert ask(simulator.port).status == 200
    simulator.process.send_signal(signal.SIGTERM)
    assert simulator.process.wait(5) == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--fault", "nope"], "unknown fault 'nope'"),
        (["--fault-share", "2"], "--fault-share is 2.0"),
        (["--tls-cert", "/nowhere.pem"], "cannot use certificate /nowhere.pem"),
        (["--host", "192.0.2.1"], "cannot listen on 192.0.2.1:0"),
    ],
)
def test_a_wrong_option_is_one_sentence_and_exit_2(arguments: list[str], said: str) -> None:
    command = [sys.executable, "-m", "genbench.simulator", *arguments]
    found = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=10, check=False)
    assert (found.returncode, found.stdout) == (2, "")
    assert said in found.stderr
    assert found.stderr.count("\n") == 1


def test_help_names_every_option_and_fault() -> None:
    text = parser().format_help()
    for one in fields(SimulatorOptions):
        assert one.name.removesuffix("_s").replace("_", "-") in text
    assert all(name in text for name in KINDS)


def test_the_null_device_as_stdin_does_not_end_it() -> None:
    command = [sys.executable, "-m", "genbench.simulator"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        port = int(process.stdout.readline().rpartition(":")[2])
        assert ask(port).status == 200
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(5) == 0
