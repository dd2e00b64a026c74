"""How long a run takes to begin on a large data file, and how much memory it needs.

Makes a file of a million lines (JSON lines, CSV or a JSON array), starts the embedded engine, and runs
`genbench profile --request-count 1000` on the file's first rows, once for each way of sampling. Start is from the
launch of the process to the first request's send; a run on synthetic prompts in the same session is the yardstick.

    python benchmarks/start.py --lines 1000000
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from genbench.studies.simulated import engine

COUNT = 1000
WORDS = "the quick brown fox jumps over the lazy dog again and again until it is tired of it "


def write(path: Path, lines: int) -> None:
    """A file of prompts of about 300 characters, each different."""
    with path.open("w") as file:
        if path.suffix == ".csv":
            file.write("instruction,output\n")
            file.writelines(f'"{k} {WORDS * 3}","{k} yes"\n' for k in range(lines))
            return
        if path.suffix == ".json":
            file.write("[")
            file.writelines(
                json.dumps({"instruction": f"{k} {WORDS * 3}", "output": f"{k} yes"}) + ("," if k < lines - 1 else "")
                for k in range(lines)
            )
            file.write("]")
            return
        file.writelines(json.dumps({"prompt": f"{k} {WORDS * 3}", "max_tokens": 2}) + "\n" for k in range(lines))


def run(url: str, folder: Path, name: str, *options: str) -> tuple[float, float, str]:
    """(seconds to the first send, peak MiB of the client, what it said of the data)."""
    words = f"profile --url {url} --request-count {COUNT} --concurrency 32 --max-osl 2 --no-plots --name {name}"
    command = [sys.executable, "-m", "genbench", *words.split(), "--artifact-dir", str(folder), *options]
    began = time.time_ns()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    _, said = process.communicate()
    if process.returncode:
        raise SystemExit(said)
    header = json.loads((folder / name / "run.json").read_text())
    start = header["clock"]["zero_unix_ns"] + header["health"]["start_ns"] - began
    note = next((line for line in said.splitlines() if "index" in line), "")
    return start / 1e9, header["health"]["peak_rss_bytes"] / 2**20, note


def main() -> None:
    """Print one line for each file and order."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=1_000_000)
    wanted = parser.parse_args()
    print(f"{'data':<34}{'start (s)':>10}{'peak (MiB)':>12}")
    with tempfile.TemporaryDirectory() as place, engine("--ttft", "1ms", "--itl", "1ms") as url:
        folder = Path(place)
        loads: list[tuple[str, tuple[str, ...]]] = [("synthetic prompts", ())]
        for suffix, name in ((".jsonl", "jsonl"), (".csv", "alpaca"), (".json", "alpaca")):
            path = folder / f"data{suffix}"
            write(path, wanted.lines)
            size = os.path.getsize(path) / 2**20
            for sampling in ("sequential", "shuffle"):
                said = f"{suffix[1:]}, {size:.0f} MiB, {sampling}"
                loads.append((said, ("--dataset", f"{name}:{path}", "--sampling", sampling)))
        for k, (said, options) in enumerate(loads):
            seconds, peak, note = run(url, folder, f"r{k}", *options)
            print(f"{said:<34}{seconds:>10.2f}{peak:>12.0f}  {note}", flush=True)


if __name__ == "__main__":
    main()
