"""A run's telemetry read from its folder, held against the client's own window."""

from pathlib import Path

import numpy as np

from genbench.metrics.definitions import osl
from genbench.records import RecordTable
from genbench.telemetry import log
from genbench.telemetry.beside import NAME
from genbench.telemetry.figures import Client, Server, figures
from genbench.types import Summary


def of_run(folder: Path, table: RecordTable, summary: Summary) -> Server | None:
    """What servers and GPUs said during the measured phase; None where nobody was asked, or nothing was sent.

    Where no figures can be made of it, that is a note: the run is measured, and its rows are kept.
    """
    told = log.read(folder)
    sent = table.measured & (table.sent_ns >= 0)
    if not told or not sent.any():
        return None
    length = osl(table)
    answered = table.measured & table.ok & (length > 0)
    ttft = summary.metrics.get("ttft")
    client = Client(
        start_ns=int(table.sent_ns[sent].min()),
        end_ns=int(np.maximum(table.end_ns[sent], table.sent_ns[sent]).max()),
        ttft_ms=dict(ttft.stats) if ttft is not None else {},
        output_tokens=float(length[answered].sum()),
    )
    try:
        return figures(told, client)
    except Exception as error:  # of rows that nobody thought of
        said = f"no figures of the server's side: {NAME} has rows that do not fit ({type(error).__name__}: {error})"
        return Server(told, client, {}, {}, {}, (said,))
