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
    Sheet,
    Shown,
    broken_notes,
    cancelled_note,
    ended,
    is_embeddings,
    known,
    load_of,
    not_done,
    numpy_rule,
    ok_count,
    seconds_between,
    total_of,
    unknown_note,
)
from genbench.metrics.summary import Run
from genbench.records import Bools
from genbench.types import Outcome

NAME, TOOL = "vllm", "vllm bench serve 0.32"
SHOWN = Shown((("Mean", "mean"), ("Median", "p50"), ("P99", "p99"), ("std (result file)", "std")), numpy_rule)
FROM_START = "from start_ns: the client's delay and connecting are inside"
ANY_CHUNK = "role and finish chunks count"
SECOND = 10**9


def translate(run: Run) -> Dialect:
    """The run as `vllm bench serve` would have told it."""
    table, sheet = run.table, Sheet(run, SHOWN)
    if is_embeddings(run):
        return Dialect(NAME, TOOL, tuple(_embeddings(sheet)), tuple(cancelled_note(run)))
    if len(table) and not (table.streamed & table.measured).any():
        return Dialect(NAME, TOOL, (), ("it always streams; no measured request of this run was answered by a stream",))
    chunks = messages(table, CHOICES)
    done = ended(table, Outcome.OK, Outcome.NO_OUTPUT, Outcome.STREAM_ERROR) & table.streamed & (chunks.count > 0)
    rows = (*_whole(sheet, chunks, done), *_latencies(sheet, chunks, done), *_queue(sheet, done))
    notes = (*broken_notes(table, done, "success"), *unknown_note(done, osl(table)), *cancelled_note(run))
    return Dialect(NAME, TOOL, rows, notes)


def _counts(sheet: Sheet, done: Bools, why: str) -> tuple[list[Row], float | None]:
    """The first rows of its table, and its duration."""
    table, ok = sheet.run.table, ok_count(sheet.run)
    seconds = seconds_between(table.start_ns[table.measured], table.end_ns[table.measured])
    failed = not_done(table, table.ok)
    return [
        sheet.count("Successful requests", "", int(done.sum()), why, ok),
        sheet.count("Failed requests", "", not_done(table, done), "all others", failed),
        sheet.figure("Benchmark duration", "s", seconds, "duration", "begins with the first start_ns, not the send"),
    ], seconds


def _whole(sheet: Sheet, chunks: Messages, done: Bools) -> list[Row]:
    """The figures of the whole run."""
    table = sheet.run.table
    rows, seconds = _counts(sheet, done, "a chunk with choices makes a success, even with an error after it")
    tokens_in, tokens_out = (float(known(of(table), done).sum()) for of in (isl, osl))
    over, of_them = "its successes over its duration", "of its successes"
    peak_tokens, peak_requests = _peaks(sheet.run, chunks, done)
    most = f"most chunks with choices in one second, counted from the first start; {ANY_CHUNK}; no figure of ours"
    touch = "successes that touch the same second, in flight together or not"
    return [
        *rows,
        sheet.count("Total input tokens", "", tokens_in, of_them, total_of(table, "isl")),
        sheet.count("Total generated tokens", "", tokens_out, of_them, total_of(table, "osl")),
        *sheet.rates("req/s", seconds, over, ("Request throughput", int(done.sum()), "request_throughput")),
        *sheet.rates("tok/s", seconds, over, ("Output token throughput", tokens_out, "output_token_throughput")),
        sheet.figure("Peak output token throughput", "tok/s", peak_tokens, "", most),
        sheet.figure("Peak concurrent requests", "", peak_requests, "concurrency_max", touch),
        *sheet.rates(
            "tok/s", seconds, over, ("Total token throughput", tokens_in + tokens_out, "total_token_throughput")
        ),
    ]


def _peaks(run: Run, chunks: Messages, done: Bools) -> tuple[float | None, float | None]:
    """Most chunks and most requests in one second, counted from the first start."""
    if not done.any():
        return None, None
    start = run.table.start_ns[done]
    zero = start.min()
    begins, ends = (start - zero) // SECOND, (chunks.last[done] - zero) // SECOND
    chunk_seconds = (chunks.ns[done[chunks.row]] - zero) // SECOND
    change = np.zeros(int(ends.max()) + 2, dtype=np.int64)
    np.add.at(change, begins, 1)
    np.add.at(change, ends + 1, -1)
    return float(np.bincount(chunk_seconds).max()), float(np.cumsum(change).max())


def _latencies(sheet: Sheet, chunks: Messages, done: Bools) -> list[Row]:
    """The distributions, in ms."""
    table = sheet.run.table
    start, length = table.start_ns, osl(table)
    several = done & (length > 1)
    ttft, latency = ((moment - start)[done] / NS_PER_MS for moment in (chunks.first, chunks.last))
    tpot = (chunks.last - chunks.first)[several] / NS_PER_MS / (length[several] - 1)
    first = f"the first chunk with choices ends it, a role-only one too; {FROM_START}; population std"
    per_token = f"first to last chunk with choices / (OSL - 1): {ANY_CHUNK}; hidden reasoning is in OSL; population std"
    gaps = f"gaps between chunks with choices: {ANY_CHUNK}; not divided by the tokens in them; population std"
    last = f"to the last chunk with choices: {ANY_CHUNK}; {FROM_START}; population std; printed when asked for"
    itl = chunks.gaps(done) / NS_PER_MS
    return [
        sheet.spread("TTFT", "ms", ttft, "ttft", first),
        sheet.spread("TPOT", "ms", tpot, "tpot", per_token, nothing="no answer of two tokens or more"),
        sheet.spread("ITL", "ms", itl, "icl", gaps, nothing="no answer of two chunks or more"),
        sheet.spread("E2EL", "ms", latency, "request_latency", last),
    ]


def _queue(sheet: Sheet, done: Bools) -> list[Row]:
    """What it calls the client's queue: only with a rate, and a cap on the requests in flight."""
    load, table = load_of(sheet.run), sheet.run.table
    rate = load.get("request_rate")
    if load.get("concurrency") is None or not isinstance(rate, int | float) or not np.isfinite(rate):
        return []
    waited = (table.start_ns - table.intended_ns)[done & (table.intended_ns >= 0)] / NS_PER_MS
    why = "from the arrival to start_ns: lateness of the client is inside; population std; printed when asked for"
    return [sheet.spread("Client Queue Time", "ms", waited, "cap_wait", why)]


def _embeddings(sheet: Sheet) -> list[Row]:
    """Its table for embeddings: one answer, no stream."""
    table = sheet.run.table
    done = table.ok
    rows, seconds = _counts(sheet, done, "any answer with status 200 is a success; here only whole ones")
    tokens, inputs = float(known(isl(table), done).sum()), int(table.inputs[done].sum())
    latency = (table.end_ns - table.start_ns)[done] / NS_PER_MS
    over = "over its duration"
    return [
        *rows,
        sheet.count("Total input tokens", "", tokens, "", total_of(table, "isl")),
        *sheet.rates("req/s", seconds, over, ("Request throughput", int(done.sum()), "request_throughput")),
        *sheet.rates("inputs/s", seconds, over, ("Input throughput", inputs, "embedding_throughput")),
        *sheet.rates("tok/s", seconds, over, ("Total token throughput", tokens, "input_token_throughput")),
        sheet.spread("E2EL", "ms", latency, "request_latency", f"{FROM_START}; population std"),
    ]
