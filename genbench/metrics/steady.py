"""Figures over the steady window, with tokens booked when they came.

The window leaves out what is not the load asked for: closed loop, from the moment all N are in flight to the last send
of a request; open loop, from the first measured arrival to the last scheduled one. If its halves differ by more than
10 % in the mean number in flight or in mean TTFT, the run was not steady: no figures, one note.
"""

from collections.abc import Sequence

import numpy as np

from genbench.metrics.definitions import Values, osl
from genbench.records import Ints, RecordTable
from genbench.stats import steps, time_weighted_mean
from genbench.types import RunValue

UNSTEADY = 0.10
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
        intended = table.intended_ns[table.measured & (table.intended_ns >= 0)]
        start, end = (int(intended.min()), int(intended.max())) if intended.size else (0, 0)
        # The warm-up is over when its last answer is: until then the requests in flight still become more.
        start = max(start, int(table.end_ns[~table.measured].max(initial=0)))
    else:
        ended = sent & (table.end_ns >= 0)
        times, levels = steps(table.sent_ns[ended], table.end_ns[ended])
        full = times[levels >= (concurrency or levels.max(initial=0))]
        start, end = (int(full[0]), int(table.sent_ns[sent].max())) if full.size else (0, 0)
    inside = sent & (table.sent_ns >= start) & (table.sent_ns <= end)
    return (start, end) if end > start and inside.sum() >= LEAST_REQUESTS else None


def figures(table: RecordTable, ttft: Values, span: tuple[int, int]) -> tuple[dict[str, RunValue], list[str]]:
    """The `steady_*` figures of a window and what to say about it."""
    start, end = span
    half = (start + end) // 2
    flying = [time_weighted_mean(*in_flight(table, a, b), b) for a, b in ((start, half), (half, end))]
    sent = table.sent_ns[ttft.rows]
    firsts = [ttft.values[(sent >= a) & (sent < b)] for a, b in ((start, half), (half, end))]
    means = [float(part.mean()) for part in firsts if part.size]
    if _differ(flying):
        return {}, [f"not steady: {flying[0]:.3g}, then {flying[1]:.3g} requests in flight in the window's halves"]
    if _differ(means):
        return {}, [f"not steady: mean TTFT {means[0]:.4g} ms, then {means[1]:.4g} ms in the window's halves"]
    seconds = (end - start) / 1e9
    found = {
        "steady_duration": RunValue("s", seconds),
        "steady_request_throughput": RunValue("req/s", _completed(table, span) / seconds),
        "steady_concurrency_mean": RunValue("requests", time_weighted_mean(*in_flight(table, start, end), end)),
    }
    tokens = _tokens(table, span)
    if tokens is not None:
        found["steady_output_token_throughput"] = RunValue("token/s", tokens / seconds)
    return found, []


def _differ(halves: Sequence[float]) -> bool:
    return len(halves) == 2 and abs(halves[0] - halves[1]) > UNSTEADY * max(halves)


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
