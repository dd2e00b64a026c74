"""What measuring costs: CPU per event and per small request, memory, start, end, and the embedded engine's own speed.

    python benchmarks/cost.py [--rounds 3] [--json FILE]

CPU and memory come from two runs of different length: (long - short) / (events long - events short), so what a client
spends once (imports, connections) cancels, while what grows with the run (plan, log, report) stays in. For genbench
three nested figures: from the first send to the last byte (that part alone can delay a stamp), to the last line of the
log (all a loop does: send, receive, decode, keep), and the whole process with plan and report. Small requests go to
`canned.py`, which costs next to nothing. Every figure is the median of interleaved rounds.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import arena
import canned
import peers
import simulator_speed
from arena import Scenario

HELP_RUNS = 5
Command = Callable[[Scenario, Path], list[str]]


@dataclass(frozen=True)
class Run:
    """One client's run: what it took, and for genbench what its header says."""

    cost: arena.Cost
    units: int
    facts: Mapping[str, Any]
    duration_s: float | None

    def load_cpu_us(self, until: str) -> float:
        """genbench's CPU from its first send to a later moment."""
        return self.cost.cpu_between_s(self.facts["first_sent_ns"], self.facts[until]) * 1e6


@dataclass(frozen=True)
class Load:
    """A scenario in two lengths, what is counted in it, and who takes part."""

    name: str
    unit: str
    scenario: Scenario
    lengths: tuple[int, int]
    count: Callable[[int], int]  # units of a run of so many requests
    commands: Mapping[str, Command]


def one_run(load: Load, name: str, requests: int) -> Run:
    """One run of one client; raises RuntimeError when it fails."""
    scenario = Scenario(**{**vars(load.scenario), "requests": requests})
    with tempfile.TemporaryDirectory() as where:
        folder = Path(where)
        cost = arena.run_client(load.commands[name](scenario, folder), scenario.limit_s)
        why = arena.complaint(cost, scenario.limit_s)
        if why:
            raise RuntimeError(f"{name}: {why}")
        facts: dict[str, Any] = {}
        duration = None
        if name == "genbench":
            facts = peers.genbench_facts(folder / "run")
            if facts["not_ok"]:
                raise RuntimeError(f"genbench: {facts['not_ok']} requests were not ok")
            duration = json.loads((folder / "run" / "summary.json").read_bytes())["run"]["duration"]["value"]
        return Run(cost, load.count(requests), facts, duration)


def slope(short: Run, long: Run, of: Callable[[Run], float]) -> float:
    """What one more unit adds."""
    return (of(long) - of(short)) / (long.units - short.units)


def measure(load: Load, rounds: int) -> dict[str, dict[str, float]]:
    """Client -> figures: CPU per unit in us (for genbench in three extents), bytes of peak memory per unit."""
    found: dict[str, dict[str, list[float]]] = {name: {} for name in load.commands}

    def keep(name: str, key: str, value: float) -> None:
        found[name].setdefault(key, []).append(value)

    for k in range(rounds):
        print(f"  {load.name}: round {k + 1}/{rounds}", flush=True)
        for name in load.commands:
            short, long = (one_run(load, name, requests) for requests in load.lengths)
            keep(name, "cpu_us", slope(short, long, lambda run: run.cost.cpu_s * 1e6))
            keep(name, "rss_bytes", slope(short, long, lambda run: run.cost.rss_bytes))
            keep(name, "units_per_s", long.units / long.cost.wall_s)
            if name == "genbench":
                keep(name, "wire_us", slope(short, long, lambda run: run.load_cpu_us("last_end_ns")))
                keep(name, "load_us", slope(short, long, lambda run: run.load_cpu_us("logged_ns")))
                for run, key in ((short, "added_short_s"), (long, "added_long_s")):
                    assert run.duration_s is not None
                    keep(name, key, run.cost.wall_s - run.duration_s)
    return {name: {key: statistics.median(v) for key, v in figures.items()} for name, figures in found.items()}


# -- the loads --------------------------------------------------------------------------------------------------------


def embeddings(scenario: Scenario, folder: Path) -> list[str]:
    """genbench on small embeddings requests."""
    command = [sys.executable, "-m", "genbench", "profile", "-u", scenario.url, "-m", scenario.model, "--quiet"]
    command += ["--endpoint-type", "embeddings", "-c", str(scenario.streams), "-n", str(scenario.requests)]
    return [*command, "--warmup", "0", "--isl", "4", "--artifact-dir", str(folder), "--name", "run"]


def looped(*more: str) -> Command:
    """The aiohttp loop on small embeddings requests."""

    def command(scenario: Scenario, folder: Path) -> list[str]:
        words = [sys.executable, str(peers.CLIENTS / "aiohttp_loop.py"), "--url", scenario.url, "--kind", "embeddings"]
        words += ["--model", scenario.model, "--streams", str(scenario.streams), "--requests", str(scenario.requests)]
        return [*words, *more]

    return command


def streaming_load(given: argparse.Namespace, url: str) -> Load:
    """200 streams of 50 token/s from the embedded engine."""
    model = arena.ask(url + "/v1/models", None)["data"][0]["id"]
    scenario = Scenario(url, model, given.streams, 0, given.tokens, None, Path(), given.limit)
    chosen = [one for one in peers.ALL if one.program is None]
    per_request = given.tokens + 4  # role, finish, usage, [DONE]
    lengths = (given.streams, 3 * given.streams)
    commands = {one.name: one.command for one in chosen}
    return Load("events", "event", scenario, lengths, lambda n: n * per_request, commands)


def small_load(given: argparse.Namespace, url: str) -> Load:
    """Small embeddings requests, `--small` and three times as many."""
    scenario = Scenario(url, canned.MODEL, given.concurrency, 0, 0, None, Path(), given.limit)
    commands = {"genbench": embeddings, "aiohttp loop": looped(), "aiohttp, uvloop, orjson": looped("--fast")}
    return Load("small requests", "request", scenario, (given.small, 3 * given.small), lambda n: n, commands)


# -- the rest ---------------------------------------------------------------------------------------------------------


def quickest_s(command: Sequence[str], runs: int) -> float:
    """The shortest wall time of a command's runs."""
    times = []
    for _ in range(runs):
        began = time.perf_counter()
        subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
        times.append(time.perf_counter() - began)
    return min(times)


def help_times() -> dict[str, float]:
    """Seconds of `--help`, beside a bare Python and the peers that are there."""
    found = {
        "python -c pass": quickest_s([sys.executable, "-c", "pass"], HELP_RUNS),
        "genbench --help": quickest_s([sys.executable, "-m", "genbench", "--help"], HELP_RUNS),
    }
    script = Path(sys.executable).with_name("genbench")
    if script.exists():
        found["genbench --help"] = quickest_s([str(script), "--help"], HELP_RUNS)
    for name in ("aiperf", "guidellm", "vllm"):
        if shutil.which(name):
            found[f"{name} --help"] = quickest_s([name, "--help"], 2)
    return found


def engine_events_per_s(streams: int = 50, tokens: int = 2000) -> float:
    """How many events a second the embedded engine sends when all are due at once, one write each."""
    before = os.sched_getaffinity(0)
    process, _, port = simulator_speed.start()
    try:
        flood = {"prompt": "a", "stream": True, "max_tokens": tokens, "simulate": {"ttft_ms": 0, "itl_ms": 0}}
        simulator_speed.drain(port, 4, flood)
        events, spent = simulator_speed.drain(port, streams, flood)
    finally:
        assert process.stdin
        process.stdin.close()
        process.wait(5)
        os.sched_setaffinity(0, before)
    return events / spent


def show(load: Load, figures: Mapping[str, Mapping[str, float]]) -> None:
    """One load's table."""
    base = figures["aiohttp loop"]["cpu_us"]
    print(f"\n{f'per {load.unit}':<32}{'CPU us':>9}{'of aiohttp loop':>17}{'RSS bytes':>11}{'1/s, all in':>13}")
    for name, row in figures.items():
        rate = f"{row['units_per_s']:,.0f}"
        print(f"{name:<32}{row['cpu_us']:>9.1f}{row['cpu_us'] / base:>17.2f}{row['rss_bytes']:>11.0f}{rate:>13}")
        for key, text in (("load_us", "first send to log"), ("wire_us", "first send to last byte")):
            if key in row:
                print(f"{'  from ' + text:<32}{row[key]:>9.1f}{row[key] / base:>17.2f}")
    own = figures["genbench"]
    print(
        f"beside the load, genbench took {own['added_short_s']:.2f} s (short run), {own['added_long_s']:.2f} s (long)"
    )


def verdicts(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """genbench against its targets; `at_least` for those that want more."""
    events, small = found["events"], found["small requests"]
    own, loop = events["genbench"], events["aiohttp loop"]["cpu_us"]
    little, little_loop = small["genbench"], small["aiohttp loop"]["cpu_us"]
    bounds = [
        ("CPU per event, first send to log, of the aiohttp loop's", own["load_us"] / loop, 0.6, True),
        ("CPU per event, whole process, of the aiohttp loop's", own["cpu_us"] / loop, 0.6, True),
        ("CPU per small request, first send to last byte, of aiohttp's", little["wire_us"] / little_loop, 0.25, True),
        ("CPU per small request, first send to log, of aiohttp's", little["load_us"] / little_loop, 0.25, True),
        ("CPU per small request, whole process, of aiohttp's", little["cpu_us"] / little_loop, 0.25, True),
        ("peak memory per event, bytes", own["rss_bytes"], 1024.0, True),
        ("peak memory per small request, bytes", little["rss_bytes"], 1024.0, True),
        ("genbench --help, s", found["help_s"]["genbench --help"], 0.3, True),
        ("what profile adds to the measured time, streams, s", own["added_long_s"], 2.0, True),
        ("what profile adds, small requests, s", little["added_long_s"], 2.0, True),
        ("embedded engine, events/s", found["engine_events_per_s"], 25_000.0, False),
    ]
    return [
        {
            "target": text,
            "bound": bound,
            "at_least": not below,
            "value": value,
            "pass": value <= bound if below else value >= bound,
        }
        for text, value, bound, below in bounds
    ]


def main() -> None:
    """Measure, show, judge."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--streams", type=int, default=200, help="streams in flight")
    parser.add_argument("--tokens", type=int, default=100, help="tokens of each answer")
    parser.add_argument("--small", type=int, default=8000, help="small requests of the short run")
    parser.add_argument("--concurrency", type=int, default=64, help="small requests in flight")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved repeats")
    parser.add_argument("--limit", type=float, default=120.0, help="seconds for one client's run")
    parser.add_argument("--json", type=Path, default=None, help="write all figures to this file")
    given = parser.parse_args()
    print(arena.placement())
    found: dict[str, Any] = {"placement": arena.placement(), "help_s": help_times()}
    with arena.serving(arena.engine_command(50, 20, None)) as url:
        streaming = streaming_load(given, url)
        found["events"] = measure(streaming, given.rounds)
    with arena.serving([sys.executable, str(Path(canned.__file__).resolve())]) as url:
        small = small_load(given, url)
        found["small requests"] = measure(small, given.rounds)
    found["engine_events_per_s"] = engine_events_per_s()
    show(streaming, found["events"])
    show(small, found["small requests"])
    print("\nstart, s: " + ", ".join(f"{name} {spent:.2f}" for name, spent in found["help_s"].items()))
    found["targets"] = verdicts(found)
    print()
    for one in found["targets"]:
        sign = ">=" if one["at_least"] else "<="
        print(
            f"{'pass' if one['pass'] else 'MISS'}  {one['target']}: {one['value']:.4g} (target {sign} {one['bound']:g})"
        )
    if given.json is not None:
        given.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
