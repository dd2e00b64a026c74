"""The messages of each stream as other tools meet them: one stamp per message, whatever our events found in it.

A message may have given several events (reasoning, content and a finish reason together); they have one stamp and one
`event_shared`. Of two messages that one read brought, the later has `event_shared` = 1. Where both have it, they count
as one message when their events could come from one; the gap between them is 0 either way.
"""

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from genbench.records import Bools, Ints, RecordTable
from genbench.types import CONTENT_KINDS, MISSING, EventKind

CHOICES = frozenset({EventKind.ROLE, EventKind.EMPTY, EventKind.FINISH}) | CONTENT_KINDS
KINDS = 16


@dataclass(frozen=True)
class Messages:
    """Messages of some kinds: stamp and row of each, int64[m], and each row's range among them, int64[n + 1]."""

    ns: Ints
    row: Ints
    start: Ints

    @cached_property
    def count(self) -> Ints:
        """Messages of each row, int64[n]."""
        return np.diff(self.start)

    def at(self, place: int | Ints) -> Ints:
        """Stamp of each row's message number `place` (0 is the first), int64[n]; -1 where the row has fewer."""
        has = (place >= 0) & (place < self.count)
        stamps = np.full(self.count.size, MISSING, dtype=np.int64)
        stamps[has] = self.ns[(self.start[:-1] + place)[has]]
        return stamps

    @cached_property
    def first(self) -> Ints:
        """Stamp of each row's first message, int64[n]; -1 where there is none."""
        return self.at(0)

    @cached_property
    def last(self) -> Ints:
        """Stamp of each row's last message, int64[n]; -1 where there is none."""
        return self.at(self.count - 1)

    def gaps(self, among: Bools) -> Ints:
        """Gaps in ns between consecutive messages of one row, of the rows of `among`, pooled."""
        later = np.flatnonzero((self.row[1:] == self.row[:-1]) & among[self.row[1:]]) + 1
        return self.ns[later] - self.ns[later - 1]


def messages(table: RecordTable, kinds: Collection[EventKind], *, by_read: bool = False) -> Messages:
    """The messages with an event of `kinds`; with `by_read` all that one read brought are one."""
    row = np.repeat(np.arange(len(table)), np.diff(table.event_start))
    position = np.flatnonzero(np.isin(table.event_kind, [int(kind) for kind in kinds]))
    row, ns = row[position], table.event_ns[position]
    together = (row[1:] == row[:-1]) & (ns[1:] == ns[:-1])
    if not by_read:
        together &= _one_message(table, position)
    begins = np.append(True, ~together)[: position.size]
    row = row[begins]
    start = np.searchsorted(row, np.arange(len(table) + 1)).astype(np.int64)
    return Messages(ns[begins], row, start)


def _one_message(table: RecordTable, position: Ints) -> Bools:
    """Whether each event and the next one, of the same read, may be of one message, bool[m - 1]."""
    shared = table.event_shared[position]
    choice, kind = table.event_choice[position].astype(np.int64), table.event_kind[position].astype(np.int64)
    order = choice * KINDS + kind
    alone = kind < EventKind.REASONING  # a role or an empty delta is all that its choice has in a message
    one_choice = choice[1:] == choice[:-1]
    could = (order[1:] > order[:-1]) & ~(one_choice & (alone[1:] | alone[:-1]))
    same_flag = np.asarray(shared[1:] == shared[:-1])
    return np.asarray(same_flag & (~shared[1:] | could))
