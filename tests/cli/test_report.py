"""`genbench report` and the figures behind a run: what is written where, in which format, and a user's mistakes."""

import errno
import json
from pathlib import Path

import numpy as np
import pytest

from genbench.metrics.summary import Run
from genbench.plots import _draw
from genbench.plots._figure import Table
from genbench.plots._look import Look
from genbench.studies.report import named
from tests.exporters.golden import run as golden
from tests.runs import Runner
from tests.simulator.process import Simulator

FAST = ("--extra", 'simulate={"ttft_ms": 5, "itl_ms": 1}', "--isl", "20", "--osl", "6", "-q")
NUMBERS = {"run.json", "requests.jsonl", "summary.json", "summary.csv", "summary.md", "requests.csv"}


@pytest.fixture
def two(run: Runner, simulator: Simulator) -> tuple[Path, Path]:
    return (
        run("profile", "--url", simulator.url, "-c", "2", "-n", "6", *FAST).folder,
        run("profile", "--url", simulator.url, "-c", "4", "-n", "8", *FAST).folder,
    )


def names(folder: Path, ending: str) -> set[str]:
    return {path.stem for path in folder.glob(f"*.{ending}")}


def test_a_run_has_its_figures_and_its_page(run: Runner, simulator: Simulator) -> None:
    ran = run("profile", "--url", simulator.url, "-c", "2", "-n", "6", *FAST, plots=True)
    assert ran.code == 0
    assert {path.name for path in ran.folder.iterdir()} == NUMBERS | {"plots", "report.html"}
    drawn = names(ran.folder / "plots", "png")
    assert {"ttft_cdf", "latency_over_run", "throughput_over_run", "timeline"} <= drawn <= set(_draw.names())
    assert names(ran.folder / "plots", "csv") == drawn
    assert "(begin with report.html)" in ran.out
    assert "<title>" in (ran.folder / "report.html").read_text()


def test_generate_plots_is_what_happens_anyway(run: Runner, simulator: Simulator) -> None:
    ran = run("profile", "--url", simulator.url, "-n", "3", *FAST, "--generate-plots", plots=True)
    assert (ran.folder / "report.html").exists()


def test_without_plots_there_are_numbers_alone(run: Runner, two: tuple[Path, Path]) -> None:
    assert {path.name for path in two[0].iterdir()} == NUMBERS
    ran = run("report", str(two[0]), "--no-plots")
    assert ran.code == 0
    assert {path.name for path in two[0].iterdir()} == NUMBERS


@pytest.mark.parametrize(
    ("formats", "written"),
    [
        (["html"], {"report.html"}),
        (["svg"], {"plots"}),
        (["md"], {"summary.md"}),
        (["png", "md"], {"plots", "summary.md"}),
    ],
)
def test_one_format(run: Runner, two: tuple[Path, Path], tmp_path: Path, formats: list[str], written: set[str]) -> None:
    out = tmp_path / "out"
    ran = run("report", str(two[0]), "--out", str(out), *(word for name in formats for word in ("--format", name)))
    assert ran.code == 0, ran.err
    assert {path.name for path in out.iterdir()} == written
    for kind in {"svg", "png"} & set(formats):
        assert names(out / "plots", kind) == names(out / "plots", "csv") != set()


def test_several_runs_are_one_page(run: Runner, two: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "both"
    ran = run("report", *map(str, two), "--out", str(out), "--format", "html", "--format", "md")
    assert ran.code == 0, ran.err
    page = (out / "report.html").read_text()
    assert all(folder.name in page for folder in two)
    assert (out / "summary.md").read_text().count("genbench  simulated-model") == 2
    assert f"files: {out}/" in ran.out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("A", "A"), "is given twice; name each run once"),
        (("A", "B", "--json"), "--json is of one run; name one RUN"),
        (("A", "B", "--dialect", "vllm"), "--dialect is of one run; name one RUN"),
        (("A", "--format", "pdf"), "'pdf' is not one of 'html', 'md', 'png', 'svg'"),
        (("/nowhere",), "/nowhere"),
    ],
)
def test_a_users_mistakes(run: Runner, two: tuple[Path, Path], arguments: tuple[str, ...], says: str) -> None:
    folders = {"A": str(two[0]), "B": str(two[1])}
    ran = run("report", *(folders.get(word, word) for word in arguments))
    assert ran.code == 2
    assert says in ran.err
    assert ran.err.count("\n") == 1


def test_what_cannot_be_drawn_is_said_and_its_numbers_are_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(_draw, "missing", lambda: "no pictures: vl_convert is not installed")
    drawn = _draw.draw(_draw.tables([("run", golden())], ["ttft_cdf"]), tmp_path)
    assert [path.name for path in drawn] == ["ttft_cdf.csv"]


class Broken:
    """Stands in for a figure, with the fault a test asks for."""

    TITLE = "Broken"

    def __init__(self, error: BaseException, where: str) -> None:
        self._error, self._where = error, where

    def data(self, run: Run) -> Table:
        if self._where == "data":
            raise self._error
        return Table({"x_s": np.arange(3.0)})

    def chart(self, table: Table, look: Look) -> object:
        raise self._error


@pytest.mark.parametrize("where", ["data", "chart"])
def test_one_broken_figure_costs_neither_the_others_nor_the_run(
    run: Runner, simulator: Simulator, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    whole = _draw.figure
    broken = Broken(ZeroDivisionError("of <its> own"), where)
    monkeypatch.setattr(_draw, "figure", lambda name: broken if name == "ttft_cdf" else whole(name))
    monkeypatch.setattr(_draw, "names", lambda: ["ttft_cdf", "timeline"])
    ran = run("profile", "--url", simulator.url, "-c", "2", "-n", "6", *FAST, plots=True)
    assert ran.code == 0
    assert "not drawn: ttft_cdf: this figure failed (ZeroDivisionError: of <its> own)" in ran.out
    assert names(ran.folder / "plots", "png") == {"timeline"}
    page = (ran.folder / "report.html").read_text()
    assert "this figure failed" in page
    assert "of &lt;its&gt; own" in page
    assert ran.out.rstrip().splitlines()[-1].startswith("again: genbench profile")


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (KeyboardInterrupt(), "the drawing was stopped"),
        (OSError(errno.ENOSPC, "No space left on device"), "no space left on device; free space"),
    ],
)
def test_whatever_stops_the_drawing_the_runs_exit_code_stands(
    run: Runner, simulator: Simulator, monkeypatch: pytest.MonkeyPatch, error: BaseException, says: str
) -> None:
    def stopped(*_: object) -> None:
        raise error

    monkeypatch.setattr(_draw, "draw", stopped)
    missed = ("--slo", "ttft.p50<0.001ms")
    for more, code in (((), 0), (missed, 1)):
        ran = run("profile", "--url", simulator.url, "-n", "3", *FAST, *more, plots=True)
        assert ran.code == code
        assert says in ran.out
        assert f"draw them with: genbench report {ran.folder}" in ran.out
        assert "(begin with summary.md)" in ran.out


def test_old_figures_do_not_stay(run: Runner, two: tuple[Path, Path]) -> None:
    plots = two[0] / "plots"
    plots.mkdir()
    (plots / "lengths.png").write_bytes(b"of another time")  # all of this run's requests have the same lengths
    assert run("report", str(two[0])).code == 0
    assert not (plots / "lengths.png").exists()


def test_a_folder_that_cannot_be_written_is_reported_elsewhere(
    run: Runner, two: tuple[Path, Path], tmp_path: Path
) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in two[0].iterdir()}
    ran = run("report", str(two[0]), "--out", str(tmp_path / "out"), "--no-plots")
    assert ran.code == 0
    assert {path.name: path.stat().st_mtime_ns for path in two[0].iterdir()} == before
    assert {path.name for path in (tmp_path / "out").iterdir()} == NUMBERS - {"run.json", "requests.jsonl"}


def test_json_is_all_that_is_on_stdout(run: Runner, two: tuple[Path, Path], tmp_path: Path) -> None:
    ran = run("report", str(two[0]), "--json", "--format", "html", "--out", str(tmp_path / "out"))
    assert json.loads(ran.out)["outcomes"] == {"ok": 6}
    assert (tmp_path / "out" / "report.html").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--no-plots", "--format", "png"), "--no-plots and --format png contradict each other; give one of them"),
        (("--dialect", "vllm", "--format", "html"), "--dialect shows figures and writes nothing"),
        (("--out", __file__), "is a file; name a folder"),
    ],
)
def test_options_that_do_not_go_together(
    run: Runner, two: tuple[Path, Path], arguments: tuple[str, ...], says: str
) -> None:
    ran = run("report", str(two[0]), *arguments)
    assert ran.code == 2
    assert says in ran.err
    assert ran.err.count("\n") == 1


def test_names_that_look_alike_are_told_apart(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("x y", "x  y", "run\u2028one", "a/z", "b/z")]
    assert [name for name, _ in named(folders)] == ["x y", "x y (2)", "run one", "z", "z (2)"]
