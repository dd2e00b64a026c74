"""Sweeps made by hand, and of a model of a batching engine in virtual time."""

import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from genbench.exporters.json import as_dict
from genbench.metrics import slo
from genbench.metrics.curve import analyse, level_of
from genbench.metrics.summary import summarise
from genbench.simulator import virtual
from genbench.simulator.costs import preset

CONCURRENCIES = (1, 2, 4, 8, 16, 32, 64)
RULES = ("ttft.p95<200ms", "itl.p99<40ms", "request_latency.p95<4s")
Lines = Mapping[str, Sequence[float | None]]


def figure(value: float, unit: str = "", error: float = 0.0) -> dict[str, Any]:
    """A figure of a run as in summary.json; its interval is the value -+ `error`."""
    return {"unit": unit, "value": value, **({"ci95": [value - error, value + error]} if error else {})}


def distribution(unit: str, *, error: float = 0.0, few: Sequence[str] = (), **stats: float) -> dict[str, Any]:
    """A metric as in summary.json; the interval of each statistic is its value -+ the share `error`."""
    ends = {stat: [value * (1 - error), value * (1 + error)] for stat, value in stats.items()} if error else {}
    return {"unit": unit, "count": 100, **stats, "ci95": ends, "ci_method": {}, "few": list(few)}


def entry(
    value: float,
    *,
    requests: float,
    latency: float,
    ttft: float | None = None,
    itl: float | None = None,
    osl: float | None = 100,
    by: str = "concurrency",
    error: float = 0.0,
    saturated: str = "",
    **more: Any,
) -> dict[str, Any]:
    """A point of sweep.json: `requests` per second, mean latency, TTFT and ITL in ms, `osl` tokens an answer.

    Percentiles are 1, 1.2 and 1.5 times the mean; requests in flight are those of Little's law.
    """
    metrics = {"request_latency": _spread(latency, error)}
    metrics |= {"ttft": _spread(ttft, error)} if ttft is not None else {}
    if itl is not None:
        metrics |= {"itl": _spread(itl, error), "tpot": _spread(itl, error)}
        metrics["output_tps_per_user"] = distribution("token/s", error=error, mean=1000 / itl, p50=1000 / itl)
    run = {
        "request_throughput": figure(requests, "req/s", requests * error),
        "concurrency_mean": figure(requests * latency / 1000, "requests"),
        "error_rate": figure(0.0, "%"),
    }
    if osl is not None:
        run["output_token_throughput"] = figure(requests * osl, "token/s", requests * osl * error)
    made: dict[str, Any] = {
        "by": by,
        "value": value,
        "group": "",
        "repeat": 0,
        "folder": f"points/{'c' if by == 'concurrency' else 'r'}{value:g}",
        "verdict": "VALID",
        "saturated": saturated,
        "seconds": 30.0,
        "metrics": metrics,
        "run": run,
        "outcomes": {"ok": 100},
        "slo": [],
    }
    return made | more


def _spread(mean: float, error: float) -> dict[str, Any]:
    return distribution("ms", error=error, mean=mean, p50=mean, p95=1.2 * mean, p99=1.5 * mean)


def dead(value: float, by: str = "concurrency") -> dict[str, Any]:
    """A point at which no request ended ok."""
    made = entry(value, requests=0.0, latency=1.0, by=by, verdict="INVALID", outcomes={"ok": 0, "http_error": 40})
    return made | {"metrics": {}, "run": {"request_throughput": figure(0.0, "req/s"), "error_rate": figure(100.0, "%")}}


def batching(
    concurrencies: Sequence[float] = CONCURRENCIES,
    *,
    limit: float = 16,
    base: float = 10.0,
    each: float = 0.1,
    osl: int = 100,
    noise: Callable[[], float] = lambda: 0.0,
    **more: Any,
) -> list[dict[str, Any]]:
    """A closed loop at an engine that decodes up to `limit` sequences in steps of base + each x sequences (ms).

    With N <= limit in flight an answer takes osl steps; with more it takes N / limit times as long, the rest is queue.
    """
    found = []
    for n in concurrencies:
        step = (base + each * min(n, limit)) * (1 + noise())
        served = osl * step
        latency = served * max(n / limit, 1.0)
        ttft = step + latency - served
        found.append(entry(n, requests=1000 * n / latency, latency=latency, ttft=ttft, itl=step, osl=osl, **more))
    return found


def serial(concurrencies: Sequence[float] = (1, 2, 4, 8), service: float = 100.0, **more: Any) -> list[dict[str, Any]]:
    """A closed loop at an engine that serves one at a time: N in flight take N times as long."""
    return [
        entry(n, requests=1000 / service, latency=n * service, ttft=(n - 1) * service + 20, itl=2.0, osl=40, **more)
        for n in concurrencies
    ]


def tokens(values: list[float], by: str = "concurrency", **more: Any) -> list[dict[str, Any]]:
    """Levels 1, 2, 4, ... with these output throughputs; requests of 100 tokens, the latency that Little's law asks."""
    return [
        entry(2**i, requests=value / 100, latency=2**i / (value / 100) * 1000, by=by, **more)
        for i, value in enumerate(values)
    ]


def group(points: list[dict[str, Any]], gpus: int | None = None) -> dict[str, Any]:
    """The analysis of points of one group, as it comes back from a file."""
    found = json.loads(json.dumps(analyse([level_of(point) for point in points], gpus)))
    assert len(found["groups"]) == 1
    assert found["sentences"] == found["groups"][0]["sentences"]
    one: dict[str, Any] = found["groups"][0]
    return one


def sweep(points: Sequence[Mapping[str, Any]], **more: Any) -> dict[str, Any]:
    """What sweep.json holds of these points."""
    gpus = more.get("gpus")
    return {
        "schema": 1,
        "genbench": "0.1.0",
        "command": "genbench sweep --concurrency 1:64:x2 --isl 400 --osl 120",
        "kind": "sweep",
        "by": points[0]["by"] if points else "concurrency",
        "started": "2026-01-15T09:30:00Z",
        "simulated": True,
        "gpus": gpus,
        "config": {"target": {"model": "tiny-llama"}, "workload": {"dataset": "synthetic", "isl": 400, "osl": 120}},
        "points": list(points),
        "analysis": analyse([level_of(point) for point in points], gpus),
        **more,
    }


@cache
def _modelled(
    by: str, value: float, name: str, isl: int, osl: int, repeat: int, rules: tuple[str, ...], fewest: int
) -> dict[str, Any]:
    """A point at the scheduler model in virtual time: 12 rounds of each slot or 30 s, and `fewest` requests."""
    seed = zlib.crc32(f"{name} {isl} {osl} {repeat}".encode())  # the same requests at every load
    rng = np.random.default_rng(seed)
    count = max(fewest, 12 * int(value)) if by == "concurrency" else int(max(fewest, 30 * value))
    lengths = [np.maximum(rng.normal(mean, mean / 4, count).astype(np.int64), 8) for mean in (isl, osl)]
    arrivals = None if by == "concurrency" else np.cumsum(rng.exponential(1e9 / value, count)).astype(np.int64)
    table = virtual.run(
        preset(name), arrivals, lengths[0], lengths[1], concurrency=int(value) if arrivals is None else None, seed=seed,
        all_events=True,
    )  # fmt: skip
    load = {"concurrency": int(value)} if arrivals is None else {"request_rate": value}
    made = as_dict(summarise(table, {"config": {"load": load}, "simulated": True}, [slo.parse(rule) for rule in rules]))
    flying = (
        table.end_ns[-20:].mean() - table.end_ns[:20].mean() - (table.sent_ns[-20:].mean() - table.sent_ns[:20].mean())
    )
    grown = by == "request_rate" and flying > 0.2 * (table.sent_ns[-1] - table.sent_ns[0])
    kept = ("metrics", "run", "verdict", "outcomes", "slo")
    return {
        "by": by,
        "value": value,
        "group": "",
        "repeat": repeat,
        "folder": f"points/{'c' if by == 'concurrency' else 'r'}{value:g}",
        "saturated": "the number in flight grew to the end" if grown else "",
        "seconds": float(table.end_ns.max()) / 1e9,
        **{name: made[name] for name in kept},
    }


def modelled(
    by: str = "concurrency",
    values: Sequence[float] = CONCURRENCIES,
    *,
    name: str = "small",
    isl: int = 400,
    osl: int = 120,
    repeats: int = 1,
    group: str = "",
    rules: Sequence[str] = RULES,
    fewest: int = 200,
) -> list[dict[str, Any]]:
    """Points at the scheduler model; `name` is a preset of profiles/engines."""
    return [
        _modelled(by, value, name, isl, osl, repeat, tuple(rules), fewest) | {"group": group}
        for value in values
        for repeat in range(repeats)
    ]
