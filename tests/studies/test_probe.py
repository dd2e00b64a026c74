"""The judge of a probe: it sees in records what the metrics see in tables, and ends a run for the right reason."""

import math
from collections.abc import Iterator

import numpy as np
import pytest

from genbench.engine.judge import Stop
from genbench.engine.saturation import SATURATED
from genbench.metrics import slo
from genbench.metrics.definitions import METRICS
from genbench.metrics.summary import summarise
from genbench.records import table_from
from genbench.studies.probe import (
    CLOSE,
    FOLLOWED,
    KEPT,
    MISSED,
    SO_FAR,
    Probe,
    Series,
    Timing,
    Verdict,
    _is_good,
    counts,
    of_figures,
    series,
    verdict_of,
)
from genbench.types import EventKind, Outcome, Record
from tests.metrics.made import MS, stream

S = 1_000_000_000
RULES = ("ttft.p95<500ms", "tpot.p95<=25ms", "error_rate<1%")


def some_records(count: int = 300) -> list[Record]:
    """Of every sort: short, long, failed, cancelled, one token, one chunk, reasoning, not streamed."""
    rng = np.random.default_rng(0)
    found = []
    for k in range(count):
        sent = 10.0 * k + 10
        content = sent + np.cumsum(rng.exponential(20, int(rng.integers(1, 6))))
        outcome = rng.choice([Outcome.OK] * 8 + [Outcome.CANCELLED, Outcome.NO_OUTPUT, Outcome.TRUNCATED])
        record = stream(k, sent, content.tolist(), outcome=Outcome(outcome), isl=int(rng.integers(0, 50)))
        if k % 7 == 0:
            record.osl_usage = int(rng.integers(0, 12))
        if k % 11 == 0:
            record.reasoning_tokens = int(rng.integers(0, 5))
        if k % 13 == 0:
            record.event_kind = [
                int(EventKind.REASONING) if kind == EventKind.CONTENT else kind for kind in record.event_kind
            ]
        if k % 17 == 0:
            record.streamed = False
        found.append(record)
    return found


@pytest.mark.parametrize("key", sorted(FOLLOWED))
def test_a_record_is_good_where_the_metrics_say_so(key: str) -> None:
    records = some_records()
    row = next(row for row in METRICS if row.key == key)
    values = row.of(table_from(records))
    bound = 1.00001 * float(np.median(values.values))  # one of them is the median itself
    for op in ("<", ">="):
        (share,) = slo.shares([slo.parse(f"{key}.p90{op}{bound!r}{row.unit}")])
        expected = slo.kept(table_from(records), share, {key: values})
        found = [_is_good(record, share) for record in records]
        assert np.flatnonzero(expected != np.array(found)).tolist() == []
        assert 0 < sum(found) < len(found)


@pytest.mark.parametrize("rule", ["error_rate<1%", "slo_attainment>=90%"])
def test_so_it_does_for_shares_of_the_run(rule: str) -> None:
    records = some_records()
    shares = slo.shares([slo.parse(text) for text in ("ttft.p50<20ms", "tpot.p50<20ms", rule)])
    share = next(one for one in shares if one.slo.text == rule)
    found = [_is_good(record, share) for record in records]
    due = slo.due(table_from(records))
    good, count = counts(table_from(records), share)
    assert good == sum(one for one, counted in zip(found, due, strict=True) if counted)
    assert count == int(due.sum())


class Steady:
    """Growth that is told what to say."""

    def __init__(self, *, settled: bool = True, at_s: float = math.inf) -> None:
        self.settled, self.at_s = settled, at_s
        self.seen = 0

    def add(self, record: Record) -> None:
        self.seen += 1

    def look(self, now_ns: int, in_flight: int) -> Stop | None:
        return Stop(f"{SATURATED}told so") if now_ns >= self.at_s * S else None

    def stationary(self) -> bool:
        return self.settled


def arriving(ttft_ms: float, *, bad: float = 0.0, bad_ms: float = 900.0, rate: float = 50.0) -> Iterator[Record]:
    """Requests at a rate that take TTFT and 100 ms more; a share of them have another TTFT."""
    rng = np.random.default_rng(1)
    k = 0
    while True:
        first = bad_ms if rng.random() < bad else ttft_ms
        sent = 1000 * k / rate
        yield stream(k, sent, [sent + first, sent + first + 100], osl=11)
        k += 1


def judged(
    records: Iterator[Record],
    timing: Timing,
    growth: Steady | None = None,
    rules: tuple[str, ...] = ("ttft.p95<500ms",),
) -> tuple[str, float, bool]:
    """What ends the run, after how many seconds, and whether at once."""
    growth = growth or Steady()
    judge = Probe(slo.shares([slo.parse(rule) for rule in rules]), growth, timing)
    waiting: list[Record] = []
    for half in range(2000):
        now_ns = half * S // 2
        while not waiting or waiting[-1].sent_ns <= now_ns:
            waiting.append(next(records))
        for record in sorted((one for one in waiting if one.end_ns <= now_ns), key=lambda one: one.end_ns):
            judge.add(record)
            waiting.remove(record)
        stop = judge.look(now_ns, len(waiting))
        if stop is not None:
            return stop.text, now_ns / S, stop.at_once
    raise AssertionError("it never ended")


def test_a_load_that_is_easy_is_kept() -> None:
    """Latency 150 ms, so the 10 s come before 20 latencies; decided only when the test is sure."""
    text, seconds, at_once = judged(arriving(50), Timing(60, 0.15))
    assert text.startswith(f"{KEPT}ttft.p95<500ms by 100 % of ")
    assert not text.endswith(SO_FAR)
    assert 10 <= seconds <= 30
    assert not at_once


def test_leniently_it_is_kept_at_once() -> None:
    text, seconds, _ = judged(arriving(450), Timing(60, 0.5, lenient=True))
    assert text.endswith(SO_FAR)
    assert seconds <= 12  # 20 latencies of 550 ms are 11 s


def test_nothing_is_kept_before_20_latencies() -> None:
    text, seconds, _ = judged(arriving(1900), Timing(90, 2.0, lenient=True), rules=("ttft.p95<3s",))
    assert text.startswith(KEPT)
    assert 40 <= seconds <= 42  # of 2 s


def test_a_load_that_is_too_high_is_missed_at_once() -> None:
    text, seconds, at_once = judged(arriving(50, bad=0.5), Timing(60, 0.15))
    assert text.startswith(f"{MISSED}ttft.p95<500ms by ")
    assert 10 <= seconds <= 16
    assert at_once


def test_failures_are_misses() -> None:
    records = arriving(50)

    def failing() -> Iterator[Record]:
        for record in records:
            if record.index % 3 == 0:
                record.outcome = Outcome.HTTP_ERROR
            yield record

    text, _, _ = judged(failing(), Timing(60, 0.15))
    assert text.startswith(f"{MISSED}ttft.p95<500ms by 66.")


def test_what_is_on_the_edge_is_too_close_to_call() -> None:
    text, seconds, at_once = judged(arriving(50, bad=0.05), Timing(40, 0.15))
    assert text.startswith(CLOSE)
    assert text.endswith("after 40 s")
    assert seconds == 40
    assert not at_once


def test_nothing_is_kept_while_the_number_in_flight_moves() -> None:
    text, seconds, _ = judged(arriving(50), Timing(30, 0.15), Steady(settled=False))
    assert (text.startswith(CLOSE), seconds) == (True, 30)


def test_growth_without_bound_ends_it() -> None:
    text, seconds, _ = judged(arriving(50), Timing(60, 0.15), Steady(settled=False, at_s=20))
    assert (text, seconds) == (f"{SATURATED}told so", 20)


def test_every_promise_counts() -> None:
    """TPOT is 10 ms; TTFT is kept, the share of requests with a TPOT below 9 ms is 0."""
    text, _, _ = judged(arriving(50), Timing(60, 0.15), rules=("ttft.p95<500ms", "tpot.p95<9ms"))
    assert text.startswith(f"{MISSED}tpot.p95<9ms by 0 % of")


def test_other_promises_take_the_whole_time() -> None:
    text, seconds, _ = judged(arriving(50), Timing(30, 0.15, whole=True))
    assert (text.startswith(CLOSE), seconds) == (True, 30)


def test_blocks_by_hand() -> None:
    """25 requests a second for 40 s, latency 200 ms: blocks of 5, without those sent in the first 4 x 200 ms.

    1,000 requests, 20 of them left out; every tenth has a TTFT that misses: each second block has one miss.
    """
    records = [stream(k, 40.0 * k, [40.0 * k + (160 if k % 10 == 0 else 100), 40.0 * k + 200]) for k in range(1000)]
    (share,) = slo.shares([slo.parse("ttft.p90<150ms")])
    found = series(table_from(records), share)
    assert found.size == 5
    assert found.shares.size == 196
    assert sorted(set(found.shares.tolist())) == [0.8, 1.0]
    assert found.mean == pytest.approx(0.9)
    assert records[1].sent_ns == 40 * MS


def test_no_records_no_blocks() -> None:
    (share,) = slo.shares([slo.parse("ttft.p95<1s")])
    assert series(table_from([]), share).shares.size == 0
    assert series(table_from([]), share).mean == 1


def test_figures_by_their_interval() -> None:
    """Mean TTFT between 90 and 110 ms in blocks: kept below 200, missed below 50, close at the mean."""
    rng = np.random.default_rng(2)
    records = [stream(k, 20.0 * k, [20.0 * k + t, 20.0 * k + 300]) for k, t in enumerate(rng.uniform(90, 110, 400))]
    rules = [slo.parse(rule) for rule in ("ttft.mean<200ms", "ttft.mean<50ms", "ttft.mean<100ms", "icl.p99<1s")]
    summary = summarise(table_from(records), {}, rules)
    assert of_figures(rules, summary) == ["kept", "missed", "close", "kept"]
    assert of_figures([slo.parse("itl.p50<5ms")], summarise(table_from([]), {})) == ["missed"]


@pytest.mark.parametrize(
    ("stopped_at", "mean", "figures", "expected"),
    [
        ("kept: ...", 0.94, [], "kept"),  # what the judge said stands
        ("missed: ...", 0.99, [], "missed"),
        (f"{SATURATED}...", 1.0, ["kept"], "missed"),
        ("kept: ...", 1.0, ["missed"], "missed"),
        ("kept: ...", 1.0, ["close"], "close"),
        ("undecided: ...", 0.95, [], "close"),
        ("", 1.0, [], "kept"),  # it came to its end by itself: the records say
        ("", 0.5, [], "missed"),
        ("", 0.95, [], "close"),
    ],
)
def test_the_verdict(stopped_at: str, mean: float, figures: list[Verdict], expected: Verdict) -> None:
    (share,) = slo.shares([slo.parse("ttft.p95<1s")])
    assert verdict_of(stopped_at, [(share, Series(np.full(400, mean), 20))], figures) == expected
