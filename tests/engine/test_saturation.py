"""The saturation judge on queues worked out here: what it calls saturated, how soon, and how rarely wrongly."""

import math
from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
import pytest

from genbench.engine.saturation import LEAST_S, SATURATED, Saturation
from genbench.simulator import costs, virtual
from genbench.types import EventKind, Outcome, Record

Floats: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]
STEP_S = 0.5


def single(rate: float, capacity: float, seconds: float, seed: int, *, even: bool = False) -> tuple[Floats, Floats]:
    """Arrivals and ends of one server: Poisson arrivals, exponential (or `even`) service."""
    rng = np.random.default_rng(seed)
    arrived = np.cumsum(rng.exponential(1 / rate, int(rate * seconds * 1.2 + 100)))
    arrived = arrived[arrived < seconds]
    took = np.full(arrived.size, 1 / capacity) if even else rng.exponential(1 / capacity, arrived.size)
    work = np.cumsum(took)  # Lindley: an end is the work so far after the longest idle time so far
    return arrived, work + np.maximum.accumulate(arrived - np.concatenate(([0.0], work[:-1])))


def many(rate: float, slots: int, took_s: float, seconds: float, seed: int) -> tuple[Floats, Floats]:
    """The same for a batch: so many at a time, each in the same time."""
    rng = np.random.default_rng(seed)
    arrived = np.cumsum(rng.exponential(1 / rate, int(rate * seconds * 1.2 + 100)))
    arrived = arrived[arrived < seconds]
    ended = np.empty_like(arrived)
    for k, at in enumerate(arrived):
        ended[k] = max(at, ended[k - slots] if k >= slots else 0.0) + took_s
    return arrived, ended


def record(sent_s: float, end_s: float, ttft_s: float) -> Record:
    ns = [round(1e9 * t) for t in (sent_s, sent_s + ttft_s, end_s)]
    return Record(
        streamed=True, sent_ns=ns[0], event_ns=[ns[1]], event_kind=[EventKind.CONTENT], end_ns=ns[2], outcome=Outcome.OK
    )


def watched(judge: Saturation, arrived: Floats, ended: Floats, seconds: float) -> Iterator[tuple[float, bool]]:
    """Play a queue to the judge: (time, whether it said stop) of every look."""
    order = np.argsort(ended, kind="stable")
    k = 0
    for t in np.arange(0.0, seconds, STEP_S):
        while k < order.size and ended[order[k]] <= t:
            one = order[k]
            judge.add(record(arrived[one], ended[one], (ended[one] - arrived[one]) / 2))
            k += 1
        in_flight = int(np.searchsorted(arrived, t, "right")) - k
        yield float(t), judge.look(round(1e9 * float(t)), in_flight) is not None


def marked_at(rate: float, queue: tuple[Floats, Floats], seconds: float, *, told: bool = True) -> float:
    """When it was called saturated; infinite when it was not."""
    judge = Saturation(rate if told else None)
    return next((t for t, stop in watched(judge, *queue, seconds) if stop), math.inf)


def test_a_server_near_its_capacity_is_rarely_called_saturated() -> None:
    """M/M/1 at 95 %: in flight wanders up to several tens by itself."""
    wrong = sum(marked_at(19, single(19, 20, 60, seed), 60) < math.inf for seed in range(200))
    assert wrong <= 10


def test_a_server_beyond_its_capacity_is_found() -> None:
    """M/M/1 at 110 %, the slowest to be sure of, within 200 s."""
    found = [marked_at(22, single(22, 20, 200, seed), 200) for seed in range(60)]
    assert sum(t < math.inf for t in found) >= 57
    assert float(np.median(found)) < 70


def test_even_service_is_found_sooner() -> None:
    found = [marked_at(22, single(22, 20, 80, seed, even=True), 80) for seed in range(30)]
    assert sum(t < math.inf for t in found) >= 29
    assert float(np.median(found)) < 25
    assert all(marked_at(19, single(19, 20, 80, seed, even=True), 80) == math.inf for seed in range(30))


@pytest.mark.parametrize(("share", "least", "most"), [(0.5, 0, 0), (0.9, 0, 1), (1.3, 30, 30), (2.0, 30, 30)])
def test_a_batch(share: float, least: int, most: int) -> None:
    """32 at a time, 0.8 s each: 40 req/s. A batch that is far beyond is found as soon as the word may be said."""
    rate = share * 40
    found = [marked_at(rate, many(rate, 32, 0.8, 40, seed), 40) for seed in range(30)]
    marked = [t for t in found if t < math.inf]
    assert least <= len(marked) <= most
    assert all(t >= 20 * 0.8 for t in marked)
    if share == 2.0:
        assert max(marked) <= 20


@pytest.mark.parametrize(("share", "marked"), [(0.9, 0), (1.3, 6)])
def test_a_model_of_an_engine(share: float, marked: int) -> None:
    """Continuous batching in virtual time; 12.8 req/s is its capacity at these lengths, 1.34 s its latency alone."""
    rate, seconds = share * 12.8, 60.0
    found = 0
    for seed in range(6):
        rng = np.random.default_rng(seed)
        arrivals_ns = np.cumsum(rng.exponential(1e9 / rate, int(rate * seconds))).astype(np.int64)
        isl, osl = (
            np.maximum(1, rng.normal(mean, 0.3 * mean, arrivals_ns.size)).astype(np.int64) for mean in (550, 128)
        )
        table = virtual.run(costs.preset("small"), arrivals_ns, isl, osl)
        queue = table.sent_ns / 1e9, table.end_ns / 1e9
        judge = Saturation(rate, 1.34)
        found += any(stop for _, stop in watched(judge, *queue, seconds))
    assert found == marked


def test_a_low_loads_latency_makes_it_sooner() -> None:
    """A batch of 32 at twice its capacity, 2 s each: 40 s alone, more by the first 20 of a run that begins late."""
    rate, queue = 32.0, many(32.0, 32, 2.0, 100, 1)
    late = (queue[0] + 0.0, queue[1] + 2.0)  # everything takes twice as long from the beginning
    found = []
    for latency_s in (None, 2.0):
        judge = Saturation(rate, latency_s)
        found.append(next((t for t, stop in watched(judge, *late, 100) if stop), math.inf))
    assert 80 <= found[0] <= 85
    assert 40 <= found[1] <= 45


def test_nothing_is_said_too_early() -> None:
    """A server at twice its capacity: not before 10 s, whatever the latency."""
    assert LEAST_S <= marked_at(40, single(40, 20, 30, 1, even=True), 30) <= LEAST_S + 2
    judge = Saturation(40.0)
    for t, stop in watched(judge, *single(40, 20, 9, 1), 9):
        assert not stop, t
    assert not judge.enough()


def test_without_a_rate_growth_alone_must_do() -> None:
    assert marked_at(40, single(40, 20, 60, 3), 60, told=False) < 30
    assert marked_at(19, single(19, 20, 60, 3), 60, told=False) == math.inf


def test_a_number_that_settles_higher_is_not_growing() -> None:
    """In flight goes up from 0 to 60 in a curve, as when a batch fills and slows down; arrivals and ends are even."""
    judge = Saturation(50.0)
    done = 0
    for k in range(200):
        t = k * STEP_S
        held = 60 * (1 - math.exp(-t / 8))
        while done < 50 * t - held:
            judge.add(record(t - 1.0, t, 0.1))
            done += 1
        assert judge.look(round(1e9 * t), round(held)) is None
    assert judge.stationary()


def test_stationary_after_the_start_and_never_when_growing() -> None:
    judge = Saturation(10.0)
    first = next(t for t, _ in watched(judge, *single(10, 20, 60, 5), 60) if judge.stationary())
    assert LEAST_S <= first <= 25
    growing = Saturation(40.0)
    for _, stop in watched(growing, *single(40, 20, 60, 5), 60):
        assert not growing.stationary()
        if stop:
            break
    assert growing.why


def test_the_sentence() -> None:
    judge = Saturation(40.0)
    for _, stop in watched(judge, *single(40, 20, 60, 1, even=True), 60):
        if stop:
            break
    assert judge.why.startswith(SATURATED)
    assert "in flight grew from " in judge.why
    assert "req/s ended while 40 came" in judge.why
    assert "; TTFT from " in judge.why


def test_a_server_that_answers_nothing_is_no_queue() -> None:
    """No latency is known then; time-outs and errors speak for themselves."""
    judge = Saturation(10.0)
    assert all(judge.look(round(k * 5e8), 5 * k) is None for k in range(120))
