"""An A/B's own rules, without a server: order, length of a block, what is refused, what its folder says."""

import json
from pathlib import Path
from typing import Any

import pytest

from genbench import config
from genbench.errors import ConfigError, RecordError
from genbench.metrics.summary import Run, summarise
from genbench.records import table_from
from genbench.resolve import resolve
from genbench.studies import run_ab_files as files
from genbench.studies.run_ab import Wanted, check_budget, line, sides
from genbench.types import Phase
from tests.metrics.made import ns, stream

URLS = {"a": "http://a:1", "b": "http://b:2"}


def both(**named: Any) -> dict[str, config.Given]:
    return sides(config.load(named), URLS, {})


def test_the_order_is_abba() -> None:
    assert list(files.order(4)) == [(1, "a"), (1, "b"), (2, "b"), (2, "a"), (3, "a"), (3, "b"), (4, "b"), (4, "a")]
    assert files.label(3, "b") == "03-b"


@pytest.mark.parametrize(
    ("named", "count", "seconds"),
    [
        ({}, 50, 30.0),
        ({"concurrency": "8"}, 50, 30.0),
        ({"concurrency": "64"}, 320, 30.0),
        ({"request_rate": "20"}, None, 10.0),
        ({"request_rate": "2"}, None, 25.0),  # 50 arrivals
        ({"request_rate": "0.1"}, None, 60.0),
        ({"request_rate": "inf", "concurrency": "20"}, 100, None),
        ({"request_count": "7"}, 7, None),
        ({"duration_s": "4"}, None, 4.0),
        ({"ramp": "1:5:20s"}, None, 20.0),
        ({"stages": "5@3s,6@4s"}, None, 7.0),
    ],
)
def test_the_length_of_a_block(named: dict[str, str], count: int | None, seconds: float | None) -> None:
    for given in both(**named).values():
        load = resolve(given)[0].load
        assert (load.request_count, load.duration_s) == (count, seconds)


def test_the_sides_differ_in_server_and_model_only() -> None:
    found = sides(config.load({"isl": "9", "model": "both"}), URLS, {"a": None, "b": "other"})
    assert [given.config.target.url for given in found.values()] == [("http://a:1",), ("http://b:2",)]
    assert [given.config.target.model for given in found.values()] == ["both", "other"]
    assert {given.config.workload for given in found.values()} == {found["a"].config.workload}


@pytest.mark.parametrize(
    ("named", "urls", "says"),
    [
        ({"url": ("http://c",)}, URLS, "--url http://c: run-ab has two servers; name them with --a URL and --b URL"),
        ({"plan": "p.jsonl"}, URLS, "--plan p.jsonl: run-ab makes a plan for each round"),
        ({"server_metrics": ("http://127.0.0.1:1",)}, URLS, "--server-metrics http://127.0.0.1:1: each side's own"),
        ({"gpu_telemetry": ("http://127.0.0.1:1",)}, URLS, "--gpu-telemetry http://127.0.0.1:1: it would be read for"),
        ({"until_ci": "ttft.p95:5%"}, URLS, "--until-ci ttft.p95:5%: blocks have to be equally long"),
        ({"isl": "0"}, URLS, "--isl 0"),
        ({}, {"a": "http://a"}, "run-ab needs two servers and --b is not given; name them with --a URL --b URL"),
        ({}, {}, "run-ab needs two servers and --a and --b are not given"),
    ],
)
def test_what_does_not_go_with_two_servers(named: dict[str, Any], urls: dict[str, str], says: str) -> None:
    with pytest.raises(ConfigError) as error:
        sides(config.load(named), urls, {})
    assert str(error.value).startswith(says)


@pytest.mark.parametrize("rounds", [2, 0, -1, 1001])
def test_too_few_rounds(rounds: int) -> None:
    with pytest.raises(ConfigError, match=f"--rounds {rounds}: must be from 3 to 1000; 8 or more are recommended"):
        Wanted(rounds)


@pytest.mark.parametrize(
    ("named", "budget", "refused"),
    [
        ({"duration_s": "10"}, 59.0, True),
        ({"duration_s": "10"}, 60.0, False),
        ({"duration_s": "10"}, None, False),
        ({"stages": "5@3s,6@4s"}, 41.0, True),
        ({"duration_s": "10", "request_count": "4"}, 1.0, False),  # whichever comes first
        ({}, 1.0, False),
    ],
)
def test_a_budget_holds_three_rounds(named: dict[str, str], budget: float | None, refused: bool) -> None:
    blocks, wanted = both(**named), Wanted(budget_s=budget)
    if not refused:
        check_budget(blocks, wanted)
        return
    with pytest.raises(ConfigError, match=f"--budget {budget:g} s: 3 rounds of two blocks of "):
        check_budget(blocks, wanted)


# -- the folder --------------------------------------------------------------------------------------------------------


def block(k: int, side: str) -> dict[str, Any]:
    return {"round": k, "side": side, "folder": f"blocks/{k:02d}-{side}"}


def test_a_round_is_complete_with_both_blocks() -> None:
    blocks = [block(1, "a"), block(1, "b"), block(2, "b"), block(2, "a"), block(3, "a")]
    assert files.pairs({"blocks": blocks}) == {
        1: ("blocks/01-a", "blocks/01-b"),
        2: ("blocks/02-a", "blocks/02-b"),
    }


def test_two_rounds_are_no_comparison(tmp_path: Path) -> None:
    (tmp_path / "ab.json").write_text(json.dumps({"kind": "ab", "schema": 1, "blocks": [block(1, "a"), block(1, "b")]}))
    with pytest.raises(RecordError, match="has 1 complete round, a comparison takes at least 3; go on with genbench"):
        files.read(tmp_path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "is no A/B: cannot read ab.json"),
        ("{", "is not JSON"),
        ('{"kind": "sweep", "schema": 1}', "is not what run-ab writes"),
        ('{"kind": "ab", "schema": 99}', "has schema 99, this genbench reads up to 1"),
    ],
)
def test_a_folder_that_is_none(content: str | None, says: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "ab.json").write_text(content)
    with pytest.raises(RecordError, match=says):
        files.describe(tmp_path)


@pytest.mark.parametrize(
    ("urls", "models", "names"),
    [
        (("http://old:8000", "http://new:8000"), ("m", "m"), ("old:8000", "new:8000")),
        (("http://x:1", "http://x:1"), ("base", "fp8"), ("base", "fp8")),
        (("http://x:1", "http://x:1"), ("m", "m"), ("A", "B")),
        (("unix:///run/a.sock", "unix:///run/b.sock"), ("m", "m"), ("unix:///run/a.sock", "unix:///run/b.sock")),
    ],
)
def test_names_tell_the_sides_apart(urls: tuple[str, str], models: tuple[str, str], names: tuple[str, str]) -> None:
    servers = {side: {"url": url, "model": model} for side, url, model in zip("ab", urls, models, strict=True)}
    assert files.names({"servers": servers}) == names


def made(*sent_ms: float) -> Run:
    """A run whose requests take 10 ms, the first of them for warm-up."""
    found = table_from(
        stream(k, sent, [sent + 4, sent + 10], phase=Phase.MEASURED if k else Phase.WARMUP)
        for k, sent in enumerate(sent_ms)
    )
    return Run({}, found, summarise(found, {}))


def test_rounds_are_pooled_without_the_pauses() -> None:
    """30 ms of block 1 (its warm-up left out), then 20 ms of block 2: 4 requests in 50 ms."""
    whole = files.pooled([made(1000, 1020, 1040), made(9000, 9020, 9030)])
    assert whole.table.index.tolist() == [0, 1, 2, 3]
    assert (whole.table.sent_ns - whole.table.sent_ns[0]).tolist() == [0, ns(20), ns(30), ns(40)]
    assert whole.summary.run["duration"].value == pytest.approx(0.050)
    assert whole.summary.run["request_throughput"].value == pytest.approx(80)
    assert whole.summary.metrics["ttft"].stats["p50"] == pytest.approx(4)
    assert whole.table.dns_ns.tolist() == [-1] * 4  # what is not there stays so


def test_a_block_in_a_line() -> None:
    entry = {"round": 2, "side": "b", "outcomes": {"ok": 9, "truncated": 1}, "run": {}, "verdict": "SUSPECT",
             "seconds": 1.234}  # fmt: skip
    assert line(entry, 10) == "round 2 of 10, B: 9 of 10 ok, SUSPECT (1.2 s)"
    entry["run"] = {"request_throughput": {"value": 12.345}}
    assert line(entry, 10) == "round 2 of 10, B: 9 of 10 ok, 12.35 req/s, SUSPECT (1.2 s)"
