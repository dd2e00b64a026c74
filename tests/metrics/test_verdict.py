"""Each bound just kept and just passed; what a header does not say is not judged."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from genbench.metrics.summary import summarise
from genbench.metrics.verdict import shared_reads_pct
from genbench.records import RecordTable, table_from
from genbench.types import Finding, Outcome, Record, Summary
from tests.metrics.made import ns, stream

ICL_MS = 20.0


def answers(count: int = 100, *, every: float = 10, **fields: Any) -> list[Record]:
    """Requests one after the other, each with 5 tokens 20 ms apart from 40 ms on."""
    return [
        stream(i, every * i, [every * i + 40 + ICL_MS * k for k in range(5)], end=every * i + 121, **fields)
        for i in range(count)
    ]


def judged(records: list[Record], header: dict[str, Any] | None = None) -> Summary:
    return summarise(table_from(records), header or {})


def findings(records: list[Record], header: dict[str, Any] | None = None) -> dict[str, Finding]:
    return {finding.check: finding for finding in judged(records, header).findings}


def test_a_good_run_is_valid() -> None:
    summary = judged(answers())
    assert (summary.verdict, summary.findings) == ("VALID", ())


def failed(count: int) -> list[Record]:
    records = answers()
    for record in records[:count]:
        record.outcome = Outcome.TRUNCATED
    return records


def cancelled(count: int) -> list[Record]:
    records = answers()
    for record in records[:count]:
        record.outcome = Outcome.CANCELLED
    return records


def silent(count: int) -> list[Record]:
    records = answers()
    for record in records[:count]:
        record.outcome = Outcome.NO_OUTPUT
    return records


@pytest.mark.parametrize(
    ("make", "count", "check", "verdict"),
    [
        (failed, 1, "error_rate", "VALID"),
        (failed, 2, "error_rate", "SUSPECT"),
        (failed, 10, "error_rate", "SUSPECT"),
        (failed, 11, "error_rate", "INVALID"),
        (failed, 100, "ok", "INVALID"),
        (cancelled, 1, "cancelled", "VALID"),
        (cancelled, 2, "cancelled", "SUSPECT"),
        (silent, 1, "no_output", "VALID"),
        (silent, 2, "no_output", "SUSPECT"),
    ],
)
def test_answers(make: Callable[[int], list[Record]], count: int, check: str, verdict: str) -> None:
    summary = judged(make(count))
    assert summary.verdict == verdict
    assert (check in {finding.check for finding in summary.findings}) == (verdict != "VALID")


def shared(count: int) -> RecordTable:
    """100 answers of 5 tokens; `count` of the tokens came in the read of the one before."""
    records = answers()
    for record in records[:count]:
        record.event_ns[3] = record.event_ns[2]
        record.event_shared[3] = 1
    return table_from(records)


@pytest.mark.parametrize(("count", "verdict"), [(10, "VALID"), (11, "SUSPECT"), (100, "SUSPECT")])
def test_shared_reads(count: int, verdict: str) -> None:
    """500 tokens: 10 are 2 %, 100 are 20 %."""
    table = shared(count)
    assert shared_reads_pct(table) == pytest.approx(count / 5)
    assert summarise(table, {}).verdict == verdict


def test_more_than_a_fifth_of_shared_reads_is_invalid() -> None:
    records = answers()
    for record in records[:51]:
        for k in (3, 4):
            record.event_ns[k], record.event_shared[k] = record.event_ns[2], 1
    assert judged(records).verdict == "INVALID"  # 102 of 500


def test_a_role_event_in_the_first_tokens_read_is_no_shared_read() -> None:
    """The kernel's stamp is the last segment's: the token's."""
    records = answers()
    for record in records:
        record.event_ns[0] = record.event_ns[1]
        record.event_shared[1] = 1
    assert shared_reads_pct(table_from(records)) == 0
    assert judged(records).verdict == "VALID"


def test_nothing_streamed_has_no_shared_reads() -> None:
    assert shared_reads_pct(table_from([])) is None
    (finding, *_) = judged([]).findings
    assert (finding.level, finding.text) == ("INVALID", "no request was measured")


@pytest.mark.parametrize(("late", "says"), [(0.5, "several at once"), (5.0, "core of its own")])
def test_shared_reads_have_one_of_two_reasons(late: float, says: str) -> None:
    header = {"health": {"loop_lag_ns": {"p99": late * 1e6}}}
    found = summarise(shared(100), header).findings
    assert [(finding.check, says in finding.advice) for finding in found] == [("shared_reads", True)]


def open_loop(delivered: int, due: int = 101, **health: Any) -> dict[str, Any]:
    """100 measured arrivals or more, 10 ms apart; `delivered` says how many were due before the last send."""
    return {
        "config": {"load": {"request_rate": 100.0}},
        "health": {"due": due, "first_due_ns": 0, "last_due_ns": ns(10 * (due - 1)), **health},
    }


@pytest.mark.parametrize(
    ("sent", "verdict"),
    [(200, "VALID"), (198, "VALID"), (196, "SUSPECT"), (181, "SUSPECT"), (179, "INVALID")],
)
def test_delivered_rate(sent: int, verdict: str) -> None:
    """201 due in 2 s; 198 sends are 99 % of the 200 gaps, 180 are 90 %."""
    records = answers(sent, every=10)
    for record in records:
        record.intended_ns = record.ready_ns = record.sent_ns
    summary = judged(records, open_loop(sent, due=201))
    rate = [finding for finding in summary.findings if finding.check == "delivered_rate"]
    assert [finding.level for finding in rate] == ([] if verdict == "VALID" else [verdict])
    assert all("client was late" in finding.text for finding in rate)


def test_the_cap_is_named_when_it_was_the_cause() -> None:
    records = answers(150)
    for record in records:
        record.intended_ns = record.ready_ns - ns(500)
    found = {f.check: f for f in judged(records, open_loop(150, due=201)).findings}
    assert "cap was reached" in found["delivered_rate"].text
    assert "--concurrency" in found["delivered_rate"].advice


@pytest.mark.parametrize(("lag", "suspect"), [(3.9, False), (4.1, True)])
def test_client_lag_against_gap_and_latency(lag: float, suspect: bool) -> None:
    """100 req/s: the mean gap is 10 ms; median TTFT 40 ms is the larger: a tenth of that is 4 ms."""
    records = answers(101)
    for record in records:
        record.ready_ns = record.intended_ns = record.sent_ns - ns(lag)
    header = open_loop(101)
    header["health"] |= {"first_due_ns": ns(-lag), "last_due_ns": ns(1000 - lag)}
    assert ("client_lag" in findings(records, header)) == suspect


@pytest.mark.parametrize(
    ("health", "check"),
    [
        ({"loop_lag_ns": {"p99": 20_100_000}}, "loop_lag"),
        ({"loop_lag_ns": {"p99": 19_900_000}}, ""),
        ({"cpu_pct": 85.1}, "cpu"),
        ({"cpu_pct": 84.9}, ""),
    ],
)
def test_the_clients_own_health(health: dict[str, Any], check: str) -> None:
    assert set(findings(answers(), {"health": health})) == ({check} if check else set())


def test_waiting_for_a_core_is_named() -> None:
    header = {"health": {"loop_lag_ns": {"p99": 30_000_000}, "cpu_wait_pct": 48.2}}
    assert "waited 48.2 % of the time for a core" in findings(answers(), header)["loop_lag"].text


def lengths(header: dict[str, Any], **fields: Any) -> set[str]:
    return set(findings(answers(osl_wanted=6, **fields), header))


def test_output_length_off_by_more_than_a_tenth() -> None:
    """5 tokens where 6 were asked for: -17 %."""
    asked = {"config": {"workload": {"osl": 6}}, "named": ["osl"]}
    assert lengths(asked) == {"output_length"}
    assert lengths(asked, osl=6) == set()
    assert lengths({"config": {"workload": {"osl": 6}}}) == set()  # nobody insisted
    assert lengths({"config": {"workload": {"osl": 6}}, "preflight": {"ignore_eos": True}}) == {"output_length"}
    assert lengths({"config": {"workload": {"osl": None}}, "named": ["osl"]}) == set()


def test_the_tokenizer_disagrees() -> None:
    assert set(findings(answers(osl=100, osl_tokenizer=103))) == {"output_tokens"}
    assert set(findings(answers(osl=100, osl_tokenizer=102))) == set()
    assert set(findings(answers(isl=100, isl_tokenizer=97))) == {"input_tokens"}
    template = {"preflight": {"template_tokens": 3}}
    assert set(findings(answers(isl=100, isl_tokenizer=97), template)) == set()


def test_cached_tokens_nobody_asked_for() -> None:
    assert set(findings(answers(isl=100, cached_tokens=2))) == {"cached_tokens"}
    assert set(findings(answers(isl=100, cached_tokens=1))) == set()
    template = {"preflight": {"template_tokens": 40}}
    assert set(findings(answers(isl=100, cached_tokens=40), template)) == set()  # its blocks come before the salt
    no_salt = {"config": {"workload": {"salt": "none"}}}
    assert set(findings(answers(isl=100, cached_tokens=90), no_salt)) == set()


def test_what_was_asked_to_be_shared_is_no_finding() -> None:
    """30 of 100 tokens are everybody's prefix; 32 cached ones are 2 % too many."""
    shared = {"config": {"workload": {"shared_prefix_tokens": 30}}}
    assert set(findings(answers(isl=100, cached_tokens=31), shared)) == set()
    assert findings(answers(isl=100, cached_tokens=32), shared)["cached_tokens"].value == pytest.approx(2)
    both = shared | {"preflight": {"template_tokens": 40}}
    assert set(findings(answers(isl=100, cached_tokens=70), both)) == set()


def test_later_turns_repeat_what_was_said() -> None:
    """Every second request is a later turn with 90 % cached: not counted, above or below the line."""
    records = answers(isl=100, cached_tokens=0, session=1)
    for record in records[1::2]:
        record.turn, record.cached_tokens = 1, 90
    assert set(findings(records)) == set()
    for record in records[::2]:
        record.cached_tokens = 2
    assert findings(records)["cached_tokens"].value == pytest.approx(2)


def test_littles_law() -> None:
    """Each answer takes 121 ms of the run's 1111 ms: 100 * 121 / 1111 = 10.89 in flight."""
    assert set(findings(answers(), {"health": {"in_flight_mean": 10.89}})) == set()
    assert set(findings(answers(), {"health": {"in_flight_mean": 11.1}})) == {"little"}  # 2 % of 121 ms
    assert set(findings(answers(), {"health": {"in_flight_mean": 10.97}})) == set()  # 0.8 %


def test_above_the_calibrated_ceiling() -> None:
    """7 events each, 100 requests in 1.111 s: 630 events/s, 90 requests/s."""
    assert (
        set(findings(answers(), {"calibration": {"events_per_s_ceiling": 631, "requests_per_s_ceiling": 91}})) == set()
    )
    found = findings(answers(), {"calibration": {"events_per_s_ceiling": 629, "requests_per_s_ceiling": 89}})
    assert set(found) == {"events_per_s_ceiling", "requests_per_s_ceiling"}
    assert found["events_per_s_ceiling"].value == pytest.approx(700 / 1.111)


def test_not_steady_is_a_finding() -> None:
    records = answers(100)
    for record in records[50:]:
        record.event_ns = [t + ns(20) for t in record.event_ns]
        record.end_ns += ns(20)
    header = {"config": {"load": {"concurrency": 12}}}
    found = findings(records, header)
    assert set(found) == {"steady"}
    assert found["steady"].value > found["steady"].bound == 10


def test_the_gravest_comes_first() -> None:
    records = failed(20)
    for record in records:
        record.cached_tokens = 5
    summary = judged(records)
    assert summary.verdict == "INVALID"
    assert [finding.level for finding in summary.findings] == ["INVALID", "SUSPECT"]
    assert np.isfinite([finding.value for finding in summary.findings]).all()
