"""What a sweep says: its levels, its promises and its sentences, by numbers worked out by hand."""

import math
from typing import Any

import pytest

from genbench.metrics.curve import analyse, level_of
from genbench.metrics.levels import averaged, value_of
from tests.curves.made_sweeps import CONCURRENCIES, batching, dead, entry, figure, group


def promise(rule: str, value: float | None, passed: bool, share: float | None = None, **more: Any) -> dict[str, Any]:
    """A promise as in summary.json, on TTFT p95 in ms where nothing else is said."""
    made = {"rule": rule, "metric": "ttft", "stat": "p95", "op": "<", "bound": 500.0, "unit": "ms"}
    return made | {"value": value, "passed": passed, "attainment_pct": share} | more


# -- levels --


def test_repeats_become_their_mean_and_their_range() -> None:
    points = [entry(4, requests=x, latency=100, ttft=10, error=0.01, repeat=i) for i, x in enumerate((9, 10, 14))]
    (level,) = group(points)["levels"]
    assert level["repeats"] == 3
    assert level["figures"]["request_throughput"] == {
        "value": 11.0, "low": 9.0, "high": 14.0, "interval": "range", "unit": "req/s", "few": False
    }  # fmt: skip
    assert level["figures"]["output_token_throughput"]["value"] == 1100


def test_one_run_keeps_its_own_interval() -> None:
    (level,) = group([entry(4, requests=10, latency=100, ttft=20, error=0.1)])["levels"]
    found = level["figures"]["ttft.p95"]  # 1.2 x 20
    assert found == pytest.approx(
        {"value": 24, "low": 21.6, "high": 26.4, "interval": "ci95", "unit": "ms", "few": False}
    )


@pytest.mark.parametrize("ends", [[None, 30.0], [1.0, None], [math.nan, 30.0], [None, None], [1.0], "", None])
def test_half_an_interval_is_none(ends: Any) -> None:
    point = entry(4, requests=10, latency=100, ttft=20)
    point["metrics"]["ttft"]["ci95"] = {"p95": ends}
    found = averaged([level_of(point)], None)[0]["figures"]["ttft.p95"]
    assert (found["low"], found["high"], found["interval"]) == (None, None, "")


@pytest.mark.parametrize("value", [None, math.nan, math.inf, "12"])
def test_what_is_no_number_is_absent(value: Any) -> None:
    point = entry(4, requests=10, latency=100, ttft=20)
    point["metrics"]["ttft"]["p95"] = value
    point["run"]["output_token_throughput"] = {"unit": "token/s", "value": value}
    level = averaged([level_of(point)], None)[0]
    assert value_of(level, "ttft.p95") is None
    assert value_of(level, "output_token_throughput") is None
    assert value_of(level, "ttft.p50") == 20


def test_throughput_is_that_of_the_steady_window() -> None:
    point = entry(8, requests=10, latency=800, error=0.1)  # 1,000 token/s, 900 to 1,100
    point["run"]["steady_output_token_throughput"] = figure(1200, "token/s")
    point["run"]["steady_concurrency_mean"] = figure(8, "requests")
    (level,) = group([point])["levels"]
    assert level["window"] == "steady window"
    assert level["figures"]["output_token_throughput"]["value"] == pytest.approx(1200)
    assert level["figures"]["output_token_throughput"]["low"] == pytest.approx(1080)
    assert level["figures"]["request_throughput"]["value"] == pytest.approx(12)
    assert value_of(level, "in_flight") == 8


def test_a_throughput_that_is_not_the_whole_runs_says_so() -> None:
    """Tables of runs show the whole run's: 5 % and less apart nobody asks."""
    for steady, said in (
        (1040, "1,040 token/s (10.4 req/s), with"),
        (1200, "1,200 token/s (12 req/s) in the steady window, with"),
    ):
        points = [entry(4, requests=5, latency=800), entry(8, requests=10, latency=800)]
        points[0]["run"]["steady_output_token_throughput"] = figure(500, "token/s")
        points[1]["run"]["steady_output_token_throughput"] = figure(steady, "token/s")
        assert said in group(points)["sentences"][0]


def test_one_repeat_without_a_steady_window_makes_all_whole_runs() -> None:
    points = [entry(8, requests=10, latency=800, repeat=i) for i in range(2)]
    points[0]["run"]["steady_output_token_throughput"] = figure(1200, "token/s")
    (level,) = group(points)["levels"]
    assert level["window"] == "whole run"
    assert value_of(level, "output_token_throughput") == 1000


def test_the_gravest_verdict_of_the_repeats_counts() -> None:
    points = [entry(8, requests=10, latency=800, repeat=i, verdict=v) for i, v in enumerate(("VALID", "INVALID"))]
    assert group(points)["levels"][0]["verdict"] == "INVALID"


def test_littles_law_is_told_for_every_level() -> None:
    levels = group(batching(CONCURRENCIES))["levels"]
    assert [level["little"] for level in levels] == pytest.approx(CONCURRENCIES)


def test_two_kinds_of_load_are_refused() -> None:
    points = [entry(1, requests=1, latency=1), entry(1, requests=1, latency=1, by="request_rate")]
    with pytest.raises(ValueError, match="one kind of load"):
        analyse([level_of(point) for point in points])


def test_the_order_of_the_points_is_of_no_consequence() -> None:
    points = batching(CONCURRENCIES)
    assert group(points) == group(points[::-1])


# -- promises --


def test_a_promise_holds_up_to_the_last_load_before_the_first_miss() -> None:
    values = {1: 210.0, 8: 310.0, 24: 420.0, 32: 612.0, 64: 480.0}
    points = [
        entry(n, requests=n, latency=1000, ttft=value, slo=[promise("ttft.p95<500ms", value, value < 500, 99.0)])
        for n, value in values.items()
    ]
    (found,) = group(points)["promises"]
    assert (found["holds_to"], found["missed_from"], found["kept_again"]) == (24, 32, [64])
    assert found["levels"][3] == {"value": 32, "measured": 612, "kept": False, "attainment_pct": 99}
    assert (
        "The promise ttft.p95<500ms holds up to concurrency 24 (420 ms) and is missed at 32 (612 ms), "
        "though it is kept at 64." in group(points)["sentences"]
    )


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ((100, 200), "The promise ttft.p95<500ms holds at every load tried, up to concurrency 2 (200 ms)."),
        ((600, 700), "The promise ttft.p95<500ms is missed at the lowest load already, at concurrency 1 (600 ms)."),
        ((499.8, 700), "The promise ttft.p95<500ms holds up to concurrency 1 (499.8 ms) and is missed at 2 (700 ms)."),
    ],
)
def test_a_promise_in_words(values: tuple[float, float], said: str) -> None:
    points = [
        entry(n, requests=1, latency=1000, slo=[promise("ttft.p95<500ms", value, value < 500)])
        for n, value in zip((1, 2), values, strict=True)
    ]
    assert said in group(points)["sentences"]


def test_a_promise_is_kept_where_every_repeat_keeps_it() -> None:
    points = [
        entry(n, requests=1, latency=1000, repeat=i, slo=[promise("ttft.p95<500ms", value, value < 500)])
        for n, i, value in ((1, 0, 300.0), (1, 1, 400.0), (2, 0, 450.0), (2, 1, 510.0))
    ]
    (found,) = group(points)["promises"]
    assert found["holds_to"] == 1
    assert [row["measured"] for row in found["levels"]] == [350, 480]


def test_a_saturated_level_keeps_no_promise() -> None:
    points = [
        entry(r, requests=r, latency=1, by="request_rate", slo=[promise("ttft.p95<500ms", 100, True)]) for r in (1, 2)
    ]
    points[1]["saturated"] = "it grew"
    assert group(points)["promises"][0]["holds_to"] == 1


def test_all_promises_are_one_sentence_more_where_they_end_at_different_loads() -> None:
    def slo(ttft: bool, errors: bool) -> list[dict[str, Any]]:
        run = promise("error_rate<1%", 0.5, errors, metric="error_rate", stat="", bound=1.0, unit="%")
        return [promise("ttft.p95<500ms", 100.0, ttft), run]

    kept = [(True, True), (True, True), (True, False), (False, False)]
    points = [entry(2**i, requests=2**i, latency=1000, slo=slo(*both)) for i, both in enumerate(kept)]
    found = group(points)
    assert found["kept_by_all"] == 2
    assert "Both promises hold up to concurrency 2." in found["sentences"]
    assert found["optimum"] == {"value": 2, "why": "the highest throughput that keeps every promise"}
    points[0]["slo"] = slo(True, False)
    found = group(points)
    assert found["kept_by_all"] is None
    assert found["optimum"] is None
    assert found["row"] is None
    assert "No load tried keeps both promises." in found["sentences"]


# -- sentences and poor sweeps --


def test_the_sentence_of_the_ticket() -> None:
    points = [
        entry(n, requests=x, latency=1000 * n / x, ttft=ttft / 1.2)
        for n, x, ttft in ((1, 2, 100), (4, 7, 120), (16, 12.1, 310), (32, 12.4, 700), (64, 12.3, 1500))
    ]
    assert group(points)["sentences"][0] == (
        "Throughput saturates at 1,240 token/s (12.4 req/s) from concurrency 16 on; TTFT p95 is then 310 ms."
    )


def test_groups_are_named_in_front_of_their_sentences() -> None:
    points = [point | {"group": name} for name in ("128:32", "2048:8") for point in batching((1, 2))]
    found = analyse([level_of(point) for point in points])
    assert [one["group"] for one in found["groups"]] == ["128:32", "2048:8"]
    assert found["sentences"][0].startswith("128:32: Throughput is still rising at concurrency 2")
    assert any(text.startswith("2048:8: ") for text in found["sentences"])


def test_one_level_is_no_curve() -> None:
    found = group([entry(8, requests=3.1, latency=2500, ttft=100)])
    assert found["sentences"] == [
        "Only concurrency 8 was measured: 310 token/s, with TTFT p95 120 ms; a curve needs more loads."
    ]


def test_no_point_is_an_empty_analysis() -> None:
    assert analyse([], 4) == {"schema": 1, "by": "", "gpus": 4, "groups": [], "sentences": []}


def test_a_sweep_of_failures_says_so() -> None:
    found = group([dead(1), dead(2)])
    assert found["sentences"] == ["Nothing can be said of the curve: no request ended ok at concurrency 1 and 2."]
    assert found["saturation"] is None
    assert found["row"] is None


def test_levels_that_failed_or_are_invalid_are_named() -> None:
    points = [*batching((1, 2, 4, 8)), dead(16)]
    points[3]["verdict"] = "INVALID"
    said = group(points)["sentences"]
    assert "No request ended ok at concurrency 16." in said
    assert said[-1] == "The verdict is INVALID at concurrency 8: read the findings there before using the numbers."
    assert group(points)["saturation"]["reached"] is True


def test_saturated_levels_alone_make_a_curve() -> None:
    points = [entry(r, requests=5, latency=5000, by="request_rate", saturated="it grew") for r in (8, 16)]
    found = group(points)
    assert found["saturation"]["from"] == 8
    assert found["sentences"][0] == "Throughput saturates at 500 token/s (5 req/s) and reaches that at 8 req/s."


def test_a_point_with_nothing_but_its_load_is_taken() -> None:
    assert group([{"by": "concurrency", "value": 1}])["saturation"] is None
