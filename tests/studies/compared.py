"""Runs made by hand for comparisons: written as the folder of a run, one request after the other."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from genbench.records import as_row, write_header
from genbench.types import Outcome
from tests.metrics.made import ns, stream

TOKENS = 6
REQUESTS = 240


def header(**changes: Any) -> dict[str, Any]:
    """run.json of a made run; a key of `changes` with dots is one of a section."""
    made: dict[str, Any] = {
        "genbench": "0.1.0",
        "config": {
            "target": {"url": ["http://127.0.0.1:8000"], "model": "tiny", "extra": []},
            "workload": {"temperature": None, "salt": None},
            "load": {"concurrency": 1},
            "seed": 0,
        },
        "endpoint_type": "chat",
        "model": "tiny",
        "simulated": False,
        "interrupted": False,
        "seed": 0,
        "dataset_sha256": "d" * 64,
        "offsets_sha256": None,
        "preflight": {"ignore_eos": True, "version": "1.0"},
        "health": {"transport": "wire", "stamp_source": "kernel stamps"},
        "environment": {"host": "bench", "system": "Linux", "cpus": 8, "python": "3.11"},
    }
    for path, value in changes.items():
        section: Any = made
        *above, name = path.split("__")
        for key in above:
            section = section.setdefault(key, {})
        section[name] = value
    return made


def write_run(
    folder: Path,
    *,
    ttft: float = 40.0,
    gap: float = 20.0,
    requests: int = REQUESTS,
    noise: float = 0.05,
    seed: int = 0,
    failed: int = 0,
    about: Mapping[str, Any] | None = None,
) -> Path:
    """The folder of a run: TTFT and gaps in ms, each with its share of noise; the last `failed` requests fail."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    write_header(folder, about if about is not None else header())
    now, lines = 0.0, []
    for index in range(requests):
        steps = [ttft * (1 + noise * rng.standard_normal()), *(gap * (1 + noise * rng.standard_normal(TOKENS - 1)))]
        times = (now + np.cumsum(steps)).tolist()
        record = stream(index, now, times)
        if index >= requests - failed:
            record.outcome, record.error = Outcome.TRUNCATED, "the stream ended early"
        lines.append(orjson.dumps(as_row(record)))
        now = times[-1] + 1
    (folder / "requests.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    assert ns(now) > 0
    return folder
