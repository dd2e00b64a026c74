"""Is `genbench compare` right? `python benchmarks/compare.py [alarms|power|coverage ...] [--trials N] [--jobs 2]`.

The statistics of a comparison, on the model of an engine in virtual time, where the truth is known.

alarms    two runs of one engine; how often is any row called different, with --min-effect 0?
power     an engine and one whose decode takes 5 % longer, 1,000 requests each: how often is it found?
coverage  an engine and one whose decode takes 5 % longer and whose prefill is 10 % slower: how often does the interval
          of each row hold the true ratio? The truth is from many long runs that no trial has seen.

Each is done for an open loop (Poisson arrivals at 60 % of what the engine can do) and a closed one, with the same
requests for both sides (paired) and with others for each. Neither engine is steady: each step takes up to 3 % more or
less than its cost, and the whole engine's speed wanders by 1 % over a second or so (--wander), as clocks and neighbours
do; each run has a noise of its own. A run has a warm-up of 100 requests.
"""

import argparse
import os
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from genbench import stats
from genbench.metrics.contrast import ROWS, Row, runs
from genbench.metrics.definitions import METRICS, osl
from genbench.metrics.slo import parse
from genbench.metrics.subject import COMPARED, Subject, subject
from genbench.metrics.summary import Run
from genbench.records import Ints, RecordTable
from genbench.simulator import virtual
from genbench.simulator.costs import Costs, preset
from genbench.stats import Floats
from genbench.types import Distribution, Outcome, Phase, RunValue, SloResult, Summary

NS = 10**9
WARMUP, REQUESTS = 100, 1000
CONCURRENCY, SATURATION = 16, 23.0
RATE = 0.6 * SATURATION
WANDER, WANDER_S = 0.01, 1.0
GRID_S = 0.1
PROMISE = "request_latency.p95<1s"
TRUTH_SEED, TRUTH_RUNS, TRUTH_REQUESTS = 900_000_000, 12, 20_000
SEED = 500_000  # tuning was done on others
TRIALS = {"alarms": 200, "power": 200, "coverage": 1000}
CHUNK = 10
CALLED = ("faster", "slower", "better", "worse")


@dataclass(frozen=True)
class Engine:
    """One engine: how much longer its decoding and its prefill take than those of the first."""

    decode: float = 1.0
    prefill: float = 1.0

    @property
    def costs(self) -> Costs:
        """What its steps cost."""
        one = preset("small", {"max_batch": CONCURRENCY, "step_noise": 0.03})
        return replace(
            one,
            step_base_s=one.step_base_s * self.decode,
            step_per_sequence_s=one.step_per_sequence_s * self.decode,
            step_per_kv_token_s=one.step_per_kv_token_s * self.decode,
            prefill_tps=one.prefill_tps / self.prefill,
        )


BASE, DECODE, BOTH = Engine(), Engine(decode=1.05), Engine(decode=1.05, prefill=1.1)


@dataclass(frozen=True)
class Setting:
    """How both sides are loaded."""

    name: str
    closed: bool
    paired: bool


SETTINGS = (
    Setting("open, paired", False, True),
    Setting("open", False, False),
    Setting("closed, paired", True, True),
    Setting("closed", True, False),
)


# -- runs --------------------------------------------------------------------------------------------------------------


def records(engine: Engine, trial: "Trial", count: int, plan_seed: int, noise_seed: int) -> RecordTable:
    """The records of one run: lengths and arrivals by the one seed, the engine's noise by the other."""
    closed = trial.setting.closed
    plan, noise = np.random.default_rng(plan_seed), np.random.default_rng(noise_seed)
    isl, osl = _lengths(plan, count, 256, 128), _lengths(plan, count, 32, 16)
    arrivals_s = plan.exponential(1 / RATE, count).cumsum()
    until_s = 2 * count / RATE if closed else 1.5 * float(arrivals_s[-1]) + 60
    engine_s, world_s = _wander(noise, until_s, trial)
    seed = int(noise.integers(1 << 31))
    if closed:
        table = virtual.run(engine.costs, None, isl, osl, concurrency=CONCURRENCY, seed=seed, all_events=True)
    else:
        moments = (np.interp(arrivals_s, world_s, engine_s) * NS).astype(np.int64)
        table = virtual.run(engine.costs, moments, isl, osl, seed=seed, all_events=True)
    return _seen(table, engine_s, world_s)


def _lengths(rng: np.random.Generator, count: int, mean: int, deviation: int) -> Ints:
    sigma = np.sqrt(np.log(1 + (deviation / mean) ** 2))
    drawn = rng.lognormal(np.log(mean) - sigma**2 / 2, sigma, count)
    return np.clip(np.round(drawn), 1, 5 * mean).astype(np.int64)


def _wander(rng: np.random.Generator, until_s: float, trial: "Trial") -> tuple[Floats, Floats]:
    """The engine's own time on a grid, and the world's: an Ornstein-Uhlenbeck process of its slowness."""
    steps = int(until_s / GRID_S)
    keep = np.exp(-GRID_S / trial.wander_s)
    pushes = rng.normal(0, trial.wander * np.sqrt(1 - keep**2), steps)
    slow = np.empty(steps)
    now = float(rng.normal(0, trial.wander))
    for i, push in enumerate(pushes.tolist()):
        now = now * keep + push
        slow[i] = now
    engine_s = np.arange(steps + 1, dtype=np.float64) * GRID_S
    return engine_s, np.concatenate((np.zeros(1), np.cumsum(np.exp(slow)) * GRID_S))


def _seen(table: RecordTable, engine_s: Floats, world_s: Floats) -> RecordTable:
    """The same records by the world's clock."""

    def moved(column: Ints) -> Ints:
        return np.where(column < 0, column, (np.interp(column / NS, engine_s, world_s) * NS).astype(np.int64))

    names = ("intended_ns", "ready_ns", "start_ns", "sent_ns", "sent_end_ns", "headers_ns", "end_ns", "event_ns")
    columns: dict[str, Any] = {name: moved(getattr(table, name)) for name in names}
    return replace(table, **columns)


def run_of(table: RecordTable, header: dict[str, Any]) -> Run:
    """A run with the figures that a comparison asks for, without the intervals that take the time of a summary."""
    metrics = {}
    for row in METRICS:
        if row.key in COMPARED:
            found = row.of(table)
            metrics[row.key] = Distribution(
                row.unit, found.values.size, stats.distribution(found.values, found.weights), {}, {}
            )
    ok, rule = table.ok, parse(PROMISE)
    seconds = (int(table.end_ns[ok].max()) - int(table.sent_ns[ok].min())) / NS
    good = (table.end_ns[ok] - table.sent_ns[ok]) / 1e6 < rule.bound
    run = {
        "duration": RunValue("s", seconds),
        "request_throughput": RunValue("req/s", float(ok.sum()) / seconds),
        "output_token_throughput": RunValue("token/s", float(osl(table)[ok].sum()) / seconds),
        "goodput": RunValue("req/s", float(good.sum()) / seconds),
        "error_rate": RunValue("%", 0.0),
    }
    outcomes = {str(Outcome.OK): int(ok.sum())}
    promise = (SloResult(rule, None, passed=True, attainment_pct=None),)
    summary = Summary(metrics, run, outcomes, {}, promise, (), {}, True, False, WARMUP, "VALID", ())
    return Run(header, table, summary)


def one(engine: Engine, trial: "Trial", plan_seed: int, noise_seed: int, count: int = REQUESTS) -> Subject:
    """One run as a comparison sees it."""
    table = records(engine, trial, WARMUP + count, plan_seed, noise_seed)
    phase = np.where(np.arange(len(table)) < WARMUP, Phase.WARMUP, Phase.MEASURED).astype(np.int64)
    load = {"concurrency": CONCURRENCY} if trial.setting.closed else {"request_rate": RATE, "arrival": "poisson"}
    plan = str(plan_seed)
    header = {"dataset_sha256": plan, "offsets_sha256": plan, "config": {"load": load}}
    return subject(run_of(replace(table, phase=phase), header), "run")


# -- trials ------------------------------------------------------------------------------------------------------------

Key = tuple[str, str]


@dataclass(frozen=True)
class Trial:
    """What both sides of a comparison are, but for the seeds."""

    other: Engine
    setting: Setting
    wander: float
    wander_s: float

    def rows(self, seed: int) -> list[Row]:
        """The comparison of two runs."""
        plans = (10 * seed, 10 * seed if self.setting.paired else 10 * seed + 1)
        sides = one(BASE, self, plans[0], 10 * seed + 2), one(self.other, self, plans[1], 10 * seed + 3)
        return runs(*sides, min_effect=0.0, seed=seed)

    def truth(self, seed: int) -> dict[Key, float]:
        """The log of each true ratio, from two long runs with the same requests and the same noise."""
        both = [one(engine, self, 10 * seed, 10 * seed + 2, TRUTH_REQUESTS).stats for engine in (BASE, self.other)]
        keys = [(metric, stat) for metric, stat in ROWS if both[0].get(metric, {}).get(stat)]
        return {(metric, stat): float(np.log(both[1][metric][stat] / both[0][metric][stat])) for metric, stat in keys}


def main() -> None:
    """Print everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", help=", ".join(TRIALS))
    parser.add_argument("--trials", type=int, help="instead of 200, 200 and 1000")
    parser.add_argument("--settings", help="those whose names are given, by ; between them")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--wander", type=float, nargs=2, default=(WANDER, WANDER_S), metavar=("SHARE", "SECONDS"))
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    settings = [one for one in SETTINGS if given.settings is None or one.name in given.settings.split(";")]
    with ProcessPoolExecutor(given.jobs, initializer=os.nice, initargs=(5,)) as pool:
        for number, what in enumerate(TRIALS):
            if given.what and what not in given.what:
                continue
            count, began = given.trials or TRIALS[what], time.perf_counter()
            first = given.seed + number * 100_000
            other = {"alarms": BASE, "power": DECODE, "coverage": BOTH}[what]
            trials = [Trial(other, setting, *given.wander) for setting in settings]
            truths = true_ratios(pool, trials) if what == "coverage" else {}
            print(f"\n{what}, {count} trials each", flush=True)
            for trial in trials:
                start = first + SETTINGS.index(trial.setting) * 20_000
                seeds = range(start, start + count)
                found = list(pool.map(trial.rows, seeds, chunksize=CHUNK))
                if what == "coverage":
                    show_coverage(trial.setting, found, truths[trial.setting.closed])
                else:
                    show_calls(trial.setting, found)
            print(f"{time.perf_counter() - began:.0f} s", flush=True)


def true_ratios(pool: ProcessPoolExecutor, trials: list[Trial]) -> dict[bool, dict[Key, float]]:
    """The logs of the true ratios, for the open loop (False) and the closed one."""
    found = {}
    for trial in {trial.setting.closed: trial for trial in trials}.values():
        parts = list(pool.map(trial.truth, range(TRUTH_SEED, TRUTH_SEED + TRUTH_RUNS)))
        found[trial.setting.closed] = {key: float(np.mean([part[key] for part in parts])) for key in parts[0]}
    return found


def show_calls(setting: Setting, trials: list[list[Row]]) -> None:
    """In how many trials any row was called different, and in how many each was."""
    called = Counter(f"{row.metric}.{row.stat}" for rows in trials for row in rows if row.verdict in CALLED)
    any_row = sum(any(row.verdict in CALLED for row in rows) for rows in trials)
    by_row = ", ".join(f"{name} {count}" for name, count in called.most_common())
    print(f"  {setting.name}: different in {any_row} of {len(trials)}{by_row and f' ({by_row})'}", flush=True)


def show_coverage(setting: Setting, trials: list[list[Row]], truth: dict[Key, float]) -> None:
    """How often each row's interval held the truth, how often it lay below and above, and its median width."""
    print(f"  {setting.name}: row, true ratio, held, too low, too high, median half width, tested", flush=True)
    for key in ROWS:
        rows = [row for rows in trials for row in rows if (row.metric, row.stat) == key and row.ci95 is not None]
        if key not in truth or not rows:
            continue
        ends = np.log(np.array([row.ci95 for row in rows], dtype=np.float64))
        low, high = float(np.mean(ends[:, 1] < truth[key])), float(np.mean(ends[:, 0] > truth[key]))
        tested = all(row.p_holm is not None for row in rows)
        print(
            f"    {'.'.join(key):32} {np.exp(truth[key]):.4f} {100 * (1 - low - high):5.1f} % {100 * low:5.1f} "
            f"{100 * high:5.1f}  {50 * np.median(ends[:, 1] - ends[:, 0]):5.1f} %  {'yes' if tested else 'no'}"
            f"{'' if len(rows) == len(trials) else f'  ({len(rows)} trials)'}",
            flush=True,
        )


if __name__ == "__main__":
    main()
