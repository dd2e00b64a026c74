"""`genbench report`: every number, figure and file of a run rebuilt from its records; several runs together."""

from collections.abc import Sequence
from pathlib import Path

from genbench import registry
from genbench.errors import ConfigError, RecordError
from genbench.metrics import slo
from genbench.metrics.summary import Run, summarise
from genbench.plots import _draw
from genbench.records import open_table, read_header
from genbench.report import page as html

FORMATS = ("json", "csv", "markdown")
IMAGES = ("png", "svg")
Series = Sequence[tuple[str, Run]]


def rebuild(folder: Path) -> Run:
    """Read a run's folder, write its other files anew, figures left out. Raises RecordError when it is no run."""
    run = read(folder)
    try:
        for name in FORMATS:
            registry.load("exporters", name).write(run, folder)
    except OSError as error:
        raise _unwritable(folder, error) from error
    return run


def read(folder: Path) -> Run:
    """A run from its records and its header; nothing is written. Raises RecordError when it is no run."""
    header = read_header(folder / "run.json")
    table = open_table(folder / "requests.jsonl", endpoint=str(header.get("endpoint_type", "chat")))
    promises = [slo.parse(text) for text in header.get("config", {}).get("slo", ())]
    return Run(header=header, table=table, summary=summarise(table, header, promises), folder=folder)


def named(folders: Sequence[Path]) -> list[tuple[str, Path]]:
    """Each folder by its own name; by its whole path where two have one. Raises ConfigError for one given twice."""
    whole = [folder.resolve() for folder in folders]
    if len(set(whole)) < len(whole):
        twice = next(folder for folder in folders if whole.count(folder.resolve()) > 1)
        raise ConfigError(f"{twice} is given twice; name each run once")
    names = [folder.name for folder in whole]
    return [
        (name if names.count(name) == 1 else str(folder), folder) for name, folder in zip(names, folders, strict=True)
    ]


def picture(series: Series, out: Path, kinds: Sequence[str] = ("png",), *, page: bool = True) -> str:
    """Draw the figures of a run, or of several together, into `out`/plots, and report.html.

    Returns a sentence where pictures cannot be drawn here; the numbers of each figure are written all the same. Raises
    RecordError where the folder takes no file.
    """
    try:
        if page:
            out.mkdir(parents=True, exist_ok=True)
            (out / html.NAME).write_bytes(html.page(series).encode("utf-8", "replace"))
        if kinds:
            _draw.draw(_draw.tables(series, _draw.names()), out / _draw.FOLDER, kinds)
    except OSError as error:
        raise _unwritable(out, error) from error
    return _draw.missing()


def _unwritable(folder: Path, error: OSError) -> RecordError:
    return RecordError(f"{folder}: {(error.strerror or str(error)).lower()}; make it writable")
