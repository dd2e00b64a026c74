"""The rows of a run's final block, for the screen, `summary.md` and whoever draws them otherwise.

Rules: a number has three to four significant digits, one that is not there is "-". A row within 1 % of another that it
refines is left out, and so is a steady figure within 5 % of the whole run's. Where the width does not hold all columns,
p75 goes first, then the intervals (there from 120 columns on), p90, min, max, p95, avg.
"""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from genbench import loads
from genbench.metrics.definitions import METRICS, by_key
from genbench.metrics.summary import LIMITED, Run
from genbench.metrics.verdict import INVALID
from genbench.telemetry import words
from genbench.types import Distribution, Finding, SloResult, Summary

COLUMNS = ("avg", "min", "max", "p99", "p95", "p90", "p75", "p50", "count")
INTERVALS = ("p50 95 %", "p99 95 %")
INTERVALS_FROM = 120
DROPPED = ("p75", *INTERVALS, "p90", "min", "max", "p95", "avg")
SHOWN_RUN = (
    "request_throughput",
    "steady_request_throughput",
    "output_token_throughput",
    "steady_output_token_throughput",
    "input_token_throughput",
    "total_token_throughput",
    "cached_input_pct",
    "embedding_throughput",
    "requested_rate",
    "delivered_rate",
    "goodput",
    "slo_attainment",
    "error_rate",
    "concurrency_mean",
    "concurrency_max",
    "duration",
)
ONLY_ABOVE_ZERO = ("cached_input_pct",)
REPEATS = {
    "ttfo": "ttft",
    "icl": "itl",
    "ttft_intended": "ttft",
    "request_latency_intended": "request_latency",
}
NEVER_SHOWN = ("ntpot", "prefill_tps")
SHORT = {
    "ttfo": "TTFO",
    "ttft_intended": "TTFT from intended",
    "request_latency_intended": "Latency from intended",
    "ntpot": "Normalised TPOT",
}
SAME = 0.01
SAME_MS = 1.0  # the rows that repeat others are all in ms
SAME_STEADY = 0.05
FEW_MARK = "*"
LEGEND = "* too few samples for this percentile: p90 wants 44, p95 90, p99 459"


@dataclass(frozen=True, slots=True)
class Block:
    """The final block as rows of text; whoever draws it aligns the first cell left and the others right.

    `metrics` has one row per metric (label, then one cell per column of `columns`), `run` label, value and 95 %
    interval (or ""), `outcomes` name, count and example, `slos` whether it held and the sentence, `findings` why the
    verdict is what it is, each with the next step. `targets` has one row per server where there are several. `about`
    is what the user said of the run: its hardware, its metadata; `server` what the server said of itself, in lines.
    """

    title: str
    subtitle: str
    verdict: str
    findings: tuple[str, ...]
    columns: tuple[str, ...]
    metrics: tuple[tuple[str, ...], ...]
    run: tuple[tuple[str, str, str], ...]
    outcomes: tuple[tuple[str, str, str], ...]
    targets: tuple[tuple[str, ...], ...]
    slos: tuple[tuple[bool, str], ...]
    notes: tuple[str, ...]
    legend: str
    about: tuple[str, ...] = ()
    server: tuple[str, ...] = ()


def number(value: float | None, unit: str = "") -> str:
    """Three to four significant digits, thousands with commas; whole counts stay whole; None is "-"."""
    if value is None:
        return "-"
    size = abs(value)
    if value == 0 or size >= 1000 or (unit in ("token", "requests") and value == round(value)):
        return f"{value:,.0f}"
    if size < 0.001:
        return f"{value:.2g}"
    decimals = 1 if size >= 100 else 2 if size >= 10 else 3
    return f"{value:.{decimals}f}"


def block(run: Run, width: int) -> Block:
    """The final block of a run, with as many columns as `width` characters hold."""
    summary = run.summary
    shown = _shown(summary)
    columns = [*COLUMNS, *(INTERVALS if width >= INTERVALS_FROM else ())]
    rows = [_metric_row(key, summary.metrics[key], columns) for key in shown]
    for name in (name for name in DROPPED if name in columns):
        if _table_width(columns, rows) <= width:
            break
        place = columns.index(name)
        columns.pop(place)
        rows = [row[: place + 1] + row[place + 2 :] for row in rows]
    marked = any(FEW_MARK in cell for row in rows for cell in row[1:])
    title, subtitle = _titles(run)
    said, load = about(run.header), _part(_part(run.header, "config"), "load")
    return Block(
        title=title,
        subtitle=subtitle,
        verdict=summary.verdict,
        findings=tuple(_finding_line(finding) for finding in summary.findings),
        columns=tuple(columns),
        metrics=tuple(rows),
        run=tuple(_run_row(summary, key) for key in _shown_run(summary)),
        outcomes=tuple(
            (name, f"{count:,}", summary.examples.get(name, "")) for name, count in summary.outcomes.items()
        ),
        targets=_targets(summary),
        slos=tuple((result.passed, _slo_line(result)) for result in summary.slo),
        notes=(*_rate_lines(summary, load), *summary.notes, *(run.server.notes if run.server is not None else ())),
        legend=LEGEND if marked else "",
        about=tuple(f"{name}: {text}" for name, text in said.items()),
        server=words.lines(run.server) if run.server is not None else (),
    )


def plain(shown: Block, width: int) -> str:
    """The block as ASCII text of at most `width` columns, with a final newline."""
    lines = _wrapped(shown.title, width) + _wrapped(shown.subtitle, width)
    lines += [line for text in shown.about for line in _wrapped(text, width, "  ")]
    lines += [
        f"verdict {shown.verdict}",
        *(line for text in shown.findings for line in _wrapped(f"- {text}", width, "  ")),
    ]
    if shown.metrics:
        lines += ["", *_aligned([("", *shown.columns), *shown.metrics])]
        if shown.legend:
            lines += _wrapped(shown.legend, width)
    if shown.run:
        full = _aligned(shown.run)
        fits = max(map(len, full)) <= width
        lines += ["", *(full if fits else _aligned([row[:2] for row in shown.run]))]
    if shown.server:
        lines += ["", *(line for text in shown.server for line in _wrapped(text, width, "  "))]
    if shown.outcomes:
        wide = max(len(name) for name, _, _ in shown.outcomes)
        counts = max(len(count) for _, count, _ in shown.outcomes)
        lines.append("")
        for name, count, example in shown.outcomes:
            lines.append(_one_line(f"{name:<{wide}}  {count:>{counts}}  {example}", width))
    if shown.targets:
        lines += ["", *_aligned(shown.targets)]
    if shown.slos:
        lines += ["", *(_one_line(f"{'PASS' if held else 'FAIL'}  {line}", width) for held, line in shown.slos)]
    if shown.notes:
        lines += ["", *(line for note in shown.notes for line in _wrapped(f"- {note}", width, "  "))]
    text = "\n".join(line.rstrip() for line in lines) + "\n"
    return text.encode("ascii", "replace").decode("ascii")


def _shown(summary: Summary) -> list[str]:
    """Keys of the metrics that get a row."""
    found = summary.metrics
    keys = []
    for row in METRICS:
        if row.key not in found or row.key in NEVER_SHOWN:
            continue
        other = REPEATS.get(row.key)
        if other is not None and other in found and _alike(found[row.key], found[other]):
            continue
        if row.key == "upload" and not ("ttft" in found and _median(found, "upload") > 0.05 * _median(found, "ttft")):
            continue
        if row.key == "cap_wait" and found["cap_wait"].stats["max"] < 1:
            continue
        keys.append(row.key)
    return keys


def _median(found: Mapping[str, Distribution], key: str) -> float:
    return found[key].stats["p50"]


def _alike(one: Distribution, other: Distribution) -> bool:
    pairs = [(one.stats[stat], other.stats[stat]) for stat in ("mean", "p50", "p95", "p99")]
    return one.count == other.count and all(abs(a - b) <= max(SAME * abs(b), SAME_MS) for a, b in pairs)


def _shown_run(summary: Summary) -> list[str]:
    """Keys of the run's figures that get a row."""
    keys = []
    for key in SHOWN_RUN:
        figure, whole = summary.run.get(key), summary.run.get(key.removeprefix("steady_"))
        if figure is None or (key in ONLY_ABOVE_ZERO and not figure.value):
            continue
        if whole is None or whole is figure or abs(figure.value - whole.value) > SAME_STEADY * abs(whole.value):
            keys.append(key)
    return keys


def _metric_row(key: str, found: Distribution, columns: list[str]) -> tuple[str, ...]:
    label = SHORT.get(key, by_key()[key].label)
    return (f"{label} ({found.unit})", *(_cell(found, column) for column in columns))


def _cell(found: Distribution, column: str) -> str:
    if column == "count":
        return f"{found.count:,}"
    name, _, interval = column.partition(" ")
    if interval:
        low, high = found.ci95.get(name, (None, None))
        return "-" if low is None and high is None else f"{number(low, found.unit)} .. {number(high, found.unit)}"
    spread = found.count == 1 or found.stats["max"] > found.stats["min"]  # of equal values any percentile is known
    mark = FEW_MARK if name in found.few and spread else ""
    return number(found.stats.get("mean" if name == "avg" else name), found.unit) + mark


def _run_row(summary: Summary, key: str) -> tuple[str, str, str]:
    figure = summary.run[key]
    interval = "" if figure.ci95 is None else f"95 %: {number(figure.ci95[0])} .. {number(figure.ci95[1])}"
    return f"{by_key()[key].label} ({figure.unit})", number(figure.value, figure.unit), interval


def _rate_lines(summary: Summary, load: Mapping[str, Any]) -> list[str]:
    asked, delivered = summary.run.get("requested_rate"), summary.run.get("delivered_rate")
    named = load.get("request_rate")
    drawn = ""
    if isinstance(named, int | float) and asked is not None and f"{asked.value:.1f}" != f"{named:.1f}":
        drawn = f" (the arrivals drawn at {named:g})"
    if asked is None or delivered is None or f"{asked.value:.1f}" == f"{delivered.value:.1f}":
        return []
    return [f"asked {asked.value:,.1f} req/s{drawn}, delivered {delivered.value:,.1f}"]


def _finding_line(finding: Finding) -> str:
    """What is wrong, its bound, the next step; grave ones among others say so."""
    grave = "INVALID: " if finding.level == INVALID else ""
    return f"{grave}{finding.text} (bound {finding.bound:.3g} {finding.unit}): {finding.advice}"


def _targets(summary: Summary) -> tuple[tuple[str, ...], ...]:
    """A head and one row per server; nothing where there is one."""
    if not summary.targets:
        return ()
    places = [
        (key, stat)
        for key in ("ttft", "request_latency")
        for stat in ("p50", "p99")
        if any(key in one.metrics for one in summary.targets)
    ]
    names = {"ttft": "TTFT", "request_latency": "latency"}
    rows = [("", "requests", "ok", "req/s", *(f"{names[key]} {stat}" for key, stat in places))]
    for one in summary.targets:
        cells = [number(one.metrics[key][stat], "ms") if key in one.metrics else "-" for key, stat in places]
        rows.append((one.url, f"{one.requests:,}", f"{one.ok:,}", number(one.request_throughput), *cells))
    return tuple(rows)


def _slo_line(result: SloResult) -> str:
    row = by_key()[result.slo.metric]
    value = "no such value" if result.value is None else f"{number(result.value)} {row.unit}"
    share = "" if result.attainment_pct is None else f", kept by {result.attainment_pct:.4g} % of the requests"
    return f"{result.slo.text}: {value}{share}"


def _titles(run: Run) -> tuple[str, str]:
    config = run.header.get("config") or {}
    target, load = _part(config, "target"), _part(config, "load")
    model = run.header.get("model") or target.get("model")
    words = ["genbench", str(model or ""), str(run.header.get("endpoint_type") or "")]
    words += loads.title(load)
    if run.summary.simulated:
        words.append("SIMULATED")
    if run.summary.interrupted:
        words.append("INTERRUPTED")
    requests = sum(count for name, count in run.summary.outcomes.items() if name != LIMITED)
    warmup = run.summary.warmup_requests
    counted = [f"{requests:,} request{'' if requests == 1 else 's'}"]
    if "duration" in run.summary.run:
        counted.append(f"{number(run.summary.run['duration'].value)} s")
    counted.append(f"after {warmup:,} for warm-up" if warmup else "no warm-up")
    sources = run.summary.sources
    if sources.get("osl", "none") != "none" or sources.get("isl", "none") != "none":
        counted.append(f"tokens by {sources['osl'] if sources.get('osl', 'none') != 'none' else sources['isl']}")
    stamps = _part(run.header, "health").get("stamp_source")
    if stamps:
        counted.append(f"times by {stamps}")
    return "  ".join(word for word in words if word), ", ".join(counted)


def about(header: Mapping[str, Any]) -> dict[str, str]:
    """What the user said of the run, by name: the hardware in one line, the metadata in another; nothing: left out."""
    known, notes = _part(header, "hardware"), _part(header, "metadata")
    kind, count = known.get("gpu"), known.get("gpu_count")
    many = f"{count} x {kind or 'GPU'}" if count else str(kind or "")
    memory, price = known.get("gpu_memory_gb"), known.get("price_per_hour")
    words = [str(known.get("instance") or ""), many, f"{memory:g} GB each" if isinstance(memory, int | float) else ""]
    words.append(f"tensor parallel {known['tensor_parallel']}" if known.get("tensor_parallel") else "")
    words.append(f"${price:g} per hour" if isinstance(price, int | float) else "")
    said = {
        "hardware": ", ".join(word for word in words if word),
        "metadata": ", ".join(f"{key}={value}" for key, value in notes.items()),
    }
    return {name: text for name, text in said.items() if text}


def _part(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = config.get(name)
    return part if isinstance(part, Mapping) else {}


def _widths(rows: Sequence[tuple[str, ...]]) -> list[int]:
    return [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]


def _table_width(columns: list[str], rows: list[tuple[str, ...]]) -> int:
    widths = _widths([("", *columns), *rows])
    return sum(widths) + 2 * (len(widths) - 1)


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = _widths(rows)
    return [
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    ]


def _one_line(text: str, width: int) -> str:
    joined = " ".join(text.split("\n"))
    return joined if len(joined) <= width else joined[: width - 3] + "..."


def _wrapped(text: str, width: int, indent: str = "") -> list[str]:
    return textwrap.wrap(text, width, subsequent_indent=indent) or []
