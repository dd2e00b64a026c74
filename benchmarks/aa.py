"""How often does `genbench run-ab` call two equal engines different? `python benchmarks/aa.py [--pairs 20]`.

Each pair is two embedded engines of the same preset, processes of their own on the last core; the client has the other
cores. Their steps are noisy, each engine by a seed of its own. `run-ab` measures them with `--min-effect 0`, so every
row that is significant after Holm's correction is an alarm. Prints the alarms of each pair and of all; MISS where more
than 3 of 20 pairs have one.

With `--slower 10` the second engine's steps and its prefill take 10 % longer: then the rows are to be found.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import arena

from genbench.simulator.costs import preset

ALLOWED = 3 / 20
DIFFERENT = ("faster", "slower", "better", "worse")
LIMIT_S = 3600.0


@contextmanager
def engine(given: argparse.Namespace, seed: int, slower_pct: float = 0.0) -> Iterator[str]:
    """The URL of an embedded engine on the server's core."""
    costs, factor = preset(given.preset), 1 + slower_pct / 100
    words = ["--preset", given.preset, "--step-noise", str(given.noise), "--seed", str(seed)]
    words += ["--step-base", f"{1e3 * costs.step_base_s * factor}ms"]
    words += ["--step-per-sequence", f"{1e3 * costs.step_per_sequence_s * factor}ms"]
    words += ["--step-per-kv-token", f"{1e3 * costs.step_per_kv_token_s * factor}ms"]
    words += ["--prefill-tps", str(costs.prefill_tps / factor)]
    with arena.serving([sys.executable, "-m", "genbench.simulator", *words]) as url:
        yield url


def pair(given: argparse.Namespace, number: int, folder: Path) -> dict[str, Any]:
    """What is said of two engines, the content of compare.json; of a pair that is there already, said anew.

    Raises RuntimeError where nothing is said.
    """
    client, _ = arena.cores()
    genbench = [*arena.pinned(client), sys.executable, "-m", "genbench"]
    own = folder / f"pair-{number}"
    wanted = ["--min-effect", "0", "--no-plots", *(["--force"] if given.force else [])]
    if own.exists():
        done = _run([*genbench, "compare", str(own), *wanted, "--out", str(own)])
    else:
        with ExitStack() as engines:
            slower = enumerate((0.0, given.slower))
            urls = [engines.enter_context(engine(given, 2 * number + k, percent)) for k, percent in slower]
            words = ["--a", urls[0], "--b", urls[1], "--rounds", str(given.rounds), "--duration", given.block]
            words += ["--concurrency", str(given.concurrency), "--isl", given.isl, "--osl", given.osl]
            words += ["--seed", str(1000 * number), "--artifact-dir", str(folder), "--name", own.name]
            done = _run([*genbench, "run-ab", *words, *wanted, "--quiet"])
    found = own / "compare.json"
    if not found.is_file():
        raise RuntimeError(f"there is no comparison (exit code {done.returncode}): {done.stderr[-400:]}")
    document: dict[str, Any] = json.loads(found.read_text())
    return document


def _run(command: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S)


def alarms(document: Mapping[str, Any]) -> list[str]:
    """The rows that are called different, in words."""
    (comparison,) = document["comparisons"]
    return [_word(row) for row in comparison["rows"] if row["verdict"] in DIFFERENT]


def tested(document: Mapping[str, Any]) -> str:
    """How much was tested."""
    (comparison,) = document["comparisons"]
    return f"{sum(row['p'] is not None for row in comparison['rows'])} rows, {comparison['runs'][0]} rounds"


def _word(row: Mapping[str, Any]) -> str:
    name = ".".join(part for part in (row["metric"], row["stat"]) if part and part != "value")
    ends = "" if row["ci95"] is None else f" ({row['ci95'][0]:.4f} .. {row['ci95'][1]:.4f})"
    ratio = "" if row["ratio"] is None else f" {row['ratio']:.4f}{ends}"
    return f"{name}{ratio} {row['verdict']}, p {row['p_holm']:.2g}"


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--first", type=int, default=1, help="number of the first pair, which seeds it")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--block", default="2s", help="length of a block")
    parser.add_argument("--concurrency", type=int, default=8)
    parser.add_argument("--isl", default="64")
    parser.add_argument("--osl", default="8")
    parser.add_argument("--preset", default="small")
    parser.add_argument("--noise", type=float, default=0.1, help="a step longer or shorter by up to this share")
    parser.add_argument("--slower", type=float, default=0.0, metavar="PERCENT", help="of the second engine's steps")
    parser.add_argument(
        "--keep", type=Path, default=None, metavar="FOLDER", help="keep the runs here, and compare those that are"
    )
    parser.add_argument("--force", action="store_true", help="compare INVALID blocks as well: on a busy machine")
    return parser.parse_args()


def main() -> None:
    """Measure the pairs one after the other."""
    given = arguments()
    print(arena.placement())
    began, alarmed = time.perf_counter(), 0
    with tempfile.TemporaryDirectory() as name:
        for number in range(given.first, given.first + given.pairs):
            document = pair(given, number, given.keep or Path(name))
            found = alarms(document)
            alarmed += bool(found)
            print(f"pair {number}: {'; '.join(found) or 'no difference seen'} ({tested(document)})", flush=True)
    if given.slower:
        print(f"the second engine is {given.slower:g} % slower: found in {alarmed} of {given.pairs} pairs")
    else:
        word = "pass" if alarmed <= ALLOWED * given.pairs else "MISS"
        print(f"{word}  equal engines: an alarm in {alarmed} of {given.pairs} pairs (target: at most 3 of 20)")
    print(f"{time.perf_counter() - began:.0f} s in all")


if __name__ == "__main__":
    main()
