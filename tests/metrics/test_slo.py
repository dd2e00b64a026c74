import pytest

from genbench.errors import ConfigError
from genbench.metrics import slo
from genbench.metrics.definitions import METRICS
from genbench.metrics.summary import summarise
from genbench.records import table_from
from genbench.types import Outcome, Phase, Record, Slo, Summary
from tests.metrics.made import stream


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ttft.p95<500ms", ("ttft", "p95", "<", 500)),
        ("ttft.p99.9 <= 1.5 s", ("ttft", "p99.9", "<=", 1500)),
        ("ttft.p50<250us", ("ttft", "p50", "<", 0.25)),
        ("tpot.mean<=50", ("tpot", "mean", "<=", 50)),
        ("error_rate<1%", ("error_rate", "", "<", 1)),
        ("request_throughput>10", ("request_throughput", "", ">", 10)),
        ("goodput>=3req/s", ("goodput", "", ">=", 3)),
        ("output_token_throughput>1e3 tok/s", ("output_token_throughput", "", ">", 1000)),
        ("output_tps_per_user.p5>=20token/s", ("output_tps_per_user", "p5", ">=", 20)),
        ("duration<2m", ("duration", "", "<", 120)),
    ],
)
def test_parse(text: str, expected: tuple[str, str, str, float]) -> None:
    assert slo.parse(text) == Slo(*expected, text=text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tftf.p95<500ms", "unknown metric 'tftf'.*use one of ttft, "),
        ("ttft.p94<500ms", r"'ttft\.p94'.*use ttft\. and one of p9"),
        ("ttft<500ms", r"names no statistic; use ttft\."),
        ("error_rate.p50<1", r"one figure of the run; leave out \.p50"),
        ("ttft.p95=500ms", "cannot read the SLO 'ttft.p95=500ms'; write it like"),
        ("ttft.p95", "cannot read"),
        ("ttft.p95<", "cannot read"),
        ("ttft.p95<500req/s", "not measured in 'req/s'; use ms, s, us"),
        ("error_rate<1ms", "use %"),
        ("ttft.p95<1e400", "not finite"),
        ("ttft.p95<1-2", "'1-2' in the SLO 'ttft.p95<1-2' is not a number"),
        ("", "cannot read"),
    ],
)
def test_parse_refuses(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        slo.parse(text)


def test_every_metric_can_be_promised() -> None:
    for row in METRICS:
        assert slo.parse(f"{row.key}.p90<1{row.unit}").bound == 1


def held(records: list[Record], *rules: str, **header: object) -> Summary:
    return summarise(table_from(records), header, [slo.parse(rule) for rule in rules])


def test_attainment_and_goodput() -> None:
    """TTFT 40 50 60 ms and one failure within 1 s: under 55 ms are two of four; the failure is a miss."""
    records = [stream(i, 100, [100 + ttft, 200]) for i, ttft in enumerate((40, 50, 60))]
    records.append(stream(3, 100, [110], end=1100, outcome=Outcome.TRUNCATED))
    summary = held(records, "ttft.p95<55ms")
    (result,) = summary.slo
    assert not result.passed
    assert result.value == pytest.approx(59)  # p95 at 1.9 of 40 50 60: 50 + 0.9 * 10
    assert result.attainment_pct == 50
    assert summary.run["slo_attainment"].value == 50
    assert summary.run["goodput"].value == pytest.approx(2)  # two within 1.0 s


def test_every_promise_must_be_kept() -> None:
    """TTFT 40 and 60, latency 200 and 100: each rule is kept by one request, both by none."""
    records = [stream(0, 100, [140, 300]), stream(1, 100, [160, 200])]
    summary = held(records, "ttft.p50<50", "request_latency.p50<150")
    assert [result.attainment_pct for result in summary.slo] == [50, 50]
    assert summary.run["slo_attainment"].value == 0
    assert summary.run["goodput"].value == 0


def test_one_token_keeps_tpot_and_one_chunk_misses_it() -> None:
    summary = held([stream(0, 100, [150], osl=1), stream(1, 100, [150], osl=8)], "tpot.p95<50ms")
    assert summary.slo[0].attainment_pct == 50
    assert summary.slo[0].value is None
    assert not summary.slo[0].passed


def test_cancelled_no_output_and_warmup_are_in_no_denominator() -> None:
    records = [
        stream(0, 100, [140]),
        stream(1, 100, [140], outcome=Outcome.CANCELLED),
        stream(2, 100, [], outcome=Outcome.NO_OUTPUT),
        stream(3, 100, [500], phase=Phase.WARMUP),
    ]
    summary = held(records, "ttft.p50<50ms")
    assert summary.run["slo_attainment"].value == 100
    assert "cancelled by us and not in the SLO attainment: 1" in summary.notes


@pytest.mark.parametrize("header", [{"not_sent": 3}, {"health": {"not_sent": 3}}])
def test_what_was_due_and_never_sent_is_a_miss(header: dict[str, object]) -> None:
    summary = held([stream(0, 100, [140])], "ttft.p50<50ms", **header)
    assert summary.run["slo_attainment"].value == 25
    assert any(note.startswith("3 of 4 due requests were never sent") for note in summary.notes)


def test_promises_on_the_run() -> None:
    records = [stream(0, 100, [140]), stream(1, 100, [110], outcome=Outcome.TRUNCATED, end=1100)]
    summary = held(records, "error_rate<1%", "goodput>=1", "itl.p50<5")
    assert [(result.passed, result.value, result.attainment_pct) for result in summary.slo] == [
        (False, 50, None),
        (True, pytest.approx(1), None),  # with no per-request promise every ok request is a good one
        (False, None, None),
    ]
    assert summary.run["slo_attainment"].value == 50


def test_larger_can_be_better() -> None:
    """Gaps of 20 and 50 ms: 50 and 20 tokens per second."""
    records = [stream(0, 100, [150, 170]), stream(1, 100, [150, 200])]
    summary = held(records, "output_tps_per_user.p5>=30")
    assert summary.slo[0].attainment_pct == 50


def test_no_promise_no_figures() -> None:
    summary = held([stream(0, 100, [140])])
    assert summary.slo == ()
    assert not {"goodput", "slo_attainment"} & set(summary.run)
