from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from genbench import stats
from genbench.metrics.contrast import FEW, OFFERED, SHORT, STILL, UNTESTED, Row, repeats, rounds, runs
from genbench.metrics.resampled import pooled
from genbench.metrics.subject import Flow, Part, Subject, as_dict, from_dict

BLOCKS = 24


def made(seed: int, *, slow: float = 1.0, requests: int = 1200, failed: int = 0, plan: str = "") -> Subject:
    """A run of independent requests of 100 ms or so, one after the other, `slow` times as long."""
    rng = np.random.default_rng(seed)
    latency = slow * 100 * rng.lognormal(0, 0.3, requests)
    block = np.arange(requests) * BLOCKS // requests
    seconds = np.bincount(block, weights=latency) / 1000
    amounts = np.bincount(block).astype(np.float64)
    parts = {
        key: Part("ms", "low", latency * share, None, block) for key, share in (("ttft", 0.2), ("request_latency", 1))
    }
    flows = {"request_throughput": Flow("req/s", "high", amounts, seconds)}
    found: dict[str, Mapping[str, float]] = {key: stats.distribution(part.values) for key, part in parts.items()}
    found |= {
        "duration": {"value": float(seconds.sum())},
        "request_throughput": {"value": requests / float(seconds.sum())},
        "error_rate": {"value": 100 * failed / (failed + requests)},
    }
    counts = {"ok": requests, "failed": failed}
    return Subject(f"seed {seed}", {}, parts, flows, counts, found, "VALID", plan, BLOCKS)


def scaled(one: Subject, by: float) -> Subject:
    """All times of a run so many times as long."""
    parts = {key: replace(part, values=part.values * by) for key, part in one.parts.items()}
    flows = {key: replace(flow, seconds=flow.seconds * by) for key, flow in one.flows.items()}
    found: dict[str, Mapping[str, float]] = {key: stats.distribution(part.values) for key, part in parts.items()}
    rate, seconds = one.stats["request_throughput"]["value"], one.stats["duration"]["value"]
    found |= {"request_throughput": {"value": rate / by}, "duration": {"value": seconds * by}}
    return replace(one, parts=parts, flows=flows, stats={**one.stats, **found})


def by_name(rows: list[Row]) -> dict[str, Row]:
    return {row.metric if row.stat == "value" else f"{row.metric}.{row.stat}": row for row in rows}


def verdicts(rows: list[Row]) -> set[str]:
    return {row.verdict for row in rows if row.p_holm is not None}


@pytest.mark.parametrize("plan", ["", "same"])
def test_identical_runs_do_not_differ(plan: str) -> None:
    rows = runs(made(1, plan=plan), made(1, plan=plan), min_effect=0)
    assert verdicts(rows) == {"no difference seen"}
    assert all(row.ratio == pytest.approx(1) and row.p == 1 for row in rows if row.metric != "error_rate")
    assert all(row.p_holm in (1, None) for row in rows)


@pytest.mark.parametrize("plan", ["", "same"])
def test_sides_exchanged_give_the_reciprocal_and_the_same_p(plan: str) -> None:
    a, b = made(1, plan=plan), made(2, slow=1.03, plan=plan)
    for one, other in zip(runs(a, b, min_effect=0), runs(b, a, min_effect=0), strict=True):
        assert other.p == pytest.approx(one.p)
        if one.ratio is None or one.ci95 is None:
            continue
        low, high = one.ci95
        assert low is not None
        assert high is not None
        assert other.ratio == pytest.approx(1 / one.ratio)
        assert other.ci95 == pytest.approx((1 / high, 1 / low))


@pytest.mark.parametrize("plan", ["", "same"])
def test_a_side_scaled_moves_every_ratio_by_just_that(plan: str) -> None:
    a, b = made(1, plan=plan), made(2, plan=plan)
    before, after = by_name(runs(a, b, min_effect=0)), by_name(runs(a, scaled(b, 1.5), min_effect=0))
    for name in ("ttft.p50", "ttft.p95", "request_latency.mean"):
        assert after[name].ratio == pytest.approx(1.5 * (before[name].ratio or 0))
    assert after["request_throughput"].ratio == pytest.approx((before["request_throughput"].ratio or 0) / 1.5)


def test_paired_runs_share_what_their_requests_have_in_common() -> None:
    """The same requests, 2 % longer: nothing is left to vary. Drawn apart, 1,200 requests cannot show it."""
    a = made(1, plan="same")
    paired = by_name(runs(a, scaled(a, 1.02), min_effect=0))
    assert paired["request_latency.mean"].verdict == paired["request_throughput"].verdict == "slower"
    assert paired["request_latency.mean"].ratio == pytest.approx(1.02)
    assert paired["request_latency.mean"].ci95 == pytest.approx((1.02, 1.02))
    assert paired["request_latency.mean"].method == "block bootstrap, paired"
    other = by_name(runs(a, replace(scaled(a, 1.02), plan="other"), min_effect=0))
    assert other["request_latency.mean"].verdict == "no difference seen"


@pytest.mark.parametrize(("slow", "word"), [(1.2, "slower"), (1 / 1.2, "faster")])
def test_the_word_is_about_b(slow: float, word: str) -> None:
    rows = by_name(runs(made(1), made(2, slow=slow), min_effect=0.02))
    assert {rows[name].verdict for name in ("ttft.p50", "request_latency.mean", "request_throughput")} == {word}


def test_a_difference_below_min_effect_is_not_called() -> None:
    a = made(1, plan="same")
    assert verdicts(runs(a, scaled(a, 1.04), min_effect=0.05)) == {"no difference seen"}
    assert verdicts(runs(a, scaled(a, 1.06), min_effect=0.05)) == {"no difference seen", "slower"}  # no failures


def test_equal_runs_are_seldom_called_different() -> None:
    """5 % of 40 are 2; more than 7 would come up once in 1,400 times."""
    pairs = [(made(2 * k, requests=480), made(2 * k + 1, requests=480)) for k in range(40)]
    assert sum(verdicts(runs(a, b, min_effect=0)) != {"no difference seen"} for a, b in pairs) <= 7


def test_intervals_hold_the_truth() -> None:
    """The true ratio is 1.1; 95 % of 40 are 38. Fewer than 33 would come up once in 1,400 times."""
    held = 0
    for k in range(40):
        rows = by_name(runs(made(2 * k, requests=480), made(2 * k + 1, slow=1.1, requests=480), min_effect=0))
        low, high = rows["request_latency.p50"].ci95 or (None, None)
        assert low is not None
        assert high is not None
        held += low <= 1.1 <= high
    assert held >= 33


def test_a_percentile_needs_values_beyond_it() -> None:
    """1,200 requests have 12 beyond the p99: an interval, no verdict. 400 are not enough for the p99 itself."""
    row = by_name(runs(made(1), made(2), min_effect=0))["request_latency.p99"]
    assert (row.verdict, row.p_holm) == (UNTESTED, None)
    assert row.ci95 is not None
    assert row.p is not None
    assert "50 beyond the p99" in row.why
    row = by_name(runs(made(1, requests=400), made(2), min_effect=0))["request_latency.p99"]
    assert (row.why, row.ci95, row.p) == (FEW, None, None)
    assert row.ratio is not None
    assert by_name(runs(made(1, requests=6000), made(2, requests=6000), min_effect=0))["ttft.p99"].p_holm is not None


def test_too_short_a_run_has_no_interval() -> None:
    """A run of a dozen latencies has no eight blocks of two."""
    a = made(1)
    long = {**a.stats, "request_latency": {**a.stats["request_latency"], "p50": 1e3 * 120 / 12}}
    for row in runs(replace(a, stats=long), a, min_effect=0):
        if row.metric != "error_rate":
            assert (row.why, row.ci95) == (SHORT, None)


def test_a_throughput_that_the_load_set_is_not_tested() -> None:
    a, b = (
        replace(one, flows={key: replace(flow, offered=True) for key, flow in one.flows.items()})
        for one in (made(1), made(2, slow=1.5))
    )
    row = by_name(runs(a, b, min_effect=0))["request_throughput"]
    assert (row.verdict, row.p_holm) == (UNTESTED, None)
    assert row.why == f"{OFFERED}: both kept up with the arrivals"
    assert row.p is not None
    for one, other in ((made(1), b), (a, made(2, slow=1.5))):  # a closed loop beside an open one
        row = by_name(runs(one, other, min_effect=0))["request_throughput"]
        assert (row.verdict, row.why) == (UNTESTED, f"{OFFERED}: one side kept up with the arrivals")
    behind = [made(k) for k in range(2)]
    row = by_name(repeats([a, a, *behind], [made(k, slow=1.5) for k in range(4)], min_effect=0))["request_throughput"]
    assert row.p_holm is not None  # two of four runs did not keep up


def test_barred_and_missing_metrics() -> None:
    a, b = made(1), made(2)
    b = replace(
        b,
        parts={"request_latency": b.parts["request_latency"]},
        stats={k: v for k, v in b.stats.items() if k != "ttft"},
    )
    rows = by_name(runs(a, b, min_effect=0, barred={"request_throughput": "the promises differ"}))
    assert (rows["request_throughput"].why, rows["request_throughput"].p) == ("the promises differ", None)
    assert rows["ttft.p50"].why == "seed 2 does not have it"
    assert rows["ttft.p50"].verdict == "not comparable"
    assert "itl.p50" not in rows
    assert all(row.verdict == "not comparable" for row in runs(a, b, min_effect=0, barred={"*": "no"}))


def test_error_rates_are_two_counts() -> None:
    """0 of 1,200 against 12 of 1,212: p = (1200 x ... x 1189) / (2412 x ... ) x 2, about 0.0005."""
    row = by_name(runs(made(1), made(2, failed=12), min_effect=0.02))["error_rate"]
    assert row.p == pytest.approx(0.0005, abs=0.0002)
    assert (row.verdict, row.ratio, row.method) == ("worse", None, "Fisher's exact test")
    assert by_name(runs(made(2, failed=12), made(1), min_effect=0.02))["error_rate"].verdict == "better"


def test_repeats_are_compared_run_by_run() -> None:
    a = [made(k) for k in range(4)]
    row = by_name(repeats(a, [scaled(one, 1.1) for one in a], min_effect=0))["request_latency.mean"]
    assert row.ratio == pytest.approx(1.1)
    assert row.method == "Welch's t over repeats"
    assert row.verdict == "slower"
    assert row.a == pytest.approx(np.exp(np.mean([np.log(one.stats["request_latency"]["mean"]) for one in a])))


@pytest.mark.parametrize("compare", [repeats, rounds])
def test_runs_without_a_spread_say_nothing(compare: Callable[..., list[Row]]) -> None:
    """Copies of one run, and copies of another: t is infinite. The same on both sides is no difference."""
    for by in (1.1, 1 + 1e-15):
        rows = by_name(compare([made(1)] * 3, [scaled(made(1), by)] * 3, min_effect=0))
        row = rows["request_latency.mean"]
        assert (row.verdict, row.why, row.p) == (
            (UNTESTED, STILL, None) if by > 1.01 else ("no difference seen", "", 1)
        )
        assert row.ratio == pytest.approx(by)


@pytest.mark.parametrize(("plan", "least"), [("same", 2 / 2**12), ("", 2 / 2_704_156)])  # 24! / 12! / 12!
def test_a_run_without_a_spread_has_no_p_of_zero(plan: str, least: float) -> None:
    a, b = (
        replace(one, parts={"ttft": replace(one.parts["ttft"], values=np.full(1200, value))})
        for one, value in ((made(1, plan=plan), 20.0), (made(2, plan=plan), 22.0))
    )
    row = by_name(runs(a, b, min_effect=0))["ttft.p50"]
    assert row.p == pytest.approx(least)
    assert row.ci95 == pytest.approx((1.1, 1.1))


@pytest.mark.parametrize(
    ("compare", "says"),
    [(repeats, "p95 wants 90 in every run"), (rounds, "p95 wants 90 in every block, or 8 rounds with 90 in all")],
)
def test_a_percentile_wants_its_samples_in_every_run(compare: Callable[..., list[Row]], says: str) -> None:
    a, b = ([made(k + first, requests=70) for k in range(4)] for first in (0, 10))
    row = by_name(compare(a, b, min_effect=0))["ttft.p95"]
    assert (row.verdict, row.why) == ("not comparable", f"{FEW}: {says}")


def test_one_run_against_repeats_is_held_against_the_median_one() -> None:
    side = [made(2, slow=slow) for slow in (1.5, 1.0, 0.5)]
    row = by_name(repeats([made(1)], side, min_effect=0))["request_latency.mean"]
    assert row.b == side[1].stats["request_latency"]["mean"]
    assert row.method.endswith("the median run of the repeats")
    with pytest.raises(ValueError, match="without a run"):
        repeats([], side, min_effect=0)


@pytest.mark.parametrize(("count", "method"), [(4, "paired t over rounds"), (8, "bootstrap of rounds, paired")])
def test_rounds_share_what_happened_to_both(count: int, method: str) -> None:
    """The server is up to twice as slow in some rounds, on both sides: only the 5 % are left."""
    a = [scaled(made(k), 1 + k / count) for k in range(count)]
    b = [scaled(made(100 + k, slow=1.05), 1 + k / count) for k in range(count)]
    row = by_name(rounds(a, b, min_effect=0))["request_latency.mean"]
    assert row.method == method
    assert row.ratio == pytest.approx(1.05, abs=0.02)
    assert row.verdict == "slower"
    with pytest.raises(ValueError, match="two of them at least"):
        rounds(a[:1], b[:1], min_effect=0)


def test_runs_as_one() -> None:
    whole = pooled([made(1), made(2, failed=6)])
    assert whole.blocks == 2
    assert whole.counts == {"ok": 2400, "failed": 6}
    assert whole.parts["ttft"].values.size == 2400
    assert set(whole.parts["ttft"].block.tolist()) == {0, 1}
    assert whole.stats["error_rate"]["value"] == pytest.approx(100 * 6 / 2406)


def test_a_baseline_gives_the_same_answer() -> None:
    """4 significant digits move a ratio by less than 1e-3."""
    a, b = made(1), made(2, slow=1.1)
    document: dict[str, Any] = as_dict(a)
    for one, other in zip(runs(a, b, min_effect=0), runs(from_dict(document), b, min_effect=0), strict=True):
        assert one.ratio is None or other.ratio == pytest.approx(one.ratio, rel=1e-3)
        assert (other.verdict, other.why) == (one.verdict, one.why)
