"""Where the request latencies lie: the box holds the middle half, the whiskers reach from p1 to p99."""

from typing import Any

from genbench.metrics.summary import Run
from genbench.plots import _box
from genbench.plots._figure import Table
from genbench.plots._look import Look

TITLE = "Request latency"


def data(run: Run) -> Table:
    """Percentiles and mean of the request latency (ms) of ok requests, and the values beyond p1 and p99."""
    return _box.table(run, "request_latency")


def chart(table: Table, look: Look) -> Any:
    """One box for each run."""
    return _box.chart(table, look, "request_latency")
