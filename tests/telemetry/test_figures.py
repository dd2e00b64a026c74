"""Figures of a window from rows made by hand."""

import numpy as np
import pytest

from genbench.telemetry.figures import figures, histogram_increase, increase, quantile
from genbench.telemetry.log import Scrape, Told
from genbench.telemetry.prometheus import Histogram
from tests.telemetry.told import client, expositions, gauges, gpu


def test_a_gauge_has_the_scrapes_inside_the_window() -> None:
    running = gauges("running", [(-5, 1), (-1, 99), (1, 2), (5, 4), (9, 6), (11, 99)])
    one = figures((running,), client()).metrics["running"]
    assert (one["count"], one["mean"], one["min"], one["max"], one["idle"]) == (3, 4, 2, 6, 1)
    assert one["p95"] == pytest.approx(np.percentile([2, 4, 6], 95))


def test_a_counter_is_taken_around_the_window() -> None:
    """From the scrape before its start to the one after its end: 900 - 100 in 12 s."""
    tokens = gauges("generation_tokens", [(-5, 0), (-1, 100), (5, 500), (11, 900), (20, 1000)])
    one = figures((tokens,), client()).metrics["generation_tokens"]
    assert (one["delta"], one["span_s"], one["per_s"]) == (800, 12, pytest.approx(800 / 12))


def test_a_counter_that_was_set_to_zero() -> None:
    """100 -> 400, anew, 50 -> 150: 300 + 50 + 100; never less than nothing."""
    assert increase(np.array([100.0, 400.0, 50.0, 150.0])) == 450
    tokens = gauges("generation_tokens", [(-1, 100), (4, 400), (5, 50), (11, 150)])
    server = figures((tokens,), client())
    assert server.metrics["generation_tokens"]["delta"] == 450
    assert server.notes == (
        "counters of http://server/metrics fell during the run: it was started anew; deltas have both parts",
    )


def test_a_histogram_that_was_set_to_zero() -> None:
    before = Histogram(10.0, 5, (1.0, 2.0), (1, 5))
    full, anew = Histogram(14.0, 7, (1.0, 2.0), (2, 7)), Histogram(3.0, 2, (1.0, 2.0), (0, 2))
    assert histogram_increase([before, full, anew]) == Histogram(7.0, 4, (1.0, 2.0), (1.0, 4.0))


@pytest.mark.parametrize(
    ("q", "expected"),
    [(0.2, 0.5), (0.4, 1.0), (0.5, 1.5), (0.6, 2.0), (0.8, 4.0), (0.9, None)],  # 4 up to 1, 6 up to 2, 8 up to 4, of 10
)
def test_quantiles_lie_on_a_line_inside_their_bucket(q: float, expected: float | None) -> None:
    assert quantile((1.0, 2.0, 4.0), np.array([4.0, 6.0, 8.0]), 10, q) == expected


def test_several_servers_are_added_up() -> None:
    one, other = gauges("running", [(0, 2), (2, 4), (4, 4)]), gauges("running", [(1, 10), (3, 20), (5, 20)])
    running = figures((one, other), client()).metrics["running"]
    # at 1, 2, 3 and 4 s, where both have spoken: 2 + 10, 4 + 10, 4 + 20, 4 + 20
    assert (running["count"], running["mean"], running["max"]) == (4, (12 + 14 + 24 + 24) / 4, 24)
    shares = [gauges("kv_cache_pct", [(0, 20), (5, 20)]), gauges("kv_cache_pct", [(0, 60), (5, 60)])]
    assert figures(tuple(shares), client()).metrics["kv_cache_pct"]["mean"] == 40


def test_prometheus_counts_only_where_nobody_else_tells() -> None:
    scraped, stored = gauges("running", [(1, 2), (2, 2)]), gauges("running", [(1, 50)], role="prometheus")
    waiting = gauges("waiting", [(1, 7)], role="prometheus")
    server = figures((scraped, stored, waiting), client())
    assert (server.metrics["running"]["mean"], server.metrics["waiting"]["mean"]) == (2, 7)


def test_network_and_queue_share() -> None:
    """The engine's TTFT has a mean of 120 ms, of which 30 in the queue; the client saw 150."""
    server = figures((expositions("vllm", {-1: "before", 11: "after"}),), client(mean_ms=150.0))
    assert server.derived["ttft_outside"] == {"unit": "ms", "value": pytest.approx(30), "share_pct": pytest.approx(20)}
    assert server.derived["ttft_in_queue"]["share_pct"] == pytest.approx(20)


def test_energy_by_a_counter() -> None:
    """Two GPUs use 3000 and 2000 J in 20 s; half of that in a window of 10."""
    told = expositions("dcgm", {-5: "before", 15: "after"}, "gpu")
    two = Told(told.url, "gpu", "dcgm", [told.scrapes[0], *_between(told, 4, 6), told.scrapes[-1]])
    server = figures((two,), client(tokens=500))
    assert server.derived["energy"] == {"unit": "J", "value": pytest.approx(2500), "source": "counter"}
    assert server.derived["energy_per_output_token"]["value"] == pytest.approx(5)
    assert set(server.gpus) == {"GPU-0", "GPU-1"}


def _between(told: Told, *moments: float) -> list[Scrape]:
    """Scrapes on the line between the first and the last."""
    first, last = told.scrapes[0], told.scrapes[-1]
    found = []
    for t_s in moments:
        share = (t_s * 1e9 - first.t_ns) / (last.t_ns - first.t_ns)
        gpus = {
            name: {key: value + share * (last.gpus[name][key] - value) for key, value in one.items()}
            for name, one in first.gpus.items()
        }
        found.append(Scrape(round(t_s * 1e9), gpus=gpus))
    return found


def test_energy_from_power() -> None:
    """100 W over 10 s, no counter."""
    server = figures((gpu("gpu_power", [(-2, 100), (3, 100), (7, 100), (12, 100)]),), client(tokens=1000))
    assert server.derived["energy"]["value"] == pytest.approx(1000)
    assert "power" in server.derived["energy"]["source"]
    assert server.metrics["gpu_power"]["idle"] == 100


def test_energy_is_not_made_up_where_the_exporter_was_silent() -> None:
    server = figures((gpu("gpu_power", [(-2, 100), (3, 100)]),), client())
    assert "energy" not in server.derived


@pytest.mark.parametrize(
    ("scrapes", "said"),
    [
        ([Scrape(-1), Scrape(1, error="no answer in 2 s"), Scrape(9)], "1 of 3 scrapes of U failed (no answer in 2 s)"),
        (
            [Scrape(-1), Scrape(1), Scrape(4, error="connection refused"), Scrape(11, error="connection refused")],
            "U fell silent 4.0 s into the run (connection refused); its figures end there",
        ),
        (
            [Scrape(-1), Scrape(11)],
            "no scrape of U fell into the measured time: it was too short, or nobody answered",
        ),
        (
            [Scrape(-1, {"running": 3.0, "waiting": 1.0}), Scrape(9, {"running": 1.0, "waiting": 0.0})],
            "U had 4 requests before the load: its figures are not this run's alone",
        ),
        (
            [Scrape(-1, {"kv_cache_pct": 1.0}), Scrape(9, {})],
            "U stopped telling KV cache during the run",
        ),
    ],
)
def test_what_went_wrong_is_a_sentence(scrapes: list[Scrape], said: str) -> None:
    at = [Scrape(one.t_ns * 10**9, one.values, one.histograms, one.gpus, one.error) for one in scrapes]
    assert figures((Told("U", "server", "vllm", at),), client()).notes == (said,)


def test_an_exporter_that_renews_too_seldom() -> None:
    """30 s apart, as DCGM's does unless told otherwise; asked twice a second."""
    pairs = [(t / 2, 100.0 + (t // 60)) for t in range(-2, 122)]
    server = figures((gpu("gpu_power", pairs),), client(0, 60))
    assert len(server.notes) == 1
    assert "renewed its figures about every 30 s: shorten its interval (DCGM_EXPORTER_INTERVAL" in server.notes[0]
    lively = gpu("gpu_power", [(t / 2, 100.0 + t % 7) for t in range(-2, 122)])
    assert figures((lively,), client(0, 60)).notes == ()


def test_servers_whose_buckets_differ_have_a_mean_only() -> None:
    def told(bounds: tuple[float, ...], url: str) -> Told:
        empty, full = (
            Histogram(0.0, 0.0, bounds, (0.0,) * len(bounds)),
            Histogram(2.0, 4.0, bounds, (4.0,) * len(bounds)),
        )
        moments = {-1: empty, 11: full}
        return Told(url, "server", "vllm", [Scrape(t * 10**9, histograms={"ttft": one}) for t, one in moments.items()])

    server = figures((told((0.5, 1.0), "http://a/metrics"), told((0.25, 1.0), "http://b/metrics")), client())
    assert server.metrics["ttft"] == {"kind": "histogram", "unit": "ms", "count": 8, "mean": 500.0}


def test_a_source_whose_last_answer_is_early_is_named() -> None:
    """No failed row: the thread that asks it hangs, or is gone."""
    early, late = gauges("running", [(-1, 1), (7, 2)]), gauges("running", [(-1, 1), (8, 2)])
    said = "the last answer of http://server/metrics came 3.0 s before the end of the run: its deltas are partial"
    assert said in figures((early,), client()).notes
    assert not any("partial" in note for note in figures((late,), client()).notes)
    assert "nothing was heard of U in the run" in figures((Told("U", "server", "vllm", []),), client()).notes
