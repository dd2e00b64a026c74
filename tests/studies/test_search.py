"""The search over a made-up server: its bracket, its end, its answer, and what it does when a probe was wrong."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genbench.studies.probe import Series, Verdict
from genbench.studies.search import MOST, Ask, Found, Goal, Tried, allotted, answer, bracket, limit, propose, search

BLOCKS, SIZE = 160, 20


def server(capacity: float, *, steep: float = 12.0, seed: int = 0, close: float = 0.01) -> Callable[[Ask], Tried]:
    """A server whose log-odds of a good request fall over the log of the load and are 95 % at its capacity."""
    rng = np.random.default_rng(seed)

    def run(ask: Ask) -> Tried:
        odds = math.log(0.95 / 0.05) - steep * math.log(ask.value / capacity)
        share = 1 / (1 + math.exp(-max(-30.0, min(30.0, odds))))
        shares = rng.binomial(SIZE, share, BLOCKS) / SIZE
        verdict: Verdict = "kept" if share > 0.95 + close else "missed" if share < 0.95 - close else "close"
        return Tried(ask.value, verdict, {"promise": (0.95, Series(shares, SIZE))})

    return run


def test_the_answer_is_the_capacity() -> None:
    for seed, capacity in enumerate((0.07, 1.0, 11.3, 42.0, 950.0)):
        found = search(server(capacity, seed=seed), Goal(start=capacity / 30))
        assert found.value == pytest.approx(capacity, rel=0.03)
        assert found.low is not None
        assert found.high is not None
        assert found.value is not None
        assert found.low < found.value < found.high
        assert found.high / found.low < 1.05
        assert not found.wide
        assert found.confirmed is not None
        assert len(found.tried) <= MOST


def test_the_interval_holds_the_capacity() -> None:
    """95 % wanted of 200 independent searches."""
    inside = 0
    for seed in range(200):
        found = search(server(20.0, seed=seed), Goal(start=1.0))
        assert found.low is not None
        assert found.high is not None
        inside += found.low <= 20.0 <= found.high
    assert inside >= 184


def test_whole_numbers() -> None:
    found = search(server(23.4, seed=3), Goal(start=1, whole=True))
    assert found.value in (22, 23, 24)
    assert all(one.value == int(one.value) >= 1 for one in found.tried)


def test_bounds_are_kept_to() -> None:
    found = search(server(100.0), Goal(start=1, low=1, high=30))
    assert found.at_least
    assert found.value == 30
    assert found.high is None
    assert found.confirmed
    assert max(one.value for one in found.tried) == 30
    none = search(server(1.0), Goal(start=5, low=5, high=30))
    assert none.value is None
    assert [one.value for one in none.tried] == [5]


def test_downwards_when_the_start_is_too_high_and_not_for_ever() -> None:
    assert search(server(0.2), Goal(start=5)).value == pytest.approx(0.2, rel=0.03)
    hopeless = search(server(1e-6), Goal(start=5))
    assert hopeless.value is None
    assert [one.value for one in hopeless.tried] == [5, 1.25, 0.312, 0.078, 0.0195]


def test_no_time_for_another_probe() -> None:
    run = server(20.0)
    found = search(lambda ask: run(ask) if ask.number < 4 else None, Goal(start=1.0))
    assert len(found.tried) == 4
    assert found.confirmed is None
    assert found.value is not None


def test_each_probe_is_told_of_and_the_last_is_the_answer() -> None:
    told: list[Found] = []
    found = search(server(20.0), Goal(start=1.0), told.append)
    assert [len(one.tried) for one in told] == list(range(1, len(found.tried) + 1))
    assert told[-1] == found


def test_a_confirmation_that_fails_lowers_the_answer() -> None:
    """At first the server holds 20, from the confirmation on only 19."""
    before, after = server(20.0, seed=1), server(19.0, seed=2)
    found = search(lambda ask: (after if ask.confirms else before)(ask), Goal(start=1.0))
    confirmed = next(one for one in found.tried[-5:] if one.value > 19)
    assert found.value is not None
    assert found.value < confirmed.value


def kept(value: float, *, lenient: bool = False) -> Tried:
    return Tried(value, "kept", {"p": (0.95, Series(np.ones(40), SIZE))}, lenient=lenient)


def missed(value: float) -> Tried:
    return Tried(value, "missed", {"p": (0.95, Series(np.full(40, 0.8), SIZE))})


def grew(value: float) -> Tried:
    return Tried(value, "missed", {"p": (0.95, Series(np.full(40, 0.2), SIZE))}, grew=True)


def doubtful(value: float) -> Tried:
    return Tried(value, "missed", {"p": (0.95, Series(np.ones(40), SIZE))}, grew=True)


def close(value: float, share: float = 0.96) -> Tried:
    return Tried(value, "close", {"p": (0.95, Series(np.full(40, share), SIZE))})


@pytest.mark.parametrize(
    ("tried", "expected"),
    [
        ([], (None, None)),
        ([kept(1)], (1, None)),
        ([kept(1), kept(4), missed(16)], (4, 16)),
        ([kept(1), close(4), missed(16)], (1, 16)),
        ([kept(1), missed(4), kept(5)], (1, None)),  # one of the two was wrong
        ([kept(1), missed(4), kept(5), missed(7)], (1, 7)),
        ([kept(1), missed(4), kept(4)], (4, None)),  # the last at one load counts
        ([kept(3, lenient=True), missed(2)], (None, 2)),
        ([kept(1), kept(3, lenient=True), missed(2)], (1, 2)),
        ([close(1), missed(4)], (1, 4)),  # none was kept, and its own share was
        ([kept(1), close(4, 0.9)], (1, 4)),  # none was missed, and its own share was not kept
    ],
)
def test_the_bracket(tried: list[Tried], expected: tuple[float | None, float | None]) -> None:
    assert bracket(tried) == expected


@pytest.mark.parametrize(
    ("tried", "expected"),
    [
        ([], 1),
        ([kept(1)], 4),
        ([close(1)], 4),
        ([close(1, 0.9)], 0.25),
        ([missed(1)], 0.25),
        ([kept(1), missed(4)], 2),
        ([kept(1), kept(2), missed(4)], 2.83),
        ([kept(2, lenient=True), missed(4)], 2),  # was it really kept?
        ([kept(1), close(2, 0.96), missed(4)], None),  # there is an estimate
        ([kept(1), close(2, 1.0), grew(4)], 2.83),  # there is none yet
        ([kept(1), missed(1.04)], None),
        ([kept(1), missed(4), kept(5)], 4),  # a second opinion
        ([kept(8), doubtful(9)], 9),  # and here: in flight grew, and all kept their promise
        ([kept(8), doubtful(9), doubtful(9)], 8.49),
        ([kept(8), grew(9)], 8.49),
        ([kept(4), doubtful(9)], 6),
        ([kept(1), missed(4), kept(5), missed(4)], None),
    ],
)
def test_what_is_tried_next(tried: list[Tried], expected: float | None) -> None:
    assert propose(tried, Goal(start=1)) == expected


def test_the_estimate_by_hand() -> None:
    """Half of the way between 97.5 % and 90 % in log-odds: 3.66 and 2.20; 95 % is 2.94, 0.495 of the way from 10 to
    11 in log load, 10.48."""
    tried = [
        Tried(10, "kept", {"p": (0.95, Series(np.tile([0.95, 1.0], 80), 1000))}),
        Tried(11, "missed", {"p": (0.95, Series(np.tile([0.85, 0.95], 80), 1000))}),
    ]
    found = limit(tried)
    assert found is not None
    assert found[1] == pytest.approx(10.48, rel=0.002)


def test_the_lowest_of_several_promises_is_the_limit() -> None:
    def both(value: float, first: float, second: float) -> Tried:
        series = {"a": (0.95, Series(np.full(64, first), 100)), "b": (0.95, Series(np.full(64, second), 100))}
        return Tried(value, "kept" if min(first, second) > 0.95 else "missed", series)

    found = limit([both(10, 0.99, 0.97), both(12, 0.98, 0.9)])
    alone = limit(
        [Tried(one.value, one.verdict, {"b": one.series["b"]}) for one in (both(10, 1, 0.97), both(12, 1, 0.9))]
    )
    assert found is not None
    assert alone is not None
    assert found[1] == pytest.approx(alone[1])


def test_what_grew_says_nothing_of_the_line() -> None:
    grown = Tried(20, "missed", {"p": (0.95, Series(np.full(64, 0.2), 100))}, grew=True)
    assert limit([kept(1), grown]) is None
    found = search(
        lambda ask: kept(ask.value) if ask.value < 12 else Tried(ask.value, "missed", grown.series, grew=True),
        Goal(start=1),
    )
    assert found.value is not None
    assert 12 / 1.05 <= found.value < 12
    assert (found.low, found.high) != (None, None)


def test_every_block_counts() -> None:
    """31 blocks are one segment: the last 15, in which the queue had grown, are in it."""
    tail = Series(np.concatenate((np.ones(16), np.full(15, 0.9))), SIZE)
    found = limit([Tried(10, "close", {"p": (0.95, tail)}), Tried(11, "close", {"p": (0.95, tail)})])
    assert found is not None
    assert limit([Tried(10, "close", {"p": (0.95, Series(np.ones(31), SIZE))})]) is None


def mean_below(capacity: float, error: float = 0.02) -> Callable[[Ask], Tried]:
    """A promise on a mean: kept below the capacity, surely so beyond an error of the load."""

    def run(ask: Ask) -> Tried:
        sure: Verdict = "missed" if ask.value > capacity * (1 + error) else "kept"
        verdict: Verdict = "close" if abs(ask.value / capacity - 1) <= error else sure
        return Tried(ask.value, verdict, figures=ask.value <= capacity)

    return run


def test_a_promise_on_a_mean() -> None:
    """By hand: the answer is the highest load that kept it, and the interval ends where it is surely missed."""
    found = search(mean_below(45.0), Goal(start=5.0))
    assert found.value is not None
    assert found.low is not None
    assert found.high is not None
    assert 45 / 1.05 <= found.value <= 45
    assert found.low <= 45 <= found.high
    assert found.confirmed
    assert sum(one.value == found.value for one in found.tried) == 2  # and once to confirm it


def test_a_mean_that_binds_beside_a_share_that_does_not() -> None:
    shares, mean = server(90.0), mean_below(45.0)

    def both(ask: Ask) -> Tried:
        one, two = shares(ask), mean(ask)
        verdict: Verdict = "missed" if "missed" in (one.verdict, two.verdict) else two.verdict
        return Tried(ask.value, verdict, one.series, figures=two.figures)

    found = search(both, Goal(start=5.0))
    assert found.value is not None
    assert found.high is not None
    assert 45 / 1.05 <= found.value <= 45
    assert found.high < 50


def test_what_grew_is_never_the_answer() -> None:
    """All that is below 12 is kept by all, 12 and more grows: no line can be fitted, the bracket is the answer."""
    ones = {"p": (0.95, Series(np.ones(64), SIZE))}

    def run(ask: Ask) -> Tried:
        return Tried(ask.value, "missed" if ask.value >= 12 else "close", ones, grew=ask.value >= 12)

    found = search(run, Goal(start=1.0))
    assert found.value is not None
    assert found.high is not None
    assert 12 / 1.05 <= found.value < found.high
    assert found.high <= 12.6
    assert max(sum(one.value == value for one in found.tried) for value in {one.value for one in found.tried}) <= 2


def test_an_estimate_at_a_load_that_grew_is_none() -> None:
    """99.3 % at 12.1 puts the line's end near 14.3, where the number in flight grows: the search goes on between."""
    held = Tried(12.1, "close", {"p": (0.95, Series(np.tile([0.99, 0.996], 40), SIZE))})
    line = limit([kept(4), held])
    assert line is not None
    at = float(f"{line[1]:.3g}")
    tried = [kept(4), held, grew(at)]
    assert propose(tried, Goal(start=4)) == pytest.approx(math.sqrt(12.1 * at), rel=0.01)
    found = search(lambda ask: grew(ask.value) if ask.value > 12.5 else close(ask.value, 0.99), Goal(start=4))
    assert found.value is not None
    assert 12 < found.value <= 12.5
    assert all(_times(found, one.value) <= 2 for one in found.tried if one.grew)


def _times(found: Found, value: float) -> int:
    return sum(one.value == value for one in found.tried)


def test_a_doubtful_probe_without_a_second_opinion_bounds_no_estimate() -> None:
    """Time was short: 9.57 seemed to grow while all was kept. The line through the others says 9.5 or so."""
    near = [close(9.97, 0.91), close(9.59, 0.948), close(9.49, 0.957)]
    tried = [kept(7.05), grew(14.1), *near, doubtful(9.57), close(9.49, 0.937)]
    found = answer(tried, Goal(start=1), None)
    assert found.value == pytest.approx(9.5, rel=0.02)
    assert found.fitted
    twice = answer([*tried, doubtful(9.57)], Goal(start=1), None)
    assert twice.value is not None
    assert twice.value < 9.57


def test_a_bound_with_many_digits() -> None:
    found = search(server(100.0), Goal(start=1.0, high=12.375))
    assert found.at_least
    assert found.value == 12.375
    assert max(one.value for one in found.tried) == 12.375


def test_time() -> None:
    assert allotted(1800, 1700, 0) == 90
    assert allotted(60, 50, 0) == 12
    assert allotted(60, 50, 0, latency_s=0.5) == 20
    assert allotted(60, 5, 0) == 5
    assert [allotted(1800, 900, k) for k in (1, 2, 3, 4)] == [300, 450, 900, 900]
    assert allotted(60, 15, 1) == 12  # no shorter than a verdict takes


@settings(max_examples=200, deadline=None)
@given(
    verdicts=st.lists(st.sampled_from(["kept", "missed", "close", "low", "lenient"]), min_size=MOST, max_size=MOST),
    start=st.floats(1e-3, 1e4),
    bounds=st.sampled_from([(None, None), (0.5, None), (None, 2.0), (0.5, 2.0)]),
    whole=st.booleans(),
    precision=st.floats(0.005, 0.5),
)
def test_it_ends_whatever_the_probes_say(
    verdicts: list[str], start: float, bounds: tuple[float | None, float | None], whole: bool, precision: float
) -> None:
    """In bounds, in at most 12 probes; the answer lies in its interval, and below the bracket's missed load."""
    low, high = (
        None if bound is None else max(1.0, round(bound * start)) if whole else bound * start for bound in bounds
    )

    def run(ask: Ask) -> Tried:
        said = verdicts[ask.number]
        return {
            "kept": kept(ask.value),
            "lenient": kept(ask.value, lenient=ask.lenient),
            "missed": missed(ask.value),
            "close": close(ask.value),
            "low": close(ask.value, 0.93),
        }[said]

    found = search(run, Goal(start, low, high, precision, whole))
    assert len(found.tried) <= MOST
    for one in found.tried:
        assert one.value > 0
        assert not whole or one.value == int(one.value)
        assert low is None or one.value >= low
        assert high is None or one.value <= high
    below, above = bracket(found.tried)
    assert below is None or above is None or below < above
    if found.value is not None and found.low is not None and found.high is not None:
        assert found.low * 0.995 <= found.value <= found.high * 1.005  # the answer has three digits
        assert above is None or found.value <= above * 1.005
