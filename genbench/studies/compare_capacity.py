"""Capacity against capacity: what two sweeps, or two searches, found to be the most."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from scipy.special import ndtr

from genbench.metrics import curve
from genbench.studies.compare_read import CAPACITY, Side

Z = 1.959963984540054
SIGNIFICANT = 0.05
FASTER, SLOWER, SAME, NOT = "higher", "lower", "no difference seen", "not comparable"


def rows(a: Side, b: Side) -> Iterator[dict[str, Any]]:
    """What both sides have: searches their answer, sweeps their highest throughput and how far each promise holds."""
    if a.kind == b.kind == CAPACITY:
        yield _searched(a, b)
        return
    if "points" not in a.document or "points" not in b.document:
        return
    ours, theirs = _groups(a), _groups(b)
    for name, one in ours.items():
        other = theirs.get(name)
        if other is None or one["by"] != other["by"]:
            continue
        where = f" ({name})" if name else ""
        if one["saturation"] and other["saturation"] and one["throughput"] == other["throughput"]:
            unit = one["saturation"]["unit"]
            yield _row(a, b, f"highest throughput{where}, {unit}", _top(one), _top(other))
        held = {promise["rule"]: promise["holds_to"] for promise in other["promises"]}
        for promise in one["promises"]:
            if promise["rule"] in held:
                what = f"keeps {promise['rule']}{where} up to {'req/s' if one['by'] == 'request_rate' else one['by']}"
                yield _row(a, b, what, (promise["holds_to"], None), (held[promise["rule"]], None))


def _groups(side: Side) -> dict[str, Mapping[str, Any]]:
    """The analysis of a sweep's curves by group; made anew, so that an older file is read with today's rules."""
    document = side.document
    found = curve.analyse([curve.level_of(entry) for entry in document["points"]], document["gpus"])
    return {str(group["group"]): group for group in found.get("groups", ())}


def _top(group: Mapping[str, Any]) -> tuple[float | None, list[float] | None]:
    """The highest throughput and its interval: one run's own; of repeats there is none."""
    top = group["saturation"]
    figures = next(level["figures"] for level in group["levels"] if level["value"] == top["at"])
    figure = figures[group["throughput"]]
    known = figure["interval"] == "ci95" and figure["low"] is not None
    return float(top["throughput"]), [figure["low"], figure["high"]] if known else None


def _searched(a: Side, b: Side) -> dict[str, Any]:
    one, other = a.document, b.document
    unit = "req/s" if one["by"] == "request_rate" else "at a time"
    what = f"capacity, {unit}"
    why = ""
    if one["by"] != other["by"]:
        why = f"one was searched over the {one['by']}, the other over the {other['by']}".replace("_", " ")
    elif sorted(one["slo"]) != sorted(other["slo"]):
        why = f"the promises differ: {', '.join(one['slo'])} against {', '.join(other['slo'])}"
    found = [document.get("answer") or {} for document in (one, other)]
    whole = one["by"] == "concurrency"
    values = [(answer.get("value"), _between_whole(answer.get("ci95"), whole=whole)) for answer in found]
    row = _row(a, b, what, values[0], values[1])
    return row | {"verdict": NOT, "why": why, "ratio": None, "ci95": None, "p": None} if why else row


def _between_whole(ends: list[float] | None, *, whole: bool) -> list[float] | None:
    """An interval of whole loads goes to the next one: 8 to 8 is anything from 8 to below 9."""
    return [ends[0], ends[1] + 1] if whole and ends and ends[1] is not None else ends


def _row(
    a: Side,
    b: Side,
    what: str,
    ours: tuple[float | None, list[float] | None],
    theirs: tuple[float | None, list[float] | None],
) -> dict[str, Any]:
    """The ratio with its interval, both on the log scale: independent errors of two intervals add as squares."""
    (one, our_ends), (other, their_ends) = ours, theirs
    row: dict[str, Any] = {
        "a": a.name, "b": b.name, "what": what, "a_value": one, "a_ci95": our_ends, "b_value": other,
        "b_ci95": their_ends, "ratio": None, "ci95": None, "p": None, "verdict": NOT, "why": "",
    }  # fmt: skip
    if not one or not other or one <= 0 or other <= 0:
        return row | {"why": "one side has none"}
    log = math.log(other / one)
    row["ratio"] = other / one
    errors = [_error(ends) for ends in (our_ends, their_ends)]
    if errors[0] is None or errors[1] is None:
        return row | {"verdict": "", "why": "no interval, so not tested"}
    error = math.hypot(errors[0], errors[1])
    row["ci95"] = [math.exp(log - Z * error), math.exp(log + Z * error)]
    row["p"] = float(2 * ndtr(-abs(log) / error)) if error else 1.0
    row["verdict"] = (FASTER if log > 0 else SLOWER) if row["p"] < SIGNIFICANT else SAME
    return row


def _error(ends: list[float] | None) -> float | None:
    """Standard error of the log of a value, from its 95 % interval."""
    if not ends or ends[0] is None or ends[1] is None or min(ends) <= 0:
        return None
    return math.log(ends[1] / ends[0]) / (2 * Z)
