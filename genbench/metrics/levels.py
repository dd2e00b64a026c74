"""The levels of a sweep: each load once, its repeats averaged; see docs/curve.md.

A level is a mapping that JSON can hold. `figures` maps `metric.stat` (of a figure of the run: its key alone) to
{"value", "low", "high", "interval", "unit", "few"}: `interval` is "ci95" for one run's own interval, "range" for the
smallest and the largest of several repeats, "" where there is neither. What no repeat has is left out, never 0.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from genbench.metrics.verdict import INVALID, SUSPECT, VALID

Figure: TypeAlias = dict[str, Any]
AveragedLevel: TypeAlias = dict[str, Any]

LATENCY = ("mean", "p50", "p95", "p99")
STATS = {
    "ttft": LATENCY,
    "itl": LATENCY,
    "tpot": LATENCY,
    "icl": LATENCY,
    "request_latency": LATENCY,
    "output_tps_per_user": ("mean", "p50"),
    "server_queue": ("mean",),
}
RUN = ("concurrency_mean", "delivered_rate", "duration", "error_rate", "goodput", "slo_attainment")
TOKENS, REQUESTS = "output_token_throughput", "request_throughput"
STEADY = "steady_"
LOADS = {"concurrency": "concurrency {}", "request_rate": "{} req/s"}
GRAVEST = (INVALID, SUSPECT, VALID)


@dataclass(frozen=True, slots=True)
class Level:
    """One point of a sweep, as `sweep.json` has it: `value` in requests in flight or in requests per second, by `by`.

    `metrics`, `run`, `slo` and `outcomes` are those of the point's `summary.json`; `saturated` says why it was judged
    to be over its limit, empty where it was not.
    """

    by: str
    value: float
    group: str
    repeat: int
    metrics: Mapping[str, Any]
    run: Mapping[str, Any]
    verdict: str
    saturated: str
    slo: Sequence[Mapping[str, Any]] = ()
    outcomes: Mapping[str, int] = field(default_factory=dict)
    folder: str = ""


def level_of(entry: Mapping[str, Any]) -> Level:
    """A point of `sweep.json`; what it lacks is empty. Raises KeyError without `by` or `value`."""
    return Level(
        by=str(entry["by"]),
        value=float(entry["value"]),
        group=str(entry.get("group") or ""),
        repeat=int(entry.get("repeat") or 0),
        metrics=entry.get("metrics") or {},
        run=entry.get("run") or {},
        verdict=str(entry.get("verdict") or ""),
        saturated=str(entry.get("saturated") or ""),
        slo=tuple(entry.get("slo") or ()),
        outcomes=entry.get("outcomes") or {},
        folder=str(entry.get("folder") or ""),
    )


def words(by: str, value: float, *, bare: bool = False) -> str:
    """A load in words: "concurrency 8", "4 req/s"; bare: "8", "4 req/s"."""
    return ("{}" if bare and by == "concurrency" else LOADS.get(by, "{}")).format(f"{value:,.10g}")


def value_of(level: AveragedLevel, key: str) -> float | None:
    """A figure of a level; None where it has none."""
    found = level["figures"].get(key)
    return None if found is None else float(found["value"])


def half_width(level: AveragedLevel, key: str) -> float:
    """Half the width of a figure's interval as a share of its value; 0 where there is none."""
    found = level["figures"].get(key)
    if found is None or found["low"] is None or not found["value"]:
        return 0.0
    return float(found["high"] - found["low"]) / 2 / abs(float(found["value"]))


def averaged(points: Sequence[Level], gpus: int | None) -> list[AveragedLevel]:
    """The levels of one group by rising load: all of steady windows, or all of whole runs, so that like is compared.

    A level whose queue grew is not asked for a window, nor one without an answer.
    """
    values = sorted({point.value for point in points})
    asked = [point for point in points if point.outcomes.get("ok") and not point.saturated]
    steady = all(_steady_ratio(point) is not None for point in asked)
    return [_level(value, [one for one in points if one.value == value], gpus, steady=steady) for value in values]


def _level(value: float, repeats: Sequence[Level], gpus: int | None, *, steady: bool) -> AveragedLevel:
    repeats = sorted(repeats, key=lambda point: point.repeat)
    figures = {name: _average(found, unit) for name, unit, found in _found(repeats)}
    ratios = [_steady_ratio(point) for point in repeats]
    steady = steady and None not in ratios
    for name in (TOKENS, REQUESTS):
        known = [
            (_times(point.run[name], ratio if ratio and steady else 1.0), point.run[name])
            for point, ratio in zip(repeats, ratios, strict=True)
            if _known(point.run.get(name))
        ]
        if known:
            figures[name] = _average([one for one, _ in known], str(known[0][1].get("unit") or ""))
    flying = [point.run.get((STEADY if steady else "") + "concurrency_mean") for point in repeats]
    if all(map(_known, flying)):
        figures["in_flight"] = _average([_times(one or {}, 1.0) for one in flying], "requests")
    if gpus and TOKENS in figures:
        figures["tokens_per_gpu"] = _scaled(figures[TOKENS], 1 / gpus, "token/s/GPU")
    return {
        "value": value,
        "repeats": len(repeats),
        "folders": [point.folder for point in repeats if point.folder],
        "verdict": min((point.verdict for point in repeats), key=_gravity),
        "saturated": next((point.saturated for point in repeats if point.saturated), ""),
        "ok": sum(int(point.outcomes.get("ok") or 0) for point in repeats),
        "window": "steady window" if steady else "whole run",
        "steady_over_whole": sum(ratio or 0.0 for ratio in ratios) / len(ratios) if steady else None,
        "figures": figures,
    }


def _steady_ratio(point: Level) -> float | None:
    """What the steady window delivered over what the whole run did; None where there is no window, or no tokens.

    Of tokens, since they are booked when they came: requests end in waves, and a window cuts a wave in two.
    """
    steady, whole = (point.run.get(name) or {} for name in (STEADY + TOKENS, TOKENS))
    if not _known(steady) or not _known(whole) or not whole["value"]:
        return None
    return float(steady["value"]) / float(whole["value"])


def _times(figure: Mapping[str, Any], factor: float) -> tuple[float, float | None, float | None, bool]:
    low, high = _ends(figure.get("ci95"))
    ends = [None if end is None else end * factor for end in (low, high)]
    return float(figure["value"]) * factor, ends[0], ends[1], False


def _gravity(verdict: str) -> int:
    return GRAVEST.index(verdict) if verdict in GRAVEST else len(GRAVEST)


def _found(repeats: Sequence[Level]) -> Iterator[tuple[str, str, list[tuple[float, float | None, float | None, bool]]]]:
    """(name, unit, one (value, low, high, few) for each repeat that has it) of every figure that is kept."""
    for metric, stats in STATS.items():
        having = [point.metrics[metric] for point in repeats if isinstance(point.metrics.get(metric), Mapping)]
        for stat in stats:
            known = [
                (float(one[stat]), *_ends((one.get("ci95") or {}).get(stat)), stat in (one.get("few") or ()))
                for one in having
                if _finite(one.get(stat))
            ]
            if known:
                yield f"{metric}.{stat}", str(having[0].get("unit") or ""), known
    for name in RUN:
        figures = [point.run[name] for point in repeats if _known(point.run.get(name))]
        if figures:
            ends = [(float(one["value"]), *_ends(one.get("ci95")), False) for one in figures]
            yield name, str(figures[0].get("unit") or ""), ends


def _known(figure: Any) -> bool:
    return isinstance(figure, Mapping) and _finite(figure.get("value"))


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _ends(interval: Any) -> tuple[float | None, float | None]:
    """Both ends of an interval, or neither: half of one cannot be drawn as an error."""
    if not isinstance(interval, Sequence) or len(interval) != 2 or not all(map(_finite, interval)):
        return None, None
    return float(interval[0]), float(interval[1])


def _average(found: Sequence[tuple[float, float | None, float | None, bool]], unit: str) -> Figure:
    values = [value for value, _, _, _ in found]
    _, low, high, _ = found[0]
    kind = "ci95" if low is not None else ""
    if len(values) > 1:
        low, high, kind = min(values), max(values), "range"
    few = any(one[3] for one in found)
    return {"value": sum(values) / len(values), "low": low, "high": high, "interval": kind, "unit": unit, "few": few}


def _scaled(figure: Figure, by: float, unit: str) -> Figure:
    ends = {end: None if figure[end] is None else figure[end] * by for end in ("low", "high")}
    return {**figure, "value": figure["value"] * by, **ends, "unit": unit}
