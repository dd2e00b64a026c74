"""GuideLLM: its TPOT is latency per token, its ITL others' TPOT weighted by tokens, its percentiles are values.

Source: schemas/base/request_stats.py, schemas/base/statistics.py, benchmark/schemas/metrics.py and
backends/openai/http.py of GuideLLM 0.8.1. Its clock starts when the first header is written, on an open connection: our
`sent_ns`. Its merging of moments closer than 0.1 ms, in concurrency and rates, is left out.
"""

from dataclasses import dataclass

import numpy as np

from genbench.metrics.dialects.messages import Messages, messages
from genbench.metrics.dialects.rows import (
    NS_PER_MS,
    Dialect,
    Figure,
    Row,
    Sheet,
    Shown,
    counted,
    ended,
    given_up,
    is_embeddings,
    known,
    load_of,
    not_done,
    ok_count,
    row_of,
    step_rule,
    total_of,
    truncated_note,
)
from genbench.metrics.summary import Run
from genbench.records import Bools, Ints
from genbench.stats import Floats, steps
from genbench.types import CONTENT_KINDS, EventKind, Outcome

NAME, TOOL = "guidellm", "GuideLLM 0.8"
SHOWN = Shown((("Mean", "mean"), ("Mdn", "p50"), ("p95", "p95"), ("std_dev (report)", "std")), step_rule)
S_PER_MS = 1e-3
RULE = "percentiles are values that occurred; population std"


@dataclass(frozen=True)
class Seen:
    """What it finds in a log: content messages, when each request starts and ends, lengths, and who succeeded."""

    run: Run
    chunks: Messages
    start: Ints
    end: Ints
    osl: Ints
    done: Bools
    all: Bools

    @property
    def window(self) -> tuple[int, int] | None:
        """From the first start to the last end, of all requests."""
        start, end = self.start[self.all & (self.start >= 0)], self.end[self.all & (self.end >= 0)]
        if not start.size or not end.size or end.max() <= start.min():
            return None
        return int(start.min()), int(end.max())

    @property
    def seconds(self) -> float | None:
        """The window's length."""
        return None if self.window is None else (self.window[1] - self.window[0]) / 1e9


def translate(run: Run) -> Dialect:
    """The run as GuideLLM would have told it."""
    seen, sheet = _seen(run), Sheet(run, SHOWN)
    rows = [*_counts(seen, sheet), _latency(seen, sheet)]
    if not is_embeddings(run):
        rows += [*_first(seen, sheet), *_per_token(seen, sheet)]
    return Dialect(NAME, TOOL, (*rows, _concurrency(seen), *_rates(seen, sheet)), tuple(_notes(seen)))


def _seen(run: Run) -> Seen:
    table = run.table
    chunks = messages(table, CONTENT_KINDS)
    said_done = messages(table, {EventKind.DONE}).first  # it stops reading there
    done = ended(table, Outcome.OK) | (ended(table, Outcome.NO_OUTPUT) & (table.osl_usage > 0))
    length = np.where(table.osl_usage >= 0, table.osl_usage, np.where(done, table.osl_wanted, -1))
    return Seen(
        run,
        chunks,
        start=np.where(table.sent_ns >= 0, table.sent_ns, table.start_ns),
        end=np.where(said_done >= 0, said_done, table.end_ns),
        osl=np.where((length < 0) & (chunks.count > 0), chunks.count, length),
        done=done,
        all=table.measured & (table.start_ns >= 0),
    )


def _counts(seen: Seen, sheet: Sheet) -> list[Row]:
    """The summary of the run."""
    table = seen.run.table
    done, cut = int(seen.done.sum()), int(given_up(table).sum())
    rows = [
        sheet.figure("Timings Dur", "Sec", seen.seconds, "duration", "ends with the last [DONE]"),
        sheet.count("Requests Comp", "Tot", done, "", ok_count(seen.run)),
        sheet.count("Requests Inc", "Tot", cut, "", cut),
        sheet.count(
            "Requests Err", "Tot", not_done(table, seen.done), "no output is an error", not_done(table, table.ok)
        ),
        sheet.count("Input Tokens Comp", "Tot", _sum(_isl(seen), seen.done), "", total_of(table, "isl")),
    ]
    if is_embeddings(seen.run):
        return rows
    why = "usage, else the length that was asked for, else the number of chunks"
    return [*rows, sheet.count("Output Tokens Comp", "Tot", _sum(seen.osl, seen.done), why, total_of(table, "osl"))]


def _isl(seen: Seen) -> Ints:
    table = seen.run.table
    return np.where(table.isl_usage >= 0, table.isl_usage, table.isl_tokenizer)


def _sum(lengths: Ints, among: Bools) -> float:
    return float(known(lengths, among).sum())


def _latency(seen: Seen, sheet: Sheet) -> Row:
    took = (seen.end - seen.start)[seen.done] / 1e9
    why = RULE if is_embeddings(seen.run) else f"to [DONE] or the end of the body, not to the last token; {RULE}"
    return sheet.spread("Request Latency", "Sec", took, "request_latency", why, scale=S_PER_MS)


def _first(seen: Seen, sheet: Sheet) -> list[Row]:
    rows = []
    for name, kinds, key in (
        ("TTFT", CONTENT_KINDS, "ttft"),
        ("TTFOT", CONTENT_KINDS - {EventKind.REASONING}, "ttfo"),
    ):
        first = messages(seen.run.table, kinds).first
        among = seen.done & seen.run.table.streamed & (first >= 0)
        rows.append(sheet.spread(name, "ms", (first - seen.start)[among] / NS_PER_MS, key, RULE))
    return rows


def _per_token(seen: Seen, sheet: Sheet) -> list[Row]:
    """Its two times per token, each weighted by tokens."""
    chunks, done = seen.chunks, seen.done
    first = done & seen.run.table.streamed & (chunks.count > 0)

    def average(span_ns: Ints, tokens: Ints) -> tuple[Floats, Floats]:
        """Time per token in ms and how often it counts, where there is a token."""
        rows = done & (tokens > 0)
        return span_ns[rows] / NS_PER_MS / tokens[rows], tokens[rows].astype(np.float64)

    itl, itl_weights = average(np.where(first, chunks.last - chunks.first, 0), seen.osl - 1)
    tpot, tpot_weights = average(np.where(first, chunks.last, seen.end) - seen.start, seen.osl)
    others = f"others' TPOT, but each request counts OSL - 1 times; 0 for an answer in one chunk; {RULE}"
    includes = f"divides by OSL, not OSL - 1, and includes TTFT: our ntpot, but each request counts OSL times; {RULE}"
    return [
        sheet.spread("ITL", "ms", itl, "tpot", others, weights=itl_weights, nothing="no answer of two tokens or more"),
        sheet.spread("TPOT", "ms", tpot, "ntpot", includes, weights=tpot_weights, nothing="no answer with a token"),
    ]


def _concurrency(seen: Seen) -> Row:
    """Requests in flight over its window, weighted by time."""
    window, own = seen.window, seen.run.summary.run.get("concurrency_mean")
    mean = median = None
    if window is not None:
        flying = seen.all & (seen.end > seen.start)
        times, levels = steps(seen.start[flying], seen.end[flying])
        lasted = np.diff(np.append(times, window[1])).astype(np.float64)
        held = lasted > 0
        values = levels[held].astype(np.float64)
        mean, median = (step_rule(values, lasted[held], stat) for stat in ("mean", "p50"))
    figures = (Figure("Mdn", median, None), Figure("Mean", mean, None if own is None else own.value))
    why = "from the times in the log, measured requests only; ours is the client's own counter"
    return row_of("Requests Concurrency", "", "concurrency_mean", why, figures)


def _rates(seen: Seen, sheet: Sheet) -> list[Row]:
    """Throughput over its window; failed and cancelled requests are in it."""
    every = "failed and cancelled requests count, too; first start to last end"
    tokens_in, tokens_out = _sum(_isl(seen), seen.all), _sum(seen.osl, seen.all)
    rates = [
        ("Requests Per Sec Mean", int(seen.all.sum()), "request_throughput"),
        ("Input Tokens Per Sec Mean", tokens_in, "input_token_throughput"),
    ]
    if not is_embeddings(seen.run):
        rates += [
            ("Output Tokens Per Sec Mean", tokens_out, "output_token_throughput"),
            ("Total Tokens Per Sec Mean", tokens_in + tokens_out, "total_token_throughput"),
        ]
    return sheet.rates("", seen.seconds, every, *rates)


def _notes(seen: Seen) -> list[str]:
    run, notes = seen.run, []
    if load_of(run).get("duration_s") is not None:
        notes.append(
            "this run had a time limit: GuideLLM's window would end there and cut what is in flight; here it ends with"
            " the last request"
        )
    invented = int((seen.done & (run.table.osl_usage < 0)).sum())
    if invented and not is_embeddings(run):
        notes.append(
            f"{counted(invented, 'answer')} without usage: their output lengths are what GuideLLM would assume"
        )
    return [*notes, *truncated_note(run.table, "completed one")]
