"""profile_export.json, profile_export_genai_perf.json and .csv: the run as GenAI-Perf 0.0.16 writes it.

The log has no texts. In `profile_export.json` each event is the message it may have been, with "x" for its text:
moments and token counts (in a usage message) are right, a tokenizer run over the texts is not.
"""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from genbench.exporters._foreign import Told, by_row, dump, spread, told
from genbench.metrics.dialects.messages import messages
from genbench.metrics.dialects.nvidia import Seen, seen_by
from genbench.metrics.dialects.rows import NS_PER_MS
from genbench.metrics.summary import Run
from genbench.stats import Floats
from genbench.types import EventKind

RAW, NAME, CSV = "profile_export.json", "profile_export_genai_perf.json", "profile_export_genai_perf.csv"
PERCENTS = (1, 5, 10, 25, 50, 75, 90, 95, 99)
COLUMNS = ("avg", "min", "max", "p99", "p95", "p90", "p75", "p50", "p25", "p10", "p5", "p1")
ENDPOINTS = {"chat": "v1/chat/completions", "completions": "v1/completions", "embeddings": "v1/embeddings"}
SYSTEM = (
    ("output_token_throughput", "Output Token Throughput", "tokens/sec", "tokens/sec"),
    ("request_throughput", "Request Throughput", "requests/sec", "per sec"),
    ("request_count", "Request Count", "count", "count"),
)
CHUNK, TEXT = "chat.completion.chunk", "x"
Values = dict[str, tuple[str, Floats]]


def write(run: Run, out: Path) -> list[Path]:
    """Write the three files into the folder `out`. Raises ConfigError for a log without a request."""
    said = told("genai-perf", run)
    values = _values(run, embeddings=said.embeddings)
    figures = {name: found for name, (unit, one) in values.items() if (found := spread(one, unit, PERCENTS))}
    system = {tag: (unit, said.one(name)) for tag, name, unit, _ in SYSTEM}
    figures |= {tag: {"unit": unit, "avg": float(value)} for tag, (unit, value) in system.items() if value is not None}
    return [
        dump(out / RAW, _raw(said)),
        dump(out / NAME, figures | {"input_config": _asked(said)}),
        _table(out / CSV, figures, list(values)),
    ]


def _values(run: Run, *, embeddings: bool) -> Values:
    """Its metrics with one value per request: unit and float64[n], NaN where a request has none; in its order."""
    seen = _seen(run)
    table, chunks, start = seen.table, seen.chunks, seen.table.start_ns
    latency = "ms", by_row(seen.done & (seen.last >= 0) & (start >= 0), (seen.last - start) / NS_PER_MS)
    if embeddings:
        return {"request_latency": latency}
    streamed, several = seen.streamed, seen.streamed & (chunks.count > 1) & (seen.osl > 1)
    nothing = np.full(len(table), np.nan)
    itl_ns = np.rint(np.divide(chunks.last - chunks.first, seen.osl - 1, out=nothing.copy(), where=several))
    per_user = np.divide(1e9, itl_ns, out=nothing.copy(), where=itl_ns > 0)
    return {
        "time_to_first_token": ("ms", by_row(streamed, (chunks.first - start) / NS_PER_MS)),
        "time_to_second_token": (
            "ms",
            by_row(streamed & (chunks.count > 1), (chunks.at(1) - chunks.first) / NS_PER_MS),
        ),
        "request_latency": latency,
        "inter_token_latency": ("ms", itl_ns / NS_PER_MS),
        "output_token_throughput_per_user": ("tokens/sec/user", per_user),
        "output_sequence_length": ("tokens", by_row(seen.done & (seen.osl >= 0), seen.osl)),
        "input_sequence_length": ("tokens", by_row(seen.done & (seen.isl >= 0), seen.isl)),
    }


def _seen(run: Run) -> Seen:
    """Only text counts, all text of one read is one response; the length is that of the text where the server tells."""
    seen = seen_by(run, messages(run.table, {EventKind.CONTENT}, by_read=True))
    reasoning = run.table.reasoning_tokens
    text = np.where((seen.osl >= reasoning) & (reasoning > 0), seen.osl - reasoning, seen.osl)
    return Seen(run, seen.chunks, seen.done, text, seen.isl, seen.last)


def _asked(said: Told) -> dict[str, Any]:
    mode, value = _mode(said)
    return {
        "model_names": [said.model],
        "endpoint": {"type": said.kind, "streaming": bool(said.table.streamed.any()), "url": said.url},
        "perf_analyzer": {"stimulus": {mode: value}},
    }


def _mode(said: Told) -> tuple[str, Any]:
    rate = said.load.get("request_rate")
    if isinstance(rate, int | float) and np.isfinite(rate):
        return "request_rate", float(rate)
    return "concurrency", said.load.get("concurrency") or 0


def _table(path: Path, figures: dict[str, Any], names: list[str]) -> Path:
    """Its CSV: requests first, then the whole run, to two places."""
    units = {tag: unit for tag, _, _, unit in SYSTEM}
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("Metric", *COLUMNS))
        for name in names:
            if name in figures:
                one = figures[name]
                writer.writerow((_title(name, one["unit"]), *(f"{one[stat]:,.2f}" for stat in COLUMNS)))
        writer.writerow([])
        writer.writerow(("Metric", "Value"))
        for tag, unit in units.items():
            if tag in figures:
                writer.writerow((_title(tag, unit), f"{figures[tag]['avg']:,.2f}"))
    return path


def _title(name: str, unit: str) -> str:
    return f"{name.replace('_', ' ').title()} ({unit})"


# -- the raw log ------------------------------------------------------------------------------------------------------


def _raw(said: Told) -> dict[str, Any]:
    mode, value = _mode(said)
    rows = [i for i in said.rows if said.table.start_ns[i] >= 0]
    moments = [ns for i in rows for ns in (int(said.table.start_ns[i]), int(said.table.end_ns[i])) if ns >= 0]
    bounds = [said.wall_ns(min(moments)), said.wall_ns(max(moments))] if moments else []
    return {
        "experiments": [
            {
                "experiment": {"mode": mode, "value": value},
                "requests": [_request(said, i) for i in rows],
                "window_boundaries": bounds,
            }
        ],
        "version": "",
        "service_kind": "openai",
        "endpoint": ENDPOINTS.get(said.kind, said.kind),
    }


def _request(said: Told, i: int) -> dict[str, Any]:
    table = said.table
    body: dict[str, Any] = {"model": said.model, "stream": bool(table.streamed[i])}
    if table.osl_wanted[i] > 0:
        body["max_tokens"] = int(table.osl_wanted[i])
    responses = _stream(said, i) if table.streamed[i] else _document(said, i)
    return {
        "timestamp": said.wall_ns(int(table.start_ns[i])),
        "request_inputs": {"payload": orjson.dumps(body).decode()},
        "response_timestamps": [ns for ns, _ in responses],
        "response_outputs": [{"response": text} for _, text in responses],
    }


def _stream(said: Told, i: int) -> list[tuple[int, str]]:
    """One response for all that came with one read; the usage, where there was one, with the last but [DONE]."""
    table, found = said.table, dict[int, list[str]]()
    begin, end = int(table.event_start[i]), int(table.event_start[i + 1])
    for k in range(begin, end):
        text = _message(said, i, EventKind(int(table.event_kind[k])), int(table.event_choice[k]))
        if text:
            found.setdefault(said.wall_ns(int(table.event_ns[k])), []).append(text)
    usage = _usage(said, i)
    if usage and found:
        last = found[max(found)]
        last.insert(
            len(last) - (last[-1] == "[DONE]"), orjson.dumps({"object": CHUNK, "choices": [], "usage": usage}).decode()
        )
    return [(ns, "".join(f"data: {one}\n\n" for one in texts)) for ns, texts in found.items()]


def _message(said: Told, i: int, kind: EventKind, choice: int) -> str:
    """The data of the message that an event may have been; '' for a usage message, which is made anew."""
    if kind == EventKind.DONE:
        return "[DONE]"
    if kind == EventKind.ERROR:
        return orjson.dumps({"error": {"message": said.table.error[i] or "error"}}).decode()
    if kind in (EventKind.USAGE, EventKind.COMMENT):
        return ""
    plain = said.kind == "completions"
    parts: dict[EventKind, dict[str, Any]] = {
        EventKind.ROLE: {"role": "assistant", "content": ""},
        EventKind.EMPTY: {"content": ""},
        EventKind.REASONING: {"reasoning_content": TEXT},
        EventKind.CONTENT: {"content": TEXT},
        EventKind.TOOL: {"tool_calls": [{"index": 0, "function": {"arguments": TEXT}}]},
        EventKind.FINISH: {},
    }
    reason = said.table.finish_reason[i] or "stop" if kind == EventKind.FINISH else None
    one: dict[str, Any] = {"index": choice, "finish_reason": reason}
    one |= {"text": TEXT if kind == EventKind.CONTENT else ""} if plain else {"delta": parts[kind]}
    return orjson.dumps({"object": "text_completion" if plain else CHUNK, "choices": [one]}).decode()


def _usage(said: Told, i: int) -> dict[str, Any]:
    table = said.table
    found: dict[str, Any] = {}
    for name, column in (("prompt_tokens", table.isl_usage), ("completion_tokens", table.osl_usage)):
        if column[i] >= 0:
            found[name] = int(column[i])
    if found and table.reasoning_tokens[i] >= 0:
        found["completion_tokens_details"] = {"reasoning_tokens": int(table.reasoning_tokens[i])}
    if found and table.cached_tokens[i] >= 0:
        found["prompt_tokens_details"] = {"cached_tokens": int(table.cached_tokens[i])}
    return found


def _document(said: Told, i: int) -> list[tuple[int, str]]:
    """An answer that was not streamed, or none."""
    table = said.table
    if table.end_ns[i] < 0 or not (table.ok[i] or table.status[i] >= 0):
        return []
    if not table.ok[i]:
        body: dict[str, Any] = {"error": {"message": said.problem(i)}}
    elif said.embeddings:
        body = {"object": "list", "data": [{"index": k, "embedding": [0.0]} for k in range(int(table.inputs[i]))]}
    else:
        reason = table.finish_reason[i] or "stop"
        content = {"text": TEXT} if said.kind == "completions" else {"message": {"role": "assistant", "content": TEXT}}
        body = {"object": "chat.completion", "choices": [{"index": 0, **content, "finish_reason": reason}]}
    usage = _usage(said, i)
    return [(said.wall_ns(int(table.end_ns[i])), orjson.dumps(body | ({"usage": usage} if usage else {})).decode())]
