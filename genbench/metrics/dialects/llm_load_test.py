"""llm-load-test: `tpot` is latency per token, `itl` a mean per request, throughput is over the asked duration.

Source: src/llm_load_test/result.py, utils.py and plugins/openai_plugin.py of openshift-psap/llm-load-test at b27aad1.
"""

from dataclasses import dataclass

import numpy as np

from genbench.metrics.definitions import isl, osl
from genbench.metrics.dialects.messages import Messages, messages
from genbench.metrics.dialects.rows import (
    NS_PER_MS,
    Dialect,
    Row,
    Sheet,
    Shown,
    cancelled_note,
    counted,
    is_embeddings,
    known,
    load_of,
    not_done,
    numpy_rule,
    ok_count,
    per_second,
    seconds_between,
)
from genbench.metrics.summary import Run
from genbench.records import Bools, Ints, RecordTable
from genbench.stats import Floats
from genbench.types import CONTENT_KINDS, EventKind

NAME, TOOL = "llm-load-test", "llm-load-test"
SHOWN = Shown(
    (
        ("min", "min"),
        ("max", "max"),
        ("median", "p50"),
        ("mean", "mean"),
        *((f"percentile_{p}", f"p{p}") for p in (80, 90, 95, 99)),
    ),
    numpy_rule,
)
FROM_START = "from start_ns: connecting is inside (it connects anew for each request)"
TO_END = "to [DONE] or the end of the body"
IN_TIME = "answers that were whole before the deadline"
NO_DEADLINE = "this run had no nominal duration (--duration)"


@dataclass(frozen=True)
class Seen:
    """What it finds in a log: content, when each answer ended, its length and how much of it came in time."""

    run: Run
    chunks: Messages
    end: Ints
    osl: Ints
    before: Floats
    limit_s: float | None

    @property
    def table(self) -> RecordTable:
        """The log."""
        return self.run.table

    @property
    def in_time(self) -> Bools:
        """ok rows whose tokens all came before the deadline, bool[n]."""
        return self.table.ok & (self.osl >= 0) & (self.before >= self.osl)


def translate(run: Run) -> Dialect:
    """The run as llm-load-test would have told it."""
    if is_embeddings(run):
        return Dialect(NAME, TOOL, (), ("it has no embeddings",))
    seen, sheet = _seen(run), Sheet(run, SHOWN)
    return Dialect(NAME, TOOL, (*_latencies(seen, sheet), *_lengths(seen, sheet), *_whole(seen, sheet)), _notes(seen))


def _seen(run: Run) -> Seen:
    table = run.table
    said_done = messages(table, {EventKind.DONE}).first
    asked = load_of(run).get("duration_s")
    limit_s = float(asked) if isinstance(asked, int | float) else None
    length = osl(table)
    started = table.start_ns[table.measured & (table.start_ns >= 0)]
    if limit_s is None or not started.size:
        before = length.astype(np.float64)
    else:
        before = _before(table, length, int(started.min()) + round(limit_s * 1e9))
    end = np.where(table.streamed & (said_done >= 0), said_done, table.end_ns)
    return Seen(run, messages(table, CONTENT_KINDS), end, length, before, limit_s)


def _before(table: RecordTable, length: Ints, deadline_ns: int) -> Floats:
    """Output tokens of each row that came up to the deadline: by the events' own counts, else in equal shares.

    An answer that was not streamed counts whole, as it does there.
    """
    content = table.content
    told = table.event_tokens[content.position].astype(np.float64)
    untold = np.bincount(content.row, weights=told < 0, minlength=len(table)) > 0
    share = np.where(untold[content.row], 1.0, np.maximum(told, 0.0))
    total = np.bincount(content.row, weights=share, minlength=len(table))
    late = table.event_ns[content.position] > deadline_ns
    missed = np.bincount(content.row[late], weights=share[late], minlength=len(table))
    part = np.divide(missed, total, out=np.zeros(len(table)), where=total > 0)
    return np.asarray(length - np.where(table.streamed, part, 0.0) * np.maximum(length, 0))


def _latencies(seen: Seen, sheet: Sheet) -> list[Row]:
    table, chunks = seen.table, seen.chunks
    streamed = seen.in_time & table.streamed & (chunks.count > 0)
    several, some = streamed & (seen.osl > 1), seen.in_time & (seen.osl > 0)
    took = (seen.end - table.start_ns) / NS_PER_MS
    tpot = took[some] / seen.osl[some]
    ttft = (chunks.first - table.start_ns)[streamed] / NS_PER_MS
    itl = (seen.end - chunks.first)[several] / NS_PER_MS / (seen.osl[several] - 1)
    ack = (messages(table, frozenset(EventKind)).first - table.start_ns)[streamed] / NS_PER_MS
    includes = f"divides by OSL, not OSL - 1, and includes TTFT: our ntpot; {TO_END}; {FROM_START}; {IN_TIME}"
    line = f"to the first line, a role or a comment; {FROM_START}; {IN_TIME}; no row of ours"
    return [
        sheet.spread("tpot", "ms", tpot, "ntpot", includes),
        sheet.spread("ttft", "ms", ttft, "ttft", f"{FROM_START}; {IN_TIME}"),
        sheet.spread("itl", "ms", itl, "tpot", f"(end - first token) / (OSL - 1), {TO_END}; {IN_TIME}"),
        sheet.spread("tt_ack", "ms", ack, "", line),
        sheet.spread("response_time", "ms", took[table.ok], "request_latency", f"{TO_END}; {FROM_START}"),
    ]


def _lengths(seen: Seen, sheet: Sheet) -> list[Row]:
    ok = seen.table.ok
    in_time = seen.before[ok & (seen.osl >= 0)] if seen.limit_s is not None else np.zeros(0)
    summed = "summed up from the usage in each chunk, which it asks for; here that of the whole answer"
    up_to = "tokens up to the deadline; where events have no counts, an answer's tokens in equal shares"
    nothing = NO_DEADLINE if seen.limit_s is None else "no answer with a length"
    return [
        sheet.spread("output_tokens", "tokens", known(seen.osl, ok), "osl", summed),
        sheet.spread("output_tokens_before_timeout", "tokens", in_time, "osl", up_to, nothing=nothing),
        sheet.spread("input_tokens", "tokens", known(isl(seen.table), ok), "isl", ""),
    ]


def _whole(seen: Seen, sheet: Sheet) -> list[Row]:
    """The figures of the whole run."""
    table, run, ok = seen.table, seen.run, seen.table.ok
    seconds = seconds_between(table.start_ns[ok], seen.end[ok])
    tokens, in_time = float(known(seen.osl, ok).sum()), float(np.maximum(seen.before, 0)[ok].sum())
    failures = not_done(table, ok)
    total = failures + ok_count(run)
    rate = 100 * failures / total if total else None
    bounded = whole = None
    why, inside = NO_DEADLINE, NO_DEADLINE
    if seen.limit_s is not None:
        bounded, whole = per_second(in_time, seen.limit_s), int(seen.in_time.sum())
        why, inside = "tokens that came before the deadline / the nominal duration", f"{IN_TIME}; ours: ok"
    full = "over the ok answers, first start to last end"
    key = "output_token_throughput"
    return [
        *sheet.rates("tokens/s", seconds, full, ("throughput_full_duration", tokens, key)),
        sheet.figure("full_duration", "s", seconds, "duration", "ok answers only; begins with the first start_ns"),
        sheet.figure("throughput", "tokens/s", bounded, key, why),
        sheet.count("total_requests", "", total, "", total),
        sheet.figure("req_completed_within_test_duration", "", whole, "", inside, ours=ok_count(run)),
        sheet.count("total_failures", "", failures, "", failures),
        sheet.figure("failure_rate", "%", rate, "error_rate", "of all; ours leaves out answers without output"),
    ]


def _notes(seen: Seen) -> tuple[str, ...]:
    notes = [
        "token counts as on a server that sends usage with each chunk; on any other it takes each chunk with choices"
        " for one token, role and finish chunks too"
    ]
    failed = not_done(seen.table, seen.table.ok)
    if failed:
        notes.append(f"{counted(failed, 'request')} not ok: failures here; it takes a stream that just ends for whole")
    return (*notes, *cancelled_note(seen.run))
