"""The three transports against a real engine: the same bodies, the same answers, the same counts."""

import json
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from genbench.types import EventKind
from tests.engines.serving import Engine, Ran, profile

pytestmark = [pytest.mark.engines, pytest.mark.timeout(240)]

MODEL = {"transformers": "./tiny", "llama": "tiny", "vllm": "tiny"}
# Greedy, so that an answer depends on its prompt alone; the same salt, so that the prompts are the same.
SAME = ("-n", "6", "--isl", "32", "--osl", "12", "--temperature", "0", "--salt", "parity", "--save-outputs")
HIDDEN = (EventKind.DONE, EventKind.COMMENT)  # what the SDK keeps to itself


@pytest.fixture(params=["transformers", "llama", "vllm"])
def named(request: pytest.FixtureRequest) -> tuple[str, Engine]:
    """Each engine in turn, with its name."""
    return request.param, request.getfixturevalue(request.param)


def said(ran: Ran) -> list[Mapping[str, Any]]:
    """Of each request what does not depend on time, in the order of the plan, and the answer's text."""
    lines = (ran.folder / "outputs.jsonl").read_text().splitlines()
    texts = {row["index"]: row for row in map(json.loads, lines)}
    rows: list[Mapping[str, Any]] = []
    for row in sorted(ran.records, key=lambda row: int(row["index"])):
        # How many tokens an event holds is a matter of time: vLLM puts those that wait into one.
        kinds = [kind for kind, _ in groupby(row.get("event_kind", [])) if kind not in HIDDEN]
        counts = {name: row.get(name) for name in ("isl_usage", "osl_usage", "isl_tokenizer", "osl_tokenizer")}
        ends = {name: row.get(name) for name in ("status", "finish_reason", "request_bytes", "streamed")}
        rows.append({"kinds": kinds, "text": texts[row["index"]], **counts, **ends})
    return rows


@pytest.mark.parametrize("kind", ["chat", "completions"])
@pytest.mark.parametrize("stream", ["--stream", "--no-stream"])
def test_the_same_answers(named: tuple[str, Engine], tmp_path: Path, tokenizer: str, kind: str, stream: str) -> None:
    name, engine = named
    ran = {}
    for transport in ("wire", "aiohttp", "openai"):
        options = (*SAME, "--transport", transport, "--endpoint-type", kind, stream)
        ran[transport] = profile(
            tmp_path / transport, engine.url, *options, "--model", MODEL[name], "--tokenizer", tokenizer
        )
        assert (ran[transport].code, ran[transport].summary["outcomes"]) == (0, {"ok": 6}), ran[transport].err
        health = ran[transport].header["health"]
        assert health["transport"] == transport
        assert health["stamp_source"] == "the read clock" or transport == "wire"
        for row in ran[transport].records:
            stamps = [row["start_ns"], row["sent_ns"], row["headers_ns"], *row["event_ns"], row["end_ns"]]
            assert stamps == sorted(stamps)
    assert len({one.header["bodies_sha256"] for one in ran.values()}) == 1
    assert ran["openai"].header["health"]["bodies_rewritten"] == 0
    assert len(said(ran["wire"])) == 6
    assert said(ran["aiohttp"]) == said(ran["wire"])
    assert said(ran["openai"]) == said(ran["wire"])
