"""The tables of a sweep's page: the best load of each curve, its levels, its promises, and what the words mean."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from genbench.block import FEW_MARK, number
from genbench.metrics.curve import SPEED
from genbench.metrics.definitions import by_key
from genbench.metrics.levels import REQUESTS, TOKENS, AveragedLevel, value_of, words
from genbench.report import page, top
from genbench.report.markup import Html, e, join, row, table

TERMS = (
    ("Level", "one load of the sweep; its repeats are averaged"),
    ("Highest throughput", "the largest of all levels: output tokens, or requests where answers have no tokens"),
    ("Saturates from", "the first level within 5 % of the highest throughput, where a higher load brings no more"),
    (
        "Knee",
        "the level of the highest power, throughput / mean latency (Kleinrock 1979): beyond it latency grows by a "
        "larger factor than throughput; it needs four levels",
    ),
    (
        "Waiting",
        "of the mean latency, what the server says was queue; else mean TTFT less that at the lowest load, where "
        "requests met no other one",
    ),
    (
        "No batching",
        "waiting is at least (C - 1) / C of the latency at each concurrency C, and throughput there is that at 1, "
        "within 5 %",
    ),
    (
        "Saturated",
        "the number in flight grew without bound; a level so marked keeps no promise, and its point is hollow",
    ),
    ("Front", "levels that no other beats in both output throughput and speed per user"),
    (
        "Best load",
        "without batching the lowest; else the highest throughput among the loads that keep every promise; without "
        "promises the knee, or where throughput saturates",
    ),
)

COLUMNS = (  # figure, head, unit that the head says
    ("ttft.p50", "TTFT p50", "ms"),
    ("ttft.p95", "p95", "ms"),
    ("ttft.p99", "p99", "ms"),
    ("{between}.p50", "{between} p50", "ms"),
    ("{between}.p95", "p95", "ms"),
    ("request_latency.p95", "Latency p95", "ms"),
    (SPEED, "Per user p50", "token/s"),
    ("in_flight", "In flight", ""),
    ("error_rate", "Errors", "%"),
)


def best(said: Mapping[str, Any]) -> Html | None:
    """One row for each curve, as the tables of Model Analyzer have it."""
    rows = []
    for group in said["groups"]:
        found = group["row"]
        if found is None or group["optimum"] is None:
            continue
        share = found["wait_share_pct"]
        cells = [
            words(said["by"], found["load"], bare=True),
            number(found["request_throughput"]),
            number(found["output_token_throughput"]),
            number(found["latency_p95_ms"]),
            number(found["response_wait_ms"]),
            number(found["queue_ms"]),
            "-" if share is None else f"{share:.1f}",
        ]
        rows.append(row(group["group"] or "all", *cells, e("span", group["optimum"]["why"], class_="note")))
    if not rows:
        return None
    load = "Concurrency" if said["by"] == "concurrency" else "Request rate"
    units = ("req/s", "token/s", "ms", "ms", "ms", "%")
    names = ("Requests", "Output", "Latency p95", "Response wait", "Server queue", "Waiting")
    heads = [_head(name, unit) for name, unit in zip(names, units, strict=True)]
    note = (
        "Response wait: mean time from the request to the end of its answer. Server queue: where the server tells it. "
        "Waiting: the share of the response wait that is spent in the queue, or before the first token beyond what it "
        "takes at the lowest load."
    )
    made = table("The best load of each curve", ("", load, *heads, "Why this load"), rows, class_="best")
    return e("section", e("h2", "Best load"), made, e("p", note, class_="note"), id="best")


def _head(name: str, unit: str) -> Html:
    return join((name, e("span", f" {unit}", class_="unit") if unit else None))


def levels(said: Mapping[str, Any], folder: Path | None) -> Html:
    """Every level with its numbers, a table for each curve; each load leads to the page of its run in `folder`."""
    made = [_level_table(group, said["by"], folder, len(said["groups"]) > 1) for group in said["groups"]]
    every = [level for group in said["groups"] for level in group["levels"]]
    few = any(figure["few"] for level in every for figure in level["figures"].values())
    windows = {level["window"] for level in every}
    window = windows.pop() if len(windows) == 1 else "steady window, of saturated loads of the whole run"
    repeated = any(level["repeats"] > 1 for level in every)
    notes = [
        f"Throughputs are of the {window}." if every else "",
        f"{FEW_MARK} marks a percentile with too few requests behind it." if few else "",
        "Of several repeats the mean is shown; the range is from the smallest to the largest." if repeated else "",
    ]
    shows = "Show 95 % intervals and ranges" if repeated else "Show 95 % intervals"
    toggle = (
        e("input", type="checkbox", id="intervals", class_="intervals"),
        e("label", shows, for_="intervals"),
    )
    note = e("p", " ".join(one for one in notes if one), class_="note")
    return e("section", e("h2", "Levels"), toggle if every else None, made, note, id="levels")


def _level_table(group: Mapping[str, Any], by: str, folder: Path | None, several: bool) -> Html:
    levels = group["levels"]
    columns = [
        (key.format(between=group["between"]), head.format(between=_short(group["between"])), unit)
        for key, head, unit in COLUMNS
    ]
    throughputs = [(key, head, unit) for key, head, unit in _throughputs(group)]
    shown = [one for one in (*throughputs, *columns) if any(value_of(level, one[0]) is not None for level in levels)]
    heads = [_head(name, unit) for _, name, unit in shown]
    waits = any(level["wait"] for level in levels)
    optimum = (group["optimum"] or {}).get("value")
    rows = [
        e(
            "tr",
            e("th", _load(level, by, folder), scope="row"),
            e("td", _verdict(level)),
            [e("td", _cell(level, key), class_="n") for key, _, _ in shown],
            e("td", _share(level), class_="n") if waits else None,
            e("td", _kept(group["promises"], level["value"])) if group["promises"] else None,
            class_="chosen" if level["value"] == optimum else None,
        )
        for level in levels
    ]
    load = "Concurrency" if by == "concurrency" else _head("Rate", "req/s")
    waiting = [_head("Waiting", "%")] if waits else []
    kept = ["Promises kept"] if group["promises"] else []
    title = f"Levels of {group['group']}" if several else "Levels"
    return table(title, (load, "Verdict", *heads, *waiting, *kept), rows, class_="wide levels", seen=several)


def _throughputs(group: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    found = [(TOKENS, "Output", "token/s"), ("tokens_per_gpu", "Per GPU", "token/s"), (REQUESTS, "Requests", "req/s")]
    return found if group["throughput"] == TOKENS else [found[-1]]


def _short(metric: str) -> str:
    return {"itl": "ITL", "tpot": "TPOT", "icl": "Gap"}.get(metric, metric)


def _load(level: AveragedLevel, by: str, folder: Path | None) -> Html:
    """The load, with a link to the page of each of its runs that has one."""
    value = f"{level['value']:,.10g}"
    links = [_link(name, folder) for name in level["folders"]]
    known = [link for link in links if link]
    if len(level["folders"]) == 1 and known:
        return e("a", value, href=known[0])
    repeats = [e("a", f"{at + 1}", href=link) for at, link in enumerate(links) if link]
    beside = [piece for link in repeats for piece in (" ", link)]
    return join(
        (value, e("span", f"{level['repeats']} runs", beside, class_="under") if level["repeats"] > 1 else None)
    )


def _link(name: str, folder: Path | None) -> str:
    """The address of a run's page beside this one; empty where there is none, or where it would lead out of here."""
    path = Path(name)
    if folder is None or path.is_absolute() or ".." in path.parts or not (folder / path / page.NAME).is_file():
        return ""
    return quote(f"./{path.as_posix()}/{page.NAME}")


def _verdict(level: AveragedLevel) -> Html:
    known = level["verdict"]
    pill = e("span", known, class_=f"pill {known.lower()}") if known else None
    mark = e("span", "saturated", class_="mark", title=level["saturated"]) if level["saturated"] else None
    return join((pill, " " if pill and mark else None, mark))


def _cell(level: AveragedLevel, key: str) -> Html | str:
    figure = level["figures"].get(key)
    if figure is None:
        return "-"
    unit = figure["unit"]
    interval = ""
    if figure["low"] is not None:
        interval = f"{number(figure['low'], unit)} – {number(figure['high'], unit)}"
    few = FEW_MARK if figure["few"] else ""
    return join((number(figure["value"], unit), few, e("span", interval, class_="ci") if interval else None))


def _share(level: AveragedLevel) -> str:
    return "-" if level["wait"] is None else f"{100 * level['wait']['share']:.1f}"


def _kept(promises: Sequence[Mapping[str, Any]], value: float) -> Html:
    """How many promises hold at a load; those that do not are named to whoever points at it."""
    missed = [one["rule"] for one in promises for row in one["levels"] if row["value"] == value and not row["kept"]]
    if len(promises) == 1:
        return top.pill(not missed)
    said = f"{len(promises) - len(missed)} of {len(promises)}"
    tone = "pill invalid" if missed else "pill valid"
    return e("span", said, class_=tone, title=f"missed: {', '.join(missed)}" if missed else None)


def promises(said: Mapping[str, Any]) -> Html | None:
    """How far each promise holds; nothing where there is none."""
    several = len(said["groups"]) > 1
    rows = []
    for group in said["groups"]:
        for promise in group["promises"]:
            measured = {one["value"]: one["measured"] for one in promise["levels"]}
            place = partial(_place_of, promise, measured, said["by"])
            name = e("code", promise["rule"])
            first = join((name, e("span", group["group"], class_="under"))) if several else name
            rows.append(row(first, *place("holds_to"), *place("missed_from"), numbers=False))
    if not rows:
        return None
    head = ("Promise (SLO)", "Holds up to", "Measured there", "Missed from", "Measured there")
    note = (
        "A promise holds at a load where every repeat keeps it, and where the queue did not grow without bound; it "
        "holds up to a load where it holds at every lower one too."
    )
    made = table("How far each promise holds", head, rows, class_="promises")
    return e("section", e("h2", "Promises"), made, e("p", note, class_="note"), id="promises")


def _place_of(
    promise: Mapping[str, Any], measured: Mapping[float, float | None], by: str, which: str
) -> tuple[str, str]:
    value = promise[which]
    if value is None:
        return "-", "-"
    known = measured.get(value)
    return words(by, value), "no such value" if known is None else f"{number(known, promise['unit'])} {promise['unit']}"


def terms(said: Mapping[str, Any]) -> Html:
    """What the words of this page mean, and the formulas of its metrics."""
    keys = {key.partition(".")[0] for group in said["groups"] for level in group["levels"] for key in level["figures"]}
    rows = [row(name, told, numbers=False) for name, told in TERMS]
    rows += [
        row(join((one.label, e("code", one.key))), f"{one.formula} ({one.unit})", numbers=False)
        for one in by_key().values()
        if one.key in keys
    ]
    made = table("What the words of this page mean", ("Word", "Meaning"), rows, class_="terms")
    return e("section", e("h2", "What the words mean"), made, id="terms")
