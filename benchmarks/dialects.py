"""Dialects against the tools themselves: each tool's own figures beside what `genbench report --dialect` makes of ours.

    PATH=$PATH:/where/peers/are python benchmarks/dialects.py      # three minutes with all three tools

The embedded engine answers the tool and genbench from the same script, at low concurrency, each in a run of its own.
"its own" is the tool's figure of its run, "dialect" ours in its definition, "genbench" ours in our own. A tool's figure
holds its own lateness; a wrong definition would be far beyond it: with 8 tokens, a first token after 100 ms and 20 ms
between two, dividing by OSL - 1 instead of OSL is 14 %, leaving TTFT out a third. The second script makes definitions
show: the role event leaves on receipt, three tokens come per event, the first event is reasoning. The last two ask what
counts as a success.

Means and medians of requests are held to TOLERANCE, which is what the tools' lateness takes; figures of the whole run
to RUN_TOLERANCE: the time between an answer and the next request is in them. --tails shows tails and deviations, too.
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import arena
import peers
from arena import Scenario

from genbench.metrics.dialects import translate
from genbench.metrics.summary import Run, summarise
from genbench.records import open_table, read_header

MODEL = "simulated-model"
TTFT_MS, ITL_MS, JITTER = 100.0, 20.0, 0.3
TOLERANCE = 0.06
RUN_TOLERANCE = 0.15
SLACK_MS = 3.0  # of a time that is nearly nothing, like that to a role event that leaves at once
CENTRAL = frozenset(("", "Mean", "Median", "Mdn", "avg", "p50"))
Figures = Mapping[tuple[str, str], float]  # (the dialect's row, its statistic) -> the tool's own


@dataclass(frozen=True)
class Script:
    """What the engine does, and for how many tokens it is asked."""

    says: str
    tokens: int
    faults: tuple[str, ...] = ()
    share: float = 1.0
    spreads: bool = True


SCRIPTS = (
    Script("plain: the role event with the first token, one token per event", 8),
    Script(
        "early role, three tokens per event, the first event is reasoning",
        12,
        ("early_role", "multi_token:3", "reasoning:1"),
    ),
    Script("every fourth answer ends in an in-band error after three tokens", 8, ("inband_error:3",), 0.25, False),
    Script("every fourth answer is cut off after three tokens", 8, ("cut:3",), 0.25, False),
)


# -- what the tools say -----------------------------------------------------------------------------------------------


def vllm(folder: Path) -> Figures:
    """The result file of `vllm bench serve`."""
    report = json.loads((folder / "vllm.json").read_bytes())
    found = {
        ("Successful requests", ""): report["completed"],
        ("Benchmark duration", ""): report["duration"],
        ("Total generated tokens", ""): report["total_output_tokens"],
        ("Request throughput", ""): report["request_throughput"],
        ("Output token throughput", ""): report["output_throughput"],
        ("Peak output token throughput", ""): report["max_output_tokens_per_s"],
        ("Peak concurrent requests", ""): report["max_concurrent_requests"],
    }
    for name in ("TTFT", "TPOT", "ITL", "E2EL"):
        for stat, key in (("Mean", "mean"), ("Median", "median"), ("P99", "p99"), ("std (result file)", "std")):
            found[name, stat] = report[f"{key}_{name.lower()}_ms"]
    return found


def aiperf(folder: Path) -> Figures:
    """AIPerf's profile_export_aiperf.json."""
    report = json.loads((folder / "aiperf" / "profile_export_aiperf.json").read_bytes())
    spreads = {
        "Time to First Token": "time_to_first_token",
        "Time to Second Token": "time_to_second_token",
        "Time to First Output Token": "time_to_first_output_token",
        "Request Latency": "request_latency",
        "Decode Duration": "decode_duration",
        "Inter Token Latency": "inter_token_latency",
        "Inter Chunk Latency": "inter_chunk_latency",
        "Output Token Throughput Per User": "output_token_throughput_per_user",
        "E2E Output Token Throughput": "e2e_output_token_throughput",
        "Output Sequence Length": "output_sequence_length",
    }
    whole = {
        "Output Token Throughput": "output_token_throughput",
        "Request Throughput": "request_throughput",
        "Benchmark Duration": "benchmark_duration",
        "Request Count": "request_count",
    }
    found = {(name, ""): report[tag]["avg"] for name, tag in whole.items()}
    for name, tag in spreads.items():
        for stat in ("avg", "p50", "p99", "std"):
            if tag in report:
                found[name, stat] = report[tag][stat]
    return found


def guidellm(folder: Path) -> Figures:
    """GuideLLM's report."""
    benchmark = json.loads((folder / "guidellm.json").read_bytes())["benchmarks"][0]
    metrics = benchmark["metrics"]
    found = {
        ("Requests Comp", ""): metrics["request_totals"]["successful"],
        ("Output Tokens Comp", ""): metrics["output_token_count"]["successful"]["total_sum"],
        ("Requests Per Sec Mean", ""): metrics["requests_per_second"]["total"]["mean"],
        ("Output Tokens Per Sec Mean", ""): metrics["output_tokens_per_second"]["total"]["mean"],
        ("Timings Dur", ""): benchmark["duration"],
        ("Requests Concurrency", "Mean"): metrics["request_concurrency"]["total"]["mean"],
    }
    for name, key in (
        ("Request Latency", "request_latency"),
        ("TTFT", "time_to_first_token_ms"),
        ("TTFOT", "time_to_first_output_token_ms"),
        ("ITL", "inter_token_latency_ms"),
        ("TPOT", "time_per_output_token_ms"),
    ):
        own = metrics[key]["successful"]
        found |= {(name, "Mean"): own["mean"], (name, "Mdn"): own["median"], (name, "p95"): own["percentiles"]["p95"]}
        found[name, "std_dev (report)"] = own["std_dev"]
    return found


@dataclass(frozen=True)
class Tool:
    """A tool that is run: its dialect, its entry in `peers`, how to read what it says, and options of its own.

    `tokenises` names the rows that it makes from the text where the server sent no usage; the log has no text.
    """

    dialect: str
    client: str
    read: Callable[[Path], Figures]
    more: tuple[str, ...] = ()
    tokenises: frozenset[str] = frozenset()


VLLM_TOKENISES = frozenset(("Total generated tokens", "Output token throughput", "TPOT"))
TOOLS = (
    Tool("vllm", "vllm bench serve", vllm, ("--percentile-metrics", "ttft,tpot,itl,e2el"), VLLM_TOKENISES),
    Tool("aiperf", "AIPerf", aiperf),
    Tool("guidellm", "GuideLLM", guidellm),
)


# -- the runs ---------------------------------------------------------------------------------------------------------


def engine(script: Script) -> list[str]:
    """The embedded engine's command line."""
    command = [*arena.engine_command(TTFT_MS, ITL_MS, None), "--jitter", str(JITTER)]
    command += ["--fault-share", str(script.share)]
    return [*command, *(word for fault in script.faults for word in ("--fault", fault))]


def run_one(client: peers.Client, more: tuple[str, ...], script: Script, args: argparse.Namespace, folder: Path) -> str:
    """One client against a fresh engine; why it gave nothing, or nothing."""
    if client.missing():
        return client.missing()
    folder.mkdir(exist_ok=True)
    with arena.serving(engine(script)) as url:
        scenario = Scenario(
            url, MODEL, args.streams, args.requests, script.tokens, None, args.tokenizer, limit_s=args.limit
        )
        command = [*client.command(scenario, folder), *more]
        return arena.complaint(arena.run_client(command, args.limit, client.env(scenario)), args.limit)


def opened(folder: Path) -> Run:
    """Our run, as `genbench report` reads it."""
    header = read_header(folder / "run.json")
    table = open_table(folder)
    return Run(header, table, summarise(table, header), folder)


def compare(tool: Tool, own: Figures, run: Run, *, spreads: bool) -> list[dict[str, Any]]:
    """Each figure that the tool and its dialect both have."""
    found, rows = translate(tool.dialect, run), []
    no_text = any("without a token count" in note for note in found.notes)
    for row in found.rows:
        for one in row.figures:
            theirs = own.get((row.name, one.stat))
            if theirs is None or not isinstance(one.theirs, float | int) or (one.stat and not spreads):
                continue
            ratio = theirs / one.theirs if one.theirs else float(theirs == one.theirs)
            near = row.unit == "ms" and abs(theirs - one.theirs) <= SLACK_MS
            whole = not one.stat or row.name == "Requests Concurrency"
            verdict = "" if near or abs(ratio - 1) <= (RUN_TOLERANCE if whole else TOLERANCE) else "MISS"
            if no_text and row.name in tool.tokenises:
                verdict = "not rebuilt"
            rows.append(
                {
                    "row": row.name,
                    "stat": one.stat,
                    "unit": row.unit,
                    "tool": theirs,
                    "dialect": one.theirs,
                    "genbench": one.ours,
                    "ratio": ratio,
                    "verdict": verdict if one.stat in CENTRAL else "tail",
                }
            )
    return rows


def show(tool: Tool, rows: list[dict[str, Any]], *, tails: bool) -> int:
    """The table of one tool; returns how many figures missed the tolerance."""
    print(f"\n{tool.client:<54}{'its own':>9}{'dialect':>9}{'ratio':>7}{'genbench':>10}")
    for one in rows:
        if one["verdict"] == "tail" and not tails:
            continue
        unit = f"({one['unit']})" if one["unit"] else ""
        name = " ".join(word for word in (one["row"], one["stat"], unit) if word)
        ours = "-" if one["genbench"] is None else f"{one['genbench']:.4g}"
        mark = "" if one["verdict"] in ("", "tail") else f"  {one['verdict']}"
        print(f"{name:<54}{one['tool']:>9.4g}{one['dialect']:>9.4g}{one['ratio']:>7.3f}{ours:>10}{mark}")
    return sum(one["verdict"] == "MISS" for one in rows)


def main() -> None:
    """All scripts, all tools that are there."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--streams", type=int, default=4, help="requests in flight [4]")
    parser.add_argument("--requests", type=int, default=40, help="requests of each client [40]")
    parser.add_argument("--limit", type=float, default=120, help="seconds that a client may take [120]")
    parser.add_argument("--script", type=int, choices=range(len(SCRIPTS)), help="one script only, counted from 0")
    parser.add_argument("--only", choices=[tool.dialect for tool in TOOLS], help="one tool only")
    parser.add_argument("--tails", action="store_true", help="show tails and standard deviations, too")
    parser.add_argument("--json", type=Path, help="keep all figures in this file")
    args = parser.parse_args()
    clients = {client.name: client for client in peers.ALL}
    kept: dict[str, Any] = {}
    misses = 0
    print(arena.placement())
    with tempfile.TemporaryDirectory() as name:
        args.tokenizer = arena.make_tokenizer(Path(name) / "tokenizer")
        for script in SCRIPTS if args.script is None else [SCRIPTS[args.script]]:
            print(f"\n== {script.says}; {args.requests} requests, {args.streams} at a time, {script.tokens} tokens")
            place = Path(name) / str(SCRIPTS.index(script))
            place.mkdir()
            folder = place / "genbench"
            said = run_one(clients["genbench"], (), script, args, folder)
            if said:
                raise SystemExit(f"genbench: {said}")
            run = opened(folder / "run")
            for tool in TOOLS:
                if args.only not in (None, tool.dialect):
                    continue
                folder = place / tool.dialect
                said = run_one(clients[tool.client], tool.more, script, args, folder)
                if said:
                    print(f"\nleft out: {tool.client}: {said}")
                    continue
                rows = kept[f"{tool.dialect}: {script.says}"] = compare(
                    tool, tool.read(folder), run, spreads=script.spreads
                )
                misses += show(tool, rows, tails=args.tails)
    apart = f"{TOLERANCE:.0%} apart (figures of the whole run: {RUN_TOLERANCE:.0%})"
    print(f"\n{misses} of the means, medians and figures of the run are more than {apart}")
    if args.json:
        args.json.write_text(json.dumps(kept, indent=2))


if __name__ == "__main__":
    main()
