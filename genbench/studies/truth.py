"""The same requests from both sides: what a client reports beside what the embedded engine wrote down (GET /truth).

The engine's log has the kernel's receive stamp of each request's last byte and the monotonic time just before each
write. Both sides read one clock, so

    TTFT error          (reported TTFT) - (engine's first write - engine's receive stamp)
    inter-chunk error   (gap between two tokens as reported) - (gap between the engine's two writes)

Pure: whoever asks brings the records and the log. The log's own error (the engine held up between its clock reading and
its write) is in the figures.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from genbench.records import Bools, Ints, RecordTable
from genbench.types import CONTENT_KINDS

CONTENT = frozenset(kind.name.lower() for kind in CONTENT_KINDS)
WINDOW_NS = 1_000_000  # a request cannot reach the engine this much before its client says it sent it


@dataclass(frozen=True, slots=True)
class Seen:
    """One request as its client reports it.

    `id` is its name in the engine's log, "" where the client has none; then `sent_ns` puts it in order. `gaps_ns` are
    those between its content events, None where the client keeps none; `clean` tells the gaps between two events that
    each came alone in their read (None: the client cannot tell). `exact`: no later event came with the first token, so
    the stamp is the token's own.
    """

    id: str
    ttft_ns: int
    gaps_ns: Ints | None = None
    clean: Bools | None = None
    sent_ns: int = -1
    connection: int = -1
    exact: bool = True


@dataclass(frozen=True, slots=True)
class Logged:
    """One request in the engine's log; `reused` tells that its connection had carried one before."""

    id: str
    connection: int
    received_ns: int
    writes_ns: Ints
    events: int
    reused: bool

    @property
    def ttft_ns(self) -> int:
        """From the last byte in to the first token out."""
        return int(self.writes_ns[0]) - self.received_ns


def seen(table: RecordTable) -> list[Seen]:
    """The measured requests of a run of genbench that are ok and have a token.

    The kernel merges what waits for a late reader and keeps only the last segment's stamp. So an event came alone when
    neither it nor the one after it is marked `event_shared`.
    """
    content = table.content
    stamps, alone = table.event_ns[content.position], ~table.event_shared
    last_of_read = np.append(alone[1:], True)  # the first event of an answer is never marked
    clean, exact = (alone & last_of_read)[content.position], last_of_read[content.position]
    rows = []
    for row in np.flatnonzero(table.ok & (content.count > 0)):
        own = slice(content.start[row], content.start[row + 1])
        times, single = stamps[own], clean[own]
        rows.append(
            Seen(
                id="",
                ttft_ns=int(times[0] - table.sent_ns[row]),
                gaps_ns=np.diff(times),
                clean=single[1:] & single[:-1],
                sent_ns=int(table.sent_ns[row]),
                connection=int(table.connection[row]),
                exact=bool(exact[own][0]),
            )
        )
    return rows


def logged(requests: Iterable[Mapping[str, Any]]) -> list[Logged]:
    """The `requests` of GET /truth in order of arrival, those without a token left out."""
    found, known = [], set()
    for one in sorted(requests, key=lambda one: int(one["received_ns"])):
        writes = np.array([t_ns for kind, t_ns, _ in one["events"] if kind in CONTENT], dtype=np.int64)
        reused = one["connection"] in known
        known.add(one["connection"])
        if writes.size:
            received = one["received_ns"]
            found.append(Logged(one["id"], one["connection"], received, writes, len(one["events"]), reused))
    return found


def pairs(reported: Sequence[Seen], log: Sequence[Logged]) -> list[tuple[Seen, Logged]]:
    """Each request as the client and as the engine knows it; empty when that cannot be told.

    By id where the client has one. Else by order: one loop sends one request after the other, so the k-th sent is the
    k-th received; the counts must agree, and each connection of the client must be one and the same of the engine's.
    """
    if reported and reported[0].id:
        by_id = {one.id: one for one in log}
        return [(one, by_id[one.id]) for one in reported if one.id in by_id]
    mine = sorted(reported, key=lambda one: one.sent_ns)
    if not mine:
        return []
    theirs = [one for one in log if one.received_ns >= mine[0].sent_ns - WINDOW_NS]
    together = list(zip(mine, theirs, strict=False))
    ways = {(a.connection, b.connection) for a, b in together}
    if len(mine) != len(theirs) or len(ways) != len({a for a, _ in ways}) or len(ways) != len({b for _, b in ways}):
        return []
    return together


def ttft_errors_ns(matched: Iterable[tuple[Seen, Logged]]) -> Ints:
    """Reported TTFT less the true one, signed, where the first token has a stamp of its own."""
    errors = [mine.ttft_ns - theirs.ttft_ns for mine, theirs in matched if mine.exact]
    return np.array(errors, dtype=np.int64)


def gap_errors_ns(matched: Iterable[tuple[Seen, Logged]]) -> Ints:
    """Absolute errors of all gaps between two events that each came alone; answers of another length left out."""
    errors = [np.zeros(0, dtype=np.int64)]
    for mine, theirs in matched:
        if mine.gaps_ns is not None and mine.gaps_ns.size == theirs.writes_ns.size - 1:
            wrong = np.abs(mine.gaps_ns - np.diff(theirs.writes_ns))
            errors.append(wrong if mine.clean is None else wrong[mine.clean])
    return np.concatenate(errors)


def quantiles_ms(values_ns: Iterable[int] | Ints, *percents: float) -> list[float] | None:
    """Percentiles in ms, None of nothing."""
    found = np.asarray(values_ns if isinstance(values_ns, np.ndarray) else list(values_ns), dtype=np.float64)
    return [float(q) / 1e6 for q in np.percentile(found, percents)] if found.size else None
