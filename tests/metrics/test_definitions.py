from pathlib import Path

import numpy as np
import pytest

from genbench.metrics.definitions import (
    METRICS,
    RUN_METRICS,
    by_key,
    length_source,
    osl_streamed,
    tokens_per_event_source,
)
from genbench.records import RecordTable, table_from
from genbench.stats import percentiles
from genbench.types import EventKind, Outcome, Phase, Record
from tests.metrics.made import ns, stream

R, C, T = EventKind.REASONING, EventKind.CONTENT, EventKind.TOOL

# Sent at 100, intended and ready a quarter of a millisecond before; 10 tokens in, 4 out, at 150 170 190 230.
NORMAL: dict[str, list[float]] = {
    "ttft": [50],  # 150 - 100
    "ttfo": [50],
    "ttft_first_turn": [],  # of no conversation
    "ttft_later_turns": [],
    "ttst": [20],  # 170 - 150
    "request_latency": [130],  # 230 - 100; the body's end at 235 does not count
    "tpot": [80 / 3],  # (230 - 150) / (4 - 1)
    "icl": [20, 20, 40],
    "itl": [20, 20, 40],  # k = (4 - 1) / (4 - 1) = 1
    "ntpot": [32.5],  # 130 / 4
    "output_tps_per_user": [37.5],  # 1000 / (80 / 3)
    "prefill_tps": [200],  # 10 / 0.050
    "isl": [10],
    "osl": [4],
    "connect": [],  # on an open connection
    "upload": [0.0625],
    "cap_wait": [0],
    "client_lag": [0.25],
    "ttft_intended": [50.25],
    "request_latency_intended": [130.25],
}
GAPLESS: dict[str, list[float]] = {"ttst": [], "tpot": [], "icl": [], "itl": [], "output_tps_per_user": []}
ONE_TOKEN: dict[str, list[float]] = {
    **NORMAL,
    **GAPLESS,
    "request_latency": [50],
    "ntpot": [50],
    "osl": [1],
    "request_latency_intended": [50.25],
}
ONE_CHUNK: dict[str, list[float]] = {**ONE_TOKEN, "ntpot": [6.25], "osl": [8]}  # 50 / 8
CLIENT = ("upload", "cap_wait", "client_lag")
CUT: dict[str, list[float]] = {key: value if key in CLIENT else [] for key, value in NORMAL.items()}
CASES: dict[str, tuple[list[Record], dict[str, list[float]]]] = {
    "normal": ([stream(0, 100, [150, 170, 190, 230], end=235)], NORMAL),
    "one token": ([stream(0, 100, [150], osl=1)], ONE_TOKEN),
    "one chunk of many tokens": ([stream(0, 100, [150], osl=8)], ONE_CHUNK),
    "error mid-stream": ([stream(0, 100, [150, 170], outcome=Outcome.STREAM_ERROR)], CUT),
    "nothing at all": ([], {key: [] for key in NORMAL}),
}


def values(key: str, *records: Record) -> list[float]:
    metric = {row.key: row for row in METRICS}[key]
    return [float(value) for value in metric.of(table_from(records)).values]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("key", [row.key for row in METRICS])
def test_by_hand(key: str, case: str) -> None:
    records, expected = CASES[case]
    assert values(key, *records) == pytest.approx(expected[key])


def test_every_key_once() -> None:
    assert len(by_key()) == len(METRICS) + len(RUN_METRICS)
    assert set(NORMAL) == {row.key for row in METRICS}
    assert {row.key for row in METRICS if row.pooled} == {"icl", "itl"}


def test_the_documentation_has_every_metric() -> None:
    """docs/metrics.md has one table row per key, with the same unit."""
    page = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.split("|")] for line in page.splitlines() if line.startswith("| `")]
    units = {row[1].strip("`"): row[3] for row in rows if len(row) > 5}
    assert {key: units.get(key) for key in by_key()} == {key: row.unit for key, row in by_key().items()}


def test_rows_are_told() -> None:
    """Values of the second and fourth row; the failed one between them has none."""
    outcomes = (Outcome.TRUNCATED, Outcome.OK, Outcome.CANCELLED, Outcome.OK)
    table = table_from([stream(i, 100, [150, 160], outcome=outcome) for i, outcome in enumerate(outcomes)])
    for row in METRICS:
        found = row.of(table)
        assert found.rows.shape == found.values.shape
        if row.key == "icl":
            assert found.rows.tolist() == [1, 3]
        if row.key == "client_lag":
            assert found.rows.tolist() == [0, 1, 2, 3]


def test_warmup_counts_nowhere() -> None:
    warm = stream(0, 100, [150, 170], phase=Phase.WARMUP, tcp_end_ns=ns(99.9375))
    assert [values(row.key, warm) for row in METRICS] == [[]] * len(METRICS)


def test_reasoning_then_content() -> None:
    """First token of any kind at 150, the first that is not reasoning at 200."""
    record = stream(0, 100, [150, 170, 200, 210], kinds=[R, R, C, C])
    assert values("ttft", record) == [50]
    assert values("ttfo", record) == [100]
    assert values("ttst", record) == [20]


def test_reasoning_only_has_no_output_token() -> None:
    record = stream(0, 100, [150, 170], kinds=[R, R])
    assert values("ttfo", record) == []
    assert values("ttft", record) == [50]


def test_tool_calls_are_tokens() -> None:
    assert values("ttfo", stream(0, 100, [150, 170], kinds=[T, T])) == [50]


def test_hidden_reasoning_is_not_in_the_stream() -> None:
    """104 tokens, 100 of them reasoning that was not shown: tpot is over the 4 that came, ntpot over all."""
    hidden = stream(0, 100, [150, 170, 190, 210], osl=104, reasoning_tokens=100)
    shown = stream(1, 100, [150, 170, 190, 210], osl=104, reasoning_tokens=100, kinds=[R, C, C, C])
    assert osl_streamed(table_from([hidden, shown])).tolist() == [4, 104]
    assert values("tpot", hidden) == [20]  # 60 / 3
    assert values("tpot", shown) == pytest.approx([60 / 103])
    assert values("ntpot", hidden) == pytest.approx([110 / 104])
    assert values("osl", hidden) == [104]


def test_first_and_later_turns_of_conversations() -> None:
    """TTFT 50, 60, 70 for the turns of conversation 4; 80 for a request of none, which is in neither."""
    records = [stream(t, 100, [150 + 10 * t, 190], session=4, turn=t) for t in range(3)]
    records.append(stream(3, 100, [180, 190]))
    assert values("ttft_first_turn", *records) == [50]
    assert values("ttft_later_turns", *records) == [60, 70]
    assert values("ttft", *records) == [50, 60, 70, 80]
    failed = [stream(t, 100, [150], session=4, turn=t, outcome=Outcome.TRUNCATED) for t in range(2)]
    whole = [stream(t, 100, [150], session=4, turn=t, streamed=False) for t in range(2)]
    for key in ("ttft_first_turn", "ttft_later_turns"):
        assert values(key, *failed) == values(key, *whole) == []


def test_not_streamed() -> None:
    record = stream(0, 100, [180], end=185, osl=4, streamed=False)
    assert values("request_latency", record) == [85]  # to the end of the body
    assert values("request_latency_intended", record) == [85.25]
    assert values("ntpot", record) == [21.25]
    for key in ("ttft", "ttfo", "ttst", "tpot", "icl", "itl", "prefill_tps", "ttft_intended"):
        assert values(key, record) == []


def test_embeddings() -> None:
    record = Record(sent_ns=ns(5), end_ns=ns(25), isl_usage=64, osl_usage=0, embeddings=2, inputs=2, outcome=Outcome.OK)
    assert values("request_latency", record) == [20]
    assert values("isl", record) == [64]
    assert values("osl", record) == []
    assert values("ntpot", record) == []


def test_several_choices() -> None:
    """Gaps are taken in the order of arrival; per-token times are absent."""
    record = stream(0, 100, [150, 160, 180], choices=2, event_choice=[0, 0, 1, 0, 0])
    assert values("icl", record) == [10, 20]
    assert values("itl", record) == []
    assert values("tpot", record) == []
    assert values("ttft", record) == [50]


def test_itl_by_the_events_own_counts() -> None:
    """Gaps 30 and 40 with 3 and 2 tokens: 10 three times, 20 twice; the first event's 5 tokens are in no gap."""
    table = table_from([stream(0, 100, [150, 180, 220], tokens=[5, 3, 2], osl=10)])
    found = {row.key: row for row in METRICS}["itl"].of(table)
    assert found.values.tolist() == [10, 20]
    assert found.weights is not None
    assert found.weights.tolist() == [3, 2]
    assert percentiles(found.values, [50], found.weights)[0] == 10  # of 10 10 10 20 20
    assert tokens_per_event_source(table) == "events"


def test_itl_counts_an_event_without_tokens_as_one() -> None:
    """A content event brought text, so at least one token, whatever the stream claims."""
    assert values("itl", stream(0, 100, [150, 180], tokens=[1, 0])) == [30]


def test_itl_by_the_average() -> None:
    """9 tokens in 3 events: k = (9 - 1) / (3 - 1) = 4."""
    table = table_from([stream(0, 100, [150, 180, 220], osl=9)])
    found = {row.key: row for row in METRICS}["itl"].of(table)
    assert found.values.tolist() == [7.5, 10]
    assert found.weights is not None
    assert found.weights.tolist() == [4, 4]
    assert tokens_per_event_source(table) == "average"


def test_itl_average_is_at_least_one() -> None:
    assert values("itl", stream(0, 100, [150, 180, 220], osl=2)) == [30, 40]  # (2 - 1) / (3 - 1) is not a token


def test_itl_without_any_count_is_absent() -> None:
    record = stream(0, 100, [150, 180, 220], osl=-1)
    assert values("itl", record) == []
    assert values("icl", record) == [30, 40]
    assert values("tpot", record) == []
    assert tokens_per_event_source(table_from([record])) == "none"


def test_itl_sources_may_be_mixed() -> None:
    told = stream(0, 100, [150, 180], tokens=[1, 2])
    table = table_from([told, stream(1, 100, [150, 180], osl=5), stream(2, 100, [150, 180], tokens=[1, 1])])
    table.tokens_amended[2] = True
    assert tokens_per_event_source(table) == "events, tokenizer, average"


def test_events_that_share_a_stamp() -> None:
    """All in one read: tpot is 0 and stays; a speed without a finite value is absent."""
    record = stream(0, 100, [150, 150, 150])
    assert values("tpot", record) == [0]
    assert values("output_tps_per_user", record) == []
    assert values("icl", record) == [0, 0]


def test_lengths_by_usage_else_tokenizer() -> None:
    usage = stream(0, 1, [2], isl=100, osl=9, isl_tokenizer=90, osl_tokenizer=8)
    own = stream(1, 1, [2], isl=-1, osl=-1, isl_tokenizer=80, osl_tokenizer=7)
    neither = stream(2, 1, [2], isl=-1, osl=-1)
    assert values("isl", usage, own, neither) == [100, 80]
    assert values("osl", usage, own, neither) == [9, 7]
    assert values("prefill_tps", neither) == []

    def source(*records: Record) -> str:
        table = table_from(records)
        return length_source(table, table.osl_usage, table.osl_tokenizer)

    assert [source(usage), source(own), source(neither), source(neither, own, usage)] == [
        "usage",
        "tokenizer",
        "none",
        "usage, tokenizer",
    ]


def test_connection_time_is_not_client_lag() -> None:
    """Up at 98, TCP there at 103, TLS at 107, sent at 107.5: connect 9; lag 107.5 - 97 - 9 = 1.5."""
    record = stream(0, 107.5, [150], start_ns=ns(98), ready_ns=ns(97), tcp_end_ns=ns(103), tls_end_ns=ns(107))
    assert values("connect", record) == [9]
    assert values("client_lag", record) == [1.5]


def test_a_retrys_connection_is_later_than_the_send() -> None:
    """Sent at 100 on a dead connection; the second one stood at 104 and has no part in the way to the first send."""
    record = stream(0, 100, [150], tcp_end_ns=ns(104), attempts=2)
    assert values("connect", record) == []
    assert values("client_lag", record) == [0.25]


def test_wait_for_the_cap() -> None:
    record = stream(0, 100, [150], intended_ns=ns(40), ready_ns=ns(99))
    assert values("cap_wait", record) == [59]
    assert values("client_lag", record) == [1]
    assert values("ttft_intended", record) == [110]


def test_never_sent() -> None:
    record = Record(intended_ns=ns(5), ready_ns=ns(5), start_ns=ns(5), end_ns=ns(9), outcome=Outcome.CONNECT_ERROR)
    assert [values(row.key, record) for row in METRICS] == [[]] * len(METRICS)


def test_many_rows_at_once_equal_one_by_one() -> None:
    """Ragged columns: what a row gives does not depend on its neighbours."""
    generator = np.random.default_rng(3)
    records = []
    for i in range(60):
        times = np.sort(generator.uniform(110, 300, size=generator.integers(0, 6))).round(3).tolist()
        kinds = [EventKind(kind) for kind in generator.integers(2, 5, size=len(times))]
        outcome = Outcome.OK if generator.random() < 0.8 else Outcome.TRUNCATED
        tokens = generator.integers(-1, 4, size=len(times)).tolist()
        records.append(stream(i, 100, times, kinds=kinds, tokens=tokens, outcome=outcome, osl=2 * len(times)))
    table: RecordTable = table_from(records)
    for row in METRICS:
        single = [value for record in records for value in values(row.key, record)]
        assert row.of(table).values.tolist() == single, row.key
