"""`genbench report`: every number, figure and file of a run rebuilt from its records; several runs together."""

import errno
import itertools
from collections.abc import Sequence
from pathlib import Path

from genbench import registry
from genbench.errors import ConfigError, RecordError
from genbench.exporters.markdown import text
from genbench.metrics import slo
from genbench.metrics.summary import Run, summarise
from genbench.plots import _draw
from genbench.records import open_table, read_header
from genbench.report import page as html
from genbench.studies import telemetry

FORMATS = ("json", "csv", "markdown", "server_metrics")
Series = Sequence[tuple[str, Run]]


def rebuild(folder: Path, out: Path | None = None) -> Run:
    """Read a run's folder, write its other files anew (into `out` where it is given), figures left out.

    Raises RecordError when it is no run, or nothing can be written there.
    """
    run, to = read(folder), out or folder
    try:
        to.mkdir(parents=True, exist_ok=True)
        for name in FORMATS:
            registry.load("exporters", name).write(run, to)
    except OSError as error:
        raise _unwritable(to, error) from error
    return run


def read(folder: Path) -> Run:
    """A run from its records and its header; nothing is written. Raises RecordError when it is no run."""
    header = read_header(folder)
    table = open_table(folder / "requests.jsonl", endpoint=str(header.get("endpoint_type", "chat")))
    promises = [slo.parse(text) for text in header.get("config", {}).get("slo", ())]
    summary = summarise(table, header, promises)
    return Run(header, table, summary, folder, telemetry.of_run(folder, table, summary))


def markdown(series: Series, out: Path) -> None:
    """Write summary.md, the blocks of all runs. Raises RecordError."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / "summary.md").write_text("\n".join(text(run) for _, run in series), encoding="ascii")
    except OSError as error:
        raise _unwritable(out, error) from error


def named(folders: Sequence[Path]) -> list[tuple[str, Path]]:
    """Each folder by a name of its own that can be shown and written. Raises ConfigError for one given twice."""
    whole = [folder.resolve() for folder in folders]
    if len(set(whole)) < len(whole):
        twice = next(folder for folder in folders if whole.count(folder.resolve()) > 1)
        raise ConfigError(f"{twice} is given twice; name each run once")
    found: dict[str, Path] = {}
    for path, folder in zip(whole, folders, strict=True):
        name = " ".join(path.name.encode("utf-8", "replace").decode().split()) or "run"
        others = (f"{name} ({k})" for k in itertools.count(2))
        found[name if name not in found else next(other for other in others if other not in found)] = folder
    return list(found.items())


def picture(series: Series, out: Path, kinds: Sequence[str] = ("png",), *, page: bool = True) -> str:
    """Draw the figures of a run, or of several together, into `out`/plots, and report.html.

    What goes wrong in a figure is its own: returns a sentence about it, and where pictures cannot be drawn here; the
    numbers of each figure are written all the same. Raises RecordError where the folder takes no file.
    """
    said = [_draw.missing()]
    try:
        out.mkdir(parents=True, exist_ok=True)
        found = _draw.tables(series, _draw.names())
        if kinds:
            _draw.draw(found, out / _draw.FOLDER, kinds)
        if page:
            html.write(series, out, found)
    except OSError as error:
        raise _unwritable(out, error) from error
    except Exception as error:  # the page's own fault, on a log nobody thought of: the figures are there
        said.append(f"{html.NAME} failed ({type(error).__name__}: {error})")
    failed = [f"{name}: {why}" for name, why in found.items() if isinstance(why, _draw.Failed)]
    said += [f"not drawn: {'; '.join(failed)}"] if failed else []
    return "; ".join(text for text in said if text)


def _unwritable(folder: Path, error: OSError) -> RecordError:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    fix = "free space" if full else "give another folder with --out, or make it writable"
    return RecordError(f"{folder}: {(error.strerror or str(error)).lower()}; {fix}")
