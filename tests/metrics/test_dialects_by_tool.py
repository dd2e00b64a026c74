"""What single dialects do with queues, deadlines, reads and promises; messages; the tools' own statistics."""

import math
from typing import Any

import numpy as np
import pytest

from genbench.metrics.dialects import DIALECTS, mlperf, translate
from genbench.metrics.dialects.messages import CHOICES, messages
from genbench.metrics.dialects.rows import floor_rule, numpy_rule, step_rule
from genbench.records import table_from
from genbench.types import CONTENT_KINDS, EventKind, Outcome, Record
from tests.metrics.made import MS, ns, stream
from tests.metrics.translated import done_at, normal, row_of, run_of, said

C = EventKind.CONTENT


# -- details of single tools ------------------------------------------------------------------------------------------


def test_vllm_peaks_are_of_calendar_seconds() -> None:
    # From the first start, 10 ms: chunks at 0.625 500 900 950.625 990 | 1100 1500, five in the first second.
    records = [stream(0, 10.125, [510, 910, 1110], end=1110), stream(1, 960.125, [1000, 1510], end=1510)]
    found = said("vllm", *records)
    assert found["Peak output token throughput", ""] == 5
    assert found["Peak concurrent requests", ""] == 2
    apart = [stream(0, 10, [100], end=100), stream(1, 200, [300], end=300)]
    assert said("vllm", *apart)["Peak concurrent requests", ""] == 2  # one after the other, in the same second


def test_vllm_queue_time_needs_a_rate_and_a_cap() -> None:
    waited = stream(0, 100, [150], intended_ns=ns(40))
    load = {"load": {"request_rate": 5.0, "concurrency": 2}}
    assert said("vllm", waited, config=load)["Client Queue Time", "Mean"] == 59.875  # 99.875 - 40
    for other in ({"request_rate": None, "concurrency": 2}, {"request_rate": 5.0}, {}):
        assert ("Client Queue Time", "Mean") not in said("vllm", waited, config={"load": other})


def whole(index: int = 0) -> Record:
    """An answer that was not streamed, with the event that its decoder makes of it."""
    return Record(
        index=index, streamed=False, intended_ns=ns(99), start_ns=ns(99), sent_ns=ns(100), end_ns=ns(200),
        event_ns=[ns(200)], event_kind=[C], event_choice=[0], event_tokens=[-1], event_shared=[0],
        isl_usage=10, osl_usage=5, outcome=Outcome.OK, status=200,
    )  # fmt: skip


def test_without_a_stream() -> None:
    assert translate("vllm", run_of(whole())).rows == ()
    found = said("aiperf", whole())
    assert found["Request Latency", "avg"] == 101
    assert found["Time to First Token", "avg"] is None
    found = said("guidellm", whole())
    assert (found["TTFT", "Mean"], found["TPOT", "Mean"], found["ITL", "Mean"]) == (None, 20, 0)
    assert said("llm-load-test", whole())["tpot", "mean"] == pytest.approx(101 / 5)
    assert said("mlperf", whole())["first token latency", "Mean"] is None
    assert said("genai-perf", whole())["Request Latency", "avg"] == 101


def vectors(index: int) -> Record:
    """Embeddings of four inputs, 30 tokens; start 0, sent at 1, whole at 101 + index."""
    return Record(
        index=index, intended_ns=0, start_ns=0, sent_ns=ns(1), end_ns=ns(101 + index), isl_usage=30, embeddings=4,
        inputs=4, outcome=Outcome.OK, status=200,
    )  # fmt: skip


def test_embeddings() -> None:
    records = [vectors(0), vectors(1)]
    header: dict[str, Any] = {"endpoint_type": "embeddings"}
    found = said("vllm", *records, **header)
    assert found["E2EL", "Mean"] == 101.5
    assert found["Input throughput", ""] == pytest.approx(8 / 0.102)
    assert found["Total token throughput", ""] == pytest.approx(60 / 0.102)
    assert said("aiperf", *records, **header)["Request Latency", "max"] == 102
    assert said("genai-perf", *records, **header)["Request Count", ""] == 2
    assert said("guidellm", *records, **header)["Request Latency", "Mean"] == pytest.approx(0.1005)
    assert said("mlperf", *records, **header)["latency", "Max"] == 102 * MS
    assert translate("llm-load-test", run_of(*records, **header)).notes == ("it has no embeddings",)
    for name in DIALECTS:
        names = {row.name.lower() for row in translate(name, run_of(*records, **header)).rows}
        assert not {one for one in names if "first token" in one or one in ("ttft", "tpot", "itl")}, name


def test_genai_perf_merges_what_one_read_brought() -> None:
    record = stream(0, 100, [150, 170, 170, 190], end=190)
    record.event_shared = [0, 0, 0, 1, 0, 0]
    assert said("genai-perf", record)["Inter Token Latency", "avg"] == 13.333333  # 40 / 3; the responses are three
    found = said("aiperf", record)
    assert found["Inter Chunk Latency", "min"] == 0
    all_at_once = stream(0, 100, [150, 150], end=150)
    all_at_once.event_shared = [0, 0, 1, 1]
    assert said("genai-perf", all_at_once)["Inter Token Latency", "avg"] is None
    assert said("aiperf", all_at_once)["Inter Token Latency", "avg"] == 0


def test_genai_perf_counts_the_text_alone() -> None:
    # Two of four tokens are reasoning, text at 190 and 230: 40 / (2 - 1) where the server says so, else 40 / 3.
    record = stream(0, 100, [150, 170, 190, 230], kinds=[EventKind.REASONING] * 2 + [C] * 2)
    assert said("genai-perf", record)["Output Sequence Length", "avg"] == 4
    assert "text alone" in " ".join(translate("genai-perf", run_of(record)).notes)
    record.reasoning_tokens = 2
    found = said("genai-perf", record)
    assert (found["Output Sequence Length", "avg"], found["Inter Token Latency", "avg"]) == (2, 40)
    assert "text alone" not in " ".join(translate("genai-perf", run_of(record)).notes)


def test_guidellm_weights_by_tokens() -> None:
    # ITL 20 with 1 gap, 40 with 3 gaps: (20 + 120) / 4. TPOT: 70 / 2 = 35 twice, 170 / 4 = 42.5 four times.
    found = said("guidellm", stream(0, 100, [150, 170]), stream(1, 100, [150, 190, 230, 270]))
    assert found["ITL", "Mean"] == 35
    assert found["ITL", "Mdn"] == 40  # half the weight is reached with the second value
    assert found["TPOT", "Mean"] == 40
    assert found["TTFT", "std_dev (report)"] == 0


def test_guidellm_reads_to_done_and_invents_lengths() -> None:
    assert said("guidellm", done_at(normal(), 233))["Request Latency", "Mean"] == pytest.approx(0.133)
    silent = stream(0, 100, [150, 170, 190], osl=-1, osl_wanted=6)
    found = translate("guidellm", run_of(silent))
    assert row_of(found, "Output Tokens Comp").figures[0].theirs == 6
    assert any("without usage" in note for note in found.notes)
    silent.osl_wanted = -1
    assert said("guidellm", silent)["Output Tokens Comp", ""] == 3  # one per chunk


def test_llm_load_test_deadline() -> None:
    # Starts at 99.875, 100 ms long: two of four tokens of the second answer come before 199.875.
    records = [stream(0, 100, [150, 170], end=170), stream(1, 100, [150, 190, 230, 270], end=270)]
    config = {"load": {"duration_s": 0.1}}
    found = said("llm-load-test", *records, config=config)
    assert found["throughput", ""] == pytest.approx(40)  # (2 + 2) / 0.1
    assert found["req_completed_within_test_duration", ""] == 1
    assert found["output_tokens_before_timeout", "min"] == found["output_tokens_before_timeout", "max"] == 2
    assert found["ttft", "mean"] == 50.125
    assert found["itl", "mean"] == 20  # the second answer was late
    assert found["response_time", "mean"] == pytest.approx((70.125 + 170.125) / 2)  # all answers
    counted = stream(1, 100, [150, 190, 230, 270], end=270, tokens=[1, 1, 5, 1], osl=8)
    assert said("llm-load-test", counted, config=config)["throughput", ""] == pytest.approx(20)


# -- MLPerf -----------------------------------------------------------------------------------------------------------


def test_early_stopping_by_loadgens_own_numbers() -> None:
    # p^n < 0.01: n = 459 for p = 0.99, 44 for 0.9. With one miss: 662, loadgen's min_query_count of MultiStream, and 64
    # of SingleStream: 0.9^64 + 64 * 0.1 * 0.9^63 = 0.0096 (63: 0.0105).
    assert [mlperf.queries_needed(0), mlperf.queries_needed(1)] == [459, 662]
    assert [mlperf.queries_needed(0, 0.9), mlperf.queries_needed(1, 0.9)] == [44, 64]
    # What loadgen's own MinPassingQueriesFinder returned for 9 and 399 misses, the misses added.
    assert [mlperf.queries_needed(over) for over in (9, 399)] == [1874, 44_775]
    assert mlperf.queries_needed(399, 0.9) == 4455
    assert not mlperf.passes(458, 0)
    assert not mlperf.passes(1, 1)


def test_early_stopping_against_the_sum() -> None:
    for n, over, p in ((300, 0, 0.99), (700, 1, 0.99), (2000, 9, 0.99), (2000, 12, 0.99), (100, 3, 0.9)):
        total = sum(math.comb(n, k) * (1 - p) ** k * p ** (n - k) for k in range(over + 1))
        assert mlperf.passes(n, over, p) == (total < 0.01), (n, over, p, total)


def test_early_stopping_estimate() -> None:
    ordered = np.arange(64, dtype=np.float64)
    assert mlperf.estimate(ordered[:63], 0.9) is None
    assert mlperf.estimate(ordered, 0.9) == 63  # one miss is allowed: the highest stays
    # Two misses take 81 queries: 0.9^81 + 81 * 0.1 * 0.9^80 + 3240 * 0.01 * 0.9^79 < 0.01; then the highest goes.
    needed = mlperf.queries_needed(2, 0.9)
    assert mlperf.estimate(np.arange(needed - 1, dtype=np.float64), 0.9) == needed - 2
    assert mlperf.estimate(np.arange(needed, dtype=np.float64), 0.9) == needed - 2


def served(count: int, slow: int) -> list[Record]:
    """One request each 10 ms, first token after 40 ms, of the slow ones after 80 ms, then one more 20 ms later."""
    return [
        stream(i, at, [at + (80 if i < slow else 40), at + (100 if i < slow else 60)])
        for i, at in ((i, 10 * i + 5) for i in range(count))
    ]


OPEN: dict[str, Any] = {"config": {"load": {"request_rate": 100.0}}}


@pytest.mark.parametrize(
    ("count", "slow", "constraint", "stopping"),
    [(458, 0, "Yes", "unsuccessful"), (459, 0, "Yes", "successful"), (661, 1, "Yes", "unsuccessful"),
     (662, 1, "Yes", "successful"), (662, 7, "NO", "unsuccessful")],
)  # fmt: skip
def test_verdict_on_the_promises_target(count: int, slow: int, constraint: str, stopping: str) -> None:
    run = run_of(*served(count, slow), rules=("ttft.p99<50ms", "tpot.p95<1s"), **OPEN)
    found = translate("mlperf", run)
    assert found.tool.endswith("Server scenario")
    row = row_of(found, "TTFT Early Stopping Result")
    assert row.figures[0].theirs == stopping
    assert f"this run has {count}" in row.why
    kept = row_of(found, "TTFT constraint satisfied")
    assert kept.figures[0].theirs == constraint
    assert f"{slow} of {count} over 50 ms (SLO ttft.p99<50ms)" in kept.why
    missing = row_of(found, "TPOT Early Stopping Result")  # a promise on p95 is no target of loadgen's
    assert missing.figures[0].theirs is None
    assert "no SLO on tpot.p99" in missing.why
    assert row_of(found, "Min duration satisfied").figures[0].theirs == "NO"


def test_server_rates_by_hand() -> None:
    # Due at 9.75 and 109.75, the last ends at 170: (2 - 1) / 0.16025, 4 tokens / 0.16025, 1 / 0.1.
    found = said("mlperf", stream(0, 10, [50, 70]), stream(1, 110, [150, 170]), **OPEN)
    assert found["Completed samples per second", ""] == pytest.approx(1 / 0.16025)
    assert found["Completed tokens per second", ""] == pytest.approx(4 / 0.16025)
    assert found["Scheduled samples per second", ""] == pytest.approx(10)


def test_offline_and_single_stream() -> None:
    at_once: dict[str, Any] = {"config": {"load": {"request_rate": math.inf}}}
    records = [stream(i, 0.25, [50 + i, 100 + 10 * i]) for i in range(4)]
    found = translate("mlperf", run_of(*records, **at_once))
    assert found.tool.endswith("Offline scenario")
    assert row_of(found, "Samples per second").figures[0].theirs == pytest.approx(4 / 0.13)
    assert row_of(found, "Tokens per second").figures[0].theirs == pytest.approx(8 / 0.13)
    alone: dict[str, Any] = {"config": {"load": {"request_rate": None, "concurrency": 1}}}
    found = translate("mlperf", run_of(*(stream(i, 100 * i, [101 * i + 50]) for i in range(1, 65)), **alone))
    assert found.tool.endswith("SingleStream scenario")
    ninetieth = row_of(found, "Early stopping 90.0th percentile estimate")
    assert ninetieth.figures[0].theirs == 114.25 * MS  # the highest: 50 + 64 + 0.25
    assert "needs 662 whole answers, this run has 64" in row_of(found, "Early stopping 99.0th percentile estimate").why


# -- messages and rules -----------------------------------------------------------------------------------------------


def test_events_of_one_message_are_one() -> None:
    """Reasoning, text and finish reason in one chunk; two chunks in one read; a role and a text in one read."""
    record = Record(
        event_ns=[1, 5, 5, 5, 9, 9, 9], event_kind=[0, 2, 3, 5, 3, 3, 5], event_choice=[0] * 7, event_tokens=[-1] * 7,
        event_shared=[0, 0, 0, 0, 0, 1, 1],
    )  # fmt: skip
    table = table_from([Record(index=0), record := _at(record, 1), _at(Record(), 2)])
    found = messages(table, CHOICES)
    assert found.count.tolist() == [0, 4, 0]  # role; one chunk at 5; text, then text with finish at 9
    assert found.ns.tolist() == [1, 5, 9, 9]
    assert (found.first.tolist(), found.last.tolist()) == ([-1, 1, -1], [-1, 9, -1])
    assert messages(table, CONTENT_KINDS, by_read=True).ns.tolist() == [5, 9]
    assert record.index == 1


def _at(record: Record, index: int) -> Record:
    record.index = index
    return record


def test_a_role_is_a_message_of_its_own() -> None:
    record = Record(
        event_ns=[3, 3, 3], event_kind=[EventKind.COMMENT, 0, 3], event_choice=[0] * 3, event_tokens=[-1] * 3,
        event_shared=[0, 1, 1],
    )  # fmt: skip
    assert messages(table_from([record]), CHOICES).ns.tolist() == [3, 3]


def test_choices_of_one_chunk_are_one_message() -> None:
    record = Record(
        event_ns=[3, 3, 7], event_kind=[3, 3, 3], event_choice=[0, 1, 0], event_tokens=[-1] * 3, event_shared=[0] * 3
    )
    assert messages(table_from([record]), CHOICES).ns.tolist() == [3, 7]


def test_rules() -> None:
    values = np.array([4.0, 1.0, 3.0, 2.0])
    assert numpy_rule(values, None, "std") == math.sqrt(1.25)  # population
    assert numpy_rule(values, None, "p50") == 2.5
    assert step_rule(values, None, "p50") == 2
    assert step_rule(values, np.array([5.0, 1.0, 1.0, 1.0]), "p50") == 4
    assert step_rule(values, np.array([5.0, 1.0, 1.0, 1.0]), "mean") == 26 / 8
    assert step_rule(values, None, "std") == math.sqrt(1.25)
    assert floor_rule(values, None, "p50") == 3  # of 1 2 3 4 the one at 4 * 0.5
    assert floor_rule(values, None, "p99.9") == 4
    assert floor_rule(values, None, "mean") == 2  # whole
