"""GenAI-Perf: only text counts, all text of one read is one response, ITL in whole ns, throughput of every request.

Source: genai_perf/profile_data_parser/llm_profile_data_parser.py and metrics/statistics.py of
triton-inference-server/perf_analyzer at 263c5f6.
"""

from dataclasses import replace

import numpy as np

from genbench.metrics.dialects.messages import messages
from genbench.metrics.dialects.nvidia import FROM_START, NOT_STREAMED, TOKENIZED, Seen, seen_by
from genbench.metrics.dialects.rows import (
    NS_PER_MS,
    Dialect,
    Row,
    Sheet,
    Shown,
    cancelled_note,
    counted,
    given_up,
    is_embeddings,
    known,
    not_done,
    numpy_rule,
    ok_count,
    unknown_note,
)
from genbench.metrics.summary import Run
from genbench.types import EventKind

NAME, TOOL = "genai-perf", "GenAI-Perf 0.0.16"
STATS = ("avg", "min", "max", "p99", "p90", "p75")
SHOWN = Shown(
    (*((stat, "mean" if stat == "avg" else stat) for stat in STATS), ("std (result file)", "std")), numpy_rule
)


def translate(run: Run) -> Dialect:
    """The run as GenAI-Perf would have told it."""
    seen, sheet = _seen(run), Sheet(run, SHOWN)
    rows = [_latency(seen, sheet), *_whole(seen, sheet)]
    if not is_embeddings(run):
        first, after = _stream(seen, sheet)
        rows = [*first, rows[0], *after, *_lengths(seen, sheet), *rows[1:]]
    return Dialect(NAME, TOOL, tuple(rows), tuple(_notes(seen)))


def _seen(run: Run) -> Seen:
    """Its output length is that of the text: reasoning is taken off where the server says how much it was."""
    seen = seen_by(run, messages(run.table, {EventKind.CONTENT}, by_read=True))
    reasoning = run.table.reasoning_tokens
    return replace(seen, osl=np.where((seen.osl >= reasoning) & (reasoning > 0), seen.osl - reasoning, seen.osl))


def _stream(seen: Seen, sheet: Sheet) -> tuple[list[Row], list[Row]]:
    """The rows of a stream before and after that of the latency."""
    chunks, streamed = seen.chunks, seen.streamed
    several = streamed & (chunks.count > 1) & (seen.osl > 1)
    itl_ns = np.rint((chunks.last - chunks.first)[several] / (seen.osl[several] - 1))
    ttft = seen.ms(chunks.first, seen.table.start_ns, streamed)
    ttst = seen.ms(chunks.at(1), chunks.first, streamed)
    first = f"first text: reasoning and tool calls do not count; {FROM_START}"
    two = "second response, where all text of one read is one; population std"
    own = f"(latency - TTFT) / (OSL - 1) in whole ns; two responses or more; OSL {seen.osl_source}; population std"
    speed = "1 / its ITL (an ITL of 0 ns ends its report with an error); population std"
    user = 1e9 / itl_ns[itl_ns > 0]
    return [
        sheet.spread("Time To First Token", "ms", ttft, "ttft", first, nothing=NOT_STREAMED),
        sheet.spread("Time To Second Token", "ms", ttst, "ttst", two, nothing=NOT_STREAMED),
    ], [
        sheet.spread("Inter Token Latency", "ms", itl_ns / NS_PER_MS, "tpot", own, nothing=NOT_STREAMED),
        sheet.spread(
            "Output Token Throughput Per User",
            "tokens/sec/user",
            user,
            "output_tps_per_user",
            speed,
            nothing=NOT_STREAMED,
        ),
    ]


def _latency(seen: Seen, sheet: Sheet) -> Row:
    latency = seen.ms(seen.last, seen.table.start_ns, seen.done)
    why = FROM_START if is_embeddings(seen.run) else f"to the last text; {FROM_START}"
    return sheet.spread("Request Latency", "ms", latency, "request_latency", why)


def _lengths(seen: Seen, sheet: Sheet) -> list[Row]:
    rows = []
    for name, lengths, own, key in (
        ("Output Sequence Length", seen.osl, seen.table.osl_tokenizer, "osl"),
        ("Input Sequence Length", seen.isl, seen.table.isl_tokenizer, "isl"),
    ):
        source = TOKENIZED if (seen.done & (own >= 0)).any() else "usage: it has a tokenizer only, this run had none"
        rows.append(sheet.spread(name, "tokens", known(lengths, seen.done), key, f"{source}; population std"))
    return rows


def _whole(seen: Seen, sheet: Sheet) -> list[Row]:
    """The figures of the whole run."""
    seconds, tokens = seen.seconds(), float(known(seen.osl, seen.done).sum())
    every = int((seen.table.measured & ~given_up(seen.table)).sum())
    over = "over its duration: first start to the last text"
    rows = [] if is_embeddings(seen.run) else [("Output Token Throughput", tokens, "output_token_throughput")]
    return [
        *sheet.rates("tokens/sec", seconds, over, *rows),
        *sheet.rates(
            "per sec",
            seconds,
            f"every request, failed ones too, {over}",
            ("Request Throughput", every, "request_throughput"),
        ),
        sheet.count("Request Count", "count", int(seen.done.sum()), "requests with a response", ok_count(seen.run)),
    ]


def _notes(seen: Seen) -> list[str]:
    notes = []
    failed = not_done(seen.table, seen.done)
    if failed:
        notes.append(
            f"{counted(failed, 'request')} without text, or failed: perf_analyzer may end the run at a failed one; here"
            " it has no latency and counts in the request throughput"
        )
    reasoned = messages(seen.table, {EventKind.REASONING}).count > 0
    if (seen.done & reasoned & (seen.table.reasoning_tokens < 0)).any():
        notes.append(
            "its OSL is that of the text alone; this server counts text and reasoning as one, so here both are"
        )
    if not is_embeddings(seen.run):
        notes += unknown_note(seen.done, seen.osl)
    return [*notes, *cancelled_note(seen.run)]
