"""The server's side on the page: what it and its GPUs said, and what that explains of the client's numbers."""

from collections.abc import Mapping
from typing import Any

from genbench.block import number
from genbench.metrics.summary import Run
from genbench.report.markup import Html, e, table
from genbench.telemetry.figures import Server
from genbench.telemetry.vocabulary import BY_KEY

GIB = 2.0**30
HEADS = {"gauge": "States, in the scrapes of the measured time", "counter": "Counted in the measured time"}
KINDS = (
    ("gauge", {"mean": "mean", "min": "min", "max": "max", "p95": "p95", "idle": "before the load"}),
    ("counter", {"delta": "in all", "per_s": "per second"}),
)
EXPECTED = ("running", "waiting", "kv_cache_pct", "prefix_hits", "generation_tokens", "ttft", "queue")
DERIVED = {
    "ttft_outside": ("TTFT outside the engine", "the client's mean less the engine's: network, HTTP front"),
    "ttft_in_queue": ("TTFT in the queue", "mean time in the engine's queue"),
    "prefix_hit_pct": ("Prefix hit rate", "hits / queries of the measured window"),
    "energy": ("Energy", "of all GPUs in the measured window"),
    "energy_per_output_token": ("Energy per output token", "that, divided by the output tokens of ok requests"),
}  # fmt: skip


def section(run: Run, prefix: str = "") -> Html | None:
    """Two tables; nothing where nobody was asked."""
    server = run.server
    if server is None:
        return None
    asked = [
        f"{one.url} ({one.dialect or 'no known engine'}): {len(one.good):,} of {len(one.scrapes):,} scrapes"
        for one in server.told
    ]
    return e(
        "section",
        e("h2", "The server's side"),
        e("p", f"Told by {'; '.join(asked)}.", class_="note"),
        _tables(server.metrics, "what servers and GPUs said"),
        _histograms(server, run),
        _derived(server),
        [
            e("details", e("summary", e("h3", f"GPU {name}")), _tables(one, f"what GPU {name} said"))
            for name, one in server.gpus.items()
        ],
        e("ul", [e("li", e("bdi", said)) for said in server.notes]) if server.notes else None,
        _absent(server),
        id=f"{prefix}server",
    )


def _tables(metrics: Mapping[str, Mapping[str, Any]], what: str) -> list[Html | None]:
    """Gauges, then counters; those of one kind may be missing."""
    return [_table(metrics, *one, what) for one in KINDS]


def _table(metrics: Mapping[str, Mapping[str, Any]], kind: str, columns: Mapping[str, str], what: str) -> Html | None:
    rows = []
    for key, one in metrics.items():
        measure = BY_KEY[key]
        if measure.kind == kind:
            cells = [e("td", _said(one.get(name), measure.unit), class_="n") for name in columns]
            rows.append(e("tr", _name(measure.label, measure.unit), cells, e("td", measure.meaning, class_="note")))
    made = table(f"{kind.capitalize()}s: {what}", ("", *columns.values(), ""), rows, class_="wide")
    return e("div", e("h3", HEADS[kind]), made, class_="told") if rows else None


def _histograms(server: Server, run: Run) -> Html | None:
    """The engine's own latencies beside the client's of the same name."""
    client = {"ttft": "ttft", "itl": "itl", "tpot": "tpot", "e2e": "request_latency"}
    rows = []
    for key, one in server.metrics.items():
        if BY_KEY[key].kind != "histogram":
            continue
        own = run.summary.metrics.get(client.get(key, ""))
        cells = [_said(one.get(name), "ms") for name in ("mean", "p50", "p95", "p99")]
        cells += [number(own.stats[name], "ms") if own is not None else "-" for name in ("mean", "p50", "p95", "p99")]
        label = _name(BY_KEY[key].label, "ms")
        rows.append(
            e("tr", label, [e("td", cell, class_="n") for cell in (f"{one['count']:,}", *cells)],
              e("td", BY_KEY[key].meaning, class_="note"))
        )  # fmt: skip
    if not rows:
        return None
    head = ("", "count", "mean", "p50", "p95", "p99", "client's mean", "p50", "p95", "p99", "")
    said = (
        "The engine's percentiles are from its buckets, on a line inside each: as coarse as these are. Its means are "
        "exact. They are of what it ended from the scrape before the measured time to the one after it."
    )
    made = table("The engine's latencies beside the client's", head, rows, class_="wide")
    return e("div", e("h3", "Latencies in the engine"), made, e("p", said, class_="note"), class_="told")


def _derived(server: Server) -> Html | None:
    rows = []
    for key, one in server.derived.items():
        label, meaning = DERIVED[key]
        share = (
            f"{one['share_pct']:.1f} % of the client's mean TTFT" if "share_pct" in one else str(one.get("source", ""))
        )
        rows.append(
            e("tr", _name(label, one["unit"]), e("td", number(one["value"], one["unit"]), class_="n"), e("td", share),
              e("td", meaning, class_="note"))
        )  # fmt: skip
    made = table("What follows", ("", "Value", "", ""), rows, class_="run")
    return e("div", e("h3", "What follows"), made, class_="told") if rows else None


def _absent(server: Server) -> Html | None:
    if not any(one.role == "server" and one.dialect for one in server.told):
        return None
    missing = [BY_KEY[key].label for key in EXPECTED if key not in server.metrics]
    missing = [name for name in missing if not (name == "Prefix hits" and "prefix_hit_pct" in server.metrics)]
    return e("p", f"Not told by this server: {', '.join(missing)}.", class_="note") if missing else None


def _name(label: str, unit: str) -> Html:
    return e("th", label, e("span", f" {'GiB' if unit == 'bytes' else unit}", class_="unit"), scope="row")


def _said(value: float | None, unit: str) -> str:
    if value is None:
        return "-"
    return number(value / GIB if unit == "bytes" else value, unit)
