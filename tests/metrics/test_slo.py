from typing import Any

import pytest

from genbench import config
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


# -- shares, goodput, sets ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("ttft.p95<500ms", 0.95),
        ("tpot.p50<=20ms", 0.5),
        ("output_tps_per_user.p5>=20", 0.95),  # its 5th percentile above 20: 95 % are
        ("error_rate<1%", 0.99),
        ("slo_attainment>=97.5%", 0.975),
        ("ttft.mean<500ms", None),
        ("ttft.max<500ms", None),
        ("itl.p95<50ms", None),  # pooled
        ("ttft_later_turns.p95<1s", None),  # not every request can have one
        ("error_rate<0%", None),
        ("request_throughput<5", None),
    ],
)
def test_promises_as_shares_of_requests(rule: str, expected: float | None) -> None:
    found = slo.shares([slo.parse(rule)])
    assert [round(one.share, 9) for one in found] == ([] if expected is None else [expected])


def test_who_keeps_a_share() -> None:
    """TTFT 40, 60 and 40 ms; the third failed. Attainment is of those who keep both rules; errors have no rule."""
    records = [stream(0, 100, [140, 150]), stream(1, 100, [160, 170]), stream(2, 100, [140], outcome=Outcome.TRUNCATED)]
    table = table_from(records)
    rules = [slo.parse(text) for text in ("ttft.p90<50ms", "tpot.p90<20ms", "error_rate<5%", "slo_attainment>90%")]
    values = {row.key: row.of(table) for row in METRICS}
    kept = {share.slo.text: slo.kept(table, share, values).tolist() for share in slo.shares(rules)}
    assert kept == {
        "ttft.p90<50ms": [True, False, False],
        "tpot.p90<20ms": [True, True, False],
        "error_rate<5%": [True, True, False],
        "slo_attainment>90%": [True, False, False],
    }


def test_goodput() -> None:
    assert slo.goodput("ttft:500 tpot:50", 95) == ("ttft.p95<=500ms", "tpot.p95<=50ms", "slo_attainment>=95%")
    assert slo.goodput("e2el:9000,output_tps_per_user:20", 97.5) == (
        "request_latency.p95<=9000ms", "output_tps_per_user.p5>=20token/s", "slo_attainment>=97.5%",
    )  # fmt: skip
    assert slo.goodput("ttft:500", 0.5)[0] == "ttft.p1<=500ms"


def test_what_follows_from_goodput_holds_where_it_holds() -> None:
    """38 of 40 requests keep both bounds, 95 %. p95 of TTFT lies at 37.05 of the values: 400 + 0.05 * 200 = 410 ms."""
    records = [stream(k, 100, [100 + (600 if k >= 38 else 400), 1200], osl=20) for k in range(40)]
    summary = held(records, *slo.goodput("ttft:500 tpot:50", 95))
    assert summary.run["slo_attainment"].value == 95
    assert summary.slo[0].value == pytest.approx(410)
    assert all(result.passed for result in summary.slo)


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ({"goodput": ""}, "--goodput is empty"),
        ({"goodput": "ttft"}, "'ttft' has no bound"),
        ({"goodput": "ttft:x"}, "'ttft:x' has no bound"),
        ({"goodput": "ttft:nan"}, "'ttft:nan' has no bound above 0"),
        ({"goodput": "ttft:-5"}, "'ttft:-5' has no bound above 0"),
        ({"goodput": "itl:50"}, "unknown metric 'itl'"),  # pooled: no value per request
        ({"goodput": "ttft:5", "attainment": "0"}, "--attainment 0"),
        ({"goodput": "ttft:5", "attainment": "100%"}, "--attainment 100"),
        ({"goodput": "ttft:5", "slo": ("tpot.p95<9ms",)}, "both say what a request has to keep"),
        ({"attainment": "99%"}, "--attainment 99% is the share for --goodput"),
        ({"slo": ("chatt",)}, "--slo chatt is neither a rule nor a set"),
        ({"slo": ("tftf.p9<1s",)}, "unknown metric 'tftf'"),
    ],
)
def test_promises_refused(named: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        slo.promised(config.load(named))


def test_promises_written_out() -> None:
    given = slo.promised(
        config.load({"goodput": "ttft:500", "attainment": "90", "slo": ("error_rate<1%",), "osl": "7"})
    )
    assert given.config.slo == ("ttft.p90<=500ms", "slo_attainment>=90%", "error_rate<1%")
    assert (given.config.goodput, given.config.attainment) == (None, None)
    assert given.named == {"slo", "osl"}
    assert slo.promised(given) is given
    assert slo.promised(config.load({"slo": ("llama2-70b-server",)})).config.slo == (
        "ttft.p99<=2000ms",
        "tpot.p99<=200ms",
    )


def test_a_set_stands_for_its_rules() -> None:
    assert slo.expand(["llama2-70b-server"]) == ("ttft.p99<=2000ms", "tpot.p99<=200ms")
    assert slo.expand(["slo-llama3.1-405b-interactive", "error_rate<1%", "error_rate<1%"]) == (
        "ttft.p99<=4500ms", "tpot.p99<=80ms", "error_rate<1%",
    )  # fmt: skip
    with pytest.raises(ConfigError, match=r"--slo chatt is neither a rule nor a set; .* or use chat, "):
        slo.expand(["chatt"])


@pytest.mark.parametrize("name", slo.set_names())
def test_every_set_can_be_read_and_tested(name: str) -> None:
    rules = [slo.parse(text) for text in slo.expand([name])]
    assert len(slo.shares(rules)) == len(rules) >= 2
    assert config.load({}, (f"slo-{name}",)).config.slo == slo.expand([name])
    assert config.profile_text(f"slo-{name}").startswith("# ")
