"""vllm.json: the run as `vllm bench serve --save-result --save-detailed` writes it, in its definitions.

The log has no texts: `generated_texts` are empty, and a length that only a text could tell is null.
"""

from pathlib import Path
from typing import Any

import numpy as np

from genbench.errors import ConfigError
from genbench.exporters._foreign import NS, Told, dump, told
from genbench.metrics.definitions import isl, osl
from genbench.metrics.dialects.messages import CHOICES, messages
from genbench.metrics.dialects.rows import ended
from genbench.metrics.summary import Run
from genbench.records import Bools, Ints
from genbench.types import Outcome

NAME = "vllm.json"
BACKENDS = {"chat": "openai-chat", "completions": "openai", "embeddings": "openai-embeddings"}
SPREADS = (
    ("TTFT", "ttft"),
    ("TPOT", "tpot"),
    ("ITL", "itl"),
    ("E2EL", "e2el"),
    ("Client Queue Time", "client_queue_time"),
)
STATS = (("mean", "Mean"), ("median", "Median"), ("std", "std (result file)"), ("p99", "P99"))


def write(run: Run, out: Path) -> list[Path]:
    """Write `vllm.json` into the folder `out`. Raises ConfigError for a run that this tool cannot have made."""
    said = told("vllm", run)
    if said.embeddings:
        return [dump(out / NAME, _setup(said) | _embeddings(said))]
    table = run.table
    if not said.figures:
        raise ConfigError(
            f"{run.folder or 'the run'} has no streamed answer, and vllm bench serve always streams; use aiperf"
        )
    chunks = messages(table, CHOICES)
    done = ended(table, Outcome.OK, Outcome.NO_OUTPUT, Outcome.STREAM_ERROR) & table.streamed & (chunks.count > 0)
    return [dump(out / NAME, _setup(said) | _whole(said) | _lists(said, done) | _spreads(said))]


def _setup(said: Told) -> dict[str, Any]:
    rate, backend = said.load.get("request_rate"), BACKENDS.get(said.kind, said.kind)
    return {
        **said.metadata,  # where vllm bench serve --metadata puts its own; the keys below win
        "date": said.began("%Y%m%d-%H%M%S"),
        "endpoint_type": backend,
        "backend": backend,
        "label": None,
        "model_id": said.model,
        "tokenizer_id": said.run.header.get("tokenizer") or said.model,
        "num_prompts": len(said.rows),
        "request_rate": rate if isinstance(rate, int | float) and np.isfinite(rate) else "inf",
        "burstiness": said.load.get("burstiness") or 1.0,
        "max_concurrency": said.load.get("concurrency"),
    }


def _whole(said: Told) -> dict[str, Any]:
    return {
        "duration": said.one("Benchmark duration"),
        "completed": said.one("Successful requests"),
        "failed": said.one("Failed requests"),
        "total_input_tokens": said.one("Total input tokens"),
        "total_output_tokens": said.one("Total generated tokens"),
        "request_throughput": said.one("Request throughput"),
        "request_goodput": None,
        "output_throughput": said.one("Output token throughput"),
        "total_token_throughput": said.one("Total token throughput"),
        "max_output_tokens_per_s": said.one("Peak output token throughput"),
        "max_concurrent_requests": said.one("Peak concurrent requests"),
        "rtfx": 0.0,
    }


def _lists(said: Told, done: Bools) -> dict[str, Any]:
    """One entry per request, in the order of sending; what failed has 0 and a message."""
    table, rows = said.table, said.rows
    chunks = messages(table, CHOICES)
    stamps = [chunks.ns[chunks.start[i] : chunks.start[i + 1]] if done[i] else chunks.ns[:0] for i in rows]
    start, length = table.start_ns, osl(table)
    return {
        "input_lens": _known(isl(table), rows),
        "output_lens": [_known(length, [i])[0] if done[i] else 0 for i in rows],
        "ttfts": [_s(ns[0] - start[i]) if ns.size else 0.0 for i, ns in zip(rows, stamps, strict=True)],
        "itls": [[_s(gap) for gap in np.diff(ns)] for ns in stamps],
        "latencies": [_s(ns[-1] - start[i]) if ns.size else 0.0 for i, ns in zip(rows, stamps, strict=True)],
        "start_times": [_s(start[i]) if start[i] >= 0 else 0.0 for i in rows],
        "queue_times": _waits(said),
        "generated_texts": ["" for _ in rows],
        "errors": ["" if done[i] else said.problem(i) for i in rows],
    }


def _waits(said: Told) -> list[float]:
    """From the arrival to the start, where arrivals have moments of their own."""
    table, paced = said.table, ("Client Queue Time", "Mean") in said.figures
    return [
        _s(table.start_ns[i] - table.intended_ns[i]) if paced and table.intended_ns[i] >= 0 else 0.0 for i in said.rows
    ]


def _s(ns: Any) -> float:
    return int(ns) / NS


def _known(lengths: Ints, rows: list[int]) -> list[int | None]:
    return [int(lengths[i]) if lengths[i] >= 0 else None for i in rows]


def _spreads(said: Told) -> dict[str, Any]:
    """Their statistics, where the run has the row."""
    return {
        f"{key}_{name}_ms": said.one(row, stat)
        for row, name in SPREADS
        for key, stat in STATS
        if (row, stat) in said.figures
    }


def _embeddings(said: Told) -> dict[str, Any]:
    table, rows = said.table, said.rows
    took = [_s(table.end_ns[i] - table.start_ns[i]) if table.ok[i] else 0.0 for i in rows]
    return {
        "duration": said.one("Benchmark duration"),
        "completed": said.one("Successful requests"),
        "total_input_tokens": said.one("Total input tokens"),
        "total_input_sequences": int(table.inputs[table.ok].sum()),
        "request_throughput": said.one("Request throughput"),
        "input_sequence_throughput": said.one("Input throughput"),
        "total_token_throughput": said.one("Total token throughput"),
        "input_lens": _known(isl(table), rows),
        "latencies": took,
        "queue_times": [0.0 for _ in rows],
        "errors": ["" if table.ok[i] else said.problem(i) for i in rows],
        **_spreads(said),
    }
