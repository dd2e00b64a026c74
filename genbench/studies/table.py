"""The table of a sweep in plain ASCII: one line for each point, at most 100 columns."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from genbench.block import number

LOADS = {"concurrency": "concurrency", "request_rate": "request rate (req/s)"}
GROUP = 12
LOAD = 8
WIDE, NARROW = 8, 7
TTFT, ITL = ("p50", "p95", "p99"), ("p50", "p95")
LEGEND = "slo: a promise is missed; sat: in flight grew without bound, the point was ended early"


def head(by: str, *, grouped: bool, embeddings: bool = False) -> list[str]:
    """Two lines: what the columns are."""
    first = " " * (GROUP + 1) * grouped + " " * (LOAD + 2 * WIDE)
    first += "TTFT (ms)".rjust(WIDE * len(TTFT)) + "ITL (ms)".rjust(NARROW * len(ITL)) + "latency".rjust(WIDE)
    cells = ["lengths".ljust(GROUP + 1)] if grouped else []
    cells += [("conc." if by == "concurrency" else "rate").rjust(LOAD), "req/s".rjust(WIDE)]
    cells += [("input/s" if embeddings else "token/s").rjust(WIDE)]
    cells += [name.rjust(WIDE) for name in TTFT] + [name.rjust(NARROW) for name in ITL] + ["p95".rjust(WIDE)]
    return [first, "".join(cells) + "  verdict"]


def line(entry: Mapping[str, Any], *, grouped: bool) -> str:
    """A point, from its entry in `sweep.json`."""
    metrics, run = entry["metrics"], entry["run"]
    group = str(entry["group"])
    cells = [(group if len(group) <= GROUP else group[: GROUP - 1] + "~").ljust(GROUP + 1)] if grouped else []
    load = f"{entry['value']:g}" + (f" #{entry['repeat'] + 1}" if entry["repeat"] else "")
    cells += [load.rjust(LOAD), _figure(run, "request_throughput").rjust(WIDE)]
    tokens = "embedding_throughput" if "embedding_throughput" in run else "output_token_throughput"
    cells += [_figure(run, tokens).rjust(WIDE)]
    cells += [_stat(metrics, ("ttft",), stat).rjust(WIDE) for stat in TTFT]
    cells += [_stat(metrics, ("itl", "tpot"), stat).rjust(NARROW) for stat in ITL]
    cells += [_stat(metrics, ("request_latency",), "p95").rjust(WIDE)]
    marks = [str(entry["verdict"])]
    marks += ["slo"] if any(not one["passed"] for one in entry["slo"]) else []
    marks += ["sat"] if entry["saturated"] else []
    return "".join(cells) + "  " + " ".join(marks)


def table(by: str, entries: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Head, a line for each point, and what the marks mean where there are some."""
    grouped = any(entry["group"] for entry in entries)
    yield from head(by, grouped=grouped, embeddings=any("embedding_throughput" in entry["run"] for entry in entries))
    for entry in entries:
        yield line(entry, grouped=grouped)
    if marked(entries):
        yield LEGEND


def marked(entries: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a mark stands somewhere."""
    return any(entry["saturated"] or any(not one["passed"] for one in entry["slo"]) for entry in entries)


def _figure(run: Mapping[str, Any], key: str) -> str:
    return number(run[key]["value"]) if key in run else "-"


def _stat(metrics: Mapping[str, Any], keys: Sequence[str], stat: str) -> str:
    found = next((metrics[key].get(stat) for key in keys if key in metrics), None)
    return number(found, "ms")
