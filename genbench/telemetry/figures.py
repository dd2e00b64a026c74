"""From rows to figures of a run's measured window: gauges, deltas, quantiles of histograms, and what follows from them.

Rules
- A gauge has the scrapes inside the window, from the first measured send to the last answer's end. `idle` is what it
  was before the load.
- A delta is from the last scrape before the window to the first one after it: up to one interval more at each side, so
  a rate is per second of that span. A counter that falls was set to zero: what it shows then is new (as Prometheus's
  `increase`).
- Quantiles of a histogram lie on a line inside its bucket; those in the last, open bucket are not known.
- Several servers or GPUs become one figure by the rule of the word (`vocabulary`).
- Energy grows evenly enough to be taken at the window's own ends, between two scrapes; without a counter it is the
  power's integral.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from genbench.stats import Floats, Ints
from genbench.telemetry import notes
from genbench.telemetry.log import Told, Track, histograms, together, tracks
from genbench.telemetry.prometheus import Histogram
from genbench.telemetry.vocabulary import MEASURES, OF_GPU

NS = 1e9
QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
METHOD = "from buckets, on a line inside each"
FEWEST_ENERGY = 2  # readings of energy or power in a window, for a figure


@dataclass(frozen=True, slots=True)
class Client:
    """What the client knows of the same window: TTFT's statistics (ms; empty: none) and its output tokens."""

    start_ns: int
    end_ns: int
    ttft_ms: Mapping[str, float]
    output_tokens: float


@dataclass(frozen=True, slots=True)
class Server:
    """What a run knows of its servers and GPUs. `told` are the rows themselves, for files and figures.

    `metrics` maps words to their figures (`kind`, `unit`, and mean, max, p95, idle; or delta, per_s; or count, mean and
    quantiles in ms), `gpus` the same of each GPU where there are several, `derived` what follows.
    """

    told: tuple[Told, ...]
    window: Client
    metrics: Mapping[str, Mapping[str, Any]]
    gpus: Mapping[str, Mapping[str, Mapping[str, Any]]]
    derived: Mapping[str, Mapping[str, Any]]
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """For `summary.json`."""
        sources = [
            {
                "url": one.url,
                "role": one.role,
                "dialect": one.dialect,
                "scrapes": len(one.scrapes),
                "failed": sum(bool(s.error) for s in one.scrapes),
            }
            for one in self.told
        ]
        return {
            "sources": sources,
            "metrics": dict(self.metrics),
            **({"gpus": dict(self.gpus)} if self.gpus else {}),
            "derived": dict(self.derived),
            "notes": list(self.notes),
        }


def figures(told: tuple[Told, ...], client: Client) -> Server:
    """All that can be said of a run's window."""
    metrics: dict[str, Mapping[str, Any]] = {}
    for measure in MEASURES:
        if measure.kind == "histogram":
            one = _histogram(told, measure.key, client)
        else:
            found = tracks(told, measure.key)
            one = _gauge(found, measure.several, client) if measure.kind == "gauge" else _counter(found, client)
        if one:
            metrics[measure.key] = {"kind": measure.kind, "unit": measure.unit, **one}
    return Server(
        told, client, metrics, _each_gpu(told, client), _derived(told, metrics, client), notes.of(told, client)
    )


def _gauge(found: Sequence[Track], several: str, client: Client) -> dict[str, Any] | None:
    if not found:
        return None
    t_ns, values = together(found, several)
    inside = values[(t_ns >= client.start_ns) & (t_ns <= client.end_ns)]
    if not inside.size:
        return None
    before = [float(one.values[0]) for one in found if one.t_ns[0] < client.start_ns]
    idle = {"idle": sum(before) / (1 if several == "sum" else len(before))} if len(before) == len(found) else {}
    p95 = float(np.percentile(inside, 95))
    return {
        "count": int(inside.size),
        "mean": float(inside.mean()),
        "min": float(inside.min()),
        "max": float(inside.max()),
        "p95": p95,
        **idle,
    }


def _counter(found: Sequence[Track], client: Client) -> dict[str, Any] | None:
    deltas, seconds = [], []
    for one in found:
        span = around(one.t_ns, client)
        if span[1] > span[0]:
            deltas.append(increase(one.values[span[0] : span[1] + 1]))
            seconds.append((one.t_ns[span[1]] - one.t_ns[span[0]]) / NS)
    if not deltas:
        return None
    rates = [delta / length for delta, length in zip(deltas, seconds, strict=True) if length]
    return {"delta": float(sum(deltas)), "per_s": float(sum(rates)), "span_s": float(max(seconds))}


def around(t_ns: Ints, client: Client) -> tuple[int, int]:
    """The last place before the window and the first after it, or the outermost there are."""
    first = int(np.searchsorted(t_ns, client.start_ns, side="right")) - 1
    last = int(np.searchsorted(t_ns, client.end_ns, side="left"))
    return max(first, 0), min(last, t_ns.size - 1)


def increase(values: Floats) -> float:
    """How much a counter grew; where it fell it had begun anew."""
    steps = np.diff(values)
    return float(np.where(steps >= 0, steps, values[1:]).sum())


def _histogram(told: Sequence[Told], key: str, client: Client) -> dict[str, Any] | None:
    grown = []
    for _, pairs in histograms(told, key):
        first, last = around(np.array([t for t, _ in pairs], np.int64), client)
        if last > first:
            grown.append(histogram_increase([one for _, one in pairs[first : last + 1]]))
    grown = [one for one in grown if one.count > 0]
    if not grown:
        return None
    total, count = sum(one.total for one in grown), sum(one.count for one in grown)
    found = {"count": round(count), "mean": 1e3 * total / count}
    bounds = grown[0].bounds
    if not bounds or any(one.bounds != bounds for one in grown):  # buckets that differ cannot be added up
        return {**found, "unit": "ms"}
    counts = np.array([one.counts for one in grown]).sum(axis=0)
    told_ms = {
        name: None if (value := quantile(bounds, counts, count, q)) is None else 1e3 * value
        for name, q in QUANTILES.items()
    }
    return {**found, **told_ms, "method": METHOD, "unit": "ms"}


def histogram_increase(seen: Sequence[Histogram]) -> Histogram:
    """How much a histogram grew; where its count fell it had begun anew."""
    bounds = seen[-1].bounds
    total = count = 0.0
    counts = np.zeros(len(bounds))
    before = Histogram(0.0, 0.0)
    for k, now in enumerate(seen):
        if k:
            same = now.count >= before.count and now.bounds == before.bounds
            total += now.total - (before.total if same else 0.0)
            count += now.count - (before.count if same else 0.0)
            if now.bounds == bounds:
                counts += np.array(now.counts) - (np.array(before.counts) if same else 0.0)
        before = now
    return Histogram(total, count, bounds, tuple(counts.tolist()))


def quantile(bounds: Sequence[float], counts: Floats, count: float, q: float) -> float | None:
    """The value below which a share `q` lies, on a line inside its bucket; None in the open one."""
    wanted = q * count
    place = int(np.searchsorted(counts, wanted, side="left"))
    if place >= len(bounds):
        return None
    below = float(counts[place - 1]) if place else 0.0
    low = bounds[place - 1] if place else 0.0
    inside = float(counts[place]) - below
    return low + (bounds[place] - low) * ((wanted - below) / inside if inside else 1.0)


def _each_gpu(told: Sequence[Told], client: Client) -> dict[str, dict[str, Mapping[str, Any]]]:
    """The gauges and counters of each GPU, where there are several."""
    found: dict[str, dict[str, Mapping[str, Any]]] = {}
    for measure in (one for one in MEASURES if one.of == OF_GPU):
        for track in tracks(told, measure.key):
            one = _gauge([track], "sum", client) if measure.kind == "gauge" else _counter([track], client)
            if one:
                name = track.gpu if len([t for t in told if t.role == "gpu"]) < 2 else f"{track.source}:{track.gpu}"
                found.setdefault(name, {})[measure.key] = {"unit": measure.unit, **one}
    return found if len(found) > 1 else {}


def _derived(
    told: Sequence[Told], metrics: Mapping[str, Mapping[str, Any]], client: Client
) -> dict[str, Mapping[str, Any]]:
    found: dict[str, Mapping[str, Any]] = {}
    hits = metrics.get("prefix_hits", {}).get("delta")
    looked = metrics.get("prefix_queries", metrics.get("prompt_tokens", {})).get("delta")
    if hits is not None and looked:
        found["prefix_hit_pct"] = {"unit": "%", "value": 100 * hits / looked}
    server, queue = metrics.get("ttft", {}).get("mean"), metrics.get("queue", {}).get("mean")
    mean = client.ttft_ms.get("mean")
    if server is not None and mean:
        found["ttft_outside"] = {"unit": "ms", "value": mean - server, "share_pct": 100 * (mean - server) / mean}
    if queue is not None and mean:
        found["ttft_in_queue"] = {"unit": "ms", "value": queue, "share_pct": 100 * queue / mean}
    energy = _energy(told, client)
    if energy is not None:
        joules, source = energy
        found["energy"] = {"unit": "J", "value": joules, "source": source}
        if client.output_tokens > 0:
            found["energy_per_output_token"] = {"unit": "J/token", "value": joules / client.output_tokens}
    return found


def _energy(told: Sequence[Told], client: Client) -> tuple[float, str] | None:
    """Joules of the window by all GPUs, and what they are from; None where nobody tells."""
    for key, source in (("gpu_energy", "counter"), ("gpu_power", "power, added up over time")):
        found = tracks(told, key)
        joules = [_joules(one, client, power=key == "gpu_power") for one in found]
        known = [one for one in joules if one]
        if found and len(known) == len(found):
            return sum(known), source
    return None


def _joules(one: Track, client: Client, *, power: bool) -> float | None:
    inside = int(((one.t_ns >= client.start_ns) & (one.t_ns <= client.end_ns)).sum())
    if inside < FEWEST_ENERGY or one.t_ns[0] > client.start_ns or one.t_ns[-1] < client.end_ns:
        return None
    seconds = (one.t_ns - one.t_ns[0]) / NS
    if power:
        grown = np.concatenate(([0.0], np.cumsum(np.diff(seconds) * (one.values[1:] + one.values[:-1]) / 2)))
    else:
        steps = np.diff(one.values)
        grown = np.concatenate(([0.0], np.cumsum(np.where(steps >= 0, steps, one.values[1:]))))
    ends = np.interp([(t - one.t_ns[0]) / NS for t in (client.start_ns, client.end_ns)], seconds, grown)
    return float(ends[1] - ends[0])
