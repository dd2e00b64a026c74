"""MLPerf's loadgen: latency from the scheduled moment, percentiles that occurred, a verdict by early stopping.

Source: loadgen/results.cc, early_stopping.cc and logging.cc of mlcommons/inference at b66003e1 (loadgen 6.0.17).

Early stopping: of n queries t were over the target. The run passes when so few would be seen with a probability below
1 % if a share p of all queries, or less, kept the target: P(binomial(n, 1 - p) <= t) = I_p(n - t, t + 1) < 0.01, with
I the regularised incomplete beta function. So p = 0.99 takes 459 queries without a miss, 662 with one.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import betainc

from genbench.metrics.definitions import osl
from genbench.metrics.dialects.messages import messages
from genbench.metrics.dialects.rows import (
    NOTHING,
    NS_PER_MS,
    Dialect,
    Row,
    Sheet,
    Shown,
    cancelled_note,
    counted,
    floor_rule,
    is_embeddings,
    known,
    load_of,
    not_done,
)
from genbench.metrics.summary import Run
from genbench.records import Bools, Ints, RecordTable
from genbench.stats import Floats
from genbench.types import CONTENT_KINDS, Slo

NAME, TOOL = "mlperf", "MLPerf loadgen 6.0"
SERVER, OFFLINE, SINGLE_STREAM = "Server", "Offline", "SingleStream"
PERCENTILES = (("50.00", "p50"), ("90.00", "p90"), ("95.00", "p95"), ("97.00", "p97"), ("99.00", "p99"))
SHOWN = Shown(
    (
        ("Min", "min"),
        ("Max", "max"),
        ("Mean", "mean"),
        *((f"{label} percentile", stat) for label, stat in PERCENTILES),
        ("99.90 percentile", "p99.9"),
    ),
    floor_rule,
)
CONFIDENCE = 0.99
TARGET = 0.99
MIN_DURATION_S = 600.0
FROM_INTENDED = "from the scheduled moment (intended_ns); a percentile is a value that occurred; whole ns"


def passes(queries: int, over: int, percentile: float = TARGET, confidence: float = CONFIDENCE) -> bool:
    """Whether `over` of `queries` beyond the target are few enough to say that `percentile` of all queries keep it."""
    return over < queries and float(betainc(queries - over, over + 1, percentile)) < 1 - confidence


def queries_needed(over: int, percentile: float = TARGET) -> int:
    """The fewest queries that pass with `over` of them beyond the target."""
    high = 2 * (over + 1)
    while not passes(high, over, percentile):
        high *= 2
    return _first(over + 1, high, lambda n: passes(n, over, percentile))


def _first(low: int, high: int, holds: Callable[[int], bool]) -> int:
    """The smallest number of low..high for which a condition holds that never stops holding; high if there is none."""
    while low < high:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle + 1
    return low


def estimate(ordered: Floats, percentile: float) -> float | None:
    """SingleStream's result: the ascending value that is an upper bound of the percentile; None for too few queries.

    loadgen discards t - 1 of the highest, where t is the largest number of misses that n queries would pass with, and
    demands that one miss passes.
    """
    n = ordered.size
    if not passes(n, 1, percentile):
        return None
    misses = _first(1, n, lambda over: not passes(n, over, percentile)) - 1
    return float(ordered[n - misses])


@dataclass(frozen=True)
class Seen:
    """What loadgen would have been told: of each whole answer the scheduled moment, first token, end and length."""

    run: Run
    scenario: str
    done: Bools
    latency_ns: Ints
    ttft_ns: Ints
    tpot_ns: Ints
    tokens: float

    @property
    def table(self) -> RecordTable:
        """The log."""
        return self.run.table


def translate(run: Run) -> Dialect:
    """The run as loadgen would have told it; embeddings without its token figures."""
    seen, sheet = _seen(run), Sheet(run, SHOWN)
    results = {SERVER: _server, OFFLINE: _offline, SINGLE_STREAM: _single_stream}[seen.scenario]
    rows = [*results(seen, sheet), *_latencies(seen, sheet)]
    if seen.scenario == SERVER:
        rows += _verdict(seen, sheet)
    return Dialect(NAME, f"{TOOL}, {seen.scenario} scenario", tuple(rows), tuple(_notes(seen)))


def _scenario(run: Run) -> str:
    load = load_of(run)
    rate = load.get("request_rate")
    if isinstance(rate, int | float):
        return SERVER if np.isfinite(rate) else OFFLINE
    return SINGLE_STREAM if load.get("concurrency") == 1 else SERVER


def _seen(run: Run) -> Seen:
    table = run.table
    done = table.ok & (table.intended_ns >= 0)
    first, length = messages(table, CONTENT_KINDS).first, osl(table)
    streamed = done & table.streamed & (first >= 0)
    several = streamed & (length > 1)
    return Seen(
        run,
        _scenario(run),
        done,
        latency_ns=(table.end_ns - table.intended_ns)[done],
        ttft_ns=(first - table.intended_ns)[streamed],
        tpot_ns=(table.end_ns - first)[several] // (length[several] - 1),
        tokens=float(known(length, done).sum()),
    )


def _server(seen: Seen, sheet: Sheet) -> list[Row]:
    """Completed per second: up to the end of the query that was scheduled last."""
    intended, ends, n = seen.table.intended_ns[seen.done], seen.table.end_ns[seen.done], seen.latency_ns.size
    final = scheduled = None
    if n:
        last = int(np.argmax(intended))
        final, scheduled = float(ends[last] - intended.min()) / 1e9, float(intended[last] - intended.min()) / 1e9
    over = "over first scheduled moment to the end of the query scheduled last"
    rows = sheet.rates("", final, f"(n - 1) {over}", ("Completed samples per second", n - 1, "request_throughput"))
    if not is_embeddings(seen.run):
        rows += sheet.rates("", final, over, ("Completed tokens per second", seen.tokens, "output_token_throughput"))
    why = "(n - 1) / (last - first scheduled moment), of whole answers"
    return [*rows, *sheet.rates("", scheduled, why, ("Scheduled samples per second", n - 1, "requested_rate"))]


def _offline(seen: Seen, sheet: Sheet) -> list[Row]:
    n = seen.latency_ns.size
    seconds = float(seen.latency_ns.max()) / 1e9 if n else None
    why = "over the largest latency from the scheduled moment"
    rows = sheet.rates("", seconds, why, ("Samples per second", n, "request_throughput"))
    if not is_embeddings(seen.run):
        rows += sheet.rates("", seconds, why, ("Tokens per second", seen.tokens, "output_token_throughput"))
    return rows


def _single_stream(seen: Seen, sheet: Sheet) -> list[Row]:
    """Early stopping's estimates of the latency."""
    ordered = np.sort(seen.latency_ns).astype(np.float64)
    mine = seen.run.summary.metrics.get("request_latency_intended")
    rows = []
    for percentile in (0.9, 0.99):
        found = estimate(ordered, percentile)
        why = "an upper bound with 99 % confidence: what early stopping leaves of the highest"
        if found is None:
            why = f"needs {queries_needed(1, percentile):,} whole answers, this run has {ordered.size:,}"
        name = f"Early stopping {100 * percentile:.1f}th percentile estimate"
        ours = None if mine is None else mine.stats[f"p{100 * percentile:.0f}"] * NS_PER_MS
        rows.append(sheet.figure(name, "ns", found, "request_latency_intended", why, ours=ours))
    return rows


def _latencies(seen: Seen, sheet: Sheet) -> list[Row]:
    """Its additional stats, in ns."""
    ends = f"to the end of the body, when a client has the whole sample; {FROM_INTENDED}"
    found = [("latency", seen.latency_ns, "request_latency_intended", ends)]
    if not is_embeddings(seen.run):
        why = "(latency - first token latency) / (n - 1): to the end of the body; whole ns"
        found += [
            ("first token latency", seen.ttft_ns, "ttft_intended", FROM_INTENDED),
            ("Time per Output Token", seen.tpot_ns, "tpot", why),
        ]
    return [
        sheet.spread(name, "ns", values.astype(np.float64), key, why, scale=NS_PER_MS)
        for name, values, key, why in found
    ]


def _verdict(seen: Seen, sheet: Sheet) -> list[Row]:
    """Its verdict on the targets that the run's promises name."""
    intended = seen.table.intended_ns[seen.done]
    lasted = float(intended.max() - intended.min()) / 1e9 if intended.size else None
    word = None if lasted is None else "Yes" if lasted >= MIN_DURATION_S else "NO"
    why = f"the last query is scheduled {MIN_DURATION_S:.0f} s after the first, or later"
    if is_embeddings(seen.run):
        rows = _judged(seen, sheet, "Latency", ("request_latency_intended", "request_latency"), seen.latency_ns)
    else:
        rows = _judged(seen, sheet, "TTFT", ("ttft_intended", "ttft"), seen.ttft_ns)
        rows += _judged(seen, sheet, "TPOT", ("tpot",), seen.tpot_ns)
    return [*rows, sheet.figure("Min duration satisfied", "", word, "", why)]


def _judged(seen: Seen, sheet: Sheet, name: str, keys: tuple[str, ...], values_ns: Ints) -> list[Row]:
    """The p99 against its target, and early stopping's word on it."""
    constraint, stopping = f"{name} constraint satisfied", f"{name} Early Stopping Result"
    promises = [one.slo for one in seen.run.summary.slo]
    target = next((slo for key in keys for slo in promises if _is_target(slo, key)), None)
    if target is None or not values_ns.size:
        why = NOTHING if target is not None else f"no target: the run has no SLO on {keys[-1]}.p99"
        return [sheet.figure(one, "", None, "", why) for one in (constraint, stopping)]
    n, bound_ns = values_ns.size, target.bound * NS_PER_MS
    over = int((values_ns > bound_ns).sum())
    needed = queries_needed(over)
    held = "Yes" if floor_rule(values_ns.astype(np.float64), None, "p99") <= bound_ns else "NO"
    stopped = "successful" if passes(n, over) else "unsuccessful"
    of = f"{over:,} of {n:,} over {target.bound:g} ms (SLO {target.text})"
    test = f"binomial test, 99 % confidence: {over:,} over the target take {needed:,} queries, this run has {n:,}"
    return [
        sheet.figure(constraint, "", held, "", f"its p99 against the target; {of}"),
        sheet.figure(stopping, "", stopped, "", test),
    ]


def _is_target(slo: Slo, key: str) -> bool:
    return slo.metric == key and slo.stat == "p99" and slo.op in ("<", "<=")


def _notes(seen: Seen) -> list[str]:
    run, table, notes = seen.run, seen.table, []
    if seen.scenario == SERVER and load_of(run).get("request_rate") is None and len(table):
        notes.append(
            "a closed loop: no scenario of loadgen keeps several requests in flight like that; the moment a slot became"
            " free stands for the scheduled one"
        )
    failed = not_done(table, table.ok)
    if failed:
        notes.append(f"{counted(failed, 'request')} not ok: loadgen waits for every sample, so it would have no result")
    length = osl(table)
    short = int((seen.done & (length >= 0) & (length <= 1)).sum())
    if short and not is_embeddings(run):
        notes.append(f"{counted(short, 'answer')} of one token or none: an error in its log; left out of TPOT here")
    return [*notes, "its fixed data sets and least numbers of queries are not checked", *cancelled_note(run)]
