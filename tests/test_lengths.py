"""Lengths: what a text means, what is refused, and that what is drawn has the distribution asked for."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from genbench import lengths
from genbench.lengths import MOST, Lengths, Pair, parse, parse_pairs

DRAWS = 20_000


def drawn(one: Lengths, count: int = DRAWS, seed: int = 7) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.fromiter(itertools.islice(one.drawn(np.random.default_rng(seed)), count), dtype=np.int64)


@pytest.mark.parametrize(
    ("text", "stddev", "means"),
    [
        ("550", 0, Lengths("fixed", 550, 0)),
        (" 1 ", 0, Lengths("fixed", 1, 0)),
        ("550", 20, Lengths("normal", 550, 20)),
        ("100-200", 0, Lengths("uniform", 100, 200)),
        ("100 .. 200", 0, Lengths("uniform", 100, 200)),
        ("5-5", 0, Lengths("fixed", 5, 0)),
        ("normal:550,75.5", 0, Lengths("normal", 550, 75.5)),
        ("normal:550, .5", 0, Lengths("normal", 550, 0.5)),
        ("lognormal:550,300", 0, Lengths("lognormal", 550, 300)),
        (str(MOST), 0, Lengths("fixed", MOST, 0)),
    ],
)
def test_what_a_text_means(text: str, stddev: float, means: Lengths) -> None:
    assert parse(text, stddev) == means


@pytest.mark.parametrize(
    ("text", "stddev", "says"),
    [
        *(
            (text, 0, "not a length; write N")
            for text in ("", "x", "1.5", "1e3", "normal:5", "1_000", "٣", "1-", "nan")
        ),
        *((text, 0, "not a length; write N") for text in ("normal:1.2.3,4", "gamma:1,2", "normal:5,-1", "1-2-3")),
        *((text, 0, "must be at least 1") for text in ("0", "-5", "0-10", "normal:0.5,1", "lognormal:0,1")),
        ("20-10", 0, "the high end is below the low end"),
        *(
            (text, 0, "must be at most 10,000,000")
            for text in ("10000001", "9" * 500, "1-" + "9" * 500, "normal:1,1000000000")
        ),
        *((text, 5, "leave out the stddev option") for text in ("1-2", "normal:5,1", "lognormal:5,1")),
    ],
)
def test_what_is_refused(text: str, stddev: float, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse(text, stddev)


@given(st.text(alphabet="0123456789-.,:@% normalogx", max_size=24), st.sampled_from([0.0, 3.0]))
def test_any_text_is_a_usable_distribution_or_a_value_error(text: str, stddev: float) -> None:
    try:
        found = parse(text, stddev)
    except ValueError:
        return
    assert all(1 <= length <= MOST for length in itertools.islice(found.drawn(np.random.default_rng(0)), 5))
    assert 1 <= found.mean <= MOST


def test_fixed() -> None:
    assert parse("550").fixed
    assert set(drawn(parse("550"), lengths.BLOCK + 1)) == {550}
    assert parse("550").mean == 550


def test_uniform_has_both_ends_and_every_length_equally_often() -> None:
    found = drawn(parse("3-7"))
    counts = np.unique_counts(found)
    assert counts.values.tolist() == [3, 4, 5, 6, 7]
    assert stats.chisquare(counts.counts).pvalue > 1e-4
    assert parse("3-7").mean == 5
    assert not parse("3-7").fixed


@pytest.mark.parametrize("text", ["normal:550,75", "lognormal:550,300", "lognormal:2000,3000"])
def test_mean_and_deviation_are_those_asked_for(text: str) -> None:
    one = parse(text)
    found = drawn(one)
    # Four standard errors; that of a deviation comes from the fourth moment, wide for a log-normal one.
    fourth = float(((found - found.mean()) ** 4).mean())
    error = math.sqrt((fourth - found.var() ** 2) / DRAWS) / (2 * found.std())
    assert abs(found.mean() - one.a) < 4 * one.b / math.sqrt(DRAWS)
    assert abs(found.std() - one.b) < 4 * error
    assert one.mean == one.a


def test_shapes_by_kolmogorov_and_smirnov() -> None:
    # Rounding shifts the distribution function by half a step at most, far less than what the test sees.
    normal = drawn(parse("normal:5000,700"), 2000)
    assert stats.kstest(normal, stats.norm(5000, 700).cdf).pvalue > 1e-3
    # sigma^2 = ln(1 + (b/a)^2) = ln 1.36, scale = a / sqrt(1.36)
    lognormal = drawn(parse("lognormal:5000,3000"), 2000)
    assert (
        stats.kstest(lognormal, stats.lognorm(math.sqrt(math.log(1.36)), 0, 5000 / math.sqrt(1.36)).cdf).pvalue > 1e-3
    )


def test_never_below_one_nor_above_the_most() -> None:
    low = drawn(parse("normal:2,10"))
    assert low.min() == 1
    assert drawn(Lengths("normal", MOST, 1000.0)).max() == MOST


def test_the_same_generator_gives_the_same_lengths() -> None:
    one = parse("lognormal:550,300")
    assert drawn(one, 100).tolist() == drawn(one, 100).tolist()
    assert drawn(one, 100).tolist() != drawn(one, 100, seed=8).tolist()


def test_pairs() -> None:
    fixed = Lengths("fixed", 128, 0), Lengths("fixed", 32, 0)
    assert parse_pairs("128:32") == (Pair(*fixed, 1.0),)
    assert parse_pairs(" 128:32@40 , 100-200 : 5..9 @ 2.5% ") == (
        Pair(*fixed, 40.0),
        Pair(Lengths("uniform", 100, 200), Lengths("uniform", 5, 9), 2.5),
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "'' is not ISL:OSL"),
        ("128", "'128' is not ISL:OSL"),
        ("128:32,", "'' is not ISL:OSL"),
        ("128:32@0", "'128:32@0' is not ISL:OSL"),
        ("128:32@1..2", "'128:32@1..2' is not ISL:OSL"),
        ("128:32@-1", "'128:32@-1' is not ISL:OSL"),
        ("1:1@" + "9" * 400, "is not ISL:OSL"),
        ("128:32,0:4", "'0:4': must be at least 1"),
        ("9-5:4", "'9-5:4': the high end is below the low end"),
        ("1.5:4", "'1.5:4': not a length; write N or LOW-HIGH"),
    ],
)
def test_pairs_that_are_refused(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_pairs(text)
