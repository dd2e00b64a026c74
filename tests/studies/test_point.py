"""Points of a study against a simulator: what is measured once, what anew, and a server that goes away."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from genbench import config
from genbench.engine import judges
from genbench.engine.judge import Stop
from genbench.engine.judges import Deadline, Gone, Together
from genbench.errors import ConfigError, TargetError
from genbench.studies import quiet
from genbench.studies.point import Points, Restarted, name
from genbench.studies.profile import Screen
from genbench.types import Outcome, Record
from tests.simulator.process import Simulator

FAST = {"isl": "16", "osl": "3", "request_count": "6", "warmup": "1"}


@pytest.fixture(scope="module")
def fast() -> Iterator[Simulator]:
    process = Simulator("--ttft", "2ms", "--itl", "1ms")
    yield process
    process.stop()


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("GENBENCH_CALIBRATION", str(tmp_path / "calibration.json"))


def points(folder: Path, url: str | None, said: list[str] | None = None, **named: Any) -> Points:
    given = config.load({**FAST, **({"url": (url,)} if url else {}), **named})
    heard: list[str] = [] if said is None else said
    return Points(given, folder, Screen(heard.append, None), cool_down_s=2.0, wait_ready_s=1.0)


class Once:
    """A judge that does something at its first look."""

    def __init__(self, act: Callable[[], object]) -> None:
        self._act: Callable[[], object] | None = act

    def add(self, record: Record) -> None:
        pass

    def look(self, now_ns: int, in_flight: int) -> Stop | None:
        act, self._act = self._act, None
        if act is not None:
            act()
        return None


@pytest.mark.parametrize(
    ("place", "folder"),
    [
        (("concurrency", 8.0), "c8"),
        (("request_rate", 4.0), "r4"),
        (("request_rate", 0.5, "128:32"), "r0.5-128x32"),
        (("concurrency", 8, "100-200:32", 2), "c8-100-200x32-3"),
        (("concurrency", 8, "", 1), "c8-2"),
    ],
)
def test_names(place: tuple[Any, ...], folder: str) -> None:
    assert name(*place) == folder


def test_a_point_is_a_run_and_is_measured_once(fast: Simulator, tmp_path: Path) -> None:
    with points(tmp_path, fast.url) as study:
        one = study.run("concurrency", 2)
        two = study.run("request_rate", 40.0, group="16:4", changes={"isl": "17"})
    assert one.folder == tmp_path / "points" / "c2"
    assert (one.resumed, one.saturated, one.run.summary.outcomes) == (False, "", {"ok": 6})
    for file in ("run.json", "requests.jsonl", "summary.json", "summary.md"):
        assert (one.folder / file).is_file()
    assert not (one.folder / "plots").exists()
    header = json.loads((one.folder / "run.json").read_text())
    assert header["point"] == {"by": "concurrency", "value": 2, "group": "", "repeat": 0, "seconds": one.seconds}
    assert header["command"] == (
        f"genbench profile --url {fast.url} --isl 16 --osl 3 --concurrency 2 --request-count 6 --warmup 1"
    )
    other = json.loads((two.folder / "run.json").read_text())
    assert other["config"]["workload"]["isl"] == "17"
    assert two.folder.name == "r40-16x4"
    assert header["salt"] != other["salt"]
    fast.clear()
    with points(tmp_path, fast.url) as again:
        same = again.run("concurrency", 2)
    assert same.resumed
    assert same.seconds == one.seconds
    assert same.run.summary.metrics == one.run.summary.metrics
    assert fast.truth() == []


def test_the_same_requests_at_every_load(fast: Simulator, tmp_path: Path) -> None:
    with points(tmp_path, fast.url) as study:
        found = [study.run("concurrency", value).run.header for value in (1, 3)]
    assert found[0]["dataset_sha256"] == found[1]["dataset_sha256"]
    assert found[0]["salt"] != found[1]["salt"]


def test_an_unfinished_point_is_put_aside_and_other_options_are_refused(fast: Simulator, tmp_path: Path) -> None:
    with points(tmp_path, fast.url) as study:
        folder = study.run("concurrency", 1).folder
    header = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(header | {"interrupted": True}))
    with points(tmp_path, fast.url) as study:
        assert not study.run("concurrency", 1).resumed
    assert sorted(path.name for path in folder.parent.iterdir()) == ["c1", "c1.unfinished-1"]
    with points(tmp_path, fast.url, isl="20") as study, pytest.raises(ConfigError, match="--isl 16, not 20"):
        study.run("concurrency", 1)
    with points(tmp_path, fast.url, quiet=True, wait_ready_s="5") as study:  # what changes nothing in it may differ
        assert study.run("concurrency", 1).resumed


def test_one_killed_between_its_end_and_the_next_is_whole(fast: Simulator, tmp_path: Path) -> None:
    with points(tmp_path, fast.url) as study:
        folder = study.run("concurrency", 1).folder
    header = json.loads((folder / "run.json").read_text())
    del header["point"]
    (folder / "run.json").write_text(json.dumps(header))
    (folder / "summary.json").unlink()
    with points(tmp_path, fast.url) as study:
        found = study.run("concurrency", 1)
    assert found.resumed
    assert found.seconds > 0
    assert (folder / "summary.json").is_file()


def test_without_a_target_one_engine_serves_all_points(tmp_path: Path) -> None:
    said: list[str] = []
    with points(tmp_path, None, said) as study:
        assert study.simulated
        found = [study.run("concurrency", value) for value in (1, 2)]
    engines = set()
    for point in found:
        header = json.loads((point.folder / "run.json").read_text())
        assert header["simulated"] is point.run.summary.simulated is True
        assert header["config"]["target"]["url"] == []
        assert json.loads((point.folder / "summary.json").read_text())["simulated"] is True
        engines.add(str(header["preflight"]["addresses"]))
    assert len(engines) == 1
    assert sum("the embedded engine (SIMULATED), model " in line for line in said) == 2
    assert len([line for line in said if line.startswith("note: ignore_eos")]) == 1
    with points(tmp_path, None) as again:
        assert again.run("concurrency", 1).resumed


def test_the_clock_ends_a_point_and_it_does_not_count_as_measured(fast: Simulator, tmp_path: Path) -> None:
    with points(tmp_path, fast.url, request_count="100000") as study:
        cut = study.run("concurrency", 1, judge=Deadline(0.0, "for the test"))
    assert cut.cut
    assert not cut.run.summary.interrupted
    assert cut.run.header["stopped_at"] == "out of time: for the test"
    assert any("out of time: for the test" in note for note in cut.run.summary.notes)
    with points(tmp_path, fast.url, request_count="100000") as study:
        assert not study.run("concurrency", 1, judge=Deadline(0.0, "for the test")).resumed


def test_a_server_that_stays_away(start_simulator: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judges, "GONE_NS", 100_000_000)
    server = start_simulator("--ttft", "2ms", "--itl", "1ms")
    with points(tmp_path, server.url, request_count="100000") as study:
        with pytest.raises(TargetError, match="went away at c4 and did not come back in 1 s") as error:
            study.run("concurrency", 4, judge=Once(server.process.kill))
        assert not isinstance(error.value, Restarted)
    (aside,) = (tmp_path / "points").iterdir()
    assert aside.name == "c4.server-gone-1"
    assert json.loads((aside / "run.json").read_text())["stopped_at"].startswith(judges.GONE)


def test_a_server_that_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judges, "GONE_NS", 100_000_000)
    first = Simulator("--ttft", "2ms", "--itl", "1ms")
    later: list[Simulator] = []

    def say(line: str) -> None:
        if line.startswith("the server went away"):
            later.append(Simulator("--port", str(first.port), "--ttft", "2ms", "--itl", "1ms"))

    given = config.load(FAST | {"url": (first.url,), "request_count": "300"})
    with Points(given, tmp_path, Screen(say, None), cool_down_s=1.0, wait_ready_s=20.0) as study:
        with pytest.raises(Restarted, match="went away at c2 and came back"):
            study.run("concurrency", 2, judge=Once(first.process.kill), changes={"request_count": 100_000})
        anew = study.run("concurrency", 2)
    for server in (first, *later):
        server.stop()
    assert anew.run.summary.outcomes == {"ok": 300}
    assert sorted(path.name for path in (tmp_path / "points").iterdir()) == ["c2", "c2.server-gone-1"]


def test_gone_is_several_connections_in_a_row() -> None:
    gone = Gone()
    for k in range(4):
        gone.add(Record(outcome=Outcome.CONNECT_ERROR, end_ns=k))
    assert gone.look(10**10, 1) is None
    gone.add(Record(outcome=Outcome.OK))
    for k in range(5):
        gone.add(Record(outcome=Outcome.CONNECT_ERROR, end_ns=10**9 + k))
    assert gone.look(2 * 10**9, 1) is None  # not for long enough
    stop = gone.look(3 * 10**9 + 10, 1)
    assert stop is not None
    assert stop.at_once
    assert stop.text == "the server went away: 5 connections in a row failed"


def test_together_asks_all_and_hears_the_first() -> None:
    looked: list[int] = []
    both = Together(None, Once(lambda: looked.append(1)), Deadline(0.0, "over"), Once(lambda: looked.append(2)))
    assert both.look(0, 0) == Stop("out of time: over", at_once=True)
    assert looked == [1, 2]
    assert Together().look(0, 0) is None


# -- the pause between two points --------------------------------------------------------------------------------------

VLLM = """\
# HELP vllm:num_requests_running Number of requests in model execution batches.
vllm:num_requests_running{engine="0",model_name="a } b"} 3.0
vllm:num_requests_waiting{engine="0",model_name="a } b"} 2.0
vllm:num_requests_waiting_by_reason{engine="0"} 7.0
"""


@pytest.mark.parametrize(
    ("text", "busy"),
    [
        (VLLM, 5),
        ('sglang:num_running_reqs{tp_rank="0"} 1\nsglang:num_queue_reqs 4 1700000000\n', 5),
        ("tgi_queue_size 0\ntgi_batch_current_size 0\n", 0),
        ("process_cpu_seconds_total 5\n", None),
        ("tgi_queue_size\ntgi_queue_size abc\n", None),  # no number says nothing
        ("tgi_queue_size abc\ntgi_batch_current_size 3\n", 3),
        ("", None),
    ],
)
def test_what_a_server_says_of_its_load(text: str, busy: float | None) -> None:
    assert quiet.gauged(text) == busy


def test_the_next_point_waits_until_the_server_is_quiet(
    fast: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = [3.0, 1.0, 0.0]
    monkeypatch.setattr(quiet, "load_of", lambda prober: left.pop(0))
    said: list[str] = []
    with points(tmp_path, fast.url, said) as study:
        study.run("concurrency", 1)
    assert left == []
    assert not [line for line in said if "not quiet" in line]


def test_the_simulator_says_what_it_runs(fast: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float | None] = []
    ask = quiet.load_of
    monkeypatch.setattr(quiet, "load_of", lambda prober: seen.append(ask(prober)) or seen[-1])  # type: ignore[func-returns-value]
    with points(tmp_path, fast.url) as study:
        study.run("concurrency", 1)
    assert seen[-1] == 0


def test_a_server_that_is_never_quiet_is_not_waited_for_for_ever(
    fast: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(quiet, "load_of", lambda prober: 1.0)
    with points(tmp_path, fast.url, said) as study:
        study._cool_down_s = 0.3
        study.run("concurrency", 1)
    assert [line for line in said if line.startswith("note: the server was not quiet 0.3 s after the point")]


@pytest.mark.parametrize(("slower", "quiet_again"), [(1.0, True), (30.0, False)])
def test_without_a_gauge_small_requests_tell(
    slower: float, quiet_again: bool, start_simulator: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The simulator takes 30 ms for a small request; it was asked before, or believed to take a thirtieth of that."""
    server = start_simulator("--ttft", "20ms", "--itl", "3ms")
    monkeypatch.setattr(quiet, "load_of", lambda prober: None)
    monkeypatch.setattr(quiet, "SLOWER_S", 0.0)
    said: list[str] = []
    with points(tmp_path, server.url, said) as study:
        monkeypatch.setattr(quiet, "SLOWER", 3.0 / slower)
        study._cool_down_s = 0.5
        study.run("concurrency", 1)
    assert (not [line for line in said if "not quiet" in line]) == quiet_again
