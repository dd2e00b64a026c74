"""What a person sees: the view as text at several sizes, its process and its pipe, whole runs in a pseudo-terminal."""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from genbench.cli import live, screen, watch
from genbench.cli.live import History, frame
from genbench.cli.watch import Lines, LiveView
from genbench.engine.live import Snapshot
from genbench.metrics import verdict
from genbench.options import Output
from tests.cli.terminal import Terminal

NOW = Snapshot(
    elapsed_s=24.2,
    duration_s=60.0,
    left_s=35.8,
    done=512,
    total=None,
    in_flight=100,
    waiting=None,
    failures={},
    warming_up=False,
    streams=True,
    tokens_per_s=2000.0,
    ttft_ms=(50.123, 53.0, 159.0),
    itl_ms=(20.02, 20.4, 1.234),
    latency_ms=None,
    lag_ms=0.31,
    cpu_pct=34.2,
)
HEADING = ("chat on the embedded engine (SIMULATED), model sim", "8 at a time; 60 s; no warm-up")


def history(*moments: Snapshot, heading: Sequence[str] = HEADING) -> History:
    """Four moments a second."""
    found = History(heading)
    for k, now in enumerate(moments):
        found.add(k / 4, now)
    return found


def drawn(moments: Sequence[Snapshot], width: int, height: int, *, plain: bool = False) -> list[str]:
    return [line.plain.rstrip() for line in frame(history(*moments), width, height, plain=plain)]


def test_the_view_at_eighty_columns() -> None:
    rising = [replace(NOW, tokens_per_s=rate) for rate in (0, 500, 1000, 1500, *[2000] * 28)]
    assert drawn(rising, 80, 24) == [
        "",
        "sim  chat  SIMULATED  8 at a time; 60 s; no warm-up",
        "",
        "progress        ━━━━━━━━━━━━━━━───────────────────────  24 s of 60 s, 36 s left",
        "",
        "2,000 token/s                                                           ███████",
        "peak 2,000                                                             ▄███████",
        "                                                                       ████████",
        "last 60 s                                                              ████████",
        "",
        "TTFT            p50 50.1 ms   p90 53.0 ms   p99 159 ms",
        "ITL             p50 20.0 ms   p90 20.4 ms   p99 1.23 ms",
        "",
        "requests        100 in flight, 512 done, 0 failed",
        "client          CPU 34 %, loop lag max 0.31 ms (last second)",
    ]


BUSY = replace(NOW, failures={"truncated": 1, "http_error": 3}, waiting=7, total=1000)


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("width", [20, 60, 80, 120, 300])
@pytest.mark.parametrize("height", [2, 5, 10, 20, 24, 40])
def test_the_view_fits_any_terminal(width: int, height: int, plain: bool) -> None:
    lines = frame(history(*[BUSY] * 40), width, height, plain=plain)
    assert len(lines) < height
    assert all(line.cell_len < width for line in lines)
    assert any("progress" in line.plain for line in lines)
    if plain:
        assert all(line.plain.isascii() for line in lines)


def test_ten_rows_hold_what_matters() -> None:
    lines = drawn([BUSY] * 40, 60, 10)
    assert len(lines) == 9
    assert [line.partition(" ")[0] for line in lines if line] == [
        "sim", "progress", "2,000", "TTFT", "ITL", "requests", "failed", "client",
    ]  # fmt: skip
    assert lines[-2] == "failed          4: http_error 3, truncated 1"
    assert "100 in flight, 7 waiting, 512 done" in lines[-3]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"warming_up": True, "elapsed_s": 0.0}, "warming up"),
        ({"total": 1000, "duration_s": None}, "512 of 1,000, 36 s left"),
        ({"total": 1000}, "512 of 1,000, 36 s left"),  # the count ends it first
        ({"total": 10_000}, "24 s of 60 s, 36 s left"),
        ({"duration_s": 7200.0, "elapsed_s": 3723.9, "left_s": 3476.1}, "1:02:03 h of 2:00:00 h, 57:57 min left"),
        ({"elapsed_s": 61.0, "left_s": 0.0}, "no more is sent; 100 still in flight"),
        ({"duration_s": None, "left_s": None}, "24 s"),
    ],
)
def test_progress(changes: dict[str, object], says: str) -> None:
    (line,) = [one for one in drawn([replace(NOW, **changes)], 120, 24) if one.startswith("progress")]  # type: ignore[arg-type]
    assert line.endswith(f"  {says}")


def test_where_nothing_streams_requests_are_counted() -> None:
    moments = [replace(NOW, streams=False, ttft_ms=None, itl_ms=None, latency_ms=(9.5, 11, 20), tokens_per_s=10.0)] * 9
    lines = drawn([replace(one, done=5 * k) for k, one in enumerate(moments)], 80, 24)
    assert any(line.startswith("20.0 req/s") for line in lines)  # 5 more every quarter of a second
    assert "latency         p50 9.50 ms   p90 11.0 ms   p99 20.0 ms" in lines
    assert not any(line.startswith(("TTFT", "ITL")) for line in lines)


def test_the_chart_is_the_last_minute() -> None:
    found = history(*[replace(NOW, tokens_per_s=9000.0)] * 40, *[NOW] * 280)
    assert found.binned(60) == [2000.0] * 60
    assert found.lately() == 2000.0
    assert history(NOW).binned(10) == [None] * 10


def test_numbers_that_give_the_client_away_stand_out() -> None:
    bad = frame(history(replace(NOW, cpu_pct=95.0, lag_ms=30.0)), 80, 24)[-1]
    assert [str(span.style) for span in bad.spans].count(live.WARN) == 2
    assert live.CPU_PCT == verdict.CPU_PCT
    assert live.WARN not in [str(span.style) for span in frame(history(NOW), 80, 24)[-1].spans]


def test_a_model_name_cannot_move_the_cursor() -> None:
    lines = frame(history(NOW, heading=("chat on there, model a\n\x1b[2Jb", "once")), 80, 24)
    assert lines[1].plain == "a??[2Jb  chat  once"


def test_no_color_is_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    lines = frame(history(BUSY), 80, 24)
    assert re.search(r"\x1b\[[0-9;]*3[0-9]", "".join(live.ansi(lines, 80)))
    monkeypatch.setenv("NO_COLOR", "1")
    assert not re.search(r"\x1b\[[0-9;]*(3|9)[0-9]", "".join(live.ansi(lines, 80)))


def test_the_drawing_process_loads_nothing_heavy() -> None:
    heavy = "import sys, genbench.cli.live; sys.exit('numpy' in sys.modules or 'orjson' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", heavy], check=False).returncode == 0


# -- plain lines ------------------------------------------------------------------------------------------------------


def test_plain_lines_come_every_five_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    line = screen.PlainLine()
    for k in range(60):
        line.show(replace(BUSY, elapsed_s=k / 4, tokens_per_s=100.0 * (k % 2)))
    line.show(replace(BUSY, elapsed_s=15.0, over=True))
    said = capsys.readouterr().err.splitlines()
    assert [one.partition(" |")[0] for one in said] == ["5 s", "10 s"]
    assert said[1] == (
        "10 s | 512/1000 done | 100 in flight | 4 failed | 7 waiting for the cap | 50 token/s | "
        "TTFT p50 50.1 ms p99 159 ms | ITL p50 20 ms p99 1.23 ms | 36 s left"
    )


@pytest.mark.parametrize("term", ["dumb", "unknown", None])
def test_no_view_where_the_terminal_cannot(monkeypatch: pytest.MonkeyPatch, term: str | None) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    if term is None:
        monkeypatch.delenv("TERM", raising=False)
    else:
        monkeypatch.setenv("TERM", term)
    watcher = screen.make(Output()).watch
    assert isinstance(getattr(watcher, "__self__", None), screen.PlainLine)


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    quiet = screen.make(Output(quiet=True))
    quiet.say("a line")
    assert quiet.watch is None
    assert capsys.readouterr().err == ""


# -- the pipe ---------------------------------------------------------------------------------------------------------


def view(plain: Callable[[Snapshot], None], *command: str) -> LiveView:
    return LiveView(plain, command)


def test_a_full_pipe_drops_and_never_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "END_S", 0.05)
    plain: list[Snapshot] = []
    deaf = view(plain.append, "sleep", "60")
    longest = 0.0
    for _ in range(300):
        began = time.perf_counter()
        deaf.show(NOW)
        longest = max(longest, time.perf_counter() - began)
    assert 0 < deaf.dropped < 300
    assert plain == []
    assert longest < 0.1
    deaf.show(replace(NOW, over=True))  # kills what does not end by itself
    deaf.show(NOW)
    assert plain == [NOW]


@pytest.mark.parametrize("command", [("true",), ("/nonexistent/python",)])
def test_without_a_drawing_process_the_run_goes_on_with_plain_lines(command: tuple[str, ...]) -> None:
    plain: list[Snapshot] = []
    gone = view(plain.append, *command)
    until = time.monotonic() + 10
    while not plain and time.monotonic() < until:
        gone.show(NOW)
    gone.show(NOW)
    assert plain[-1] == NOW


def test_lines_written_meanwhile_are_not_lost(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "END_S", 0.05)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    terminal = sys.stderr
    deaf = view(lambda now: None, "sleep", "60")
    deaf.say("chat on here, model m")
    while not deaf.dropped:
        deaf.show(NOW)
    sys.stderr.write("\nstopping; ")
    sys.stderr.write("writing" + " " * 590 + "\nhalf a line")  # longer than what the pipe may still take
    assert isinstance(sys.stderr, Lines)
    deaf.show(NOW)
    deaf.show(replace(NOW, over=True))
    assert sys.stderr is terminal
    assert (
        capsys.readouterr().err
        == f"chat on here, model m\n{watch.CLEAR}stopping; writing{' ' * 583}\n{' ' * 7}\nhalf a line\n"
    )


def test_lines_are_cut_to_what_a_pipe_takes_at_once() -> None:
    taken: list[str] = []
    lines = Lines(taken.append, sys.stderr)
    lines.write("\0" * 1000 + "\n \n\nb")
    lines.close()
    assert [len(one) for one in taken] == [600, 400, 1]
    assert max(len(json.dumps(one)) for one in taken) < 4096  # PIPE_BUF


# -- a terminal -------------------------------------------------------------------------------------------------------


def write(process: subprocess.Popen[bytes], *what: object) -> None:
    assert process.stdin is not None
    process.stdin.write(b"".join(json.dumps(one).encode() + b"\n" for one in what))
    process.stdin.flush()


def test_the_drawing_process_leaves_messages_and_nothing_else() -> None:
    terminal = Terminal()
    process = terminal.start(*watch.DRAW, stdin=subprocess.PIPE)
    write(process, HEADING, asdict(NOW), asdict(BUSY))
    terminal.read(until="(last second)")
    assert "failed          4: http_error 3, truncated 1" in terminal.screen  # of two at once the last
    assert terminal.screen[1].startswith("sim  chat  SIMULATED")
    assert not terminal.cursor_seen
    write(process, "a message", asdict(NOW))
    assert process.stdin is not None
    process.stdin.close()
    terminal.read()
    assert process.wait(10) == 0
    assert terminal.screen == ["a message", ""]
    assert terminal.cursor_seen


def test_a_drawing_process_without_a_snapshot_touches_nothing() -> None:
    terminal = Terminal()
    process = terminal.start(*watch.DRAW, stdin=subprocess.DEVNULL)
    terminal.read()
    assert process.wait(10) == 0
    assert terminal.log == ""


PROFILE = (sys.executable, "-m", "genbench", "profile", "--no-plots")


def small(folder: Path) -> tuple[str, ...]:
    """A second of the embedded engine."""
    return (
        *PROFILE,
        "--artifact-dir",
        str(folder),
        "-c",
        "4",
        "-n",
        "8",
        "--osl",
        "24",
        "--isl",
        "10",
        "--warmup",
        "0",
    )


def test_a_run_leaves_a_clean_screen_and_one_block(tmp_path: Path) -> None:
    terminal = Terminal(100, 50)
    process = terminal.start(*small(tmp_path))
    terminal.read()
    assert process.wait(20) == 0
    assert "progress" in terminal.log
    assert "\x1b[1msimulated-model\x1b[0m  chat\x1b[1;33m  SIMULATED" in terminal.log  # the heading of the view
    shown = "\n".join(terminal.screen)
    assert "progress" not in shown
    assert "in flight" not in shown
    assert shown.count("verdict ") == 1
    assert terminal.screen[0] == "chat on the embedded engine (SIMULATED), model simulated-model"
    assert terminal.cursor_seen


def test_ctrl_c_leaves_a_clean_screen_too(tmp_path: Path) -> None:
    terminal = Terminal()
    process = terminal.start(*PROFILE, "--artifact-dir", str(tmp_path), "-c", "2", "-d", "60", "--warmup", "0")
    terminal.read(until="token/s")
    process.send_signal(signal.SIGINT)
    terminal.read()
    assert process.wait(20) == 130
    shown = "\n".join(terminal.screen)
    assert "progress" not in shown
    assert shown.count("stopping; writing what there is") == 1
    assert shown.count("INTERRUPTED") == 1
    assert terminal.cursor_seen


FAILING = """
from genbench.endpoints import chat
from genbench.endpoints.chat import FRAMING, PATH

read_so_far = []

def read(message):
    read_so_far.append(0)
    return chat.read(message)

def build(sample, options):
    if len(read_so_far) > 800:  # well into the load
        raise RuntimeError("no more")
    return chat.build(sample, options)
"""


def test_an_error_leaves_a_clean_screen_too(tmp_path: Path) -> None:
    (tmp_path / "failing.py").write_text(FAILING)
    terminal = Terminal()
    load = ("--endpoint-type", str(tmp_path / "failing.py"), "-c", "20", "-d", "60", "--warmup", "0", "--osl", "24")
    process = terminal.start(*PROFILE, "--artifact-dir", str(tmp_path), *load)
    terminal.read()
    assert process.wait(20) == 2
    shown = "\n".join(terminal.screen)
    assert "progress" in terminal.log
    assert "progress" not in shown
    assert shown.count("genbench: the run ended early: ") == 1
    assert terminal.cursor_seen


def test_quiet_leaves_only_the_block(tmp_path: Path) -> None:
    terminal = Terminal(100, 50)
    process = terminal.start(*small(tmp_path), "--quiet")
    terminal.read()
    assert process.wait(20) == 0
    assert terminal.log.replace("\r\n", "").startswith("\x1b[1mgenbench  simulated-model")
    assert "\x1b[?25l" not in terminal.log
    assert "\n".join(terminal.screen).count("verdict ") == 1
