"""profile_export_aiperf.json and profile_export.jsonl: the run as AIPerf 0.13 writes it, in its definitions.

What follows AIPerf's own scheduler or its HTTP library (`effective_*`, `active_*`, `http_req_*`, `adj_*`) is not there.
"""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from genbench.exporters._foreign import Told, by_row, dump, spread, told
from genbench.metrics.dialects.messages import messages
from genbench.metrics.dialects.nvidia import Seen, seen_by
from genbench.metrics.dialects.rows import NS_PER_MS
from genbench.metrics.summary import Run
from genbench.records import Bools, Ints
from genbench.stats import Floats
from genbench.types import CONTENT_KINDS, EventKind, Outcome

NAME, LINES = "profile_export_aiperf.json", "profile_export.jsonl"
SCHEMA, VERSION = "1.4", "0.13.0"
PERCENTS = (1, 5, 10, 25, 50, 75, 90, 95, 99)
CHUNKS = "inter_chunk_latency"
PER_USER = "tokens/sec/user"
WHOLE = (
    ("request_throughput", "Request Throughput", "requests/sec"),
    ("request_count", "Request Count", "requests"),
    ("output_token_throughput", "Output Token Throughput", "tokens/sec"),
    ("input_token_throughput", "Input Token Throughput", "tokens/sec"),
    ("total_token_throughput", "Total Token Throughput", "tokens/sec"),
    ("benchmark_duration", "Benchmark Duration", "sec"),
    ("request_error_rate", "Request Error Rate", "%"),
)
Values = dict[str, tuple[str, Floats]]


def write(run: Run, out: Path) -> list[Path]:
    """Write both files into the folder `out`. Raises ConfigError for a log without a request."""
    said = told("aiperf", run)
    seen = seen_by(run, messages(run.table, CONTENT_KINDS))
    values = _values(seen, embeddings=said.embeddings)
    lines = out / LINES
    with lines.open("wb") as file:
        for row in said.rows:
            file.write(orjson.dumps(_row(said, seen, values, row), option=orjson.OPT_APPEND_NEWLINE))
    return [dump(out / NAME, _figures(said, seen, values)), lines]


def _values(seen: Seen, *, embeddings: bool) -> Values:
    """Its metrics with one value per request: unit and float64[n], NaN where a request has none."""
    table, chunks, start = seen.table, seen.chunks, seen.table.start_ns

    def ms(later: Ints, earlier: Ints, among: Bools) -> tuple[str, Floats]:
        return "ms", by_row(among & (later >= 0) & (earlier >= 0), (later - earlier) / NS_PER_MS)

    def tokens(lengths: Ints) -> tuple[str, Floats]:
        return "tokens", by_row(seen.done & (lengths >= 0), lengths)

    found = {"request_latency": ms(seen.last, start, seen.done), "input_sequence_length": tokens(seen.isl)}
    found["usage_prompt_tokens"] = tokens(table.isl_usage)
    if embeddings:
        return found
    streamed, several = seen.streamed, seen.streamed & (seen.osl >= 2)
    visible = messages(table, CONTENT_KINDS - {EventKind.REASONING}).first
    span = chunks.last - chunks.first
    itl = np.divide(span / NS_PER_MS, seen.osl - 1, out=np.full(len(table), np.nan), where=several)
    took = seen.last - start
    speed = np.divide(seen.osl * 1e9, took, out=np.full(len(table), np.nan), where=took > 0)
    per_user = np.divide(1000, itl, out=np.full(len(table), np.nan), where=itl > 0)
    return found | {
        "time_to_first_token": ms(chunks.first, start, streamed),
        "time_to_second_token": ms(chunks.at(1), chunks.first, streamed),
        "time_to_first_output_token": ms(visible, start, streamed),
        "inter_token_latency": ("ms", itl),
        "decode_duration": ms(chunks.last, chunks.first, streamed),
        "output_sequence_length": tokens(seen.osl),
        "usage_completion_tokens": tokens(table.osl_usage),
        "usage_reasoning_tokens": tokens(table.reasoning_tokens),
        "usage_prompt_cache_read_tokens": tokens(table.cached_tokens),
        "output_token_throughput_per_user": (PER_USER, per_user),
        "e2e_output_token_throughput": (PER_USER, by_row(seen.done & (seen.osl >= 0), speed)),
    }


def _row(said: Told, seen: Seen, values: Values, i: int) -> dict[str, Any]:
    """One line of the requests' file."""
    table, done = said.table, bool(seen.done[i])
    start = said.wall_ns(int(table.start_ns[i]))
    ready, ack = int(table.ready_ns[i]), int(table.headers_ns[i])
    session = int(table.session[i]) if table.session[i] >= 0 else int(table.index[i])
    end = said.wall_ns(int(seen.last[i] if done else table.end_ns[i]))
    found: dict[str, Any] = {
        "metadata": {
            "session_num": session,
            "x_request_id": f"genbench-{int(table.index[i])}",
            "x_correlation_id": f"genbench-session-{session}",
            "conversation_id": f"session_{session:06d}",
            "turn_index": int(table.turn[i]),
            "credit_issued_ns": said.wall_ns(ready) if ready >= 0 else start,
            "request_start_ns": start,
            **({"request_ack_ns": said.wall_ns(ack)} if ack >= 0 else {}),
            "request_end_ns": end if end >= 0 else start,
            "worker_id": f"worker_{int(table.worker[i])}",
            "record_processor_id": "genbench",
            "benchmark_phase": "profiling",
            "was_cancelled": False,
        },
        "metrics": {
            tag: {"value": int(one[i]) if unit == "tokens" else float(one[i]), "unit": unit}
            for tag, (unit, one) in values.items()
            if np.isfinite(one[i])
        },
    }
    if not done:
        found["error"] = _error(said, i)
        found["metrics"] = {}
    elif table.streamed[i] and seen.chunks.count[i] > 1:
        own = seen.chunks.ns[seen.chunks.start[i] : seen.chunks.start[i + 1]]
        found["metrics"][CHUNKS] = {"value": (np.diff(own) / NS_PER_MS).tolist(), "unit": "ms"}
    return found


def _error(said: Told, i: int) -> dict[str, Any]:
    status, outcome = int(said.table.status[i]), said.table.outcome[i]
    code = status if status >= 400 else None
    empty = outcome in (Outcome.EMPTY_BODY, Outcome.NO_OUTPUT)
    return {
        "code": code,
        "type": "InvalidInferenceResultError" if empty else outcome,
        "message": said.table.error[i] or outcome,
    }


def _figures(said: Told, seen: Seen, values: Values) -> dict[str, Any]:
    found: dict[str, Any] = {
        "schema_version": SCHEMA,
        "aiperf_version": VERSION,
        "benchmark_id": str(said.run.header.get("dataset_sha256") or "genbench")[:12],
    }
    for tag, (unit, one) in values.items():
        known = one[np.isfinite(one)]
        if known.size:
            found[tag] = spread(one, unit, PERCENTS) | {"count": int(known.size), "sum": float(known.sum())}
    gaps = seen.chunks.gaps(seen.streamed) / NS_PER_MS
    if gaps.size:
        found[CHUNKS] = spread(gaps, "ms", PERCENTS) | {"count": int(gaps.size), "sum": float(gaps.sum())}
    for tag, name, unit in WHOLE:
        if (value := said.one(name)) is not None:
            found[tag] = {"unit": unit, "avg": float(value)}
    errors = Counter(tuple(_error(said, i).items()) for i in said.rows if not seen.done[i])
    if errors:
        found["error_request_count"] = {"unit": "requests", "avg": float(errors.total())}
    return found | {
        "input_config": _asked(said),
        "run_info": {"random_seed": said.run.header.get("seed"), "trial": 0},
        "was_cancelled": bool(said.run.header.get("interrupted")),
        "is_complete": not said.run.header.get("interrupted"),
        "error_summary": [{"error_details": dict(error), "count": n} for error, n in errors.items()],
        "start_time": said.began("%Y-%m-%dT%H:%M:%S"),
    }


def _asked(said: Told) -> dict[str, Any]:
    rate = said.load.get("request_rate")
    paced = isinstance(rate, int | float)
    phase = {"name": "profiling", "kind": "profiling", "type": said.load.get("arrival") or "poisson", "rate": rate}
    closed = {"name": "profiling", "kind": "profiling", "type": "concurrency"}
    urls = {"urls": [said.url]} if said.url else {}
    return {
        "models": {"items": [{"name": said.model}]},
        "endpoint": {"type": said.kind, "streaming": bool(said.table.streamed.any())} | urls,
        "phases": [
            (phase if paced else closed) | {"requests": len(said.rows), "concurrency": said.load.get("concurrency")}
        ],
    }
