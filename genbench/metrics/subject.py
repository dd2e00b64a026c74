"""What a comparison needs of one run: the values of a dozen metrics by block of time, the run's own figures, its facts.

Rules
- The measured requests, in the order they were sent, are cut into blocks of equal number: as many of `BLOCKS` as leave
  each `PER_BLOCK` requests. A value belongs to its request's block. A comparison joins neighbours.
- A block's time goes from its first send to the next block's, the last one's to the end of the run. Tokens are spread
  evenly over the time that their request took, so the amounts of all blocks over their seconds are the run's own rate.
- As JSON (`as_dict`), a baseline that lives in a repository, values are rounded to 4 significant digits, pooled ones
  to 3, and told as distinct values with their counts.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from genbench import loads
from genbench.errors import RecordError
from genbench.metrics import slo as slo_rules
from genbench.metrics.definitions import METRICS, MetricDef, Values, by_key, osl
from genbench.metrics.fairness import facts
from genbench.metrics.summary import Run
from genbench.records import Bools, Ints, RecordTable
from genbench.stats import Floats
from genbench.types import NOT_FAILED, Slo

SCHEMA = 1
BLOCKS = (24, 12, 8)  # 24 can be joined to 12 and to 8
PER_BLOCK = 4
COMPARED = ("ttft", "tpot", "itl", "request_latency")
DIGITS, POOLED_DIGITS = 4, 3


@dataclass(frozen=True, slots=True)
class Part:
    """The values of one metric, float64[k], their weights, and the block of each, int64[k]."""

    unit: str
    better: str
    values: Floats
    weights: Floats | None
    block: Ints


@dataclass(frozen=True, slots=True)
class Flow:
    """One throughput: amounts and seconds of each block. `offered`: the load set it, not the engine."""

    unit: str
    better: str
    amounts: Floats
    seconds: Floats
    offered: bool = False


@dataclass(frozen=True, slots=True)
class Subject:
    """One run, or a baseline, as a comparison needs it.

    `stats` has the summary's own figures by metric and statistic; those of the whole run under "value". `counts` has
    "ok" and "failed". `plan` is equal and not empty where two runs had the same plan in the same order. `blocks` is 0
    where there are too few requests for an interval.
    """

    name: str
    facts: Mapping[str, Any]
    parts: Mapping[str, Part]
    flows: Mapping[str, Flow]
    counts: Mapping[str, int]
    stats: Mapping[str, Mapping[str, float]]
    verdict: str
    plan: str
    blocks: int = 0


def subject(run: Run, name: str) -> Subject:
    """What a comparison needs of this run."""
    table, summary = run.table, run.summary
    rows = _in_order(table)
    blocks = _blocks(rows.size)
    block = np.zeros(len(table), dtype=np.int64)
    block[rows] = np.arange(rows.size) * blocks // max(rows.size, 1)
    found = {row.key: row.of(table) for row in METRICS if row.key in COMPARED}
    parts = {key: _part(by_key()[key], values, block) for key, values in found.items() if values.values.size}
    failed = table.measured & np.fromiter((o not in NOT_FAILED for o in table.outcome), np.bool_, len(table))
    figures: dict[str, Mapping[str, float]] = {key: dict(one.stats) for key, one in summary.metrics.items()}
    figures |= {key: {"value": one.value} for key, one in summary.run.items()}
    return Subject(
        name=name,
        facts=facts(run),
        parts=parts,
        flows=_flows(run, rows, block, blocks),
        counts={"ok": int(table.ok.sum()), "failed": int(failed.sum())},
        stats=figures,
        verdict=summary.verdict,
        plan=_plan(run.header, rows.size),
        blocks=blocks,
    )


def _in_order(table: RecordTable) -> Ints:
    """Measured rows that were sent, in the order of sending."""
    order = np.lexsort((table.index, table.sent_ns))
    return order[(table.measured & (table.sent_ns >= 0))[order]]


def _blocks(requests: int) -> int:
    return next((blocks for blocks in BLOCKS if requests >= blocks * PER_BLOCK), 0)


def _part(row: Any, found: Values, block: Ints) -> Part:
    return Part(row.unit, row.better, found.values, found.weights, block[found.rows])


def _plan(header: Mapping[str, Any], requests: int) -> str:
    """A word for the plan; empty where the header does not say what was sent."""
    dataset = header.get("dataset_sha256")
    if not dataset:
        return ""
    load = header.get("config", {}).get("load", {})
    said = (dataset, header.get("offsets_sha256"), loads.sentence(load), requests)
    return hashlib.sha256(repr(said).encode()).hexdigest()[:16]


# -- throughputs -------------------------------------------------------------------------------------------------------


def _flows(run: Run, rows: Ints, block: Ints, blocks: int) -> dict[str, Flow]:
    """Amounts and seconds of each throughput that the run has, by block; where it has none, of the whole run: as one of
    several it is a block itself.
    """
    table, summary = run.table, run.summary
    if "request_throughput" not in summary.run:
        return {}
    sent = table.sent_ns[rows]
    firsts = sent[np.searchsorted(block[rows], np.arange(blocks))] if blocks else sent[:1]
    edges = np.append(firsts, table.end_ns[rows].max())
    seconds = np.diff(edges) / 1e9
    lengths = osl(table)
    wanted: dict[str, tuple[Bools, Floats]] = {
        "output_token_throughput": (table.ok & (lengths >= 0), lengths.astype(np.float64)),
        "request_throughput": (table.ok, np.ones(len(table))),
        "embedding_throughput": (table.ok, table.inputs.astype(np.float64)),
    }
    slos = tuple(one.slo for one in summary.slo)
    if "goodput" in summary.run and slos:
        wanted["goodput"] = (_good(table, slos), np.ones(len(table)))
    offered = _offered(run, rows)
    flows = {}
    for key, (among, amounts) in wanted.items():
        if key in summary.run:
            spread = _spread(amounts[among], table.sent_ns[among], table.end_ns[among], edges)
            unit = summary.run[key].unit
            flows[key] = Flow(unit, "high", spread, seconds, offered and key != "goodput")
    return flows


def _good(table: RecordTable, slos: tuple[Slo, ...]) -> Bools:
    good = table.ok.copy()
    known = by_key()
    for rule in slo_rules.per_request(slos):
        row = known[rule.metric]
        assert isinstance(row, MetricDef)
        good &= slo_rules.met(table, rule, row.of(table))
    return good


def _spread(amounts: Floats, from_ns: Ints, to_ns: Ints, edges_ns: Ints) -> Floats:
    """The amounts between edges, each spread evenly over its own time."""
    took = np.maximum(to_ns - from_ns, 1)
    done = [float(np.dot(np.clip((edge - from_ns) / took, 0, 1), amounts)) for edge in edges_ns[1:-1]]
    return np.diff(np.concatenate(([0.0], done, [float(amounts.sum())])))


def _offered(run: Run, rows: Ints) -> bool:
    """Whether the load set the throughput: requests had moments of their own, and the engine kept up with them."""
    load = run.header.get("config", {}).get("load", {})
    if not loads.scheduled(load):
        return False
    table = run.table
    sent, ended = table.sent_ns[rows], table.end_ns[rows]
    span, latency = int(sent[-1] - sent[0]), float(np.percentile(ended - sent, 95))
    late = int(ended.max() - sent[-1])
    return late <= max(2 * latency, 0.05 * span)


# -- a baseline --------------------------------------------------------------------------------------------------------


def as_dict(one: Subject) -> dict[str, Any]:
    """The subject as JSON; `from_dict` reads it again."""
    known = by_key()
    parts = {}
    for key, part in one.parts.items():
        row = known[key]
        pooled = isinstance(row, MetricDef) and row.pooled
        parts[key] = {"unit": part.unit, "better": part.better} | _counted(part, one.blocks, pooled)
    return {
        "schema": SCHEMA,
        "kind": "baseline",
        "name": one.name,
        "facts": dict(one.facts),
        "verdict": one.verdict,
        "plan": one.plan,
        "blocks": one.blocks,
        "counts": dict(one.counts),
        "stats": {key: dict(found) for key, found in one.stats.items()},
        "parts": parts,
        "flows": {
            key: {
                "unit": flow.unit,
                "better": flow.better,
                "amounts": [_rounded(x, 6) for x in flow.amounts.tolist()],
                "seconds": [_rounded(x, 6) for x in flow.seconds.tolist()],
                "offered": flow.offered,
            }
            for key, flow in one.flows.items()
        },
    }


def _counted(part: Part, blocks: int, pooled: bool) -> dict[str, Any]:
    """Per block its distinct values, rounded and ascending, and where any counts more than once, how often."""
    values = _round_all(part.values, POOLED_DIGITS if pooled else DIGITS)
    said = []
    for place in range(max(blocks, 1)):
        mine = part.block == place
        distinct, at = np.unique(values[mine], return_inverse=True)
        weights = np.bincount(at, weights=None if part.weights is None else part.weights[mine])
        one: dict[str, Any] = {"values": [_plain(x) for x in distinct.tolist()]}
        if np.any(weights != 1):
            one["counts"] = [_plain(_rounded(float(x), 6)) for x in weights.tolist()]
        said.append(one)
    return {"blocks": said}


def from_dict(document: Mapping[str, Any]) -> Subject:
    """The subject that `as_dict` wrote. Raises RecordError for a document that is not one, or of a newer schema."""
    schema = document.get("schema")
    if document.get("kind") != "baseline" or not isinstance(schema, int):
        raise RecordError("this is not a baseline; write one with genbench compare RUN --save-baseline FILE")
    if schema > SCHEMA:
        raise RecordError(f"the baseline has schema {schema}, this genbench reads up to {SCHEMA}; install a newer one")
    try:
        parts = {key: _part_of(one) for key, one in document["parts"].items()}
        flows = {
            key: Flow(
                one["unit"], one["better"], np.array(one["amounts"], float), np.array(one["seconds"], float),
                bool(one["offered"]),
            )
            for key, one in document["flows"].items()
        }  # fmt: skip
        return Subject(
            name=str(document["name"]),
            facts=document["facts"],
            parts=parts,
            flows=flows,
            counts={key: int(value) for key, value in document["counts"].items()},
            stats=document["stats"],
            verdict=str(document["verdict"]),
            plan=str(document["plan"]),
            blocks=int(document["blocks"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RecordError(f"the baseline cannot be read ({type(error).__name__}: {error}); write it again") from error


def _part_of(one: Mapping[str, Any]) -> Part:
    values: list[float] = []
    weights: list[float] = []
    block: list[int] = []
    for place, said in enumerate(one["blocks"]):
        values += said["values"]
        weights += said.get("counts") or [1.0] * len(said["values"])
        block += [place] * len(said["values"])
    counts = np.array(weights, dtype=np.float64)
    return Part(
        str(one["unit"]), str(one["better"]), np.array(values, dtype=np.float64),
        None if bool(np.all(counts == 1)) else counts, np.array(block, dtype=np.int64),
    )  # fmt: skip


def _round_all(values: Floats, digits: int) -> Floats:
    size = np.abs(values)
    scale = 10.0 ** (digits - 1 - np.floor(np.log10(np.where(size > 0, size, 1.0))))
    return np.asarray(np.round(values * scale) / scale, dtype=np.float64)


def _rounded(value: float, digits: int) -> float:
    return float(f"{value:.{digits}g}")


def _plain(value: float) -> float | int:
    return int(value) if math.isfinite(value) and value == int(value) else value


def renamed(one: Subject, name: str) -> Subject:
    """The same under another name."""
    return replace(one, name=name)
