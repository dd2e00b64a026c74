"""Runs made by hand for figures: a usual one, and those that have little or nothing to show."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson

from genbench.metrics import slo
from genbench.metrics.summary import Run, summarise
from genbench.records import as_row, open_table, table_from
from genbench.telemetry.figures import Client, figures
from genbench.telemetry.log import Scrape, Told
from genbench.types import Outcome, Phase, Record
from tests.metrics.made import ns, stream

CLOSED: dict[str, Any] = {"config": {"load": {"concurrency": 4, "request_rate": None}}}


def run_of(records: Iterable[Record], rules: Sequence[str] = (), **header: Any) -> Run:
    """A run of these records; `rules` are its promises, `header` goes on top of a closed loop of four."""
    table, info = table_from(records), CLOSED | header
    return Run(info, table, summarise(table, info, [slo.parse(rule) for rule in rules]))


def usual(count: int = 64, slower: float = 0.0) -> Run:
    """Four in flight, four of warm-up, lengths that vary, every 20th answer cut, two promises, the loop watched."""
    made = []
    for i in range(count):
        sent = 150.0 * (i // 4) + i % 4
        isl = 100 + 37 * i % 300
        first = sent + 20 + 0.1 * isl + i % 7 + slower
        times = [first + 9.0 * k + (i + k) % 3 for k in range(5 + i % 5)]
        made.append(stream(i, sent, times, isl=isl, phase=Phase.WARMUP if i < 4 else Phase.MEASURED))
        made[-1].ready_ns = ns(sent - 0.25 * (1 + i * i % 9))
        if i % 20 == 19:
            made[-1].outcome, made[-1].error = Outcome.TRUNCATED, "the stream ended early"
    times = [ns(1000.0 * k) for k in range(3)]
    series = {"t_ns": times, "loop_lag_max_ns": [200_000, 5_000_000, 300_000]}
    return watched(
        run_of(made, ("ttft.p95<70ms", "itl.p99<12ms", "request_latency.mean<2s"), health={"series": series})
    )


def watched(run: Run) -> Run:
    """The run with a server and a GPU that were scraped every 100 ms."""
    first, last = int(run.table.sent_ns.min()), int(run.table.end_ns.max())
    server, gpu = [], []
    for k, t_ns in enumerate(range(first - ns(100.0), last + ns(100.0), ns(100.0))):
        values = {"running": k % 4 + 1.0, "waiting": k % 3 + 0.0, "kv_cache_pct": 10.0 + k % 7}
        server.append(Scrape(t_ns, values))
        told = {"gpu_power": 200.0 + 10 * (k % 5), "gpu_util_pct": 80.0 + k % 9, "gpu_memory_used": 2.0**34}
        gpu.append(Scrape(t_ns, gpus={"GPU-0": told}))
    told_by = (Told("http://a/metrics", "server", "vllm", server), Told("http://b/metrics", "gpu", "dcgm", gpu))
    return replace(run, server=figures(told_by, Client(first, last, {}, 0.0)))


def opened(count: int = 64) -> Run:
    """Arrivals at 40 per second of which a cap lets 20 per second leave, four of warm-up."""
    made = []
    for i in range(count):
        sent, phase = 50.0 * i, Phase.WARMUP if i < 4 else Phase.MEASURED
        made.append(stream(i, sent, [sent + 30, sent + 45], intended_ns=ns(sent / 2), phase=phase))
    return run_of(made, config={"load": {"request_rate": 40.0, "concurrency": 1, "request_count": count - 4}})


def whole(index: int, **other: Any) -> Record:
    """An answer in one piece, 50 ms after the send."""
    record = stream(index, 60.0 * index, [60.0 * index + 50], isl=20 + index, osl=7 + index % 3)
    record.streamed = False
    for name, value in other.items():
        setattr(record, name, value)
    return record


def embedding(index: int) -> Record:
    """Three inputs of 10 tokens and more, embedded."""
    record = whole(index, inputs=3, embeddings=3, osl_usage=-1)
    record.event_kind = [3] * len(record.event_kind)
    return record


def refused(index: int) -> Record:
    """A request that found no connection and was never sent."""
    due = ns(10.0 * index)
    record = Record(index=index, intended_ns=due, ready_ns=due, start_ns=due, end_ns=due + 1_000_000)
    record.outcome, record.error = Outcome.CONNECT_ERROR, "connection refused"
    return record


def failed(index: int) -> Record:
    """A request that was sent and answered with an error."""
    record = stream(index, 10.0 * index, [], end=10.0 * index + 3, outcome=Outcome.HTTP_ERROR, osl=-1)
    record.event_ns, record.event_kind, record.event_choice, record.event_tokens, record.event_shared = (
        [],
        [],
        [],
        [],
        [],
    )
    record.streamed, record.status = False, 503
    return record


def torn(folder: Path) -> Run:
    """What is left of a run that was killed: no account of its health, and half a line at the end of its log."""
    lines = b"".join(
        orjson.dumps(as_row(stream(i, 30.0 * i, [30.0 * i + 20, 30.0 * i + 29]))) + b"\n" for i in range(5)
    )
    (folder / "requests.jsonl").write_bytes(lines + lines[:40])
    table = open_table(folder)
    header = {"interrupted": True, "config": {"load": None}}
    return Run(header, table, summarise(table, header), folder)


def poor(folder: Path) -> dict[str, Run]:
    """Runs with little to show, by what is wrong with them."""
    return {
        "empty": run_of([]),
        "only failures": run_of([failed(i) for i in range(5)]),
        "only refused": run_of([refused(i) for i in range(5)]),
        "nothing streamed": run_of([whole(i) for i in range(12)]),
        "embeddings": run_of([embedding(i) for i in range(12)], endpoint_type="embeddings"),
        "one request": run_of([stream(0, 5, [25, 35, 50])]),
        "one token each": run_of([stream(i, 40.0 * i, [40.0 * i + 20]) for i in range(6)]),
        "only warm-up": run_of([stream(i, 40.0 * i, [40.0 * i + 20], phase=Phase.WARMUP) for i in range(6)]),
        "torn log": torn(folder),
    }
