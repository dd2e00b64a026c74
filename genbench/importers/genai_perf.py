"""GenAI-Perf: profile_export.json (perf_analyzer's raw log), *_genai_perf.json and *_genai_perf.csv (figures only).

Source: src/profile_data_exporter.cc, genai_perf/export_data/*.py and profile_data_parser/llm_profile_data_parser.py of
triton-inference-server/perf_analyzer at 263c5f6.
"""

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from genbench import registry
from genbench.decode import ResponseDecoder
from genbench.errors import DatasetError
from genbench.importers._common import (
    Imported,
    Source,
    Spread,
    count,
    counted,
    figure,
    given,
    in_order,
    number,
    part,
    placed,
    spread,
    words,
)
from genbench.types import MISSING, Outcome, Record, Reply

TOOL = "genai-perf"
LOOKED_FOR = "GenAI-Perf: experiments and service_kind (profile_export.json), input_config and metrics, or its CSV"
RAW, JSON, CSV = "profile_export.json", "profile_export_genai_perf.json", "profile_export_genai_perf.csv"
SYSTEM = ("request_throughput", "request_goodput", "request_count", "output_token_throughput")
HEAD = "Metric,avg,min,max,p99,"
ENDPOINTS = {"v1/chat/completions": "chat", "v1/completions": "completions", "v1/embeddings": "embeddings"}
NAMED = re.compile(r"(.+?)(?: \(([^)]*)\))?")


def recognise(document: Any) -> str:
    """The name of the format; empty when it is none of this tool's. A text stands for a file that is no JSON."""
    if isinstance(document, str):
        return CSV if document.lstrip().startswith(HEAD) else ""
    if not isinstance(document, Mapping):
        return ""
    if {"experiments", "service_kind"} <= document.keys():
        return RAW
    known = any(isinstance(document.get(name), Mapping) for name in ("request_latency", "request_throughput"))
    return JSON if known and "input_config" in document and "aiperf_version" not in document else ""


def read(source: Source, line: int, document: Any) -> list[Imported]:
    """Its experiments, or its figures. Raises DatasetError where it is not as the tool writes it."""
    with placed(source, f"line {line}", "GenAI-Perf"):
        if isinstance(document, str):
            return [_table(document)]
        if "experiments" in document:
            return [_experiment(source, k, document, one) for k, one in enumerate(document["experiments"])]
        return [_figures(document)]


# -- figures ----------------------------------------------------------------------------------------------------------


def _figures(document: Mapping[str, Any]) -> Imported:
    metrics: dict[str, Spread] = {}
    run: dict[str, Spread] = {}
    for name, value in document.items():
        if not isinstance(value, Mapping) or "unit" not in value:
            continue
        average = number(value.get("avg"))
        if name in SYSTEM and average is not None:
            run[f"{TOOL}.{name}"] = figure(average, words(value["unit"]))
        elif any(number(one) is not None for one in value.values()):
            metrics[f"{TOOL}.{name}"] = spread(value)
    asked = document.get("input_config")
    models = part(asked, "model_names")
    stimulus = part(asked, "perf_analyzer", "stimulus")
    kind = words(part(asked, "endpoint", "type"))
    return Imported(
        tool=TOOL,
        version="",
        format=JSON,
        model=words(models) or words(part(models, 0)),
        endpoint_type=kind if kind in ENDPOINTS.values() else "",
        load=given(
            concurrency=count(part(stimulus, "concurrency")), request_rate=number(part(stimulus, "request_rate"))
        ),
        metrics=metrics,
        run=run,
    )


def _table(text: str) -> Imported:
    """The first two tables of the CSV; numbers are rounded to two places there."""
    metrics: dict[str, Spread] = {}
    run: dict[str, Spread] = {}
    for name, unit, numbers in _rows(text):
        key = f"{TOOL}.{name.lower().replace(' ', '_')}"
        if set(numbers) == {"Value"}:
            run[key] = figure(numbers["Value"], unit)
        elif numbers:
            metrics[key] = spread(numbers, unit)
    if not metrics and not run:
        raise ValueError("it has no metric")
    return Imported(
        tool=TOOL,
        version="",
        format=CSV,
        metrics=metrics,
        run=run,
        notes=("the CSV is rounded to two places, and has neither model nor load",),
    )


def _rows(text: str) -> Iterator[tuple[str, str, dict[str, float]]]:
    head: list[str] = []
    for cells in csv.reader(io.StringIO(text)):
        if not cells:
            head = []
        elif not head:
            if cells[0] != "Metric":
                return  # telemetry comes after the metrics
            head = cells
        else:
            match = NAMED.fullmatch(cells[0])
            if match is None or len(cells) != len(head):
                raise ValueError(f"the row of '{cells[0]}' has {len(cells)} cells, its head {len(head)}")
            found = {}
            for name, cell in zip(head[1:], cells[1:], strict=True):
                if cell not in ("", "N/A") and (value := number(float(cell.replace(",", "")))) is not None:
                    found[name] = value
            yield match[1], match[2] or "", found


# -- requests ---------------------------------------------------------------------------------------------------------


def _experiment(source: Source, k: int, document: Mapping[str, Any], one: Mapping[str, Any]) -> Imported:
    if document["service_kind"] != "openai":
        raise DatasetError(
            f"{source.path} is of service kind {document['service_kind']}; only openai is read here, its figures are in"
            f" {JSON}"
        )
    rows = one["requests"]
    kind = ENDPOINTS.get(words(document.get("endpoint")).strip("/"), "")
    zero = min((ns for row in rows if (ns := count(part(row, "timestamp"))) >= 0), default=0)
    records, model = [], ""
    for i, row in enumerate(rows):
        with placed(source, f"experiment {k}, request {i} of {len(rows)}", "GenAI-Perf"):
            asked = _payload(row)
            model = model or words(asked.get("model"))
            records.append(_record(row, asked, zero, kind or "chat"))
    mode, value = words(part(one, "experiment", "mode")), number(part(one, "experiment", "value"))
    return Imported(
        tool=TOOL,
        version=words(document.get("version")),
        format=RAW,
        model=model,
        endpoint_type=kind,
        load=given(concurrency=count(value)) if mode == "concurrency" else given(request_rate=value),
        zero_unix_ns=zero if rows else MISSING,
        records=in_order(records),
        notes=tuple(_notes(records)),
    )


def _payload(row: Mapping[str, Any]) -> dict[str, Any]:
    found = part(row, "request_inputs", "payload")
    try:
        body = json.loads(found) if isinstance(found, str) else found
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _record(row: Mapping[str, Any], asked: Mapping[str, Any], zero: int, kind: str) -> Record:
    start, stamps, outputs = count(row["timestamp"]), row["response_timestamps"], row["response_outputs"]
    if start < 0:
        raise ValueError("its timestamp is no moment")
    if len(stamps) != len(outputs):
        raise ValueError(f"it has {len(stamps)} response_timestamps and {len(outputs)} response_outputs")
    record = Record(start_ns=start - zero, sent_ns=start - zero)
    record.osl_wanted = count(asked.get("max_tokens") or asked.get("max_completion_tokens"))
    texts = [words(part(output, "response")) for output in outputs]
    moments = [count(stamp) for stamp in stamps]
    if any(stamp < 0 for stamp in moments):
        raise ValueError("one of its response_timestamps is no moment")
    reply = Reply(status=200)
    for stamp, text in zip(moments, texts, strict=True):
        if text:
            reply.chunks.append((stamp - zero, _whole(text).encode()))
    record.end_ns = moments[-1] - zero if moments else MISSING
    decoder = ResponseDecoder(record, registry.load("endpoints", kind))
    decoder.feed(reply)
    decoder.finish(reply)
    record.status = MISSING  # the file has none
    return record


def _whole(text: str) -> str:
    """A response that is one whole message but lost the blank line that ends it gets it back."""
    if text.endswith("\n") or not text.startswith("data:"):
        return text
    body = text.removeprefix("data:").strip()
    try:
        return text if body != "[DONE]" and not isinstance(json.loads(body), dict) else f"{text}\n\n"
    except ValueError:
        return text  # the rest comes with the next response


def _notes(records: list[Record]) -> list[str]:
    notes = [
        "perf_analyzer starts its clock before it connects, on the wall clock: TTFT and latencies follow that",
        "outcomes are judged by the text of the answers; perf_analyzer gives all that came with one read one moment",
    ]
    unknown = sum(record.outcome == Outcome.OK and record.osl_usage < 0 for record in records)
    if unknown:
        notes.append(
            f"{counted(unknown, 'answer')} without usage: GenAI-Perf counts by its tokenizer, so lengths, TPOT and"
            " token throughput are absent here"
        )
    return notes
