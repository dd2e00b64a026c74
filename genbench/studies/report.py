"""`genbench report`: every number and file of a run rebuilt from its records and its header."""

from pathlib import Path

from genbench import registry
from genbench.errors import RecordError
from genbench.metrics import slo
from genbench.metrics.summary import Run, summarise
from genbench.records import open_table, read_header

FORMATS = ("json", "csv", "markdown")


def rebuild(folder: Path) -> Run:
    """Read a run's folder, write its other files anew. Raises RecordError when it is no run."""
    header = read_header(folder / "run.json")
    table = open_table(folder / "requests.jsonl", endpoint=str(header.get("endpoint_type", "chat")))
    promises = [slo.parse(text) for text in header.get("config", {}).get("slo", ())]
    run = Run(header=header, table=table, summary=summarise(table, header, promises), folder=folder)
    try:
        for name in FORMATS:
            registry.load("exporters", name).write(run, folder)
    except OSError as error:
        raise RecordError(f"{folder}: {(error.strerror or str(error)).lower()}; make it writable") from error
    return run
