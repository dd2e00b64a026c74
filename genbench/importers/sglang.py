"""SGLang's bench_serving: JSON lines, with or without --output-details.

Source: python/sglang/benchmark/serving.py of sgl-project/sglang at 00f9ec4.
"""

from collections.abc import Mapping
from typing import Any

from genbench.importers import vllm
from genbench.importers._common import Imported, Source, count, counted, number, part, placed, words
from genbench.types import MISSING, Outcome, Record

TOOL = "sglang"
LOOKED_FOR = "SGLang bench_serving: backend, total_throughput and completed"
OWN = ("request_throughput", "output_throughput", "total_throughput", "duration")


def recognise(document: Any) -> str:
    """The name of the format; empty when it is none of this tool's."""
    if not isinstance(document, Mapping) or not {"backend", "total_throughput", "completed"} <= document.keys():
        return ""
    return "SGLang bench_serving, with details" if "ttfts" in document else "SGLang bench_serving"


def read(source: Source, line: int, document: Any) -> list[Imported]:
    """The result in one line. Raises DatasetError where it is not as the tool writes it."""
    with placed(source, f"line {line}", "SGLang"):
        records: tuple[Record, ...] = ()
        if "ttfts" in document:
            records = _requests(source, line, document)
        metrics, run = vllm.figures(TOOL, document)
        rate, info = document.get("request_rate"), document.get("server_info")
        load = {} if rate == "trace" else vllm.load_of(rate, count(document.get("max_concurrency")), document)
        return [
            Imported(
                tool=TOOL,
                version="",
                format=recognise(document),
                model=words(part(info, "served_model_name")) or words(part(info, "model_path")),
                endpoint_type=vllm.kind_of(words(document["backend"])),
                load=load,
                records=records,
                metrics={} if records else metrics,
                run={} if records else run,
                notes=tuple(_notes(document, records)) if records else (),
                absent=("ttfo",) if records else (),
            )
        ]


def _requests(source: Source, line: int, document: Mapping[str, Any]) -> tuple[Record, ...]:
    n, records = len(document["ttfts"]), []
    cached = document.get("cached_tokens")
    for i in range(n):
        with placed(source, f"line {line}, request {i}", "SGLang"):
            record = vllm.one(document, i, n, 0)
            record.cached_tokens = count(part(cached, i)) if record.outcome == Outcome.OK else MISSING
            records.append(record)
    return tuple(records)


def _notes(document: Mapping[str, Any], records: tuple[Record, ...]) -> list[str]:
    notes = [
        "SGLang starts its clock before it connects, with a new connection for each request: TTFT and latencies follow"
        " that",
        "the file has no start times: no duration, no throughput, no concurrency; requests all begin at 0",
        "output lengths are the server's usage or, without one, the length that was asked for: the file does not say"
        " which; its own latency goes on to [DONE], ours ends with the last text",
    ]
    said = [f"{name} {known:.4g}" for name in OWN if (known := number(document.get(name))) is not None]
    if said:
        notes.append(f"its own figures of the run: {', '.join(said)}")
    if document["backend"] in ("sglang", "sglang-native"):
        notes.append("its native backend splits a chunk's gap evenly over the tokens in it: so are these gaps")
    empty = count(document.get("completed")) - sum(record.outcome == Outcome.OK for record in records)
    if empty > 0:
        notes.append(f"{counted(empty, 'answer')} that it calls a success had no text: a failure here")
    return notes
