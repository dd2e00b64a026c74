"""GuideLLM: its JSON report, version 2; each benchmark in it is a result.

Source: benchmark/schemas/report.py, schemas/base/{info,request_stats}.py and backends/openai/http.py of GuideLLM 0.8.1.
"""

import re
from collections.abc import Mapping
from typing import Any

from genbench.errors import DatasetError
from genbench.importers._common import (
    GAPS,
    Imported,
    Source,
    count,
    counted,
    failed,
    given,
    in_order,
    ns_of_s,
    number,
    part,
    place,
    placed,
    words,
)
from genbench.types import MISSING, EventKind, Outcome, Phase, Record

TOOL = "guidellm"
LOOKED_FOR = "GuideLLM: metadata and benchmarks"
VERSION = 2
ENDPOINTS = {"/v1/chat/completions": "chat", "/v1/completions": "completions", "/v1/embeddings": "embeddings"}
SCHEDULED = {"constant": "constant", "poisson": "poisson", "trace": "trace"}
STATUS = re.compile(r"\b([45]\d\d)\b")
KINDS = ("successful", "incomplete", "errored")
MOMENTS = ("targeted_start", "resolve_start", "request_start")


def recognise(document: Any) -> str:
    """The name of the format; empty when it is none of this tool's."""
    if not isinstance(document, Mapping) or not isinstance(document.get("benchmarks"), list):
        return ""
    return "GuideLLM report" if "metadata" in document or part(document, "benchmarks", 0, "type_") else ""


def read(source: Source, line: int, document: Any) -> list[Imported]:
    """Its benchmarks. Raises DatasetError for another version of the report, and where it is not as it writes it."""
    version = part(document, "metadata", "version")
    if version != VERSION:
        said = "no version" if version is None else f"version {version}"
        raise DatasetError(f"{source.path} is a GuideLLM report of {said}; only version {VERSION} is read here")
    found = []
    for k, benchmark in enumerate(document["benchmarks"]):
        with placed(source, f"benchmark {k}", "GuideLLM"):
            found.append(_benchmark(source, k, document, benchmark))
    if not found:
        raise DatasetError(f"{source.path} is a GuideLLM report without a benchmark; run it again")
    return found


def _benchmark(source: Source, k: int, document: Mapping[str, Any], benchmark: Mapping[str, Any]) -> Imported:
    config, strategy = benchmark["config"], part(benchmark, "config", "strategy")
    kind = words(part(strategy, "type_"))
    scheduled = kind in SCHEDULED
    rows = [(name, row) for name in KINDS for row in benchmark["requests"].get(name) or []]
    timings = []
    for i, (_, row) in enumerate(rows):
        with placed(source, f"benchmark {k}, request {i} of {len(rows)}", "GuideLLM"):
            timings.append({**row["info"]["timings"]})
    moments = [ns_of_s(times.get(name)) for times in timings for name in MOMENTS[0 if scheduled else 1 :]]
    zero = min((ns for ns in moments if ns >= 0), default=0)
    span = [ns_of_s(part(benchmark, "scheduler_metrics", f"measure_{end}_time")) for end in ("start", "end")]
    records, sparse, uncounted = [], False, 0
    for i, ((name, row), times) in enumerate(zip(rows, timings, strict=True)):
        with placed(source, f"benchmark {k}, request {i} of {len(rows)}", "GuideLLM"):
            record = _record(name, row, times, zero, scheduled=scheduled)
            record.phase = _phase(record, zero, span)
            records.append(record)
            sparse |= count(times.get("token_iterations")) > 2
            uncounted += name == "successful" and record.osl_usage < 0
    kept, all_made = len(rows), count(part(benchmark, "scheduler_metrics", "requests_made", "total"))
    if all_made > kept:
        for record in records:
            record.end_ns = MISSING
    backend = config.get("backend")
    return Imported(
        tool=TOOL,
        version=words(part(document, "metadata", "guidellm_version")),
        format="GuideLLM report",
        model=words(part(backend, "model")),
        endpoint_type=ENDPOINTS.get(words(part(backend, "request_format")), ""),
        url=words(part(backend, "target")),
        load=_load(kind, strategy, config),
        workload=_workload(document),
        seed=_seed(document),
        zero_unix_ns=zero if rows else MISSING,
        records=in_order(records),
        notes=tuple(_notes(kept, all_made, uncounted, sparse=sparse)),
        absent=GAPS if sparse else (),
    )


def _record(name: str, row: Mapping[str, Any], times: Mapping[str, Any], zero: int, *, scheduled: bool) -> Record:
    def at(moment: str) -> int:
        ns = ns_of_s(times.get(moment))
        return ns - zero if ns >= 0 else MISSING

    record = Record(start_ns=at("resolve_start"), sent_ns=at("request_start"), turn=max(_turn(row), 0))
    record.intended_ns = at("targeted_start") if scheduled else MISSING
    ended = at("request_end")
    record.end_ns = ended if ended >= 0 else at("resolve_end")
    if name == "successful":
        if record.sent_ns < 0:
            raise ValueError("it has no request_start")
        record.outcome = Outcome.OK
        record.isl_usage = count(part(row, "input_metrics", "total_tokens"))
        record.cached_tokens = count(part(row, "input_metrics", "cached_tokens"))
        record.osl_usage = count(part(row, "output_metrics", "total_tokens"))
    elif name == "errored":
        said = words(part(row, "info", "error"))
        code = STATUS.search(said) if "HTTPStatusError" in said else None
        failed(record, said, int(code[1]) if code else MISSING)
    if count(times.get("request_iterations")) > 0:
        place(record, _events(times, at))
    return record


def _turn(row: Mapping[str, Any]) -> int:
    return count(part(row, "info", "turn_index"))


def _events(times: Mapping[str, Any], at: Any) -> list[tuple[int, EventKind]]:
    """The moments it keeps: the first message, the first token, the first that is not reasoning, the last token."""
    opening, first, visible, last = (
        at(f"{name}_iteration") for name in ("first_request", "first_token", "first_output_token", "last_token")
    )
    found = [(opening, EventKind.EMPTY)] if opening >= 0 and not 0 <= first <= opening else []
    if first < 0:
        return found
    only_reasoning = times.get("first_output_token_iteration", 0) is None
    kind = EventKind.REASONING if only_reasoning or visible > first else EventKind.CONTENT
    found.append((first, kind))
    if visible > first:
        kind = EventKind.CONTENT
        found.append((visible, kind))
    return [*found, (last, kind)] if last > max(first, visible) else found


def _phase(record: Record, zero: int, span: list[int]) -> Phase:
    """Its window counts what overlaps it; the rest is its warm-up or cool-down."""
    begin, end = (ns - zero if ns >= 0 else MISSING for ns in span)
    out = min(span) >= 0 and (0 <= record.end_ns < begin or record.sent_ns > end)
    return Phase.WARMUP if out else Phase.MEASURED


def _load(kind: str, strategy: Any, config: Mapping[str, Any]) -> dict[str, Any]:
    seconds = number(part(config, "constraints", "max_duration", "args", "seconds"))
    cap, rate = count(part(strategy, "max_concurrency")), number(part(strategy, "rate"))
    if kind in SCHEDULED:
        return given(request_rate=rate, arrival=SCHEDULED[kind], concurrency=cap, duration_s=seconds)
    streams = count(part(strategy, "streams"))
    closed = {"synchronous": 1, "concurrent": streams, "throughput": cap}.get(kind, MISSING)
    found = given(concurrency=closed, duration_s=seconds)
    return found if closed > 0 or kind != "throughput" else {**found, "request_rate": "inf"}


def _workload(document: Mapping[str, Any]) -> dict[str, Any]:
    data = part(document, "config", "spec", "data", 0)
    return given(isl=_whole(part(data, "prompt_tokens")), osl=_whole(part(data, "output_tokens")))


def _seed(document: Mapping[str, Any]) -> int | None:
    found = count(part(document, "config", "spec", "seed", "value"))
    return found if found >= 0 else None


def _whole(value: Any) -> int | None:
    found = count(value)
    return found if found > 0 else None


def _notes(kept: int, made: int, uncounted: int, *, sparse: bool) -> list[str]:
    notes = [
        "times are of the wall clock, to a quarter of a microsecond; a request ends when GuideLLM says it did",
        "output lengths are the server's usage or, without one, the length that was asked for: the file does not say"
        " which",
    ]
    if sparse:
        notes.append(
            "the file has the first and the last token of each answer, not those between: TTST, inter-chunk and"
            " inter-token latencies are absent, TPOT is exact"
        )
    if made > kept:
        notes.append(f"the file has a sample, {kept:,} of {made:,} requests: no duration, no throughput")
    if uncounted:
        notes.append(f"{counted(uncounted, 'answer')} without a token count: GuideLLM takes its chunks for tokens")
    return notes
