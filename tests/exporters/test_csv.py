from pathlib import Path

from genbench.exporters import csv
from genbench.metrics.definitions import METRICS
from genbench.metrics.summary import Run, summarise
from genbench.records import table_from
from genbench.types import Outcome, Phase
from tests.metrics.made import stream


def test_request_columns() -> None:
    """Sent at 100, due a quarter of a millisecond before: that is the zero. A failed one has times but no latency."""
    columns = csv.request_columns(
        table_from([stream(0, 100, [150, 170]), stream(1, 101, [150], outcome=Outcome.TRUNCATED, error="cut")])
    )
    assert {len(column) for column in columns.values()} == {2}
    assert columns["intended_ns"] == ["0", "1000000"]
    assert columns["sent_ns"] == ["250000", "1250000"]
    assert columns["tcp_end_ns"] == ["", ""]
    assert columns["ttft_ms"] == ["50.0", ""]
    assert columns["client_lag_ms"] == ["0.25", "0.25"]
    assert columns["outcome"] == ["ok", "truncated"]
    assert columns["error"] == ["", "cut"]
    assert columns["osl"] == ["2", "1"]


def test_one_column_per_metric_of_a_request() -> None:
    columns = csv.request_columns(table_from([]))
    for row in METRICS:
        assert (row.key in columns or f"{row.key}_ms" in columns) is not row.pooled


def test_warmup_has_a_row_without_metrics() -> None:
    columns = csv.request_columns(table_from([stream(0, 100, [150], phase=Phase.WARMUP)]))
    assert columns["phase"] == ["warmup"]
    assert columns["ttft_ms"] == [""]


def test_no_clock_point_before_the_first_intended_is_lost() -> None:
    """A connection begun before the first request was due is negative, not missing."""
    columns = csv.request_columns(table_from([stream(0, 100, [150], start_ns=99_000_000)]))
    assert columns["start_ns"] == ["-750000"]


def test_an_empty_run(tmp_path: Path) -> None:
    table = table_from([])
    csv.write(Run({}, table, summarise(table, {})), tmp_path)
    assert (tmp_path / "summary.csv").read_text() == "metric,unit,stat,value\noutcome_ok,requests,count,0\n"
    assert len((tmp_path / "requests.csv").read_text().splitlines()) == 1
