"""How many requests are in the server's hands at each load, and how many of them only wait."""

from typing import Any

import numpy as np

from genbench.curves import _lines
from genbench.curves._source import Curve, having, hollow_said, left_out_said, loads
from genbench.metrics.levels import REQUESTS, AveragedLevel, value_of
from genbench.plots._figure import Table
from genbench.plots._look import Look
from genbench.plots._source import joined

TITLE = "Requests in flight by load"
OF_LOAD = True
MEASURED, WAITING = "in flight", "waiting"
SOURCES = {
    "server": "waiting: request throughput x the server's own queue time",
    "first token": "waiting: request throughput x what the first token takes longer than at the lowest load",
    "latency": "waiting: request throughput x what an answer takes longer than at the lowest load",
}


def data(curve: Curve) -> Table:
    """Mean requests in flight as measured, and those that wait, at each load; how far Little's law is from it."""
    levels = having(curve, "in_flight")
    flying = [value_of(level, "in_flight") for level in levels]
    found = {MEASURED: flying, WAITING: list(map(_waiting, levels))}
    some = {line: values for line, values in found.items() if any(value is not None for value in values)}
    columns = {head: np.tile(one, len(some)) for head, one in loads(curve, levels).items()}
    columns["line"] = np.repeat(list(some), len(levels))
    columns["requests"] = np.array(
        [np.nan if value is None else value for values in some.values() for value in values], dtype=np.float64
    )
    sources = dict.fromkeys(level["wait"]["source"] for level in levels if level["wait"])
    said = [SOURCES[source] for source in sources]
    said += [_little_said(levels)]
    return Table(columns, joined(*said, hollow_said(levels), left_out_said(curve, levels)))


def _waiting(level: AveragedLevel) -> float | None:
    """Mean number waiting, by Little's law for the queue."""
    throughput = value_of(level, REQUESTS)
    return None if level["wait"] is None or throughput is None else throughput * level["wait"]["ms"] / 1000


def _little_said(levels: list[AveragedLevel]) -> str:
    pairs = [(level["little"], value_of(level, "in_flight")) for level in levels]
    away = [abs(little / flying - 1) for little, flying in pairs if little and flying]
    return f"in flight is within {100 * max(away):.1f} % of Little's law" if away else ""


def chart(table: Table, look: Look) -> Any:
    """A line for each of the two; of several curves a panel for each."""
    return _lines.lines(table, look, _lines.axis(table, "requests", "mean number (requests)"))
