"""Folders to put a price on: the run in examples, perhaps with hardware, a sweep made by hand, a capacity search."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from genbench.studies import capacity_files
from tests.curves.made_sweeps import batching, sweep

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "runs" / "SIMULATED-demo"
RULE = "ttft.p95<200ms"


def run_in(folder: Path, hardware: Mapping[str, Any] | None = None) -> Path:
    """A copy of the run in examples, whose header says so much of the hardware."""
    folder.mkdir(parents=True)
    for name in ("run.json", "requests.jsonl"):
        shutil.copy(EXAMPLE / name, folder / name)
    if hardware is not None:
        header = json.loads((folder / "run.json").read_text())
        (folder / "run.json").write_text(json.dumps(header | {"hardware": hardware}))
    return folder


def points(rule: str | None = None, bound: float = 200.0, **more: Any) -> list[dict[str, Any]]:
    """1 to 64 requests at an engine that decodes up to 16; TTFT p95 is 13 ms at 4, 1,409 at 32.

    With a rule on it, each point says whether it keeps it.
    """
    found = batching(**more)
    for one in found if rule else ():
        value = one["metrics"]["ttft"]["p95"]
        held = {"rule": rule, "metric": "ttft", "stat": "p95", "op": "<", "bound": bound, "unit": "ms", "value": value}
        one["slo"] = [held | {"passed": value < bound, "attainment_pct": None}]
    return found


def sweep_in(
    folder: Path, found: Sequence[Mapping[str, Any]], about: Mapping[str, Any] | None = None, **more: Any
) -> Path:
    """A folder with a sweep of these points."""
    folder.mkdir(parents=True)
    document = sweep(found, simulated=False, **more)
    document["config"]["about"] = {"metadata": [], **(about or {})}
    (folder / "sweep.json").write_text(json.dumps(document))
    return folder


def probed(value: float, by: str = "request_rate", **more: Any) -> dict[str, Any]:
    """A probe of 8000 / 10.8 token/s at this load, no confirmation."""
    found = points()[3] | {"by": by, "value": value, "verdict": "kept", "run_verdict": "VALID", "confirmation": False}
    return {**found, **more}


def capacity_in(folder: Path, by: str = "request_rate", answer: float | None = 12.0, **more: Any) -> Path:
    """A folder with a search that came to this answer, and a confirmation at it."""
    folder.mkdir(parents=True)
    probe = probed(answer or 1.0, by)
    sure = {"confirmed": True, "wide": False, "fitted": True}
    document: dict[str, Any] = {
        "schema": capacity_files.SCHEMA,
        "kind": capacity_files.KIND,
        "by": by,
        "simulated": False,
        "slo": [RULE],
        "config": {"about": {}},
        "answer": None if answer is None else {"value": answer, "ci95": [11.0, 13.0], **sure},
        "hopeless": "" if answer is not None else "even one request at a time misses it",
        "probes": [] if answer is None else [probe | {"confirmation": True}],
    }
    (folder / capacity_files.NAME).write_text(json.dumps(document | more))
    return folder
