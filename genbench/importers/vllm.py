"""`vllm bench serve`: its JSON, with or without --save-detailed, one or several appended with --append-result.

Source: vllm/benchmarks/serve.py and lib/endpoint_request_func.py of vLLM 0.32.
"""

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from genbench.importers._common import (
    Imported,
    Source,
    Spread,
    column,
    count,
    counted,
    failed,
    figure,
    from_gaps,
    given,
    ns_of_s,
    number,
    place,
    placed,
    words,
)
from genbench.types import MISSING, EventKind, Outcome, Record

TOOL = "vllm"
LOOKED_FOR = "vllm bench serve: model_id, num_prompts and completed"
SPREAD = re.compile(r"(mean|median|std|max|p[0-9.]+)_(.+)_ms")
NAMES = {"median": "p50"}
RATES = {"request_throughput": "req/s", "request_goodput": "req/s", "input_sequence_throughput": "input/s"}
UNITS = {"duration": "s", "completed": "requests", "failed": "requests", "max_concurrent_requests": "requests"}
TOKENS = {"total_input_tokens": "token", "total_output_tokens": "token"}
SPEEDS = ("output_throughput", "total_token_throughput", "max_output_tokens_per_s", "input_throughput")
RUN = UNITS | TOKENS | RATES | dict.fromkeys((*SPEEDS, "total_throughput"), "token/s") | {"concurrency": "requests"}
ENDPOINTS = (("embedding", "embeddings"), ("pooling", "embeddings"), ("chat", "chat"))
PHRASES = {one.phrase: int(one) for one in HTTPStatus if one >= 400}  # a failed answer has its reason only
COMPLETIONS = ("vllm", "openai", "openai-completions", "lmdeploy", "sglang-oai")


def recognise(document: Any) -> str:
    """The name of the format; empty when it is none of this tool's."""
    if not isinstance(document, Mapping) or not {"model_id", "num_prompts", "completed"} <= document.keys():
        return ""
    return "vllm bench serve, detailed" if "ttfts" in document else "vllm bench serve"


def read(source: Source, line: int, document: Any) -> list[Imported]:
    """The result in one line. Raises DatasetError where it is not as the tool writes it."""
    with placed(source, f"line {line}", "vllm bench serve"):
        records: tuple[Record, ...] = ()
        notes: list[str] = []
        if "ttfts" in document:
            records, notes = _requests(source, line, document)
        rate, cap = document.get("request_rate"), count(document.get("max_concurrency"))
        day, _, clock = words(document.get("date")).partition("-")
        return [
            Imported(
                tool=TOOL,
                version="",
                format=recognise(document),
                model=words(document["model_id"]),
                endpoint_type=kind_of(words(document.get("backend") or document.get("endpoint_type"))),
                load=load_of(rate, cap, document),
                made=f"{day}T{clock}Z" if day.isdigit() and clock.isdigit() else "",
                records=records,
                metrics={} if records else figures(TOOL, document)[0],
                run={} if records else figures(TOOL, document)[1],
                notes=tuple(notes),
                absent=("ttfo", "ttst") if records else (),
            )
        ]


def kind_of(backend: str) -> str:
    """Our endpoint kind of a backend's name; '' where it is none of them."""
    for word, kind in ENDPOINTS:
        if word in backend:
            return kind
    return "completions" if backend in COMPLETIONS else ""


def load_of(rate: Any, cap: int, document: Mapping[str, Any]) -> dict[str, Any]:
    """The load as ours: everything at once with a cap is a closed loop, without one `inf`."""
    finite = number(rate)
    if document.get("ramp_up_strategy"):
        return given(concurrency=cap)
    if finite is not None:
        burst = number(document.get("burstiness"))
        shape = {"arrival": "poisson"} if burst in (None, 1) else {"arrival": "gamma", "burstiness": burst}
        return given(request_rate=finite, concurrency=cap, **shape)
    return given(concurrency=cap) if cap > 0 else {"request_rate": "inf"} if rate is not None else {}


def figures(tool: str, document: Mapping[str, Any]) -> tuple[dict[str, Spread], dict[str, Spread]]:
    """What it says of distributions and of the whole run, by its names: its definitions are not ours."""
    metrics: dict[str, Spread] = {}
    run: dict[str, Spread] = {}
    for name, value in document.items():
        known = number(value)
        if known is None:
            continue
        if (match := SPREAD.fullmatch(name)) is not None and not name.startswith("probe"):
            metrics.setdefault(f"{tool}.{match[2]}", {"unit": "ms"})[NAMES.get(match[1], match[1])] = known
        elif name in RUN:
            run[f"{tool}.{name}"] = figure(known, RUN[name])
    return metrics, run


def _requests(source: Source, line: int, document: Mapping[str, Any]) -> tuple[tuple[Record, ...], list[str]]:
    n = len(document["ttfts"])
    starts = column(document, "start_times", n) if document.get("start_times") else []
    queues = column(document, "queue_times", n) if document.get("queue_times") else []
    if any(number(start) is None for start in starts):
        starts = []
    paced = number(document.get("request_rate")) is not None and bool(starts and queues)
    begins = [ns_of_s(start) for start in starts] or [0] * n
    waits = [max(ns_of_s(wait), 0) for wait in queues] if paced else [0] * n
    zero = min((begin - wait for begin, wait in zip(begins, waits, strict=True)), default=0)
    records = []
    for i in range(n):
        with placed(source, f"line {line}, request {i}", "vllm bench serve"):
            record = one(document, i, n, begins[i] - zero)
            if paced:
                record.intended_ns = begins[i] - waits[i] - zero
            took = ns_of_s(column(document, "latencies", n)[i]) if "latencies" in document else MISSING
            if starts and record.outcome == Outcome.OK and took > 0:
                record.end_ns = record.sent_ns + took
            records.append(record)
    return tuple(records), _notes(document, records, timed=bool(starts))


def one(document: Mapping[str, Any], i: int, n: int, start_ns: int) -> Record:
    """Request i of the lists that this tool and SGLang share, from `start_ns` on."""
    first = ns_of_s(column(document, "ttfts", n)[i])
    gaps = column(document, "itls", n)[i]
    if not isinstance(gaps, list):
        raise ValueError("its itls are not a list")
    record = Record(index=i, start_ns=start_ns, sent_ns=start_ns)
    error = words(column(document, "errors", n)[i]) if "errors" in document else ""
    length = count(column(document, "output_lens", n)[i])
    if error or (first <= 0 and not gaps):
        failed(record, error, PHRASES.get(error.partition(":")[0], MISSING))
        return record
    spans = [ns_of_s(gap) for gap in gaps]
    if any(number(gap) is None for gap in gaps) or first < 0:
        raise ValueError("one of its times is no number")
    record.outcome, record.isl_usage, record.osl_usage = Outcome.OK, count(column(document, "input_lens", n)[i]), length
    place(record, ((ns, EventKind.CONTENT) for ns in from_gaps(start_ns + first, spans)))
    return record


def _notes(document: Mapping[str, Any], records: list[Record], *, timed: bool) -> list[str]:
    notes = [
        "vllm bench serve starts its clock before it connects, and any chunk with choices is a token to it: TTFT,"
        " latencies and gaps follow that, a role-only chunk ends TTFT; which chunk was one, or reasoning, is not in the"
        " file, so TTFO and TTST are absent",
        "token counts are the server's usage or, without one, the tool's tokenizer: the file does not say which",
    ]
    if timed:
        notes.append("a request ends with its last chunk with choices, a failed one has no end: so do duration, rates")
    else:
        notes.append("the file has no start times: no duration, no throughput, no concurrency; requests all begin at 0")
    ok, said = sum(record.outcome == Outcome.OK for record in records), count(document.get("completed"))
    if said not in (ok, MISSING):
        notes.append(f"its lists have {counted(ok, 'request')} that ended well, its total says {said}")
    return notes
