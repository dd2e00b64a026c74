"""What makes a comparison unfair: one line for each thing that differs, none for what is the same or not known."""

from pathlib import Path
from typing import Any

import pytest

from genbench.metrics.fairness import Unfair, barred, facts, lines, of_side
from genbench.studies.report import read
from tests.exporters.golden import run as golden
from tests.studies.compared import header, write_run

NAMES = ("old", "new")


def known(folder: Path, **changes: Any) -> dict[str, Any]:
    return facts(read(write_run(folder, requests=30, about=header(**changes))))


def only(found: list[Unfair]) -> Unfair:
    (line,) = found
    return line


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return known(tmp_path_factory.mktemp("base") / "run")


def test_the_same_is_fair(base: dict[str, Any]) -> None:
    assert base["verdict"] == "VALID"
    assert lines(base, dict(base), NAMES) == []


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (
            "dataset_sha256",
            "e" * 64,
            "different requests were sent (dataset_sha256): dddddddddddd against eeeeeeeeeeee",
        ),
        ("model", "big", "model: tiny against big"),
        ("seed", 7, "seed: 0 against 7"),
        ("simulated", True, "what answered: a server against the embedded engine (simulated)"),
        ("preflight__version", "1.1", "version of the engine: 1.0 against 1.1"),
        ("preflight__ignore_eos", False, "ignore_eos sent: yes against no"),
        ("config__workload__temperature", 0.7, "temperature: not sent against 0.7"),
        ("config__workload__top_p", 0.9, "top_p: not sent against 0.9"),
        ("config__workload__request_seed", 5, "seed in the body: not sent against 5"),
        ("config__workload__salt", "none", "salt in front of prompts: new for each run against none"),
        ("config__target__extra", ["a=1", "b=2"], "extra body fields: none against a=1, b=2"),
        ("config__target__url", ["http://a", "http://b"], "number of servers: 1 against 2"),
        ("health__transport", "aiohttp", "transport: wire against aiohttp"),
        ("health__stamp_source", "reads", "times by: kernel stamps against reads"),
        ("tokenizer", "llama", "tokenizer: none against llama"),
        ("genbench", "0.2.0", "genbench: 0.1.0 against 0.2.0"),
        (
            "environment__host",
            "laptop",
            "client: bench, Linux, 8 CPUs, Python 3.11 against laptop, Linux, 8 CPUs, Python 3.11",
        ),
        (
            "config__load__concurrency",
            16,
            "different loads: 1 at a time against 16 at a time; every row compares the loads as well",
        ),
    ],
)
def test_one_line_for_each_thing(path: str, value: Any, says: str, base: dict[str, Any], tmp_path: Path) -> None:
    line = only(lines(base, known(tmp_path / "run", **{path: value}), NAMES))
    assert line.text == says
    assert line.bars == ()


def test_what_a_line_bars(base: dict[str, Any]) -> None:
    other = {**base, "stream": False, "sources": {**base["sources"], "osl": "tokenizer"}}
    found = lines(base, other, NAMES)
    assert [line.text for line in found] == [
        "streamed: yes against no",
        "output tokens are counted by: usage against tokenizer",
    ]
    reasons = barred(found)
    assert reasons["ttft"] == "only one was streamed"
    assert reasons["output_token_throughput"] == "output tokens counted differently"
    assert reasons["tpot"] == "only one was streamed"  # both bar it: the first says why
    assert "request_latency" not in reasons


@pytest.mark.parametrize(
    ("length", "says"),
    [
        ({"median": 102.0, "mean": 102.0}, None),  # 2 %, which is not more
        ({"median": 103.0, "mean": 100.0}, "median 100 against 103 tokens"),
        ({"median": 100.0, "mean": 90.0}, "mean 100 against 90 tokens"),
        ({"median": 50.0, "mean": 60.0}, "median 100 against 50 tokens, mean 100 against 60 tokens"),
    ],
)
def test_delivered_lengths(length: dict[str, float], says: str | None, base: dict[str, Any]) -> None:
    a = {**base, "osl": {"median": 100.0, "mean": 100.0}}
    found = lines(a, {**a, "osl": length}, NAMES)
    assert [line.text for line in found] == (
        [] if says is None else [f"output lengths: {says}; times and throughputs are of unequal work"]
    )


def test_cached_tokens_by_points(base: dict[str, Any]) -> None:
    a = {**base, "cached_pct": 0.0}
    assert lines(a, {**a, "cached_pct": 0.9}, NAMES) == []
    assert only(lines(a, {**a, "cached_pct": 35.0}, NAMES)).text == (
        "input tokens from the prefix cache: 0 % against 35 %"
    )


def test_moments_of_arrival_differ_under_the_same_load(base: dict[str, Any]) -> None:
    a = {**base, "load": {"request_rate": 4.0}, "offsets_sha256": "a" * 64}
    b = {**a, "offsets_sha256": "b" * 64}
    assert only(lines(a, b, NAMES)).key == "arrivals"
    assert only(lines(a, {**b, "seed": 3}, NAMES)).key == "seed"  # which says it already
    poisson, constant = a["load"], {"request_rate": 4.0, "arrival": "constant"}
    assert only(lines(a, {**a, "load": constant}, NAMES)).text.startswith(
        "different loads: Poisson arrivals at 4 req/s against constant gaps at 4 req/s"
    )
    assert poisson == {"request_rate": 4.0}


def test_promises_differ(base: dict[str, Any]) -> None:
    a, b = ({**base, "slo": [rule]} for rule in ("ttft.p95<50ms", "ttft.p95<80ms"))
    line = only(lines(a, b, NAMES))
    assert line.text == "promises (SLOs): ttft.p95<50ms against ttft.p95<80ms"
    assert line.bars == ("goodput", "slo_attainment")
    assert lines(a, {**a, "slo": []}, NAMES) == []  # then there is no goodput on one side, which its row says


def test_doubtful_runs(base: dict[str, Any]) -> None:
    bad = {**base, "verdict": "SUSPECT", "findings": ["the CPU was busy", "lag"], "interrupted": True}
    assert [line.text for line in lines(base, bad, NAMES)] == [
        "new was interrupted: it is not the whole run",
        "new is SUSPECT: the CPU was busy (and 1 more)",
    ]


def test_what_is_not_known_is_no_difference(base: dict[str, Any]) -> None:
    imported = {**base, "imported": "vllm 0.9", "engine": None, "transport": None, "client": None, "load": {}}
    found = lines(base, imported, NAMES)
    assert [line.text for line in found] == [
        "measured by: genbench against imported from vllm 0.9; each takes its own moments (docs/import.md)",
        "not known of new: load, transport, version of the engine, client",
    ]


def test_a_run_with_next_to_no_header_has_facts() -> None:
    run = golden()
    found = facts(run)
    assert found["load"] == {"request_rate": 20.0, "concurrency": 4}
    assert found["isl"] == {"median": 533.0, "mean": 533.0}
    assert found["requests"] == 52  # a 429 is not counted twice
    assert lines(found, found, NAMES)[0].text.startswith("old is SUSPECT: 5.88 % of the requests failed")


def test_repeats_that_are_not_alike(base: dict[str, Any]) -> None:
    others = [{**base, "seed": 1, "dataset_sha256": "e" * 64}, {**base, "model": "big"}]
    assert only(of_side([base, *others], "new")).text == "the repeats of new are not alike: model"
    assert of_side([base, others[0]], "new") == []


def test_a_long_value_is_cut(base: dict[str, Any]) -> None:
    line = only(lines(base, {**base, "extra": ["x" * 300]}, NAMES))
    assert len(line.text) < 130
