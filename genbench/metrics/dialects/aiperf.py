"""AIPerf: one value per request, an answer in one chunk has an ITL of 0, a run ends with its last valid answer.

Source: aiperf/metrics/types/*.py, metrics/metric_dicts.py and transports/aiohttp_client.py of AIPerf 0.13.
"""

from genbench.metrics.dialects.messages import messages
from genbench.metrics.dialects.nvidia import FROM_START, NOT_STREAMED, TOKENIZED, Seen, seen_by
from genbench.metrics.dialects.rows import (
    NS_PER_MS,
    Dialect,
    Row,
    Sheet,
    Shown,
    broken_notes,
    cancelled_note,
    counted,
    is_embeddings,
    known,
    not_done,
    numpy_rule,
    ok_count,
    unknown_note,
)
from genbench.metrics.summary import Run
from genbench.records import Bools
from genbench.types import CONTENT_KINDS, EventKind

NAME, TOOL = "aiperf", "AIPerf 0.13"
STATS = ("avg", "min", "max", "p99", "p90", "p50", "std")
SHOWN = Shown(tuple((stat, "mean" if stat == "avg" else stat) for stat in STATS), numpy_rule)
PER_USER = "tokens/sec/user"


def translate(run: Run) -> Dialect:
    """The run as AIPerf would have told it."""
    seen, sheet = seen_by(run, messages(run.table, CONTENT_KINDS)), Sheet(run, SHOWN)
    if is_embeddings(run):
        rows = [_latency(seen, sheet), _input_length(seen, sheet), *_whole(seen, sheet)]
    else:
        rows = [
            *_first(seen, sheet),
            _latency(seen, sheet),
            *_decode(seen, sheet),
            *_lengths(seen, sheet),
            *_whole(seen, sheet),
        ]
    return Dialect(NAME, TOOL, tuple(rows), tuple(_notes(seen)))


def _first(seen: Seen, sheet: Sheet) -> list[Row]:
    """Up to the second token."""
    start, chunks, streamed = seen.table.start_ns, seen.chunks, seen.streamed
    visible = messages(seen.table, CONTENT_KINDS - {EventKind.REASONING}).first
    ttft, ttfo = seen.ms(chunks.first, start, streamed), seen.ms(visible, start, streamed)
    ttst = seen.ms(chunks.at(1), chunks.first, streamed)
    two = "a message is one chunk, where ours are events (reasoning and text in one are two); population std"
    return [
        sheet.spread("Time to First Token", "ms", ttft, "ttft", FROM_START, nothing=NOT_STREAMED),
        sheet.spread("Time to Second Token", "ms", ttst, "ttst", two, nothing=NOT_STREAMED),
        sheet.spread("Time to First Output Token", "ms", ttfo, "ttfo", FROM_START, nothing=NOT_STREAMED),
    ]


def _latency(seen: Seen, sheet: Sheet) -> Row:
    latency = seen.ms(seen.last, seen.table.start_ns, seen.done)
    return sheet.spread("Request Latency", "ms", latency, "request_latency", FROM_START)


def _decode(seen: Seen, sheet: Sheet) -> list[Row]:
    """What comes after the first token."""
    chunks, streamed = seen.chunks, seen.streamed
    several = streamed & (seen.osl >= 2)
    itl = (chunks.last - chunks.first)[several] / NS_PER_MS / (seen.osl[several] - 1)
    span = seen.ms(chunks.last, chunks.first, streamed)
    gaps = chunks.gaps(streamed) / NS_PER_MS
    own = f"(latency - TTFT) / (OSL - 1), 0 kept for an answer in one chunk; OSL {seen.osl_source}; population std"
    pooled = "gaps between messages with content, as our events; population std; in its result file"
    speed = "1 / its ITL where that is not 0; population std"
    return [
        sheet.spread("Decode Duration", "ms", span, "", "last - first content; no row of ours", nothing=NOT_STREAMED),
        sheet.spread("Inter Token Latency", "ms", itl, "tpot", own, nothing=NOT_STREAMED),
        sheet.spread("Inter Chunk Latency", "ms", gaps, "icl", pooled, nothing=NOT_STREAMED),
        sheet.spread(
            "Output Token Throughput Per User",
            PER_USER,
            1000 / itl[itl > 0],
            "output_tps_per_user",
            speed,
            nothing=NOT_STREAMED,
        ),
    ]


def _length_why(tokenized: Bools, seen: Seen) -> str:
    """Why a length row differs: by default it is the client's tokenizer."""
    if (seen.done & tokenized).any():
        return f"{TOKENIZED}; population std"
    return "usage, as with --use-server-token-count (by default its tokenizer; this run had none); population std"


def _lengths(seen: Seen, sheet: Sheet) -> list[Row]:
    took = seen.last - seen.table.start_ns
    some = seen.done & (seen.osl >= 0) & (took > 0)
    speed, why = seen.osl[some] / took[some] * 1e9, "OSL / its request latency; no row of ours"
    lengths, source = known(seen.osl, seen.done), _length_why(seen.table.osl_tokenizer >= 0, seen)
    return [
        sheet.spread("E2E Output Token Throughput", PER_USER, speed, "", why),
        sheet.spread("Output Sequence Length", "tokens", lengths, "osl", source),
        _input_length(seen, sheet),
    ]


def _input_length(seen: Seen, sheet: Sheet) -> Row:
    source = _length_why(seen.table.isl_tokenizer >= 0, seen)
    return sheet.spread("Input Sequence Length", "tokens", known(seen.isl, seen.done), "isl", source)


def _whole(seen: Seen, sheet: Sheet) -> list[Row]:
    """The figures of the whole run."""
    seconds, done, errors = seen.seconds(), int(seen.done.sum()), not_done(seen.table, seen.done)
    over = "over its duration: first start to the last content of a valid answer"
    valid = "valid is any answer with content, even with an error after it"
    rate = 100 * errors / (done + errors) if done + errors else None
    tokens_in, tokens_out = float(known(seen.isl, seen.done).sum()), float(known(seen.osl, seen.done).sum())
    rates = [("Input Token Throughput", tokens_in, "input_token_throughput")]
    if not is_embeddings(seen.run):
        rates = [
            ("Output Token Throughput", tokens_out, "output_token_throughput"),
            *rates,
            ("Total Token Throughput", tokens_in + tokens_out, "total_token_throughput"),
        ]
    return [
        *sheet.rates("tokens/sec", seconds, over, *rates),
        *sheet.rates("requests/sec", seconds, over, ("Request Throughput", done, "request_throughput")),
        sheet.figure("Benchmark Duration", "sec", seconds, "duration", "ends with the last content of a valid answer"),
        sheet.figure("Request Error Rate", "%", rate, "error_rate", f"{valid}; any other is an error"),
        sheet.count("Request Count", "requests", done, valid, ok_count(seen.run)),
    ]


def _notes(seen: Seen) -> list[str]:
    notes = ["its effective_*, active_* and credit_* rows are not rebuilt: they follow its own scheduler"]
    errors = not_done(seen.table, seen.done)
    if errors:
        notes.append(f"{counted(errors, 'error')}: it adds adj_* rows in which each is an endless latency; not rebuilt")
    if not is_embeddings(seen.run):
        notes += unknown_note(seen.done, seen.osl)
    return [*notes, *broken_notes(seen.table, seen.done, "valid answer"), *cancelled_note(seen.run)]
