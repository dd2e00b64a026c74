"""How many tokens came within a time of the one before: one step is a steady server, a second one stalls."""

from typing import Any

from genbench.metrics.summary import Run
from genbench.plots import _cumulative
from genbench.plots._figure import Table
from genbench.plots._look import Look

TITLE = "Inter-token latency: cumulative distribution"


def data(run: Run) -> Table:
    """Quantiles of the time between tokens (ms), pooled over ok, streamed requests, with 95 % intervals."""
    return _cumulative.table(run, "itl")


def chart(table: Table, look: Look) -> Any:
    """One line for each run."""
    return _cumulative.chart(table, look, "itl", "tokens")
