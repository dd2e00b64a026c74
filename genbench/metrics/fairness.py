"""What makes a comparison unfair: what two runs do not share, one line for each thing, with both values.

Pure: `facts` takes from a run what is looked at, as plain data that a baseline file can hold; `lines` compares two of
them. A fact that a run does not tell (an imported one tells little) is None: it is never taken for a difference, and
one line says of which things that is so.

Values stand as "the base's against the other's". A line never hides a row by itself: `bars` names the metrics whose
two values would not be the same quantity.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from genbench import loads
from genbench.metrics.summary import Run
from genbench.metrics.verdict import VALID

LENGTHS_PCT = 2.0  # as for usage against tokenizer in a verdict
CACHED_POINTS = 1.0
LOAD = ("concurrency", "request_rate", "arrival", "burstiness", "ramp", "stages", "speed", "ramp_up_s")
FIELDS = ("temperature", "top_p", "request_seed")
CLIENT = ("host", "system", "cpus", "python")
LENGTHS = {"isl": "input", "osl": "output"}
COUNTED = {
    "isl": ("input tokens", ("input_token_throughput", "total_token_throughput", "prefill_tps")),
    "osl": (
        "output tokens",
        ("tpot", "ntpot", "output_tps_per_user", "output_token_throughput", "total_token_throughput"),
    ),
    "tokens_per_event": ("tokens of each chunk", ("itl",)),
}
OF_A_STREAM = ("ttft", "ttfo", "ttst", "icl", "itl", "tpot", "output_tps_per_user", "prefill_tps")
SHORT = {
    "stream": "only one was streamed",
    "promises": "the promises differ",
    "tokens_isl": "input tokens counted differently",
    "tokens_osl": "output tokens counted differently",
    "tokens_tokens_per_event": "tokens per chunk counted differently",
}
NONE = "none"


@dataclass(frozen=True, slots=True)
class Unfair:
    """One thing that is not the same: `bars` names the metrics that cannot be compared for it, "*" all."""

    key: str
    text: str
    bars: tuple[str, ...] = ()


# -- facts ------------------------------------------------------------------------------------------------------------


def facts(run: Run) -> dict[str, Any]:
    """What of a run is compared by `lines`; plain data. Every key of the header is optional."""
    header, summary = run.header, run.summary
    workload, target = _part(header, "config", "workload"), _part(header, "config", "target")
    health, own = _part(header, "health"), "imported" not in header
    urls = target.get("url")
    cached = summary.run.get("cached_input_pct")
    return {
        "endpoint_type": str(header.get("endpoint_type") or "chat"),
        "model": header.get("model") or target.get("model"),
        "simulated": bool(summary.simulated),
        "interrupted": bool(summary.interrupted),
        "imported": _imported(header),
        "requests": sum(count for name, count in summary.outcomes.items() if name != "http_429"),
        "dataset_sha256": header.get("dataset_sha256"),
        "offsets_sha256": header.get("offsets_sha256"),
        "seed": header.get("seed") if own else None,
        "salt": _salt(workload.get("salt")) if own else None,
        "load": {name: value for name in LOAD if (value := _part(header, "config", "load").get(name)) is not None},
        **{key: _length(summary.metrics.get(key)) for key in LENGTHS},
        "stream": _streamed(run),
        **{name: _sent(workload.get(name), own=own) for name in FIELDS},
        "ignore_eos": _part(header, "preflight").get("ignore_eos"),
        "extra": sorted(map(str, target.get("extra") or ())) if own else None,
        "sources": {key: summary.sources.get(key, NONE) for key in COUNTED},
        "tokenizer": (header.get("tokenizer") or "none") if own else None,
        "cached_pct": None if cached is None else round(cached.value, 3),
        "warmup": summary.warmup_requests if own or summary.warmup_requests else None,
        "transport": health.get("transport"),
        "stamps": health.get("stamp_source"),
        "engine": _part(header, "preflight").get("version"),
        "servers": max(len(urls), 1) if isinstance(urls, list) else 1 if own else None,
        "client": _client(header),
        "genbench": header.get("genbench") if own else None,
        "slo": [result.slo.text for result in summary.slo],
        "verdict": summary.verdict,
        "findings": [finding.text for finding in summary.findings],
    }


def _part(header: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    part: Any = header
    for key in path:
        part = part.get(key) if isinstance(part, Mapping) else None
    return part if isinstance(part, Mapping) else {}


def _imported(header: Mapping[str, Any]) -> str | None:
    """The tool whose file it was, with its version; None for a run of genbench's own."""
    about = _part(header, "imported")
    return " ".join(str(about[key]) for key in ("tool", "version") if about.get(key)) or None


def _salt(given: Any) -> str:
    return "new for each run" if given is None else "none" if given == "none" else "a text of the user's"


def _sent(value: Any, *, own: bool) -> Any:
    """A body field: "not sent" is known of a run of ours, of an imported one it is not."""
    return ("not sent" if own else None) if value is None else value


def _length(found: Any) -> dict[str, float] | None:
    if found is None:
        return None
    return {"median": float(found.stats["p50"]), "mean": float(found.stats["mean"])}


def _streamed(run: Run) -> bool | None:
    if run.header.get("endpoint_type") == "embeddings":
        return None
    ok = run.table.ok
    return bool(np.mean(run.table.streamed[ok]) > 0.5) if ok.any() else None


def _client(header: Mapping[str, Any]) -> str | None:
    here = _part(header, "environment")
    named = {name: here.get(name) for name in CLIENT}
    if not any(named.values()):
        return None
    cpus = f"{named['cpus']} CPUs" if named["cpus"] else ""
    python = f"Python {named['python']}" if named["python"] else ""
    return ", ".join(word for word in (named["host"], named["system"], cpus, python) if word)


# -- lines ------------------------------------------------------------------------------------------------------------


def lines(a: Mapping[str, Any], b: Mapping[str, Any], names: tuple[str, str]) -> list[Unfair]:
    """What the runs of two `facts` do not share, the gravest first; `names` are theirs, where only one is meant."""
    found = [line for rule in RULES for line in rule(a, b)]
    for name, one in zip(names, (a, b), strict=True):
        found += _doubts(name, one)
    return [*found, *_unknown(a, b, names)]


def barred(found: Sequence[Unfair]) -> dict[str, str]:
    """The metrics that the lines bar, each with a few words of why; the first line counts."""
    reasons: dict[str, str] = {}
    for line in found:
        for metric in line.bars:
            reasons.setdefault(metric, SHORT.get(line.key, line.text))
    return reasons


def of_side(sides: Sequence[Mapping[str, Any]], name: str) -> list[Unfair]:
    """What the repeats of one side do not share among each other, in one line; seeds and salts may differ."""
    differ: dict[str, None] = {}
    for one in sides[1:]:
        pair = [line for rule in RULES for line in rule(sides[0], one)]
        differ |= dict.fromkeys(line.key for line in pair if line.key not in ("seed", "dataset", "arrivals"))
    if not differ:
        return []
    words = ", ".join(key.partition("_")[0] for key in differ)
    return [Unfair("repeats", f"the repeats of {name} are not alike: {words}")]


def _line(key: str, what: str, a: Any, b: Any, bars: tuple[str, ...] = ()) -> Iterator[Unfair]:
    if a is not None and b is not None and a != b:
        yield Unfair(key, f"{what}: {_word(a)} against {_word(b)}", bars)


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.6g}"
    if isinstance(value, list):
        value = ", ".join(map(str, value)) or "none"
    text = " ".join(str(value).split())
    return text if len(text) <= 80 else f"{text[:77]}..."


def _simulated(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[Unfair]:
    kinds = {True: "the embedded engine (simulated)", False: "a server"}
    yield from _line("simulated", "what answered", kinds[bool(a["simulated"])], kinds[bool(b["simulated"])])


def _load(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[Unfair]:
    one, other = a["load"], b["load"]
    if not one or not other:
        return
    if loads.sentence(one) != loads.sentence(other):
        said = f"different loads: {loads.sentence(one)} against {loads.sentence(other)}"
        yield Unfair("load", f"{said}; every row compares the loads as well")
    elif loads.scheduled(one) and a["seed"] == b["seed"]:
        first, second = (str(value["offsets_sha256"] or "")[:12] or None for value in (a, b))
        yield from _line("arrivals", "moments of arrival (offsets_sha256)", first, second)


def _dataset(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[Unfair]:
    first, second = (str(value["dataset_sha256"] or "")[:12] or None for value in (a, b))
    yield from _line("dataset", "different requests were sent (dataset_sha256)", first, second)


def _lengths(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[Unfair]:
    for key, what in LENGTHS.items():
        one, other = a[key], b[key]
        if not one or not other:
            continue
        off = [stat for stat in ("median", "mean") if _off_pct(one[stat], other[stat]) > LENGTHS_PCT]
        if off:
            said = ", ".join(f"{stat} {one[stat]:,.4g} against {other[stat]:,.4g} tokens" for stat in off)
            yield Unfair(key, f"{what} lengths: {said}; times and throughputs are of unequal work")


def _off_pct(a: float, b: float) -> float:
    return 100 * abs(b - a) / a if a else (0.0 if b == a else float("inf"))


def _counted(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[Unfair]:
    for key, (what, bars) in COUNTED.items():
        one, other = a["sources"].get(key), b["sources"].get(key)
        if NONE not in (one, other):
            yield from _line(f"tokens_{key}", f"{what} are counted by", one, other, bars)


def _streams(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[Unfair]:
    yield from _line("stream", "streamed", a["stream"], b["stream"], OF_A_STREAM)


def _cached(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[Unfair]:
    one, other = a["cached_pct"], b["cached_pct"]
    if one is not None and other is not None and abs(one - other) > CACHED_POINTS:
        yield Unfair("cached", f"input tokens from the prefix cache: {one:.3g} % against {other:.3g} %")


def _promised(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[Unfair]:
    one, other = sorted(a["slo"]), sorted(b["slo"])
    if one and other:
        yield from _line("promises", "promises (SLOs)", one, other, ("goodput", "slo_attainment"))


def _imports(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[Unfair]:
    if a["imported"] != b["imported"]:
        first, second = (f"imported from {one['imported']}" if one["imported"] else "genbench" for one in (a, b))
        yield Unfair("imported", f"measured by: {first} against {second}; each takes its own moments (docs/import.md)")


def _same(key: str, what: str) -> Callable[[Mapping[str, Any], Mapping[str, Any]], Iterator[Unfair]]:
    """The rule of a fact that is compared as it is."""
    return lambda a, b: _line(key, what, a.get(key), b.get(key))


RULES: tuple[Callable[[Mapping[str, Any], Mapping[str, Any]], Iterator[Unfair]], ...] = (
    _simulated,
    _load,
    _same("model", "model"),
    _dataset,
    _lengths,
    _streams,
    _counted,
    _imports,
    _same("ignore_eos", "ignore_eos sent"),
    _same("temperature", "temperature"),
    _same("top_p", "top_p"),
    _same("request_seed", "seed in the body"),
    _same("extra", "extra body fields"),
    _cached,
    _same("warmup", "requests for warm-up"),
    _same("salt", "salt in front of prompts"),
    _same("seed", "seed"),
    _promised,
    _same("tokenizer", "tokenizer"),
    _same("transport", "transport"),
    _same("stamps", "times by"),
    _same("engine", "version of the engine"),
    _same("servers", "number of servers"),
    _same("client", "client"),
    _same("genbench", "genbench"),
)
TOLD = {
    "load": "load",
    "dataset_sha256": "requests sent",
    "osl": "output length",
    "isl": "input length",
    "temperature": "temperature",
    "ignore_eos": "ignore_eos",
    "extra": "extra body fields",
    "cached_pct": "cached tokens",
    "warmup": "warm-up",
    "salt": "salt",
    "transport": "transport",
    "engine": "version of the engine",
    "client": "client",
}


def _doubts(name: str, one: Mapping[str, Any]) -> Iterator[Unfair]:
    """What is wrong with one of the runs."""
    if one["interrupted"]:
        yield Unfair("interrupted", f"{name} was interrupted: it is not the whole run")
    if one["verdict"] != VALID:
        why = "".join(f": {text}" for text in one["findings"][:1])
        more = f" (and {len(one['findings']) - 1} more)" if len(one["findings"]) > 1 else ""
        yield Unfair("verdict", f"{name} is {one['verdict']}{why}{more}")


def _unknown(a: Mapping[str, Any], b: Mapping[str, Any], names: tuple[str, str]) -> Iterator[Unfair]:
    """What one of two runs tells and the other does not."""
    for name, one, other in ((names[0], a, b), (names[1], b, a)):
        lacks = [what for key, what in TOLD.items() if one.get(key) in (None, {}) and other.get(key) not in (None, {})]
        if lacks:
            yield Unfair("unknown", f"not known of {name}: {', '.join(lacks)}")
