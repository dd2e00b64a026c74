"""From records to a `Summary`: every distribution, every figure of the run, each with its count and its interval.

Pure: the same records, header and promises give the same summary, whenever it is made. Every key of the header is
optional; what it does not say is left out. The formulas are in `definitions`, `steady` and `slo`; see docs/metrics.md.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from genbench import loads, stats
from genbench.metrics import slo as slo_rules
from genbench.metrics import steady, verdict
from genbench.metrics.definitions import (
    METRICS,
    MetricDef,
    Values,
    by_key,
    isl,
    length_source,
    osl,
    tokens_per_event_source,
)
from genbench.metrics.notes import of_the_end
from genbench.records import Bools, Ints, RecordTable
from genbench.stats import Floats
from genbench.telemetry.figures import Server
from genbench.types import NOT_FAILED, Distribution, Outcome, Phase, RunValue, Slo, Summary, TargetFigures

TOO_MANY_REQUESTS = 429
LIMITED = "http_429"  # counted in http_error, and once more under this name
PER_TARGET = ("ttft", "itl", "request_latency")


@dataclass(frozen=True, slots=True)
class Run:
    """What exporters work on: the header as in `run.json`, the records, what they say, and the run's folder."""

    header: Mapping[str, Any]
    table: RecordTable
    summary: Summary
    folder: Path | None = None
    server: Server | None = None  # what its servers and GPUs said of themselves


def summarise(table: RecordTable, header: Mapping[str, Any], slos: Sequence[Slo] = ()) -> Summary:
    """What a run says. `slos` are the promises to hold against it, `header` is the content of `run.json`."""
    seed = int(_section(header, "config").get("seed") or 0)
    place = _places(table)
    values = {row.key: row.of(table) for row in METRICS}
    metrics = {
        row.key: _distribution(row, values[row.key], place, seed) for row in METRICS if values[row.key].values.size
    }
    run, unsteady = _run_figures(table, header, values, seed)
    attainment, promised, said = _promises(table, header, slos, values, seed)
    run |= promised
    notes = [
        *said,
        *_missing_notes(table, header),
        *_length_notes(table, header),
        *_calibration_notes(header),
        *(str(note) for note in header.get("notes") or ()),
    ]
    judged, findings = verdict.judge(verdict.Evidence(table, header, values, metrics, run, unsteady))
    return Summary(
        metrics=metrics,
        run={key: run[key] for key in by_key() if key in run},
        outcomes=_outcomes(table),
        examples=_examples(table),
        slo=slo_rules.check(slos, metrics, run, attainment),
        notes=tuple(notes),
        sources={
            "isl": length_source(table, table.isl_usage, table.isl_tokenizer),
            "osl": length_source(table, table.osl_usage, table.osl_tokenizer),
            "tokens_per_event": tokens_per_event_source(table),
        },
        simulated=bool(header.get("simulated")),
        interrupted=bool(header.get("interrupted")),
        warmup_requests=int((table.phase == Phase.WARMUP).sum()),
        verdict=judged,
        findings=findings,
        targets=_targets(table, header, values, run),
    )


def _section(header: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    """A part of the header; empty where it is not there."""
    part: Any = header
    for key in path:
        part = part.get(key) if isinstance(part, Mapping) else None
    return part if isinstance(part, Mapping) else {}


def _places(table: RecordTable) -> Ints:
    """Place of each row in the order of sending."""
    place = np.empty(len(table), dtype=np.int64)
    place[np.lexsort((table.index, table.sent_ns))] = np.arange(len(table))
    return place


def _distribution(row: MetricDef, found: Values, place: Ints, seed: int) -> Distribution:
    """Statistics and intervals of one metric; intervals by order statistics, or by blocks where requests depend."""
    order = np.argsort(found.values)
    numbers = stats.distribution(found.values, found.weights, order)
    unit, units, series = _series(found, place)
    rho = stats.lag1_autocorrelation(series)
    resampled = row.pooled or rho > stats.AUTOCORRELATED
    blocks = stats.block_bootstrap(
        found.values,
        found.weights,
        unit,
        units,
        length=stats.block_length(units, rho),
        seed=seed,
        names=tuple(stats.PERCENTILES) if resampled else (),
        order=order,
    )
    intervals: dict[str, tuple[float | None, float | None]] = dict(blocks)
    method = dict.fromkeys(blocks, "block bootstrap")
    if not resampled:
        n = found.values.size
        for name, percent in stats.PERCENTILES.items():
            bounds = stats.order_statistic_interval(n, percent / 100)
            low, high = (None if i is None else float(found.values[order[i]]) for i in bounds)
            if (low, high) != (None, None):
                intervals[name] = low, high
                method[name] = "order statistics"
    count = found.values.size if found.weights is None else round(float(found.weights.sum()))
    return Distribution(row.unit, count, numbers, intervals, method, stats.few(found.values.size))


def _series(found: Values, place: Ints) -> tuple[Ints, int, Floats]:
    """For each value its request's place among those that have one, their number, and their means in that order."""
    at = place[found.rows]
    present = np.zeros(place.size, dtype=np.bool_)
    present[at] = True
    unit = (np.cumsum(present) - 1)[at]
    units = int(present.sum())
    heavy = found.values if found.weights is None else found.values * found.weights
    weight = np.bincount(unit, weights=found.weights, minlength=units)
    return unit, units, np.bincount(unit, weights=heavy, minlength=units) / weight


def _run_figures(
    table: RecordTable, header: Mapping[str, Any], values: Mapping[str, Values], seed: int
) -> tuple[dict[str, RunValue], steady.Unsteady | None]:
    """The figures, and why there are no steady ones where the run was not."""
    run: dict[str, RunValue] = {}
    failed = table.measured & np.fromiter((o not in NOT_FAILED for o in table.outcome), np.bool_, len(table))
    finished = int(table.ok.sum() + failed.sum())
    if finished:
        run["error_rate"] = RunValue("%", 100 * float(failed.sum()) / finished)
    span = _span(table)
    if span is None:
        return run, None
    run["duration"] = RunValue("s", (span[1] - span[0]) / 1e9)
    run |= _throughputs(table, header, values, span, seed)
    times, levels = steady.in_flight(table, *span)
    mean = stats.time_weighted_mean(times, levels, span[1])
    sampled = _section(header, "health").get("in_flight_mean")
    if isinstance(sampled, int | float) and mean > 0:
        run["little_pct"] = RunValue("%", 100 * abs(sampled / mean - 1))
    run["concurrency_mean"] = RunValue("requests", float(sampled) if isinstance(sampled, int | float) else mean)
    run["concurrency_max"] = RunValue("requests", float(levels.max()))
    load = _section(header, "config", "load")
    open_loop = loads.scheduled(load)
    if open_loop:
        run |= _rates(table, _section(header, "health"))
    window = steady.window(table, load.get("concurrency"), open_loop=open_loop) if loads.even(load) else None
    if window is None:
        return run, None
    found, unsteady = steady.figures(table, values["ttft"], window, open_loop=open_loop)
    return run | found, unsteady


def _targets(
    table: RecordTable, header: Mapping[str, Any], values: Mapping[str, Values], run: Mapping[str, RunValue]
) -> tuple[TargetFigures, ...]:
    """The figures of each of several servers, over its own requests."""
    urls = _section(header, "config", "target").get("url")
    if not isinstance(urls, list) or len(urls) < 2 or "duration" not in run:
        return ()
    found = []
    for target, url in enumerate(urls):
        mine = table.target == target
        metrics = {}
        for key in PER_TARGET:
            among = mine[values[key].rows]
            weights = values[key].weights
            if among.any():
                own = values[key].values[among]
                metrics[key] = stats.distribution(own, None if weights is None else weights[among])
        ok = int((mine & table.ok).sum())
        requests = int((mine & table.measured).sum())
        found.append(TargetFigures(str(url), requests, ok, ok / run["duration"].value, metrics))
    return tuple(found)


def _span(table: RecordTable) -> tuple[int, int] | None:
    """From the first send to the last end of a measured request; None where nothing was sent."""
    sent = table.sent_ns[table.measured & (table.sent_ns >= 0)]
    ended = table.end_ns[table.measured & (table.end_ns >= 0)]
    if sent.size == 0 or ended.size == 0 or ended.max() <= sent.min():
        return None
    return int(sent.min()), int(ended.max())


def _throughputs(
    table: RecordTable, header: Mapping[str, Any], values: Mapping[str, Values], span: tuple[int, int], seed: int
) -> dict[str, RunValue]:
    """Sums over ok requests per second; tokens only where a length is known."""
    run = {"request_throughput": _rate(table, span, np.ones(len(table)), table.ok, "req/s", seed)}
    lengths_in, lengths_out = isl(table), osl(table)
    has_in, has_out = table.ok & (lengths_in >= 0), table.ok & (lengths_out >= 0)
    if has_in.any():
        run["input_token_throughput"] = _rate(table, span, lengths_in, has_in, "token/s", seed)
    if has_out.any():
        output = run["output_token_throughput"] = _rate(table, span, lengths_out, has_out, "token/s", seed)
        expected = run["request_throughput"].value * float(values["osl"].values.mean())
        if expected > 0:
            run["throughput_consistency_pct"] = RunValue("%", 100 * abs(output.value / expected - 1))
    told = has_in & (table.cached_tokens >= 0) & (table.isl_usage > 0)
    if told.any():
        share = 100 * float(table.cached_tokens[told].sum() / table.isl_usage[told].sum())
        run["cached_input_pct"] = RunValue("%", share)
    if has_in.any() and has_out.any():
        both = np.where(has_in, lengths_in, 0) + np.where(has_out, lengths_out, 0)
        run["total_token_throughput"] = _rate(table, span, both, has_in | has_out, "token/s", seed)
    if header.get("endpoint_type") == "embeddings":
        run["embedding_throughput"] = _rate(table, span, table.inputs, table.ok, "input/s", seed)
    return run


def _rate(
    table: RecordTable, span: tuple[int, int], amounts: Ints | Floats, among: Bools, unit: str, seed: int
) -> RunValue:
    """Sum of the amounts of some rows over the span, per second."""
    rows = np.flatnonzero(among)
    taken = amounts[rows].astype(np.float64)
    ends = table.end_ns[rows]
    in_order = taken[np.argsort(ends, kind="stable")]
    latency = float((ends - table.sent_ns[rows]).mean()) if rows.size else 0.0
    interval = stats.rate_interval(
        taken,
        table.sent_ns[rows],
        ends,
        *span,
        length=stats.block_length(rows.size, stats.lag1_autocorrelation(in_order)),
        shortest_ns=latency,
        seed=seed,
    )
    return RunValue(unit, float(taken.sum()) / ((span[1] - span[0]) / 1e9), interval)


def _rates(table: RecordTable, engine: Mapping[str, Any]) -> dict[str, RunValue]:
    """Requested and delivered rate of an open loop, over the arrivals that were due, sent or not (the engine's count).

    With conversations those are the first turns: later ones leave when an answer before them has ended.
    The send that belongs to the last arrival is always a little after it, so it is never counted: n sends in time make
    n - 1 gaps, and a client that is never late delivers what was requested.
    """
    arrived = table.measured & (table.turn == 0)
    intended = table.intended_ns[arrived & (table.intended_ns >= 0)]
    sent = table.sent_ns[arrived & (table.sent_ns >= 0)]
    due = int(engine.get("due") or intended.size)
    if due < 2 or not intended.size:
        return {}
    first, last = int(engine.get("first_due_ns") or intended.min()), int(engine.get("last_due_ns") or intended.max())
    if last <= first:
        return {}
    seconds = (last - first) / 1e9
    delivered = min(int((sent <= last).sum()), due - 1)
    return {
        "requested_rate": RunValue("req/s", (due - 1) / seconds),
        "delivered_rate": RunValue("req/s", delivered / seconds),
    }


def _promises(
    table: RecordTable,
    header: Mapping[str, Any],
    slos: Sequence[Slo],
    values: Mapping[str, Values],
    seed: int,
) -> tuple[dict[Slo, float], dict[str, RunValue], list[str]]:
    """Attainment of each per-request promise in percent, goodput and attainment of all, and what to disclose."""
    if not slos:
        return {}, {}, []
    not_sent = _not_sent(header)
    rows = slo_rules.due(table)
    denominator = int(rows.sum()) + not_sent
    kept = {slo: slo_rules.met(table, slo, values[slo.metric]) for slo in slo_rules.per_request(slos)}
    every = table.ok.copy()
    for one in kept.values():
        every &= one
    found: dict[str, RunValue] = {}
    span = _span(table)
    if span is not None:
        found["goodput"] = _rate(table, span, np.ones(len(table)), every, "req/s", seed)
    if denominator:
        found["slo_attainment"] = RunValue("%", 100 * float(every.sum()) / denominator)
    notes = []
    cancelled = sum(o == Outcome.CANCELLED for o, m in zip(table.outcome, table.measured, strict=True) if m)
    if cancelled:
        notes.append(f"cancelled by us and not in the SLO attainment: {cancelled}")
    attained = {slo: 100 * float((one & rows).sum()) / denominator for slo, one in kept.items()} if denominator else {}
    return attained, found, notes


def _outcomes(table: RecordTable) -> dict[str, int]:
    """Measured requests by outcome, `ok` first, then by number; those with HTTP 429 once more, after `http_error`."""
    counts = Counter(table.outcome[i] for i in np.flatnonzero(table.measured))
    found = {str(Outcome.OK): counts.pop(Outcome.OK, 0)}
    limited = int((table.measured & (table.status == TOO_MANY_REQUESTS)).sum())
    for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        found[name] = count
        if name == Outcome.HTTP_ERROR and limited:
            found[LIMITED] = limited
    return found


def _examples(table: RecordTable) -> dict[str, str]:
    """The first message of each outcome that is not ok, as far as there is one."""
    found: dict[str, str] = {}
    for i in np.flatnonzero(table.measured & ~table.ok).tolist():
        message = table.error[i] + (f" (Retry-After {table.retry_after[i]})" if table.retry_after[i] else "")
        if message:
            found.setdefault(table.outcome[i], message)
            if table.status[i] == TOO_MANY_REQUESTS:
                found.setdefault(LIMITED, message)
    return found


def _missing_notes(table: RecordTable, header: Mapping[str, Any]) -> list[str]:
    """What a reader cannot see in the figures because it never became a request, or ended the run."""
    notes = []
    not_sent = _not_sent(header)
    if not_sent:
        due = int((table.measured & (table.turn == 0)).sum()) + not_sent
        notes.append(
            f"{not_sent} of {due} due requests were never sent; latencies and the rows 'from intended' leave them out,"
            " and each is an SLO miss"
        )
    if header.get("error"):
        notes.append(f"the run ended early: {header['error']}")
    notes += of_the_end(header)
    retries = _section(header, "health").get("retries")
    if retries:
        notes.append(
            f"{retries} requests were sent a second time: the server had closed a kept connection (--no-retry)"
        )
    if header.get("stopped_early"):
        notes.append(f"the run was stopped early: {header['stopped_early']} (--stop-after-errors)")
    if header.get("interrupted") and not len(table):
        notes.append("the log has no record: the run was stopped before one was written")
    return notes


def _not_sent(header: Mapping[str, Any]) -> int:
    return int(header.get("not_sent") or _section(header, "health").get("not_sent") or 0)


def _length_notes(table: RecordTable, header: Mapping[str, Any]) -> list[str]:
    """What to know of the token counts: the template's share of the input."""
    template = _section(header, "preflight").get("template_tokens")
    return [_template_note(table, template)] if isinstance(template, int) and template > 0 else []


def _calibration_notes(header: Mapping[str, Any]) -> list[str]:
    """What this client's own error was found to be at such a load."""
    known = _section(header, "calibration")
    if known.get("stale"):
        return [str(known["stale"])]
    errors = [(name, known.get(key)) for name, key in (("TTFT", "ttft_error_p99_ms"), ("gaps", "icl_error_p99_ms"))]
    said = [f"{name} {error:.2g} ms" for name, error in errors if isinstance(error, int | float)]
    if not said:
        return []
    return [
        f"this client's own error at such a load, p99: {', '.join(said)} (calibrated {str(known.get('made', ''))[:10]})"
    ]


def _template_note(table: RecordTable, template: int) -> str:
    """How the server's input length comes about: what was asked for, and what its template adds."""
    both = table.ok & (table.isl_wanted >= 0) & (table.isl_usage > 0)
    if not both.any():
        return f"the server's template adds {template} token{'' if template == 1 else 's'} to each input"
    asked = round(float(np.median(table.isl_wanted[both])))
    whole = round(float(np.median(table.isl_usage[both])))
    if whole - template == asked:
        return f"input length {whole} = {asked} asked + {template} template"
    return f"input length {whole} = {whole - template} + {template} template; {asked} were asked for"
