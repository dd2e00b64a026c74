"""The truth table: what each client reports, beside what the server wrote down of the same requests.

    python benchmarks/truth.py                      # a minute with nothing but genbench and the two loops
    PATH=/where/peers/are:$PATH python benchmarks/truth.py --rounds 3 --tls

The embedded engine answers from a script (first token after 50 ms, then one every 20 ms, 200 streams at once) and logs
the kernel's receive stamp of each request's last byte and the monotonic time just before each write. Errors:

    TTFT          (reported TTFT) - (server's first write - server's receive stamp)
    inter-chunk   (gap between two events as reported) - (gap between the server's two writes)

Both as absolute values over all requests (gaps) of a run; every figure is the median of `--rounds` interleaved runs.
CPU per event is user + system time of the client's processes, less that of a run with a single request.
"""

import argparse
import json
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import arena
import numpy as np
import peers
from arena import Scenario
from peers import Client, Found

from genbench.studies.truth import Logged, gap_errors_ns, logged, pairs, quantiles_ms


def judge(found: Found, log: list[Logged]) -> dict[str, Any]:
    """The figures of one run, in ms; a figure is absent where the client gives no way to tell."""
    matched = pairs(found.requests, log)
    errors = [mine.ttft_ns - theirs.ttft_ns for mine, theirs in matched]
    true_gaps = [np.diff(theirs.writes_ns) for _, theirs in matched]
    gaps = [
        mine.gaps_ns
        for (mine, _), true in zip(matched, true_gaps, strict=True)
        if mine.gaps_ns is not None and mine.gaps_ns.size == true.size
    ]
    empty = np.zeros(0, dtype=np.int64)
    figures = {
        "ttft": quantiles_ms((one.ttft_ns for one in found.requests), 50, 90, 99),
        "true_ttft": quantiles_ms((one.ttft_ns for _, one in matched), 50, 90, 99),
        "error": quantiles_ms(map(abs, errors), 50, 99),
        "reused": quantiles_ms([abs(e) for e, (_, one) in zip(errors, matched, strict=True) if one.reused], 50, 99),
        "bias": quantiles_ms(errors, 50),
        "gap": quantiles_ms(np.concatenate([empty, *gaps]), 50, 99),
        "true_gap": quantiles_ms(np.concatenate([empty, *true_gaps]), 50, 99),
        "gap_error": quantiles_ms(gap_errors_ns(matched), 50, 99),
    }
    counts = {"requests": len(found.requests), "matched": len(matched), "logged": len(log)}
    return counts | {name: value for name, value in figures.items() if value is not None}


@dataclass
class Tally:
    """All runs of one client."""

    client: Client
    skipped: str = ""
    idle_cpu_s: float = 0.0
    idle_events: int = 0
    runs: list[dict[str, Any]] = field(default_factory=list)

    def median(self, name: str, at: int = 0) -> float | None:
        """The median over the rounds of a figure's `at`-th value; None where it was never given."""
        found = [run[name][at] if isinstance(run[name], list) else run[name] for run in self.runs if name in run]
        return statistics.median(found) if found else None


def one_run(tally: Tally, scenario: Scenario, *, idle: bool) -> None:
    """One client against a cleared log; without result it is out for good, and the reason kept."""
    arena.ask(scenario.url + "/truth", scenario.ca, "DELETE")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        client = tally.client
        cost = arena.run_client(client.command(scenario, folder), scenario.limit_s, client.env(scenario))
        tally.skipped = arena.complaint(cost, scenario.limit_s)
        if tally.skipped:
            return
        log = logged(arena.ask(scenario.url + "/truth", scenario.ca)["requests"])
        events = sum(one.events for one in log)
        if idle:
            tally.idle_cpu_s, tally.idle_events = cost.cpu_s, events
            return
        try:
            found = client.read(folder)
        except (OSError, KeyError, ValueError, IndexError) as error:
            tally.skipped = f"its output cannot be read: {error!r}"
            return
    run = judge(found, log) | {"facts": dict(found.facts), "cpu_s": cost.cpu_s, "wall_s": cost.wall_s, "events": events}
    run["cpu_us_per_event"] = (cost.cpu_s - tally.idle_cpu_s) * 1e6 / (events - tally.idle_events)
    if "logged_ns" in found.facts:
        load_s = cost.cpu_between_s(found.facts["first_sent_ns"], found.facts["logged_ns"])
        run["load_us_per_event"] = load_s * 1e6 / events
    tally.runs.append(run)


def measure(tallies: Sequence[Tally], scenario: Scenario, rounds: int) -> None:
    """A run with one request each, then the rounds, one client after the other in each."""
    for k in range(-1, rounds):
        for tally in tallies:
            if not tally.skipped:
                say = "one request" if k < 0 else f"round {k + 1}/{rounds}"
                print(f"  {tally.client.name}: {say}", flush=True)
                one_run(tally, replace(scenario, streams=1, requests=1) if k < 0 else scenario, idle=k < 0)


# -- showing ----------------------------------------------------------------------------------------------------------

COLUMNS = (
    ("TTFT p50", "ttft", 0),
    ("p90", "ttft", 1),
    ("p99", "ttft", 2),
    ("truth p50", "true_ttft", 0),
    ("p90", "true_ttft", 1),
    ("p99", "true_ttft", 2),
    ("error p50", "error", 0),
    ("p99", "error", 1),
    ("reused p99", "reused", 1),
    ("gap p50", "gap", 0),
    ("p99", "gap", 1),
    ("truth p50", "true_gap", 0),
    ("p99", "true_gap", 1),
    ("error p50", "gap_error", 0),
    ("p99", "gap_error", 1),
)


def show(tallies: Sequence[Tally]) -> None:
    """The table (ms), CPU, and who was left out."""
    for title, columns in (("time to first token, ms", COLUMNS[:9]), ("gap between two tokens, ms", COLUMNS[9:])):
        widths = [max(8, len(name)) + 1 for name, _, _ in columns]
        print(f"\n{title:<26}" + "".join(f"{c[0]:>{width}}" for c, width in zip(columns, widths, strict=True)))
        for tally in (one for one in tallies if one.runs):
            cells = [tally.median(name, at) for _, name, at in columns]
            texts = ["-" if cell is None else f"{cell:.3f}" for cell in cells]
            line = "".join(f"{text:>{width}}" for text, width in zip(texts, widths, strict=True))
            print(f"{tally.client.name:<26}{line}")
    loop = next((one for one in tallies if one.client.name == "aiohttp loop" and one.runs), None)
    base = loop.median("cpu_us_per_event") if loop else None
    print(f"\n{'CPU per event':<26}{'us':>9}{'of aiohttp loop':>17}{'wall s':>9}{'matched':>10}")
    for tally in (one for one in tallies if one.runs):
        cpu = tally.median("cpu_us_per_event") or 0.0
        ratio = f"{cpu / base:.2f}" if base else "-"
        matched = "/".join(str(tally.runs[-1][name]) for name in ("matched", "requests"))
        print(f"{tally.client.name:<26}{cpu:>9.1f}{ratio:>17}{tally.median('wall_s') or 0:>9.1f}{matched:>10}")
        inside = tally.median("load_us_per_event")
        if inside is not None:
            print(f"{'  from first send to log':<26}{inside:>9.1f}{f'{inside / base:.2f}' if base else '-':>17}")
            facts = tally.runs[-1]["facts"]
            print(
                f"  {facts['stamp_source']}; tokens that shared a read (last run): {facts['shared_first']} first ones, "
                f"with their role event, and {facts['shared_later']} later ones of {facts['content_events']}"
            )
    for tally in tallies:
        if tally.skipped:
            print(f"left out: {tally.client.name}: {tally.skipped}")


def verdicts(tallies: Sequence[Tally], *, tls: bool) -> list[dict[str, Any]]:
    """genbench against its targets."""
    genbench = tallies[0]
    bounds = [("TTFT error p99, ms", genbench.median("error", 1), 1.0)]
    if tls:
        bounds += [("inter-chunk error p99, ms", genbench.median("gap_error", 1), 0.3)]
    else:
        bounds.insert(0, ("TTFT error p50, ms", genbench.median("error", 0), 0.1))
        bounds += [("inter-chunk error p99, ms", genbench.median("gap_error", 1), 0.1)]
    loop = next((one.median("cpu_us_per_event") for one in tallies if one.client.name == "aiohttp loop"), None)
    for text, name in (("whole process", "cpu_us_per_event"), ("first send to log", "load_us_per_event")):
        own = genbench.median(name)
        if loop and own:
            bounds.append((f"CPU per event, {text}, of the aiohttp loop's", own / loop, 0.6))
    return [
        {"target": text, "bound": bound, "value": value, "pass": value is not None and value <= bound}
        for text, value, bound in bounds
    ]


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--streams", type=int, default=200, help="requests in flight")
    parser.add_argument("--repeats", type=int, default=2, help="requests per stream")
    parser.add_argument("--tokens", type=int, default=100, help="tokens of each answer")
    parser.add_argument("--ttft-ms", type=float, default=50.0, help="the script's first token")
    parser.add_argument("--itl-ms", type=float, default=20.0, help="and the gap after each")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved repeats of everything")
    parser.add_argument("--tls", action="store_true", help="https with a certificate made on the spot")
    parser.add_argument("--clients", default="", help="names to keep, comma-separated; empty: all")
    parser.add_argument("--limit", type=float, default=120.0, help="seconds for one client's run")
    parser.add_argument("--json", type=Path, default=None, help="write all figures to this file")
    return parser.parse_args()


def main() -> None:
    """Measure, show, judge."""
    given = arguments()
    names = [name.strip().lower() for name in given.clients.split(",") if name.strip()]
    chosen = [one for one in peers.ALL if not names or one is peers.ALL[0] or one.name.lower() in names]
    tallies = [Tally(one, one.missing()) for one in chosen]
    print(arena.placement())
    with tempfile.TemporaryDirectory() as name:
        ca = arena.make_certificate(Path(name) / "both.pem") if given.tls else None
        tokenizer = arena.make_tokenizer(Path(name) / "tokenizer")
        with arena.serving(arena.engine_command(given.ttft_ms, given.itl_ms, ca)) as url:
            model = arena.ask(url + "/v1/models", ca)["data"][0]["id"]
            requests = given.streams * given.repeats
            scenario = Scenario(url, model, given.streams, requests, given.tokens, ca, tokenizer, given.limit)
            measure(tallies, scenario, given.rounds)
    show(tallies)
    found = verdicts(tallies, tls=given.tls)
    print()
    for one in found:
        value = "-" if one["value"] is None else f"{one['value']:.3f}"
        print(f"{'pass' if one['pass'] else 'MISS'}  {one['target']}: {value} (target <= {one['bound']})")
    if given.json is not None:
        settings = {key: str(value) if isinstance(value, Path) else value for key, value in vars(given).items()}
        runs = {one.client.name: {"skipped": one.skipped, "runs": one.runs} for one in tallies}
        data = {"placement": arena.placement(), "settings": settings, "targets": found, "clients": runs}
        given.json.write_text(json.dumps(data, indent=1))


if __name__ == "__main__":
    main()
