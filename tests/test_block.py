from dataclasses import replace
from typing import Any

import pytest

from genbench.block import Block, block, number, plain
from genbench.metrics import slo
from genbench.metrics.summary import Run, summarise
from genbench.records import table_from
from genbench.types import EventKind, Outcome, Record
from tests.exporters import golden
from tests.metrics.made import stream


def run_of(*records: Record, rules: tuple[str, ...] = (), **header: Any) -> Run:
    table = table_from(records)
    return Run(header, table, summarise(table, header, [slo.parse(rule) for rule in rules]))


def labels(shown: Block) -> list[str]:
    return [row[0] for row in shown.metrics]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0.0, "0"),
        (12345.6, "12,346"),
        (999.94, "999.9"),
        (123.456, "123.5"),
        (12.3456, "12.35"),
        (1.23456, "1.235"),
        (0.0123456, "0.012"),
        (0.000123456, "0.00012"),
        (-12.3456, "-12.35"),
    ],
)
def test_number(value: float | None, text: str) -> None:
    assert number(value) == text


def test_whole_counts_stay_whole() -> None:
    assert number(550.0, "token") == "550"
    assert number(550.5, "token") == "550.5"
    assert number(16.0, "requests") == "16"
    assert number(16.0, "ms") == "16.00"


@pytest.mark.parametrize(
    ("width", "columns"),
    [
        (140, ("avg", "min", "max", "p99", "p95", "p90", "p75", "p50", "count", "p50 95 %", "p99 95 %")),
        (125, ("avg", "min", "max", "p99", "p95", "p90", "p50", "count", "p50 95 %", "p99 95 %")),
        (100, ("avg", "min", "max", "p99", "p95", "p90", "p75", "p50", "count")),
        (85, ("avg", "min", "max", "p99", "p95", "p50", "count")),
        (62, ("avg", "p99", "p50", "count")),
    ],
)
def test_columns_by_width(width: int, columns: tuple[str, ...]) -> None:
    shown = block(golden.run(), width)
    assert shown.columns == columns
    assert {len(row) for row in shown.metrics} == {len(shown.columns) + 1}


@pytest.mark.parametrize("width", [60, 72, 80, 100, 120, 160])
def test_no_line_is_wider(width: int) -> None:
    assert max(len(line) for line in plain(block(golden.run(), width), width).splitlines()) <= width


def test_title() -> None:
    assert block(golden.run(), 100).title == "genbench  tiny-llama  chat  20 req/s  at most 4 at a time  SIMULATED"
    closed = run_of(stream(0, 1, [2]), config={"load": {"concurrency": 8}}, endpoint_type="chat", interrupted=True)
    assert block(closed, 100).title == "genbench  chat  concurrency 8  INTERRUPTED"
    burst = run_of(stream(0, 1, [2]), config={"load": {"request_rate": float("inf")}})
    assert block(burst, 100).title == "genbench  all at once"


def test_asked_and_delivered() -> None:
    late = [stream(i, 20.0 * i, [20.0 * i + 10], intended_ns=i * 1_000_000) for i in range(5)]
    notes = block(run_of(*late, config={"load": {"request_rate": 1000.0}}), 100).notes
    assert notes[0] == "asked 1,000.0 req/s, delivered 250.0"
    on_time = [stream(i, 20.0 * i + 0.25, [20.0 * i + 10]) for i in range(5)]
    assert block(run_of(*on_time, config={"load": {"request_rate": 50.0}}), 100).notes == ()


def test_few_samples_are_marked_and_explained() -> None:
    shown = block(golden.run(), 100)
    ttft = shown.metrics[0]
    assert ttft[1 + shown.columns.index("p99")].endswith("*")
    assert not ttft[1 + shown.columns.index("p90")].endswith("*")  # 48 are enough
    assert shown.legend.startswith("* too few samples")


def test_many_samples_have_no_mark() -> None:
    shown = block(run_of(*(stream(i, 100 * i, [100 * i + 40 + i % 9]) for i in range(460))), 100)
    assert "*" not in "".join("".join(row) for row in shown.metrics)
    assert shown.legend == ""


def test_rows_that_repeat_another_are_left_out() -> None:
    shown = labels(block(run_of(stream(0, 100, [150, 170, 190])), 100))
    assert "Time to first token (ms)" in shown
    for absent in ("TTFO (ms)", "Inter-chunk latency (ms)", "TTFT from intended (ms)", "Upload (ms)"):
        assert absent not in shown


def test_rows_that_say_something_else_stay() -> None:
    thinks = stream(0, 100, [150, 250, 270], kinds=[EventKind.REASONING, EventKind.CONTENT, EventKind.CONTENT], osl=30)
    shown = labels(block(run_of(thinks), 100))
    assert "TTFO (ms)" in shown
    assert "Inter-chunk latency (ms)" in shown  # ten tokens and more per chunk


def test_slow_uploads_are_shown() -> None:
    assert "Upload (ms)" in labels(block(run_of(stream(0, 100, [150], sent_end_ns=103_000_000)), 100))


def test_steady_figures_only_where_they_differ() -> None:
    """Two users for 30 rounds of 100 ms; the last answer takes 1 s more, which the steady window leaves out."""
    records: list[Record] = []
    for k in range(30):
        for lane in range(2):
            sent = 50.0 * lane + 100 * k
            end = sent + (1100 if k == 29 else 100)
            records.append(stream(len(records), sent, [sent + 40, end]))
    config = {"load": {"concurrency": 2}}
    assert any("Steady" in row[0] for row in block(run_of(*records, config=config), 100).run)
    whole = [record for record in records if record.index < 58]
    assert not any("Steady" in row[0] for row in block(run_of(*whole, config=config), 100).run)


def test_slo_lines() -> None:
    run = run_of(stream(0, 100, [150]), rules=("ttft.p50<60ms", "tpot.p50<5ms"))
    assert block(run, 100).slos == (
        (True, "ttft.p50<60ms: 50.00 ms, kept by 100 % of the requests"),
        (False, "tpot.p50<5ms: no such value, kept by 100 % of the requests"),
    )
    text = plain(block(run, 100), 100)
    assert "PASS  ttft.p50<60ms" in text
    assert "FAIL  tpot.p50<5ms" in text


def test_long_messages_are_cut_and_stay_on_their_line() -> None:
    run = run_of(stream(0, 100, [150], outcome=Outcome.STREAM_ERROR, error="line one\nline two " + "x" * 300))
    (line,) = (line for line in plain(block(run, 80), 80).splitlines() if line.startswith("stream_error"))
    assert "line one line two" in line
    assert line.endswith("...")


def test_a_run_without_any_answer() -> None:
    failed = Record(start_ns=5, end_ns=9, outcome=Outcome.CONNECT_ERROR, error="refused")
    text = plain(block(run_of(failed), 80), 80)
    assert "connect_error  1  refused" in text
    assert "1 request, no warm-up" in text


def test_plain_is_ascii() -> None:
    shown = replace(block(golden.run(), 100), title="Größe", notes=("naïve",))
    assert plain(shown, 100).isascii()


def test_a_long_run_of_failures_only() -> None:
    """Steady figures of zero beside run figures of zero are the same figure, not a division by it."""
    records = []
    for k in range(40):
        record = stream(k, 10.0 * k, [10.0 * k + 5], outcome=Outcome.NO_OUTPUT)
        records.append(record)
    config = {"load": {"concurrency": 1}}
    shown = block(run_of(*records, config=config), 100)
    assert "no_output" in plain(shown, 100)
