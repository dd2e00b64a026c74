"""Rules of --fail-if: how they are read, and when one is broken."""

import re
from pathlib import Path
from typing import Any

import pytest

from genbench.errors import ConfigError
from genbench.metrics import contrast
from genbench.studies.gate import judge, names, parse


def row(metric: str, stat: str, ratio: float | None, p: float | None, **other: Any) -> dict[str, Any]:
    """A row of a comparison; A is 100, B 100 times the ratio."""
    ends = None if ratio is None or p is None else (ratio * 0.98, ratio * 1.02)
    better = "high" if "throughput" in metric else "low"
    found = {"metric": metric, "stat": stat, "better": better, "a": 100.0, "b": 100 * (ratio or 1), "ratio": ratio}
    return {**found, "ci95": ends, "p": p, "p_holm": p, "why": "", "verdict": "", **other}


def one(*rows: dict[str, Any], b: str = "new", load: Any = None) -> dict[str, Any]:
    return {"a": "old", "b": b, "load": load, "rows": list(rows)}


def gate(text: str, found: dict[str, Any]) -> dict[str, Any]:
    (judged,) = judge([parse(text)], [one(found)])
    return judged


@pytest.mark.parametrize(
    ("text", "metric", "stat", "bound"),
    [
        ("ttft.p99 worse 5%", "ttft", "p99", 5),
        ("  output_token_throughput   worse 2.5 % ", "output_token_throughput", "", 2.5),
        ("error_rate worse by 1%", "error_rate", "", 1),
        ("itl.mean worse than 0%", "itl", "mean", 0),
    ],
)
def test_read(text: str, metric: str, stat: str, bound: float) -> None:
    rule = parse(text)
    assert (rule.metric, rule.stat, rule.bound) == (metric, stat, bound)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("ttft.p99 > 5%", "is no rule; write it like 'ttft.p99 worse 5%' or 'error_rate worse 1%'"),
        ("ttft.p99 worse 5", "is no rule"),
        ("ttft.p99 worse -5%", "-5 is no percentage from 0 on"),
        ("ttft.p99 worse nan%", "nan is no percentage from 0 on"),
        (
            "ttft.p98 worse 5%",
            "ttft.p98 is not among the rows of a comparison; the nearest: ttft.p50, ttft.p95, ttft.p99",
        ),
        ("request_latencies.p50 worse 5%", "the nearest: request_latency.p50"),
        ("zzz worse 5%", "use one of ttft.p50, "),
    ],
)
def test_not_read(text: str, says: str) -> None:
    with pytest.raises(ConfigError) as stop:
        parse(text)
    assert says in str(stop.value)


def test_every_row_can_have_a_rule() -> None:
    assert [parse(f"{name} worse 5%").metric for name in names()] == [metric for metric, _ in contrast.ROWS]


@pytest.mark.parametrize(
    ("text", "found", "passed", "says"),
    [
        ("ttft.p99 worse 5%", row("ttft", "p99", 1.07, 0.01), False, "worse by 7 % (95 %: +4.86 .. +9.14 %), p 0.01"),
        ("ttft.p99 worse 5%", row("ttft", "p99", 1.04, 0.01), True, "worse by 4 % "),
        ("ttft.p99 worse 5%", row("ttft", "p99", 0.9, 0.01), True, "better by 10 % "),
        ("ttft.p99 worse 5%", row("ttft", "p99", 1.07, 0.2), True, "p 0.2: over the bound, but within the noise"),
        # a throughput is worse where it is less
        ("request_throughput worse 5%", row("request_throughput", "value", 0.94, 0.01), False, "worse by 6 % "),
        ("request_throughput worse 5%", row("request_throughput", "value", 1.2, 0.01), True, "better by 20 % "),
        # an error rate by points: from 0.5 % to 1.5 %
        (
            "error_rate worse 1%",
            row("error_rate", "value", None, 0.01, a=0.5, b=1.5),
            False,
            "worse by 1 percentage points, p 0.01",
        ),
        ("error_rate worse 1%", row("error_rate", "value", None, 0.01, a=0.5, b=1.0), True, "worse by 0.5 percentage"),
        ("error_rate worse 1%", row("error_rate", "value", None, 1.0, a=0.0, b=0.0), True, "no difference, p 1"),
    ],
)
def test_when_it_is_broken(text: str, found: dict[str, Any], passed: bool, says: str) -> None:
    judged = gate(text, found)
    assert judged["passed"] is passed
    assert says in judged["text"]


@pytest.mark.parametrize(
    ("found", "passed", "says"),
    [
        (
            row("ttft", "p99", 1.01, None, why=contrast.FEW),
            False,
            "worse by 1 %, but cannot be judged: too few samples, p99 wants 459 on both sides",
        ),
        (row("ttft", "p99", None, None, why="new does not have it"), False, "cannot be judged: new does not have it"),
        (row("itl", "p50", 1.0, 0.5), False, "cannot be judged: neither run has it"),
        (row("ttft", "p99", 1.01, None, why=contrast.OFFERED), True, f"not tested: {contrast.OFFERED}"),
        (row("ttft", "p99", 1.09, None, why=contrast.OFFERED), False, "worse by 9 %, but cannot be judged"),
        (
            row("ttft", "p99", 1.3, 0.0001, why="too few beyond it", verdict=contrast.UNTESTED, p_holm=None),
            False,
            "p <0.001 (this row has no verdict: too few beyond it)",
        ),
        (
            row("ttft", "p99", 1.01, None, why=f"{contrast.FEW}: p99 wants 459 in every block"),
            False,
            "cannot be judged: too few samples: p99 wants 459 in every block",
        ),
    ],
)
def test_what_cannot_be_judged_does_not_pass(found: dict[str, Any], passed: bool, says: str) -> None:
    judged = gate("ttft.p99 worse 5%", found)
    assert judged["passed"] is passed
    assert says in judged["text"]


def test_the_docs_name_every_row_that_a_rule_may_name() -> None:
    docs = (Path(__file__).parents[2] / "docs" / "compare.md").read_text()
    listed = docs.partition("| METRIC.STAT | what |")[2].partition("\n\n")[0]
    assert re.findall(r"`([a-z_0-9.]+)`", listed) == names()


def test_holm_among_the_rows_with_rules_only() -> None:
    """0.02 and 0.03: alone each is significant; together 2 x 0.02 = 0.04 is, and 0.03 becomes 0.04, too. With a third
    of 0.9 it is 3 x 0.02 = 0.06, which is not; rows without a rule count for nothing."""
    rows = [row("ttft", "p50", 1.1, 0.02), row("itl", "p50", 1.1, 0.03), row("tpot", "p50", 1.0, 0.9)]
    two = judge([parse("ttft.p50 worse 5%"), parse("itl.p50 worse 5%")], [one(*rows)])
    assert [found["p"] for found in two] == pytest.approx([0.04, 0.04])
    assert not any(found["passed"] for found in two)
    three = judge([parse(f"{name}.p50 worse 5%") for name in ("ttft", "itl", "tpot")], [one(*rows)])
    assert [found["p"] for found in three] == pytest.approx([0.06, 0.06, 0.9])
    assert all(found["passed"] for found in three)
    twice = judge([parse("ttft.p50 worse 5%"), parse("ttft.p50 worse 1%")], [one(*rows)])
    assert [found["p"] for found in twice] == [0.02, 0.02]  # one row, however many rules


def test_each_load_and_each_side_is_judged() -> None:
    at = {"by": "concurrency", "value": 4, "group": "", "text": "concurrency 4"}
    good, bad = row("ttft", "p50", 1.0, 0.9), row("ttft", "p50", 1.2, 0.001)
    found = judge([parse("ttft.p50 worse 5%")], [one(good, b="x", load=at), one(bad, b="y", load=at)])
    assert [one["passed"] for one in found] == [True, False]
    assert found[1]["text"].startswith("y at concurrency 4: worse by 20 % ")
