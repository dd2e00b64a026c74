"""One run made by hand and what the exporters make of it; `python -m tests.exporters.golden` writes the files anew."""

from pathlib import Path
from typing import Any

from genbench import registry
from genbench.metrics import slo
from genbench.metrics.summary import Run, summarise
from genbench.records import table_from
from genbench.types import Outcome, Phase, Record
from tests.metrics.made import ns, stream

FOLDER = Path(__file__).parent.parent / "data" / "golden"
HEADER: dict[str, Any] = {
    "schema": 1,
    "config": {
        "target": {"model": "tiny-llama"},
        "load": {"request_rate": 20.0, "concurrency": 4},
        "seed": 3,
    },
    "endpoint_type": "chat",
    "simulated": True,
    "preflight": {"template_tokens": 21},
    "notes": ["every prompt is used 2.4 times: a prefix cache would answer some of them"],
    "health": {"in_flight_mean": 3.2},
    "not_sent": 2,
}
RULES = ("ttft.p95<80ms", "tpot.mean<=25", "error_rate<1%")


def records() -> list[Record]:
    """Two warm-up requests, 48 that end well with 6 tokens each, and four that do not."""
    made = [stream(i, 10.0 * i, [10.0 * i + 40], phase=Phase.WARMUP) for i in range(2)]
    for i in range(2, 50):
        due = 50.0 * i
        sent = due + 0.5 + 7 * (i % 5)
        first = sent + 40 + 3 * (i * 7 % 11)
        times = [first + gap * (20 + i % 3) for gap in range(6)]
        made.append(
            stream(i, sent, times, intended_ns=ns(due), ready_ns=ns(due + 7 * (i % 5)), isl=533, isl_wanted=512)
        )
    made[30].tcp_end_ns, made[30].start_ns = made[30].sent_ns - 1000, made[30].ready_ns
    cut = stream(50, 2510, [2560, 2580], end=2700, outcome=Outcome.TRUNCATED, intended_ns=ns(2500), ready_ns=ns(2509))
    cut.error = "the stream ended without finish_reason or [DONE]"
    limited = Record(
        index=51,
        intended_ns=ns(2550),
        ready_ns=ns(2550),
        start_ns=ns(2550),
        sent_ns=ns(2551),
        sent_end_ns=ns(2551.5),
        headers_ns=ns(2555),
        end_ns=ns(2556),
        status=429,
        retry_after="2",
        outcome=Outcome.HTTP_ERROR,
        error='HTTP 429: rate limit "überschritten",\nplease wait',
    )
    refused = Record(index=52, intended_ns=ns(2600), ready_ns=ns(2600), start_ns=ns(2600), end_ns=ns(2601))
    refused.outcome, refused.error = Outcome.CONNECT_ERROR, "connection refused by 127.0.0.1:8000"
    given_up = stream(53, 2652, [2700], outcome=Outcome.CANCELLED, intended_ns=ns(2650), ready_ns=ns(2650), end=2720)
    return [*made, cut, limited, refused, given_up]


def run() -> Run:
    table = table_from(records())
    return Run(HEADER, table, summarise(table, HEADER, [slo.parse(rule) for rule in RULES]))


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in ("json", "csv", "markdown"):
        registry.load("exporters", name).write(run(), FOLDER)
