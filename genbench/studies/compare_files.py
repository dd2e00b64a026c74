"""What a comparison writes: compare.json, compare.md, figures and a page; and a baseline."""

import itertools
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from genbench import __version__, contrasts
from genbench.curves import _draw as curves_draw
from genbench.errors import ConfigError, RecordError
from genbench.metrics.subject import as_dict
from genbench.metrics.summary import Run
from genbench.metrics.verdict import INVALID
from genbench.plots import _draw as plots_draw
from genbench.studies import compare_markdown
from genbench.studies.compare import NAME
from genbench.studies.compare_read import BASELINE, CAPACITY, FIGURES_ONLY, SCHEMA, SWEEP, Side
from genbench.studies.report import _unwritable

MOST_SERIES = 6


def as_json(document: Mapping[str, Any]) -> bytes:
    """The content of compare.json, indented, with a final newline."""
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE | orjson.OPT_SERIALIZE_NUMPY)


def folder() -> Path:
    """A folder of its own for a comparison, named by the time; it is not made yet."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    base = Path("artifacts") / f"compare-{stamp}"
    numbered = (base.with_name(f"{base.name}-{k}") for k in itertools.count(2))
    return base if not base.exists() else next(path for path in numbered if not path.exists())


def write(out: Path, document: Mapping[str, Any], sides: Sequence[Side], *, plots: bool = True) -> str:
    """Write compare.json and compare.md into a folder, and unless told otherwise the figures and report.html.

    Returns a sentence on what could not be drawn. Raises RecordError where the folder takes no file.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / NAME).write_bytes(as_json(document))
        (out / "compare.md").write_text(compare_markdown.markdown(document), encoding="utf-8")
        return _drawn(out, document, sides) if plots else ""
    except OSError as error:
        raise _unwritable(out, error) from error


def _drawn(out: Path, document: Mapping[str, Any], sides: Sequence[Side]) -> str:
    """The ratios, the figures of the runs or the sweeps laid over each other, and the page. What goes wrong is said."""
    from genbench.report import compare_page

    said = [plots_draw.missing()]
    series = _series(sides)
    sweeps = [(side.name, side.document) for side in sides if "points" in side.document]
    short = contrasts.short([name for name, _ in (*series, *sweeps)])
    try:
        found = dict(contrasts.draw(document, out))
        if series:
            of_runs = plots_draw.tables([(short[name], run) for name, run in series], plots_draw.names())
            plots_draw.draw(of_runs, out / plots_draw.FOLDER)
            found |= of_runs
        if sweeps:
            of_sweeps = curves_draw.tables([(short[name], sweep) for name, sweep in sweeps])
            curves_draw.write(of_sweeps, out / plots_draw.FOLDER)
            found |= of_sweeps
        compare_page.write(out, document, series, sweeps, found)
    except OSError:
        raise
    except Exception as error:  # a figure must not cost the comparison
        return f"the figures failed ({type(error).__name__}: {error})"
    said += [f"not drawn: {name}: {why}" for name, why in found.items() if isinstance(why, plots_draw.Failed)]
    return "; ".join(text for text in said if text)


def _series(sides: Sequence[Side]) -> list[tuple[str, Run]]:
    """The runs to draw: all of them, or where these are too many to tell apart, one of each side."""
    if sum(len(side.series) for side in sides) <= MOST_SERIES:
        return [one for side in sides for one in side.series]
    return [(side.name, side.series[0][1]) for side in sides if side.series][:MOST_SERIES]


def save_baseline(side: Side, file: Path, *, force: bool = False) -> int:
    """Write a side as a baseline; returns its size in bytes. Raises ConfigError or RecordError.

    The file is replaced as a whole: a job that dies does not leave half of one.
    """
    if side.kind in (SWEEP, CAPACITY):
        raise ConfigError(f"{side.name} is a {side.kind}; a baseline is one load: name a run or its repeats")
    for one in side.subjects:
        if one.verdict == FIGURES_ONLY:
            raise ConfigError(f"{side.name} has figures only, no requests; nothing could be tested against it")
        if one.verdict == INVALID and not force:
            raise RecordError(f"{one.name} is INVALID, which is no baseline; run it again, or save it with --force")
    document = {
        "schema": SCHEMA,
        "kind": BASELINE,
        "genbench": __version__,
        "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "name": side.name,
        "runs": [as_dict(one) for one in side.subjects],
    }
    fresh = file.with_name(f"{file.name}.tmp")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        content = orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)
        fresh.write_bytes(content)
        os.replace(fresh, file)
    except OSError as error:
        raise RecordError(
            f"cannot write {file} ({(error.strerror or str(error)).lower()}); name another file"
        ) from error
    return len(content)
