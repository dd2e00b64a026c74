"""What a curve says, in sentences that can be quoted in a ticket: each names its load, its number and its unit."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from genbench.metrics.levels import REQUESTS, AveragedLevel, value_of, words
from genbench.metrics.verdict import INVALID

SHOWN = (("ttft.p95", "TTFT p95"), ("request_latency.p95", "latency p95"))  # of these the first that is there
SAME_WINDOW = 0.05
SOURCES = {
    "server": "waiting in the server's queue",
    "first token": "waiting for the first token",
    "latency": "there only under load",
}


def number(value: float) -> str:
    """Three significant digits, thousands with commas."""
    size = abs(value)
    if value == 0 or size >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def amount(value: float, unit: str) -> str:
    """A number with its unit."""
    return f"{number(value)} {unit}"


def sentences(found: Mapping[str, Any], key: str) -> list[str]:
    """The sentences of one group, the most important first."""
    return list(_sentences(found, key))


def _sentences(found: Mapping[str, Any], key: str) -> Iterator[str]:
    levels, by = found["levels"], found["by"]
    if found["saturation"] is None:
        yield f"Nothing can be said of the curve: no request ended ok at {_listed(by, levels)}."
        return
    if len(levels) == 1:
        yield _single(levels[0], by, key)
    elif not (found["no_batching"] or {}).get("found"):
        yield _saturation(found["saturation"], levels, by, key)
    yield from _no_batching(found["no_batching"], by, levels)
    yield from _knee(found["knee"], found["no_batching"], levels, by)
    if found["falling"] is not None:
        fall = found["falling"]
        yield (
            f"Throughput falls beyond {words(by, fall['peak'])}: at {words(by, fall['at'], bare=True)} it is "
            f"{amount(fall['throughput'], fall['unit'])}, {fall['less_pct']:.0f} % less."
        )
    for promise in found["promises"]:
        yield _promise(promise, by)
    yield from _together(found, by)
    yield from _warnings(levels, by)


def _single(level: AveragedLevel, by: str, key: str) -> str:
    figure = level["figures"].get(key)
    return (
        f"Only {words(by, level['value'])} was measured: {amount(figure['value'], figure['unit'])}{_window(level)}"
        f"{_latency(level, ', with ')}; a curve needs more loads."
    )


def _saturation(found: Mapping[str, Any], levels: Sequence[AveragedLevel], by: str, key: str) -> str:
    top = amount(found["throughput"], found["unit"])
    requests = value_of(_at(levels, found["at"]), REQUESTS)
    top += f" ({amount(requests, 'req/s')})" if key != REQUESTS and requests is not None else ""
    top += _window(_at(levels, found["at"]))
    if not found["reached"]:
        return (
            f"Throughput is still rising at {words(by, found['at'])}, the highest load tried: {top}"
            f"{_latency(_at(levels, found['at']), ', with ')}."
        )
    since = _at(levels, found["from"])
    load = words(by, since["value"])
    where = f"and reaches that at {load}" if since["saturated"] else f"from {load} on"
    said = _latency(since, "; ", " is then ")
    return f"Throughput saturates at {top} {where}{said}."


def _window(level: AveragedLevel) -> str:
    """Where a throughput was counted, if it is not nearly that of the whole run, which other tables show."""
    ratio = level["steady_over_whole"]
    apart = ratio is not None and abs(ratio - 1) > SAME_WINDOW
    return " in the steady window" if apart else ""


def _latency(level: AveragedLevel, before: str, between: str = " ") -> str:
    """TTFT, or else latency, at a level; empty where it has neither, and where its queue grew while it ran."""
    if level["saturated"]:
        return ""
    for name, label in SHOWN:
        value = value_of(level, name)
        if value is not None:
            return f"{before}{label}{between}{amount(value, 'ms')}"
    return ""


def _no_batching(found: Mapping[str, Any] | None, by: str, levels: Sequence[AveragedLevel]) -> Iterator[str]:
    if not found or not found["found"]:
        return
    source = _at(levels, found["at"])["wait"]["source"]
    same = "that at concurrency 1" if found["measured"] else "that of one request at a time"
    yield (
        f"No batching: requests are served one at a time. Throughput at {words(by, found['at'])} is {same}, "
        f"{amount(found['throughput_at_1'], found['unit'])}, and {100 * found['share']:.0f} % of the latency is "
        f"{SOURCES[source]}; more load is only more queue."
    )


def _knee(
    found: Mapping[str, Any], serial: Mapping[str, Any] | None, levels: Sequence[AveragedLevel], by: str
) -> Iterator[str]:
    if (serial and serial["found"]) or len(levels) == 1:
        return
    if found["value"] is None:
        yield f"No knee can be named: {found['why']}."
        return
    between = ""
    if found["from"] != found["to"]:
        unit = "" if by == "concurrency" else " req/s"
        between = f" (within its error {found['from']:,.10g} to {found['to']:,.10g}{unit})"
    where = "at" if not found["lowest"] or (by == "concurrency" and found["value"] == 1) else "at or below"
    yield (
        f"The knee is {where} {words(by, found['value'])}{between}: beyond it latency grows by a larger factor than "
        "throughput."
    )


def _promise(found: Mapping[str, Any], by: str) -> str:
    rows = {row["value"]: row for row in found["levels"]}

    def measured(value: float) -> str:
        known = rows[value]["measured"]
        if known is None:
            return "no such value"
        same = number(known) == number(found["bound"])  # to three digits it would be the bound itself
        return f"{known:,.6g} {found['unit']}" if same else amount(known, found["unit"])

    end, broken = found["holds_to"], found["missed_from"]
    rule = f"The promise {found['rule']}"
    if broken is None:
        return f"{rule} holds at every load tried, up to {words(by, end)} ({measured(end)})."
    missed = f"at {words(by, broken, bare=end is not None)} ({measured(broken)})"
    again = ""
    if found["kept_again"]:
        again = f", though it is kept at {_joined([words(by, value, bare=True) for value in found['kept_again']])}"
    if end is None:
        return f"{rule} is missed at the lowest load already, {missed}{again}."
    return f"{rule} holds up to {words(by, end)} ({measured(end)}) and is missed {missed}{again}."


def _together(found: Mapping[str, Any], by: str) -> Iterator[str]:
    """All promises at once, where that says more than each."""
    ends = {promise["holds_to"] for promise in found["promises"]}
    if len(ends) < 2:
        return
    count = len(found["promises"])
    every = "both" if count == 2 else f"all {count}"
    if found["kept_by_all"] is None:
        yield f"No load tried keeps {every} promises."
        return
    yield f"{every.capitalize()} promises hold up to {words(by, found['kept_by_all'])}."


def _warnings(levels: Sequence[AveragedLevel], by: str) -> Iterator[str]:
    grown = [level for level in levels if level["saturated"]]
    if grown:
        yield f"The queue grew without bound at {_listed(by, grown)}: latencies there depend on how long the run was."
    dead = [level for level in levels if not (value_of(level, REQUESTS) or 0.0)]
    if dead:
        yield f"No request ended ok at {_listed(by, dead)}."
    doubted = [level for level in levels if level["verdict"] == INVALID and level not in dead and level not in grown]
    if doubted:
        yield f"The verdict is INVALID at {_listed(by, doubted)}: read the findings there before using the numbers."


def _at(levels: Sequence[AveragedLevel], value: float) -> AveragedLevel:
    return next(level for level in levels if level["value"] == value)


def _listed(by: str, levels: Sequence[AveragedLevel]) -> str:
    first, *rest = levels
    if by == "concurrency":
        return _joined([words(by, first["value"]), *(words(by, level["value"], bare=True) for level in rest)])
    numbers = [f"{level['value']:,.10g}" for level in levels]
    return f"{_joined(numbers)} req/s"


def _joined(texts: Sequence[str]) -> str:
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"
