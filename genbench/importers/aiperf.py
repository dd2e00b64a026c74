"""AIPerf: profile_export.jsonl (one line per request) and profile_export_aiperf.json (figures only).

Source: aiperf/common/models/export_models.py, metrics/types/*.py and exporters/*.py of AIPerf 0.13.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from genbench.errors import DatasetError
from genbench.importers._common import (
    NS_PER_MS,
    Imported,
    Source,
    Spread,
    count,
    counted,
    failed,
    figure,
    from_gaps,
    given,
    in_order,
    ns_of_ms,
    number,
    part,
    place,
    placed,
    spread,
    words,
)
from genbench.types import MISSING, EventKind, Outcome, Phase, Record

TOOL = "aiperf"
LOOKED_FOR = "AIPerf: aiperf_version (profile_export_aiperf.json), or lines with metadata and metrics"
SCHEMA = (1, 4)
BESIDE = "profile_export_aiperf.json"
SAME = {"inter_chunk_latency": "icl", "usage_prompt_tokens": "isl", "usage_completion_tokens": "osl"}
UNITS = {"isl": "token", "osl": "token"}
CANCELLED = 499
Row = Mapping[str, Any]


def recognise(document: Any) -> str:
    """The name of the format; empty when it is none of this tool's."""
    if not isinstance(document, Mapping):
        return ""
    if "aiperf_version" in document:
        return BESIDE
    is_row = isinstance(document.get("metrics"), Mapping) and isinstance(document.get("metadata"), Mapping)
    return "profile_export.jsonl" if is_row and "request_start_ns" in document["metadata"] else ""


def read(source: Source, line: int, document: Any) -> list[Imported]:
    """The figures, or with the file's first line the requests of all lines. Raises DatasetError."""
    if "aiperf_version" in document:
        with placed(source, f"line {line}", "AIPerf"):
            return [_figures(source.path, document)]
    return [_requests(source)] if line == source.documents[0][0] else []


# -- figures ----------------------------------------------------------------------------------------------------------


def _figures(path: Path, document: Row) -> Imported:
    _check(path, document)
    metrics: dict[str, Spread] = {}
    run: dict[str, Spread] = {}
    for tag, value in document.items():
        if not isinstance(value, Mapping) or "unit" not in value:
            continue
        numbers = [name for name, one in value.items() if number(one) is not None]
        if numbers == ["avg"]:
            run[f"{TOOL}.{tag}"] = figure(value["avg"], words(value["unit"]))
        elif numbers:
            key = SAME.get(tag)
            metrics[key or f"{TOOL}.{tag}"] = spread(value, UNITS.get(key or "", ""))
            if key:  # of the population there, of the sample here
                metrics[key].pop("std", None)
    setup = _setup(document)
    return Imported(
        format=BESIDE,
        metrics=metrics,
        run=run,
        notes=tuple(_shortfall(document)),
        **setup,
    )


def _check(path: Path, document: Row) -> None:
    version = words(document.get("schema_version")) or "1.0"
    numbers = version.split(".")
    known = all(one.isdigit() for one in numbers) and len(numbers) > 1
    if not known or (int(numbers[0]), int(numbers[1])) > SCHEMA or int(numbers[0]) != SCHEMA[0]:
        raise DatasetError(
            f"{path} has AIPerf's schema {version}; read here are {SCHEMA[0]}.0 to {SCHEMA[0]}.{SCHEMA[1]}"
        )


def _setup(document: Row) -> dict[str, Any]:
    """What it says of the run, as the fields of `Imported`."""
    asked = document.get("input_config")
    phase = part(asked, "phases", -1)
    prompts = part(asked, "datasets", 0, "prompts")
    endpoint = words(part(asked, "endpoint", "type"))
    rate = number(part(phase, "rate")) or number(part(phase, "request_rate"))
    seed = count(part(document, "run_info", "random_seed"))
    made = "".join(c for c in words(document.get("start_time"))[:19] if c.isdigit() or c == "T")
    arrival = {"poisson": "poisson", "constant": "constant", "gamma": "gamma"}.get(words(part(phase, "type")))
    return {
        "tool": TOOL,
        "version": words(document.get("aiperf_version")),
        "model": words(part(asked, "models", "items", 0, "name")),
        "endpoint_type": endpoint if endpoint in ("chat", "completions", "embeddings") else "",
        "url": words(part(asked, "endpoint", "urls", 0)),
        "load": given(
            concurrency=count(part(phase, "concurrency")),
            request_rate=rate,
            arrival=arrival,
            duration_s=number(part(phase, "duration")),
            request_count=count(part(phase, "requests")),
        ),
        "workload": given(isl=_mean(part(prompts, "isl")), osl=_mean(part(prompts, "osl"))),
        "seed": seed if seed >= 0 else None,
        "made": f"{made}Z" if len(made) == 15 else "",
    }


def _mean(lengths: Any) -> int | None:
    found = count(part(lengths, "mean"))
    return found if found > 0 else None


def _shortfall(document: Row) -> list[str]:
    notes = []
    if document.get("was_cancelled"):
        notes.append("AIPerf's run was cancelled")
    if document.get("is_complete") is False:
        why = words(document.get("incomplete_reason")) or "it does not say why"
        notes.append(f"AIPerf calls its run incomplete: {why}")
    errors = sum(max(count(part(one, "count")), 0) for one in document.get("error_summary") or [])
    if errors:
        notes.append(f"{counted(errors, 'error')}: in no figure but those named so")
    return notes


# -- requests ---------------------------------------------------------------------------------------------------------


def _requests(source: Source) -> Imported:
    rows = [(line, row) for line, row in source.documents if isinstance(row, Mapping)]
    if len(rows) < len(source.documents):
        line = next(line for line, row in source.documents if not isinstance(row, Mapping))
        raise DatasetError(f"{source.path} line {line} is no object; remove that line or export it again")
    facts = _Facts([row for _, row in rows])
    records = []
    for line, row in rows:
        with placed(source, f"line {line}", "AIPerf"):
            records.append(_record(row, facts))
    beside, said = _beside(source.path, records)
    notes = [*said, *_notes(records)]
    if beside is None:
        setup: dict[str, Any] = {"tool": TOOL, "version": ""}
    else:
        setup = _setup(beside)
    setup["made"] = ""
    return Imported(
        format="profile_export.jsonl",
        zero_unix_ns=facts.zero,
        records=in_order(records),
        notes=tuple(notes),
        **setup,
    )


class _Facts:
    """What has to be known of all rows before one is read: their zero, their conversations, whose counts they have."""

    def __init__(self, rows: Sequence[Row]) -> None:
        moments = [
            count(part(row, "metadata", name)) for row in rows for name in ("credit_issued_ns", "request_start_ns")
        ]
        self.zero = min((ns for ns in moments if ns >= 0), default=0)
        turns = any(count(part(row, "metadata", "turn_index")) > 0 for row in rows)
        names = [words(part(row, "metadata", "x_correlation_id")) for row in rows] if turns else []
        self.sessions = {name: k for k, name in enumerate(dict.fromkeys(names))}
        self.visible = any("time_to_first_output_token" in row["metrics"] for row in rows if "metrics" in row)
        pairs = [(_count(row, "usage_completion_tokens"), _count(row, "output_sequence_length")) for row in rows]
        pairs += [(_count(row, "usage_prompt_tokens"), _count(row, "input_sequence_length")) for row in rows]
        # Where every length is the usage it was asked to take that for its own (--use-server-token-count).
        self.tokenized = any(usage != own for usage, own in pairs)

    def at(self, ns: int) -> int:
        """A moment of the wall clock from the zero."""
        return ns - self.zero if ns >= 0 else MISSING


def _value(row: Row, tag: str) -> Any:
    return part(row, "metrics", tag, "value")


def _count(row: Row, tag: str) -> int:
    return count(_value(row, tag))


def _record(row: Row, facts: _Facts) -> Record:
    meta = row["metadata"]
    start = count(meta["request_start_ns"])
    if start < 0:
        raise ValueError("request_start_ns is no moment")
    record = Record(start_ns=facts.at(start), sent_ns=facts.at(start), ready_ns=facts.at(_issued(meta)))
    record.headers_ns = facts.at(count(meta.get("request_ack_ns")))
    record.end_ns = facts.at(count(meta.get("request_end_ns")))
    record.phase = Phase.WARMUP if meta.get("benchmark_phase") == "warmup" else Phase.MEASURED
    record.session = facts.sessions.get(words(meta.get("x_correlation_id")), MISSING)
    record.turn = max(count(meta.get("turn_index")), 0)
    record.isl_usage, record.osl_usage = (_count(row, f"usage_{end}_tokens") for end in ("prompt", "completion"))
    if facts.tokenized:
        record.isl_tokenizer, record.osl_tokenizer = (_count(row, f"{end}put_sequence_length") for end in ("in", "out"))
    record.cached_tokens = _count(row, "usage_prompt_cache_read_tokens")
    record.reasoning_tokens = _count(row, "usage_reasoning_tokens")
    record.osl_wanted = _count(row, "requested_osl")
    _outcome(record, row)
    first = ns_of_ms(_value(row, "time_to_first_token"))
    if first >= 0:
        place(record, _events(row, record.sent_ns + first, facts, record.sent_ns))
    return record


def _issued(meta: Row) -> int:
    issued, start = count(meta.get("credit_issued_ns")), count(meta["request_start_ns"])
    return issued if issued <= start else MISSING


def _events(row: Row, first: int, facts: _Facts, start: int) -> list[tuple[int, EventKind]]:
    gaps = _value(row, "inter_chunk_latency")
    gaps = [] if gaps is None else gaps if isinstance(gaps, list) else [gaps]
    if any(number(gap) is None for gap in gaps):
        raise ValueError("inter_chunk_latency has an entry that is no number")
    visible = ns_of_ms(_value(row, "time_to_first_output_token"))
    until = first if not facts.visible else start + visible if visible >= 0 else 1 << 62
    moments = from_gaps(first, [round(gap * NS_PER_MS) for gap in gaps])
    return [(ns, EventKind.CONTENT if ns >= until else EventKind.REASONING) for ns in moments]


def _outcome(record: Record, row: Row) -> None:
    error = row.get("error")
    code = count(part(error, "code"))
    if row["metadata"].get("was_cancelled") or code == CANCELLED:
        record.outcome, record.error = Outcome.CANCELLED, words(part(error, "message"))
    elif error is None:
        record.outcome = Outcome.OK
    else:
        kind, text = words(part(error, "type")), words(part(error, "message"))
        failed(record, f"{kind}: {text}" if kind else text, code)
        if kind == "InvalidInferenceResultError":
            record.outcome = Outcome.EMPTY_BODY


def _beside(path: Path, records: Sequence[Record]) -> tuple[Row | None, list[str]]:
    """The figures' file next to it, when it is of the same run: it has the model and the load, which this has not."""
    file = path.with_name(BESIDE)
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return None, [f"no model and no load: they are in {BESIDE}, which is not beside this file"]
    measured = [record for record in records if record.phase == Phase.MEASURED]
    ok = sum(record.outcome == Outcome.OK for record in measured)
    said = number(part(found, "request_count", "avg"))
    if not recognise(found) or said != ok:
        return None, [f"no model and no load: the {BESIDE} beside this file is of another run"]
    _check(file, found)
    return found, [f"model and load are from the {BESIDE} beside the file"]


def _notes(records: Sequence[Record]) -> list[str]:
    notes = [
        "AIPerf starts its clock before it has a connection: TTFT and latencies follow that; client lag is the time"
        " from its credit to its start",
        "an answer ends with its last content; AIPerf looks neither at finish_reason nor at [DONE], so one that broke"
        " off is ok",
    ]
    if any(record.end_ns >= 0 and record.outcome == Outcome.CANCELLED for record in records):
        notes.append("requests that AIPerf cancelled are cancelled here")
    if any(record.osl_tokenizer >= 0 and record.osl_usage < 0 for record in records):
        notes.append("output lengths are AIPerf's tokenizer's")
    return notes
