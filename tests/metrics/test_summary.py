from typing import Any

import numpy as np
import pytest

from genbench import stats
from genbench.metrics.definitions import by_key
from genbench.metrics.summary import summarise
from genbench.records import table_from
from genbench.types import Outcome, Phase, Record, Summary
from tests.metrics.made import ns, stream


def summary_of(*records: Record, **header: Any) -> Summary:
    return summarise(table_from(records), header)


def value(summary: Summary, key: str) -> float:
    return summary.run[key].value


def test_throughputs_by_hand() -> None:
    """Three requests from 100 to 1100 ms, one of them failed: two ok in 1 s with 10 + 20 tokens in and 4 + 2 out."""
    summary = summary_of(
        stream(0, 100, [150, 200], osl=4, isl=10),
        stream(1, 120, [160, 200], osl=2, isl=20),
        stream(2, 130, [160], end=1100, outcome=Outcome.TRUNCATED, error="closed"),
    )
    assert value(summary, "duration") == 1
    assert value(summary, "request_throughput") == 2
    assert value(summary, "output_token_throughput") == 6
    assert value(summary, "input_token_throughput") == 30
    assert value(summary, "total_token_throughput") == 36
    assert value(summary, "error_rate") == pytest.approx(100 / 3)
    assert value(summary, "throughput_consistency_pct") == pytest.approx(0, abs=1e-9)
    assert summary.metrics["ttft"].count == 2
    assert "embedding_throughput" not in summary.run


def test_nothing_at_all() -> None:
    summary = summary_of()
    assert summary.metrics == {}
    assert summary.run == {}
    assert summary.outcomes == {"ok": 0}
    assert summary.sources == {"isl": "none", "osl": "none", "tokens_per_event": "none"}


def test_no_ok_request() -> None:
    failed = Record(sent_ns=-1, start_ns=5, end_ns=9, outcome=Outcome.CONNECT_ERROR, error="refused")
    summary = summary_of(failed)
    assert value(summary, "error_rate") == 100
    assert set(summary.run) == {"error_rate"}
    assert summary.outcomes == {"ok": 0, "connect_error": 1}
    assert summary.examples == {"connect_error": "refused"}


def test_no_output_is_neither_ok_nor_failed() -> None:
    summary = summary_of(stream(0, 100, [150]), stream(1, 100, [], outcome=Outcome.NO_OUTPUT))
    assert value(summary, "error_rate") == 0
    assert summary.outcomes == {"ok": 1, "no_output": 1}


def test_token_throughput_needs_a_length() -> None:
    summary = summary_of(stream(0, 100, [150], osl=-1, isl=-1))
    assert not {key for key in summary.run if "token" in key}
    assert summary.sources["osl"] == "none"


def test_a_part_without_lengths_shows_in_the_check() -> None:
    """One of two answers has a length, 8: 8 tokens in the run, but two answers of mean length 8 would be 16."""
    summary = summary_of(stream(0, 100, [150], osl=8), stream(1, 100, [1100], osl=-1))
    assert value(summary, "output_token_throughput") == 8
    assert value(summary, "throughput_consistency_pct") == 50


def test_embeddings() -> None:
    records = [
        Record(index=i, sent_ns=0, end_ns=ns(500), isl_usage=30, embeddings=4, inputs=4, outcome=Outcome.OK)
        for i in range(2)
    ]
    summary = summary_of(*records, endpoint_type="embeddings")
    assert value(summary, "embedding_throughput") == 16  # 8 inputs in half a second
    assert value(summary, "input_token_throughput") == 120
    assert not {"output_token_throughput", "total_token_throughput"} & set(summary.run)
    assert not {"ttft", "tpot", "osl"} & set(summary.metrics)


def test_rates_of_an_open_loop() -> None:
    """Due at 0 100 200 300 400: 4 gaps in 0.4 s are 10 a second. Sent at 0 150 350 500 550: three by 400 -> 7.5."""
    late = [
        stream(i, sent, [sent + 10], intended_ns=ns(100 * i), ready_ns=ns(100 * i))
        for i, sent in enumerate((0, 150, 350, 500, 550))
    ]
    header = {"config": {"load": {"request_rate": 10.0}}}
    summary = summarise(table_from(late), header)
    assert value(summary, "requested_rate") == 10
    assert value(summary, "delivered_rate") == 7.5
    on_time = [stream(i, 100 * i + 0.25, [100 * i + 10]) for i in range(5)]
    summary = summarise(table_from(on_time), header)
    assert value(summary, "requested_rate") == value(summary, "delivered_rate") == 10
    assert "requested_rate" not in summary_of(*late).run
    assert "requested_rate" not in summary_of(*late, config={"load": {"request_rate": "inf"}}).run


def conversation(session: int, begin: float, turns: int = 2, **more: Any) -> list[Record]:
    """Turns of 100 ms, 50 ms apart."""
    return [
        stream(10 * session + t, sent, [sent + 40, sent + 100], session=session, turn=t, intended_ns=ns(sent), **more)
        for t, sent in enumerate(begin + 150 * k for k in range(turns))
    ]


def test_rates_are_those_of_first_turns() -> None:
    """Conversations due at 0 100 200 300 400: 10 a second, whatever their second turns are; those end at 650."""
    records = [record for k in range(5) for record in conversation(k, 100 * k)]
    header: dict[str, Any] = {"config": {"load": {"request_rate": 10.0}}}
    summary = summarise(table_from(records), header)
    assert value(summary, "requested_rate") == value(summary, "delivered_rate") == 10
    assert value(summary, "duration") == pytest.approx(0.65)
    summary = summarise(table_from(records), header | {"not_sent": 5})
    assert any("5 of 10 due requests were never sent" in note for note in summary.notes)


def test_cached_input() -> None:
    """30 of 100 and 90 of 100; one whose usage does not tell and one that failed are left out."""
    summary = summary_of(
        stream(0, 100, [150], isl=100, cached_tokens=30),
        stream(1, 100, [150], isl=100, cached_tokens=90),
        stream(2, 100, [150], isl=100),
        stream(3, 100, [150], isl=-1, isl_tokenizer=50, cached_tokens=10),
        stream(4, 100, [150], isl=100, cached_tokens=0, outcome=Outcome.TRUNCATED),
    )
    assert value(summary, "cached_input_pct") == 60
    assert "cached_input_pct" not in summary_of(stream(0, 100, [150])).run


def test_conversations_that_are_not_whole_are_told() -> None:
    health = {"conversations_broken": 1, "conversations_cut": 3, "session_connections_lost": 2}
    notes = summary_of(
        stream(0, 100, [150]), health=health, stopped_at="ttft.p95 known to 4.7 % after 120 requests"
    ).notes
    assert notes == (
        "1 conversation broke off at a turn that failed: later turns were never sent",
        "3 conversations cut short by the end of the run: later turns were never sent",
        "2 later turns had to open a connection: their own had been closed",
        "the run was ended early: ttft.p95 known to 4.7 % after 120 requests",
    )
    none = {"conversations_broken": 0, "conversations_cut": 0, "session_connections_lost": 0}
    assert summary_of(stream(0, 100, [150]), health=none, stopped_at="").notes == ()


@pytest.mark.parametrize("load", [{"ramp": "1:50:60s"}, {"stages": "5@30s,20@60s"}, {"arrival": "trace", "speed": 2.0}])
def test_a_load_that_changes_by_design_has_no_steady_window(load: dict[str, Any]) -> None:
    """Sends come ever closer together; by the same rate throughout it would be called unsteady."""
    due = [3000 * (k / 60) ** 0.5 for k in range(60)]
    records = [stream(k, t, [t + 40, t + 400], intended_ns=ns(t)) for k, t in enumerate(due)]
    summary = summary_of(*records, config={"load": load})
    assert not [key for key in summary.run if key.startswith("steady")]
    assert "steady" not in {finding.check for finding in summary.findings}
    assert value(summary, "requested_rate") == pytest.approx(59 / due[-1] * 1000)
    same = summary_of(*records, config={"load": {"request_rate": 20.0}})
    assert "steady" in {finding.check for finding in same.findings}


def test_concurrency_counts_everything_in_flight() -> None:
    """[100, 300) ok, [200, 400) failed, a warm-up until 200 that began before: 2, 2, 1 in flight for 100 ms each."""
    records = [
        stream(0, 50, [150], end=200, phase=Phase.WARMUP),
        stream(1, 100, [250], end=300),
        stream(2, 200, [], end=400, outcome=Outcome.TRUNCATED),
    ]
    summary = summary_of(*records)
    assert value(summary, "concurrency_mean") == pytest.approx((2 + 2 + 1) / 3)
    assert value(summary, "concurrency_max") == 2
    assert "little_pct" not in summary.run
    assert summary.warmup_requests == 1


def test_the_engines_own_counter_comes_first() -> None:
    summary = summary_of(stream(0, 100, [200]), health={"in_flight_mean": 1.02})
    assert value(summary, "concurrency_mean") == 1.02
    assert value(summary, "little_pct") == pytest.approx(2)


def test_outcomes_and_their_examples() -> None:
    refused = {"outcome": Outcome.HTTP_ERROR, "status": 429, "retry_after": "3", "error": "HTTP 429: slow down"}
    summary = summary_of(
        stream(0, 100, [150]),
        stream(1, 100, [], outcome=Outcome.HTTP_ERROR, error="HTTP 500: boom"),
        Record(index=2, sent_ns=ns(100), end_ns=ns(101), **refused),  # type: ignore[arg-type]
        stream(3, 100, [], outcome=Outcome.TRUNCATED, error=""),
        stream(4, 100, [], outcome=Outcome.TIMEOUT_IDLE, phase=Phase.WARMUP),
    )
    assert list(summary.outcomes.items()) == [("ok", 1), ("http_error", 2), ("http_429", 1), ("truncated", 1)]
    assert summary.examples == {
        "http_error": "HTTP 500: boom",
        "http_429": "HTTP 429: slow down (Retry-After 3)",
    }


def test_intervals_by_order_statistics() -> None:
    """100 independent values 0..99 (shuffled): the p50 bounds are the sorted values at the binomial's indices."""
    ttft = np.random.default_rng(1).permutation(100)
    summary = summary_of(*(stream(i, 1000 * i, [1000 * i + 100 + t]) for i, t in enumerate(ttft.tolist())))
    found = summary.metrics["ttft"]
    low, high = stats.order_statistic_interval(100, 0.5)
    assert low is not None
    assert high is not None
    assert list(found.ci95["p50"]) == [100 + low, 100 + high]
    assert found.ci_method["p50"] == "order statistics"
    # indices 96 and 98: no upper bound from 100 values
    assert [found.ci95[name] for name in ("p99", "p99.9")] == [(196, None), (198, None)]
    assert found.ci_method["mean"] == "block bootstrap"
    assert found.few == ("p99", "p99.9")


def test_dependent_requests_are_resampled_in_blocks() -> None:
    """A slow wave: each request is like its neighbour, so order statistics would claim too much."""
    waves = [100 + 50 * np.sin(i / 20) for i in range(400)]
    summary = summary_of(*(stream(i, 1000 * i, [1000 * i + float(t)]) for i, t in enumerate(waves)))
    found = summary.metrics["ttft"]
    assert found.ci_method["p50"] == "block bootstrap"
    low, high = found.ci95["p50"]
    assert low is not None
    assert high is not None
    assert low < found.stats["p50"] < high


def test_pooled_metrics_are_resampled_by_request() -> None:
    records = [stream(i, 1000 * i, [1000 * i + 50 + j * (10 + i % 7) for j in range(6)]) for i in range(60)]
    found = summary_of(*records).metrics["itl"]
    assert set(found.ci_method.values()) == {"block bootstrap"}
    assert found.count == 300  # 60 requests, 5 gaps each, one token each
    low, high = found.ci95["mean"]
    assert low is not None
    assert high is not None
    assert low < found.stats["mean"] < high


def test_itl_counts_tokens_but_is_supported_by_gaps() -> None:
    """10 gaps of 50 tokens: 500 tokens, and still too few gaps for p90."""
    found = summary_of(*(stream(i, 100, [150, 250], tokens=[1, 50], osl=51) for i in range(10))).metrics["itl"]
    assert found.count == 500
    assert found.few == ("p90", "p95", "p99", "p99.9")
    assert found.stats["p50"] == 2


def test_the_seed_is_the_runs() -> None:
    records = [stream(i, 1000 * i, [1000 * i + 50 + (i * 37) % 11]) for i in range(50)]
    first, again, other = (summary_of(*records, config={"seed": seed}).metrics["ttft"].ci95 for seed in (1, 1, 2))
    assert first == again
    assert first["mean"] != other["mean"]


def test_throughput_interval_holds_the_value() -> None:
    records = [stream(i, 100 * i, [100 * i + 50, 100 * i + 90]) for i in range(200)]
    figure = summary_of(*records).run["request_throughput"]
    assert figure.ci95 is not None
    assert figure.ci95[0] <= figure.value <= figure.ci95[1]


def test_the_templates_share_of_the_input() -> None:
    records = [stream(i, 100, [150], isl=533, isl_wanted=512) for i in range(3)]
    notes = summary_of(*records, preflight={"template_tokens": 21}).notes
    assert "input length 533 = 512 asked + 21 template" in notes


def test_the_headers_own_words() -> None:
    summary = summary_of(stream(0, 1, [2]), notes=["prompts repeat"], simulated=True, interrupted=True)
    assert summary.notes == ("prompts repeat",)
    assert summary.simulated
    assert summary.interrupted


@pytest.mark.parametrize("header", [{"config": None, "health": None, "notes": None, "preflight": None}, {"config": []}])
def test_a_header_without_content(header: dict[str, Any]) -> None:
    assert summary_of(stream(0, 1, [2]), **header).metrics["ttft"].count == 1


def test_run_keys_are_all_defined() -> None:
    records = [stream(i, 100 * i, [100 * i + 50, 100 * i + 250], end=100 * i + 300) for i in range(80)]
    summary = summary_of(*records, config={"load": {"concurrency": 3}}, health={"in_flight_mean": 3})
    assert set(summary.run) <= set(by_key())
    assert "steady_duration" in summary.run
