"""`genbench plan` and `profile --plan`: the same work for every server; and what a user can get wrong."""

import socket
from pathlib import Path
from typing import Any

import pytest

from tests.runs import Runner
from tests.simulator.process import Simulator
from tests.transport.raw_server import RawServer, read_request


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


WHAT = ("--model", "simulated-model", "--isl", "12", "--osl", "3", "--request-count", "20")


def test_one_plan_sent_twice_is_the_same_work(run: Runner, simulator: Simulator) -> None:
    made = run("plan", *WHAT, "--request-rate", "200", "--out", "plan.jsonl")
    assert made.code == 0, made.err
    ran = [run("profile", "--url", simulator.url, "--plan", "plan.jsonl") for _ in range(2)]
    assert [one.code for one in ran] == [0, 0], ran[0].err
    one, two = (each.header for each in ran)
    for key in ("bodies_sha256", "offsets_sha256", "dataset_sha256"):
        assert one[key] == two[key]
        assert one[key] in made.out.split()
    assert (one["salt"], one["config"]["load"]["request_rate"], one["config"]["workload"]["isl"]) == (
        two["salt"],
        200,
        "12",
    )
    due = [sorted(row["intended_ns"] for row in each.records) for each in ran]
    first, second = ([t - times[0] for t in times] for times in due)
    assert first == second
    assert len(first) == 30


def test_a_plan_asks_a_server_what_it_takes(run: Runner, start_simulator: Any) -> None:
    picky = start_simulator("--fault", "no_ignore_eos")
    made = run("plan", "--url", picky.url, "--osl", "3", "--request-count", "2", "--out", "plan.jsonl")
    assert made.code == 0, made.err
    assert "refuses ignore_eos" in made.err
    assert '"ignore_eos":true' not in (Path("plan.jsonl")).read_text().splitlines()[1]


@pytest.mark.parametrize(
    "words",
    [
        ("--input-file", "in.jsonl"),
        ("--dataset", "jsonl:in.jsonl", "--max-isl", "90", "--tokenizer"),
        ("--dataset", "jsonl:in.jsonl", "--osl", "3", "--ignore-eos"),
        ("--system-prompt", "@system.txt", "--isl", "9", "--osl", "2"),
        ("--isl-osl", "8:2@1,4:3@3", "--stages", "100@50ms,0@20ms,200@50ms"),
        ("--until-ci", "ttft.p95:90%", "--concurrency", "3", "--ramp-up", "100ms", "--osl", "2"),
        ("--dataset", "random", "--endpoint-type", "completions", "--isl", "9", "--osl", "2", "--tokenizer"),
        ("--batch-size", "3", "--endpoint-type", "embeddings", "--isl", "4"),
        (
            "--shared-prefix-tokens",
            "9",
            "--num-prefixes",
            "2",
            "--prefix-distribution",
            "zipf",
            "--isl",
            "9",
            "--osl",
            "2",
        ),
    ],
    ids=lambda words: words[0] + words[1],
)
def test_whatever_is_planned_can_be_sent(run: Runner, simulator: Simulator, bpe: Path, words: tuple[str, ...]) -> None:
    Path("in.jsonl").write_text('{"prompt": "one two", "max_tokens": 2}\n' * 3)
    Path("system.txt").write_text("@ is how this begins")
    more = (*words, str(bpe)) if words[-1] == "--tokenizer" else words
    made = run("plan", "--model", "simulated-model", "--request-count", "10", *more, "--out", "p.jsonl")
    assert made.code == 0, made.err
    ran = run("profile", "--url", simulator.url, "--plan", "p.jsonl")
    assert ran.code == 0, ran.err
    assert ran.summary["outcomes"] == {"ok": 10}
    assert ran.header["bodies_sha256"] in made.out


def test_the_key_is_in_no_message(run: Runner) -> None:
    body = b'{"error": "bad key Bearer sk-SECRETSECRET123"}'
    head = b"HTTP/1.1 401 Unauthorized\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)

    def refuse(sock: socket.socket) -> None:
        read_request(sock)
        sock.sendall(head + body)

    with RawServer(refuse) as server:
        url = f"http://127.0.0.1:{server.port}"
        ran = run("plan", "--url", url, "--model", "m", "--api-key", "sk-SECRETSECRET123", "--out", "p.jsonl")
    assert ran.code == 2
    assert "refuses the key" in ran.err
    assert "SECRET" not in ran.err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("plan", "--out", "p.jsonl"), "give --model, or --url"),
        (("plan", *WHAT, "--out", "there.jsonl"), "is there already"),
        (("plan", *WHAT, "--out", "no/such/p.jsonl"), "--out no/such/p.jsonl: no such file"),
        (("plan", "--model", "m", "--duration", "5", "--out", "p.jsonl"), "give --request-count"),
        (("plan", "--model", "m", "--turns", "2", "--request-count", "4", "--out", "p.jsonl"), "--history dataset"),
        (("plan", "--model", "m", "--tokenizer", "server", "--out", "p.jsonl"), "needs a server to ask"),
        (("profile", "--plan", "nowhere.jsonl"), "--plan nowhere.jsonl: no such file"),
        (("profile", "--plan", "there.jsonl"), "is no plan"),
        (("profile", "--plan", "good.jsonl", "--isl", "5"), "--isl is part of the plan in good.jsonl"),
        (("profile", "--plan", "good.jsonl", "--concurrency", "5"), "--concurrency is part of the plan"),
    ],
)
def test_wrong_use(run: Runner, words: tuple[str, ...], says: str) -> None:
    (Path("there.jsonl")).write_text("hello\n")
    assert run("plan", *WHAT, "--out", "good.jsonl").code == 0
    ran = run(*words)
    assert ran.code == 2, ran.err
    assert says in ran.err.splitlines()[-1]
    assert ran.err.splitlines()[-1].startswith("genbench: ")
    assert not (Path("p.jsonl")).exists()
