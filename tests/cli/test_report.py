"""`genbench report` and the figures behind a run: what is written where, in which format, and a user's mistakes."""

from pathlib import Path

import pytest

from genbench.plots import _draw
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
