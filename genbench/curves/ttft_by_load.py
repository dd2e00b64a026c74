"""How long the first token takes at each load: flat while there is room, then it is the queue that grows."""

from typing import Any

from genbench.curves import _percentiles
from genbench.curves._source import Curve
from genbench.plots._figure import Table
from genbench.plots._look import Look

TITLE = "Time to first token by load"
OF_LOAD = True


def data(curve: Curve) -> Table:
    """TTFT (ms) p50, p95 and p99 with their intervals at each load; the promises on it."""
    return _percentiles.data(curve, "ttft")


def chart(table: Table, look: Look) -> Any:
    """A line for each percentile, a dashed one for each promise; of several curves a panel for each percentile."""
    return _percentiles.chart(table, look, "ttft")
