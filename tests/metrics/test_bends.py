"""Where a curve bends: by small models of engines, whose answers are known, and by the published table."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genbench.metrics import bends
from genbench.metrics.curve import level_of
from genbench.metrics.levels import averaged, value_of
from tests.curves.made_sweeps import CONCURRENCIES, batching, distribution, entry, figure, group, serial, tokens

# -- saturation and falling --


def test_saturation_is_the_first_level_within_five_percent_of_the_highest() -> None:
    found = group(tokens([100, 190, 950, 949, 1000, 990]))["saturation"]  # 950 is exactly 95 %
    assert found == {"throughput": 1000, "unit": "token/s", "at": 16, "from": 4, "reached": True}
    assert group(tokens([100, 190, 949, 1000]))["saturation"]["from"] == 8


def test_a_throughput_that_still_rises_is_not_saturated() -> None:
    found = group(tokens([100, 200, 390]))
    assert found["saturation"]["reached"] is False
    assert found["sentences"][0] == (
        "Throughput is still rising at concurrency 4, the highest load tried: 390 token/s (3.9 req/s), "
        "with latency p95 1,231 ms."
    )


def test_a_saturated_point_ends_a_sweep_by_rate() -> None:
    points = [entry(rate, requests=min(rate, 5.5), latency=100 * rate, by="request_rate") for rate in (1, 2, 4)]
    points.append(entry(8, requests=5.5, latency=9000, by="request_rate", saturated="3 more in flight each second"))
    found = group(points)
    assert found["saturation"]["reached"] is True
    assert found["sentences"][0] == "Throughput saturates at 550 token/s (5.5 req/s) and reaches that at 8 req/s."
    assert found["sentences"][-1].startswith("The queue grew without bound at 8 req/s:")


def test_requests_count_where_answers_have_no_tokens() -> None:
    found = group([entry(n, requests=min(10 * n, 40), latency=100, osl=None) for n in (1, 2, 4, 8)])
    assert found["throughput"] == "request_throughput"
    assert (found["saturation"]["throughput"], found["saturation"]["from"]) == (40, 4)
    assert found["front"] is None


def test_falling_throughput_is_told_beyond_ten_percent() -> None:
    found = group(tokens([100, 500, 1000, 900, 730]))["falling"]
    assert found == {
        "from": 8, "at": 16, "throughput": 730, "unit": "token/s", "less_pct": pytest.approx(27), "peak": 4
    }  # fmt: skip
    assert group(tokens([100, 500, 1000, 901]))["falling"] is None


def test_a_fall_inside_the_errors_is_none() -> None:
    assert group(tokens([100, 500, 1000, 800], error=0.2))["falling"] is None  # 640 to 960 and 800 to 1,200
    assert group(tokens([100, 500, 1000, 800], error=0.05))["falling"] is not None


def test_all_levels_are_of_steady_windows_or_all_of_whole_runs() -> None:
    """A window of 1,500 at one level among whole runs would make a top and a fall that are none."""
    points = tokens([100, 500, 1000, 1010])
    points[2]["run"]["steady_output_token_throughput"] = figure(1500, "token/s")
    found = group(points)
    assert found["falling"] is None
    assert found["saturation"]["throughput"] == 1010
    assert {level["window"] for level in found["levels"]} == {"whole run"}
    for point, steady in zip(points, (100, 500, 1500, 1010), strict=True):
        point["run"]["steady_output_token_throughput"] = figure(steady, "token/s")
    assert group(points)["saturation"]["throughput"] == 1500
    points[3] |= {"saturated": "saturated: ..."}
    del points[3]["run"]["steady_output_token_throughput"]
    assert [level["window"] for level in group(points)["levels"]] == [*["steady window"] * 3, "whole run"]


# -- the knee --


def test_the_knee_of_an_ideal_batch_is_its_limit() -> None:
    found = group(batching(CONCURRENCIES, limit=16, each=0.0))[
        "knee"
    ]  # throughput grows with N to 16, then latency does
    assert (found["value"], found["from"], found["to"]) == (16, 16, 16)


def test_the_knee_of_a_slowing_batch_is_where_its_step_has_doubled() -> None:
    # step 10 + N x 10/32 ms: throughput / latency = N / (10 + N x 10/32)^2 is highest at N = 32
    for top in (7, 9, 11):
        found = group(batching([2**i for i in range(top)], limit=1e9, each=10 / 32))["knee"]
        assert found["value"] == 32


def test_the_knee_of_a_single_server_is_at_half_its_capacity() -> None:
    # M/M/1 with 10 req/s: latency 1 / (10 - rate) s, power = rate x (10 - rate), highest at 5 (Kleinrock 1979)
    points = [entry(r, requests=r, latency=1000 / (10 - r), by="request_rate") for r in (1, 2, 3, 4, 5, 6, 7, 8, 9)]
    found = group(points)["knee"]
    assert found["value"] == 5
    assert found["from"] < 5 < found["to"]


@pytest.mark.parametrize("top", [7, 9])
@pytest.mark.parametrize(("limit", "each", "truth"), [(16, 0.1, 16), (1e9, 10 / 16, 16)])
def test_the_knee_stands_noise(top: int, limit: float, each: float, truth: float) -> None:
    rng = np.random.default_rng(top)
    levels = [2**i for i in range(top)]
    near = inside = 0
    for _ in range(200):
        points = batching(levels, limit=limit, each=each, error=0.1, noise=lambda: rng.normal(0, 0.05))
        found = bends.knee(averaged([level_of(point) for point in points], None), "output_token_throughput")
        assert found is not None
        if found["value"] is not None:
            near += truth / 2 <= found["value"] <= 2 * truth
            inside += found["from"] <= truth <= found["to"]
    assert near >= 190
    assert inside >= 190


def kneedle(levels: list[int], throughput: list[float]) -> int:
    """Satopaa et al. 2011 for few levels: the largest distance of the curve, both axes scaled to 0..1, above y = x."""
    x, y = np.array(levels, dtype=float), np.array(throughput)
    return levels[int(np.argmax((y - y[0]) / np.ptp(y) - (x - x[0]) / np.ptp(x)))]


def test_kneedles_knee_moves_with_the_highest_load_tried_and_this_one_does_not() -> None:
    found = {}
    for top in (7, 9, 11):
        levels = [2**i for i in range(top)]
        points = batching(levels, limit=1e9, each=10 / 32)
        throughput = [point["run"]["output_token_throughput"]["value"] for point in points]
        found[levels[-1]] = (kneedle(levels, throughput), group(points)["knee"]["value"])
    assert found == {64: (32, 32), 256: (64, 32), 1024: (128, 32)}


def test_a_knee_needs_four_levels() -> None:
    found = group(batching((1, 4, 16)))
    assert found["knee"] == {"value": None, "why": "it needs 4 levels, and 3 delivered something"}
    assert "No knee can be named: it needs 4 levels, and 3 delivered something." in found["sentences"]


def test_a_knee_beyond_the_highest_level_is_not_named() -> None:
    found = group(batching((1, 2, 4, 8), limit=64, each=0.0))["knee"]
    assert found["value"] is None
    assert "at the highest level" in found["why"]


def test_a_knee_at_the_lowest_level_may_be_below_it() -> None:
    found = group(batching((64, 128, 256, 512), limit=16))
    assert "The knee is at or below concurrency 64" in " ".join(found["sentences"])


# -- no batching --


def test_a_serial_engine_is_called_no_batching() -> None:
    found = group(serial())
    assert found["no_batching"] == {
        "found": True, "throughput_at_1": 10, "unit": "req/s", "measured": True, "at": 8,
        "share": pytest.approx((7 * 100) / 800),
    }  # fmt: skip
    assert found["optimum"]["value"] == 1
    assert found["sentences"][0] == (
        "No batching: requests are served one at a time. Throughput at concurrency 8 is that at concurrency 1, "
        "10 req/s, and 88 % of the latency is waiting for the first token; more load is only more queue."
    )


@pytest.mark.parametrize("answered", ["streamed", "whole"])
@pytest.mark.parametrize("count", [12, 40])
def test_a_serial_engine_is_recognised_in_a_short_run_too(answered: str, count: int) -> None:
    """A first in, first out server of 100 ms each; the first N answers wait less, and so fewer are in flight."""
    points = []
    for n in (1, 2, 4, 8):
        latency = [100.0 * min(i + 1, n) for i in range(count)]
        point = entry(n, requests=10, latency=float(np.mean(latency)))
        if answered == "streamed":
            point["metrics"]["ttft"] = distribution("ms", mean=float(np.mean(latency)) - 80, p50=20)
        point["run"]["concurrency_mean"] = figure(sum(latency) / (100 * count), "requests")
        points.append(point)
    assert group(points)["no_batching"]["found"] is True


@pytest.mark.parametrize(
    "points",
    [
        batching((1, 2, 4, 8)),
        batching((1, 2, 4, 8), limit=2),
        [*serial()[:-1], entry(8, requests=11, latency=727, ttft=657)],  # 10 % more at 8
        [*serial()[:-1], entry(8, requests=10, latency=800, ttft=300)],  # as slow, but not by waiting
        [*serial()[:-1], entry(8, requests=10, latency=800, ttft=692)],  # 0.84 of it, and 0.855 is asked
    ],
    ids=["a batch", "a batch of two", "more throughput", "less waiting", "a little less waiting"],
)
def test_an_engine_that_batches_is_not(points: list[dict[str, Any]]) -> None:
    assert group(points)["no_batching"]["found"] is False


@pytest.mark.parametrize(
    "points", [serial((2, 4, 8)), serial((1,)), batching((1, 2, 4), by="request_rate")], ids=["no 1", "only 1", "rates"]
)
def test_where_it_cannot_be_told_it_is_not(points: list[dict[str, Any]]) -> None:
    assert group(points)["no_batching"] is None


# The published table: concurrency, p95 latency, response wait and server queue (ms), inferences per second.
PUBLISHED = {
    "345M": (4, 295.85, 275.34, 206.29, 14.5),
    "1.3B": (4, 406.69, 396.45, 297.04, 10.07),
    "5B": (4, 1135.52, 1101.13, 824.52, 3.61),
    "20B": (16, 1112.39, 1099.72, 49.58, 14.51),
}
CHECKED = {  # Little's law, share of the queue in the wait, inferences per second one at a time: 1 / (wait - queue)
    "345M": (3.992, 0.749, 14.48),
    "1.3B": (3.992, 0.749, 10.06),
    "5B": (3.975, 0.749, 3.62),
    "20B": (15.957, 0.045, 0.952),
}


@pytest.mark.parametrize("model", PUBLISHED)
def test_the_published_row_comes_out_of_its_own_numbers(model: str) -> None:
    concurrency, p95, wait, queue, throughput = PUBLISHED[model]
    point = entry(concurrency, requests=throughput, latency=wait, osl=None)
    point["metrics"]["request_latency"] = distribution("ms", mean=wait, p50=wait, p95=p95)
    point["metrics"]["server_queue"] = distribution("ms", mean=queue, p50=queue)
    found = group([point])
    little, share, alone = CHECKED[model]
    assert found["row"] == {
        "group": "",
        "load": concurrency,
        "by": "concurrency",
        "latency_p95_ms": p95,
        "response_wait_ms": wait,
        "queue_ms": queue,
        "wait_share_pct": pytest.approx(100 * share, abs=0.05),
        "wait_source": "server",
        "request_throughput": throughput,
        "output_token_throughput": None,
    }
    assert found["levels"][0]["little"] == pytest.approx(little, abs=0.001)
    assert found["no_batching"]["throughput_at_1"] == pytest.approx(alone, abs=0.005)
    assert found["no_batching"]["found"] is (model != "20B")
    if model != "20B":
        assert "75 % of the latency is waiting in the server's queue" in found["sentences"][1]


# -- the front --


def test_the_front_has_the_levels_that_none_beats() -> None:
    points = [
        entry(n, requests=x, latency=100, itl=itl)
        for n, x, itl in ((1, 1, 10), (2, 2, 10), (4, 3, 20), (8, 2.5, 25), (16, 6, 40), (32, 6, 40))
    ]
    # 1 is beaten by 2 (same speed, more throughput), 8 by 4, 32 is 16 at a higher load
    assert group(points, gpus=2)["front"] == [2, 4, 16]
    assert value_of(group(points, gpus=2)["levels"][0], "tokens_per_gpu") == 50


@given(st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6)), min_size=1, max_size=12))
def test_no_level_of_the_front_is_beaten_and_every_other_is(found: list[tuple[int, int]]) -> None:
    points = [entry(i + 1, requests=x, latency=100, itl=1000 / v) for i, (x, v) in enumerate(found)]
    levels = averaged([level_of(point) for point in points], None)
    front = bends.front(levels, "output_token_throughput", "output_tps_per_user.p50")
    assert front
    values = dict(enumerate(found, start=1))
    for load, (x, v) in values.items():
        better = [other for other, (a, b) in values.items() if a >= x and b >= v and ((a, b) != (x, v) or other < load)]
        assert (load in front) is (not better)
