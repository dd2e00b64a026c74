"""The model: by hand, and what must hold whatever arrives."""

from array import array
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genbench.simulator.costs import Costs
from genbench.simulator.scheduler import Scheduler, Sequence
from tests.simulator.reference import loads

MS = 1_000_000
# A step: 10 ms, 1 ms for each sequence that decodes, 10 us for each token those have; a prompt token: 0.1 ms.
COSTS = Costs(
    prefill_tps=10_000,
    step_base_s=0.01,
    step_per_sequence_s=0.001,
    step_per_kv_token_s=1e-5,
    max_batch=4,
    kv_tokens=1000,
    max_step_tokens=100,
    max_model_len=1000,
)


def steps(scheduler: Scheduler, count: int) -> list[int]:
    """The lengths of the next steps, in us."""
    found, now_ns = [], 0
    for _ in range(count):
        length = scheduler.begin(now_ns)
        assert length is not None
        now_ns += length
        scheduler.end(now_ns)
        found.append(length // 1000)
    return found


def test_one_sequence() -> None:
    scheduler = Scheduler(COSTS)
    sequence = Sequence(0, 50, 3)
    scheduler.add(sequence)
    # prompt: 10 + 5; then 10 + 1 + 0.01 x (50 + 1), and one token more
    assert steps(scheduler, 3) == [15_000, 11_510, 11_520]
    assert (sequence.admitted_ns, sequence.first_ns) == (0, 15 * MS)
    assert (scheduler.running, scheduler.kv_used, scheduler.begin(10**9)) == (0, 0, None)
    assert (scheduler.prompt_tokens, scheduler.generation_tokens, scheduler.decodes) == (50, 3, 2)


def test_a_long_prompt_shares_its_steps_with_decoding() -> None:
    scheduler = Scheduler(COSTS)
    scheduler.add(Sequence(0, 50, 9))
    assert steps(scheduler, 1) == [15_000]
    late = Sequence(0, 150, 2)
    scheduler.add(late)
    # 99 tokens beside the one that decodes, then 51
    assert steps(scheduler, 2) == [10_000 + 1_000 + 510 + 9_900, 10_000 + 1_000 + 520 + 5_100]
    assert late.first_ns > 0
    assert steps(scheduler, 1) == [10_000 + 2_000 + 10 * (53 + 151)]


def test_without_chunks_a_prompt_stops_the_decoding() -> None:
    scheduler = Scheduler(replace(COSTS, chunked_prefill=False, max_model_len=100))
    first = Sequence(0, 50, 9)
    scheduler.add(first)
    steps(scheduler, 1)
    for isl in (60, 40, 30):  # two of them together, the third in a step of its own
        scheduler.add(Sequence(0, isl, 2))
    assert steps(scheduler, 2) == [20_000, 13_000]
    assert first.tokens(scheduler.decodes) == 1
    assert steps(scheduler, 1) == [10_000 + 4_000 + 10 * (51 + 61 + 41 + 31)]


def test_the_batch_is_full() -> None:
    scheduler = Scheduler(replace(COSTS, max_batch=2))
    for _ in range(3):
        scheduler.add(Sequence(0, 10, 3))
    scheduler.begin(0)
    assert (scheduler.running, len(scheduler.waiting), scheduler.full) == (2, 1, True)


def test_what_arrives_later_waits() -> None:
    scheduler = Scheduler(COSTS)
    scheduler.add(Sequence(5, 10, 3))
    assert scheduler.begin(4) is None
    assert scheduler.begin(5) == 11 * MS


def test_the_latest_goes_when_there_is_no_room_and_starts_over() -> None:
    scheduler = Scheduler(replace(COSTS, kv_tokens=104, max_model_len=104))
    first, second = Sequence(0, 50, 20), Sequence(0, 50, 20)
    scheduler.add(first)
    scheduler.add(second)
    # room for 50 + 2 each: the prompts and two tokens; the third is too much
    steps(scheduler, 3)
    assert scheduler.preemptions == 0
    scheduler.begin(0)
    assert (scheduler.preemptions, scheduler.running, list(scheduler.waiting)) == (1, 1, [second])
    assert (second.generated, second.preemptions, scheduler.kv_used) == (3, 1, 53)
    for _ in range(16):
        scheduler.end(0)
        scheduler.begin(0)
    assert first.tokens(scheduler.decodes) == 19
    scheduler.end(0)
    assert scheduler.begin(0) == 10 * MS + 53 * MS // 10  # its prompt and the three tokens it had
    scheduler.end(0)
    assert second.tokens(scheduler.decodes) == 4
    assert (scheduler.prompt_tokens, scheduler.generation_tokens) == (100, 24)


def test_a_known_prefix_needs_no_prefill_but_the_last_token() -> None:
    scheduler = Scheduler(COSTS)
    for cached in (30, 50):
        scheduler.add(Sequence(0, 50, 1, cached=cached))
    assert steps(scheduler, 1) == [10_000 + 2_000 + 100]
    assert (scheduler.cache_queries, scheduler.cache_hits) == (100, 79)


@pytest.mark.parametrize("place", ["waiting", "prefilling", "decoding"])
def test_one_that_is_removed_leaves_no_trace(place: str) -> None:
    scheduler = Scheduler(replace(COSTS, max_batch=2))
    other, gone = Sequence(0, 10, 40), Sequence(0, 150, 5)
    scheduler.add(other)
    scheduler.add(gone)
    if place != "waiting":
        steps(scheduler, 1 if place == "prefilling" else 3)
    assert gone.place.value == place
    scheduler.remove(gone)
    scheduler.remove(gone)
    assert scheduler.kv_used == (0 if place == "waiting" else 10 + other.tokens(scheduler.decodes))
    steps(scheduler, 40 - other.tokens(scheduler.decodes))
    assert (scheduler.running, scheduler.kv_used, scheduler.begin(10**12)) == (0, 0, None)


def test_one_that_is_removed_during_a_step_gets_no_token() -> None:
    scheduler = Scheduler(COSTS)
    gone, other = Sequence(0, 10, 3), Sequence(0, 10, 3)
    scheduler.add(gone)
    scheduler.add(other)
    steps(scheduler, 1)
    scheduler.begin(0)
    scheduler.remove(gone)
    assert scheduler.receivers() == [other]
    scheduler.end(0)
    assert (gone.tokens(scheduler.decodes), other.tokens(scheduler.decodes)) == (1, 2)


@given(loads())
@settings(max_examples=150, deadline=None)
def test_the_limits_hold_and_nothing_is_lost(load: tuple[Costs, list[int], list[int], list[int]]) -> None:
    costs, arrivals, isl, osl = load
    scheduler = Scheduler(costs)
    everyone = [Sequence(*one) for one in zip(arrivals, isl, osl, strict=True)]
    for one in everyone:
        scheduler.add(one)
    now_ns, done, admitted = 0, set[Sequence](), list[int]()
    while len(done) < len(everyone):
        length = scheduler.begin(now_ns)
        if length is None:
            now_ns = scheduler.waiting[0].arrival_ns
            continue
        running = [*scheduler.decoding, *scheduler.prefilling]
        assert 0 < len(running) <= costs.max_batch
        assert scheduler.kv_used == sum(one.isl + one.tokens(scheduler.decodes) for one in running) <= costs.kv_tokens
        # first come, first served: whoever runs came before whoever waits
        order = [everyone.index(one) for one in (*running, *scheduler.waiting)]
        assert order == sorted(order)
        assert sum(1 for one in scheduler.prefilling if one.left) <= 1
        before = scheduler.generation_tokens
        expected = len(scheduler.receivers())
        now_ns += length
        joined, finished = scheduler.end(now_ns)
        assert scheduler.generation_tokens == before + expected + len(joined)
        done |= set(finished)
    admitted = [one.admitted_ns for one in everyone]
    assert admitted == sorted(admitted)
    assert all(one.admitted_ns >= one.arrival_ns for one in everyone)
    assert all(one.tokens(scheduler.decodes) == one.osl for one in everyone)
    assert (scheduler.prompt_tokens, scheduler.generation_tokens) == (sum(isl), sum(osl))
    assert (scheduler.running, len(scheduler.waiting), scheduler.kv_used) == (0, 0, 0)
    assert scheduler.preemptions == sum(one.preemptions for one in everyone)


@given(st.integers(1, 40), st.floats(0, 0.5), st.integers(0, 10**8))
@settings(max_examples=60, deadline=None)
def test_coasting_is_the_same_as_stepping(osl: int, noise: float, stop_ns: int) -> None:
    costs = replace(COSTS, step_noise=noise, kv_tokens=160, max_model_len=160, step_per_kv_token_s=1.7e-7)
    moments = []
    for coasting in (False, True):
        scheduler, ends, now_ns = Scheduler(costs, seed=5), array("q"), 0
        for _ in range(3):
            scheduler.add(Sequence(0, 20, osl + 3))
            scheduler.add(Sequence(0, 15, osl))
        while True:
            if coasting:
                now_ns = scheduler.coast(now_ns, stop_ns, ends)
            length = scheduler.begin(now_ns)
            if length is None:
                break
            now_ns, before = now_ns + length, scheduler.decodes
            scheduler.end(now_ns)
            if scheduler.decodes > before:
                ends.append(now_ns)
        moments.append((list(ends), scheduler.decodes, scheduler.generation_tokens, scheduler.preemptions))
    assert moments[0] == moments[1]


def test_noise_is_seeded_and_small() -> None:
    found = []
    for seed in (1, 1, 2):
        scheduler = Scheduler(replace(COSTS, step_noise=0.1, step_per_kv_token_s=0.0), seed)
        scheduler.add(Sequence(0, 50, 200))
        found.append(steps(scheduler, 200)[1:])
    assert found[0] == found[1] != found[2]
    assert all(11_000 * 0.9 <= length <= 11_000 * 1.1 for length in found[0])
    assert len(set(found[0])) > 150
