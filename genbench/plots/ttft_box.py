"""Where the times to first token lie: the box holds the middle half, the whiskers reach from p1 to p99."""

from typing import Any

from genbench.metrics.summary import Run
from genbench.plots import _box
from genbench.plots._figure import Table
from genbench.plots._look import Look

TITLE = "Time to first token"


def data(run: Run) -> Table:
    """Percentiles and mean of TTFT (ms) of ok, streamed requests, and the values beyond p1 and p99."""
    return _box.table(run, "ttft")


def chart(table: Table, look: Look) -> Any:
    """One box for each run."""
    return _box.chart(table, look, "ttft")
