"""`genbench capacity` on a modelled engine: the answer, its files, its budget, going on after a kill."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from genbench.engine import saturation
from genbench.studies import probe, search
from genbench.studies.capacity import Capacity
from genbench.studies.search import Found
from tests.runs import Ran, Runner
from tests.simulator.process import Simulator

# A batch of 4, steps of 10 ms, 4 tokens: a request takes 40 ms alone, and 4 of them end in about 40 ms: 100 req/s.
ENGINE = ("--preset", "small", "--max-batch", "4", "--step-base", "10ms", "--step-noise", "0")
SMALL = ("--isl", "16", "--osl", "4", "-q", "--cool-down", "1s", "--no-plots")
PROMISE = ("--slo", "ttft.p90<75ms")
LEAST, MOST = 45, 110  # where the limit is, in a short search on a busy machine
Searcher = Callable[..., Ran]
QUICK = """
from genbench.engine import saturation
from genbench.studies import probe, search
probe.LEAST_S = saturation.LEAST_S = 1.0
probe.LATENCIES = saturation.LATENCIES = 10
search.SHORTEST_S, search.SHORTEST = 1.5, 10
"""


@pytest.fixture(scope="module")
def batching() -> Iterator[Simulator]:
    process = Simulator(*ENGINE)
    yield process
    process.stop()


@pytest.fixture
def capacity(run: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Searcher:
    """Searches into `tmp_path`/c, with probes of a second instead of ten."""
    monkeypatch.setattr(probe, "LEAST_S", 1.0)
    monkeypatch.setattr(saturation, "LEAST_S", 1.0)
    monkeypatch.setattr(probe, "LATENCIES", 10)
    monkeypatch.setattr(saturation, "LATENCIES", 10)
    monkeypatch.setattr(search, "SHORTEST_S", 1.5)
    monkeypatch.setattr(search, "SHORTEST", 10)

    def call(*words: str) -> Ran:
        named = () if "--resume" in words else ("--artifact-dir", str(tmp_path), "--name", "c")
        ran = run("capacity", *words, *named)
        return Ran(ran.code, ran.out, ran.err, tmp_path / "c")

    return call


def document(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "capacity.json").read_text())
    return found


def test_an_answer(capacity: Searcher, batching: Simulator) -> None:
    ran = capacity("--url", batching.url, *SMALL, *PROMISE, "--budget", "20s")
    assert ran.code == 0, ran.err
    found = document(ran.folder)
    answer = found["answer"]
    assert LEAST < answer["value"] < MOST
    assert answer["ci95"][0] <= answer["value"] <= answer["ci95"][1]
    first = ran.out.splitlines()[0]
    assert first == found["sentences"][0]
    assert first.startswith(f"holds {answer['value']:.3g} req/s (")
    assert "with TTFT p90 < 75 ms; at " in first
    assert "ttft.p90<75ms" in ran.out  # the block of the run that confirms it
    assert found["alone"]["run"]["concurrency_max"]["value"] == 1
    assert found["ended"]
    assert {entry["verdict"] for entry in found["probes"]} >= {"kept", "missed"}
    assert found["probes"][-1]["confirmation"]
    seeds = []
    for entry in found["probes"]:
        header = json.loads((ran.folder / entry["folder"] / "run.json").read_text())
        assert header["stopped_at"] == entry["why"]
        assert header["config"]["load"]["request_rate"] == entry["value"]
        seeds.append(header["config"]["seed"])
    assert len(set(seeds)) == len(seeds)
    assert sum(entry["seconds"] for entry in found["probes"]) < 24


def test_by_concurrency_and_json(capacity: Searcher, batching: Simulator) -> None:
    """A batch of 4: a fifth waits for a whole answer of 40 ms, so a promise of 30 ms holds up to 4."""
    ran = capacity(
        "--url", batching.url, *SMALL, "--slo", "ttft.p90<30ms", "--by", "concurrency", "--budget", "8s", "--json"
    )
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    assert found == document(ran.folder)
    assert found["answer"]["value"] in (3, 4)
    assert found["sentences"][0].startswith(f"holds concurrency {found['answer']['value']:g} ")


def test_a_promise_that_even_one_request_misses(capacity: Searcher, batching: Simulator) -> None:
    ran = capacity("--url", batching.url, *SMALL, "--slo", "ttft.p90<5ms", "--budget", "20s")
    assert ran.code == 1
    assert ran.out.startswith("holds no load with TTFT p90 < 5 ms: even one request at a time misses it: TTFT p90 was ")
    assert document(ran.folder)["probes"] == []


def test_per_request_up_to_the_highest_allowed(capacity: Searcher, batching: Simulator) -> None:
    ran = capacity(
        "--url", batching.url, *SMALL, "--goodput", "ttft:200 e2el:2000", "--attainment", "90%", "--low", "10",
        "--high", "20", "--budget", "8s",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert ran.out.startswith("holds at least 20 req/s with TTFT p90 <= 200 ms, latency p90 <= 2000 ms, ")
    found = document(ran.folder)
    assert found["slo"] == ["ttft.p90<=200ms", "request_latency.p90<=2000ms", "slo_attainment>=90%"]
    assert [entry["value"] for entry in found["probes"]] == [10, 20, 20]
    assert found["probes"][-1]["run"]["slo_attainment"]["value"] == 100
    assert found["answer"]["confirmed"]


def test_killed_and_resumed(capacity: Searcher, batching: Simulator, tmp_path: Path) -> None:
    """kill -9 in the middle of a probe; --resume keeps what ended and comes to an answer that agrees."""
    words = ["capacity", "--url", batching.url, *SMALL, *PROMISE, "--budget", "10s"]
    words += ["--artifact-dir", str(tmp_path), "--name", "c"]
    script = f"{QUICK}\nfrom genbench.cli.app import main\nmain({words!r})"
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 20
    while not (tmp_path / "c" / "capacity.json").exists() or len(document(tmp_path / "c")["probes"]) < 2:
        assert time.monotonic() < until
        time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = document(tmp_path / "c")
    assert not before["ended"]
    stamps = {
        entry["folder"]: (tmp_path / "c" / entry["folder"] / "run.json").stat().st_mtime_ns
        for entry in before["probes"]
    }
    ran = capacity("--resume", str(tmp_path / "c"))
    assert ran.code == 0, ran.err
    found = document(tmp_path / "c")
    assert found["ended"]
    assert found["started"] == before["started"]
    kept = found["probes"][: len(before["probes"])]
    assert [entry["value"] for entry in kept] == [entry["value"] for entry in before["probes"]]
    assert {
        entry["folder"]: (tmp_path / "c" / entry["folder"] / "run.json").stat().st_mtime_ns for entry in kept
    } == stamps
    assert LEAST < found["answer"]["value"] < MOST
    assert sum(entry["seconds"] for entry in found["probes"]) < 24


def test_a_server_that_dies(capacity: Searcher, start_simulator: Callable[..., Simulator]) -> None:
    server = start_simulator(*ENGINE)
    words = ["--url", server.url, *SMALL, *PROMISE, "--budget", "30s", "--wait-ready", "1s"]
    seen: list[str] = []

    told = Capacity._told

    def and_dies(self: Capacity, found: Found) -> None:
        told(self, found)
        seen.append("told")
        if len(seen) == 1:
            server.process.kill()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Capacity, "_told", and_dies)
        ran = capacity(*words)
    assert ran.code == 3
    found = document(ran.folder)
    assert len(found["probes"]) == 1
    assert any(note.startswith("the search ended early: ") for note in found["notes"])
    assert ran.out.startswith("holds ")
    assert f"go on: genbench capacity --resume {ran.folder}" in ran.out
