"""What the server said of itself: requests run and held back, its KV cache; dashed: what the client had in flight."""

from typing import Any

from genbench.metrics.summary import Run
from genbench.plots import _telemetry
from genbench.plots._figure import Table
from genbench.plots._look import Look

TITLE = "The server over the run: running, waiting, KV cache"
TITLES = {
    "running": "running (requests)",
    "waiting": "waiting (requests)",
    "kv_cache_pct": "KV cache (%)",
    "slots_used_pct": "slots used (%)",
}


def data(run: Run) -> Table:
    """Running and waiting requests (all servers), mean KV cache use (%) and requests in flight, by time (s)."""
    nobody = "the server's own metrics were not there: see --server-metrics"
    return _telemetry.columns(run, tuple(TITLES), nobody, "dashed: the client's requests in flight")


def chart(table: Table, look: Look) -> Any:
    """A panel for each over one time axis."""
    return _telemetry.chart(table, look, TITLES, beside="running")
