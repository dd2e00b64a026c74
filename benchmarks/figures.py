"""CPU seconds that each figure of a large run takes, numbers and PNG: `python benchmarks/figures.py [REQUESTS]`.

The records are made directly as columns: Poisson arrivals, lognormal input lengths, ten events a request with some 40
tokens each, one in 200 cut. The figures are written to a temporary folder, or to `--keep FOLDER`.
"""

import argparse
import tempfile
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from genbench.metrics import slo
from genbench.metrics.summary import Run, summarise
from genbench.plots import _draw
from genbench.records import RecordTable
from genbench.types import MISSING, EventKind, Outcome, Phase

REQUESTS = 1_000_000
EVENTS = 10
RATE = 500.0
MOST_S = 15.0  # all figures of a million requests


def table(requests: int) -> RecordTable:
    """A run's records: role, eight content events and a finish event each."""
    generator = np.random.default_rng(7)
    sent = np.cumsum(generator.exponential(1e9 / RATE, requests)).astype(np.int64)
    isl = np.exp(generator.normal(6, 0.5, requests)).astype(np.int64)
    first = (3e7 + 2e5 * isl * generator.gamma(9, 1 / 9, requests)).astype(np.int64)
    gaps = generator.gamma(16, 2e7 / 16, (requests, EVENTS - 3)).astype(np.int64)
    stamps = np.empty((requests, EVENTS), dtype=np.int64)
    stamps[:, 0] = sent + first // 2
    stamps[:, 1] = sent + first
    stamps[:, 2:-1] = stamps[:, 1:2] + np.cumsum(gaps, axis=1)
    stamps[:, -1] = stamps[:, -2]
    kinds = np.array([EventKind.ROLE, *[EventKind.CONTENT] * (EVENTS - 2), EventKind.FINISH], dtype=np.uint8)
    cut = np.arange(requests) % 200 == 100
    columns: dict[str, Any] = {f.name: np.full(requests, MISSING) for f in fields(RecordTable)}
    columns |= {name: np.zeros(requests, dtype=np.bool_) for name in ("done", "unterminated", "tokens_amended")}
    columns |= {name: [""] * requests for name in ("finish_reason", "error", "retry_after")}
    columns |= dict.fromkeys(("intended_ns", "ready_ns", "start_ns"), sent)
    columns |= {
        "index": np.arange(requests),
        "phase": np.where(np.arange(requests) < requests // 100, Phase.WARMUP, Phase.MEASURED).astype(np.int64),
        "streamed": np.ones(requests, dtype=np.bool_),
        "sent_ns": sent + generator.exponential(1e5, requests).astype(np.int64),
        "end_ns": stamps[:, -1],
        "isl_usage": isl,
        "osl_usage": EVENTS - 2 + generator.poisson(300, requests),  # some 40 tokens an event
        "choices": np.ones(requests, dtype=np.int64),
        "embeddings": np.zeros(requests, dtype=np.int64),
        "outcome": np.where(cut, Outcome.TRUNCATED, Outcome.OK).tolist(),
        "event_start": np.arange(requests + 1) * EVENTS,
        "event_ns": stamps.ravel(),
        "event_kind": np.tile(kinds, requests),
        "event_choice": np.zeros(requests * EVENTS, dtype=np.int16),
        "event_tokens": np.full(requests * EVENTS, MISSING, dtype=np.int32),
        "event_shared": np.zeros(requests * EVENTS, dtype=np.bool_),
    }
    return RecordTable(**columns)


def main() -> None:
    """Make the run, draw every figure, print the CPU seconds of each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("requests", nargs="?", type=int, default=REQUESTS)
    parser.add_argument("--keep", type=Path, help="write the figures here")
    given = parser.parse_args()
    began = time.perf_counter()
    records = table(given.requests)
    header: dict[str, Any] = {"config": {"load": {"request_rate": RATE}}}
    promises = [slo.parse("ttft.p99<400ms"), slo.parse("itl.p95<30ms")]
    run = Run(header, records, summarise(records, header, promises))
    print(f"{given.requests:,} requests made and summarised in {time.perf_counter() - began:.1f} s")
    with tempfile.TemporaryDirectory() as folder:
        total = draw(run, given.keep or Path(folder))
    missed = "MISS " * (given.requests <= REQUESTS and total > MOST_S)
    print(f"{missed}all figures {total:.2f} s; the target for {REQUESTS:,} requests is {MOST_S:g} s")


def draw(run: Run, folder: Path) -> float:
    """Each figure's numbers and PNG; the CPU seconds of all."""
    total = 0.0
    for name in _draw.names():
        began = time.process_time()
        found = _draw.tables([("", run)], [name])
        middle = time.process_time()
        _draw.draw(found, folder)
        end = time.process_time()
        total += end - began
        made = found[name]
        said = made if isinstance(made, _draw.Nothing) else f"{len(made)} rows; {made.note}"
        print(f"{name:20}{end - began:6.2f} s (numbers {middle - began:5.2f}): {said}")
    return total


if __name__ == "__main__":
    main()
