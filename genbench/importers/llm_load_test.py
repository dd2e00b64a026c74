"""llm-load-test: its JSON with results, config and summary.

Source: src/llm_load_test/{result,utils}.py and plugins/openai_plugin.py of openshift-psap/llm-load-test at b27aad1.
"""

from collections.abc import Mapping
from typing import Any

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
from genbench.types import MISSING, EventKind, Outcome, Record

TOOL = "llm-load-test"
LOOKED_FOR = "llm-load-test: results, config and summary"
ENDPOINTS = {"/v1/chat/completions": "chat", "/v1/completions": "completions"}


def recognise(document: Any) -> str:
    """The name of the format; empty when it is none of this tool's."""
    if not isinstance(document, Mapping) or not {"results", "config", "summary"} <= document.keys():
        return ""
    return "llm-load-test output"


def read(source: Source, line: int, document: Any) -> list[Imported]:
    """The result. Raises DatasetError where it is not as the tool writes it."""
    with placed(source, f"line {line}", "llm-load-test"):
        rows, config = document["results"], document["config"]
        starts = [ns_of_s(part(row, "start_time")) for row in rows]
        zero = min((ns for ns in starts if ns >= 0), default=0)
        records = []
        for i, row in enumerate(rows):
            with placed(source, f"result {i} of {len(rows)}", "llm-load-test"):
                records.append(_record(row, zero))
        streamed = any(record.streamed for record in records)
        options = part(config, "plugin_options")
        load = part(config, "load_options")
        return [
            Imported(
                tool=TOOL,
                version="",
                format=recognise(document),
                model=words(part(options, "model_name")),
                endpoint_type=ENDPOINTS.get(words(part(options, "endpoint")), ""),
                url=words(part(options, "host")),
                load=given(concurrency=count(part(load, "concurrency")), duration_s=number(part(load, "duration"))),
                zero_unix_ns=zero if rows else MISSING,
                records=in_order(records),
                notes=tuple(_notes(records, streamed=streamed)),
                absent=("ttfo", *GAPS) if streamed else (),
            )
        ]


def _record(row: Mapping[str, Any], zero: int) -> Record:
    start, ack, first, end = (ns_of_s(row.get(f"{name}_time")) for name in ("start", "ack", "first_token", "end"))
    if start < 0:
        raise ValueError("it has no start_time")
    record = Record(start_ns=start - zero, sent_ns=start - zero, end_ns=end - zero if end >= 0 else MISSING)
    record.isl_usage, record.osl_usage = count(row.get("input_tokens")), count(row.get("output_tokens"))
    record.finish_reason = words(row.get("stop_reason"))
    code, error = count(row.get("error_code")), row.get("error_text")
    if error is not None or code >= 0:
        failed(record, error if isinstance(error, str) else "" if error is None else str(error), code)
        if code == 200:  # the stream was there, something in it was wrong
            record.outcome = Outcome.STREAM_ERROR if error is not None else Outcome.EMPTY_BODY
    else:
        record.outcome = Outcome.OK
    if first >= 0:
        events = [(ack - zero, EventKind.EMPTY)] if 0 <= ack < first else []
        events.append((first - zero, EventKind.CONTENT))
        if record.osl_usage > 1 and end > first:
            events.append((end - zero, EventKind.CONTENT))
        place(record, events)
    return record


def _notes(records: list[Record], *, streamed: bool) -> list[str]:
    notes = ["llm-load-test starts its clock before it connects, anew for each request: latencies follow that"]
    if streamed:
        notes.append(
            "the file has no moment of the last token: it is taken at the end of the answer, as llm-load-test does, so"
            " request latency and TPOT are its response_time and itl; TTFO, TTST, inter-chunk and inter-token latencies"
            " are absent"
        )
        notes.append("tokens are counted by the usage in each chunk; without one, each chunk is one")
    broken = sum(record.outcome == Outcome.STREAM_ERROR for record in records)
    if broken:
        notes.append(f"{counted(broken, 'answer')} with status 200 that it could not read to the end")
    return notes
