"""Figures of one run over drawn blocks of its requests, and several runs as one whose blocks they are."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from genbench import stats
from genbench.metrics.subject import Flow, Part, Subject
from genbench.stats import Floats

REPLICATES = 500
KEPT = {"p50": 0.5, "p95": 0.2, "p99": 0.2}  # percentiles, and how far each is smoothed
STEPS = (-1.0, -0.5, 0.0, 0.5, 1.0)
FEW = "too few samples"
NO_RATIO = "a zero has no ratio"

Logs = tuple[float, Floats]


class Resampled:
    """Replicates of one run's figures over drawn blocks, made when asked for. `draws`: float64[REPLICATES, blocks]."""

    def __init__(self, one: Subject, blocks: int, seed: int) -> None:
        self.draws = stats.block_draws(blocks, seed, REPLICATES)
        self._one, self._blocks = one, blocks
        self._parts: dict[str, dict[str, Logs | str]] = {}

    def logs(self, metric: str, stat: str) -> Logs | str:
        """The log of a figure, and those of its replicates; or why there is none."""
        if metric in self._one.flows:
            flow = self._one.flows[metric]
            amounts, seconds = (self._sums(column) for column in (flow.amounts, flow.seconds))
            return _logs(float(flow.amounts.sum() / flow.seconds.sum()), amounts / seconds)
        if metric not in self._one.parts:
            return FEW
        if metric not in self._parts:
            self._parts[metric] = self._of_part(metric)
        return self._parts[metric].get(stat, FEW)

    def _sums(self, column: Floats) -> Floats:
        return np.asarray(self.draws @ column.reshape(self._blocks, -1).sum(axis=1), dtype=np.float64)

    def _of_part(self, metric: str) -> dict[str, Logs | str]:
        part = self._one.parts[metric]
        block = part.block * self._blocks // self._one.blocks
        weights = part.weights
        heavy = part.values if weights is None else part.values * weights
        weight = self.draws @ np.bincount(block, weights=weights, minlength=self._blocks).astype(np.float64)
        if weight.min() <= 0:  # a replicate took only blocks without a value
            return {}
        mean = (self.draws @ np.bincount(block, weights=heavy, minlength=self._blocks)) / weight
        order = np.argsort(part.values)
        percents = [self._around(stats.PERCENTILES[name], width) for name, width in KEPT.items()]
        grid = np.concatenate(percents)
        table = stats.replicate_percentiles(part.values, weights, block, self.draws, grid, order)
        smooth = table.reshape(len(table), len(KEPT), len(STEPS)).mean(axis=2)
        at = figures(part)
        found = {"mean": _logs(at["mean"], mean)}
        return found | {name: _logs(at[name], smooth[:, i]) for i, name in enumerate(KEPT)}

    def _around(self, percent: float, width: float) -> Floats:
        """Percents around one, as far as `width` standard errors of a share of so many independent requests.

        A replicate holds many values several times, and its percentile jumps from one to the next: in a paired
        comparison, where little else varies, they made intervals up to a third wider (docs/compare-statistics.md).
        """
        share = percent / 100
        error = 100 * math.sqrt(share * (1 - share) / max(self._one.counts.get("ok", 0), 1))
        return np.clip(percent + width * error * np.array(STEPS), 0, 100)


def _logs(value: float, replicates: Floats) -> Logs | str:
    if value <= 0 or replicates.min() <= 0:
        return NO_RATIO
    return math.log(value), np.log(replicates)


def figures(part: Part) -> dict[str, float]:
    """Mean and percentiles of the values."""
    return stats.distribution(part.values, part.weights)


def pooled(side: Sequence[Subject]) -> Subject:
    """All runs of a side as one, each of them a block."""
    first, blocks = side[0], len(side)
    parts = {key: _pooled_part([one.parts.get(key) for one in side]) for key in first.parts}
    flows = {key: _pooled_flow([one.flows.get(key) for one in side]) for key in first.flows}
    counts = {key: sum(one.counts[key] for one in side) for key in first.counts}
    found: dict[str, Mapping[str, float]] = {key: figures(part) for key, part in parts.items() if part is not None}
    found |= {
        key: {"value": float(flow.amounts.sum() / flow.seconds.sum())}
        for key, flow in flows.items()
        if flow is not None
    }
    if sum(counts.values()):
        found["error_rate"] = {"value": 100 * counts["failed"] / sum(counts.values())}
    return Subject(
        name=first.name,
        facts=first.facts,
        parts={key: part for key, part in parts.items() if part is not None},
        flows={key: flow for key, flow in flows.items() if flow is not None},
        counts=counts,
        stats=found,
        verdict=first.verdict,
        plan=f"{blocks} rounds",
        blocks=blocks,
    )


def _pooled_part(parts: Sequence[Part | None]) -> Part | None:
    """None where a round lacks the metric."""
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    block = np.concatenate([np.full(part.values.size, i, dtype=np.int64) for i, part in enumerate(known)])
    weighted = any(part.weights is not None for part in known)
    weights = [np.ones(part.values.size) if part.weights is None else part.weights for part in known]
    values = np.concatenate([part.values for part in known])
    return Part(known[0].unit, known[0].better, values, np.concatenate(weights) if weighted else None, block)


def _pooled_flow(flows: Sequence[Flow | None]) -> Flow | None:
    known = [flow for flow in flows if flow is not None]
    if len(known) < len(flows):
        return None
    amounts, seconds = (
        np.array([float(x.sum()) for x in column])
        for column in zip(*((f.amounts, f.seconds) for f in known), strict=True)
    )
    return Flow(known[0].unit, known[0].better, amounts, seconds, all(flow.offered for flow in known))
