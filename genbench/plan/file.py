"""A plan as a file: what every request is, byte for byte, and when it is due, so that two engines get the same work.

JSON lines. The first is the header: `genbench_plan` (the format's version), the options the plan was made from, model,
seed, salt, hashes and schedule. Every other line is one request in the order of the plan: `index`, `phase` (0 warm-up,
1 measured), `offset_ns` (open loop: from the run's start), `max_tokens`, `isl`, `isl_tokenizer`, `session`, `turn`,
`think_ns`, `sha256` of the body, and `body` itself. A body is written and read by the same library, which gives the
same bytes back; hashes show what was changed since: `sha256` of each body, and of the header and all lines together.

The turns of a conversation follow each other; the plan of a file never needs the server's own answers.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from genbench.errors import DatasetError
from genbench.plan.requests import BuiltRequests
from genbench.types import MISSING, OPEN_ENDED, Phase, Plan, Request, Sample, Schedule

VERSION = 1
AHEAD = 10_000
FIELDS = ("index", "phase", "max_tokens", "isl", "isl_tokenizer", "session", "turn", "think_ns", "sha256", "body")


def write(plan: Plan, path: Path, about: dict[str, Any]) -> dict[str, Any]:
    """Write a plan with a known number of requests; returns its header. `about` is what the header says besides.

    Raises DatasetError for an open-ended plan and for turns that wait for the server's own answers.
    """
    if len(plan.requests) == OPEN_ENDED:
        raise DatasetError("a plan in a file has an end; give --request-count")
    requests = plan.requests
    assert isinstance(requests, BuiltRequests)
    schedule = plan.schedule
    units = turns = 0
    digest = hashlib.sha256()
    with tempfile.TemporaryFile(dir=path.parent) as file:
        for unit in range(len(requests)):
            first: Request | None = requests[unit]
            units += 1
            offset = MISSING if schedule.offset_ns is None else int(schedule.offset_ns[unit])
            while first is not None:
                if first.needs_answer:
                    raise DatasetError(
                        "later turns repeat the server's own answers, which a file cannot hold; give --history dataset"
                    )
                turns += 1
                line = _line(first, offset)
                digest.update(line)
                file.write(line)
                first = None if first.then is None else first.then("")
        head = about | {
            "genbench_plan": VERSION,
            "requests": turns,
            "units": units,
            "seed": plan.seed,
            "salt": plan.salt,
            "dataset_sha256": plan.dataset_sha256,
            "bodies_sha256": requests.sha256(),
            "schedule": {
                "open_loop": schedule.offset_ns is not None,
                "offsets_sha256": offsets_sha256(schedule),
                "concurrency": schedule.concurrency,
                "duration_ns": schedule.duration_ns,
                "warmup": schedule.warmup,
                "ramp_up_ns": schedule.ramp_up_ns,
                "even": schedule.even,
            },
            "notes": list(plan.notes()),
        }
        head["sha256"] = _seal(head, digest.digest())
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:  # --extra may hold a secret
            out.write(orjson.dumps(head) + b"\n")
            file.seek(0)
            while block := file.read(1 << 20):
                out.write(block)
    return head


def _seal(head: dict[str, Any], lines: bytes) -> str:
    """Hash over a header (its own `sha256` left out) and the digest of all lines."""
    rest = orjson.dumps({name: value for name, value in head.items() if name != "sha256"})
    return hashlib.sha256(rest + lines).hexdigest()


def offsets_sha256(schedule: Schedule) -> str | None:
    """Hash over the send offsets; None for a closed loop."""
    if schedule.offset_ns is None:
        return None
    return hashlib.sha256(np.ascontiguousarray(schedule.offset_ns, dtype="<i8").tobytes()).hexdigest()


def _line(request: Request, offset_ns: int) -> bytes:
    sample = request.sample
    row: dict[str, Any] = {"index": request.index, "phase": int(request.phase)}
    if offset_ns != MISSING and not sample.turn:
        row["offset_ns"] = offset_ns
    row |= {
        "max_tokens": request.max_tokens,
        "isl": sample.isl,
        "isl_tokenizer": request.isl_tokenizer,
        "session": sample.session,
        "turn": sample.turn,
        "think_ns": sample.think_ns,
        "inputs": len(sample.texts),
        "choices": request.choices,
        "sha256": hashlib.sha256(request.body).hexdigest(),
        "body": orjson.Fragment(request.body),
    }
    return orjson.dumps(row) + b"\n"


def read_head(path: Path) -> dict[str, Any]:
    """The header of a plan file. Raises DatasetError for anything else."""
    try:
        with path.open("rb") as file:
            head = orjson.loads(file.readline())
    except OSError as error:
        raise DatasetError(f"--plan {path}: {(error.strerror or str(error)).lower()}; check the path") from error
    except orjson.JSONDecodeError:
        head = None
    version = head.get("genbench_plan") if isinstance(head, dict) else None
    if not isinstance(version, int):
        raise DatasetError(f"--plan {path} is no plan; make one with genbench plan --out FILE")
    if version > VERSION:
        raise DatasetError(f"--plan {path} has format {version}, this genbench reads up to {VERSION}; update genbench")
    assert isinstance(head, dict)
    digest = hashlib.sha256()
    with path.open("rb") as file:
        file.readline()
        while block := file.read(1 << 20):
            digest.update(block)
    if head.get("sha256") != _seal(head, digest.digest()):
        raise DatasetError(f"--plan {path} is not as it was written, or cut off; make it again")
    return head


def read(path: Path, grace_ns: int, model: str) -> Plan:
    """The plan in a file; its lines are read again when they are sent, its schedule now.

    `model` is the name to ask for: another than the plan's takes its place in every body.

    Raises DatasetError naming the line for one that cannot be read or was changed since it was written.
    """
    head = read_head(path)
    asked = head["schedule"]
    offsets: list[int] = []
    count = turns = 0
    for number, row in _rows(path):
        turns += 1
        if row["turn"]:
            continue
        count += 1
        if asked["open_loop"]:
            offset = row.get("offset_ns")
            if not isinstance(offset, int) or (offsets and offset < offsets[-1]):
                raise DatasetError(
                    f"--plan {path} line {number}: offset_ns is missing or goes backwards; make it again"
                )
            offsets.append(offset)
    if turns != head["requests"]:
        raise DatasetError(f"--plan {path} has {turns} of {head['requests']} requests; it is cut off: make it again")
    rename = model if model != head["model"] else ""
    requests = BuiltRequests(_maker(_rows(path), rename), count, AHEAD, turns)
    requests.refill(0, 1 << 62)
    schedule = Schedule(
        offset_ns=np.array(offsets, dtype=np.int64) if asked["open_loop"] else None,
        concurrency=asked["concurrency"],
        duration_ns=asked["duration_ns"],
        warmup=asked["warmup"],
        grace_ns=grace_ns,
        ramp_up_ns=asked["ramp_up_ns"],
        even=asked["even"],
    )
    said = [str(note) for note in head["notes"]]
    if rename:
        said.append(f"the plan asks for {head['model']}: {rename} takes its place, so bodies_sha256 is another")
    return Plan(requests, schedule, head["seed"], head["salt"], head["dataset_sha256"], lambda: tuple(said))


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, row) of every request."""
    with path.open("rb") as file:
        file.readline()
        for number, line in enumerate(file, 2):
            try:
                row = orjson.loads(line)
            except orjson.JSONDecodeError as error:
                raise DatasetError(f"--plan {path} line {number} is not JSON ({error}); make it again") from error
            missing = [name for name in FIELDS if not isinstance(row, dict) or name not in row]
            if missing:
                raise DatasetError(f"--plan {path} line {number} has no {missing[0]}; make it again")
            row["body"] = orjson.dumps(row["body"])
            if hashlib.sha256(row["body"]).hexdigest() != row["sha256"]:
                raise DatasetError(
                    f"--plan {path} line {number}: the body is not the one that was written; make it again"
                )
            yield number, row


def _maker(rows: Iterator[tuple[int, dict[str, Any]]], rename: str) -> Callable[[int], Request]:
    """Makes the requests of one conversation after the other from their lines."""
    ahead: list[dict[str, Any]] = []

    def make(unit: int) -> Request:
        turns = [ahead.pop() if ahead else next(rows)[1]]
        for _, row in rows:
            if not row["turn"]:
                ahead.append(row)
                break
            turns.append(row)
        request: Request | None = None
        for row in reversed(turns):
            if rename:
                row["body"] = orjson.dumps(orjson.loads(row["body"]) | {"model": rename})
            request = _request(row, request)
        assert request is not None
        return request

    return make


def _request(row: dict[str, Any], following: Request | None) -> Request:
    sample = Sample(
        isl=row["isl"],
        session=row["session"],
        turn=row["turn"],
        think_ns=row["think_ns"],
        texts=("",) * row.get("inputs", 0),
    )
    return Request(
        index=row["index"],
        sample=sample,
        body=row["body"],
        max_tokens=row["max_tokens"],
        phase=Phase(row["phase"]),
        isl_tokenizer=row["isl_tokenizer"],
        choices=row.get("choices", 1),
        then=None if following is None else lambda _: following,
    )
