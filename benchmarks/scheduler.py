"""What the scheduler brain costs: virtual requests as a multiple of real time, and events over the wire.

    python benchmarks/scheduler.py [--requests 100000] [--streams 64] [--tokens 2000]

Virtual time: closed and open loops of requests of 128 tokens against a batch of 64, one core, as the seconds of the
modelled engine that pass in one second here. Over the wire: the engine on one core with steps that take no time, so
that only its own speed counts; drained from the other core without parsing, beside the script brain in the same run.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from simulator_speed import drain

from genbench.simulator.costs import names, preset
from genbench.simulator.virtual import run

TOKENS = 128
BATCH = 64
NO_TIME = ("--step-base", "0", "--step-per-sequence", "0", "--step-per-kv-token", "0", "--prefill-tps", "1e12")
LARGE = ("--max-batch", "4096", "--max-step-tokens", "8192", "--kv-tokens", "100000000", "--step-noise", "0")


def virtual(count: int) -> None:
    """Print a line for each kind of load and preset."""
    draw = np.random.default_rng(0)
    isl, osl = np.full(count, 512), np.full(count, TOKENS)
    for name in names():
        costs = preset(name, {"max_batch": min(BATCH, preset(name).max_batch)})
        probe = run(costs, None, isl[:2000], osl[:2000], concurrency=costs.max_batch)
        gap_ns = 1.1 * float(probe.end_ns.max()) / 2000  # open loop at nine tenths of what a closed one gets
        arrivals_ns = np.cumsum(draw.exponential(gap_ns, count)).astype(np.int64)
        for how, moments, concurrency in (("closed", None, costs.max_batch), ("open", arrivals_ns, None)):
            began = time.perf_counter()
            table = run(costs, moments, isl, osl, concurrency=concurrency)
            spent = time.perf_counter() - began
            passed = float(table.end_ns.max()) / 1e9
            print(f"virtual:  {name:<10} {how:<6} {count} requests: {passed / spent:,.0f} x real time ({spent:.1f} s)")


@contextmanager
def engine(*arguments: str) -> Iterator[int]:
    """The port of a simulator on the last core; this process moves to the first."""
    pin = []
    cores = sorted(os.sched_getaffinity(0))
    if shutil.which("taskset") and len(cores) > 1:
        pin = ["taskset", "-c", str(cores[-1])]
        os.sched_setaffinity(0, cores[:1])
    command = [*pin, sys.executable, "-m", "genbench.simulator", *arguments]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin
    assert process.stdout
    try:
        yield int(process.stdout.readline().rpartition(":")[2])
    finally:
        process.stdin.close()
        process.wait(5)
        os.sched_setaffinity(0, cores)


def wire(streams: int, tokens: int) -> None:
    """Print a line for each brain."""
    speeds = {}
    for brain, arguments in (("script", ("--ttft", "0", "--itl", "0")), ("scheduler", (*NO_TIME, *LARGE))):
        with engine(*arguments) as port:
            body = {"prompt": "a", "stream": True, "max_tokens": tokens}
            drain(port, 4, body)
            events, spent = drain(port, streams, body)
        speeds[brain] = events / spent
        print(f"wire:     {brain:<10} {events} events in {spent:.2f} s = {speeds[brain]:,.0f} events/s, one write each")
    print(f"wire:     scheduler at {100 * speeds['scheduler'] / speeds['script']:.0f} % of the script")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--streams", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=2000)
    given = parser.parse_args()
    wire(given.streams, given.tokens)
    virtual(given.requests)


if __name__ == "__main__":
    main()
