"""`genbench sweep` against simulators: the curve, what ends it, going on with it, and what it refuses."""

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
from tests.runs import Ran, Runner
from tests.simulator.process import Simulator

QUICK = ("--isl", "16", "--osl", "3", "--warmup", "1", "-n", "8", "--no-plots", "-q")
Sweeper = Callable[..., Ran]


@pytest.fixture(scope="module")
def fast() -> Iterator[Simulator]:
    process = Simulator("--ttft", "2ms", "--itl", "1ms")
    yield process
    process.stop()


@pytest.fixture
def sweep(run: Runner, tmp_path: Path) -> Sweeper:
    """Runs a sweep into `tmp_path`/s."""

    def call(*words: str) -> Ran:
        named = () if "--resume" in words else ("--artifact-dir", str(tmp_path), "--name", "s")
        ran = run("sweep", *words, *named)
        return Ran(ran.code, ran.out, ran.err, tmp_path / "s")

    return call


def document(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "sweep.json").read_text())
    return found


def places(folder: Path) -> list[str]:
    return [Path(point["folder"]).name for point in document(folder)["points"]]


def test_a_curve(sweep: Sweeper, fast: Simulator) -> None:
    ran = sweep("--url", fast.url, *QUICK, "-c", "1:4:x2", "--slo", "ttft.p95<5s", "--gpus", "2")
    assert ran.code == 0, ran.err
    found = document(ran.folder)
    assert places(ran.folder) == ["c1", "c2", "c4"]
    assert found["interrupted"] is False
    assert (found["by"], found["gpus"], found["simulated"], found["model"]) == (
        "concurrency", 2, False, "simulated-model",
    )  # fmt: skip
    for point in found["points"]:
        summary = json.loads((ran.folder / point["folder"] / "summary.json").read_text())
        assert {name: point[name] for name in ("metrics", "run", "outcomes", "slo", "verdict")} == {
            name: summary[name] for name in ("metrics", "run", "outcomes", "slo", "verdict")
        }
        assert point["outcomes"] == {"ok": 8}
        assert point["seconds"] > 0
    lines = ran.out.splitlines()
    assert [line.split()[0] for line in lines[2:5]] == ["1", "2", "4"]
    assert all(f"- {sentence}" in lines for sentence in found["analysis"]["sentences"])
    assert found["analysis"]["gpus"] == 2
    assert lines[-2] == f"files: {ran.folder}/ (begin with sweep.md)"
    assert lines[-1].startswith("again: genbench sweep --url http://")
    assert lines[-1].endswith("--concurrency 1:4:x2 --gpus 2")
    assert (ran.folder / "sweep.csv").read_text().startswith("by,load,group,repeat,metric,unit,stat,value\n")
    for line in lines[:5]:
        assert line in (ran.folder / "sweep.md").read_text()
    assert ran.err == ""


def test_json_alone_and_the_lowest_load_decides(sweep: Sweeper, fast: Simulator) -> None:
    ran = sweep("--url", fast.url, *QUICK, "--request-rate", "50,60", "--slo", "ttft.p95<1ms", "--json")
    assert ran.code == 1
    assert json.loads(ran.out) == document(ran.folder)
    assert [point["slo"][0]["passed"] for point in json.loads(ran.out)["points"]] == [False, False]


def test_pairs_are_curves_and_repeats_come_last(sweep: Sweeper, fast: Simulator) -> None:
    words = [word for word in QUICK if word not in ("--isl", "16", "--osl", "3")]
    ran = sweep("--url", fast.url, *words, "-c", "1,2", "--isl-osl", "16:3,32:2", "--repeats", "2")
    assert ran.code == 0, ran.err
    assert places(ran.folder) == [
        "c1-16x3", "c1-16x3-2", "c2-16x3", "c2-16x3-2", "c1-32x2", "c1-32x2-2", "c2-32x2", "c2-32x2-2",
    ]  # fmt: skip
    rows = [line.split()[:3] for line in ran.out.splitlines()[2:10]]
    assert [row[0] for row in rows] == ["16:3", "16:3", "32:2", "32:2"] * 2
    assert [row[2] for row in rows[4:]] == ["#2"] * 4
    lengths = {point["group"]: point["metrics"]["osl"]["mean"] for point in document(ran.folder)["points"]}
    assert lengths == {"16:3": 3, "32:2": 2}


def test_auto_ends_where_batching_does(sweep: Sweeper, start_simulator: Any) -> None:
    """Two at a time, 3 ms each step: from 2 on, or from 4 where the client's own time matters, more brings nothing."""
    server = start_simulator("--step-base", "3ms", "--step-per-sequence", "0", "--max-batch", "2")
    words = ("--isl", "8", "--osl", "4", "--warmup", "1", "-n", "60", "--no-plots", "-q")
    ran = sweep("--url", server.url, *words)
    assert ran.code == 0, ran.err
    measured = places(ran.folder)
    assert measured == [f"c{2**k}" for k in range(len(measured))]
    assert measured[-1] in ("c8", "c16", "c32")
    (said,) = document(ran.folder)["left_out"]
    assert said.startswith("concurrency auto ended: doubling the load changed throughput by ")


def test_a_saturated_load_ends_early_and_higher_ones_are_left_out(
    sweep: Sweeper, start_simulator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One at a time, 13 ms each: some 75 req/s at most."""
    monkeypatch.setattr(saturation, "LEAST_S", 1.0)
    monkeypatch.setattr(saturation, "LATENCIES", 5)
    server = start_simulator("--step-base", "6ms", "--max-batch", "1", "--prefill-tps", "100000")
    words = ("--isl", "8", "--osl", "2", "--warmup", "1", "-d", "20s", "--no-plots", "-q", "--arrival", "constant")
    ran = sweep("--url", server.url, *words, "--request-rate", "150,160,170")
    assert ran.code == 0, ran.err
    (point,) = document(ran.folder)["points"]
    assert point["saturated"].startswith("saturated: in flight grew from ")
    assert point["run"]["duration"]["value"] < 15
    assert document(ran.folder)["left_out"] == [
        "160, 170 req/s left out: at 150 req/s the server was saturated already"
    ]
    assert " sat\n" in ran.out
    assert "sat: in flight grew without bound" in ran.out


def test_a_budget_is_kept(sweep: Sweeper, fast: Simulator) -> None:
    words = ("--isl", "16", "--osl", "3", "--warmup", "1", "-d", "500ms", "--no-plots", "-q")
    began = time.monotonic()
    ran = sweep("--url", fast.url, *words, "-c", "1:20:+1", "--budget", "3s")
    assert time.monotonic() - began < 3.5  # what is written after the last point
    found = document(ran.folder)
    assert 1 <= len(found["points"]) <= 5
    (said,) = found["left_out"]
    assert said.startswith("left out by the budget of 3 s: ")
    assert "concurrency 20 (about " in said
    assert ran.code == 0
    assert ran.out.splitlines()[-1] == f"go on: genbench sweep --resume {ran.folder}"


def test_the_budget_cuts_what_is_running(sweep: Sweeper, fast: Simulator) -> None:
    words = ("--isl", "16", "--osl", "3", "--warmup", "1", "-d", "60s", "--no-plots", "-q")
    ran = sweep("--url", fast.url, *words, "-c", "1,2", "--budget", "1s")
    assert ran.code == 1  # nothing was measured to its end
    assert document(ran.folder)["points"] == []
    assert document(ran.folder)["left_out"] == [
        "left out by the budget of 1 s: concurrency 1 (cut short, see points/c1), concurrency 2"
    ]


def started(folder: Path, url: str, *words: str) -> "subprocess.Popen[str]":
    """A sweep as a process of its own."""
    command = [sys.executable, "-m", "genbench", "sweep", "--url", url, *QUICK, *words]
    command += ["--artifact-dir", str(folder), "--name", "s"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def rows(process: "subprocess.Popen[str]", count: int) -> None:
    """Read the head and so many lines of the table as they come."""
    assert process.stdout is not None
    for _ in range(2 + count):
        assert process.stdout.readline()


def test_ctrl_c_keeps_what_there_is_and_resume_does_the_rest(sweep: Sweeper, fast: Simulator, tmp_path: Path) -> None:
    process = started(tmp_path, fast.url, "-c", "1,2,4", "-n", "150")
    rows(process, 1)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 130
    assert f"go on: genbench sweep --resume {tmp_path / 's'}" in out
    found = document(tmp_path / "s")
    assert found["interrupted"] is True
    assert places(tmp_path / "s") == ["c1"]
    salt = json.loads((tmp_path / "s" / "points" / "c1" / "run.json").read_text())["salt"]
    ran = sweep("--resume", str(tmp_path / "s"), "-q", "--no-plots")
    assert ran.code == 0, ran.err
    assert places(tmp_path / "s") == ["c1", "c2", "c4"]
    assert all(point["outcomes"] == {"ok": 150} for point in document(tmp_path / "s")["points"])
    assert document(tmp_path / "s")["started"] == found["started"]
    assert json.loads((tmp_path / "s" / "points" / "c1" / "run.json").read_text())["salt"] == salt


def test_kill_9_and_resume(sweep: Sweeper, fast: Simulator, tmp_path: Path) -> None:
    process = started(tmp_path, fast.url, "--request-rate", "40,50,60", "-n", "30", "--cool-down", "1s")
    rows(process, 2)
    process.kill()
    process.communicate()
    folder = tmp_path / "s"
    assert places(folder) == ["r40", "r50"]
    before = {name: (folder / "points" / name / "requests.jsonl").read_bytes() for name in ("r40", "r50")}
    ran = sweep("--resume", str(folder), "-q", "--no-plots")
    assert ran.code == 0, ran.err
    assert places(folder) == ["r40", "r50", "r60"]
    assert document(folder)["options"]["own"] == {"cool_down": "1s"}
    for name, records in before.items():
        assert (folder / "points" / name / "requests.jsonl").read_bytes() == records
    kept = (folder / "sweep.json").read_bytes()
    other = sweep("--resume", str(folder), "-q", "--isl", "20")
    assert other.code == 2
    assert "was measured with --isl 16, not 20" in other.err
    assert (folder / "sweep.json").read_bytes() == kept
    wrong = sweep("--resume", str(folder), "-q", "--request-rate", "40,50,60,70")
    assert wrong.code == 0
    assert places(folder) == ["r40", "r50", "r60", "r70"]


def test_the_example_reads_it(sweep: Sweeper, fast: Simulator) -> None:
    ran = sweep("--url", fast.url, *QUICK, "-c", "1,2", "--slo", "ttft.p95<5s")
    example = Path(__file__).parent.parent.parent / "examples" / "sweep.py"
    done = subprocess.run([sys.executable, str(example), str(ran.folder)], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("concurrency 2: ")


def test_report_makes_everything_anew(sweep: Sweeper, fast: Simulator, run: Runner) -> None:
    ran = sweep("--url", fast.url, *QUICK, "-c", "1,2")
    before = {name: (ran.folder / name).read_bytes() for name in ("sweep.json", "sweep.csv", "sweep.md")}
    for name in ("sweep.csv", "sweep.md", "points/c1/summary.json"):
        (ran.folder / name).unlink()
    again = run("report", str(ran.folder), "--no-plots")
    assert again.code == 0
    assert {name: (ran.folder / name).read_bytes() for name in before} == before
    assert (ran.folder / "points" / "c1" / "summary.json").is_file()
    assert again.out.splitlines()[:4] == ran.out.splitlines()[:4]
    assert json.loads(run("report", str(ran.folder), "--no-plots", "--json").out) == document(ran.folder)
    refused = run("report", str(ran.folder), str(ran.folder / "points" / "c1"))
    assert refused.code == 2
    assert "is a sweep; report it alone" in refused.err


def test_figures_and_page(sweep: Sweeper, fast: Simulator) -> None:
    words = [word for word in QUICK if word != "--no-plots"]
    ran = sweep("--url", fast.url, *words, "-c", "1,2,4")
    assert ran.code == 0, ran.err
    assert (ran.folder / "report.html").stat().st_size > 10_000
    assert (ran.folder / "plots" / "throughput_by_load.csv").is_file()
    assert "(begin with report.html)" in ran.out


def test_a_drawing_that_fails_costs_no_sweep(sweep: Sweeper, fast: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> str:
        raise RuntimeError("no ink")

    monkeypatch.setattr("genbench.curves.draw", fails)
    words = [word for word in QUICK if word != "--no-plots"]
    ran = sweep("--url", fast.url, *words, "-c", "1")
    assert ran.code == 0
    assert f"no pictures (RuntimeError: no ink); draw with: genbench report {ran.folder}" in ran.out
    assert "(begin with sweep.md)" in ran.out


def test_a_server_that_is_not_there_leaves_no_folder(sweep: Sweeper) -> None:
    for more in ((), ("--model", "x")):
        ran = sweep("--url", "http://127.0.0.1:9", *QUICK, "-c", "1,2", *more)
        assert ran.code == 3
        assert ran.err == "genbench: no server at 127.0.0.1:9 (connection refused); start it or check --url\n"
        assert not ran.folder.exists()


def test_progress_is_said_on_stderr(sweep: Sweeper, fast: Simulator) -> None:
    ran = sweep("--url", fast.url, *(word for word in QUICK if word != "-q"), "-c", "1,2")
    lines = ran.err.splitlines()
    assert lines[0] == "point 1 of 2: concurrency 1"
    assert any(line.startswith("point 2 of 2: concurrency 2, about ") for line in lines)
    assert sum(line.startswith("chat on ") for line in lines) == 2
    assert sum(line.startswith("note: ignore_eos") for line in lines) == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("-c", "1,2", "--request-rate", "1,2"), "are both ranges; sweep one of them"),
        (("-c", "1,2", "--request-rate", "4"), "--concurrency 1,2 is the cap where there is --request-rate"),
        (("-c", ""), "--concurrency is empty"),
        (("-c", "4,2"), "2 after 4"),
        (("--request-rate", "1:8:2"), "the step is x2 (times) or +2 (plus)"),
        (("-c", "1,2", "--repeats", "0"), "--repeats 0: must be a whole number from 1 on"),
        (("-c", "1,2", "--gpus", "some"), "--gpus some: must be a whole number"),
        (("-c", "1,2", "--budget", "soon"), "--budget soon: must be a time like 30, 500ms or 15m"),
        (("-c", "1,2", "--budget", "0"), "--budget 0: must be above 0 s"),
        (("-c", "1,2", "--cool-down", "-1s"), "--cool-down -1s: must be at least 0 s"),
        (("-c", "1,2", "--ramp", "1:5:9s"), "--ramp 1:5:9s says itself how the load goes"),
        (("-c", "1,2", "--slo", "ttfft.p95<5ms"), "unknown metric 'ttfft' in the SLO"),
        (("--resume", "/nowhere"), "/nowhere is no sweep: cannot read sweep.json"),
    ],
)
def test_wrong_use_is_one_sentence_and_code_2(words: tuple[str, ...], says: str, run: Runner) -> None:
    ran = run("sweep", "--url", "http://127.0.0.1:9", *words)
    assert ran.code == 2
    assert ran.out == ""
    assert ran.err.count("\n") == 1
    assert says in ran.err


def test_profile_points_to_sweep(run: Runner) -> None:
    assert "use genbench sweep --concurrency 1,2,4" in run("profile", "-c", "1,2,4").err


def test_help(run: Runner) -> None:
    ran = run("sweep", "--help")
    assert ran.code == 0
    for flag in ("--repeats", "--budget", "--resume", "--cool-down", "--gpus", "--request-rate RANGE", "--slo"):
        assert flag in ran.out
    assert "sweep" in run("--help").out
