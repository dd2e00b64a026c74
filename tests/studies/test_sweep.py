"""A sweep's own rules, without a server: when auto ends, what a table and a tidy file hold, exit codes, groups."""

import csv
import io
from collections.abc import Sequence
from typing import Any

import pytest

from genbench import config
from genbench.errors import ConfigError, RecordError, TargetError
from genbench.studies import sweep_files, table
from genbench.studies.auto import Auto, gain_pct
from genbench.studies.sweep import Swept, Wanted, check, exit_code, groups_of


def entry(value: float, tokens: float | None = None, **other: Any) -> dict[str, Any]:
    """A point as sweep.json has it, with no more than a test needs."""
    run = {} if tokens is None else {"output_token_throughput": {"unit": "token/s", "value": tokens}}
    found: dict[str, Any] = {
        "by": "concurrency",
        "value": value,
        "group": "",
        "repeat": 0,
        "verdict": "VALID",
        "saturated": "",
    }
    return {**found, "metrics": {}, "run": run, "outcomes": {"ok": 9}, "slo": [], "seconds": 1.0, **other}


def promise(*, kept: bool) -> list[dict[str, Any]]:
    return [{"rule": "ttft.p95<500ms", "passed": kept}]


def loads(tokens: Sequence[float], **last: Any) -> tuple[list[float], str]:
    """The loads that auto asks for while throughput is this, and why it ended."""
    auto, asked = Auto(""), []
    for k, value in enumerate(tokens):
        if auto.value is None:
            break
        asked.append(auto.value)
        auto.add(entry(auto.value, value, **(last if k == len(tokens) - 1 else {})))
    return asked, auto.why


@pytest.mark.parametrize(
    ("tokens", "asked", "why"),
    [
        ([100, 190, 300, 310, 311, 999], [1, 2, 4, 8, 16], "by +3.3 % at 8 and +0.32 % at 16"),
        ([100, 104, 200, 201, 190], [1, 2, 4, 8, 16], "by +0.5 % at 8 and -5.5 % at 16"),  # 104: not confirmed
        ([100, 100, 100], [1, 2, 4], "by +0 % at 2 and +0 % at 4"),
        ([100, 110, 121, 133.1], [1, 2, 4, 8], ""),
        ([2.0**k for k in range(12)], [2.0**k for k in range(11)], "1024 is the highest load that auto tries"),
    ],
)
def test_auto_ends_when_doubling_brings_nothing(tokens: list[float], asked: list[float], why: str) -> None:
    found, said = loads(tokens)
    assert found == asked
    assert said.endswith(why)
    assert bool(said) == bool(why)


@pytest.mark.parametrize(
    ("last", "why"),
    [
        ({"slo": promise(kept=False)}, "ttft.p95<500ms is missed at 4"),
        ({"outcomes": {"ok": 0, "http_error": 9}}, "no request was ok at 4"),
        ({"saturated": "saturated: in flight grew"}, "the server is saturated at 4"),
        ({"slo": promise(kept=True)}, ""),
    ],
)
def test_auto_ends_when_something_breaks(last: dict[str, Any], why: str) -> None:
    assert loads([100, 200, 400], **last) == ([1, 2, 4], why)


def test_auto_ends_when_the_rate_is_not_delivered() -> None:
    def delivered(share: float) -> str:
        auto = Auto(" req/s")
        rates = {"requested_rate": 2.0, "delivered_rate": 2.0 * share}
        auto.add(entry(1.0, run={name: {"unit": "req/s", "value": rate} for name, rate in rates.items()}))
        return auto.why

    assert delivered(0.95) == ""
    assert delivered(0.85) == "only 85 % of the rate were delivered at 1 req/s"


def test_gain_compares_the_same_kind_of_figure() -> None:
    def run(**figures: float) -> dict[str, Any]:
        return {name: {"value": value} for name, value in figures.items()}

    whole, steady = "output_token_throughput", "steady_output_token_throughput"
    assert gain_pct(run(**{whole: 100, steady: 100}), run(**{whole: 90, steady: 110})) == pytest.approx(10)
    assert gain_pct(run(**{whole: 100, steady: 150}), run(**{whole: 120})) == pytest.approx(20)
    assert gain_pct(run(embedding_throughput=10), run(embedding_throughput=15)) == pytest.approx(50)
    assert gain_pct(run(request_throughput=10), run(request_throughput=15)) == pytest.approx(50)
    assert gain_pct(run(**{whole: 0}), run(**{whole: 5})) is None
    assert gain_pct({}, {}) is None


# -- groups and options ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pairs", "groups"),
    [
        (None, ("",)),
        ("128:32", ("",)),
        ("128:32@40,2048:256@60", ("",)),
        ("128:32,2048:256", ("128:32", "2048:256")),
        (" 128:32 , 100-200:256 ", ("128:32", "100-200:256")),
    ],
)
def test_pairs_without_shares_are_curves_of_their_own(pairs: str | None, groups: tuple[str, ...]) -> None:
    assert groups_of(pairs) == groups


@pytest.mark.parametrize(
    ("pairs", "says"), [("128:32,128:32", "128:32 stands there twice"), ("128:32,5", "'5' is not ISL:OSL")]
)
def test_pairs_that_are_none(pairs: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        groups_of(pairs)


@pytest.mark.parametrize(
    ("named", "says"),
    [
        ({"ramp": "1:5:10s"}, "--ramp 1:5:10s says itself how the load goes; a sweep sets it"),
        ({"stages": "5@30s"}, "--stages"),
        ({"speed": "2", "dataset": "azure-llm:x.csv"}, "--speed"),
        ({"plan": "p.jsonl"}, "--plan p.jsonl"),
        ({"arrival": "trace", "dataset": "azure-llm:x.csv"}, "--arrival trace has its own moments"),
        ({"slo": ("tfft.p95<5",)}, "unknown metric 'tfft'"),
        ({"isl": "0"}, "--isl 0"),
    ],
)
def test_what_does_not_go_with_a_sweep(named: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError) as error:
        check(config.load(named))
    assert says in str(error.value)


def test_a_sweep_is_over_a_load() -> None:
    with pytest.raises(ConfigError, match="isl is no load to sweep over"):
        Wanted(by="isl", values=(1.0,))


# -- what is written ---------------------------------------------------------------------------------------------------


def stats(**values: float) -> dict[str, Any]:
    return {"unit": "ms", "count": 9, **values}


def full(value: float, group: str = "") -> dict[str, Any]:
    """A point with large numbers and every mark."""
    tail = {"p50": 123_456.7, "p95": 234_567.8, "p99": 345_678.9}
    run = {name: {"unit": "1/s", "value": 123_456.7} for name in ("request_throughput", "output_token_throughput")}
    metrics = {"ttft": stats(**tail), "itl": stats(p50=123.4, p95=234.5), "request_latency": stats(**tail)}
    marks: dict[str, Any] = {"verdict": "SUSPECT", "slo": promise(kept=False), "saturated": "saturated: in flight grew"}
    return entry(value, group=group, repeat=1, metrics=metrics, run=run, **marks)


def document(points: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "schema": 1, "kind": "sweep", "by": "concurrency", "model": "tiny", "endpoint_type": "chat",
        "simulated": True, "interrupted": False, "gpus": None, "points": points, "left_out": ["16 left out"],
        "analysis": {"sentences": ["A knee.", "word " * 40]},
    }  # fmt: skip


@pytest.mark.parametrize("group", ["", "2048:256", "100-200:1000-2000"])
def test_the_table_is_ascii_and_at_most_100_columns(group: str) -> None:
    text = sweep_files.markdown(document([full(1024, group), entry(2048, group=group)]))
    assert text.isascii()
    assert max(len(line) for line in text.splitlines()) <= 100
    assert text.startswith("```text\ngenbench sweep  tiny  chat  over concurrency  SIMULATED\n\n")
    assert "SUSPECT slo sat\n" in text
    assert "```\n\n- 16 left out\n- A knee.\n- word word" in text
    heads = table.head("concurrency", grouped=bool(group))
    bare = table.line(entry(2048, group=group), grouped=bool(group))
    assert bare.index("  VALID") == heads[1].index("  verdict")  # a value that is not there is a dash below its column
    assert bare.split()[-9:] == ["-"] * 8 + ["VALID"]


def test_embeddings_have_inputs_instead_of_tokens() -> None:
    one = entry(1, run={"embedding_throughput": {"unit": "input/s", "value": 42.0}})
    lines = list(table.table("concurrency", [one]))
    assert "input/s" in lines[1]
    assert " 42.00" in lines[2]
    assert len(lines) == 3  # no mark, no legend


def test_the_tidy_file() -> None:
    one = entry(0.5, 77.5, by="request_rate", metrics={"ttft": stats(mean=5.0, p95=9.25)}, outcomes={"ok": 8, "x": 1})
    rows = list(csv.DictReader(io.StringIO(sweep_files.tidy(document([one])))))
    assert {(row["by"], row["load"], row["group"], row["repeat"]) for row in rows} == {("request_rate", "0.5", "", "0")}
    assert [(row["metric"], row["unit"], row["stat"], row["value"]) for row in rows] == [
        ("ttft", "ms", "count", "9"),
        ("ttft", "ms", "mean", "5.0"),
        ("ttft", "ms", "p95", "9.25"),
        ("output_token_throughput", "token/s", "value", "77.5"),
        ("outcome_ok", "requests", "count", "8"),
        ("outcome_x", "requests", "count", "1"),
    ]


def test_an_analysis_that_fails_costs_nothing() -> None:
    broken = document([{"by": "concurrency"}])
    (said,) = sweep_files.analysed(broken)["sentences"]
    assert said.startswith("the analysis failed (KeyError")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "is no sweep: cannot read sweep.json"),
        ("{", "is not JSON"),
        ('{"kind": "run", "schema": 1}', "is no sweep of genbench"),
        ('{"kind": "sweep", "schema": 99}', "has schema 99, this genbench reads up to 1"),
    ],
)
def test_a_folder_that_is_no_sweep(content: str | None, says: str, tmp_path: Any) -> None:
    if content is not None:
        (tmp_path / "sweep.json").write_text(content)
    with pytest.raises(RecordError, match=says):
        sweep_files.read(tmp_path)


@pytest.mark.parametrize(
    ("points", "code"),
    [
        ([entry(1, slo=promise(kept=True)), entry(2, slo=promise(kept=False))], 0),
        ([entry(2, slo=promise(kept=True)), entry(1, slo=promise(kept=False))], 1),
        ([entry(1), entry(4, group="b", slo=promise(kept=False)), entry(8, group="b")], 1),
        ([entry(1, outcomes={"ok": 0}), entry(2, outcomes={"ok": 0})], 1),
        ([entry(1, outcomes={"ok": 0}), entry(2)], 0),
        ([], 1),
    ],
)
def test_exit_codes(points: list[dict[str, Any]], code: int) -> None:
    assert exit_code(Swept(document(points)), strict=False) == code


def test_exit_codes_of_ends() -> None:
    points = [entry(1), entry(2, verdict="INVALID")]
    assert exit_code(Swept(document(points)), strict=True) == 4
    assert exit_code(Swept(document(points)), strict=False) == 0
    assert exit_code(Swept(document(points) | {"interrupted": True}), strict=True) == 130
    assert exit_code(Swept(document(points), TargetError("gone")), strict=True) == 3
