"""The folder of an A/B: which blocks there are, `ab.json`, and the runs of its complete rounds."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import orjson

from genbench.errors import RecordError
from genbench.metrics import slo
from genbench.metrics.summary import Run, summarise
from genbench.metrics.verdict import INVALID
from genbench.records import RecordTable, merge
from genbench.studies.point import finished
from genbench.studies.report import read as read_run

NAME, SCHEMA, KIND, FOLDER = "ab.json", 1, "ab", "blocks"
SIDES = ("a", "b")
LEAST_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Rounds:
    """The rounds that are compared: a[i] and b[i] are the blocks of round numbers[i]; a sentence on those left out."""

    numbers: list[int]
    a: list[Run]
    b: list[Run]
    left_out: str = ""


def order(rounds: int) -> Iterator[tuple[int, str]]:
    """(round from 1, side) of each block: A B, B A, A B, ..."""
    for k in range(1, rounds + 1):
        yield from ((k, side) for side in (SIDES if k % 2 else reversed(SIDES)))


def label(k: int, side: str) -> str:
    """The folder of a block: 01-a."""
    return f"{k:02d}-{side}"


def is_measured(folder: Path, k: int, side: str) -> bool:
    """Whether a block came to its end."""
    return (folder / FOLDER / label(k, side)).exists() and finished(folder / FOLDER / label(k, side)) is not None


def missing(folder: Path, rounds: int) -> bool:
    """Whether a block is still to be measured."""
    return not all(is_measured(folder, k, side) for k, side in order(rounds))


def write(folder: Path, document: Mapping[str, Any]) -> None:
    """Replace `ab.json`. Raises RecordError."""
    fresh = folder / f"{NAME}.tmp"
    try:
        fresh.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
        os.replace(fresh, folder / NAME)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise RecordError(f"cannot write {folder / NAME} ({why}); free space and use --resume") from error


def pairs(document: Mapping[str, Any]) -> dict[int, tuple[str, str]]:
    """The folders of A's block and B's block of each complete round, in order."""
    found = {(one["round"], one["side"]): str(one["folder"]) for one in document["blocks"]}
    rounds = sorted({k for k, _ in found})
    return {k: (found[k, "a"], found[k, "b"]) for k in rounds if (k, "a") in found and (k, "b") in found}


def describe(folder: Path) -> dict[str, Any]:
    """`ab.json`. Raises RecordError where there is none, or none that can be read."""
    file = folder / NAME
    try:
        found = orjson.loads(file.read_bytes())
    except OSError as error:
        why = (error.strerror or "").lower()
        raise RecordError(f"{folder} is no A/B: cannot read {NAME} ({why}); give a folder of run-ab") from error
    except orjson.JSONDecodeError as error:
        raise RecordError(f"{file} is not JSON ({error}); restore it or run it again") from error
    if not isinstance(found, dict) or found.get("kind") != KIND or not isinstance(found.get("schema"), int):
        raise RecordError(f"{file} is not what run-ab writes; give a folder of run-ab")
    if found["schema"] > SCHEMA:
        raise RecordError(f"{file} has schema {found['schema']}, this genbench reads up to {SCHEMA}; upgrade genbench")
    return found


def read(folder: Path, *, force: bool = False) -> Rounds:
    """The complete rounds of a folder; one with an INVALID block is left out unless `force`d. Raises RecordError."""
    found = pairs(describe(folder))
    if len(found) < LEAST_ROUNDS:
        raise RecordError(
            f"{folder} has {len(found)} complete round{'' if len(found) == 1 else 's'}, a comparison takes at least "
            f"{LEAST_ROUNDS}; go on with genbench run-ab --resume {folder}"
        )
    rounds = Rounds([], [], [])
    bad: list[int] = []
    why = ""
    for k, places in found.items():
        one, other = (read_run(folder / place) for place in places)
        invalid = [run for run in (one, other) if run.summary.verdict == INVALID]
        if invalid and not force:
            bad.append(k)
            why = why or next((finding.text for finding in invalid[0].summary.findings), "")
            continue
        rounds.numbers.append(k)
        rounds.a.append(one)
        rounds.b.append(other)
    if not bad:
        return rounds
    said = f"{len(bad)} of {len(found)} rounds have an INVALID block ({why})"
    if len(rounds.numbers) < LEAST_ROUNDS:
        raise RecordError(f"{folder}: {said}; run it again, or compare it anyway with --force")
    return replace(rounds, left_out=f"left out: {said}; --force compares them as well")


def is_one(path: Path) -> bool:
    """Whether a path is the folder of an A/B, or its `ab.json`."""
    return path.name == NAME if path.is_file() else (path / NAME).is_file()


def names(document: Mapping[str, Any]) -> tuple[str, str]:
    """What the sides are called: by their servers, else by their models, else A and B."""
    servers = [document["servers"][side] for side in SIDES]
    places = [urlsplit(one["url"]).netloc or one["url"] for one in servers]
    for a, b in (places, [str(one["model"]) for one in servers]):
        if a and b and a != b:
            return a, b
    return "A", "B"


def pooled(runs: Sequence[Run]) -> Run:
    """The measured requests of all rounds of a side as one run, its blocks one after the other without the pauses.

    For figures: what a comparison says comes from the rounds.
    """
    parts: list[RecordTable] = []
    requests, now_ns = 0, 0
    for run in runs:
        table = run.table.take(np.flatnonzero(run.table.measured & (run.table.sent_ns >= 0)))
        if not len(table):
            continue
        shift_ns = now_ns - int(table.sent_ns.min())
        moved: dict[str, Any] = {
            field.name: np.where(getattr(table, field.name) >= 0, getattr(table, field.name) + shift_ns, -1)
            for field in fields(table)
            if field.name.endswith("_ns")
        }
        parts.append(replace(table, index=np.arange(requests, requests + len(table)), **moved))
        requests, now_ns = requests + len(table), int(parts[-1].end_ns.max())
    whole = merge(parts)
    promises = [slo.parse(text) for text in runs[0].header.get("config", {}).get("slo", ())]
    return Run(runs[0].header, whole, summarise(whole, runs[0].header, promises))
