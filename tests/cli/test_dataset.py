"""`genbench dataset show`: counts, lengths, shares and hashes, each worked out by hand; nothing is sent."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.runs import Runner


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def shown(run: Runner, *words: str) -> dict[str, Any]:
    ran = run("dataset", "show", *words, "--json")
    assert ran.code == 0, ran.err
    found: dict[str, Any] = json.loads(ran.out)
    return found


@pytest.fixture
def data(run: Runner) -> Path:
    """Prompts of 128 and 192 characters that share their first 64, one that shares nothing."""
    path = Path("in.jsonl")
    rows = [
        {"prompt": "a" * 64 + "b" * 64, "max_tokens": 5},
        {"prompt": "a" * 64 + "c" * 128, "max_tokens": 7},
        {"prompt": "d" * 100},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_what_a_file_holds(run: Runner, data: Path) -> None:
    found = shown(run, f"jsonl:{data}")
    assert (found["requests"], found["conversations"], found["unit"]) == (3, 3, "words")
    assert found["isl"]["count"] == 3
    assert (found["isl"]["min"], found["isl"]["max"]) == (1, 1)
    assert (found["osl"]["count"], found["osl"]["mean"], found["osl"]["p50"]) == (2, 6, 6)
    # 2, 3 and 1 whole blocks of 64 characters; the second prompt's first block was seen before
    assert found["shared_prefix"]["pct"] == pytest.approx(100 / 6)
    assert found["turns"] is None


def test_tokens_by_the_tokenizer(run: Runner, bpe: Path) -> None:
    (Path("in.jsonl")).write_text('{"prompt": "the time is now"}\n{"prompt": "the time"}\n')
    found = shown(run, "jsonl:in.jsonl", "--tokenizer", str(bpe))
    assert found["unit"] == "tokens"
    assert found["isl"]["max"] > found["isl"]["min"] >= 2


def test_the_first_rows_only(run: Runner, data: Path) -> None:
    assert shown(run, f"jsonl:{data}", "--request-count", "2")["requests"] == 2


def test_conversations_and_their_turns(run: Runner) -> None:
    (Path("talk.jsonl")).write_text('{"turns": [{"prompt": "a"}, {"prompt": "b"}]}\n{"prompt": "c"}\n')
    found = shown(run, "jsonl:talk.jsonl")
    assert (found["requests"], found["conversations"]) == (3, 2)
    assert (found["turns"]["min"], found["turns"]["max"]) == (1, 2)


def test_drawn_prompts_and_their_hash(run: Runner) -> None:
    one = shown(run, "--isl", "10-20", "--osl", "5")
    assert (one["requests"], one["unit"]) == (1000, "tokens")
    assert 10 <= one["isl"]["min"] < one["isl"]["max"] <= 20
    assert one["osl"]["histogram"]["counts"] == [1000]
    assert shown(run, "--isl", "10-20", "--osl", "5")["sha256"] == one["sha256"]
    assert shown(run, "--isl", "10-20", "--osl", "5", "--seed", "1")["sha256"] != one["sha256"]


def test_what_was_left_out(run: Runner, data: Path, bpe: Path) -> None:
    bounds = ("--max-isl", "200", "--tokenizer", str(bpe))
    found = shown(run, f"jsonl:{data}", *bounds)
    assert sum(found["dropped"].values()) + found["requests"] == 3


def test_the_page(run: Runner, data: Path) -> None:
    ran = run("dataset", "show", f"jsonl:{data}")
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert lines[0] == f"jsonl:{data}: 3 requests"
    assert max(map(len, lines[1:])) <= 100
    assert "shared prefixes: a cache could answer 16.7 % in blocks of 64 characters" in lines
    assert lines[-1].startswith("sha256 ")
    assert ran.out.isascii()


def test_a_trace_shows_its_times(run: Runner) -> None:
    example = Path(__file__).parents[2] / "examples" / "data" / "azure-llm.csv"
    ran = run("dataset", "show", f"azure-llm:{example}")
    assert "times over" in ran.out.splitlines()[0]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("nosuch:x",), "no data set 'nosuch'; use one of"),
        (("jsonl:none.jsonl",), "none.jsonl: no such file"),
        (("sharegpt",), "sharegpt"),
        (("--tokenizer", "server"), "nothing is sent here"),
    ],
)
def test_wrong_use(run: Runner, words: tuple[str, ...], says: str) -> None:
    ran = run("dataset", "show", *words)
    assert ran.code == 2
    assert says in ran.err
    assert ran.err.count("\n") == 1
