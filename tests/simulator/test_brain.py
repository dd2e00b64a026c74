"""The scheduler on a timer: the moments are those of virtual time, whatever the loop does."""

import gc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genbench.simulator.brain import Batch
from genbench.simulator.clockwork import DONE, Timed
from genbench.simulator.costs import Costs
from genbench.simulator.feed import PARKED, Feed
from genbench.simulator.prefix import PrefixCache
from genbench.simulator.render import words
from genbench.simulator.scheduler import Place, Scheduler
from genbench.simulator.virtual import run
from genbench.simulator.work import Work
from tests.simulator.reference import loads
from tests.simulator.test_scheduler import COSTS, MS
from tests.simulator.test_script import WORK


class Timer:
    """Runs what it was given when it is told to."""

    def __init__(self) -> None:
        self.item: Timed | None = None

    def add(self, item: Timed) -> None:
        assert self.item is None
        self.item = item

    def run_before(self, t_ns: int) -> None:
        """Run the steps that end before this moment."""
        while self.item is not None and self.item.due_ns < t_ns:
            if self.item.run() == DONE:
                self.item = None


def of_size(isl: int, osl: int, **fields: Any) -> Work:
    return replace(WORK, sizes=(isl,), tokens=osl, inputs=(" ".join(["word"] * isl),), **fields)


def moments(feed: Feed) -> list[int]:
    """What has come, from the request's stamp."""
    found = []
    while (at := next(feed)) != PARKED:
        found.append(at)
    return found


@given(loads(), st.lists(st.integers(0, 3), min_size=14, max_size=14))
@settings(max_examples=150, deadline=None)
def test_the_wire_and_virtual_time_agree(load: tuple[Costs, list[int], list[int], list[int]], late: list[int]) -> None:
    costs, coming, isl, osl = load
    costs = replace(costs, step_noise=0.1)
    arrivals = [at + k for k, at in enumerate(coming)]  # an idle engine takes the first it reads, not two at a time
    table = run(costs, np.array(arrivals), np.array(isl), np.array(osl), seed=9, all_events=True)
    timer, feeds = Timer(), []
    batch = Batch(Scheduler(costs, 9), timer)
    for row, at in enumerate(arrivals):
        # a busy loop reads some requests before it comes to the steps that ended before them
        if row == 0 or late[row] == 0 or timer.item is None:
            timer.run_before(at)
        feeds.append(batch.take(of_size(isl[row], osl[row]), at))
    timer.run_before(1 << 62)
    expected = [part.tolist() for part in np.split(table.event_ns, table.event_start[1:-1])]
    assert [[at + feed.received_ns for at in moments(feed)] for feed in feeds] == expected


def test_the_first_step_begins_at_the_stamp_and_never_before_the_last_one_ended() -> None:
    timer = Timer()
    batch = Batch(Scheduler(COSTS), timer)
    first = batch.take(of_size(50, 1), 7 * MS)
    timer.run_before(1 << 62)
    assert moments(first) == [15 * MS]
    second = batch.take(of_size(50, 1), 20 * MS)  # read late: the step before ended at 22 ms
    timer.run_before(1 << 62)
    assert moments(second) == [2 * MS + 15 * MS]


def test_one_that_is_dropped_frees_its_place() -> None:
    timer = Timer()
    batch = Batch(Scheduler(replace(COSTS, max_batch=1)), timer)
    first, second = (batch.take(of_size(50, 100), 0) for _ in range(2))
    timer.run_before(100 * MS)
    assert len(moments(first)) > 5
    first.release()
    timer.run_before(150 * MS)
    assert moments(second)
    assert moments(first) == []
    assert batch.scheduler.running == 1


def test_nothing_is_left_of_a_request_that_is_over() -> None:
    timer = Timer()
    batch = Batch(Scheduler(COSTS), timer)
    batch.take(of_size(50, 2), 0).release()
    gc.disable()
    gc.freeze()  # only what comes from here on is looked at
    try:
        feed = batch.take(of_size(50, 2), 10**9)
        timer.run_before(1 << 62)
        feed.release()
        del feed
        assert gc.collect() == 0
    finally:
        gc.unfreeze()
        gc.enable()


def test_choices_are_sequences_and_a_moment_waits_for_the_slowest() -> None:
    timer = Timer()
    batch = Batch(Scheduler(replace(COSTS, max_step_tokens=60)), timer)
    feed = batch.take(replace(of_size(50, 2), choices=2), 0)
    assert [one.isl for one in feed.sequences] == [50, 50]
    timer.run_before(1 << 62)
    # 50 and 10 tokens: 16 ms; one decodes beside 40: 10 + 1 + 0.51 + 4 ms, then the second's second
    assert moments(feed) == [31_510_000, 31_510_000 + 11_510_000]


def test_events_of_several_tokens_and_whole_answers_are_due_with_their_last() -> None:
    whole = 15_000_000 + 11_510_000 + 11_520_000 + 11_530_000 + 11_540_000
    for work, count, last_ns in (
        (of_size(50, 5, faults={"multi_token": 2.0}), 3, whole),
        (of_size(50, 5, stream=False), 1, whole),
        (of_size(50, 5, faults={"immediate_finish": 0.0}), 1, 15 * MS),
        (replace(of_size(50, 0), kind="embeddings", stream=False), 1, 15 * MS),
    ):
        timer = Timer()
        feed = Batch(Scheduler(COSTS), timer).take(work, 0)
        timer.run_before(1 << 62)
        found = moments(feed)
        assert (len(found), found[-1]) == (count, last_ns)


def test_a_conversation_finds_its_own_answers_in_the_cache() -> None:
    timer, costs = Timer(), replace(COSTS, prefix_cache=True)
    batch = Batch(Scheduler(costs, cache=PrefixCache(costs.kv_tokens)), timer)
    first = replace(of_size(46, 30), kind="chat", inputs=(" ".join(f"w{k}" for k in range(40)),))
    feed = batch.take(first, 0)
    timer.run_before(1 << 62)
    assert feed.cached_tokens == 0
    answer = words(first, 0, 0, 30).decode()
    second = replace(first, inputs=(*first.inputs, answer, "and now"), sizes=(46 + 30 + 3 + 2 + 3,))
    again = batch.take(second, 10**9)
    timer.run_before(1 << 62)
    assert again.cached_tokens == (46 + 30) // 16 * 16
    assert batch.scheduler.cache_hits == 64
    other = batch.take(replace(second, inputs=("another", *second.inputs[1:])), 10**10)
    timer.run_before(1 << 62)
    assert other.cached_tokens == 0


def test_the_cache_forgets_ends_first_and_holds_no_more_than_it_may() -> None:
    cache = PrefixCache(64)
    cache.insert((1, 2, 3))
    cache.insert((7, 8))
    assert len(cache) == 4
    assert cache.match((1, 2, 3)) == 32
    assert cache.match((7, 8)) == 32
    assert cache.match((2,)) == 16
    assert cache.match((5, 1)) == 0


@pytest.mark.parametrize("place", list(Place))
def test_a_drop_is_harmless_wherever_it_comes(place: Place) -> None:
    timer = Timer()
    batch = Batch(Scheduler(replace(COSTS, max_batch=1)), timer)
    other = batch.take(of_size(10, 30), 0)
    feed = batch.take(of_size(150, 3), 0)
    while feed.sequences[0].place is not place:
        assert timer.item
        timer.run_before(timer.item.due_ns + 1)
    feed.release()
    timer.run_before(1 << 62)
    assert (batch.scheduler.running, batch.scheduler.kv_used) == (0, 0)
    assert len(moments(other)) == 30
