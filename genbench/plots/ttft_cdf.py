"""How many requests had their first token within a time: further left is faster, a long flat end is a slow tail."""

from typing import Any

from genbench.metrics.summary import Run
from genbench.plots import _cumulative
from genbench.plots._figure import Table
from genbench.plots._look import Look

TITLE = "Time to first token: cumulative distribution"


def data(run: Run) -> Table:
    """Quantiles of TTFT (ms) of ok, streamed requests, with 95 % intervals."""
    return _cumulative.table(run, "ttft")


def chart(table: Table, look: Look) -> Any:
    """One line for each run."""
    return _cumulative.chart(table, look, "ttft", "requests")
