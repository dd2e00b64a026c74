"""Where a curve bends: saturation, the knee, no batching, falling throughput, the Pareto front. See docs/curve.md.

All work on the levels of one group by rising load (`levels`), and return mappings that JSON can hold; None where the
question cannot be asked of these levels.
"""

import math
from collections.abc import Sequence
from typing import Any

from genbench.metrics.levels import REQUESTS, TOKENS, AveragedLevel, half_width, value_of

SAME = 0.05  # two throughputs that differ by less are one
FALL = 0.10  # of the highest throughput: less may be the ramp and the end of a run
LEAST_LEVELS = 4  # with fewer a knee is only the middle one
LEAST_ERROR = 0.025  # of throughput and of latency each, where a run gives no interval or a narrower one
SHARE_ERROR, MOST_SHARE_ERROR = 0.02, 0.1  # of the share that waiting has in the latency
CERTAIN = 0.1  # half of a throughput's interval, to say that it is another one's
LATENCY = "request_latency.mean"
Found = dict[str, Any]


def usable(levels: Sequence[AveragedLevel], key: str) -> list[AveragedLevel]:
    """Levels that delivered something."""
    return [level for level in levels if (value_of(level, key) or 0.0) > 0]


def throughput_key(levels: Sequence[AveragedLevel]) -> str:
    """Output tokens where every level that delivered anything has them, else requests."""
    some = usable(levels, REQUESTS)
    return TOKENS if some and all(value_of(level, TOKENS) for level in some) else REQUESTS


def saturation(levels: Sequence[AveragedLevel], key: str) -> Found | None:
    """The highest throughput, and the first level within 5 % of it.

    `reached`: a higher level brought no more, or one was judged saturated; else throughput may still rise.
    """
    some = usable(levels, key)
    if not some:
        return None
    highest = max(some, key=lambda level: value_of(level, key) or 0.0)
    top = value_of(highest, key) or 0.0
    first = next(level for level in some if (value_of(level, key) or 0.0) >= (1 - SAME) * top)
    reached = first["value"] < levels[-1]["value"] or bool(first["saturated"])
    return {
        "throughput": top,
        "unit": highest["figures"][key]["unit"],
        "at": highest["value"],
        "from": first["value"],
        "reached": reached,
    }


def knee(levels: Sequence[AveragedLevel], key: str) -> Found | None:
    """The level of the highest power, throughput over mean latency (Kleinrock 1979), and those that may be it.

    Beyond it latency grows by a larger factor than throughput. `from` and `to` enclose the levels next to each other
    whose power is the highest within the errors of both; `why` says why there is no `value`.
    """
    some = [level for level in usable(levels, key) if (value_of(level, LATENCY) or 0.0) > 0]
    if len(some) < LEAST_LEVELS:
        return {"value": None, "why": f"it needs {LEAST_LEVELS} levels, and {len(some)} delivered something"}
    power = [(value_of(level, key) or 0.0) / (value_of(level, LATENCY) or 1.0) for level in some]
    error = [
        math.hypot(max(half_width(level, key), LEAST_ERROR), max(half_width(level, LATENCY), LEAST_ERROR))
        for level in some
    ]
    best = power.index(max(power))
    first = last = best
    least = power[best] * (1 - error[best])
    while first > 0 and power[first - 1] * (1 + error[first - 1]) >= least:
        first -= 1
    while last < len(some) - 1 and power[last + 1] * (1 + error[last + 1]) >= least:
        last += 1
    if best == len(some) - 1:
        return {"value": None, "why": "throughput still grows faster than latency at the highest level"}
    return {
        "value": some[best]["value"],
        "from": some[first]["value"],
        "to": some[last]["value"],
        "lowest": best == 0,
        "why": "",
    }


def waiting(level: AveragedLevel, lowest: AveragedLevel | None) -> Found | None:
    """Mean wait of a request (ms), its share of the mean latency, and who says so.

    The server's own queue time where it is known (`server`); else what the first token came later than at the lowest
    level (`first token`); where nothing is streamed, what the answer did (`latency`).
    """
    latency = value_of(level, LATENCY)
    if not latency:
        return None
    queue = value_of(level, "server_queue.mean")
    if queue is not None:
        return {"ms": queue, "share": queue / latency, "source": "server"}
    if lowest is None:
        return None
    for name, source in (("ttft.mean", "first token"), (LATENCY, "latency")):
        here, there = value_of(level, name), value_of(lowest, name)
        if here is not None and there is not None:
            wait = max(here - there, 0.0)
            return {"ms": wait, "share": wait / latency, "source": source}
    return None


def no_batching(levels: Sequence[AveragedLevel], by: str) -> Found | None:
    """Whether requests are served one at a time; None where that cannot be told.

    At every concurrency C of at least 2 that was measured the share of waiting in the latency is at least (C - 1) / C,
    less the error, and the request throughput is that at 1, within 5 %. Then at most one request is in service: C times
    (1 - share) <= 1. For C the measured mean number in flight is taken, which a run's first and last requests lower
    together with the wait. The throughput at 1 is measured, or, where the server tells its queue time, one over the
    time it served.
    """
    if by != "concurrency":
        return None
    alone = next((level for level in usable(levels, REQUESTS) if level["value"] == 1), None)
    several = [level for level in usable(levels, REQUESTS) if level["value"] >= 2 and level["wait"] is not None]
    if not several or (alone is None and any(level["wait"]["source"] != "server" for level in several)):
        return None
    latency, wait = value_of(several[0], LATENCY) or 0.0, several[0]["wait"]["ms"]
    at_one = value_of(alone, REQUESTS) if alone is not None else 1000 / (latency - wait) if latency > wait else None
    if not at_one:
        return None
    found = all(
        level["wait"]["share"] >= _queue_share(level)
        and abs((value_of(level, REQUESTS) or 0.0) / at_one - 1) <= SAME
        and half_width(level, REQUESTS) <= CERTAIN
        for level in several
    )
    return {
        "found": found,
        "throughput_at_1": at_one,
        "unit": "req/s",
        "measured": alone is not None,
        "at": several[-1]["value"],
        "share": several[-1]["wait"]["share"],
    }


def _queue_share(level: AveragedLevel) -> float:
    """The least share of waiting with which at most one request is served at a time."""
    flying = value_of(level, "concurrency_mean") or level["value"]
    error = min(max(SHARE_ERROR, half_width(level, LATENCY) / flying), MOST_SHARE_ERROR)
    return float(1 - 1 / flying - error)


def falling(levels: Sequence[AveragedLevel], key: str) -> Found | None:
    """The level beyond the highest throughput that delivers least, where it is 10 % less and beyond the errors of both.

    A whole run contains its ramp and its end, a steady window does not: only like is compared with like.
    """
    some = usable(levels, key)
    if not some:
        return None
    peak = max(some, key=lambda level: value_of(level, key) or 0.0)
    beyond = [level for level in some if level["value"] > peak["value"] and _clearly_less(level, peak, key)]
    if not beyond:
        return None
    least = min(beyond, key=lambda level: value_of(level, key) or 0.0)
    here, top = value_of(least, key) or 0.0, value_of(peak, key) or 1.0
    return {
        "from": beyond[0]["value"],
        "at": least["value"],
        "throughput": here,
        "unit": least["figures"][key]["unit"],
        "less_pct": 100 * (1 - here / top),
        "peak": peak["value"],
    }


def _clearly_less(level: AveragedLevel, peak: AveragedLevel, key: str) -> bool:
    here, top = level["figures"][key], peak["figures"][key]
    if level["window"] != peak["window"] or here["value"] > (1 - FALL) * top["value"]:
        return False
    return bool(here["low"] is None or top["low"] is None or here["high"] < top["low"])


def front(levels: Sequence[AveragedLevel], key: str, speed: str) -> list[float] | None:
    """Levels that no other beats in both, throughput and speed per user, by rising load; None where there is no speed.

    Of levels that are equal in both the lowest load stands for all.
    """
    some = [level for level in usable(levels, key) if value_of(level, speed) is not None]
    if not some:
        return None
    best, kept = -math.inf, []
    for level in sorted(some, key=lambda one: (-(value_of(one, speed) or 0.0), -(value_of(one, key) or 0.0))):
        here = value_of(level, key) or 0.0
        if here > best:
            best = here
            kept.append(float(level["value"]))
    return sorted(kept)
