"""`genbench run-ab` against two simulators: its order, its comparison, going on with it, and what it refuses."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from genbench.studies import run_ab
from tests.runs import Runner
from tests.simulator.process import Simulator

QUICK = ("--isl", "16", "--osl", "4", "--warmup", "1", "-n", "4", "--no-plots", "--force")


class Pair(NamedTuple):
    """Two simulators; B's gaps are four times as long."""

    a: Simulator
    b: Simulator

    @property
    def words(self) -> tuple[str, ...]:
        return "--a", self.a.url, "--b", self.b.url


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    found = Pair(Simulator("--ttft", "2ms", "--itl", "4ms"), Simulator("--ttft", "2ms", "--itl", "16ms"))
    yield found
    for one in found:
        one.stop()


def started(folder: Path, pair: Pair, *words: str) -> "subprocess.Popen[str]":
    """One as a process of its own."""
    command = [sys.executable, "-m", "genbench", "run-ab", *pair.words, *QUICK, *words]
    command += ["--artifact-dir", str(folder), "--name", "s"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def until(process: "subprocess.Popen[str]", beginning: str) -> list[str]:
    """Read its progress up to a line; all lines so far."""
    assert process.stderr is not None
    lines: list[str] = []
    while not (lines and lines[-1].startswith(beginning)):
        line = process.stderr.readline()
        assert line, lines
        lines.append(line)
    return lines


class Whole(NamedTuple):
    """What a run of three rounds left."""

    code: int
    out: str
    err: str
    folder: Path


@pytest.fixture(scope="module")
def whole(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    folder = tmp_path_factory.mktemp("whole")
    process = started(folder, pair, "--rounds", "3", "--fail-if", "tpot.p50 worse 10%", "--seed", "40")
    out, err = process.communicate(timeout=50)
    return Whole(process.returncode, out, err, folder / "s")


def document(folder: Path, name: str = "ab.json") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / name).read_text())
    return found


def places(folder: Path) -> list[str]:
    return [Path(block["folder"]).name for block in document(folder)["blocks"]]


def header(folder: Path, block: str) -> dict[str, Any]:
    return document(folder / "blocks" / block, "run.json")


def first_sent_ns(folder: Path) -> int:
    """When a block's first request was sent."""
    return min(int(json.loads(line)["sent_ns"]) for line in (folder / "requests.jsonl").read_text().splitlines())


def test_blocks_take_turns_and_a_round_sends_the_same(whole: Whole, pair: Pair) -> None:
    assert places(whole.folder) == ["01-a", "01-b", "02-b", "02-a", "03-a", "03-b"]
    found = document(whole.folder)
    assert (found["kind"], found["schema"], found["interrupted"], found["left_out"]) == ("ab", 1, False, [])
    assert found["servers"]["b"] == {"url": pair.b.url, "model": "simulated-model"}
    heads = {name: header(whole.folder, name) for name in places(whole.folder)}
    assert (sent := [first_sent_ns(whole.folder / "blocks" / name) for name in places(whole.folder)]) == sorted(sent)
    for k in (1, 2, 3):
        one, other = heads[f"{k:02d}-a"], heads[f"{k:02d}-b"]
        assert one["dataset_sha256"] == other["dataset_sha256"]
        assert one["seed"] == other["seed"] == 40 + k
        assert one["salt"] != other["salt"]
        assert one["config"]["target"]["url"] == [pair.a.url]
        assert other["config"]["target"]["url"] == [pair.b.url]
        assert one["point"] | {"seconds": 0} == {"side": "a", "round": k, "seconds": 0}
    assert len({head["dataset_sha256"] for head in heads.values()}) == 3
    assert len({head["salt"] for head in heads.values()}) == 6


def test_it_ends_in_a_comparison_of_engines(whole: Whole, pair: Pair) -> None:
    assert whole.code == 1  # the rule of --fail-if
    found = document(whole.folder, "compare.json")
    assert found["says"] == "engines"
    assert [one["kind"] for one in found["subjects"]] == ["rounds", "rounds"]
    assert [one["name"] for one in found["subjects"]] == [pair.a.url[7:], pair.b.url[7:]]
    (comparison,) = found["comparisons"]
    (row,) = [row for row in comparison["rows"] if (row["metric"], row["stat"]) == ("tpot", "p50")]
    assert 1.5 < row["ratio"] < 6
    assert row["p"] < 0.05
    assert found["gates"][0]["passed"] is False
    assert whole.out.startswith(("these engines differ: B is ", "SIMULATED: these engines differ: B is "))
    assert found["sentences"][1] in whole.out.replace("\n  ", " ")
    assert "FAIL  tpot.p50 worse 10%" in whole.out
    assert whole.out.splitlines()[-2] == f"files: {whole.folder}/"
    assert whole.out.splitlines()[-1].startswith("again: genbench run-ab --isl 16")
    assert (whole.folder / "compare.md").is_file()


def test_what_is_the_same_is_announced_once(whole: Whole) -> None:
    lines = whole.err.splitlines()
    assert sum(line.startswith("chat on ") for line in lines) == 6
    assert sum(line.startswith(("will send", "1 at a time", "note: ignore_eos")) for line in lines) == 3
    assert [line.partition(":")[0] for line in lines if line.startswith("round ")] == [
        "round 1 of 3, A", "round 1 of 3, B", "round 2 of 3, B", "round 2 of 3, A", "round 3 of 3, A",
        "round 3 of 3, B",
    ]  # fmt: skip


def test_the_folder_is_compared_again(whole: Whole, run: Runner, tmp_path: Path) -> None:
    ran = run("compare", str(whole.folder), "--force", "--no-plots", "--out", str(tmp_path / "out"))
    assert ran.code == 0  # no rule now
    before, after = document(whole.folder, "compare.json"), document(tmp_path / "out", "compare.json")
    assert after["comparisons"] == before["comparisons"]
    assert after["sentences"] == before["sentences"]
    assert f"is an A/B; its files are made anew with genbench compare {whole.folder}" in (
        run("report", str(whole.folder)).err
    )
    beside = run("compare", str(whole.folder), str(whole.folder / "blocks" / "01-a"))
    assert beside.code == 2
    assert "is an A/B, which has both sides; compare it by itself" in beside.err


def test_invalid_rounds_are_left_out_unless_forced(whole: Whole, run: Runner, tmp_path: Path) -> None:
    """Half of the answers of a block are made failures, which is an error rate of 50 %."""
    copy = tmp_path / "copy"
    subprocess.run(["cp", "-r", str(whole.folder), str(copy)], check=True)
    log = copy / "blocks" / "02-b" / "requests.jsonl"
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    for row in rows[::2]:
        row["outcome"] = "truncated"
    log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    refused = run("compare", str(copy), "--no-plots", "--out", str(tmp_path / "out"))
    assert refused.code == 2
    assert "of 3 rounds have an INVALID block (" in refused.err
    assert refused.err.endswith("run it again, or compare it anyway with --force\n")
    assert run("compare", str(copy), "--force", "--no-plots", "--out", str(tmp_path / "out")).code == 0
    assert document(tmp_path / "out", "compare.json")["comparisons"][0]["runs"] == [3, 3]
    resumed = run("run-ab", "--resume", str(copy), "-q", "--no-plots")  # nothing is left to measure
    assert resumed.code == 2
    assert resumed.err == refused.err
    assert f"files: {copy}/" in resumed.out


def test_kill_9_and_resume(pair: Pair, run: Runner, tmp_path: Path) -> None:
    process = started(tmp_path, pair, "--rounds", "3", "--cool-down", "1s", "--min-effect", "5%")
    until(process, "round 2 of 3, B")
    process.kill()
    process.communicate()
    folder = tmp_path / "s"
    assert places(folder) == ["01-a", "01-b", "02-b"]
    before = {name: (folder / "blocks" / name / "requests.jsonl").read_bytes() for name in places(folder)}
    ran = run("run-ab", "--resume", str(folder), "-q", "--no-plots", "--force", "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out) == document(folder, "compare.json")
    assert json.loads(ran.out)["min_effect"] == 0.05
    assert places(folder) == ["01-a", "01-b", "02-b", "02-a", "03-a", "03-b"]
    for name, records in before.items():
        assert (folder / "blocks" / name / "requests.jsonl").read_bytes() == records
    kept = (folder / "ab.json").read_bytes()
    other = run("run-ab", "--resume", str(folder), "-q", "--isl", "20")
    assert other.code == 2
    assert "was measured with --isl 16, not 20" in other.err
    assert (folder / "ab.json").read_bytes() == kept


def test_ctrl_c_keeps_what_there_is(pair: Pair, tmp_path: Path) -> None:
    process = started(tmp_path, pair, "--rounds", "5")
    until(process, "round 1 of 5, A")
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 130
    assert document(tmp_path / "s")["interrupted"] is True
    assert out.splitlines()[-1] == f"go on: genbench run-ab --resume {tmp_path / 's'}"


def test_a_server_that_goes_away_ends_it_with_the_complete_rounds(
    pair: Pair, run: Runner, start_simulator: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start_simulator("--ttft", "2ms", "--itl", "2ms")
    said = run_ab.line

    def line(entry: dict[str, Any], rounds: int) -> str:
        if (entry["round"], entry["side"]) == (3, "b"):
            server.process.kill()
            server.process.wait()
        return said(entry, rounds)

    monkeypatch.setattr(run_ab, "line", line)
    words = ("--rounds", "9", "--wait-ready", "200ms", "--artifact-dir", str(tmp_path), "--name", "s")
    ran = run("run-ab", "--a", pair.a.url, "--b", server.url, *QUICK, "-q", *words)
    assert ran.code == 3
    assert places(tmp_path / "s") == ["01-a", "01-b", "02-b", "02-a", "03-a", "03-b"]
    (left_out,) = document(tmp_path / "s")["left_out"]
    assert left_out.startswith("it ended early: no server at 127.0.0.1:")
    assert f"- {left_out}" in ran.out.splitlines()
    assert ran.err == f"genbench: {left_out.removeprefix('it ended early: ')}\n"
    assert document(tmp_path / "s", "compare.json")["comparisons"][0]["runs"] == [3, 3]


def test_the_budget_leaves_rounds_out(pair: Pair, run: Runner, tmp_path: Path) -> None:
    words = ("--rounds", "200", "--budget", "1s", "--artifact-dir", str(tmp_path), "--name", "s")
    ran = run("run-ab", *pair.words, *QUICK, "-q", *words)
    found = document(tmp_path / "s")
    assert 1 <= len(found["blocks"]) < 50
    (left_out,) = found["left_out"]
    assert left_out.startswith(("left out by the budget of 1 s: rounds ", "cut short by the budget of 1 s: blocks/"))
    compared = (tmp_path / "s" / "compare.json").is_file()
    assert ran.code == (0 if compared else 1)
    assert ran.err.startswith("" if compared else "genbench: no comparison: ")
    assert ran.out.splitlines()[-1].startswith("go on: genbench run-ab --resume ")


@pytest.mark.parametrize("gone", ["a", "b"])
def test_both_servers_are_asked_before_any_load(gone: str, pair: Pair, run: Runner, tmp_path: Path) -> None:
    pair.a.clear()
    urls = {"a": pair.a.url, "b": pair.b.url, gone: "http://127.0.0.1:9"}
    words = ("--a", urls["a"], "--b", urls["b"], *QUICK, "-n", "40", "-q", "--artifact-dir", str(tmp_path / "s"))
    ran = run("run-ab", *words)
    assert ran.code == 3
    assert ran.err == (
        f"genbench: {gone.upper()}: no server at 127.0.0.1:9 (connection refused); start it or check --{gone}\n"
    )
    assert not (tmp_path / "s").exists()
    assert len(pair.a.truth()) < 10  # the preflight's small requests at most


def test_a_model_that_one_does_not_serve(pair: Pair, run: Runner, tmp_path: Path) -> None:
    words = ("--model-b", "other", "--artifact-dir", str(tmp_path / "s"))
    ran = run("run-ab", *pair.words, *QUICK, "-q", *words)
    assert ran.code == 2
    assert ran.err.startswith("genbench: B: 127.0.0.1:")
    assert ran.err.endswith("it lists simulated-model: choose with --model-b\n")
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "run-ab needs two servers and --a and --b are not given"),
        (("--a", "http://127.0.0.1:9"), "and --b is not given; name them with --a URL --b URL"),
        (("--a", "x", "--b", "y", "--url", "http://z"), "--url http://z: run-ab has two servers"),
        (("--a", "x", "--b", "y", "--rounds", "2"), "--rounds 2: must be from 3 to 1000"),
        (("--a", "x", "--b", "y", "--rounds", "ten"), "--rounds ten: must be a whole number"),
        (("--a", "x", "--b", "y", "--budget", "soon"), "--budget soon: must be a time like 30, 500ms or 15m"),
        (
            ("--a", "x", "--b", "y", "-d", "5m", "--budget", "1m"),
            "--budget 60 s: 3 rounds of two blocks of 300 s take at least 1800 s, and fewer are not compared",
        ),
        (("--a", "x", "--b", "y", "--cool-down", "-1s"), "--cool-down -1s: must be at least 0 s"),
        (("--a", "x", "--b", "y", "--fail-if", "ttft.p95 slow"), "--fail-if 'ttft.p95 slow'"),
        (("--a", "x", "--b", "y", "--min-effect", "none"), "--min-effect none: must be a percentage"),
        (("--a", "x", "--b", "y", "--slo", "ttfft.p95<5ms"), "unknown metric 'ttfft' in the SLO"),
        (("--a", "x", "--b", "y", "--plan", "p.jsonl"), "--plan p.jsonl: run-ab makes a plan for each round"),
        (("--resume", "/nowhere"), "/nowhere is no A/B: cannot read ab.json"),
        (("--resume", "/nowhere", "--name", "x"), "/nowhere is no A/B"),
    ],
)
def test_wrong_use_is_one_sentence_and_code_2(words: tuple[str, ...], says: str, run: Runner) -> None:
    ran = run("run-ab", *words)
    assert ran.code == 2
    assert ran.out == ""
    assert ran.err.count("\n") == 1
    assert says in ran.err


def test_help(run: Runner) -> None:
    ran = run("run-ab", "--help")
    assert ran.code == 0
    for flag in ("--a URL, --b URL", "--rounds", "--budget", "--resume", "--cool-down", "--fail-if", "--concurrency"):
        assert flag in ran.out
    assert "--url" not in ran.out.partition("Examples:")[0]
    assert "run-ab" in run("--help").out
