"""What scraping a server's metrics costs the measurement beside it: the client's error and lag, with it and without.

    python benchmarks/scrape.py

`genbench profile` sends an open load to the embedded engine on another core, with `--server-metrics on` and `off` in
turn, `--rounds` pairs. The process that scrapes shares the client's core, which is the worst place for it. Errors are
those of `truth.py`; client lag is a request's own (`client_lag`). What counts is the median of the differences of the
pairs.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import arena
import numpy as np

from genbench.records import RecordTable, open_table
from genbench.studies import truth
from genbench.telemetry import log

NEAR_NS = 5_000_000  # of a scrape every 500 ms: 2 % of all requests are as near by chance
BOUNDS = (("TTFT error p99 (ms)", "ttft_p99", 0.1), ("client lag p99 (ms)", "lag_p99", 0.2))
ROWS = (
    ("TTFT error p50 (ms)", "ttft_p50"),
    ("TTFT error p99 (ms)", "ttft_p99"),
    ("inter-chunk error p99 (ms)", "gap_p99"),
    ("client lag p50 (ms)", "lag_p50"),
    ("client lag p99 (ms)", "lag_p99"),
    ("loop lag p99 (ms)", "loop_p99"),
    ("waiting for a core (%)", "cpu_wait"),
    ("CPU of all, whole run (s)", "all_cpu_s"),
    ("scrapes", "scrapes"),
    ("latest 2 % near one (%)", "near"),
)


def late_near_scrapes(table: RecordTable, told: Sequence[log.Told]) -> float:
    """Of the 2 % of the requests that left latest, how many left within `NEAR_NS` of a scrape, in percent."""
    lag = table.sent_ns - table.ready_ns
    latest = table.sent_ns[np.argsort(-lag)[: max(1, lag.size // 50)]]
    scrapes = np.array([scrape.t_ns for one in told for scrape in one.scrapes], dtype=np.int64)
    return 100 * float((np.abs(latest[:, None] - scrapes) < NEAR_NS).any(axis=1).mean()) if scrapes.size else 0.0


def one_run(given: argparse.Namespace, url: str, *, scraped: bool) -> dict[str, float]:
    """The figures of one run, times in ms. Raises RuntimeError for one that is not whole."""
    arena.ask(url + "/truth", None, "DELETE")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "run"
        cost = arena.run_client([
            sys.executable, "-m", "genbench", "profile", "--url", url, "-r", str(given.rate), "-n", str(given.requests),
            "--osl", str(given.tokens), "--isl", "50", "--warmup", "0", "--seed", "1", "--no-plots", "--quiet",
            "--artifact-dir", name, "--name", "run", "--server-metrics", "on" if scraped else "off",
        ], given.limit)  # fmt: skip
        if cost.code:
            raise RuntimeError(cost.output)
        table = open_table(folder)
        near = late_near_scrapes(table, log.read(folder))
        matched = truth.pairs(truth.seen(table), truth.logged(arena.ask(url + "/truth", None)["requests"]))
        head = json.loads((folder / "run.json").read_text())
        summary: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    if len(matched) != given.requests:
        raise RuntimeError(f"only {len(matched)} requests could be matched with the engine's log")
    errors, gaps = np.abs(truth.ttft_errors_ns(matched)) / 1e6, truth.gap_errors_ns(matched) / 1e6
    lag, health = summary["metrics"]["client_lag"], head["health"]
    return {
        "ttft_p50": float(np.percentile(errors, 50)),
        "ttft_p99": float(np.percentile(errors, 99)),
        "gap_p99": float(np.percentile(gaps, 99)),
        "lag_p50": lag["p50"],
        "lag_p99": lag["p99"],
        "loop_p99": health["loop_lag_ns"]["p99"] / 1e6,
        "cpu_wait": health["cpu_wait_pct"],
        "all_cpu_s": cost.cpu_s,
        "near": near,
        "scrapes": float(sum(one["scrapes"] for one in summary.get("server", {}).get("sources", ()))),
    }


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--rate", type=float, default=40.0, help="requests per second")
    parser.add_argument("--requests", type=int, default=400, help="of a run")
    parser.add_argument("--tokens", type=int, default=50, help="tokens of each answer")
    parser.add_argument("--itl-ms", type=float, default=20.0, help="the script's gap between two tokens")
    parser.add_argument("--rounds", type=int, default=5, help="pairs, in alternating order")
    parser.add_argument("--limit", type=float, default=120.0, help="seconds for one run")
    parser.add_argument("--json", type=Path, default=None, help="write all figures to this file")
    return parser.parse_args()


def main() -> int:
    """Measure, show, judge."""
    given = arguments()
    runs: dict[bool, list[dict[str, float]]] = {True: [], False: []}
    print(arena.placement())
    with arena.serving(arena.engine_command(50.0, given.itl_ms, None)) as url:
        for k in range(given.rounds):
            for scraped in (True, False) if k % 2 == 0 else (False, True):
                load = os.getloadavg()[0]
                how = "with" if scraped else "without"
                print(f"  pair {k + 1}/{given.rounds}, {how} (load {load:.1f})", flush=True)
                runs[scraped].append(one_run(given, url, scraped=scraped))
    print(f"\n{'median (each)':<30}{'with scraping':>44}{'without':>44}")
    for title, key in ROWS:
        cells = []
        for scraped in (True, False):
            values = [run[key] for run in runs[scraped]]
            cells.append(f"{statistics.median(values):.3f} ({', '.join(f'{value:.3f}' for value in values)})")
        print(f"{title:<30}{cells[0]:>44}{cells[1]:>44}")
    if given.json is not None:
        given.json.write_text(json.dumps({"with": runs[True], "without": runs[False]}, indent=1))
    held = True
    print()
    for title, key, bound in BOUNDS:
        pairs = [a[key] - b[key] for a, b in zip(runs[True], runs[False], strict=True)]
        added = statistics.median(pairs)
        held &= added < bound
        word = "pass" if added < bound else "MISS"
        print(f"{word}  added to {title}: {added:+.3f} (median of the pairs; target < {bound})")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
