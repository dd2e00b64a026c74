"""Schedules: the process at its rate or along a shape, warm-up and duration, traces, and what is refused."""

import itertools
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genbench.errors import ConfigError, DatasetError
from genbench.options import Load
from genbench.plan import schedule
from genbench.plan.rates import Ramp, Stages
from genbench.plan.schedule import arrivals, is_trace
from genbench.types import OPEN_ENDED

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "arrivals.py"
S = 1_000_000_000

Offsets = np.ndarray[Any, np.dtype[np.int64]]


def offsets(seed: int = 0, units: int = OPEN_ENDED, times_s: Sequence[float] | None = None, **load: Any) -> Offsets:
    """The schedule's offsets in ns, checked for what holds for all of them."""
    times = None if times_s is None else (round(t * S) for t in times_s)
    count, found = arrivals(Load(**load), seed, units, times)
    assert found is not None
    assert found.dtype == np.int64
    assert count == len(found) <= units
    assert found[0] >= 0
    assert (np.diff(found) >= 0).all()
    return found


def process(tmp_path: Path, body: str) -> str:
    """A user's own process."""
    file = tmp_path / "mine.py"
    file.write_text(f"def offsets(rate, rng, options):\n    {body}\n")
    return str(file)


# -- a steady rate ----------------------------------------------------------------------------------------------------


def test_a_closed_loop_has_no_offsets() -> None:
    assert arrivals(Load(concurrency=4), 0, 104, None) == (104, None)
    assert arrivals(Load(concurrency=4, duration_s=5.0), 0, OPEN_ENDED, None) == (OPEN_ENDED, None)


@pytest.mark.parametrize("warmup", [0, 10, 9000])
def test_poisson_is_the_running_sum_of_exponential_gaps(warmup: int) -> None:
    rng = np.random.default_rng((7, 1))
    expected, t = [0], 0.0
    while len(expected) < 20_000:
        block = t + np.cumsum(rng.exponential(1e9 / 100.0, 4096))
        expected += [int(x) for x in block]
        t = block[-1]
    found = offsets(seed=7, request_rate=100.0, warmup=warmup, units=15_000)
    assert found.tolist() == expected[:15_000]
    timed = offsets(seed=7, request_rate=100.0, warmup=warmup, duration_s=20.0)
    end = expected[warmup] + 20 * S  # the duration begins with the first measured arrival
    assert timed.tolist() == [x for x in expected if x < end]


def test_the_end_is_whatever_comes_first() -> None:
    named: dict[str, Any] = {"request_rate": 10.0, "arrival": "constant", "warmup": 5, "duration_s": 3.0}
    assert len(offsets(**named)) == 5 + 30  # at 0.5 s, ... 3.4 s; the one at 3.5 s would be the next second's
    assert len(offsets(**named, units=20)) == 20
    assert len(offsets(**named, units=100)) == 35


@pytest.mark.parametrize("how", [{"request_rate": 50.0}, {"ramp": "10:90:40s"}, {"stages": "20@10s,0@5s,40@20s"}])
@pytest.mark.parametrize("arrival", ["poisson", "gamma", str(EXAMPLE)])
def test_the_seed_decides(how: dict[str, Any], arrival: str) -> None:
    named = {"arrival": arrival, "warmup": 10, "units": 500, **how}
    first = offsets(seed=1, **named)
    assert (first == offsets(seed=1, **named)).all()
    assert (first[1:] != offsets(seed=2, **named)[1 : len(first)]).mean() > 0.7


@pytest.mark.parametrize("how", [{"request_rate": 50.0}, {"ramp": "20:80:10s"}, {"stages": "80@5s,20@5s"}])
def test_nothing_is_rescaled(how: dict[str, Any]) -> None:
    # Each expects 500 arrivals in 10 s after the first; a Poisson count's variance is its mean. Over 200 seeds the
    # mean's standard error is sqrt(500 / 200) = 1.6, and that of variance / mean is sqrt(2 / 199) = 0.1.
    counts = np.array([len(offsets(seed=seed, warmup=0, duration_s=10.0, **how)) - 1 for seed in range(200)])
    assert abs(counts.mean() - 500) < 3 * 1.6
    assert 0.8 < counts.var(ddof=1) / counts.mean() < 1.25


def test_which_process_it_is() -> None:
    named: dict[str, Any] = {"request_rate": 50.0, "warmup": 0, "units": 5000}
    poisson = offsets(**named)
    assert (poisson == offsets(**named, arrival="poisson")).all()
    assert (poisson == offsets(**named, arrival="gamma")).all()  # of shape 1
    bursty = offsets(**named, burstiness=0.25)
    assert (bursty == offsets(**named, burstiness=0.25, arrival="gamma")).all()
    gaps = np.diff(bursty)
    assert gaps.std() / gaps.mean() == pytest.approx(2, rel=0.1)  # 1 / sqrt(0.25); standard error 1.6 %
    assert offsets(**named, arrival="constant")[:4].tolist() == [0, 20_000_000, 40_000_000, 60_000_000]


@pytest.mark.parametrize("arrival", [None, "poisson", "constant", "gamma", "burst"])
def test_an_infinite_rate_is_a_burst(arrival: str | None) -> None:
    found = offsets(request_rate=math.inf, arrival=arrival, warmup=0, units=50)
    assert found.tolist() == [0] * 50


def test_a_million_requests_are_quick() -> None:
    began = time.process_time()
    assert len(offsets(request_rate=1000.0, warmup=0, units=1_000_000)) == 1_000_000
    assert time.process_time() - began < 1.5


# -- a rate that changes ----------------------------------------------------------------------------------------------


def test_constant_gaps_along_stages() -> None:
    found = offsets(stages="2@2s,0@1s,4@1s", arrival="constant", warmup=2)
    # Warm-up at 2/s: at 0 s and 0.5 s. The stages begin at 1 s, with the first measured arrival: two in each second to
    # 3 s, a pause, and from 4 s four. What would come next lies beyond the end at 5 s.
    assert (found / S).tolist() == [0, 0.5, 1, 1.5, 2, 2.5, 4, 4.25, 4.5, 4.75]


def test_constant_gaps_along_a_ramp() -> None:
    named: dict[str, Any] = {"ramp": "0:20:5s", "arrival": "constant", "warmup": 2}
    found = offsets(**named)
    # Warm-up at a tenth of the last rate, 2/s; the ramp begins at 1 s; arrival u is due when 2 t^2 = u; 50 fit in.
    assert found[:2].tolist() == [0, S // 2]
    assert found[2:].tolist() == [round(S * (1 + math.sqrt(u / 2))) for u in range(50)]
    longer = offsets(**named, duration_s=7.0)  # it stays at 20/s
    assert (longer[: len(found)] == found).all()
    assert (longer[52:] / S).tolist() == pytest.approx([6 + k / 20 for k in range(40)])
    assert (offsets(**named, duration_s=2.0) == found[:10]).all()  # 2 t^2 = 8 at 2 s
    assert (offsets(**named, units=12) == found[:12]).all()


def test_beyond_the_stages_nothing_comes() -> None:
    named: dict[str, Any] = {"stages": "5@10s,1@10s", "warmup": 3}
    found = offsets(**named)
    assert (offsets(**named, duration_s=1000.0) == found).all()
    assert (offsets(**named, units=1000) == found).all()
    assert len(offsets(**named, duration_s=10.0)) < len(found)


def test_beyond_a_ramp_to_0_nothing_comes() -> None:
    named: dict[str, Any] = {"ramp": "20:0:10s", "warmup": 3}
    found = offsets(**named)
    assert len(found) == pytest.approx(104, abs=40)  # 3 + 1 + Poisson(100)
    assert len(offsets(**named, duration_s=1000.0)) == len(found)


def test_a_pause_first() -> None:
    found = offsets(stages="0@10s,5@2s", arrival="constant", warmup=1)
    # Warm-up at the first rate that is none of a pause; the stages begin 0.2 s later, and with them the pause.
    assert found.tolist() == [0, *(S * 51 // 5 + k * S // 5 for k in range(10))]
    timed = offsets(stages="0@10s,5@2s", arrival="constant", warmup=1, duration_s=1.0)
    assert len(timed) == 1 + 5  # the duration begins with the first measured arrival


@pytest.mark.parametrize("text", ["10:100:60s", "100:10:60s", "0:110:60s", "110:0:60s", "55:55:60s"])
def test_arrivals_along_a_ramp(text: str) -> None:
    first, last, length = (float(part) for part in text.removesuffix("s").split(":"))
    form = Ramp(first, last, length)
    parts = along(np.linspace(0, length, 11), ramp=text)
    expected = np.diff([form.expected(t) for t in np.linspace(0, length, 11)])
    near(parts, expected)


def test_arrivals_along_stages_with_a_pause() -> None:
    edges = np.array([0, 10, 20, 25, 30, 40, 50])
    form = Stages(((50, 20), (0, 10), (100, 10), (25, 10)))
    parts = along(edges, stages="50@20s,0@10s,100@10s,25@10s")
    assert not parts[:, 2:4].any()
    near(np.delete(parts, [2, 3], axis=1), np.delete(np.diff([form.expected(float(t)) for t in edges]), [2, 3]))


def along(edges_s: "np.ndarray[Any, Any]", **load: Any) -> "np.ndarray[Any, Any]":
    """Arrivals after the first between the edges, counted from the first measured one: [10 seeds, parts]."""
    counts = []
    for seed in range(10):
        found = offsets(seed=seed, warmup=5, **load)
        counts.append(np.histogram((found[6:] - found[5]) / S, edges_s)[0])
    return np.array(counts)


def near(parts: "np.ndarray[Any, Any]", expected: "np.ndarray[Any, Any]") -> None:
    """Each part within 4 standard deviations of Poisson, and all of them together within 4 of chi-square's."""
    squares = (parts - expected) ** 2 / expected
    assert (np.sqrt(squares) < 4).all()
    assert abs(squares.sum() - squares.size) < 4 * math.sqrt(2 * squares.size)


def test_bursty_arrivals_along_a_ramp() -> None:
    counts = [len(offsets(seed=seed, ramp="10:30:50s", burstiness=0.25, warmup=0)) for seed in range(100)]
    # 1,000 expected, and 1/b = 4 times a Poisson count's variance: 63; the mean of 100 is good to 6.3, the deviation
    # to 7 %. The first arrival is one more, and the renewals after one expect (CV^2 - 1) / 2 = 1.5 more.
    assert abs(np.mean(counts) - 1002.5) < 3 * 6.3
    assert np.std(counts, ddof=1) == pytest.approx(63, rel=0.21)


def test_rounding_turns_no_two_arrivals_round(tmp_path: Path) -> None:
    # A burst far up a ramp: a billionth of an arrival apart, less than a last digit of the moment in seconds.
    mine = process(tmp_path, "return [0, *range(5 * 10**15, 5 * 10**15 + 100_000)]")
    found = offsets(arrival=mine, ramp="0:1000:50000s", warmup=0)  # which are checked not to go back
    assert len(found) == 100_001
    assert found[-1] - found[1] == pytest.approx(223.6, abs=3)  # 1e-4 arrivals at 447.2/s, the rate there


# -- a user's own process ---------------------------------------------------------------------------------------------


def test_a_process_of_ones_own_along_a_ramp() -> None:
    found = offsets(arrival=str(EXAMPLE), ramp="10:100:60s", warmup=8)
    groups = np.unique(found, return_counts=True)[1]
    assert set(groups.tolist()) == {4}  # four at one moment, here too
    assert len(found) == pytest.approx(3308, abs=4 * 4 * math.sqrt(3300 / 4))
    named = offsets(arrival=f"{EXAMPLE}:offsets", ramp="10:100:60s", warmup=8)
    assert (named == found).all()


def test_a_process_that_ends_ends_the_run(tmp_path: Path) -> None:
    mine = process(tmp_path, "return [0, 5, 5, 9]")
    assert offsets(arrival=mine, request_rate=1.0, warmup=1, units=100).tolist() == [0, 5, 5, 9]


def test_a_process_gets_the_burstiness(tmp_path: Path) -> None:
    mine = process(tmp_path, "return [0, round(options['burstiness'] * 1e9)]")
    assert offsets(arrival=mine, request_rate=1.0, burstiness=0.5).tolist() == [0, S // 2]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("return [0, 7, 5]", "goes back in time: offset 2 is 5 ns"),
        ("return [-1, 7]", "goes back in time: offset 0 is -1 ns"),
        ("return [0, 1]", "ends after 2 arrivals, all of them warm-up"),
        ("return [0, 'soon', 2, 3]", "it has to yield whole ns"),
        ("return [0, 1 << 70, 2, 3]", "it has to yield whole ns"),
        ("return 5", "has no usable function offsets(rate, rng, options)"),
    ],
)
def test_a_process_that_cannot_be_used(tmp_path: Path, body: str, words: str) -> None:
    mine = process(tmp_path, body)
    with pytest.raises(ConfigError) as caught:
        offsets(arrival=mine, request_rate=1.0, warmup=2, units=100)
    assert str(caught.value).startswith(f"--arrival {mine} ")
    assert words in str(caught.value)


def test_a_file_without_the_function(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("GAP = 5\n")
    with pytest.raises(ConfigError, match=r"has no usable function offsets\(rate, rng, options\)"):
        offsets(arrival=str(file), request_rate=1.0)


@pytest.mark.parametrize(
    ("load", "words"),
    [
        ({"arrival": "burst", "ramp": "1:2:3s"}, "--arrival burst sends everything at once; leave out --ramp"),
        ({"arrival": "bursts", "request_rate": 1.0}, "unknown name 'bursts' in arrivals; use one of burst, constant"),
        ({"stages": "5@0s"}, "--stages 5@0s: a time of 0s is not possible"),
        ({"request_rate": 1.0, "stages": "5@1s"}, "--request-rate and --stages each say the rate"),
    ],
)
def test_refused(load: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        offsets(**load)
    assert words in str(caught.value)


def test_too_many_are_refused_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "MAX_ARRIVALS", 1000)
    assert len(offsets(request_rate=5.0, warmup=0, units=1000)) == 1000
    with pytest.raises(ConfigError, match=r"^more than 1,000 arrivals are too many for one run; give a lower --req"):
        offsets(request_rate=5.0, warmup=0, units=1001)
    with pytest.raises(ConfigError, match=r"give --request-count, or a lower rate or a shorter time$"):
        offsets(request_rate=math.inf, warmup=0)
    with pytest.raises(ConfigError, match=r"^more than 1,000 arrivals"):
        offsets(arrival="trace", times_s=range(2000))


def test_times_beyond_all_measure_are_no_overflow() -> None:
    assert offsets(stages="1@5s,0@99999999999h,1@5s", arrival="constant", warmup=0).tolist() == [
        k * S for k in range(5)
    ]
    assert len(offsets(request_rate=1e-15, warmup=0, units=3)) == 3
    assert len(offsets(request_rate=1.0, warmup=0, units=3, duration_s=1e300)) == 3
    assert len(offsets(speed=1e-300, times_s=[0, 1, 2])) == 3


# -- a trace ----------------------------------------------------------------------------------------------------------


def test_a_trace_keeps_its_times() -> None:
    times = [100.0, 100.5, 100.5, 103.0, 110.0]
    assert (offsets(arrival="trace", times_s=times) / S).tolist() == [0, 0.5, 0.5, 3, 10]
    assert (offsets(speed=2.0, times_s=times) / S).tolist() == [0, 0.25, 0.25, 1.5, 5]
    assert (offsets(speed=0.5, times_s=times) / S).tolist() == [0, 1, 1, 6, 20]
    assert (offsets(arrival="trace", times_s=times) == offsets(seed=9, arrival="trace", times_s=times)).all()


def test_a_trace_with_warm_up_and_a_duration() -> None:
    times = [0.0, 1.0, 2.0, 4.0, 8.0, 16.0]
    named: dict[str, Any] = {"arrival": "trace", "times_s": times}
    assert len(offsets(**named, duration_s=4.0)) == 3
    assert len(offsets(**named, duration_s=4.0, warmup=2)) == 4  # from 2 s to 6 s
    assert len(offsets(**named, duration_s=4.0, warmup=2, speed=2.0)) == 5  # from 1 s to 5 s, of 0, 0.5, 1, 2, 4, 8 s
    assert len(offsets(**named, warmup=2, units=4)) == 4


def test_a_trace_is_read_as_far_as_needed() -> None:
    given = iter([0, 1 * S, 2 * S, 5 * S, 1 * S, 6 * S])  # goes back behind what is used
    count, _ = arrivals(Load(arrival="trace", duration_s=4.0), 0, OPEN_ENDED, given)
    assert count == 3
    assert next(given) == 1 * S
    endless: Iterator[int] = itertools.count(0, S)
    assert arrivals(Load(speed=3.0), 0, 20, endless)[0] == 20
    assert next(endless) == 20 * S


def test_a_trace_of_years_stays_exact() -> None:
    zero = 1_700_000_000_123_456_789  # ns since 1970
    _, found = arrivals(Load(arrival="trace"), 0, OPEN_ENDED, iter([zero, zero + 3, zero + 10**17 + 1]))
    assert found is not None
    assert found.tolist() == [0, 3, 10**17 + 1]


@pytest.mark.parametrize(
    ("times_s", "words"),
    [
        (None, "--arrival trace: the data set has no times; use burstgpt, azure-llm or lines with a timestamp"),
        ([], "--arrival trace: the data set has no times; use burstgpt, azure-llm or lines with a timestamp"),
        ([-1, -1], "--arrival trace: the data set has no times; use burstgpt, azure-llm or lines with a timestamp"),
        ([0, 1, -1], "--arrival trace: request 3 has no time; give all of them one"),
        (
            [0, 2.5, 7, 1.25],
            "--arrival trace: request 4 is at 1.25 s and request 3 at 7 s; sort the data set by time",
        ),
        ([0, 1], "--warmup 2 leaves nothing of a trace of 2 requests; give a smaller number, or 0"),
    ],
)
def test_a_trace_that_cannot_be_used(times_s: list[float] | None, words: str) -> None:
    with pytest.raises(DatasetError) as caught:
        offsets(arrival="trace", times_s=times_s, warmup=2)
    assert str(caught.value) == words


def test_what_means_a_trace() -> None:
    assert is_trace(Load(arrival="trace"))
    assert is_trace(Load(speed=2.0))
    assert not is_trace(Load(arrival="poisson", request_rate=5.0))
