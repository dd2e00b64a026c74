"""p50, p95 and p99 of one latency over the load, with the promises on it: what several figures have in common."""

import math
from typing import Any

from genbench.curves import _lines
from genbench.curves._source import Curve, having, hollow_said, label, promises
from genbench.metrics.levels import AveragedLevel
from genbench.plots import _parts as parts
from genbench.plots._figure import Mark, Table
from genbench.plots._look import Look
from genbench.stats import PERCENTILES

STATISTICS = ("p50", "p95", "p99")
SHORT = {"ttft": "TTFT", "itl": "ITL", "tpot": "TPOT", "icl": "gaps"}  # panels have no room for more


def data(curve: Curve, metric: str) -> Table:
    """Percentiles (ms) of a metric and their intervals at each load."""
    levels = having(curve, f"{metric}.p50")
    keys = {stat: f"{metric}.{stat}" for stat in STATISTICS}
    said = (_few_said(levels, metric), hollow_said(levels))
    return _lines.long(curve, levels, keys, f"{metric}_ms", *said, marks=promises(curve, metric))


def _few_said(levels: list[AveragedLevel], metric: str) -> str:
    """Percentiles that have too few requests behind them somewhere."""
    few = [
        stat
        for stat in STATISTICS
        if any((level["figures"].get(f"{metric}.{stat}") or {}).get("few") for level in levels)
    ]
    return f"too few requests for {' and '.join(few)} at some loads" if few else ""


def chart(table: Table, look: Look, metric: str) -> Any:
    """A line for each percentile; of several curves a panel for each."""
    title = f"{SHORT[metric] if parts.names(table) else label(metric)} (ms)"
    y = _lines.axis(table, f"{metric}_ms", title, beside=[mark.low for mark in table.marks if mark.kind == "promise"])
    return _lines.lines(table, look, y, belongs=_on)


def _on(mark: Mark, stat: str) -> bool:
    """Whether a promise is on this percentile, or on none, as one on the mean."""
    return math.isnan(mark.share_pct) or mark.share_pct == PERCENTILES[stat]
