"""`genbench calibrate`: what it prints and stores, wrong options, Ctrl-C."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from genbench.cli.calibrate import WIDTH, table
from genbench.studies import calibrate, calibration
from genbench.studies.calibrate import Ladder
from tests.runs import Runner
from tests.studies.test_calibrate import BUSY, made, small, streams


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this test's calibration is kept; its ladder has two steps."""
    found = tmp_path / "calibration.json"
    monkeypatch.setenv("GENBENCH_CALIBRATION", str(found))
    monkeypatch.setattr(calibrate, "LADDER", Ladder(streams=(2,), in_flight=(1,)))
    return found


def test_a_table_and_a_stored_calibration(run: Runner, file: Path) -> None:
    ran = run("calibrate", "--seconds-per-step", "300ms")
    assert ran.code == 0
    (stored,) = json.loads(file.read_text())["calibrations"]
    assert ran.out.startswith(f"genbench {stored['genbench']}  calibrated {stored['made']}\n")
    assert ran.out.endswith(f"\nstored in {file}\n")
    assert "2 streams " in ran.out
    assert "1 request " in ran.out
    assert len(ran.err.splitlines()) == 1 + len(stored["steps"])  # where, then a line a step
    here = calibration.environment(stored["loop"], stored["transport"])
    found = calibration.load(here)
    assert found is not None
    assert table(found) in ran.out


def test_json_and_nothing_else(run: Runner, file: Path) -> None:
    ran = run("calibrate", "--seconds-per-step", "0.2", "--json")
    assert ran.code == 0
    assert json.loads(ran.out) == json.loads(file.read_text())["calibrations"][0]


def test_the_result_is_shown_even_where_it_cannot_be_stored(run: Runner, file: Path) -> None:
    file.mkdir()
    ran = run("calibrate", "--seconds-per-step", "0.2", "--json")
    assert ran.code == 2
    assert len(json.loads(ran.out)["steps"]) >= 2
    assert ran.err.splitlines()[-1].startswith(f"genbench: cannot write {file} (")


@pytest.mark.parametrize("value", ["0", "soon", "-1", "61", "nan"])
def test_a_wrong_time_is_one_sentence(run: Runner, value: str) -> None:
    ran = run("calibrate", "--seconds-per-step", value)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == f"genbench: --seconds-per-step {value}: must be a time from 0.2 to 60 s, like 5 or 500ms\n"


def test_ctrl_c_stores_nothing(tmp_path: Path) -> None:
    file = tmp_path / "calibration.json"
    process = subprocess.Popen(
        [sys.executable, "-m", "genbench", "calibrate", "--seconds-per-step", "0.3"],
        env=os.environ | {"GENBENCH_CALIBRATION": str(file), "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    while "1 stream at a time" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert out == ""
    assert err.splitlines()[-1] == "interrupted: nothing was stored"
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_the_table() -> None:
    steps = [streams(1), streams(4000, **BUSY, loop_lag_p99_ms=1234.5, cpu_us_per_event=1234.5), small(64, 123456.0)]
    none = streams(100, engine_cpu_pct=None, loop_lag_p99_ms=None, ttft_error_p99_ms=None)
    shown = table(made(*steps, none, cpu="a very long name of a CPU, " * 5, notes=("a long note " * 20,)))
    assert shown.isascii()
    assert max(map(len, shown.splitlines())) <= WIDTH
    rows = {line[:13].strip(): line[13:].split() for line in shown.splitlines()}
    assert rows["1 stream"] == ["20", "0.010", "0.001", "0.001", "0.010", "0.00", "20.0", "0", "0", "0.500", "yes"]
    assert rows["4000 streams"][-4:] == ["95", "160", "1,234", "no"]
    assert rows["100 streams"][2::6] == ["-", "-"]
    assert rows["64 requests"][0] == "123,456"
    assert "ceiling (events/s)               6,000  100 streams at a time" in shown
    assert "ceiling (req/s)         at least 9,000  64 requests at a time" in shown


def test_a_table_without_a_load_that_held() -> None:
    shown = table(made(streams(1, **BUSY)))
    assert "ceiling (events/s)                   -  no load held" in shown
    assert "ceiling (req/s)                      -  no load held" in shown
