"""report.html of a sweep: one file that holds its sentences, its levels, its figures and its set-up.

It asks the network for nothing: its policy is that of a run's page.

Order: what was swept on what; what the curve says; the best load; the levels, each with a link to its run's own page
where that was made; promises; figures; the configuration; what the words mean; the command.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genbench.block import number
from genbench.curves import _draw
from genbench.curves._source import analysis, read
from genbench.metrics.levels import words
from genbench.metrics.summary import Run, summarise
from genbench.plots._draw import missing, replaced
from genbench.plots._figure import Nothing, Table
from genbench.records import table_from
from genbench.report import curves_numbers, figures, page, setup, top
from genbench.report.markup import Html, e, join

NAME = page.NAME
WIDE = frozenset({"promises_by_load"})


def write(folder: Path, tables: Mapping[str, Table | Nothing] | None = None) -> Path:
    """Write `report.html` of the sweep in a folder into it, as a whole or not at all.

    `tables` are the figures' numbers where they are known already. Raises RecordError where the folder holds no sweep,
    and OSError where it takes no file.
    """
    return replaced(folder / NAME, text(read(folder), folder, tables).encode("utf-8", "replace"))


def text(
    sweep: Mapping[str, Any], folder: Path | None = None, tables: Mapping[str, Table | Nothing] | None = None
) -> str:
    """The page of a sweep, as `sweep.json` has it; `folder` is where its points' own pages are looked for."""
    said, run = analysis(sweep), _run(sweep)
    drawn = _figures(_draw.tables([("", sweep)]) if tables is None else tables)
    sections = [
        _sentences(said, sweep),
        _cards(said),
        curves_numbers.best(said),
        curves_numbers.levels(said, folder),
        curves_numbers.promises(said) if _kind(sweep) == "sweep" else None,
        page.figure_section(drawn),
        setup.configuration(run, ""),
        curves_numbers.terms(said),
        setup.again(run, ""),
    ]
    places = {
        "says": "What it says",
        "best": "Best load" if sections[2] else "",
        "levels": "Levels",
        "promises": "Promises" if sections[4] else "",
        "figures": "Figures",
        "configuration": "Configuration",
        "terms": "Words",
        "again": "Run it again" if sections[-1] else "",
    }
    body = join((_masthead(sweep, said, run), page.navigation(places, ""), e("main", sections, id="content")))
    return str(page.document(f"{top.model(run)}: {_kind(sweep)}", body, drawn))


def _kind(sweep: Mapping[str, Any]) -> str:
    """A sweep, or a search for the capacity."""
    return "capacity" if sweep.get("kind") == "capacity" else "sweep"


def _run(sweep: Mapping[str, Any]) -> Run:
    """A run without requests that has the sweep's set-up: what other pages show of a header is shown here."""
    header = {key: value for key, value in sweep.items() if key not in ("points", "analysis")}
    empty = table_from([])
    return Run(header, empty, summarise(empty, header))


def _masthead(sweep: Mapping[str, Any], said: Mapping[str, Any], run: Run) -> Html:
    title = " ".join(str(word) for word in ("genbench", sweep.get("genbench") or "", _kind(sweep)) if word)
    return e(
        "header",
        e("p", title, top.marks(run.summary), class_="over"),
        e("h1", top.model(run)),
        e("dl", [e("div", e("dt", name), e("dd", told)) for name, told in _facts(sweep, said, run)], class_="facts"),
        class_="masthead",
    )


def _facts(sweep: Mapping[str, Any], said: Mapping[str, Any], run: Run) -> list[tuple[str, str]]:
    values = sorted({level["value"] for group in said["groups"] for level in group["levels"]})
    loads = ", ".join(f"{value:,.10g}" for value in values)
    unit = {"concurrency": "at a time", "request_rate": "req/s"}.get(said["by"], "")
    repeats = max((level["repeats"] for group in said["groups"] for level in group["levels"]), default=0)
    urls = top.part(run.header, "config", "target").get("url")
    servers = "the embedded engine" if run.summary.simulated and not urls else ", ".join(map(str, urls or ()))
    groups = [str(group["group"]) for group in said["groups"] if group["group"]]
    points = sweep.get("points") or ()
    seconds = sum(float(point.get("seconds") or 0) for point in points)
    started = str(sweep.get("started") or "").replace("T", " ").replace("Z", " UTC")
    gpus = said["gpus"]
    found = [
        ("Loads", " ".join(word for word in (loads, unit) if word) if values else ""),
        ("Lengths in:out", ", ".join(groups)),
        ("Points", f"{len(points):,} in {seconds:,.0f} s{f', {repeats} at each load' if repeats > 1 else ''}"),
        ("Endpoint", " at ".join(word for word in (str(run.header.get("endpoint_type") or ""), servers) if word)),
        ("Work", top.work(run)),
        ("GPUs", f"{gpus}" if gpus else ""),
        ("Started", started),
    ]
    return [(name, told) for name, told in found if told]


def _sentences(said: Mapping[str, Any], sweep: Mapping[str, Any]) -> Html:
    """What can be quoted, and below it what was not measured."""
    several = len(said["groups"]) > 1
    parts = [
        (e("h3", group["group"]) if several else None, e("ul", [e("li", one) for one in group["sentences"]]))
        for group in said["groups"]
    ]
    nothing = None if parts else e("p", "The sweep has no point.", class_="nothing")
    left_out = [e("p", e("bdi", str(one)), class_="note") for one in sweep.get("left_out") or ()]
    return e(
        "section",
        e("h2", "The answer" if _kind(sweep) == "capacity" else "What the curve says"),
        parts,
        nothing,
        left_out,
        class_="says-of-curve",
        id="says",
    )


def _cards(said: Mapping[str, Any]) -> Html | None:
    """The numbers that matter, where there is one curve."""
    if len(said["groups"]) != 1:
        return None
    (found,), by = said["groups"], said["by"]
    made = []
    saturation, knee, optimum = found["saturation"], found["knee"], found["optimum"]
    if saturation:
        where = "from" if saturation["reached"] else "still rising at"
        beside = f"{where} {words(by, saturation['from'])}{' on' if saturation['reached'] else ''}"
        made.append(_card("Highest throughput", saturation["throughput"], saturation["unit"], beside))
    if knee and knee["value"] is not None:
        beside = "beyond it latency grows faster than throughput"
        made.append(_card("Knee", knee["value"], _unit(by), beside))
    answer = found.get("answer")
    if answer:
        ends = [number(answer[end]) if answer[end] is not None else "?" for end in ("low", "high")]
        made.append(_card("Holds", float(f"{answer['value']:.3g}"), _unit(by), f"95 % interval {ends[0]} to {ends[1]}"))
    elif found["promises"]:
        kept, every = found["kept_by_all"], len(found["promises"])
        beside = {1: "the promise holds", 2: "both promises hold"}.get(every, f"all {every} promises hold")
        made.append(_card("Promises kept up to", kept, _unit(by), beside if kept else "no load keeps every promise"))
    if optimum:
        made.append(_card("Best load", optimum["value"], _unit(by), optimum["why"]))
    return e("div", made, class_="cards of-curve") if made else None


def _card(head: str, value: float | None, unit: str, beside: str) -> Html:
    shown = "none" if value is None else f"{value:,.10g}" if unit in ("req/s", "at a time") else number(value, unit)
    return e(
        "div",
        e("h3", head),
        e("p", shown, e("span", f" {unit}", class_="unit") if value is not None else None, class_="big"),
        e("p", beside, class_="note"),
        class_="card",
    )


def _unit(by: str) -> str:
    return "at a time" if by == "concurrency" else "req/s"


def _figures(found: Mapping[str, Table | Nothing]) -> figures.Drawn:
    """All figures, light and dark; what has nothing to draw says so in its place."""
    if why := missing():
        return figures.Drawn(figures.absence(why), {})
    return figures.together(
        [figures.Shown("curves", _draw, name, table, name not in WIDE) for name, table in found.items()]
    )
