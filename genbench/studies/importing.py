"""`genbench import`: another tool's result file becomes the folder of a run, as far as the file goes.

A file with requests gives run.json and requests.jsonl, so that everything made for a run works on it; a file with
figures only gives run.json and imported.json. Nothing of the file is copied: its SHA-256 says which it was.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import orjson

from genbench import __version__, config, registry
from genbench.errors import ConfigError, DatasetError, RecordError
from genbench.importers._common import Imported, Source, open_source
from genbench.metrics.summary import Run
from genbench.records import RECORDS_NAME, as_row, read_header, write_header
from genbench.studies import report

FIGURES = "imported.json"
PACKAGE = "importers"


@dataclass(frozen=True, slots=True)
class Brought:
    """One result and the folder that was made of it; `run` where it has requests."""

    result: Imported
    folder: Path
    run: Run | None


def bring_in(path: Path, *, name: str | None = None, artifact_dir: Path, nth: int | None = None) -> list[Brought]:
    """Read another tool's result file and write a folder for each result in it, or for the `nth` (from 1).

    Raises DatasetError for a file that is unknown, of a version unknown here, broken or cut, ConfigError where `name`
    or `nth` does not fit it, RecordError where nothing can be written.
    """
    source = open_source(path)
    results = list(_results(source))
    if nth is not None:
        if not 1 <= nth <= len(results):
            raise ConfigError(f"--line {nth}: {path} has {len(results)} result{'' if len(results) == 1 else 's'}")
        numbered = [(nth, results[nth - 1])]
    else:
        numbered = list(enumerate(results, 1))
    if name is not None and len(numbered) > 1:
        raise ConfigError(f"--name {name} is for one result, {path} has {len(numbered)}; choose one with --line")
    if name is not None and Path(name).name != name:
        raise ConfigError(f"--name {name} is a path; give a plain name, and the folder with --artifact-dir")
    return [_write(source, k, result, name, artifact_dir) for k, result in numbered]


def is_known(path: Path) -> bool:
    """Whether a file is a result that can be imported, by its first document. Raises DatasetError for one cut short."""
    source = open_source(path)
    document = source.documents[0][1] if source.documents else source.text
    return any(registry.load(PACKAGE, name).recognise(document) for name in registry.names(PACKAGE))


def _results(source: Source) -> Iterator[Imported]:
    """The results of all documents in a file, in its order."""
    modules = [registry.load(PACKAGE, name) for name in registry.names(PACKAGE)]
    for line, document in source.documents or ((1, source.text),):
        module = next((one for one in modules if one.recognise(document)), None)
        if module is None:
            raise _unknown(source, line, modules)
        yield from module.read(source, line, document)


def _unknown(source: Source, line: int, modules: Sequence[ModuleType]) -> DatasetError:
    where = f"{source.path} line {line}" if len(source.documents) > 1 else str(source.path)
    return DatasetError(f"{where} is no result known here; looked for {'; '.join(one.LOOKED_FOR for one in modules)}")


def _write(source: Source, nth: int, result: Imported, name: str | None, artifact_dir: Path) -> Brought:
    folder = _folder(source, result, name, artifact_dir)
    write_header(folder, _header(source, nth, result))
    try:
        if not result.records:
            figures = {"dialect": result.tool, "metrics": result.metrics, "run": result.run}
            (folder / FIGURES).write_bytes(
                orjson.dumps(figures, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
            )
            return Brought(result, folder, None)
        with (folder / RECORDS_NAME).open("wb") as file:
            for record in result.records:
                file.write(orjson.dumps(as_row(record), option=orjson.OPT_APPEND_NEWLINE))
    except OSError as error:
        raise RecordError(f"cannot write {folder} ({error.strerror}); choose another --artifact-dir") from error
    return Brought(result, folder, rebuild(folder))


def _folder(source: Source, result: Imported, name: str | None, artifact_dir: Path) -> Path:
    """<tool>-<model>-imported-<UTC of the run>; without one in the file, of the file."""
    made = result.made
    if not made:
        moment = result.zero_unix_ns / 1e9 if result.zero_unix_ns > 0 else source.path.stat().st_mtime
        made = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(moment))
    model = "".join(c if c.isalnum() or c in "-._" else "-" for c in result.model).strip("-.")
    base = name or "-".join(word for word in (result.tool, model, "imported", made) if word)
    for k in range(1, 1000):
        folder = artifact_dir / (base if k == 1 else f"{base}-{k}")
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            if name is not None:
                raise ConfigError(f"--name {name}: {folder} is there already; choose another name") from None
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            raise ConfigError(f"--artifact-dir {artifact_dir}: {why}; choose another folder") from error
    raise RecordError(f"{base} and its numbered neighbours are all there; choose another --artifact-dir")


def _header(source: Source, nth: int, result: Imported) -> dict[str, Any]:
    """run.json: what the file says of the run, and which file it was; the rest is not there."""
    target: dict[str, Any] = {"model": result.model, "endpoint_type": result.endpoint_type}
    target["url"] = [config.public_url(result.url)] if result.url else None
    imported = {
        "tool": result.tool,
        "version": result.version or None,
        "file": source.path.name,
        "format": result.format,
        "sha256": source.sha256,
        "result": nth,
        "absent": list(result.absent),
    }
    sections = {"target": _there(target), "workload": _unsalted(result), "load": dict(result.load)}
    return {
        "genbench": __version__,
        "imported": imported,
        "config": {name: section for name, section in sections.items() if section} | _there({"seed": result.seed}),
        **_there({"model": result.model, "endpoint_type": result.endpoint_type, "seed": result.seed}),
        "simulated": False,
        "interrupted": False,
        "clock": _there({"unit": "ns", "zero_unix_ns": result.zero_unix_ns if result.zero_unix_ns >= 0 else None}),
        "notes": [f"imported from {source.path.name} of {result.tool} {result.version}".rstrip(), *result.notes],
    }


def _unsalted(result: Imported) -> dict[str, Any]:
    """Its workload; no other tool salts its prompts, so hits in a prefix cache are no finding."""
    return {**result.workload, "salt": "none"} if result.records else dict(result.workload)


def _there(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value not in (None, "")}


# -- reading it again -------------------------------------------------------------------------------------------------


def read(folder: Path) -> Run:
    """A run, imported or not, without the metrics that its file did not tell. Raises RecordError."""
    _has_records(folder)
    return _told(report.read(folder))


def rebuild(folder: Path, out: Path | None = None) -> Run:
    """As `studies.report.rebuild`, without the metrics that the run's file did not tell. Raises RecordError."""
    _has_records(folder)
    run = report.rebuild(folder, out)
    told = _told(run)
    if told is not run:
        for name in report.FORMATS:
            registry.load("exporters", name).write(told, out or folder)
    return told


def _has_records(folder: Path) -> None:
    if (folder / FIGURES).is_file() and not (folder / RECORDS_NAME).is_file():
        about = read_header(folder).get("imported")
        file = about.get("file") if isinstance(about, Mapping) else None
        raise RecordError(
            f"{folder} has no records: {file or 'the file'} holds figures only, they are in {FIGURES} there; import a"
            " file with requests for a report"
        )


def _told(run: Run) -> Run:
    about = run.header.get("imported")
    absent = (about.get("absent") if isinstance(about, Mapping) else None) or ()
    if not absent:
        return run
    metrics = {key: one for key, one in run.summary.metrics.items() if key not in absent}
    sources = {**run.summary.sources, "tokens_per_event": "none"}
    return replace(run, summary=replace(run.summary, metrics=metrics, sources=sources))
