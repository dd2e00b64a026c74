"""How fast text comes at each load: with every sequence more in its batch the server takes longer for each token."""

from typing import Any

from genbench.curves import _percentiles
from genbench.curves._source import Curve, usable
from genbench.plots._figure import Nothing, Table
from genbench.plots._look import Look

TITLE = "Time between tokens by load"
OF_LOAD = True
METRICS = ("itl", "tpot", "icl")


def data(curve: Curve) -> Table:
    """ITL (ms) p50, p95 and p99 with their intervals at each load; where it is not known TPOT, or else the gaps."""
    usable(curve)
    metric = curve.found["between"]
    if not metric:
        raise Nothing("no load has a time between tokens: no answer was streamed in two events or more")
    return _percentiles.data(curve, metric)


def chart(table: Table, look: Look) -> Any:
    """A line for each percentile, a dashed one for each promise; of several curves a panel for each percentile."""
    return _percentiles.chart(table, look, next(name for name in METRICS if f"{name}_ms" in table.columns))
