"""What a sweep writes: `sweep.json` (everything), `sweep.csv` (tidy), `sweep.md` (the table); and how it is made again.

The points' own folders are what everything is made from; `sweep.json` says which there are, and is replaced as a whole.
"""

import csv
import io
import os
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from genbench.errors import RecordError
from genbench.exporters.json import as_dict
from genbench.metrics import curve
from genbench.metrics.summary import Run
from genbench.stats import STATISTICS
from genbench.studies import table
from genbench.studies.point import Point, saturated
from genbench.studies.report import rebuild as rebuild_run

NAME = "sweep.json"
SCHEMA = 1
KIND = "sweep"
WIDTH = 100
FROM_SUMMARY = ("metrics", "run", "outcomes", "slo")


def entry_of(point: Point, folder: Path) -> dict[str, Any]:
    """A point as `sweep.json` has it; `folder` is the sweep's."""
    about = {"by": point.by, "value": point.value, "group": point.group, "repeat": point.repeat}
    about |= {"folder": point.folder.relative_to(folder).as_posix(), "seconds": round(point.seconds, 3)}
    return about | _figures(point.run)


def _figures(run: Run) -> dict[str, Any]:
    found = as_dict(run.summary)
    return {
        "verdict": run.summary.verdict,
        "saturated": saturated(run),
        **{name: found[name] for name in FROM_SUMMARY},
    }


def analysed(document: Mapping[str, Any]) -> dict[str, Any]:
    """The analysis of the points so far; a sentence on what went wrong where it cannot be made."""
    try:
        return curve.analyse([curve.level_of(entry) for entry in document["points"]], document["gpus"])
    except Exception as error:  # an odd point must not cost the sweep
        return {"sentences": [f"the analysis failed ({type(error).__name__}: {error})"]}


def write(folder: Path, document: dict[str, Any], order: Sequence[str] = ("",)) -> None:
    """Sort the points by group, load and repeat, analyse them, write the three files. Raises RecordError."""
    document["points"].sort(key=lambda one: (order.index(one["group"]), one["value"], one["repeat"]))
    document["analysis"] = analysed(document)
    files = {
        NAME: orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE),
        "sweep.csv": tidy(document).encode(),
        "sweep.md": markdown(document).encode("ascii", "replace"),
    }
    for name, content in files.items():
        fresh = folder / f"{name}.tmp"
        try:
            fresh.write_bytes(content)
            os.replace(fresh, folder / name)
        except OSError as error:
            raise RecordError(
                f"cannot write {folder / name} ({error.strerror}); free space and use --resume"
            ) from error


def read(folder: Path) -> dict[str, Any]:
    """`sweep.json`. Raises RecordError where there is none, or none that can be read."""
    file = folder / NAME
    try:
        found = orjson.loads(file.read_bytes())
    except OSError as error:
        raise RecordError(f"{folder} is no sweep: cannot read {NAME} ({(error.strerror or '').lower()})") from error
    except orjson.JSONDecodeError as error:
        raise RecordError(f"{file} is not JSON ({error}); restore it or sweep again") from error
    if not isinstance(found, dict) or found.get("kind") != KIND or not isinstance(found.get("schema"), int):
        raise RecordError(f"{file} is no sweep of genbench; give a sweep's folder")
    if found["schema"] > SCHEMA:
        raise RecordError(f"{file} has schema {found['schema']}, this genbench reads up to {SCHEMA}; upgrade genbench")
    return found


def rebuild(folder: Path) -> dict[str, Any]:
    """Every point read from its records anew, and the sweep's files from them. Raises RecordError."""
    document = read(folder)
    for entry in document["points"]:
        entry |= _figures(rebuild_run(folder / entry["folder"]))
    write(folder, document, list(dict.fromkeys(entry["group"] for entry in document["points"])))
    return document


def tidy(document: Mapping[str, Any]) -> str:
    """One row for each number: by, value, group, repeat, metric, unit, stat, value."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("by", "load", "group", "repeat", "metric", "unit", "stat", "value"))
    for entry in document["points"]:
        place = (entry["by"], f"{entry['value']:.12g}", entry["group"], entry["repeat"])
        writer.writerows((*place, *row) for row in _numbers(entry))
    return out.getvalue()


def _numbers(entry: Mapping[str, Any]) -> Iterator[tuple[str, str, str, Any]]:
    for key, found in entry["metrics"].items():
        for stat in ("count", *STATISTICS):
            if stat in found:
                yield key, found["unit"], stat, found[stat]
    for key, figure in entry["run"].items():
        yield key, figure["unit"], "value", figure["value"]
    for outcome, count in entry["outcomes"].items():
        yield f"outcome_{outcome}", "requests", "count", count


def markdown(document: Mapping[str, Any]) -> str:
    """Title, table, what was left out and what the curve says; fenced, so that columns stay columns."""
    lines = [title(document), "", *table.table(document["by"], document["points"])]
    said = [*document["left_out"], *document["analysis"].get("sentences", ())]
    text = "\n".join(line.rstrip() for line in lines)
    listed = [textwrap.fill(f"- {sentence}", WIDTH, subsequent_indent="  ") for sentence in said]
    return f"```text\n{text}\n```\n" + "".join(f"\n{item}" for item in listed) + ("\n" if said else "")


def title(document: Mapping[str, Any]) -> str:
    """What was swept over, against what."""
    words = ["genbench sweep", str(document["model"]), str(document["endpoint_type"])]
    words += [f"over {table.LOADS[document['by']]}", "SIMULATED" if document["simulated"] else ""]
    words += ["INTERRUPTED" if document["interrupted"] else ""]
    return "  ".join(word for word in words if word)
