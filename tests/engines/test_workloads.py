"""Conversations and plans against real engines: history grows turn by turn, and two engines get the same bytes."""

import json
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.engines.serving import Engine, Ran, profile

pytestmark = [pytest.mark.engines, pytest.mark.timeout(240)]

Bench = Callable[..., Ran]
MODEL = {"transformers": "./tiny", "llama": "tiny", "vllm": "tiny"}
TURNS, ISL, OSL = 3, 20, 8


@pytest.fixture(params=["transformers", "llama", "vllm"])
def named(request: pytest.FixtureRequest) -> tuple[str, Engine]:
    """Each engine in turn, with its name."""
    return request.param, request.getfixturevalue(request.param)


def conversations(ran: Ran) -> list[list[dict[str, Any]]]:
    """The measured records of each conversation, in the order of its turns."""
    found: dict[int, list[dict[str, Any]]] = {}
    for row in ran.records:
        if row.get("phase", 1):
            found.setdefault(row["session"], []).append(row)
    return [sorted(rows, key=lambda row: row.get("turn", 0)) for rows in found.values()]


@pytest.mark.parametrize("options", [(), ("--session-connection",)], ids=["pool", "own connection"])
def test_the_servers_own_answers_come_back(
    named: tuple[str, Engine], bench: Bench, tokenizer: str, options: tuple[str, ...]
) -> None:
    name, engine = named
    words = f"--turns {TURNS} --isl {ISL} --osl {OSL} --think-time 20ms -c 2 --request-count 18 --save-outputs"
    ran = bench(engine, *words.split(), "--model", MODEL[name], "--tokenizer", tokenizer, "--save-inputs", *options)
    assert ran.code == 0, ran.err
    assert ran.summary["outcomes"] == {"ok": 18}
    lines = (ran.folder / "inputs.jsonl").read_text().splitlines()
    sent = {row["index"]: row["body"]["messages"] for row in map(json.loads, lines)}
    lines = (ran.folder / "outputs.jsonl").read_text().splitlines()
    said = {row["index"]: row["text"] for row in map(json.loads, lines)}
    talks = conversations(ran)
    assert [len(rows) for rows in talks] == [TURNS] * 6
    for rows in talks:
        for before, after in pairwise(rows):
            assert after["intended_ns"] - before["end_ns"] == 20_000_000
            assert after["sent_ns"] >= after["intended_ns"]
            history = sent[after["index"]]
            assert history[: len(sent[before["index"]])] == sent[before["index"]]
            assert history[-2] == {"role": "assistant", "content": said[before["index"]]}
            assert after["isl_tokenizer"] >= before["isl_tokenizer"] + ISL
            if "isl_usage" in before:
                assert after["isl_usage"] >= before["isl_usage"] + ISL
        if options:
            assert len({row["connection"] for row in rows}) == 1
    assert ran.summary["metrics"]["ttft_first_turn"]["count"] == 6
    assert ran.summary["metrics"]["ttft_later_turns"]["count"] == 12


def test_one_plan_for_two_engines(vllm: Engine, llama: Engine, tmp_path: Path, tokenizer: str) -> None:
    plan = tmp_path / "plan.jsonl"
    words = f"plan --model tiny --tokenizer {tokenizer} --isl-osl 32:4@50,64:8@50 -r 10 -n 20 --out {plan}"
    subprocess.run([sys.executable, "-m", "genbench", *words.split()], check=True, capture_output=True)
    ran = [profile(tmp_path / name, engine.url, "--plan", str(plan)) for name, engine in
           (("vllm", vllm), ("llama", llama))]  # fmt: skip
    assert [one.summary["outcomes"] for one in ran] == [{"ok": 20}] * 2, ran[0].err
    first, second = (one.header for one in ran)
    for key in ("bodies_sha256", "offsets_sha256", "dataset_sha256"):
        assert first[key] == second[key]
    lengths = [[row["osl_wanted"] for row in one.records] for one in ran]
    assert sorted(lengths[0]) == sorted(lengths[1])
    assert set(lengths[0]) == {4, 8}


def test_prompts_of_random_tokens(vllm: Engine, bench: Bench, tokenizer: str) -> None:
    words = ("--dataset", "random", "--tokenizer", tokenizer, "--isl", "50", "--osl", "4", "-n", "10", "-c", "2")
    ran = bench(vllm, *words, "--endpoint-type", "completions")
    assert ran.summary["outcomes"] == {"ok": 10}
    assert {row["isl_usage"] for row in ran.records} == {50}


def test_the_models_length_is_known(vllm: Engine, bench: Bench, tokenizer: str) -> None:
    ran = bench(vllm, "--isl", "2040", "--osl", "64", "-n", "4", "--tokenizer", tokenizer, "--on-too-long", "fail")
    assert ran.code == 2
    assert "beyond the model's 2048 tokens" in ran.err
    assert not ran.folder.exists()


def test_a_shared_prefix_is_found_in_the_cache(vllm: Engine, bench: Bench, tokenizer: str) -> None:
    """vLLM's blocks on a CPU have 128 tokens: of a prefix of 300 at most one of them is not whole."""
    words = ("--shared-prefix-tokens", "300", "--isl", "20", "--osl", "2", "-n", "20", "-c", "1", "--warmup", "0")
    ran = bench(vllm, *words, "--tokenizer", tokenizer)
    cached = [
        row["cached_tokens"] for row in sorted(ran.records, key=lambda row: row["index"]) if "cached_tokens" in row
    ]
    if not cached:
        pytest.skip("this vLLM does not report cached tokens")
    assert min(cached[1:]) >= 300 - 128
    assert ran.summary["run"]["cached_input_pct"]["value"] > 50
    assert "cached_tokens" not in {finding["check"] for finding in ran.summary["findings"]}
