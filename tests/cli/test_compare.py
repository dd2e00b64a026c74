"""`genbench compare` as a user types it: exit codes, what stands on stdout, what is written, and the mistakes."""

import json
from pathlib import Path

import pytest

from tests.runs import Runner
from tests.studies.compared import write_run

REQUESTS = 130


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each run's own intervals, most of the time to read it, take no part in a comparison."""
    monkeypatch.setattr("genbench.stats.block_bootstrap", lambda *_, **__: {})


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with `old`, `new` (the same engine) and `slow`, which is where commands run."""
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "old", seed=1, requests=REQUESTS)
    write_run(tmp_path / "new", seed=2, requests=REQUESTS)
    write_run(tmp_path / "slow", seed=3, gap=24, requests=REQUESTS)
    return tmp_path


RULE = ("--fail-if", "itl.mean worse 5%")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(("old", "new"), 0), (("old", "slow"), 0), (("old", "new", *RULE), 0), (("old", "slow", *RULE), 1)],
)
def test_exit_codes(arguments: tuple[str, ...], code: int, run: Runner, runs: Path) -> None:
    ran = run("compare", *arguments, "--no-plots", "--out", "out")
    assert (ran.code, ran.err) == (code, "")
    assert ran.out.endswith("\nfiles: out/\n")
    assert {path.name for path in (runs / "out").iterdir()} == {"compare.json", "compare.md"}


def test_a_comparison_is_no_run(run: Runner, runs: Path) -> None:
    run("compare", "old", "new", "--no-plots", "--out", "out")
    ran = run("report", "out")
    assert ran.code == 2
    assert ran.err == ("genbench: out is what a comparison found; make it anew with genbench compare and its runs\n")


def test_json_and_markdown_are_all_that_is_on_stdout(run: Runner, runs: Path) -> None:
    ran = run("compare", "old", "slow", "--no-plots", "--json", *RULE)
    document = json.loads(ran.out)
    (folder,) = (runs / "artifacts").iterdir()
    assert folder.name.startswith("compare-")
    assert json.loads((folder / "compare.json").read_text()) == document
    assert document["base"] == "old"
    assert [gate["passed"] for gate in document["gates"]] == [False]
    ran = run("compare", "old", "slow", "--no-plots", "--markdown", "--out", "out")
    assert ran.out == (runs / "out" / "compare.md").read_text()
    assert ran.out.startswith("### genbench compare\n")


def test_two_comparisons_in_one_second_have_two_folders(run: Runner, runs: Path) -> None:
    for _ in range(2):
        assert run("compare", "old", "new", "--no-plots").code == 0
    assert len(list((runs / "artifacts").iterdir())) == 2


def test_figures_and_a_page(run: Runner, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genbench.plots._draw.names", lambda: ["ttft_cdf"])
    ran = run("compare", "old", "slow", "--out", "out")
    assert ran.code == 0
    assert {path.name for path in (runs / "out").iterdir()} == {"compare.json", "compare.md", "plots", "report.html"}
    assert {"ratios.csv", "ttft_cdf.csv"} <= {path.name for path in (runs / "out" / "plots").iterdir()}
    assert "slow against old" in (runs / "out" / "report.html").read_text()


def test_a_figure_that_fails_costs_no_comparison(run: Runner, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("of its own")

    monkeypatch.setattr("genbench.contrasts.draw", broken)
    ran = run("compare", "old", "slow", "--out", "out", *RULE)
    assert ran.code == 1
    assert "the figures failed (ZeroDivisionError: of its own)" in ran.out


def test_a_gate_with_a_baseline(run: Runner, runs: Path) -> None:
    """Saved, kept by the same engine, broken by a slower one, which does not become the baseline."""
    saved = run("compare", "old", "--save-baseline", "ci/base.json")
    assert (saved.code, saved.out) == (0, f"baseline: ci/base.json ({_kilobytes(runs)} kB, old)\n")
    before = (runs / "ci" / "base.json").read_bytes()
    gate = ("--baseline", "ci/base.json", "--no-plots", *RULE)
    assert run("compare", *gate, "new").code == 0
    slow = run("compare", *gate, "slow", "--save-baseline", "ci/base.json")
    assert slow.code == 1
    assert "FAIL  itl.mean worse 5%: worse by 2" in slow.out
    assert (runs / "ci" / "base.json").read_bytes() == before
    assert run("compare", *gate, "new", "--save-baseline", "ci/base.json").code == 0
    assert json.loads((runs / "ci" / "base.json").read_text())["name"] == "new"


def _kilobytes(folder: Path) -> str:
    return f"{(folder / 'ci' / 'base.json').stat().st_size / 1000:,.0f}"


def test_repeats_of_two_folders(run: Runner, runs: Path) -> None:
    for side, gap in (("A", 20), ("B", 24)):
        for k in range(2):
            write_run(runs / side / f"r{k}", seed=k, requests=40, gap=gap)
    given = ("A/r0", "A/r1", "B/r0", "B/r1")
    grouped = run("compare", *given, "--repeats", "--no-plots")
    assert grouped.out.startswith("these engines differ: B is slower in ")
    run("compare", "A", "--save-baseline", "A.json")
    by_file = run("compare", "--baseline", "A.json", "B/r0", "B/r1", "--repeats", "--no-plots")
    assert by_file.out.startswith("these engines differ: B is slower in ")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "compare needs two runs or more, and got 0"),
        (("old",), "compare needs two runs or more, and got 1; name another one, or a --baseline FILE"),
        (("old", "old/"), "is given twice; name each run once"),
        (("old", "nothing"), "nothing: there is no such file or folder"),
        (("old", "new", "--min-effect", "two"), "--min-effect two: must be a percentage from 0 to below 100, like 2%"),
        (("old", "new", "--min-effect", "-1%"), "--min-effect -1%: must be a percentage"),
        (
            ("old", "new", "--min-effect", "0.02"),
            "--min-effect 0.02: is that 2% or 0.02%? write it with the percent sign",
        ),
        (("old", "new", "--price", "old=0"), "--price old=0: a price must be a number above zero"),
        (("old", "new", "--price", "old=-2"), "--price old=-2: a price must be a number above zero"),
        (("old", "new", "--price", "2.50"), "--price 2.50: write it like NAME=2.50, in dollars per hour"),
        (("old", "new", "--price", "C=2.50"), "--price C: no side has that name; use old or new"),
        (("old", "new", "--normalize-to", "nwe"), "--normalize-to nwe: no side has that name; use new"),
        (("old", "new", "--fail-if", "ttft.p98 worse 5%"), "ttft.p98 is not among the rows of a comparison"),
        (("old", "new", "--fail-if", "ttft.p99 worse x%"), "x is no percentage"),
        (("--baseline", "none.json", "new"), "genbench compare RUN --save-baseline none.json"),
        (("old", "new", "--save-baseline", "b.json"), "--save-baseline b.json writes one side; name one RUN, not 2"),
        (("old", "new", "--json", "--markdown"), "--json and --markdown both want the screen"),
        (("old", "new", "--out", __file__), "is a file; name a folder"),
        (("old", "new", "--repeats"), "--repeats makes one side of each folder, and all runs are in"),
    ],
)
def test_a_users_mistakes(arguments: tuple[str, ...], says: str, run: Runner, runs: Path) -> None:
    ran = run("compare", *arguments)
    assert ran.code == 2
    assert says in ran.err
    assert ran.err.count("\n") == 1
    assert ran.out == ""
    assert not (runs / "artifacts").exists()


def test_export_with_a_run(run: Runner, tmp_path: Path) -> None:
    fast = ("-n", "3", "-q", "--isl", "20", "--osl", "4")
    refused = run("profile", *fast, "--export", "nope")
    assert refused.code == 2
    assert "unknown name 'nope' in exporters" in refused.err
    assert not refused.folder.exists()
    mine = tmp_path / "mine.py"
    mine.write_text('"""Mine."""\n\n\ndef write(run, out):\n    raise ValueError("not today")\n')
    ran = run("profile", *fast, "--export", "vllm", "--export", str(mine))
    assert ran.code == 0
    assert (ran.folder / "vllm" / "vllm.json").is_file()
