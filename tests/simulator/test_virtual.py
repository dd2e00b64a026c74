"""Virtual time: against a slow model of its own, its records, its blocks."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genbench.metrics.definitions import MetricDef, by_key
from genbench.records import Ints, RecordTable
from genbench.simulator.costs import Costs, preset
from genbench.simulator.virtual import Ask, Session, asks, run
from tests.simulator.reference import loads, simulate
from tests.simulator.test_scheduler import COSTS, MS

Load = tuple[Costs, list[int], list[int], list[int]]


def ints(values: Any) -> Ints:
    return np.array(values, dtype=np.int64)


def moments(table: RecordTable) -> list[list[int]]:
    """Each row's event times."""
    return [part.tolist() for part in np.split(table.event_ns, table.event_start[1:-1])]


def values(key: str, table: RecordTable) -> list[float]:
    metric = by_key()[key]
    assert isinstance(metric, MetricDef)
    found: list[float] = metric.of(table).values.tolist()
    return found


@given(loads())
@settings(max_examples=250, deadline=None)
def test_the_slow_model_says_the_same(load: Load) -> None:
    costs, arrivals, isl, osl = load
    expected = simulate(costs, arrivals, isl, osl)
    session = Session(costs, asks(ints(arrivals), ints(isl), ints(osl)), all_events=True)
    table = session.run_until(None)
    assert moments(table) == [one.tokens_ns for one in expected]
    queue = [one.admitted_ns - at for one, at in zip(expected, arrivals, strict=True)]
    assert session.queue_ns().tolist() == queue
    assert session.scheduler.preemptions == sum(one.preemptions for one in expected)
    assert session.done
    assert np.all(np.diff(table.event_ns)[np.diff(np.repeat(np.arange(len(isl)), osl)) == 0] >= 0)
    assert table.outcome == ["ok"] * len(isl)


@given(loads(), st.integers(1, 4), st.booleans())
@settings(max_examples=80, deadline=None)
def test_a_closed_loop_is_an_open_one_at_the_moments_it_sent(load: Load, concurrency: int, closed: bool) -> None:
    costs, arrivals, isl, osl = load
    times = None if closed else ints(arrivals)
    table = run(costs, times, ints(isl), ints(osl), concurrency=concurrency, all_events=True)
    again = run(costs, table.sent_ns, ints(isl), ints(osl), all_events=True)
    assert moments(table) == moments(again)
    # never more in flight than allowed, and a held one leaves the moment another ends
    for sent_ns in table.sent_ns.tolist():
        assert ((table.sent_ns <= sent_ns) & (table.end_ns > sent_ns)).sum() <= concurrency
    held = table.sent_ns > table.intended_ns
    assert set(table.sent_ns[held].tolist()) <= set(table.end_ns.tolist())
    assert not (closed and held.any())


@given(loads(), st.lists(st.integers(0, 300 * MS), max_size=5), st.integers(0, 3))
@settings(max_examples=80, deadline=None)
def test_blocks_together_are_the_whole(load: Load, cuts: list[int], seed: int) -> None:
    costs, arrivals, isl, osl = load
    costs = replace(costs, step_noise=0.2)
    whole = run(costs, ints(arrivals), ints(isl), ints(osl), seed=seed, all_events=True)
    session = Session(costs, asks(ints(arrivals), ints(isl), ints(osl)), seed=seed, all_events=True)
    found = dict[int, list[int]]()
    for cut in [*sorted(cuts), None]:
        table = session.run_until(cut)
        assert cut is None or session.now_ns >= cut
        assert cut is None or not len(table) or table.end_ns.max() <= cut
        under_way = session.under_way()
        assert not set(table.index.tolist()) & set(under_way.index.tolist())
        for row, times in zip(under_way.index.tolist(), moments(under_way), strict=False):
            assert times == moments(whole)[row][: len(times)]
            assert len(times) < osl[row]
        found |= dict(zip(table.index.tolist(), moments(table), strict=False))
    assert [found[row] for row in range(len(isl))] == moments(whole)


@given(loads())
@settings(max_examples=50, deadline=None)
def test_first_and_last_token_are_exact_without_the_others(load: Load) -> None:
    costs, arrivals, isl, osl = load
    full = run(costs, ints(arrivals), ints(isl), ints(osl), all_events=True)
    short = run(costs, ints(arrivals), ints(isl), ints(osl))
    assert short.event_ns.size == sum(min(2, tokens) for tokens in osl)
    assert int(short.event_tokens.sum()) == sum(osl)
    for key in ("ttft", "tpot", "request_latency", "isl", "osl", "output_tps_per_user"):
        assert values(key, full) == values(key, short)


@given(loads())
@settings(max_examples=50, deadline=None)
def test_littles_law(load: Load) -> None:
    costs, arrivals, isl, osl = load
    session = Session(costs, asks(ints(arrivals), ints(isl), ints(osl)))
    table = session.run_until(None)
    edges = np.unique(np.concatenate((table.sent_ns, table.end_ns)))
    area = int((session.in_flight(edges[:-1]) * np.diff(edges)).sum())
    assert area == int((table.end_ns - table.sent_ns).sum())
    assert session.in_flight(edges[-1:]).tolist() == [0]


@pytest.mark.parametrize("concurrency", [1, 2, 8, 50])
def test_a_serial_engine_is_no_faster_for_more_at_a_time(concurrency: int) -> None:
    costs, count = preset("serial"), 60
    table = run(costs, None, ints([500] * count), ints([20] * count), concurrency=concurrency)
    one_ns = int(table.end_ns[0])
    # 10 ms + 500 / 12500 s, then 19 steps of 10.05 ms and 160 ns for each of 501 .. 519 tokens
    assert one_ns == 50 * MS + 19 * 10_050_000 + 160 * sum(range(501, 520))
    assert table.end_ns.tolist() == [one_ns * k for k in range(1, count + 1)]
    latency = (table.end_ns - table.sent_ns)[concurrency:]
    assert set(latency.tolist()) <= {one_ns * min(concurrency, count)}


def test_batching_is_faster() -> None:
    costs = preset("small")
    ends = [run(costs, None, ints([500] * 64), ints([20] * 64), concurrency=c).end_ns.max() for c in (1, 4, 16)]
    assert ends[0] > 2 * ends[1] > 2 * ends[2]


def test_the_records() -> None:
    # the cap lets the second go when the first ends: 15 ms, and one step of 10 + 1 + 0.51 ms
    table = run(COSTS, ints([0, 5 * MS]), ints([50, 20]), ints([2, 1]), concurrency=1, cached=ints([0, 10]))
    assert table.intended_ns.tolist() == [0, 5 * MS]
    for column in (table.ready_ns, table.start_ns, table.sent_ns, table.headers_ns):
        assert column.tolist() == [0, 26_510_000]
    assert table.end_ns.tolist() == [26_510_000, 37_510_000]
    assert moments(table) == [[15 * MS, 26_510_000], [37_510_000]]
    assert table.event_tokens.tolist() == [1, 1, 1]
    assert (table.isl_usage.tolist(), table.osl_usage.tolist()) == ([50, 20], [2, 1])
    assert table.cached_tokens.tolist() == [0, 10]
    assert (table.status.tolist(), table.outcome, table.finish_reason) == ([200, 200], ["ok", "ok"], ["length"] * 2)
    assert table.measured.all()
    assert table.ok.all()
    assert values("ttft", table) == [15.0, 11.0]
    assert table.take(ints([1])).event_ns.tolist() == [37_510_000]


def test_one_that_never_fits_is_refused_and_holds_nobody_up() -> None:
    table = run(COSTS, None, ints([10, 2000, 10]), ints([1, 1, 1]), concurrency=1)
    assert table.outcome == ["ok", "http_error", "ok"]
    assert table.status.tolist() == [200, 400, 200]
    assert table.sent_ns.tolist() == [0, 11 * MS, 11 * MS]
    assert table.end_ns.tolist() == [11 * MS, 11 * MS, 22 * MS]
    assert np.diff(table.event_start).tolist() == [1, 0, 1]


def test_a_probe_takes_an_endless_stream_and_stops_early() -> None:
    def arriving() -> Any:
        k = 0
        while True:
            yield Ask(k * 10 * MS, 50, 20)  # 100 a second: far more than it can take
            k += 1

    session = Session(COSTS, arriving())
    counts = []
    for second in range(1, 6):
        block = session.run_until(second * 1000 * MS)
        assert len(block) > 0
        counts.append(int(session.in_flight(ints([second * 1000 * MS]))[0]))
    assert counts == sorted(counts)
    assert counts[-1] > 4 * counts[0]
    assert not session.done
    assert session.scheduler.full
    left = session.under_way()
    assert set(left.outcome) == {"cancelled"}
    assert len(left) == int(session.in_flight(ints([session.now_ns]))[0])
    assert (left.end_ns == session.now_ns).all()


def test_nothing_at_all() -> None:
    empty = run(COSTS, ints([]), ints([]), ints([]))
    assert len(empty) == 0
    session = Session(COSTS, [])
    assert len(session.run_until(5)) == 0
    assert session.now_ns == 5
    with pytest.raises(ValueError, match="concurrency"):
        run(COSTS, None, ints([1]), ints([1]))


def test_the_same_seed_gives_the_same_times() -> None:
    costs, isl, osl = preset("small"), ints(range(100, 300)), ints(range(1, 201))
    first, again, other = (run(costs, None, isl, osl, concurrency=8, seed=seed) for seed in (3, 3, 4))
    assert first.event_ns.tolist() == again.event_ns.tolist() != other.event_ns.tolist()
