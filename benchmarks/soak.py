"""Many streams for a long time: does anything fail, and does the client grow?

    python benchmarks/soak.py --streams 2000 --seconds 600 --itl 0.1 --csv docs/soak.csv --svg docs/soak.svg
    python benchmarks/soak.py --streams 10000 --seconds 60 --itl 1

Runs `genbench profile` in a closed loop against the embedded engine, each on cores of its own, and looks at the
client's resident memory every second. Printed are the outcomes, shared reads, how late the client's loop was, and the
slope of memory after the first minute (of a shorter run: its second half) until the last send, in MiB per minute. Both
processes need an open file for each stream and raise their own limit; the hard one (`ulimit -Hn`) must allow it.
Answers have `--tokens` tokens, give or take a quarter, so that streams end and begin all the time. The engine moves
each event by up to half a gap: 10,000 streams do not all speak at the same moment.
"""

import argparse
import csv
import json
import math
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from arena import ROOT, cores, pinned, placement, serving

sys.path.insert(0, str(ROOT))

from genbench.plots._look import LIGHT
from genbench.records import open_table, read_header

SAMPLE_S = 1.0
SETTLED_S = 60.0
SPARE_FILES = 200
PAGE_MIB = resource.getpagesize() / (1 << 20)
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Sample:
    """One look at the client: the moment (ns of the one clock), resident memory, CPU seconds so far."""

    t_ns: int
    rss_mib: float
    cpu_s: float


def look(pid: int) -> Sample | None:
    """Memory and CPU of a process now; None when it has ended."""
    with suppress(OSError, ValueError, IndexError):
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return Sample(time.perf_counter_ns(), pages * PAGE_MIB, (int(fields[11]) + int(fields[12])) / TICKS)
    return None


def watched(command: Sequence[str], limit_s: float) -> tuple[int, str, list[Sample]]:
    """Run a client to its end, looking at it every second: exit code, its last words, the samples."""
    samples: list[Sample] = []
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        until = time.monotonic() + limit_s
        while process.poll() is None:
            sample = look(process.pid)
            if sample is not None and sample.rss_mib:
                samples.append(sample)
            if time.monotonic() > until:
                os.killpg(process.pid, signal.SIGKILL)
            with suppress(subprocess.TimeoutExpired):
                process.wait(SAMPLE_S)
        log.seek(0)
        words = log.read().decode("utf-8", "replace")
    return process.returncode, words, samples


def client_command(given: argparse.Namespace, url: str, folder: str) -> list[str]:
    """The run itself."""
    answer_s = given.tokens * given.itl
    options = {
        "--url": url,
        "--concurrency": given.streams,
        "--duration": given.seconds,
        "--isl": 16,
        "--osl": given.tokens,
        "--osl-stddev": given.tokens / 4,
        "--warmup": 0,
        "--grace": math.ceil(3 * answer_s) + 10,
        "--artifact-dir": folder,
        "--name": "soak",
    }
    words = [word for name, value in options.items() for word in (name, str(value))]
    return [*pinned(cores()[0]), sys.executable, "-m", "genbench", "profile", *words, "--quiet"]


def slope(samples: Sequence[Sample], begin_ns: int, end_ns: int) -> tuple[float, float]:
    """Growth in MiB per minute by least squares between two moments, and the fitted value at the first of them."""
    inside = [sample for sample in samples if begin_ns <= sample.t_ns <= end_ns]
    if len(inside) < 3:
        return math.nan, math.nan
    minutes = [(sample.t_ns - begin_ns) / 60e9 for sample in inside]
    growth, start = np.polyfit(minutes, [sample.rss_mib for sample in inside], 1)
    return float(growth), float(start)


def results(given: argparse.Namespace, folder: Path, samples: Sequence[Sample]) -> dict[str, Any]:
    """What is printed: from the run's own files, and from the samples."""
    health, table = read_header(folder)["health"], open_table(folder)
    summary = json.loads((folder / "summary.json").read_text())
    start_ns = health["measured_ns"]
    end_ns = start_ns + round(given.seconds * 1e9)
    begin_ns = start_ns + round(min(SETTLED_S, given.seconds / 2) * 1e9)
    growth, at_begin = slope(samples, begin_ns, end_ns)
    during = [sample for sample in samples if start_ns <= sample.t_ns <= end_ns]
    shared = table.event_shared[table.content.position]
    later = np.ones(shared.size, dtype=np.bool_)
    later[table.content.start[:-1][table.content.count > 0]] = False  # the engine writes the first with the role
    busy = (during[-1].cpu_s - during[0].cpu_s) / (during[-1].t_ns - during[0].t_ns) * 1e9 if len(during) > 1 else 0.0
    return {
        "streams": given.streams,
        "seconds": given.seconds,
        "itl_s": given.itl,
        "outcomes": summary["outcomes"],
        "verdict": summary["verdict"],
        "findings": [finding.get("text", "") for finding in summary["findings"]],
        "in_flight_max": health["in_flight_max"],
        "requests": len(table),
        "content_events": int(shared.size),
        "shared_reads_pct": 100 * float(shared[later].mean()) if later.any() else 0.0,
        "loop_lag_ms": {name: ns / 1e6 for name, ns in health.get("loop_lag_ns", {}).items() if name != "count"},
        "cpu_pct": 100 * busy,
        "rss_start_mib": during[0].rss_mib if during else math.nan,
        "rss_end_mib": during[-1].rss_mib if during else math.nan,
        "slope_mib_per_min": growth,
        "slope_from_s": (begin_ns - start_ns) / 1e9,
        "_fit": (start_ns, begin_ns, end_ns, at_begin),
    }


def rows(found: dict[str, Any], samples: Sequence[Sample]) -> list[dict[str, float | None]]:
    """The curve: seconds since the first send, resident memory, the fitted line where it holds, CPU since the last."""
    start_ns, begin_ns, end_ns, at_begin = found["_fit"]
    curve: list[dict[str, float | None]] = []
    last: Sample | None = None
    for sample in samples:
        fit = None
        if begin_ns <= sample.t_ns <= end_ns:
            fit = round(at_begin + found["slope_mib_per_min"] * (sample.t_ns - begin_ns) / 60e9, 3)
        cpu = None if last is None else round((sample.cpu_s - last.cpu_s) / (sample.t_ns - last.t_ns) * 1e11, 1)
        t_s = round((sample.t_ns - start_ns) / 1e9, 2)
        curve.append({"t_s": t_s, "rss_mib": round(sample.rss_mib, 2), "fit_mib": fit, "cpu_pct": cpu})
        last = sample
    return curve


def save(path: Path, curve: Sequence[dict[str, float | None]]) -> None:
    """The curve as a CSV file."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(curve[0]))
        writer.writeheader()
        writer.writerows(curve)
    print(f"wrote {path}")


def draw(path: Path, curve: Sequence[dict[str, float | None]], found: dict[str, Any]) -> None:
    """The curve as an SVG or PNG file; without vl-convert one sentence."""
    try:
        import vl_convert
    except ImportError:
        print("no picture: vl-convert-python is not installed; the numbers are in the CSV (--csv)")
        return
    x = {"field": "t_s", "type": "quantitative", "title": "Time since the first send (s)"}
    y = {"type": "quantitative", "title": "Resident memory of the client (MiB)"}
    fit = {"color": LIGHT.series[1], "strokeDash": [6, 4], "strokeWidth": 2}
    spec = {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "config": LIGHT.config(),
        "title": {
            "text": f"{found['streams']:,} streams, each an event every {found['itl_s']:g} s, {found['seconds']:g} s",
            "subtitle": f"dashed: {found['slope_mib_per_min']:+.2f} MiB per minute from {found['slope_from_s']:g} s on",
        },
        "data": {"values": [row for row in curve if 0 <= (row["t_s"] or 0) <= found["seconds"]]},
        "encoding": {"x": x},
        "layer": [
            {"mark": {"type": "line", "color": LIGHT.main}, "encoding": {"y": {"field": "rss_mib", **y}}},
            {"mark": {"type": "line", **fit}, "encoding": {"y": {"field": "fit_mib", **y}}},
        ],
    }
    if path.suffix == ".svg":
        path.write_text(vl_convert.vegalite_to_svg(spec))
    else:
        path.write_bytes(vl_convert.vegalite_to_png(spec, scale=2))
    print(f"wrote {path}")


def show(found: dict[str, Any]) -> None:
    """A few lines to read."""
    lag = found["loop_lag_ms"]
    print(f"outcomes   {', '.join(f'{name} {count:,}' for name, count in found['outcomes'].items())}")
    print(f"streams    {found['in_flight_max']:,} at once; {found['requests']:,} requests")
    print(f"events     {found['content_events']:,}; {found['shared_reads_pct']:.3f} % shared a read (first ones apart)")
    print(f"loop lag   {', '.join(f'{name} {value:.2f}' for name, value in lag.items())} ms")
    print(f"CPU        {found['cpu_pct']:.0f} % of a core")
    growth = f"{found['slope_mib_per_min']:+.2f} MiB per minute from {found['slope_from_s']:g} s on"
    print(f"memory     {found['rss_start_mib']:.1f} MiB at the start, {found['rss_end_mib']:.1f} at the end; {growth}")
    print(f"verdict    {found['verdict']} {'; '.join(found['findings'])}")


def main() -> int:
    """Run, print, keep; 1 when a request failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--streams", type=int, default=2000, help="requests in flight")
    parser.add_argument("--seconds", type=float, default=600, help="measured time")
    parser.add_argument("--itl", type=float, default=0.1, help="seconds between two events of a stream")
    parser.add_argument("--tokens", type=int, default=40, help="length of an answer, about")
    parser.add_argument("--csv", type=Path, help="file for the curve's numbers")
    parser.add_argument("--svg", type=Path, help="file for the picture, .svg or .png")
    parser.add_argument("--json", type=Path, help="file for everything printed")
    given = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < given.streams + SPARE_FILES:
        print(f"{given.streams} streams need {given.streams + SPARE_FILES} open files, the hard limit is {hard}")
        return 2
    print(f"{placement()}; open files up to {hard}")
    engine = [sys.executable, "-m", "genbench.simulator", "--ttft", f"{given.itl}s", "--itl", f"{given.itl}s"]
    with tempfile.TemporaryDirectory(prefix="soak") as folder:
        with serving([*engine, "--jitter", "0.5", "--truth-limit", "0"]) as url:
            limit_s = given.seconds + 4 * given.tokens * given.itl + 120
            code, words, samples = watched(client_command(given, url, folder), limit_s)
        run = Path(folder) / "soak"
        if not (run / "summary.json").is_file():
            print(f"the client ended with {code} and left no summary: {words[-600:]}")
            return 1
        found = results(given, run, samples)
    curve = rows(found, samples)
    show(found)
    if given.csv:
        save(given.csv, curve)
    if given.svg:
        draw(given.svg, curve, found)
    if given.json:
        given.json.write_text(json.dumps({name: value for name, value in found.items() if name != "_fit"}, indent=1))
    failed = {name for name in found["outcomes"] if name not in ("ok", "no_output", "cancelled")}
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
