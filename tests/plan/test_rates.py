"""Rates over time: the integral, its inverse, and the text they are read from."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from genbench.errors import ConfigError
from genbench.options import Load
from genbench.plan.rates import Ramp, Shape, Stages, Steady, parse_ramp, parse_stages, shape

RATES = st.floats(0.01, 1e4)
TIMES = st.floats(0.1, 1e5)
RAMPS = st.builds(Ramp, RATES | st.just(0.0), RATES, TIMES) | st.builds(Ramp, RATES, RATES | st.just(0.0), TIMES)
STAGES = st.builds(
    lambda parts, last: Stages((*parts, last)),
    st.lists(st.tuples(RATES | st.just(0.0), TIMES), max_size=5),
    st.tuples(RATES, TIMES),
)


def moment(form: Shape, u: float) -> float:
    """`moments` of one number."""
    return float(form.moments(np.array([u]))[0])


def integral(form: Shape, t_s: float) -> float:
    """The rate summed up in 100,000 slices, each at its middle."""
    edges = np.linspace(0, t_s, 100_001)
    middles = (edges[1:] + edges[:-1]) / 2
    return math.fsum(form.at(float(t)) for t in middles) * t_s / 100_000


@pytest.mark.parametrize(
    ("form", "t_s", "rate", "expected"),
    [
        (Steady(4.0), 2.5, 4.0, 10.0),
        (Ramp(1, 50, 60), 0.0, 1.0, 0.0),
        (Ramp(1, 50, 60), 30.0, 25.5, 397.5),  # 30 * (1 + 25.5) / 2
        (Ramp(1, 50, 60), 60.0, 50.0, 1530.0),  # 60 * (1 + 50) / 2
        (Ramp(1, 50, 60), 70.0, 50.0, 2030.0),  # and 10 * 50
        (Ramp(10, 0, 60), 30.0, 5.0, 225.0),  # 30 * (10 + 5) / 2
        (Ramp(10, 0, 60), 90.0, 0.0, 300.0),
        (Ramp(8, 8, 60), 15.0, 8.0, 120.0),
        (Stages(((5, 30), (20, 60))), 29.0, 5.0, 145.0),
        (Stages(((5, 30), (20, 60))), 30.0, 20.0, 150.0),  # a stage has its beginning and not its end
        (Stages(((5, 30), (20, 60))), 45.0, 20.0, 450.0),
        (Stages(((5, 30), (20, 60))), 90.0, 0.0, 1350.0),
        (Stages(((5, 10), (0, 10), (2, 10))), 15.0, 0.0, 50.0),
        (Stages(((5, 10), (0, 10), (2, 10))), 25.0, 2.0, 60.0),
    ],
)
def test_rate_and_expected_arrivals(form: Shape, t_s: float, rate: float, expected: float) -> None:
    assert form.at(t_s) == pytest.approx(rate)
    assert form.expected(t_s) == pytest.approx(expected)
    assert integral(form, t_s) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("form", "u", "t_s"),
    [
        (Steady(4.0), 10.0, 2.5),
        (Ramp(1, 50, 60), 397.5, 30.0),
        (Ramp(1, 50, 60), 1530.0, 60.0),
        (Ramp(1, 50, 60), 2030.0, 70.0),
        (Ramp(0, 6, 3), 0.0, 0.0),
        (Ramp(0, 6, 3), 4.0, 2.0),  # t^2
        (Ramp(10, 0, 60), 225.0, 30.0),
        (Ramp(10, 0, 60), 300.0, math.inf),
        (Ramp(8, 8, 60), 120.0, 15.0),
        (Stages(((5, 30), (20, 60))), 149.0, 29.8),
        (Stages(((5, 30), (20, 60))), 150.0, 30.0),
        (Stages(((5, 30), (20, 60))), 1350.0, math.inf),  # the end is not in it
        (Stages(((5, 10), (0, 10), (2, 10))), 49.0, 9.8),
        (Stages(((5, 10), (0, 10), (2, 10))), 50.0, 20.0),  # not where the pause begins
        (Stages(((0, 10), (2, 10))), 0.0, 10.0),
        (Stages(((2, 10), (0, 10))), 20.0, math.inf),
    ],
)
def test_moments(form: Shape, u: float, t_s: float) -> None:
    assert moment(form, u) == pytest.approx(t_s, rel=1e-12)


@given(RAMPS, st.floats(0, 1.5))
@example(Ramp(1e4, 0, 1e5), 1 - 1e-12)
@example(Ramp(1.0, 1.0 + 2**-50, 1e5), 0.5)
@example(Ramp(0, 1e-2, 0.1), 1e-9)
def test_the_inverse_of_a_ramp(form: Ramp, share: float) -> None:
    t_s = share * form.seconds
    u = form.expected(t_s)
    if u >= form.expected(form.seconds) and form.last == 0:
        assert moment(form, u) == math.inf
        return
    found = moment(form, u)
    assert form.expected(found) == pytest.approx(u, rel=1e-12, abs=1e-12 * form.expected(form.seconds))
    # Where the rate is r, a last digit of u (2e-16 of it) is worth 2e-16 * u / r seconds; at a falling ramp's foot,
    # where r goes to 0, the square root of that.
    tolerance = 1e-14 * u / form.at(t_s) if form.at(t_s) > 1e-3 * max(form.first, form.last) else 1e-6 * form.seconds
    assert found == pytest.approx(t_s, rel=1e-12, abs=tolerance + 1e-200)


@given(STAGES, st.floats(0, 1, exclude_max=True))
@example(Stages(((5.0, 10.0), (0.0, 10.0), (2.0, 10.0))), 0.5)
def test_the_inverse_of_stages(form: Stages, share: float) -> None:
    t_s = share * form.seconds
    u = form.expected(t_s)
    found = moment(form, u)
    # Sums of times and of counts are good to some last digits of the largest; a digit of the count is worth 1 / rate.
    rates = [rate for rate, _ in form.parts if rate > 0]
    blur_s = 1e-14 * (form.seconds + form.expected(form.seconds) / min(rates))
    if found == math.inf:  # only what comes within the blur of the end, or of the pause that ends it
        assert form.expected(form.seconds) - u <= blur_s * max(rates)
        return
    assert form.expected(found) == pytest.approx(u, abs=blur_s * max(rates))
    assert found >= t_s - blur_s
    rates_between = {form.at(t) for t in np.linspace(t_s + blur_s, found - blur_s, 20) if t_s < t < found}
    assert rates_between <= {0.0}  # as long as something can come, it does


@given(RAMPS | STAGES, st.lists(st.floats(0, 1), min_size=2, max_size=50))
def test_moments_go_forward(form: Ramp | Stages, shares: list[float]) -> None:
    found = form.moments(np.sort(np.array(shares)) * form.expected(form.seconds))
    found = found[np.isfinite(found)]
    assert (np.diff(found) >= -1e-12 * form.seconds).all()
    assert (found >= 0).all()


@pytest.mark.parametrize(
    ("form", "length_s", "warmup_rate"),
    [
        (Steady(4.0), None, 4.0),
        (Ramp(1, 50, 60), 60, 1),
        (Ramp(0, 50, 60), 60, 5),
        (Ramp(50, 0, 60), 60, 50),
        (Stages(((0, 30), (5, 1.5), (20, 60))), 91.5, 5),
    ],
)
def test_length_and_warm_up(form: Shape, length_s: float | None, warmup_rate: float) -> None:
    assert form.seconds == length_s
    assert form.warmup_rate == warmup_rate


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("1:50:60s", Ramp(1, 50, 60)),
        ("0:2.5:2m", Ramp(0, 2.5, 120)),
        (" 10 : 0 : 500ms ", Ramp(10, 0, 0.5)),
        ("3:3:7", Ramp(3, 3, 7)),
    ],
)
def test_a_ramp_is_read(text: str, found: Ramp) -> None:
    assert parse_ramp(text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("5@30s,20@60s", Stages(((5, 30), (20, 60)))),
        ("0@1m, 0.5@30", Stages(((0, 60), (0.5, 30)))),
        ("7@100ms", Stages(((7, 0.1),))),
    ],
)
def test_stages_are_read(text: str, found: Stages) -> None:
    assert parse_stages(text) == found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not a ramp"),
        ("1:50", "not a ramp; write FROM:TO:TIME like 1:50:60s"),
        ("1:50:60s:2", "not a ramp"),
        ("x:50:60s", "'x' is not a rate"),
        (":50:60s", "'' is not a rate"),
        ("nan:50:60s", "'nan' is not a rate"),
        ("1:inf:60s", "a rate of inf per second is more than can be timed"),
        ("-1:50:60s", "a rate of -1 is below 0"),
        ("0:0:60s", "both ends are 0"),
        ("1:50:", "'' is not a time"),
        ("1:50:1 fortnight", "'1 fortnight' is not a time"),
        ("1:50:0s", "a time of 0s is not possible; it must be above 0"),
        ("1:50:-5s", "a time of -5s is not possible"),
        ("1:50:" + "9" * 400, "not possible"),
    ],
)
def test_a_ramp_that_is_none(text: str, words: str) -> None:
    refused({"ramp": text}, f"--ramp {text}: ", words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "a stage is empty; write RATE@TIME,... like 5@30s,20@60s"),
        ("5@30s,", "a stage is empty"),
        ("5@30s,,20@60s", "a stage is empty"),
        ("5", "'5' has no time"),
        ("5@30s,20@", "'' is not a time"),
        ("five@30s", "'five' is not a rate"),
        ("@30s", "'' is not a rate"),
        ("5@30s,-2@10s", "a rate of -2 is below 0"),
        ("5@0", "a time of 0 is not possible"),
        ("0@10s,0@5s", "every stage is a pause"),
        ("2e9@10s", "1e+09 is the highest"),
    ],
)
def test_stages_that_are_none(text: str, words: str) -> None:
    refused({"stages": text}, f"--stages {text}: ", words)


def refused(named: dict[str, Any], front: str, words: str) -> None:
    """One line, with what is wrong in it."""
    with pytest.raises(ConfigError) as caught:
        shape(Load(**named))
    said = str(caught.value)
    assert said.startswith(front)
    assert words in said
    assert "\n" not in said


def test_what_the_options_say() -> None:
    assert shape(Load()) is None
    assert shape(Load(concurrency=4)) is None
    assert shape(Load(request_rate=3.0)) == Steady(3.0)
    assert shape(Load(ramp="1:2:3s")) == Ramp(1, 2, 3)
    assert shape(Load(stages="1@2s")) == Stages(((1, 2),))
    with pytest.raises(ConfigError, match=r"^--request-rate and --ramp each say the rate; give one of them$"):
        shape(Load(request_rate=3.0, ramp="1:2:3s"))
    with pytest.raises(ConfigError, match=r"^--ramp and --stages each say the rate"):
        shape(Load(ramp="1:2:3s", stages="1@2s"))
