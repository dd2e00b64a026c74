"""Figures over the steady window, with tokens booked when they came.

The window leaves out what is not the load asked for: closed loop, from the moment all N are in flight to the last send
of a request; open loop, from the first measured arrival to the last scheduled one. If its halves differ by more than
10 % in the mean number in flight or in mean TTFT, and by more than chance alone makes (`CHANCE` standard errors), the
run was not steady: no figures, and a finding of the verdict. Without the second condition one in three short Poisson
runs against a perfectly steady server was called unsteady.

With conversations the arrivals are first turns, and a closed loop keeps N conversations under way, not N requests: a
user who thinks is part of the load. So N counts conversations there, each from its first send to its last end, and the
window ends when they are N for the last time. The number in flight is then not the client's doing and not compared
where there is think time; TTFT is compared turn by turn, since later turns are longer and come later.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from genbench.metrics.definitions import Values, osl
from genbench.records import Ints, RecordTable
from genbench.stats import steps, time_weighted_mean
from genbench.types import RunValue

UNSTEADY = 0.10
CHANCE = 3.0
LEAST_REQUESTS = 20  # in the window; fewer would call every short run unsteady


def in_flight(table: RecordTable, start_ns: int, end_ns: int) -> tuple[Ints, Ints]:
    """Requests in flight over [start, end), of all phases and outcomes, as a step function (times, levels)."""
    among = (table.sent_ns >= 0) & (table.end_ns > start_ns) & (table.sent_ns < end_ns)
    times, levels = steps(np.maximum(table.sent_ns[among], start_ns), np.minimum(table.end_ns[among], end_ns))
    if times.size == 0 or times[0] > start_ns:
        times, levels = np.insert(times, 0, start_ns), np.insert(levels, 0, 0)
    return times, levels


def window(table: RecordTable, concurrency: int | None, *, open_loop: bool) -> tuple[int, int] | None:
    """The steady window in ns, or None where the run has none."""
    sent = table.measured & (table.sent_ns >= 0)
    if not sent.any():
        return None
    if open_loop:
        intended = table.intended_ns[table.measured & (table.turn == 0) & (table.intended_ns >= 0)]
        start, end = (int(intended.min()), int(intended.max())) if intended.size else (0, 0)
        # The warm-up is over when its last answer is: until then the requests in flight still become more.
        start = max(start, int(table.end_ns[~table.measured].max(initial=0)))
    elif conversations(table):
        times, levels = steps(*_spans(table))
        full = np.flatnonzero(levels >= (concurrency or levels.max(initial=0)))
        start, end = (int(times[full[0]]), int(times[min(full[-1] + 1, times.size - 1)])) if full.size else (0, 0)
    else:
        ended = sent & (table.end_ns >= 0)
        times, levels = steps(table.sent_ns[ended], table.end_ns[ended])
        full = times[levels >= (concurrency or levels.max(initial=0))]
        start, end = (int(full[0]), int(table.sent_ns[sent].max())) if full.size else (0, 0)
    inside = sent & (table.sent_ns >= start) & (table.sent_ns <= end)
    return (start, end) if end > start and inside.sum() >= LEAST_REQUESTS else None


def conversations(table: RecordTable) -> bool:
    """Whether any request is a conversation's."""
    return bool((table.session >= 0).any())


def _spans(table: RecordTable) -> tuple[Ints, Ints]:
    """First send and last end of each measured conversation; requests without one stand for themselves."""
    rows = np.flatnonzero(table.measured & (table.sent_ns >= 0) & (table.end_ns >= 0))
    each, count = _units(table, rows)
    first, last = np.full(count, np.iinfo(np.int64).max), np.zeros(count, dtype=np.int64)
    np.minimum.at(first, each, table.sent_ns[rows])
    np.maximum.at(last, each, table.end_ns[rows])
    return first, last


def _units(table: RecordTable, rows: Ints) -> tuple[Ints, int]:
    """For each of the rows the number of its conversation, or one of its own where it has none; and how many."""
    names = np.where(table.session[rows] >= 0, table.session[rows], -1 - rows)
    unique, each = np.unique(names, return_inverse=True)
    return each, unique.size


def _think(table: RecordTable) -> bool:
    """Whether any turn waited after the answer before it."""
    order = np.lexsort((table.turn, table.session))
    session, turn = table.session[order], table.turn[order]
    follows = (session[1:] >= 0) & (session[1:] == session[:-1]) & (turn[1:] == turn[:-1] + 1)
    return bool((table.intended_ns[order][1:] > table.end_ns[order][:-1])[follows].any())


@dataclass(frozen=True, slots=True)
class Unsteady:
    """Why a run was not steady: by how much the halves of its window differ, in percent of the larger."""

    text: str
    differ_pct: float


class Mean(NamedTuple):
    """A mean and its standard error."""

    value: float
    error: float


def figures(
    table: RecordTable, ttft: Values, span: tuple[int, int], *, open_loop: bool
) -> tuple[dict[str, RunValue], Unsteady | None]:
    """The `steady_*` figures of a window; or none, and why it was not steady."""
    start, end = span
    half = (start + end) // 2
    halves = ((start, half), (half, end))
    unsteady = None
    if open_loop or not _think(table):
        unsteady = _unsteady_load(table, halves, open_loop=open_loop)
    unsteady = unsteady or _unsteady_ttft(table, ttft, halves)
    if unsteady is not None:
        return {}, unsteady
    seconds = (end - start) / 1e9
    found = {
        "steady_duration": RunValue("s", seconds),
        "steady_request_throughput": RunValue("req/s", _completed(table, span) / seconds),
        "steady_concurrency_mean": RunValue("requests", time_weighted_mean(*in_flight(table, start, end), end)),
    }
    tokens = _tokens(table, span)
    if tokens is not None:
        found["steady_output_token_throughput"] = RunValue("token/s", tokens / seconds)
    return found, None


def _unsteady_load(
    table: RecordTable, halves: tuple[tuple[int, int], tuple[int, int]], *, open_loop: bool
) -> Unsteady | None:
    flying = [
        Mean(time_weighted_mean(*in_flight(table, a, b), b), _arrivals_error(table, a, b) if open_loop else 0.0)
        for a, b in halves
    ]
    if not _differ(*flying):
        return None
    text = f"{flying[0].value:.3g}, then {flying[1].value:.3g} requests in flight in the window's halves"
    return Unsteady(text, _differ(*flying))


def _unsteady_ttft(
    table: RecordTable, ttft: Values, halves: tuple[tuple[int, int], tuple[int, int]]
) -> Unsteady | None:
    sent, turn = table.sent_ns[ttft.rows], np.where(table.session[ttft.rows] >= 0, table.turn[ttft.rows], 0)
    inside = (sent >= halves[0][0]) & (sent < halves[1][1])
    sent, turn, values = sent[inside], turn[inside], ttft.values[inside]
    if not values.size:
        return None
    # Each against the mean of its turn: only a drift within one turn is the server's.
    usual = np.bincount(turn, weights=values) / np.maximum(np.bincount(turn), 1)
    values = values - usual[turn] + values.mean()
    firsts = [values[(sent >= a) & (sent < b)] for a, b in halves]
    if any(part.size < 2 for part in firsts):
        return None
    means = [Mean(float(part.mean()), float(part.std(ddof=1)) / math.sqrt(part.size)) for part in firsts]
    if not _differ(*means):
        return None
    text = f"mean TTFT {means[0].value:.4g} ms, then {means[1].value:.4g} ms in the window's halves"
    return Unsteady(text, _differ(*means))


def _differ(one: Mean, other: Mean) -> float:
    """By how much two differ in percent of the larger; 0 where that is little, or what chance alone makes."""
    differ, larger = abs(one.value - other.value), max(one.value, other.value)
    if differ <= UNSTEADY * larger or differ <= CHANCE * math.hypot(one.error, other.error):
        return 0.0
    return 100 * differ / larger


def _arrivals_error(table: RecordTable, start_ns: int, end_ns: int) -> float:
    """Standard error of the mean number in flight over a time when arrivals are a Poisson process.

    That mean is the sum of n latencies over the time; with n Poisson its variance is n * E[latency^2] / time^2. What
    arrives is a conversation where there are some: its latency is that of all its turns.
    """
    rows = np.flatnonzero((table.sent_ns >= start_ns) & (table.sent_ns < end_ns) & (table.end_ns >= 0))
    each, count = _units(table, rows)
    latencies = np.bincount(each, weights=table.end_ns[rows] - table.sent_ns[rows], minlength=count)
    return math.sqrt(float((latencies**2).sum())) / (end_ns - start_ns)


def _completed(table: RecordTable, span: tuple[int, int]) -> int:
    return int((table.ok & (table.end_ns >= span[0]) & (table.end_ns < span[1])).sum())


def _tokens(table: RecordTable, span: tuple[int, int]) -> float | None:
    """Output tokens that came inside the window; None where no length is known.

    Each row's osl is shared out over its content events, by their own counts where all of them have one, else evenly.
    """
    content, length = table.content, osl(table)
    known = table.ok & (length >= 0)
    if not known.any():
        return None
    told = table.event_tokens[content.position].astype(np.float64)
    untold = np.bincount(content.row, weights=told < 0, minlength=len(table)) > 0
    share = np.where(untold[content.row], 1.0, np.maximum(told, 0.0))
    total = np.bincount(content.row, weights=share, minlength=len(table))
    stamps = table.event_ns[content.position]
    inside = (stamps >= span[0]) & (stamps < span[1])
    came = np.bincount(content.row[inside], weights=share[inside], minlength=len(table))
    rows = known & (total > 0)
    return float((length[rows] * came[rows] / total[rows]).sum())
