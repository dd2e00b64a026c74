"""A run made of records, as a dialect tells it, and two records that its tests share."""

from typing import Any

from genbench.metrics import slo
from genbench.metrics.dialects import Dialect, Row, translate
from genbench.metrics.summary import Run, summarise
from genbench.records import table_from
from genbench.types import EventKind, Record
from tests.metrics.made import ns, stream

Theirs = dict[tuple[str, str], float | str | None]


def run_of(*records: Record, rules: tuple[str, ...] = (), **header: Any) -> Run:
    table = table_from(records)
    return Run(header, table, summarise(table, header, [slo.parse(rule) for rule in rules]))


def said(name: str, *records: Record, **header: Any) -> Theirs:
    """Their figures by (row, statistic)."""
    found = translate(name, run_of(*records, **header))
    return {(row.name, one.stat): one.theirs for row in found.rows for one in row.figures}


def row_of(found: Dialect, name: str) -> Row:
    (row,) = (row for row in found.rows if row.name == name)
    return row


def normal() -> Record:
    """Start 99.875, sent 100, role at 100.5, tokens at 150 170 190 230, the last with finish; the body ends at 235."""
    return stream(0, 100, [150, 170, 190, 230], end=235)


def done_at(record: Record, ms: float) -> Record:
    """The record with a [DONE] event."""
    record.event_ns.append(ns(ms))
    for column, value in (("event_kind", EventKind.DONE), ("event_choice", 0), ("event_tokens", -1)):
        getattr(record, column).append(int(value))
    record.event_shared.append(0)
    return record
