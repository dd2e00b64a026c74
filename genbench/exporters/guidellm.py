"""benchmarks.json: the run as GuideLLM 0.8 writes its report (version 2), in its definitions.

The rates over time, which GuideLLM interpolates, are there by their mean only; the texts are not in the log.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from genbench.exporters._foreign import NS, Told, by_row, dump, told
from genbench.metrics.dialects.messages import Messages, messages
from genbench.metrics.dialects.rows import NS_PER_MS, ended, given_up, step_rule
from genbench.metrics.summary import Run
from genbench.records import Bools, Ints
from genbench.stats import Floats
from genbench.types import CONTENT_KINDS, EventKind, Outcome

NAME = "benchmarks.json"
VERSION, TOOL_VERSION = 2, "0.8.1"
FORMATS = {"chat": "/v1/chat/completions", "completions": "/v1/completions", "embeddings": "/v1/embeddings"}
PERCENTS = {"p001": "p0.1", "p01": "p1", "p05": "p5", "p999": "p99.9"} | {
    f"p{p}": f"p{p}" for p in (10, 25, 50, 75, 90, 95, 99)
}
STATUSES = ("successful", "incomplete", "errored")
RATES = (
    ("requests_per_second", "Requests Per Sec Mean"),
    ("prompt_tokens_per_second", "Input Tokens Per Sec Mean"),
    ("output_tokens_per_second", "Output Tokens Per Sec Mean"),
    ("tokens_per_second", "Total Tokens Per Sec Mean"),
)


@dataclass(frozen=True)
class Seen:
    """What it finds in the log: start and end of each request, its content, its lengths, its status."""

    said: Told
    start: Ints
    end: Ints
    chunks: Messages
    visible: Ints
    isl: Ints
    osl: Ints
    status: Mapping[str, Bools]


def write(run: Run, out: Path) -> list[Path]:
    """Write `benchmarks.json` into the folder `out`. Raises ConfigError for a log without a request."""
    seen = _seen(told("guidellm", run))
    report = {
        "metadata": {"version": VERSION, "guidellm_version": TOOL_VERSION, "python_version": "", "platform": ""},
        "config": {"spec": {"seed": {"kind": "static", "value": run.header.get("seed")}}},
        "benchmarks": [_benchmark(seen)],
        "conclusions": [],
    }
    return [dump(out / NAME, report)]


def _seen(said: Told) -> Seen:
    table = said.table
    chunks, said_done = messages(table, CONTENT_KINDS), messages(table, {EventKind.DONE}).first
    done = ended(table, Outcome.OK) | (ended(table, Outcome.NO_OUTPUT) & (table.osl_usage > 0))
    incomplete = given_up(table)
    length = np.where(table.osl_usage >= 0, table.osl_usage, np.where(done, table.osl_wanted, -1))
    return Seen(
        said,
        start=np.where(table.sent_ns >= 0, table.sent_ns, table.start_ns),
        end=np.where(said_done >= 0, said_done, table.end_ns),
        chunks=chunks,
        visible=messages(table, CONTENT_KINDS - {EventKind.REASONING}).first,
        isl=np.where(table.isl_usage >= 0, table.isl_usage, table.isl_tokenizer),
        osl=np.where((length < 0) & (chunks.count > 0), chunks.count, length),
        status={
            "successful": done,
            "incomplete": incomplete,
            "errored": table.measured & ~done & ~incomplete,
        },
    )


def _benchmark(seen: Seen) -> dict[str, Any]:
    said, table = seen.said, seen.said.table
    counts = {name: int(rows.sum()) for name, rows in seen.status.items()}
    totals = counts | {"total": sum(counts.values())}
    among = table.measured & (seen.start >= 0)
    begin = _s(said, int(seen.start[among].min())) if among.any() else 0.0
    finish = _s(said, int(seen.end[among].max())) if among.any() else 0.0
    bounds = dict.fromkeys(("start_time", "request_start_time", "measure_start_time"), begin)
    bounds |= dict.fromkeys(("measure_end_time", "request_end_time", "end_time"), finish)
    strategy = _strategy(said)
    return {
        "type_": "generative_benchmark",
        "config": {
            "run_index": 0,
            "strategy": strategy,
            "constraints": _limits(said),
            "backend": {
                "kind": "openai_http",
                "target": said.url,
                "model": said.model,
                "request_format": FORMATS.get(said.kind, said.kind),
            },
        },
        "scheduler_state": {"start_time": begin, "end_time": finish, "processed_requests": totals["total"]},
        "scheduler_metrics": {**bounds, "requests_made": totals, "strategy_type": strategy["type_"]},
        "metrics": {"request_totals": totals, **_metrics(seen)},
        "requests": {
            **{
                name: [_request(seen, name, int(i)) for i in np.flatnonzero(rows)] for name, rows in seen.status.items()
            },
            "total": None,
        },
        "warnings": [],
        "start_time": begin,
        "end_time": finish,
        "duration": finish - begin,
        "warmup_duration": 0.0,
        "cooldown_duration": 0.0,
    }


def _strategy(said: Told) -> dict[str, Any]:
    rate, cap, arrival = (said.load.get(name) for name in ("request_rate", "concurrency", "arrival"))
    if isinstance(rate, int | float) and np.isfinite(rate):
        kind = "constant" if arrival == "constant" else "poisson"
        return {"type_": kind, "rate": rate, "max_concurrency": cap}
    if rate is not None or cap is None:
        return {"type_": "throughput", "max_concurrency": cap}
    return {"type_": "concurrent", "streams": cap, "max_concurrency": cap}


def _limits(said: Told) -> dict[str, Any]:
    seconds = said.load.get("duration_s")
    return {"max_duration": {"args": {"seconds": seconds}}} if seconds is not None else {}


def _s(said: Told, ns: int) -> float:
    """A moment as it keeps them: seconds of the wall clock, in a double."""
    return said.wall_ns(ns) / NS


# -- figures ----------------------------------------------------------------------------------------------------------


def _metrics(seen: Seen) -> dict[str, Any]:
    said, table, chunks = seen.said, seen.said.table, seen.chunks
    done, has = seen.status["successful"], table.streamed & (chunks.count > 0)
    latency = np.where(done, (seen.end - seen.start) / NS, 0.0)  # it takes 0 where a request has none
    found = {
        "request_latency": _by_status(seen, latency),
        "prompt_token_count": _by_status(seen, by_row(seen.isl >= 0, seen.isl)),
    }
    if not said.embeddings:
        span = np.where(has, chunks.last - chunks.first, 0) / NS_PER_MS
        whole = (np.where(has, chunks.last, seen.end) - seen.start) / NS_PER_MS
        after, lengths = np.maximum(seen.osl - 1, 0), np.maximum(seen.osl, 0)
        found |= {
            "output_token_count": _by_status(seen, lengths.astype(np.float64)),
            "time_to_first_token_ms": _by_status(seen, by_row(has, (chunks.first - seen.start) / NS_PER_MS)),
            "time_to_first_output_token_ms": _by_status(
                seen, by_row(has & (seen.visible >= 0), (seen.visible - seen.start) / NS_PER_MS)
            ),
            "time_per_output_token_ms": _by_status(seen, by_row(lengths > 0, whole / np.maximum(lengths, 1)), lengths),
            "inter_token_latency_ms": _by_status(seen, by_row(after > 0, span / np.maximum(after, 1)), after),
        }
    found |= {name: {"total": _mean(said.one(row))} for name, row in RATES if said.one(row) is not None}
    mean, median = said.one("Requests Concurrency", "Mean"), said.one("Requests Concurrency", "Mdn")
    return found | {"request_concurrency": {"total": _mean(mean) | {"median": median}}}


def _mean(value: float | None) -> dict[str, Any]:
    return {"mean": value}


def _by_status(seen: Seen, values: Floats, weights: Ints | None = None) -> dict[str, Any]:
    """The distribution of each status, and of all; a request counts `weights` times."""
    every = np.logical_or.reduce([*seen.status.values()])
    heavy = np.ones(values.size) if weights is None else weights.astype(np.float64)
    found = {}
    for name, rows in (*seen.status.items(), ("total", every)):
        kept = rows & np.isfinite(values) & (heavy > 0)
        found[name] = _distribution(values[kept], heavy[kept])
    return found


def _distribution(values: Floats, weights: Floats) -> dict[str, Any]:
    names = ("mean", "median", "mode", "variance", "std_dev", "min", "max")
    if not values.size:
        return dict.fromkeys(names, 0.0) | {"count": 0, "total_sum": 0.0, "percentiles": dict.fromkeys(PERCENTS, 0.0)}
    stats = {name: step_rule(values, weights, stat) for name, stat in (("mean", "mean"), ("median", "p50"))}
    distinct, place = np.unique(values, return_inverse=True)
    mode = float(distinct[np.argmax(np.bincount(place, weights=weights))])
    std, count = step_rule(values, weights, "std"), round(float(weights.sum()))
    return {
        **stats,
        "mode": mode,
        "variance": std * std,
        "std_dev": std,
        "min": float(distinct[0]),
        "max": float(distinct[-1]),
        "count": count,
        "total_sum": stats["mean"] * count,
        "percentiles": {name: step_rule(values, weights, stat) for name, stat in PERCENTS.items()},
        "pdf": None,
    }


# -- requests ---------------------------------------------------------------------------------------------------------


def _request(seen: Seen, status: str, i: int) -> dict[str, Any]:
    table, said = seen.said.table, seen.said
    counted = seen.osl[i] if table.osl_usage[i] >= 0 or status == "successful" else -1
    tokens_in, tokens_out = (int(one) if one >= 0 else None for one in (seen.isl[i], counted))
    return {
        "type_": "generative_request_stats",
        "request_id": f"genbench-{int(table.index[i])}",
        "response_id": None,
        "request_args": None,
        "output": None,
        "info": {
            "status": {"successful": "completed", "incomplete": "cancelled"}.get(status, status),
            "turn_index": int(table.turn[i]),
            "timings": _timings(seen, i),
            "error": said.problem(i) if status == "errored" else None,
        },
        "input_metrics": {
            "total_tokens": tokens_in,
            "text_tokens": tokens_in,
            "cached_tokens": int(table.cached_tokens[i]) if table.cached_tokens[i] >= 0 else None,
        },
        "output_metrics": {"total_tokens": tokens_out, "text_tokens": tokens_out},
    }


def _timings(seen: Seen, i: int) -> dict[str, Any]:
    said, table, chunks = seen.said, seen.said.table, seen.chunks
    own = table.event_ns[table.event_start[i] : table.event_start[i + 1]]
    moments = {
        "targeted_start": table.intended_ns[i],
        "resolve_start": table.start_ns[i],
        "request_start": seen.start[i],
        "first_request_iteration": own[0] if own.size and table.streamed[i] else -1,
        "first_token_iteration": chunks.first[i] if table.streamed[i] else -1,
        "first_output_token_iteration": seen.visible[i] if table.streamed[i] else -1,
        "last_token_iteration": chunks.last[i] if table.streamed[i] else -1,
        "last_request_iteration": own[-1] if own.size and table.streamed[i] else -1,
        "request_end": seen.end[i],
        "resolve_end": table.end_ns[i],
    }
    found: dict[str, Any] = {name: _s(said, int(ns)) if ns >= 0 else None for name, ns in moments.items()}
    streamed = bool(table.streamed[i])
    found["request_iterations"] = int(own.size) if streamed else 0
    found["token_iterations"] = int(chunks.count[i]) if streamed else 0
    return found
