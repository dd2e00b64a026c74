"""Is the capacity that is found the true one? `python benchmarks/capacity.py [--repeats 200] [--jobs 2]`.

The search of `genbench capacity` and the judge of its probes, on the model of an engine in virtual time. The truth is
the rate at which the requests that keep the promise are just the promised share, over 16 x 100,000 requests that no
search has seen (one stretch of 100,000 leaves it uncertain by more than half a percent, an interval is 5 % wide). Three
engines are limited by their batch, their KV room and their prefill; one is serial. Searches have two hours of the
engine's time.

First three searches for each engine, with all there is to say of them; then, with --repeats, the share of so many
searches with other seeds whose interval holds the truth. In virtual time a judge looks twice a second at first, later
every hundredth of the time so far: it is the same judge, only asked less often.
"""

import argparse
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from genbench.engine.saturation import SATURATED, Saturation
from genbench.metrics import slo
from genbench.metrics.definitions import by_key
from genbench.records import Ints, RecordTable, merge
from genbench.simulator import virtual
from genbench.simulator.costs import Costs, preset
from genbench.studies.probe import ERROR, SO_FAR, Probe, Timing, series, verdict_of
from genbench.studies.search import KEPT_BACK, Ask, Found, Goal, Tried, allotted, search
from genbench.types import EventKind, Outcome, Record

NS = 10**9
REQUESTS, STRETCHES = 100_000, 16
SHOWN, SHOWN_SEED, REPEAT_SEED, TRUTH_SEED = 3, 70_000, 80_000, 90_000
LOOK_NS, LOOKS = NS // 2, 100
CHUNK = 2048
SURE = 1e-9  # a confirmation takes its whole time


@dataclass(frozen=True)
class Engine:
    """One engine, the lengths of its requests (mean, deviation; lognormal) and the promise."""

    name: str
    preset: str
    changes: tuple[tuple[str, Any], ...]
    isl: tuple[int, int]
    osl: tuple[int, int]
    rule: str

    @property
    def costs(self) -> Costs:
        """What its steps cost."""
        return preset(self.preset, dict(self.changes))

    def work(self, rng: np.random.Generator, count: int) -> tuple[Ints, Ints]:
        """Lengths of so many requests."""
        return _lengths(rng, count, *self.isl), _lengths(rng, count, *self.osl)


ENGINES = (
    Engine("batch-limited", "small", (("max_batch", 32),), (256, 128), (128, 64), "ttft.p95<500ms"),
    Engine("KV-limited", "small", (("kv_tokens", 24_000),), (1024, 256), (96, 32), "ttft.p95<500ms"),
    Engine("prefill-limited", "small", (), (1000, 300), (24, 12), "ttft.p95<1s"),
    Engine("serial", "serial", (), (128, 64), (32, 16), "ttft.p95<2s"),
)


def _lengths(rng: np.random.Generator, count: int, mean: int, deviation: int) -> Ints:
    sigma = np.sqrt(np.log(1 + (deviation / mean) ** 2))
    drawn = rng.lognormal(np.log(mean) - sigma**2 / 2, sigma, count)
    return np.clip(np.round(drawn), 1, 5 * mean).astype(np.int64)


# -- the truth ---------------------------------------------------------------------------------------------------------


def truth(engine: Engine) -> float:
    """The rate at which the share that keeps the promise is the promised one."""
    low, high = 0.05, 200.0
    while high / low > 1.05:
        low, high = _halved(engine, low, high, REQUESTS // 5, 1)
    low, high = low / 1.05, high * 1.05
    while high / low > 1.003:
        low, high = _halved(engine, low, high, REQUESTS, STRETCHES)
    return float(np.sqrt(low * high))


def _halved(engine: Engine, low: float, high: float, count: int, stretches: int) -> tuple[float, float]:
    rate = float(np.sqrt(low * high))
    (share,) = slo.shares([slo.parse(engine.rule)])
    held = np.mean([attainment(engine, rate, count, TRUTH_SEED + k) for k in range(stretches)])
    return (rate, high) if held >= share.share else (low, rate)


def attainment(engine: Engine, rate: float, count: int, seed: int) -> float:
    """Share of so many requests that keep the promise at this rate."""
    rng = np.random.default_rng(seed)
    isl, osl = engine.work(rng, count)
    arrivals_ns = (rng.exponential(1 / rate, count).cumsum() * NS).astype(np.int64)
    table = virtual.run(engine.costs, arrivals_ns, isl, osl, seed=seed)
    (share,) = slo.shares([slo.parse(engine.rule)])
    values = {rule.metric: by_key()[rule.metric].of(table) for rule in share.rules}  # type: ignore[union-attr]
    return float(slo.kept(table, share, values).mean())


# -- one search --------------------------------------------------------------------------------------------------------


class Prober:
    """Runs the probes of one search in virtual time; `seconds` is the engine's time so far."""

    def __init__(self, engine: Engine, seed: int, budget_s: float) -> None:
        self.engine, self.seed, self.budget_s = engine, seed, budget_s
        self.seconds = 0.0
        self.shares = slo.shares([slo.parse(engine.rule)])
        rng = np.random.default_rng((seed, 0))
        alone = virtual.run(engine.costs, None, *engine.work(rng, 10), concurrency=1)
        self.latency_s = float(np.median(alone.end_ns - alone.sent_ns)) / NS

    def __call__(self, ask: Ask) -> Tried | None:
        """One probe; None when there is no time for it."""
        left_s = self.budget_s - self.seconds
        if left_s < 20:
            return None
        cap_s = allotted(self.budget_s, left_s, ask.confirms, self.latency_s)
        timing = Timing(cap_s, self.latency_s, ask.lenient and not ask.confirms, error=SURE if ask.confirms else ERROR)
        table, stopped_at, seconds = self._run(ask, Probe(self.shares, Saturation(ask.value, self.latency_s), timing))
        self.seconds += seconds
        found = [(share, series(table, share)) for share in self.shares]
        held = {share.slo.text: (share.share, one) for share, one in found}
        return Tried(
            ask.value,
            verdict_of(stopped_at, found, []),
            held,
            grew=stopped_at.startswith(SATURATED),
            lenient=stopped_at.endswith(SO_FAR),
        )

    def hurry(self) -> bool:
        """Whether what is left is for confirmations."""
        return self.budget_s - self.seconds < KEPT_BACK * self.budget_s

    def _run(self, ask: Ask, judge: Probe) -> tuple[RecordTable, str, float]:
        session = virtual.Session(self.engine.costs, self._requests(ask), seed=self.seed + ask.number)
        parts, now_ns = [], 0
        while True:
            part = session.run_until(now_ns)
            parts.append(part)
            for record in records(part):
                judge.add(record)
            stop = judge.look(now_ns, int(session.in_flight(np.array([now_ns]))[0]))
            if stop is not None:
                return merge(parts), stop.text, now_ns / NS
            now_ns += max(LOOK_NS, now_ns // LOOKS)

    def _requests(self, ask: Ask) -> Iterator[virtual.Ask]:
        rng = np.random.default_rng((self.seed, ask.number + 1))
        now_s = 0.0
        while True:
            moments = now_s + rng.exponential(1 / ask.value, CHUNK).cumsum()
            now_s = float(moments[-1])
            yield from virtual.asks((moments * NS).astype(np.int64), *self.engine.work(rng, CHUNK))


def records(table: RecordTable) -> Iterator[Record]:
    """What a judge is told of them."""
    first, last = table.event_ns[table.event_start[:-1]].tolist(), table.event_ns[table.event_start[1:] - 1].tolist()
    columns = (table.sent_ns.tolist(), table.end_ns.tolist(), first, last, table.isl_usage, table.osl_usage)
    for sent_ns, end_ns, first_ns, last_ns, isl, osl in zip(*columns, strict=True):
        stamps = [first_ns, last_ns] if last_ns > first_ns else [first_ns]
        yield Record(
            sent_ns=sent_ns, intended_ns=sent_ns, end_ns=end_ns, streamed=True, outcome=Outcome.OK, event_ns=stamps,
            event_kind=[EventKind.CONTENT] * len(stamps), isl_usage=int(isl), osl_usage=int(osl),
        )  # fmt: skip


def one(engine: Engine, budget_s: float, seed: int) -> tuple[Found, float]:
    """A whole search; and the engine's time it took."""
    prober = Prober(engine, seed, budget_s)
    start = float(f"{1 / prober.latency_s:.3g}")
    return search(prober, Goal(start), hurry=prober.hurry), prober.seconds


# -- the table ---------------------------------------------------------------------------------------------------------


def main() -> None:
    """Print everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=0, help="searches for the coverage, for each engine")
    parser.add_argument("--budget", type=float, default=7200.0, help="seconds of the engine's time for a search")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--engines", default=",".join(engine.name for engine in ENGINES))
    given = parser.parse_args()
    began = time.perf_counter()
    engines = [engine for engine in ENGINES if engine.name in given.engines.split(",")]
    with ProcessPoolExecutor(given.jobs) as pool:
        truths = dict(zip([engine.name for engine in engines], pool.map(truth, engines), strict=True))
        for engine in engines:
            true = truths[engine.name]
            print(f"\n{engine.name}: {engine.rule} is kept up to {true:.4g} req/s")
            seeds = range(SHOWN_SEED, SHOWN_SEED + SHOWN)
            for found, seconds in pool.map(partial(one, engine, given.budget), seeds):
                print(f"  {_line(found, true)}, {len(found.tried)} probes, {seconds / 60:.0f} min", flush=True)
            if given.repeats:
                seeds = range(REPEAT_SEED, REPEAT_SEED + given.repeats)
                _coverage(list(pool.map(partial(one, engine, given.budget), seeds)), true)
    print(f"\n{time.perf_counter() - began:.0f} s in all")


def _line(found: Found, true: float) -> str:
    if found.value is None or found.low is None or found.high is None:
        return "no answer"
    return (
        f"{found.value:.4g} req/s, 95 % CI {found.low:.4g}-{found.high:.4g}: {100 * (found.value / true - 1):+.1f} %, "
        f"interval {'holds' if found.low <= true <= found.high else 'misses'} the truth"
    )


def _coverage(searches: list[tuple[Found, float]], true: float) -> None:
    n = len(searches)
    answered = [(found, found.low, found.high) for found, _ in searches if found.low and found.high]
    inside = sum(low <= true <= high for _, low, high in answered)
    off = np.array([(found.value or 0.0) / true - 1 for found, _ in searches])
    width = np.median([high / low - 1 for _, low, high in answered])
    print(
        f"  of {n} searches: interval holds the truth in {100 * inside / n:.1f} %, answer within 5 % in "
        f"{100 * np.mean(np.abs(off) <= 0.05):.1f} %, rms error {100 * np.sqrt(np.mean(off**2)):.1f} %, farthest "
        f"{100 * np.max(np.abs(off)):.1f} %; median width {100 * width:.1f} %, "
        f"{np.mean([len(found.tried) for found, _ in searches]):.1f} probes, "
        f"at most {max(len(found.tried) for found, _ in searches)}, "
        f"{np.mean([seconds for _, seconds in searches]) / 60:.0f} min",
        flush=True,
    )


if __name__ == "__main__":
    main()
