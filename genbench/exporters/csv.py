"""summary.csv and requests.csv: a tidy table of the summary, and one row per request."""

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from genbench.metrics.definitions import METRICS, isl, osl
from genbench.metrics.summary import Run
from genbench.records import Ints, RecordTable
from genbench.stats import Floats
from genbench.types import Phase

POINTS = (
    "intended_ns",
    "ready_ns",
    "start_ns",
    "dns_ns",
    "tcp_end_ns",
    "tls_end_ns",
    "sent_ns",
    "sent_end_ns",
    "headers_ns",
    "end_ns",
)
COUNTS = (
    "worker",
    "target",
    "session",
    "turn",
    "connection",
    "attempts",
    "status",
    "inputs",
    "embeddings",
    "choices",
    "isl_wanted",
    "isl_usage",
    "isl_tokenizer",
    "osl_wanted",
    "osl_usage",
    "osl_tokenizer",
    "cached_tokens",
    "reasoning_tokens",
    "request_bytes",
    "response_bytes",
)


def write(run: Run, out: Path) -> list[Path]:
    """Write `summary.csv` and `requests.csv` into the folder `out`."""
    summary, requests = out / "summary.csv", out / "requests.csv"
    with summary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("metric", "unit", "stat", "value"))
        writer.writerows(_tidy(run))
    columns = request_columns(run.table)
    with requests.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return [summary, requests]


def _tidy(run: Run) -> Iterator[tuple[str, str, str, float | int]]:
    summary = run.summary
    for key, found in summary.metrics.items():
        yield key, found.unit, "count", found.count
        for stat, value in found.stats.items():
            yield key, found.unit, stat, value
    for key, figure in summary.run.items():
        yield key, figure.unit, "value", figure.value
    for outcome, count in summary.outcomes.items():
        yield f"outcome_{outcome}", "requests", "count", count


def request_columns(table: RecordTable) -> dict[str, list[str]]:
    """One row per request, warm-up included, by column name.

    Clock points are in ns from the first intended moment. A metric's column is empty where the request does not have
    it or is not eligible; `isl` and `osl` are there for every request that has them. Pooled metrics have no column.
    """
    known = table.intended_ns[table.intended_ns >= 0]
    zero = int(known.min()) if known.size else 0
    columns = {
        "index": _whole(table.index),
        "phase": ["measured" if phase == Phase.MEASURED else "warmup" for phase in table.phase.tolist()],
        "outcome": table.outcome,
        "finish_reason": table.finish_reason,
    }
    columns |= {name: _whole(getattr(table, name)) for name in COUNTS}
    columns |= {name: _whole(getattr(table, name), zero) for name in POINTS}
    for row in METRICS:
        if not row.pooled and row.key not in ("isl", "osl"):
            found = row.of(table)
            name = f"{row.key}_ms" if row.unit == "ms" else row.key
            columns[name] = _real(found.values, found.rows, len(table))
    columns |= {"isl": _whole(isl(table)), "osl": _whole(osl(table))}
    columns |= {"content_events": _whole(table.content.count), "events": _whole(np.diff(table.event_start))}
    return columns | {"retry_after": table.retry_after, "error": table.error}


def _whole(column: Ints, zero: int = 0) -> list[str]:
    return [str(value - zero) if value >= 0 else "" for value in column.tolist()]


def _real(values: Floats, rows: Ints, n: int) -> list[str]:
    """Numbers to a nanosecond (six decimals of a millisecond), in their rows; empty elsewhere."""
    column = [""] * n
    for row, value in zip(rows.tolist(), np.round(values, 6).tolist(), strict=True):
        column[row] = repr(value)
    return column
