"""What the GPUs did: power and memory of all, mean utilisation; before the load: see the table of numbers."""

from dataclasses import replace
from typing import Any

from genbench.metrics.summary import Run
from genbench.plots import _telemetry
from genbench.plots._figure import Table
from genbench.plots._look import Look

TITLE = "GPUs over the run: power, utilisation, memory"
TITLES = {
    "gpu_power": "power (W)",
    "gpu_sm_active_pct": "SMs active (%)",
    "gpu_util_pct": "utilisation (%)",
    "gpu_memory_gib": "memory (GiB)",
}
KEYS = ("gpu_power", "gpu_sm_active_pct", "gpu_util_pct", "gpu_memory_used")
GIB = 2.0**30


def data(run: Run) -> Table:
    """Power (W) and memory (GiB) of all GPUs together, their mean utilisation (%), by time (s)."""
    found = _telemetry.columns(run, KEYS, "no GPU told anything: see --gpu-telemetry")
    columns = dict(found.columns)
    if "gpu_memory_used" in columns:
        columns["gpu_memory_gib"] = columns.pop("gpu_memory_used") / GIB
    return replace(found, columns=columns)


def chart(table: Table, look: Look) -> Any:
    """A panel for each over one time axis."""
    return _telemetry.chart(table, look, TITLES)
