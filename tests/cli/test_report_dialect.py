"""`genbench report RUN --dialect NAME`: the table, its JSON, and a name that is none."""

import json
import shutil
from pathlib import Path

import pytest

from genbench.cli.dialect import WIDTH, text
from genbench.cli.report import DIALECTS
from genbench.metrics import dialects
from genbench.metrics.dialects import Dialect, Figure, Row
from tests.runs import Runner

DEMO = Path(__file__).parent.parent.parent / "examples" / "runs" / "SIMULATED-demo"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run of 24 requests, 8 tokens each, from the embedded engine's script: 50 ms, then 20 ms."""
    return Path(shutil.copytree(DEMO, tmp_path / "demo"))


def test_every_dialect_can_be_asked_for() -> None:
    assert list(DIALECTS) == list(dialects.DIALECTS)


@pytest.mark.parametrize("name", DIALECTS)
def test_the_table(run: Runner, folder: Path, name: str) -> None:
    ran = run("report", str(folder), "--dialect", name)
    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert ran.out.isascii()
    assert lines[1] == f"from the log of {folder}"
    assert max(map(len, lines[2:])) <= WIDTH
    (head,) = (line for line in lines if line.endswith("genbench's row: why they differ"))
    assert head.split()[:2] == [name, "genbench"]
    assert " ttft: " in ran.out or " ttft_intended: " in ran.out


def test_figures_stand_side_by_side(run: Runner, folder: Path) -> None:
    out = run("report", str(folder), "--dialect", "guidellm").out
    lines = out.splitlines()
    # 50 ms and seven gaps of 20 ms over 8 tokens: 190 / 8 = 23.75; ours without the first token 20.
    itl, tpot = (next(i for i, line in enumerate(lines) if line.startswith(f"{name} (ms)")) for name in ("ITL", "TPOT"))
    assert lines[tpot + 1].split()[:3] == ["Mean", "23.78", "23.78"]
    assert lines[itl + 1].split()[:3] == ["Mean", "20.01", "20.01"]
    assert "divides by OSL, not OSL - 1" in " ".join(line[56:].strip() for line in lines[tpot : tpot + 8])


def test_as_json(run: Runner, folder: Path) -> None:
    ran = run("report", str(folder), "--dialect", "vllm", "--json")
    assert ran.code == 0
    found = json.loads(ran.out)
    assert (found["dialect"], found["tool"]) == ("vllm", "vllm bench serve 0.32")
    rows = {row["name"]: row for row in found["rows"]}
    assert set(rows["TTFT"]) == {"name", "unit", "ours", "why", "figures"}
    assert rows["TTFT"]["ours"] == "ttft"
    assert [one["stat"] for one in rows["TTFT"]["figures"]] == ["Mean", "Median", "P99", "std (result file)"]
    assert rows["TTFT"]["figures"][0]["theirs"] == pytest.approx(50, abs=1)
    (peak,) = rows["Peak output token throughput"]["figures"]
    assert (peak["stat"], peak["ours"]) == ("", None)
    assert rows["Peak output token throughput"]["ours"] is None


def test_an_unknown_name_is_one_sentence_and_code_2(run: Runner, folder: Path) -> None:
    ran = run("report", str(folder), "--dialect", "sglang")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("genbench: ")
    assert ran.err.count("\n") == 1
    assert "'sglang'" in ran.err
    assert "llm-load-test" in ran.err


def test_help_names_them(run: Runner) -> None:
    out = run("report", "--help").out
    for name in DIALECTS:
        assert name in out


def test_without_it_nothing_changes(run: Runner, folder: Path) -> None:
    assert run("report", str(folder)).out.startswith("genbench  simulated-model  chat")


def test_drawing_by_hand() -> None:
    found = Dialect(
        "tool",
        "A tool 1.0",
        (
            Row("First", "ms", "ttft", "because", (Figure("avg", 1234.5, 12.25), Figure("max", None, 0.125))),
            Row("Requests", "", "", "of them", (Figure("", 1500, 3),)),
            Row("Result is", "", "", "a test", (Figure("", "successful", None),)),
        ),
        ("a note",),
    )
    assert text(found, "somewhere") == (
        "A tool 1.0: its figures beside genbench's\n"
        "from the log of somewhere\n"
        "\n"
        "                  tool    genbench  genbench's row: why they differ\n"
        "First (ms)                          ttft: because\n"
        "  avg            1,234       12.25\n"
        "  max                -       0.125\n"
        "Requests         1,500           3  of them\n"
        "Result is   successful           -  a test\n"
        "\n"
        "- a note\n"
    )
    assert text(Dialect("tool", "A tool", (), ("nothing applies",)), "x") == (
        "A tool: its figures beside genbench's\nfrom the log of x\n\n- nothing applies\n"
    )
