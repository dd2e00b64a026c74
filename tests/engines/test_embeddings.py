"""Embeddings against infinity (a real model) and llama-cpp-python."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.engines.serving import Engine, Ran

pytestmark = [pytest.mark.engines, pytest.mark.timeout(240)]

Bench = Callable[..., Ran]
SMALL = ("--endpoint-type", "embeddings", "--request-count", "10", "--isl", "32")


@pytest.fixture(scope="session")
def embedding_llama(start_llama: Callable[..., Engine]) -> Engine:
    """llama-cpp-python that embeds."""
    return start_llama("--embedding", "True")


@pytest.mark.parametrize("load", [("-c", "1"), ("-c", "2"), ("-r", "20")], ids=["c1", "c2", "r20"])
def test_infinity_embeds_every_input(infinity: Engine, bench: Bench, minilm: str, load: tuple[str, str]) -> None:
    ran = bench(infinity, *SMALL, *load, "--batch-size", "3", "--tokenizer", minilm)
    assert (ran.code, ran.summary["outcomes"]) == (0, {"ok": 10}), ran.err
    for row in ran.records:
        assert row["embeddings"] == 3
        assert row["isl_tokenizer"] == 96
    assert not {"ttft", "itl", "osl"} & set(ran.summary["metrics"])


def test_infinity_counts_characters(infinity: Engine, bench: Bench) -> None:
    ran = bench(infinity, *SMALL)
    assert ran.code == 0, ran.err
    assert any("the server's usage counts characters" in note for note in ran.summary["notes"])
    assert ran.stat("isl") > 32 * 4  # words of five letters and a space: the prompts are not cut short for it


def test_infinity_answers_as_its_own_model(infinity: Engine, bench: Bench) -> None:
    ran = bench(infinity, *SMALL, "--model", "nope")
    assert any("lists minilm and no 'nope'" in note for note in ran.summary["notes"])


@pytest.mark.parametrize("extra", ["encoding_format=base64", "dimensions=16"])
def test_infinity_with_other_vectors(infinity: Engine, bench: Bench, extra: str) -> None:
    ran = bench(infinity, *SMALL, "--extra", extra)
    assert (ran.code, ran.summary["outcomes"]) == (0, {"ok": 10}), ran.err


def test_infinity_with_a_file(infinity: Engine, bench: Bench, tmp_path: Path, minilm: str) -> None:
    file = tmp_path / "texts.jsonl"
    file.write_text('{"text": "one"}\n{"text": "two words"}\n{"text": "three of them"}\n')
    options = ("--endpoint-type", "embeddings", "-n", "4", "--tokenizer", minilm, "--salt", "none", "--warmup", "0")
    ran = bench(infinity, *options, "-i", str(file), "--batch-size", "2")
    assert ran.code == 0, ran.err
    assert [(row["embeddings"], row["isl_tokenizer"]) for row in ran.records] == [(2, 3), (1, 3)] * 2


def test_infinity_has_no_chat(infinity: Engine, bench: Bench) -> None:
    ran = bench(infinity, "-n", "2")
    assert (ran.code, ran.out) == (2, "")
    assert "knows no /v1/chat/completions (HTTP 404" in ran.err


@pytest.mark.parametrize("batch", [1, 4])
def test_llama_embeds_every_token(embedding_llama: Engine, bench: Bench, tokenizer: str, batch: int) -> None:
    """Its `embedding` is a list of vectors, one per token: still one embedding per input."""
    ran = bench(embedding_llama, *SMALL, "--batch-size", str(batch), "--tokenizer", tokenizer)
    assert (ran.code, ran.summary["outcomes"]) == (0, {"ok": 10}), ran.err
    for row in ran.records:
        assert row["embeddings"] == batch
        assert row["isl_tokenizer"] == 32 * batch
        assert abs(row["isl_usage"] - row["isl_tokenizer"]) <= 2 * batch


def test_llama_without_the_flag_refuses(llama: Engine, bench: Bench) -> None:
    ran = bench(llama, *SMALL)
    assert ran.code == 3
    assert "must be created with embedding=True" in ran.err
