"""A capacity search as the curve of its probes: `capacity.json` in the shape of `sweep.json`, an answer, no knee."""

from collections.abc import Mapping
from typing import Any

from genbench.metrics.curve import analyse
from genbench.metrics.levels import level_of

NAME = "capacity.json"
NOT_OF_IT = ("saturation", "knee", "no_batching", "falling", "optimum")  # a search measures no curve on purpose


def as_sweep(document: Mapping[str, Any]) -> dict[str, Any]:
    """Probes as points, those at one load as its repeats; the sentences are the search's own.

    The group has `answer`: value, low and high in the unit of the load (None: no end).
    """
    points: list[dict[str, Any]] = []
    for entry in document["probes"]:
        repeat = sum(one["value"] == entry["value"] for one in points)
        points.append({**entry, "verdict": entry["run_verdict"], "group": "", "repeat": repeat})
    found = analyse([level_of(point) for point in points])
    answer = document["answer"]
    for group in found["groups"]:
        group |= dict.fromkeys(NOT_OF_IT)
        group["sentences"] = list(document["sentences"])
        if answer is not None and answer["value"] is not None:
            low, high = answer["ci95"] or (None, None)
            group["answer"] = {"value": answer["value"], "low": low, "high": high}
    found["sentences"] = list(document["sentences"])
    return {**document, "points": points, "analysis": found}
