"""Calibration: ceilings from literal rows, the file and its staleness, a small real one."""

import json
import os
import resource
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from genbench.errors import RecordError, TargetError
from genbench.studies import calibrate, calibration
from genbench.studies.calibrate import Ladder, ceiling, complaint, half_way, reasons, requests_ceiling
from genbench.studies.calibration import REQUESTS, STREAMS, Calibration, Environment, Step

HERE = Environment("host", "a CPU", 4, "0.1.0", "3.11.2", "uvloop", "wire")


def streams(in_flight: int, **changed: Any) -> Step:
    """A step that holds: 20 events/s a stream, 0.1 % of a core each."""
    step = Step(
        kind=STREAMS,
        in_flight=in_flight,
        requests=2 * in_flight,
        ok=2 * in_flight,
        matched=2 * in_flight,
        events=100 * in_flight,
        events_per_s=20.0 * in_flight,
        requests_per_s=0.4 * in_flight,
        ttft_error_p50_ms=0.01,
        ttft_error_p99_ms=0.001 * in_flight,
        icl_error_p50_ms=0.001,
        icl_error_p99_ms=0.01,
        shared_pct=0.0,
        cpu_us_per_event=20.0,
        cpu_pct=0.04 * in_flight,
        cpu_wait_pct=0.1,
        engine_cpu_pct=0.04 * in_flight,
        loop_lag_p99_ms=0.5,
        client_lag_p99_ms=0.5,
    )
    return replace(step, **changed)


def small(in_flight: int, per_s: float, **changed: Any) -> Step:
    """A step of small requests."""
    none: dict[str, Any] = {"icl_error_p50_ms": None, "icl_error_p99_ms": None, "shared_pct": None}
    return replace(streams(in_flight), kind=REQUESTS, requests_per_s=per_s, events_per_s=per_s, **none | changed)


def made(*steps: Step, **changed: Any) -> Calibration:
    """A calibration of `HERE`."""
    found = Calibration(
        made="2026-01-02T03:04:05Z",
        **asdict(HERE),
        events_per_s_ceiling=6000.0,
        requests_per_s_ceiling=9000.0,
        cpu_us_per_event=20.0,
        at_least={"events_per_s": False, "requests_per_s": True},
        steps=steps,
        notes=("a note",),
    )
    return replace(found, **changed)


# -- judging ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({}, ""),
        ({"icl_error_p99_ms": 1.0, "shared_pct": 2.0, "cpu_pct": 85.0}, ""),  # the bounds themselves hold
        ({"icl_error_p99_ms": 1.01}, "inter-chunk error p99 1.01 ms (bound 1 ms)"),
        ({"icl_error_p99_ms": None}, "no gap could be compared with the engine's log"),
        ({"shared_pct": 2.5}, "2.5 % of the tokens shared a read (bound 2 %)"),
        ({"cpu_pct": 91.0}, "the client used 91 % of a core (bound 85 %)"),
        ({"ok": 19}, "1 of 20 requests were not ok"),
    ],
)
def test_what_makes_a_step_fail(changed: dict[str, Any], says: str) -> None:
    assert complaint(streams(10, **changed)) == says


def test_small_requests_have_no_gaps_to_fail_by() -> None:
    assert complaint(small(8, 5000.0)) == ""


BUSY = {"cpu_pct": 95.0}
FULL_ENGINE = {"icl_error_p99_ms": 4.0, "engine_cpu_pct": 99.0}


@pytest.mark.parametrize(
    ("steps", "per_s", "at_least", "of"),
    [
        ([streams(1), streams(10), streams(100)], 2000.0, True, 100),  # nothing failed
        ([streams(1), streams(10), streams(100, **BUSY)], 200.0, False, 10),
        ([streams(1), streams(100, **BUSY), streams(55)], 1100.0, False, 55),  # the one half-way held
        ([streams(1), streams(100, **BUSY), streams(55, **BUSY)], 20.0, False, 1),
        ([streams(10), streams(100, **FULL_ENGINE)], 200.0, True, 10),  # the engine failed, not the client
        ([streams(10), streams(100, **BUSY | FULL_ENGINE)], 200.0, False, 10),  # both did
        ([streams(1), streams(10, **BUSY), streams(100)], 20.0, False, 1),  # one that held by chance above a failure
        ([streams(10, events_per_s=500.0), streams(20, events_per_s=400.0)], 500.0, True, 10),
    ],
)
def test_the_ceiling(steps: list[Step], per_s: float, at_least: bool, of: int) -> None:
    found = ceiling(steps)
    assert (found.per_s, found.at_least) == (per_s, at_least)
    assert found.step is not None
    assert found.step.in_flight == of


def test_without_a_step_that_held_there_is_no_ceiling() -> None:
    assert ceiling([streams(1, **BUSY), small(1, 5.0)]) == calibrate.Ceiling(0.0, False, None)
    assert requests_ceiling([streams(1)]) == calibrate.Ceiling(0.0, False, None)


def test_half_a_core_each_makes_every_ceiling_at_least() -> None:
    steps = [streams(1), streams(10, **BUSY), small(8, 7000.0, cpu_pct=99.0)]
    assert (ceiling(steps).at_least, requests_ceiling(steps).at_least) == (False, False)
    assert (ceiling(steps, one_core=True).at_least, requests_ceiling(steps, one_core=True).at_least) == (True, True)


def test_the_ceiling_of_small_requests_is_the_highest_rate() -> None:
    steps = [small(1, 3000.0, cpu_pct=40.0), small(8, 9000.0, cpu_pct=97.0), small(64, 8000.0, cpu_pct=99.0)]
    assert requests_ceiling(steps) == calibrate.Ceiling(9000.0, False, steps[1])
    idle = [*steps, small(64, 9500.0, cpu_pct=60.0, engine_cpu_pct=99.0)]
    assert requests_ceiling(idle) == calibrate.Ceiling(9500.0, True, idle[-1])  # the client had CPU left
    lost = [*steps, small(64, 9500.0, ok=3)]
    assert requests_ceiling(lost).step == steps[1]


@pytest.mark.parametrize(
    ("steps", "middle"),
    [
        ([streams(1), streams(10)], None),
        ([streams(1000), streams(2000, **BUSY)], 1500),
        ([streams(1), streams(2, **BUSY)], None),
        ([streams(10, **BUSY)], 5),
        ([streams(1, **BUSY)], None),
        ([], None),
    ],
)
def test_half_way(steps: list[Step], middle: int | None) -> None:
    assert half_way(steps) == middle


def test_the_reasons() -> None:
    assert reasons([streams(1)]) == ["every load of streams held: their ceiling is at least the last one's rate"]
    failed, why = reasons([streams(1), streams(10, **FULL_ENGINE)])
    assert failed == "10 streams did not hold: inter-chunk error p99 4 ms (bound 1 ms)"
    assert "the engine had no CPU left" in why
    (_, disturbed) = reasons([streams(1, icl_error_p99_ms=3.0, cpu_pct=2.0)])
    assert "used only 2 % of a core" in disturbed
    assert reasons([streams(1), streams(10, **BUSY)]) == [
        "10 streams did not hold: the client used 95 % of a core (bound 85 %)"
    ]
    assert "the engine had no CPU left" in reasons([streams(1), small(8, 9.0, engine_cpu_pct=99.0)])[-1]
    assert "the client had CPU left" in reasons([streams(1), small(8, 9.0)])[-1]
    assert len(reasons([streams(1), small(8, 9.0, cpu_pct=99.0)])) == 1
    waited = [streams(1, cpu_wait_pct=12.0), streams(2, cpu_wait_pct=None)]
    assert "waited 12 % of a step for a core" in reasons(waited)[-1]
    assert len(reasons(waited, one_core=True)) == 1


# -- the file ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where calibrations are kept in a test; its folder is not there yet."""
    found = tmp_path / "state" / "calibration.json"
    monkeypatch.setenv("GENBENCH_CALIBRATION", str(found))
    return found


def test_what_is_stored_is_loaded(file: Path) -> None:
    assert calibration.load(HERE) is None
    assert calibration.reason(HERE) == "there is no calibration of this machine yet; run genbench calibrate"
    found = made(streams(1), small(8, 9000.0))
    assert calibration.write(found) == file
    assert calibration.load(HERE) == found
    assert calibration.reason(HERE) == ""
    assert [path.name for path in file.parent.iterdir()] == ["calibration.json"]


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"host": "other"}, "host was host and is other"),
        ({"cpu": "another"}, "the CPU was a CPU and is another"),
        ({"cpus": 8}, "the number of CPUs was 4 and is 8"),
        ({"genbench": "0.2.0"}, "genbench was 0.1.0 and is 0.2.0"),
        ({"python": "3.12.0", "loop": "asyncio"}, "Python was 3.11.2 and is 3.12.0, loop was uvloop and is asyncio"),
        ({"transport": "aiohttp"}, "transport was wire and is aiohttp"),
    ],
)
def test_one_of_another_environment_is_stale(file: Path, changed: dict[str, Any], says: str) -> None:
    calibration.write(made())
    wanted = replace(HERE, **changed)
    assert calibration.load(wanted) is None
    assert calibration.reason(wanted) == (
        f"the calibration of 2026-01-02T03:04:05Z is stale: {says}; run genbench calibrate"
    )


def test_each_environment_keeps_its_own(file: Path) -> None:
    other = made(host="other")
    for one in (made(), other, made(made="2027-01-01T00:00:00Z")):
        calibration.write(one)
    assert len(json.loads(file.read_text())["calibrations"]) == 2
    assert calibration.load(HERE) == made(made="2027-01-01T00:00:00Z")
    assert calibration.load(other.environment) == other
    assert "2027" in calibration.reason(replace(HERE, python="3.12.0"))  # of this host, not of the other


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "{}", '{"schema": 2, "calibrations": []}', '{"schema": 1}', '{"schema": 1, "calibrations": [{}]}',
        '{"schema": 1, "calibrations": 3}',
    ],
)  # fmt: skip
def test_a_damaged_file_is_none_and_is_started_anew(file: Path, text: str) -> None:
    file.parent.mkdir()
    file.write_text(text)
    assert calibration.load(HERE) is None
    assert "cannot be read" in calibration.reason(HERE)
    calibration.write(made())
    assert calibration.load(HERE) == made()


def test_a_value_of_the_wrong_type_is_damage(file: Path) -> None:
    calibration.write(made(streams(1)))
    content = json.loads(file.read_text())
    content["calibrations"][0]["steps"][0]["cpu_pct"] = "much"
    file.write_text(json.dumps(content))
    assert calibration.load(HERE) is None
    assert "cpu_pct is 'much'" in calibration.reason(HERE)


def test_an_empty_list_is_no_calibration(file: Path) -> None:
    file.parent.mkdir()
    file.write_text('{"schema": 1, "calibrations": []}')
    assert calibration.load(HERE) is None
    assert "has no calibration in it" in calibration.reason(HERE)


def test_a_place_that_cannot_be_written_is_one_sentence(file: Path) -> None:
    file.parent.write_text("a file, not a folder")
    with pytest.raises(RecordError, match=r"cannot write .*; set GENBENCH_CALIBRATION to another file"):
        calibration.write(made())


def test_the_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GENBENCH_CALIBRATION", raising=False)
    monkeypatch.setenv("HOME", "/home/someone")
    default = Path("/home/someone/.local/state/genbench/calibration.json")
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    assert calibration.path() == default
    monkeypatch.setenv("XDG_STATE_HOME", "/var/state")
    assert calibration.path() == Path("/var/state/genbench/calibration.json")
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    assert calibration.path() == default


def test_the_environment_is_this_machine() -> None:
    here = calibration.environment("uvloop", "wire")
    assert here.cpus == os.cpu_count()
    assert here.cpu
    assert (here.loop, here.transport) == ("uvloop", "wire")


def test_the_quote_is_of_the_load_nearest_below() -> None:
    steps = [streams(n) for n in (10, 100, 300, 1000)]  # 200, 2,000, 6,000 and 20,000 events/s; the last did not hold
    found = made(*steps, small(8, 9000.0, ttft_error_p99_ms=7.0))
    assert found.quote() == {
        "made": "2026-01-02T03:04:05Z",
        "events_per_s_ceiling": 6000.0,
        "requests_per_s_ceiling": 9000.0,
        "ttft_error_p99_ms": 0.3,
        "icl_error_p99_ms": 0.01,
    }
    errors = [found.quote(rate)["ttft_error_p99_ms"] for rate in (0.0, 200.0, 1999.0, 2000.0, 5000.0, 50_000.0)]
    assert errors == [0.01, 0.01, 0.01, 0.1, 0.1, 0.3]
    assert made().quote()["icl_error_p99_ms"] is None


# -- the real thing, small --------------------------------------------------------------------------------------------


def left_over() -> set[str]:
    """Folders of steps that are still there."""
    return {path.name for path in Path(tempfile.gettempdir()).glob("genbench-calibrate-*")}


def test_a_small_calibration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibrate, "ICL_ERROR_MS", 1e9)  # a busy machine must not end the ladder here
    monkeypatch.setattr(calibrate, "SHARED_BOUND_PCT", 100.0)
    lines: list[str] = []
    cores, folders, children = calibrate.cores(), left_over(), calibrate._children()
    found = calibrate.calibrate(0.4, lines.append, Ladder(streams=(1, 4), in_flight=(2,)))
    assert (calibrate.cores(), left_over(), calibrate._children()) == (cores, folders, children)
    steps = found.steps
    assert [(one.kind, one.in_flight) for one in steps] == [(STREAMS, 1), (STREAMS, 4), (REQUESTS, 2)]
    assert len(lines) == 1 + len(steps)
    for one in steps:
        assert one.requests == one.ok == one.matched > 0
        assert one.events_per_s > 0
        assert one.cpu_us_per_event > 0
        assert one.ttft_error_p99_ms is not None
        assert 0 <= (one.ttft_error_p50_ms or 0.0) <= one.ttft_error_p99_ms
        assert (one.icl_error_p99_ms is None) == (one.shared_pct is None) == (one.kind == REQUESTS)
    by_load = {(one.kind, one.in_flight): one for one in steps}
    assert by_load[STREAMS, 4].requests == 8
    assert by_load[STREAMS, 4].events >= 8 * 4  # 0.2 s of 20 token/s each, and the events around them
    assert (by_load[REQUESTS, 2].engine_cpu_pct is None) == (not Path("/proc").exists())
    assert by_load[REQUESTS, 2].engine_cpu_pct != 0
    assert found.events_per_s_ceiling == ceiling(steps).per_s
    assert found.requests_per_s_ceiling == by_load[REQUESTS, 2].requests_per_s
    assert set(found.at_least) == {"events_per_s", "requests_per_s"}
    assert found.environment == calibration.environment(found.loop, found.transport)
    assert (found.loop in ("uvloop", "asyncio"), found.transport) == (True, "wire")
    assert found.notes[0] == lines[0] == calibrate.placement()[0]
    assert json.loads(json.dumps(found.as_json()))["steps"][0]["in_flight"] == 1


@pytest.mark.parametrize(
    ("cores", "says"), [([0], "client and engine shared one core"), ([], "not pinned here")], ids=["one", "no-pinning"]
)
def test_machines_without_a_core_for_each(cores: list[int], says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibrate, "cores", lambda: cores)
    monkeypatch.setattr(calibrate, "_children", set)  # nor is there a /proc
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    found = calibrate.calibrate(0.2, lambda _: None, Ladder(streams=(1,), in_flight=(1,)))
    assert says in found.notes[0]
    assert {one.engine_cpu_pct for one in found.steps} == {None}
    if cores:
        assert found.at_least == {"events_per_s": True, "requests_per_s": True}


def test_loads_without_files_enough_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 1024))
    rungs, (note,) = calibrate._rungs((1, 100, 1000, 2000))
    assert rungs == [1, 100]
    assert note.startswith("1000 streams and more were left out")


def test_an_engine_that_is_gone_is_one_sentence() -> None:
    with pytest.raises(TargetError, match="the embedded engine does not answer"):
        calibrate.Engine("http://127.0.0.1:1", None).clear()
