"""What a sweep says: for each group its levels, where the curve bends, what it promises, and sentences to quote.

Pure: from the points of `sweep.json` to its `analysis`. The definitions are in docs/curve.md; `levels` averages the
repeats, `bends` finds the bends, `curve_words` says them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from genbench.metrics import bends, curve_words
from genbench.metrics.levels import REQUESTS, TOKENS, AveragedLevel, Level, averaged, level_of, value_of

__all__ = ["Level", "analyse", "level_of"]

SCHEMA = 1
SPEED = "output_tps_per_user.p50"
BETWEEN = ("itl", "tpot", "icl")  # the time between tokens: the first of them that every level has
P95 = "request_latency.p95"


def analyse(levels: Sequence[Level], gpus: int | None = None) -> dict[str, Any]:
    """The `analysis` of a sweep; `gpus` is how many the server has, where that is known.

    `groups` has one curve for each group, in the order of the points; `sentences` are those of all groups, each with
    its group's name in front where there are several. Raises ValueError for points of two kinds of load.
    """
    kinds = sorted({level.by for level in levels})
    if len(kinds) > 1:
        raise ValueError(f"a sweep has one kind of load, not {' and '.join(kinds)}")
    names = list(dict.fromkeys(level.group for level in levels))
    groups = [_group(name, [level for level in levels if level.group == name], gpus) for name in names]
    said = [f"{group['group']}: {text}" if len(groups) > 1 else text for group in groups for text in group["sentences"]]
    return {"schema": SCHEMA, "by": kinds[0] if kinds else "", "gpus": gpus, "groups": groups, "sentences": said}


def _group(name: str, points: Sequence[Level], gpus: int | None) -> dict[str, Any]:
    by = points[0].by
    levels = averaged(points, gpus)
    lowest = _unloaded(levels, by)
    for level in levels:
        level["wait"] = bends.waiting(level, lowest)
        level["little"] = _little(level)
    key = bends.throughput_key(levels)
    some = bends.usable(levels, key)
    found: dict[str, Any] = {
        "group": name,
        "by": by,
        "throughput": key,
        "between": next((metric for metric in BETWEEN if some and all(_has(one, metric) for one in some)), ""),
        "levels": levels,
        "saturation": bends.saturation(levels, key),
        "knee": bends.knee(levels, key),
        "no_batching": bends.no_batching(levels, by),
        "falling": bends.falling(levels, key),
        "front": bends.front(levels, key, SPEED),
        "promises": _promises(points, levels),
    }
    found["kept_by_all"] = _kept_by_all(found["promises"], levels)
    found["optimum"] = _optimum(found, some, key)
    found["row"] = _row(found, key)
    found["sentences"] = curve_words.sentences(found, key)
    return found


def _has(level: AveragedLevel, metric: str) -> bool:
    return value_of(level, f"{metric}.p50") is not None


def _unloaded(levels: Sequence[AveragedLevel], by: str) -> AveragedLevel | None:
    """The lowest level, if requests met no other one there: what is slower elsewhere is slower by the load."""
    some = bends.usable(levels, REQUESTS)
    if not some:
        return None
    flying = some[0]["value"] if by == "concurrency" else value_of(some[0], "concurrency_mean")
    return some[0] if flying is not None and flying <= 1 else None


def _little(level: AveragedLevel) -> float | None:
    """Requests in flight by Little's law: request throughput times mean latency."""
    throughput, latency = value_of(level, REQUESTS), value_of(level, bends.LATENCY)
    return None if throughput is None or latency is None else throughput * latency / 1000


def _promises(points: Sequence[Level], levels: Sequence[AveragedLevel]) -> list[dict[str, Any]]:
    """Each promise with the highest level up to which every repeat keeps it, and the level where it breaks.

    A level that was judged saturated keeps none: its latency would have grown on.
    """
    rules = list(dict.fromkeys(str(one["rule"]) for point in points for one in point.slo))
    return [_promise(rule, points, levels) for rule in rules]


def _promise(rule: str, points: Sequence[Level], levels: Sequence[AveragedLevel]) -> dict[str, Any]:
    rows = []
    unit, metric = "", {}
    for level in levels:
        mine = [one for point in points if point.value == level["value"] for one in point.slo if one["rule"] == rule]
        known = [float(one["value"]) for one in mine if one.get("value") is not None]
        shares = [float(one["attainment_pct"]) for one in mine if one.get("attainment_pct") is not None]
        kept = len(mine) == level["repeats"] and all(one.get("passed") for one in mine) and not level["saturated"]
        measured = sum(known) / len(known) if known else None
        rows.append(
            {
                "value": level["value"],
                "measured": measured,
                "kept": kept,
                "attainment_pct": sum(shares) / len(shares) if shares else None,
            }
        )
        for one in mine:
            unit, metric = str(one.get("unit") or ""), {name: one.get(name) for name in ("metric", "stat", "bound")}
    broken = next((i for i, row in enumerate(rows) if not row["kept"]), len(rows))
    return {
        "rule": rule,
        **metric,
        "unit": unit,
        "holds_to": rows[broken - 1]["value"] if broken else None,
        "missed_from": rows[broken]["value"] if broken < len(rows) else None,
        "kept_again": [row["value"] for row in rows[broken:] if row["kept"]],
        "levels": rows,
    }


def _kept_by_all(promises: Sequence[Mapping[str, Any]], levels: Sequence[AveragedLevel]) -> float | None:
    """The highest level up to which every promise holds; None where there is no promise or no such level."""
    ends = [promise["holds_to"] for promise in promises]
    return min(ends) if ends and None not in ends else None


def _optimum(found: Mapping[str, Any], some: Sequence[AveragedLevel], key: str) -> dict[str, Any] | None:
    """The level to run at, and why.

    Where requests are served one at a time the lowest; else, of the levels up to the last that keeps every promise, the
    one of the highest throughput; without promises the knee, or the first level within 5 % of the highest throughput.
    """
    if not some:
        return None
    if (found["no_batching"] or {}).get("found"):
        return {"value": some[0]["value"], "why": "no batching: more load is only more queue"}
    if found["promises"]:
        kept = [level for level in some if level["value"] <= (found["kept_by_all"] or 0)]
        if not kept:
            return None
        best = max(kept, key=lambda level: value_of(level, key) or 0.0)
        return {"value": best["value"], "why": "the highest throughput that keeps every promise"}
    if found["knee"] and found["knee"]["value"] is not None:
        return {"value": found["knee"]["value"], "why": "the knee"}
    return {"value": found["saturation"]["from"], "why": "the first level within 5 % of the highest throughput"}


def _row(found: Mapping[str, Any], key: str) -> dict[str, Any] | None:
    """One row as Model Analyzer's tables have it: the optimum, its latency, wait, queue where known, throughput."""
    if found["optimum"] is None:
        return None
    level = next(one for one in found["levels"] if one["value"] == found["optimum"]["value"])
    wait = level["wait"] or {}
    return {
        "group": found["group"],
        "load": level["value"],
        "by": found["by"],
        "latency_p95_ms": value_of(level, P95),
        "response_wait_ms": value_of(level, bends.LATENCY),
        "queue_ms": wait.get("ms") if wait.get("source") == "server" else None,
        "wait_share_pct": None if not wait else 100 * wait["share"],
        "wait_source": wait.get("source", ""),
        "request_throughput": value_of(level, REQUESTS),
        "output_token_throughput": value_of(level, TOKENS),
    }
