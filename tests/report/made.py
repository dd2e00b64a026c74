"""Runs for the page, made by hand: all kinds of endings, and texts that try to be markup."""

from collections.abc import Sequence
from typing import Any

from genbench.metrics import slo
from genbench.metrics.summary import Run, summarise
from genbench.records import table_from
from genbench.types import Outcome, Record
from tests.metrics.made import ns, stream

HOSTILE = "</script><script>alert('x')</script><img src=x onerror=alert(1)> \u2028 & \"quoted\""


def run(records: Sequence[Record], header: dict[str, Any] | None = None, rules: Sequence[str] = ()) -> Run:
    """A run of these records."""
    table = table_from(records)
    head = header or {}
    return Run(head, table, summarise(table, head, [slo.parse(rule) for rule in rules]))


def streamed(count: int = 120, stride: float = 50.0) -> list[Record]:
    """Requests with 4 to 8 tokens each, 20 ms apart, first token after 40 to 70 ms; lengths differ."""
    made = []
    for i in range(count):
        sent = stride * i
        first = sent + 40 + 3 * (i * 7 % 11)
        tokens = 4 + i % 5
        made.append(stream(i, sent, [first + gap * (20 + i % 3) for gap in range(tokens)], isl=100 + 7 * (i % 13)))
    return made


def failed(count: int = 5, message: str = "HTTP 500: out of memory") -> list[Record]:
    """Requests that ended with a status."""
    return [
        Record(
            index=i,
            intended_ns=ns(10 * i),
            ready_ns=ns(10 * i),
            start_ns=ns(10 * i),
            sent_ns=ns(10 * i + 1),
            sent_end_ns=ns(10 * i + 1.5),
            headers_ns=ns(10 * i + 5),
            end_ns=ns(10 * i + 6),
            status=500,
            outcome=Outcome.HTTP_ERROR,
            error=message,
        )
        for i in range(count)
    ]


def whole(count: int = 60, *, inputs: int = 0) -> list[Record]:
    """Answers in one piece: of a chat, or of embeddings with so many inputs each."""
    made = []
    for i in range(count):
        sent = 20.0 * i
        record = stream(i, sent, [sent + 30 + i % 7], streamed=False, osl=12)
        record.end_ns = ns(sent + 30 + i % 7)
        if inputs:
            record.osl_usage, record.inputs, record.embeddings = -1, inputs, inputs
        made.append(record)
    return made


def header(**other: Any) -> dict[str, Any]:
    """A header as a run has it."""
    return {
        "schema": 1,
        "genbench": "0.1.0",
        "config": {
            "target": {"url": ["http://127.0.0.1:8000"], "model": None, "api_key": "***", "header": []},
            "workload": {"isl": 100, "isl_stddev": 20.0, "osl": 6, "input_file": None},
            "load": {"concurrency": None, "request_rate": 20.0, "duration_s": 6.0},
            "slo": ["ttft.p95<80ms"],
            "seed": 3,
        },
        "named": ["request_rate", "slo"],
        "command": "genbench profile --url http://127.0.0.1:8000 --request-rate 20 --slo 'ttft.p95<80ms'",
        "endpoint_type": "chat",
        "model": "tiny-llama",
        "simulated": False,
        "interrupted": False,
        "seed": 3,
        "salt": "fear master tiny",
        "clock": {"zero_unix_ns": 1_700_000_000_000_000_000},
        "preflight": {"version": "0.25.1", "template_tokens": 21, "models": ["tiny-llama"]},
        "environment": {"host": "bench", "system": "Linux", "cpus": 8, "packages": {"numpy": "2.0.0"}},
        "health": {
            "stamp_source": "kernel stamps",
            "reads_kernel_stamp": 900,
            "cpu_pct": 8.0,
            "cpu_wait_pct": 0.1,
            "loop_lag_ns": {"count": 10, "p50": 100_000, "p90": 200_000, "p99": 300_000, "max": 400_000},
            "clock_steps": 0,
            "connections_opened": 4,
            "connections_replaced": 0,
            "retries": 0,
        },
        **other,
    }


def full(**other: Any) -> Run:
    """Streams and two kinds of failures, a promise kept and one missed."""
    records = streamed()
    cut = stream(120, 6000, [6050, 6070], end=6200, outcome=Outcome.TRUNCATED)
    cut.error = "the stream ended without finish_reason or [DONE]"
    limited = failed(1, "HTTP 429: slow down")[0]
    limited.index, limited.status, limited.retry_after = 121, 429, "2"
    for name in ("intended_ns", "ready_ns", "start_ns", "sent_ns", "sent_end_ns", "headers_ns", "end_ns"):
        setattr(limited, name, getattr(limited, name) + ns(6050))
    return run([*records, cut, limited], header(**other), ("ttft.p95<80ms", "request_latency.p99<100ms"))
