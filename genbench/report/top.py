"""The first screen: what was measured on what, whether to believe it, the four numbers that matter, the promises.

The three latencies of a generation are given at p95: nineteen of twenty requests were at least that quick. p95 wants 90
requests, which a run of the default 100 has; p99 wants 459. Where a percentile has too few requests behind it, the
highest that has enough stands in its place and says so. The fourth number is the output throughput, what the server
delivered. Embeddings, answered in one piece, are given at p50 and p99, with answers and inputs per second.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from genbench import loads
from genbench.block import about, block, number
from genbench.metrics.definitions import by_key
from genbench.metrics.summary import LIMITED, Run
from genbench.metrics.verdict import INVALID, SUSPECT, VALID
from genbench.report.markup import Html, e, join, row, table
from genbench.types import Distribution, Finding, SloResult, Summary

TAILS = ("p99", "p95", "p90", "p50")
SAYS = {
    VALID: "No bound was passed: these numbers can be used.",
    SUSPECT: "Read the finding before you use these numbers.",
    INVALID: "Do not use these numbers.",
}
SIGNS = {VALID: "✓", SUSPECT: "!", INVALID: "✕"}


@dataclass(frozen=True, slots=True)
class Headline:
    """One of the numbers that matter: `metric.stat` (stat "" for a figure of the run) and what is said beside it."""

    key: str
    stat: str
    label: str
    value: str
    unit: str
    interval: str
    count: str
    beside: str


def part(header: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    """A part of the header; empty where it is not there."""
    found: Any = header
    for key in path:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def model(run: Run) -> str:
    """The model's name as the server has it."""
    name = run.header.get("model") or part(run.header, "config", "target").get("model")
    return str(name) if name else "model not named"


def load(run: Run) -> str:
    """The load in words."""
    asked = part(run.header, "config", "load")
    words, seconds = loads.sentence(asked), asked.get("duration_s")
    timed = [f"for {seconds:g} s"] if isinstance(seconds, int | float) else []
    return ", ".join([*([words] if words else []), *timed])


def marks(summary: Summary) -> list[Html]:
    """SIMULATED and INTERRUPTED, where they apply."""
    said = {
        "SIMULATED": "answered by genbench's embedded engine, not by a real server" if summary.simulated else "",
        "INTERRUPTED": "the run was stopped before its end" if summary.interrupted else "",
    }
    return [e("span", word, class_="mark", title=why) for word, why in said.items() if why]


def masthead(run: Run) -> Html:
    """Name, marks and the facts of the run."""
    words = ["genbench", str(run.header.get("genbench") or ""), "report"]
    return e(
        "header",
        e("p", " ".join(word for word in words if word), marks(run.summary), class_="over"),
        e("h1", model(run)),
        e("dl", [e("div", e("dt", name), e("dd", text)) for name, text in facts(run)], class_="facts"),
        class_="masthead",
    )


def facts(run: Run) -> list[tuple[str, str]]:
    """What was measured, on what, from where: (name, text), without what the header does not say."""
    header, summary = run.header, run.summary
    target, preflight, host = part(header, "config", "target"), part(header, "preflight"), part(header, "environment")
    urls = target.get("url")
    servers = "the embedded engine" if summary.simulated and not urls else ", ".join(map(str, urls or ()))
    counted = [f"{measured(summary):,}"]
    if "duration" in summary.run:
        counted.append(f"in {number(summary.run['duration'].value)} s")
    counted.append(f"after {summary.warmup_requests:,} for warm-up" if summary.warmup_requests else "without warm-up")
    machine = [str(host[key]) for key in ("host", "system") if host.get(key)]
    machine += [f"{host['cpus']} CPUs"] if host.get("cpus") else []
    kind = str(header.get("endpoint_type") or "")
    found = [
        ("Endpoint", " at ".join(word for word in (kind, servers) if word)),
        ("Load", load(run)),
        ("Work", work(run)),
        ("Requests", " ".join(counted)),
        ("Server version", str(preflight.get("version") or "")),
        *((name.capitalize(), text) for name, text in about(header).items()),
        ("Client", ", ".join(machine)),
        ("Measured by", ", ".join(word for word in (_stamps(header), _sources(summary)) if word)),
        ("Started", started(run)),
    ]
    return [(name, text) for name, text in found if text]


def measured(summary: Summary) -> int:
    """Requests of the measured phase, whatever became of them."""
    return sum(count for name, count in summary.outcomes.items() if name != LIMITED)


def work(run: Run) -> str:
    """What was asked: the source of the samples and their lengths."""
    asked = part(run.header, "config", "workload")
    source = str(asked.get("dataset") or asked.get("input_file") or "synthetic")
    lengths = [
        f"{asked[key]}{f' ± {asked[spread]:g}' if asked.get(spread) else ''} {what}"
        for key, spread, what in (("isl", "isl_stddev", "tokens in"), ("osl", "osl_stddev", "out"))
        if asked.get(key) is not None and (key == "isl" or run.header.get("endpoint_type") != "embeddings")
    ]
    lengths = [] if ":" in source else [f"{asked['isl_osl']} tokens in:out"] if asked.get("isl_osl") else lengths
    shared = asked.get("shared_prefix_tokens")
    lengths += [f"{shared} shared in front"] if shared else []
    lengths += [f"{asked['turns']} turns"] if asked.get("turns") else []
    together = [text.replace(" ", "\u00a0") for text in lengths]  # a line ends between them, not inside
    return ", ".join([source, *together]) if asked else ""


def _stamps(header: Mapping[str, Any]) -> str:
    source = part(header, "health").get("stamp_source")
    return f"times by {source}" if source else ""


def _sources(summary: Summary) -> str:
    found = [summary.sources.get(key, "none") for key in ("osl", "isl")]
    source = next((source for source in found if source != "none"), "")
    return f"tokens by {source}" if source else ""


def started(run: Run) -> str:
    """The wall clock's time of the first send, UTC; empty where the header has no zero or nothing was sent."""
    zero = part(run.header, "clock").get("zero_unix_ns")
    sent = run.table.sent_ns[run.table.sent_ns >= 0]
    if not isinstance(zero, int) or not sent.size:
        return ""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime((zero + int(sent.min())) / 1e9))


def verdict(summary: Summary, prefix: str = "") -> Html:
    """The verdict in a word and a colour, its findings and what to do next."""
    level = summary.verdict
    some = len(summary.findings)
    says = SAYS.get(level, "").replace("the finding", "the findings" if some > 1 else "the finding")
    return e(
        "section",
        e(
            "h2",
            e("span", SIGNS.get(level, ""), class_="sign", aria_hidden="true"),
            e("span", "Verdict: ", class_="heard"),
            level,
        ),
        e("p", says, _kept(summary), class_="says"),
        e("ul", [_finding(one, level) for one in summary.findings]) if some else None,
        class_=f"verdict {level.lower()}",
        id=f"{prefix}verdict",
    )


def _kept(summary: Summary) -> Html | None:
    """How many promises hold, for whom the verdict is not the only question."""
    if not summary.slo:
        return None
    kept, every = sum(result.passed for result in summary.slo), len(summary.slo)
    what = "the promise" if every == 1 else f"all {every} promises" if kept == every else f"{kept} of {every} promises"
    said = f"{what} kept" if kept else f"{what} missed" if every == 1 else f"none of {every} promises kept"
    return e("span", pill(kept == every), f" {said}", class_="kept")


def _finding(one: Finding, verdict_level: str) -> Html:
    grave = e("strong", f"{one.level}: ") if one.level != verdict_level else None
    return e(
        "li",
        e("p", grave, e("bdi", one.text), e("span", f" (bound {one.bound:.3g} {one.unit})", class_="note")),
        e("p", e("span", "Next: ", class_="next"), one.advice),
    )


def headlines(run: Run) -> list[Headline]:
    """The numbers that matter for this kind of endpoint; those the run does not have are left out."""
    summary = run.summary
    if not run.table.ok.any():
        return []
    if run.header.get("endpoint_type") == "embeddings" or not (run.table.ok & run.table.streamed).any():
        embeddings = run.header.get("endpoint_type") == "embeddings"
        found = [_latency(summary, "request_latency", "p50"), _latency(summary, "request_latency", "p99")]
        found = found[: 1 + (found[0] is not None and found[1] is not None and found[0].stat != found[1].stat)]
        names = ["request_throughput", "embedding_throughput" if embeddings else "output_token_throughput"]
        return [one for one in (*found, *(_rate(summary, name) for name in names)) if one is not None]
    between = next((key for key in ("tpot", "itl", "icl") if key in summary.metrics), "tpot")
    keys = ("ttft", between, "request_latency")
    shown = [*(_latency(summary, key, "p95") for key in keys), _rate(summary, "output_token_throughput")]
    if shown[-1] is None:
        shown[-1] = _rate(summary, "request_throughput")
    return [one for one in shown if one is not None]


def _latency(summary: Summary, key: str, wanted: str) -> Headline | None:
    found = summary.metrics.get(key)
    if found is None:
        return None
    stat = supported(found, wanted)
    said = f"too few requests for {wanted}" if stat != wanted else ""
    other = "mean" if stat == "p50" else "p50"
    beside = f"{other} {number(found.stats[other], found.unit)} {found.unit}"
    return Headline(
        key=key,
        stat=stat,
        label=by_key()[key].label,
        value=number(found.stats[stat], found.unit),
        unit=found.unit,
        interval=bounds(found.ci95.get(stat), found.unit),
        count=f"{found.count:,} {'tokens' if key == 'itl' else 'gaps' if key == 'icl' else requests(found.count)}",
        beside=", ".join(text for text in (beside, said) if text),
    )


def requests(count: int) -> str:
    """The word, in its number."""
    return "request" if count == 1 else "requests"


def supported(found: Distribution, wanted: str) -> str:
    """The wanted percentile, or the next lower one that has enough samples behind it."""
    if wanted not in TAILS:
        return wanted
    return next(name for name in TAILS[TAILS.index(wanted) :] if name not in found.few)


def bounds(interval: tuple[float | None, float | None] | None, unit: str) -> str:
    """An interval in words; where an end is not known it says which one is."""
    low, high = interval or (None, None)
    if low is None and high is None:
        return ""
    if low is None or high is None:
        return f"above {number(low, unit)}" if high is None else f"below {number(high, unit)}"
    return f"{number(low, unit)} – {number(high, unit)}"


def _rate(summary: Summary, key: str) -> Headline | None:
    found = summary.run.get(key)
    if found is None:
        return None
    steady = summary.run.get(f"steady_{key}")
    beside = f"steady {number(steady.value)} {steady.unit}" if steady is not None else ""
    ok = summary.outcomes.get("ok", 0)
    return Headline(
        key=key,
        stat="",
        label=by_key()[key].label,
        value=number(found.value, found.unit),
        unit=found.unit,
        interval=bounds(found.ci95, found.unit),
        count=f"{ok:,} ok {requests(ok)}",
        beside=beside,
    )


def cards(run: Run) -> Html:
    """The numbers that matter, each with its interval and its count."""
    found = headlines(run)
    if not found:
        why = "no request ended ok" if len(run.table) else "the log has no request"
        return e("p", f"No numbers: {why}.", class_="nothing")
    return e("div", [_card(one, run.summary.slo) for one in found], class_="cards")


def _card(one: Headline, slos: Sequence[SloResult]) -> Html:
    mine = [result for result in slos if (result.slo.metric, result.slo.stat) == (one.key, one.stat)]
    return e(
        "div",
        e("h3", e("a", one.label, href=f"#def-{one.key}"), " " if one.stat else None, one.stat or None),
        e("p", one.value, e("span", f" {one.unit}", class_="unit"), class_="big"),
        e("p", e("span", "95 % ", class_="note"), one.interval)
        if one.interval
        else e("p", "no interval: too few requests", class_="note"),
        e("p", " · ".join(text for text in (one.count, one.beside) if text), class_="note"),
        [e("p", pill(result.passed), " ", result.slo.text, class_="note") for result in mine],
        class_="card",
    )


def pill(passed: bool) -> Html:
    """PASS or FAIL, in a word and a colour."""
    return e("span", "PASS" if passed else "FAIL", class_="pill valid" if passed else "pill invalid")


def promises(summary: Summary, prefix: str = "") -> Html | None:
    """The SLOs: what was promised, what came, how many requests kept it."""
    if not summary.slo:
        return None
    rows = []
    for result in summary.slo:
        unit = by_key()[result.slo.metric].unit
        share = result.attainment_pct
        kept = None if share is None else join((e("span", f"{share:.4g} %"), _meter(share)))
        value = "no such value" if result.value is None else f"{number(result.value, unit)} {unit}"
        rows.append(row(e("code", result.slo.text), pill(result.passed), value, kept, numbers=False))
    every = summary.run.get("slo_attainment")
    said = f"{every.value:.4g} % of the requests kept every promise that a request can keep." if every else ""
    head = ("Promise (SLO)", "Result", "Measured", "Requests that keep it")
    return e(
        "section",
        e("h2", "Promises"),
        table("Promises, what was measured, and whether they hold", head, rows, class_="promises"),
        e("p", said, class_="note") if said else None,
        id=f"{prefix}promises",
    )


def _meter(share: float) -> Html:
    return e("span", e("span", style=f"width:{share:.2f}%"), class_="meter", aria_hidden="true")


def notes(run: Run) -> Html | None:
    """Sentences that a reader must see."""
    said = block(run, 100).notes
    if not said:
        return None
    return e("section", e("h2", "Worth knowing"), e("ul", [e("li", e("bdi", one)) for one in said]), class_="worth")
