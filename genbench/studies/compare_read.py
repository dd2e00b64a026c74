"""What `genbench compare` is given, read: runs, folders of repeats, sweeps, capacities, baselines, other tools' files.

Rules
- One argument is one side; those of one NAME are repeats, one side. A folder is told by what is in it: sweep.json,
  capacity.json, run.json, or folders of runs: those are repeats, and have to be of one load. A file of a run's folder
  (summary.json, report.html) means the folder.
- Any other file is a baseline or another tool's result, which is imported into a place that is gone afterwards.
- Nothing is written.
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from genbench import loads
from genbench.errors import ConfigError, DatasetError, RecordError
from genbench.metrics import fairness
from genbench.metrics.subject import Subject, from_dict, renamed, subject
from genbench.metrics.summary import Run, summarise
from genbench.records import HEADER_NAME, read_header, table_from
from genbench.studies import capacity_files, importing, run_ab_files, sweep_files

BASELINE, COMPARED = "baseline", "compare.json"
RUN, REPEATS, ROUNDS, SWEEP, CAPACITY = "run", "repeats", "rounds", "sweep", "capacity"
OF_A_RUN = {
    "run.json", "requests.jsonl", "summary.json", "summary.csv", "summary.md", "requests.csv", "report.html",
    "imported.json", "sweep.json", "sweep.csv", "sweep.md", "capacity.json",
}  # fmt: skip
FIGURES_ONLY = "figures only"
FOREIGN, MOST_BYTES, MOST_NAMED = (".json", ".jsonl", ".csv"), 50_000_000, 2
LOOKED_FOR = "run.json (a run), sweep.json, capacity.json, folders of runs (repeats)"


class Place(NamedTuple):
    """A load: `by` is concurrency or request_rate, "" where it is neither; `group` a sweep's pair of lengths."""

    by: str
    value: float
    group: str = ""


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a comparison: `levels` has the runs at each load, one load unless it is a sweep.

    `series` are runs to draw, `document` is a sweep's or a capacity search's own; `left_out` says which of its points
    are not compared, and why.
    """

    name: str
    kind: str
    sources: tuple[str, ...]
    levels: Mapping[Place, tuple[Subject, ...]] = field(default_factory=dict)
    series: tuple[tuple[str, Run], ...] = ()
    document: Mapping[str, Any] = field(default_factory=dict)
    left_out: Mapping[Place, str] = field(default_factory=dict)

    @property
    def subjects(self) -> tuple[Subject, ...]:
        """All its runs."""
        return tuple(one for level in self.levels.values() for one in level)


def sides(given: Sequence[str], *, grouped: bool = False, base: bool = False, force: bool = False) -> list[Side]:
    """The sides in the order given, `NAME=PATH` or a path each, with names of their own.

    Those of one NAME are the repeats of one side. `grouped`: so are those of a folder that have no NAME. The first path
    is a side of its own where it is the `base`.
    Raises ConfigError, RecordError or DatasetError, in one sentence, for what cannot be compared.
    """
    named = [_named(text) for text in given]
    if len(named) == 1 and run_ab_files.is_one(named[0][1]):
        return rounds(named[0][1], force=force)
    _twice([path for _, path in named])
    groups: dict[object, list[tuple[str, Path]]] = {}
    for k, (name, path) in enumerate(named):
        own = base and k == 0
        key: object = k if own else name or (_folder(path).resolve().parent if grouped else k)
        groups.setdefault(key, []).append((name, path))
    if len(groups) == 1 and len(named) > 1:
        (key,) = groups
        raise ConfigError(
            f"all runs have the name {key}, which makes them one side; give those of the other side another name"
            if isinstance(key, str)
            else f"--repeats makes one side of each folder, and all runs are in {_shown(Path(str(key)))}; add others,"
            " or give the runs of a side one name: old=RUN old=RUN new=RUN new=RUN"
        )
    return _own_names([_side(key, group, force=force) for key, group in groups.items()])


def _side(key: object, group: Sequence[tuple[str, Path]], *, force: bool) -> Side:
    """The side of the paths that `sides` found to belong together: by a folder, by a name, or one alone."""
    folders = [_folder(path) for _, path in group]
    if isinstance(key, Path):
        return _repeats(key.name or "runs", folders)
    if len(group) > 1:
        return _repeats(str(key), folders)
    ((name, path),) = group
    return read(path, name, force=force)


def _named(text: str) -> tuple[str, Path]:
    name, equals, rest = text.partition("=")
    if equals and name and "/" not in name and not Path(text).exists():
        return name, Path(rest)
    return "", Path(text)


def _folder(path: Path) -> Path:
    return path.parent if path.name in OF_A_RUN else path


def _twice(paths: Sequence[Path]) -> None:
    whole = [_folder(path).resolve() for path in paths]
    for path, real in zip(paths, whole, strict=True):
        if whole.count(real) > 1:
            raise ConfigError(f"{path} is given twice; name each run once")
        if real.parent in whole:
            raise ConfigError(
                f"{path} is one of the runs in {path.parent}, which is given as well; leave one of them out"
            )


def _own_names(found: Sequence[Side]) -> list[Side]:
    """A name that two sides share is told apart by the folder above, or by a number."""
    taken: dict[str, int] = {}
    result = []
    for side in found:
        name = side.name
        if sum(other.name == side.name for other in found) > 1:
            above = Path(side.sources[0]).resolve().parent.name
            name = f"{above}/{side.name}" if above else side.name
        taken[name] = taken.get(name, 0) + 1
        name = name if taken[name] == 1 else f"{name} ({taken[name]})"
        levels = {
            place: tuple(renamed(one, name) if len(level) == 1 else one for one in level)
            for place, level in side.levels.items()
        }
        result.append(replace(side, name=name, levels=levels))
    return result


def read(path: Path, name: str = "", *, force: bool = False) -> Side:
    """One side. Raises ConfigError, RecordError or DatasetError."""
    whole = (path.parent / HEADER_NAME).is_file() or path.name in (sweep_files.NAME, capacity_files.NAME)
    if path.is_file() and path.name in OF_A_RUN and whole:
        path = path.parent
    if not path.exists():
        raise RecordError(f"{path}: there is no such file or folder; give {LOOKED_FOR} or a result file")
    shown = name or _shown(path)
    if path.is_file():
        return _file(path, shown)
    if run_ab_files.is_one(path):
        raise ConfigError(f"{path} is an A/B, which has both sides; compare it by itself: genbench compare {path}")
    if (path / COMPARED).is_file():
        raise ConfigError(f"{path} is what a comparison found; give the runs that it compared")
    if (path / sweep_files.NAME).is_file():
        return _sweep(path, shown, force=force)
    if (path / capacity_files.NAME).is_file():
        return _search(path, shown)
    if (path / HEADER_NAME).is_file():
        run, one = _run(path, shown)
        return Side(shown, RUN, (str(path),), {place(one): (one,)}, ((shown, run),) if run else ())
    inside = sorted(child for child in path.iterdir() if (child / HEADER_NAME).is_file())
    if not inside:
        files = _foreign(path)
        if files:
            raise RecordError(f"{path} is a folder of another tool; give the file: {' or '.join(map(str, files))}")
        raise RecordError(f"{path} is nothing that can be compared; looked for {LOOKED_FOR}")
    return replace(_repeats(shown, inside), sources=(str(path),))


def rounds(path: Path, *, force: bool = False) -> list[Side]:
    """The two sides of a run-ab: run i of both is the same round. Raises RecordError."""
    folder = path.parent if path.is_file() else path
    names, read = run_ab_files.names(run_ab_files.describe(folder)), run_ab_files.read(folder, force=force)
    found = []
    for letter, name, runs in zip("AB", names, (read.a, read.b), strict=True):
        said = [f"round {k} of {letter}" for k in read.numbers]
        subjects = tuple(subject(run, one) for run, one in zip(runs, said, strict=True))
        series = ((name, run_ab_files.pooled(runs)),)
        about = {"rounds_left_out": read.left_out}
        found.append(Side(name, ROUNDS, (str(folder),), {place(subjects[0]): subjects}, series, about))
    return found


def place(one: Subject) -> Place:
    """The load of a run."""
    load = one.facts["load"]
    rate, cap = load.get("request_rate"), load.get("concurrency")
    if loads.scheduled(load) and loads.even(load) and isinstance(rate, int | float):
        return Place("request_rate", float(rate))
    if rate is None and isinstance(cap, int) and loads.even(load):
        return Place("concurrency", float(cap))
    return Place("", 0.0)


def _shown(path: Path) -> str:
    return " ".join(path.resolve().name.encode("utf-8", "replace").decode().split()) or "run"


def _run(folder: Path, name: str) -> tuple[Run | None, Subject]:
    """A run's folder; without a run where it is imported and has figures only."""
    if (folder / importing.FIGURES).is_file():
        header = read_header(folder)
        return None, _of_figures(header, orjson.loads((folder / importing.FIGURES).read_bytes()), name)
    run = importing.read(folder)
    return run, subject(run, name)


def _of_figures(header: Mapping[str, Any], found: Mapping[str, Any], name: str) -> Subject:
    """A result without requests: what it says is shown, and nothing of it can be tested."""
    empty = table_from(())
    known = fairness.facts(Run(header, empty, summarise(empty, header)))
    said = f"{FIGURES_ONLY}: its file has no requests, so nothing can be tested"
    known |= {"verdict": "not judged", "findings": [said], "requests": 0}
    stats: dict[str, dict[str, float]] = {}
    for key, values in (*found["metrics"].items(), *found["run"].items()):
        stats[key] = {stat: float(value) for stat, value in values.items() if isinstance(value, int | float)}
    for key in ("isl", "osl"):
        if {"p50", "mean"} <= stats.get(key, {}).keys():
            known[key] = {"median": stats[key]["p50"], "mean": stats[key]["mean"]}
    return Subject(name, known, {}, {}, {"ok": 0, "failed": 0}, stats, FIGURES_ONLY, "")


# -- several runs -----------------------------------------------------------------------------------------------------


def _repeats(name: str, folders: Sequence[Path]) -> Side:
    """Runs of one load, each a repeat of the others. Raises ConfigError where they are not."""
    found = [_run(folder, f"{name}/{folder.resolve().name}") for folder in folders]
    subjects = tuple(one for _, one in found)
    words = list(dict.fromkeys(loads.sentence(one.facts["load"]) for one in subjects))
    if len(words) > 1:
        raise ConfigError(
            f"{name} holds runs of different loads ({'; '.join(words[:4])}), which are no repeats; name the runs"
        )
    kind = REPEATS if len(subjects) > 1 else RUN
    series = tuple((one.name, run) for run, one in found if run is not None)
    return Side(name, kind, tuple(map(str, folders)), {place(subjects[0]): subjects}, series)


def _sweep(folder: Path, name: str, *, force: bool) -> Side:
    """The runs of a sweep by load; those that say nothing about a load are left out."""
    document = sweep_files.read(folder)
    levels: dict[Place, tuple[Subject, ...]] = {}
    left_out: dict[Place, str] = {}
    for entry in document["points"]:
        at = Place(str(entry["by"]), float(entry["value"]), str(entry["group"]))
        if entry["saturated"]:
            left_out[at] = "saturated"
        elif entry["verdict"] == "INVALID" and not force:
            left_out[at] = "INVALID"
        else:
            run = importing.read(folder / entry["folder"])
            levels[at] = (*levels.get(at, ()), subject(run, f"{name} #{len(levels.get(at, ())) + 1}"))
    for at in left_out:
        levels.pop(at, None)
    if len(document["points"]) > 1 and len(levels) == 1 and not left_out:
        return Side(name, REPEATS, (str(folder),), levels, document=document)
    levels = {at: tuple(renamed(one, name) for one in level) if len(level) == 1 else level
              for at, level in levels.items()}  # fmt: skip
    return Side(name, SWEEP, (str(folder),), levels, document=document, left_out=left_out)


def _search(folder: Path, name: str) -> Side:
    """A capacity search; its run of one request at a time stands for what both sides should share."""
    document = capacity_files.read(folder)
    alone = document.get("alone")
    if not alone or not (folder / alone["folder"] / HEADER_NAME).is_file():
        return Side(name, CAPACITY, (str(folder),), document=document)
    one = subject(importing.read(folder / alone["folder"]), name)
    return Side(name, CAPACITY, (str(folder),), {place(one): (one,)}, document=document)


# -- files ------------------------------------------------------------------------------------------------------------


def _file(path: Path, name: str) -> Side:
    document = _baseline(path)
    if document is not None:
        try:
            subjects = tuple(from_dict(one) for one in document["runs"])
        except RecordError as error:
            raise RecordError(f"{path}: {error}") from error
        shown = str(document.get("name") or name)
        levels = {place(subjects[0]): tuple(renamed(one, f"{shown} #{k}") for k, one in enumerate(subjects, 1))}
        return Side(shown, BASELINE, (str(path),), levels)
    with tempfile.TemporaryDirectory(prefix="genbench-compare-") as elsewhere:
        brought = importing.bring_in(path, artifact_dir=Path(elsewhere))
        whole = [one for one in brought if one.run is not None] or brought  # requests say more than figures
        found = [(one.run, _run(one.folder, name)[1]) for one in whole]
    levels = {}
    for _, one in found:
        levels[place(one)] = (*levels.get(place(one), ()), one)
    if len(levels) > 1 and any(not at.by for at in levels):
        raise DatasetError(
            f"{path} has {len(found)} results of different loads; import one with --line N, compare that"
        )
    kind = RUN if len(found) == 1 else REPEATS if len(levels) == 1 else SWEEP
    series = tuple((f"{name} #{k}" if len(found) > 1 else name, run) for k, (run, _) in enumerate(found, 1) if run)
    return Side(name, kind, (str(path),), levels, series)


def _foreign(folder: Path) -> list[Path]:
    """The first files of a folder that an importer knows; large ones are not opened for that."""
    found = []
    for child in sorted(folder.iterdir()):
        if child.suffix in FOREIGN and child.is_file() and child.stat().st_size <= MOST_BYTES:
            try:
                known = importing.is_known(child)
            except DatasetError:  # broken, or no result: what else is in the folder
                continue
            found += [child] if known else []
    return found[:MOST_NAMED]


def _baseline(path: Path) -> dict[str, Any] | None:
    """A baseline's document; None for a file that is none. Raises RecordError for one that cannot be read."""
    try:
        document = orjson.loads(path.read_bytes())
    except OSError as error:
        raise RecordError(
            f"cannot read {path} ({(error.strerror or '').lower()}); give a file that is there"
        ) from error
    except orjson.JSONDecodeError:
        return None
    if not isinstance(document, dict):
        return None
    if document.get("kind") == "compare":
        raise ConfigError(f"{path} is what a comparison found; give the runs that it compared")
    if document.get("kind") != BASELINE:
        return None
    schema = document.get("schema")
    if isinstance(schema, int) and schema > SCHEMA:
        raise RecordError(f"{path} has schema {schema}, this genbench reads up to {SCHEMA}; upgrade genbench")
    if not isinstance(document.get("runs"), list) or not document["runs"]:
        raise RecordError(f"{path} is no whole baseline: it has no runs; write it again with --save-baseline")
    return document


SCHEMA = 1  # of a baseline file
