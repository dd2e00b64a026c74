"""`vllm bench serve`: a chunk with choices is a token, whatever is in it.

Source: vllm/benchmarks/serve.py and lib/endpoint_request_func.py of vLLM 0.32.
"""

import numpy as np

from genbench.metrics.definitions import isl, osl
from genbench.metrics.dialects.messages import CHOICES, Messages, messages
from genbench.metrics.dialects.rows import (
    NS_PER_MS,
    Dialect,
    Row,
    Shown,
    cancelled_note,
    counted,
    ended,
    figure,
    given_up,
    is_embeddings,
    numpy_rule,
    per_second,
    seconds_between,
    spread,
    total_of,
)
from genbench.metrics.summary import Run
from genbench.records import Bools, Ints
from genbench.types import Outcome

NAME, TOOL = "vllm", "vllm bench serve 0.32"
SHOWN = Shown((("Mean", "mean"), ("Median", "p50"), ("P99", "p99"), ("std (result file)", "std")), numpy_rule)
FROM_START = "from start_ns: the client's delay and connecting are inside"
ANY_CHUNK = "a role or finish chunk counts"


def translate(run: Run) -> Dialect:
    """The run as `vllm bench serve` would have told it."""
    if is_embeddings(run):
        return Dialect(NAME, TOOL, tuple(_embeddings(run)), tuple(cancelled_note(run)))
    table = run.table
    if len(table) and not (table.streamed & table.measured).any():
        return Dialect(NAME, TOOL, (), ("it always streams; no measured request of this run was answered by a stream",))
    chunks = messages(table, CHOICES)
    done = ended(table, Outcome.OK, Outcome.NO_OUTPUT, Outcome.STREAM_ERROR) & table.streamed & (chunks.count > 0)
    return Dialect(NAME, TOOL, (*_whole(run, chunks, done), *_latencies(run, chunks, done)), tuple(_notes(run, done)))


def _counts(run: Run, done: Bools) -> tuple[list[Row], float | None]:
    """The first rows of its table, and its duration."""
    table = run.table
    failed = int((table.measured & ~done & ~given_up(table)).sum())
    ok = run.summary.outcomes.get("ok", 0)
    seconds = seconds_between(table.start_ns[table.measured], table.end_ns[table.measured])
    why = "one chunk with choices makes a success, an error after it included"
    rows = [
        figure(run, "Successful requests", "", int(done.sum()), "", why, ours=ok),
        figure(run, "Failed requests", "", failed, "", why, ours=int((table.measured & ~given_up(table)).sum()) - ok),
        figure(run, "Benchmark duration", "s", seconds, "duration", "begins with the first start_ns, not the send"),
    ]
    return rows, seconds


def _whole(run: Run, chunks: Messages, done: Bools) -> list[Row]:
    """The figures of the whole run."""
    table = run.table
    rows, seconds = _counts(run, done)
    tokens_in, tokens_out = _sum(isl(table), done), _sum(osl(table), done)
    over = "over its successes and its duration"
    peak_tokens, peak_requests = _peaks(run, chunks, done)
    none = done.any()
    return [
        *rows,
        figure(run, "Total input tokens", "", tokens_in, "", over, ours=total_of(table, "isl")),
        figure(run, "Total generated tokens", "", tokens_out, "", over, ours=total_of(table, "osl")),
        figure(run, "Request throughput", "req/s", per_second(int(done.sum()), seconds), "request_throughput", over),
        figure(
            run,
            "Output token throughput",
            "tok/s",
            per_second(tokens_out, seconds) if none else None,
            "output_token_throughput",
            over,
        ),
        figure(
            run,
            "Peak output token throughput",
            "tok/s",
            peak_tokens,
            "",
            f"most chunks with choices in one second of the clock, counted from the first start; {ANY_CHUNK}",
        ),
        figure(
            run,
            "Peak concurrent requests",
            "",
            peak_requests,
            "concurrency_max",
            "requests that touch the same second of the clock, in flight together or not; successes only",
        ),
        figure(
            run,
            "Total token throughput",
            "tok/s",
            per_second(tokens_in + tokens_out, seconds) if none else None,
            "total_token_throughput",
            over,
        ),
    ]


def _sum(lengths: Ints, among: Bools) -> float:
    return float(lengths[among & (lengths >= 0)].sum())


def _peaks(run: Run, chunks: Messages, done: Bools) -> tuple[float | None, float | None]:
    """Most chunks and most requests in one calendar second from the first start."""
    if not done.any():
        return None, None
    start = run.table.start_ns[done]
    zero = start.min()
    begins, ends = (start - zero) // 10**9, (chunks.last[done] - zero) // 10**9
    second = (chunks.ns[done[chunks.row]] - zero) // 10**9
    change = np.zeros(int(ends.max()) + 2, dtype=np.int64)
    np.add.at(change, begins, 1)
    np.add.at(change, ends + 1, -1)
    return float(np.bincount(second).max()), float(np.cumsum(change).max())


def _latencies(run: Run, chunks: Messages, done: Bools) -> list[Row]:
    """The distributions, in ms."""
    table = run.table
    length = osl(table)
    several = done & (length > 1)
    span = (chunks.last - chunks.first) / NS_PER_MS
    latency = ((chunks.last - table.start_ns) / NS_PER_MS)[done]
    rows = [
        spread(
            run,
            "TTFT",
            "ms",
            ((chunks.first - table.start_ns) / NS_PER_MS)[done],
            SHOWN,
            "ttft",
            f"the first chunk with choices ends it, a role-only one too; {FROM_START}; population std",
        ),
        spread(
            run,
            "TPOT",
            "ms",
            span[several] / (length[several] - 1),
            SHOWN,
            "tpot",
            f"first to last chunk with choices ({ANY_CHUNK}) / (all output tokens - 1); 0 where they came together",
            nothing="no answer of two tokens or more",
        ),
        spread(
            run,
            "ITL",
            "ms",
            chunks.gaps(done) / NS_PER_MS,
            SHOWN,
            "icl",
            f"gaps between chunks with choices, {ANY_CHUNK}; never divided by the tokens in them",
            nothing="no answer of two chunks or more",
        ),
        spread(
            run,
            "E2EL",
            "ms",
            latency,
            SHOWN,
            "request_latency",
            f"to the last chunk with choices, {ANY_CHUNK}; {FROM_START}; printed when asked for",
        ),
    ]
    return [*rows, *_queue(run, done)]


def _queue(run: Run, done: Bools) -> list[Row]:
    """What it calls the client's queue: only with a rate, and a cap on the requests in flight."""
    load = run.header.get("config", {}).get("load", {})
    rate = load.get("request_rate")
    if load.get("concurrency") is None or not isinstance(rate, int | float) or not np.isfinite(rate):
        return []
    table = run.table
    waited = ((table.start_ns - table.intended_ns) / NS_PER_MS)[done & (table.intended_ns >= 0)]
    why = "from the arrival to start_ns: lateness of the client is inside; printed when asked for"
    return [spread(run, "Client Queue Time", "ms", waited, SHOWN, "cap_wait", why)]


def _embeddings(run: Run) -> list[Row]:
    """Its table for embeddings: one answer, no stream."""
    table = run.table
    done = table.ok
    rows, seconds = _counts(run, done)
    tokens = _sum(isl(table), done)
    inputs = int(table.inputs[done].sum())
    latency = ((table.end_ns - table.start_ns) / NS_PER_MS)[done]
    some = done.any()
    over = "over its duration"
    rate = per_second(int(done.sum()), seconds) if some else None
    return [
        *rows,
        figure(run, "Total input tokens", "", tokens, "", "", ours=total_of(table, "isl")),
        figure(run, "Request throughput", "req/s", rate, "request_throughput", over),
        figure(run, "Input throughput", "inputs/s", per_second(inputs, seconds), "embedding_throughput", over),
        figure(run, "Total token throughput", "tok/s", per_second(tokens, seconds), "input_token_throughput", over),
        spread(run, "E2EL", "ms", latency, SHOWN, "request_latency", f"{FROM_START}; population std"),
    ]


def _notes(run: Run, done: Bools) -> list[str]:
    table, notes = run.table, []
    broken = int((done & ended(table, Outcome.STREAM_ERROR)).sum())
    if broken:
        notes.append(
            f"{counted(broken, 'answer')} broken off by an error inside the stream: a success for it, as an error sent"
            " as plain data is; one sent as 'event: error' fails there, and the log does not tell them apart"
        )
    cut = int(ended(table, Outcome.TRUNCATED).sum())
    if cut:
        notes.append(
            f"{counted(cut, 'truncated answer')}: failed here, as when the connection breaks off; one that ends cleanly"
            " without a finish_reason is a success there"
        )
    unknown = int((done & (osl(table) < 0)).sum())
    if unknown:
        notes.append(
            f"{counted(unknown, 'answer')} without a token count: it would tokenise the text, which is not in the log;"
            " left out of tokens and TPOT"
        )
    return [*notes, *cancelled_note(run)]
