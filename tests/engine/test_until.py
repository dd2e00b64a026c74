"""A run that ends when it knows enough: the interval by hand, the moment it stops, how often it is right."""

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import t as student

from genbench import stats
from genbench.engine.loop import Rules
from genbench.engine.until import LEAST, VALUES, Precision, Sums, Until
from genbench.metrics.definitions import MetricDef, by_key
from genbench.records import table_from
from genbench.types import EventKind, Outcome, Record
from tests.engine.made import MS, Fake, go, plan, says, talk
from tests.metrics.made import stream

LATENCY = "request_latency"


def ended(latency_ns: int) -> Record:
    return Record(sent_ns=0, end_ns=latency_ns, outcome=Outcome.OK)


def precision(values: list[int], quantile: float | None, percent: float) -> Precision:
    found = Precision(Until(LATENCY, quantile, percent))
    for value in values:
        found.add(ended(value))
    return found


def exponential(count: int, seed: int = 1) -> list[int]:
    return [int(value) for value in np.random.default_rng(seed).exponential(50 * MS, count)]


def by_hand(values: list[int], quantile: float | None) -> float:
    """The wider side of the interval in percent of the value, from all values at once."""
    array = np.array(values, dtype=np.float64)
    rho = max(0.0, stats.lag1_autocorrelation(array))
    enough = array.size * (1 - rho) / (1 + rho)
    if quantile is None:
        return float(100 * student.ppf(0.975, enough - 1) * array.std(ddof=1) / np.sqrt(enough) / array.mean())
    low, high = stats.order_statistic_interval(int(enough), quantile)
    assert low is not None
    assert high is not None
    scale = (array.size + 1) / (int(enough) + 1)
    ordered = np.sort(array)
    first, last = int(np.floor((low + 1) * scale)) - 1, int(np.ceil((high + 1) * scale)) - 1
    value = np.percentile(array, 100 * quantile)
    return float(100 * max(ordered[last] - value, value - ordered[first]) / value)


@pytest.mark.parametrize("quantile", [None, 0.5, 0.95])
@pytest.mark.parametrize("wave", [0, 40])
def test_the_interval_is_that_of_all_values_at_once(quantile: float | None, wave: int) -> None:
    """Looked at in between, so that values are merged in several parts; with and without autocorrelation."""
    values = [v + round(wave * MS * (1 + np.sin(k / 15))) for k, v in enumerate(exponential(3000))]
    expected = by_hand(values, quantile)
    found = Precision(Until(LATENCY, quantile, expected * 1.0001))
    for k, value in enumerate(values):
        found.add(ended(value))
        if k in (5, 150, 151, 800, 2000):
            found.reached()
    assert f"known to {expected:.2g} % after 3,000 requests" in found.reached()
    assert precision(values, quantile, expected * 0.9999).reached() == ""


def test_autocorrelation_makes_the_interval_wider() -> None:
    """The same values in another order: rho near 1 leaves few independent ones."""
    values = exponential(2000)
    mixed = Precision(Until(LATENCY, 0.5, 10))
    in_order = Precision(Until(LATENCY, 0.5, 10))
    for one, other in zip(values, sorted(values), strict=True):
        mixed.add(ended(one))
        in_order.add(ended(other))
    assert mixed.reached().startswith("request_latency.p50 known to ")
    assert in_order.reached() == ""


def test_the_series_sums_are_exact() -> None:
    values = np.array(exponential(5000), dtype=np.int64) + 10**12
    sums = Sums()
    for part in np.array_split(values, [1, 2, 100, 3000]):
        sums.add(part)
    floats = values.astype(np.float64)
    assert sums.mean == pytest.approx(floats.mean())
    assert sums.deviation == pytest.approx(floats.std(ddof=1))
    assert sums.autocorrelation() == pytest.approx(stats.lag1_autocorrelation(floats))


def test_equal_values_are_known_at_once_but_not_before_the_hundredth() -> None:
    found = precision([MS] * (LEAST - 1), None, 5)
    assert found.reached() == ""
    found.add(ended(MS))
    assert found.reached() == "request_latency.mean known to 0 % after 100 requests"


def test_a_percentile_waits_for_its_order_statistics() -> None:
    """Of 300 values there is none above p99 with the confidence asked for; of 500 there is."""
    assert stats.order_statistic_interval(300, 0.99)[1] is None
    assert precision([MS] * 300, 0.99, 5).reached() == ""
    assert precision([MS] * 500, 0.99, 5).reached() == "request_latency.p99 known to 0 % after 500 requests"


@pytest.mark.parametrize("quantile", [None, 0.5, 0.9])
def test_the_truth_is_within_what_was_promised(quantile: float | None) -> None:
    """200 runs that stop at the first look that is narrow enough: 95 % wanted, a little less for stopping then."""
    truth = 50 * MS * (1.0 if quantile is None else -np.log(1 - quantile))
    inside = 0
    for seed in range(200):
        values = np.random.default_rng(seed).exponential(50 * MS, 20_000).astype(np.int64)
        found = Precision(Until(LATENCY, quantile, 10))
        for start in range(0, values.size, 50):
            for value in values[start : start + 50].tolist():
                found._fresh.append(value)
            if found.reached():
                break
        seen = values[: found._sums.count]
        estimate = seen.mean() if quantile is None else np.percentile(seen, 100 * quantile)
        inside += abs(truth - estimate) <= 0.1 * estimate
    assert inside >= 182  # 95 % less 4 points, three standard errors below


def random_records() -> list[Record]:
    rng = np.random.default_rng(7)
    made = []
    for k in range(300):
        content = np.sort(rng.uniform(10 * k + 101, 10 * k + 600, rng.integers(1, 7))).tolist()
        kinds = rng.choice([EventKind.REASONING, EventKind.CONTENT, EventKind.TOOL], len(content)).tolist()
        made.append(
            stream(
                k,
                10 * k + 100,
                content,
                end=content[-1] + 3,
                kinds=[EventKind(kind) for kind in kinds],
                osl=int(rng.integers(-1, 9)),
                osl_tokenizer=int(rng.integers(-1, 9)),
                reasoning_tokens=int(rng.integers(-1, 3)),
                choices=int(rng.integers(1, 3)),
                streamed=bool(rng.random() < 0.8),
                session=int(rng.integers(-1, 3)),
                turn=int(rng.integers(0, 3)),
            )
        )
    return made


@pytest.mark.parametrize("key", VALUES)
def test_the_formulas_are_those_of_the_summary(key: str) -> None:
    records = random_records()
    metric = by_key()[key]
    assert isinstance(metric, MetricDef)
    expected = metric.of(table_from(records))
    found = [(k, value) for k, record in enumerate(records) if (value := VALUES[key](record)) is not None]
    assert [k for k, _ in found] == expected.rows.tolist()
    assert [value / MS for _, value in found] == pytest.approx(expected.values, abs=1e-6)
    assert len(found) > 30


def test_what_cannot_be_followed_is_refused() -> None:
    with pytest.raises(KeyError):
        Precision(Until("goodput", None, 5))


def steady_answers(spread_s: float) -> Fake:
    rng = np.random.default_rng(2)
    return Fake(lambda request: (0.002 + float(rng.uniform(0, spread_s)), 200, says("so")))


@pytest.mark.parametrize("quantile", [None, 0.5])
def test_the_run_stops_and_says_what_it_knows(tmp_path: Path, quantile: float | None) -> None:
    rules = Rules(until=Until(LATENCY, quantile, 20))
    ran = go(tmp_path, plan([talk(k, 1) for k in range(20_000)], concurrency=8), steady_answers(0.004), rules=rules)
    assert ran.engine.stopped_at.startswith(f"request_latency.{'mean' if quantile is None else 'p50'} known to ")
    assert ran.engine.stopped_at.endswith(" requests")
    assert LEAST <= len(ran.table) < 20_000  # the plan was not used up
    assert set(ran.table.outcome) == {"ok"}  # what was in flight was let end
    assert ran.engine.stopped_early == ""
    assert not ran.engine.interrupted


def test_warm_up_and_failures_tell_nothing(tmp_path: Path) -> None:
    """Of 400 requests 150 are warm-up and 170 of the others fail: 80 are left, too few."""
    fake = Fake(lambda request: (0.004, 500 if request.index // 100 >= 230 else 200, says("so")))
    talks = [talk(k, 1, warm=k < 150) for k in range(400)]
    ran = go(tmp_path, plan(talks, concurrency=4), fake, rules=Rules(until=Until(LATENCY, None, 50)))
    assert ran.engine.stopped_at == ""
    assert len(ran.table) == 400


def test_a_metric_nobody_has_never_ends_a_run(tmp_path: Path) -> None:
    ran = go(
        tmp_path,
        plan([talk(k, 1) for k in range(300)], concurrency=4),
        Fake(),
        rules=Rules(until=Until("tpot", None, 50)),
    )
    assert ran.engine.stopped_at == ""
    assert len(ran.table) == 300


def test_names() -> None:
    assert [Until("ttft", q, 5).name for q in (None, 0.5, 0.95, 0.99, 0.999)] == [
        "ttft.mean",
        "ttft.p50",
        "ttft.p95",
        "ttft.p99",
        "ttft.p99.9",
    ]
