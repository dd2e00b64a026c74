"""The slowest requests, each with its events one by one, and how all requests ended.

The latency of an ok request is the metric's (its last token; not streamed: its end); of any other the time to its end,
whatever became of it: what the user waited for.
"""

from dataclasses import dataclass

import numpy as np

from genbench.block import number
from genbench.metrics.definitions import METRICS, osl
from genbench.metrics.summary import LIMITED, Run
from genbench.records import Ints, RecordTable
from genbench.report.markup import Child, Html, e, join, row, table
from genbench.report.top import measured
from genbench.types import EventKind, Outcome

MOST = 20
EVENTS = 160  # more are thinned: the first, the last, and those after the longest gaps
FIRST, LAST = 60, 20
PEAKS = 3  # of the gaps, marked
MS = 1e6


@dataclass(frozen=True, slots=True)
class Moment:
    """One line of a request's story: time since it was sent and since the line before, in ms; `shared` as recorded."""

    at_ms: float
    gap_ms: float
    kind: str
    tokens: int
    shared: bool


def latencies(table: RecordTable) -> dict[int, float]:
    """Latency in ms of each measured request that was sent and has an end, by row."""
    rows = np.flatnonzero(table.measured & (table.sent_ns >= 0) & (table.end_ns >= table.sent_ns))
    found = dict(zip(rows.tolist(), ((table.end_ns[rows] - table.sent_ns[rows]) / MS).tolist(), strict=True))
    metric = next(one for one in METRICS if one.key == "request_latency").of(table)
    return found | dict(zip(metric.rows.tolist(), metric.values.tolist(), strict=True))


def slowest(run: Run, prefix: str) -> Html:
    """A table of at most 20 requests; each opens to its events."""
    found = latencies(run.table)
    rows = sorted(found, key=lambda i: (-found[i], i))[:MOST]
    title = e("h2", "Slowest requests")
    if not rows:
        why = "no request of the measured phase was sent and has an end"
        return e("section", title, e("p", f"None: {why}.", class_="nothing"), id=f"{prefix}slowest")
    content = run.table.content
    first = [_first_ms(run.table, content.position, content.start, i) for i in rows]
    lengths = osl(run.table)
    begin = run.table.sent_ns[run.table.measured & (run.table.sent_ns >= 0)].min()
    lines: list[Html] = []
    for i, ttft in zip(rows, first, strict=True):
        lines += _request(run.table, i, found[i], ttft, int(lengths[i]), int(begin), found[rows[0]], prefix)
    head = ("Request", "Latency (ms)", "TTFT (ms)", "Output (tokens)", "Sent at (s)", "Outcome", "Where the time went")
    said = "A request opens to its events. The bar is its latency: to the first token, then the rest."
    return e(
        "section",
        title,
        e("p", said, class_="note"),
        table(f"The {len(rows)} slowest requests", head, lines, class_="slowest"),
        id=f"{prefix}slowest",
    )


def _first_ms(table: RecordTable, position: Ints, start: Ints, i: int) -> float | None:
    """Time to the first content event of any streamed request, ok or not."""
    if not table.streamed[i] or start[i] == start[i + 1]:
        return None
    return float(table.event_ns[position[start[i]]] - table.sent_ns[i]) / MS


def _request(
    table: RecordTable,
    i: int,
    latency: float,
    ttft: float | None,
    length: int,
    begin: int,
    longest: float,
    prefix: str,
) -> list[Html]:
    """The request's row, and the one that it opens."""
    story = f"{prefix}request-{table.index[i]}"
    opens = e(
        "button",
        f"#{table.index[i]}",
        type="button",
        aria_expanded="false",
        aria_controls=story,
        class_="opens",
    )
    cells: list[Child] = [
        number(latency, "ms"),
        number(ttft, "ms"),
        f"{length:,}" if length >= 0 else "-",
        f"{(int(table.sent_ns[i]) - begin) / 1e9:.2f}",
    ]
    outcome = table.outcome[i]
    shown = e("span", outcome, class_="ok" if outcome == Outcome.OK else "failed")
    first = e(
        "tr",
        e("th", opens, scope="row"),
        [e("td", cell, class_="n") for cell in cells],
        e("td", shown),
        e("td", _bar(latency, ttft, longest)),
        class_="request",
    )
    message = e("p", e("bdi", table.error[i]), class_="failed") if table.error[i] else None
    inside = e("td", message, _events(table, i), colspan=len(cells) + 3)
    return [first, e("tr", inside, id=story, class_="story", hidden=True)]


def _bar(latency: float, ttft: float | None, longest: float) -> Html:
    whole = 100 * latency / longest if longest > 0 else 0.0
    share = 100 * min(ttft or 0.0, latency) / latency if latency > 0 else 0.0
    inner = e("span", style=f"width:{share:.2f}%")
    return e("span", inner, class_="time", style=f"width:{whole:.2f}%", aria_hidden="true")


def moments(table: RecordTable, i: int) -> list[Moment]:
    """Everything that happened to a request, in order of time: sent, head, events, end."""
    among = slice(int(table.event_start[i]), int(table.event_start[i + 1]))
    kinds = [EventKind(kind).name.lower() for kind in table.event_kind[among].tolist()]
    points = [("sent", int(table.sent_ns[i])), ("response head", int(table.headers_ns[i]))]
    seen = [(name, at, -1, False) for name, at in points if at >= 0]
    seen += zip(
        kinds,
        table.event_ns[among].tolist(),
        table.event_tokens[among].tolist(),
        table.event_shared[among].tolist(),
        strict=True,
    )
    if table.end_ns[i] >= 0:
        seen.append(("end", int(table.end_ns[i]), -1, False))
    sent = int(table.sent_ns[i])
    seen.sort(key=lambda one: one[1])
    found, before = [], sent
    for name, at, tokens, shared in seen:
        found.append(Moment((at - sent) / MS, (at - before) / MS, name, tokens, shared))
        before = at
    return found


def _events(table_: RecordTable, i: int) -> Html:
    found = moments(table_, i)
    longest = sorted(range(len(found)), key=lambda k: -found[k].gap_ms)
    peaks = set(longest[:PEAKS])
    kept = set(range(len(found)))
    if len(found) > EVENTS:
        kept = {*range(FIRST), *range(len(found) - LAST, len(found)), *longest[: EVENTS - FIRST - LAST]}
    told = any(one.tokens >= 0 for one in found)
    rows: list[Html] = []
    skipped: list[Moment] = []
    for k, one in enumerate(found):
        if k not in kept:
            skipped.append(one)
            continue
        if skipped:
            rows.append(_skipped(skipped, told))
            skipped = []
        rows.append(_moment(one, told, k in peaks))
    head = ("Event", "Since sent (ms)", "Gap (ms)", *(("Tokens",) if told else ()))
    shared = any(one.shared for one in found)
    note = "† came with the event before it in one read: its stamp is an upper bound." if shared else ""
    made = table(f"Events of request {table_.index[i]}", head, rows, class_="events")
    return join((made, e("p", note, class_="note") if note else None))


def _moment(one: Moment, told: bool, peak: bool) -> Html:
    cells = [f"{one.at_ms:,.3f}", f"{one.gap_ms:,.3f}"]
    if told:
        cells.append(f"{one.tokens}" if one.tokens >= 0 else "")
    return row(one.kind + (" †" if one.shared else ""), *cells, class_="peak" if peak else None)


def _skipped(skipped: list[Moment], told: bool) -> Html:
    gaps = [one.gap_ms for one in skipped]
    text = f"… {len(skipped):,} more, gaps {min(gaps):,.3f} to {max(gaps):,.3f} ms"
    return e("tr", e("td", text, colspan=4 if told else 3, class_="note"))


def outcomes(run: Run, prefix: str) -> Html:
    """How the measured requests ended, each kind with an example of its message."""
    summary = run.summary
    total = measured(summary)
    rows = []
    for name, count in summary.outcomes.items():
        good = name == Outcome.OK
        label = "of these HTTP 429" if name == LIMITED else name
        share = f"{100 * count / total:.3g} %" if total else "-"
        message = summary.examples.get(name, "")
        rows.append(
            e(
                "tr",
                e("th", e("span", label, class_="ok" if good or not count else "failed"), scope="row"),
                e("td", f"{count:,}", class_="n"),
                e("td", share, class_="n"),
                e("td", e("bdi", message), class_="message"),
            )
        )
    head = ("Outcome", "Requests", "Share", "An example")
    return e(
        "section",
        e("h2", "Outcomes"),
        table("How the requests ended", head, rows, class_="outcomes")
        if total
        else e("p", "None: the log has no request of the measured phase.", class_="nothing"),
        id=f"{prefix}outcomes",
    )


def servers(run: Run, prefix: str) -> Html | None:
    """The share of each of several servers; nothing where there is one."""
    if not run.summary.targets:
        return None
    places = [
        (key, stat)
        for key in ("ttft", "itl", "request_latency")
        for stat in ("p50", "p95", "p99")
        if any(key in one.metrics for one in run.summary.targets)
    ]
    names = {"ttft": "TTFT", "itl": "ITL", "request_latency": "Latency"}
    rows = []
    for one in run.summary.targets:
        cells = [number(one.metrics[key][stat], "ms") if key in one.metrics else "-" for key, stat in places]
        share = f"{100 * one.ok / one.requests:.4g} %" if one.requests else "-"
        rows.append(row(one.url, f"{one.requests:,}", share, number(one.request_throughput), *cells))
    head = ("Server", "Requests", "ok", "req/s", *(f"{names[key]} {stat} (ms)" for key, stat in places))
    return e(
        "section",
        e("h2", "Servers"),
        table("The servers, each over its own requests", head, rows, class_="servers"),
        id=f"{prefix}servers",
    )
