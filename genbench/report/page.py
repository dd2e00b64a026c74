"""report.html: one file that holds the numbers, the figures and the library that draws them. It asks the network for
nothing, and cannot: its policy allows no request, and of scripts only its own two, by their hashes.

Order: what was measured and the verdict; the numbers that matter and the promises; figures; every number; the server's
side; the slowest requests; outcomes; servers; the client; the configuration; definitions; the command. Of several runs
the first screen is one table with a row for each, the figures show all of them, and the rest follows run by run.

What a server or a user wrote is text to this page and never markup, see `markup`.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path

from genbench.metrics.summary import Run
from genbench.plots import _draw
from genbench.plots._figure import Nothing, Table
from genbench.plots._look import DARK, LIGHT, Look
from genbench.report import figures, numbers, server, setup, slowest, top
from genbench.report.markup import Html, e, join, json_script, script, table

NAME = "report.html"
MADE = "Made by genbench from run.json and requests.jsonl; genbench report makes it again."
DATA = "drawn"  # the id under which the script finds its data
ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Crect x='1' y='8' width='3'"
    " height='7' fill='%230072b2'/%3E%3Crect x='6.5' y='4' width='3' height='11' fill='%23009e73'/%3E%3Crect x='12'"
    " y='1' width='3' height='14' fill='%23e69f00'/%3E%3C/svg%3E"
)


def write(series: Sequence[tuple[str, Run]], out: Path, tables: Mapping[str, Table | Nothing] | None = None) -> Path:
    """Write `report.html` into the folder `out`, as a whole or not at all; arguments as for `page`."""
    return _draw.replaced(out / NAME, page(series, tables).encode("utf-8", "replace"))


def page(series: Sequence[tuple[str, Run]], tables: Mapping[str, Table | Nothing] | None = None) -> str:
    """The page of a run, or of several by their names; `tables` are the figures' numbers where they are known already.

    Raises ValueError for no run, or for two of one name.
    """
    if not series:
        raise ValueError("a page needs at least one run")
    series = [(" ".join(name.split()), run) for name, run in series]  # Vega's expressions stumble over U+2028 in a name
    drawn = figures.drawn(series, tables)
    title, body = _one(series[0][1], drawn) if len(series) == 1 else _several(series, drawn)
    return str(document(title, body, drawn))


def _one(run: Run, drawn: figures.Drawn) -> tuple[str, Html]:
    parts = [
        top.verdict(run.summary),
        e("section", e("h2", "The numbers that matter", class_="heard"), top.cards(run), id="headlines"),
        top.promises(run.summary),
        top.notes(run),
        figure_section(drawn),
        *_rest(run, ""),
        numbers.definitions([run]),
        setup.again(run, ""),
    ]
    body = join((top.masthead(run), _links(run), e("main", parts, id="content")))
    return f"{top.model(run)}: {run.summary.verdict}", body


def figure_section(drawn: figures.Drawn) -> Html:
    """The figures of a page under their heading, with how to move them."""
    hint = (
        "Drag a figure to move it, Ctrl + wheel to zoom, double-click to go back. Points and lines tell their values."
    )
    said = e("p", hint, class_="note hint") if drawn.data else None
    return e("section", e("h2", "Figures"), said, drawn.places, id="figures")


def _rest(run: Run, prefix: str) -> list[Html | None]:
    """What is told of each run by itself."""
    return [
        numbers.tables(run, prefix),
        server.section(run, prefix),
        slowest.slowest(run, prefix),
        slowest.outcomes(run, prefix),
        slowest.servers(run, prefix),
        setup.health(run, prefix),
        setup.configuration(run, prefix),
    ]


def _links(run: Run) -> Html:
    places = {
        "verdict": "Verdict",
        "promises": "Promises" if run.summary.slo else "",
        "figures": "Figures",
        "numbers": "All numbers",
        "server": "The server's side" if run.server is not None else "",
        "slowest": "Slowest",
        "outcomes": "Outcomes",
        "servers": "Servers" if run.summary.targets else "",
        "client": "Client",
        "configuration": "Configuration",
        "definitions": "Definitions" if run.summary.metrics or run.summary.run else "",
        "again": "Run it again" if run.header.get("command") else "",
    }
    return navigation(places, run.summary.verdict)


def navigation(places: dict[str, str], level: str) -> Html:
    """Links to the places of a page by their ids, those with an empty name left out; `level` is a verdict or empty."""
    links = [e("a", name, href=f"#{place}") for place, name in places.items() if name]
    badge = e("span", level, class_=f"pill {level.lower()}") if level else None
    return e("nav", e("div", badge, links), aria_label="On this page")


def _several(series: Sequence[tuple[str, Run]], drawn: figures.Drawn) -> tuple[str, Html]:
    heads = {(one.key, one.stat): one for _, run in series for one in top.headlines(run)}
    titles = [f"{one.label}{f' {one.stat}' if one.stat else ''} ({one.unit})" for one in heads.values()]
    rows = []
    for at, (name, run) in enumerate(series):
        mine = {(one.key, one.stat): one for one in top.headlines(run)}
        level = run.summary.verdict
        cells = [
            e("td", one.value, e("span", one.interval, class_="under") if one.interval else None, class_="n")
            if (one := mine.get(head)) is not None
            else e("td", "-", class_="n")
            for head in heads
        ]
        rows.append(
            e(
                "tr",
                e(
                    "th",
                    e("a", name, href=f"#run{at}"),
                    e("span", f"{top.model(run)}: {top.load(run)}", class_="under"),
                    scope="row",
                ),
                e("td", e("span", level, class_=f"pill {level.lower()}"), top.marks(run.summary)),
                cells,
            )
        )
    compared = table("The runs side by side", ("Run", "Verdict", *titles), rows, class_="runs")
    each = [_run(at, name, run) for at, (name, run) in enumerate(series)]
    head = e("header", e("p", "genbench report", class_="over"), e("h1", f"{len(series)} runs"), class_="masthead")
    places_of = {"runs": "Runs", "figures": "Figures"} | {f"run{at}": name for at, (name, _) in enumerate(series)}
    said = "Below each number its 95 % interval: numbers whose intervals overlap may be the same."
    main = (
        e("section", e("h2", "Side by side"), compared, e("p", said, class_="note"), id="runs"),
        figure_section(drawn),
        each,
        numbers.definitions([run for _, run in series]),
    )
    body = join((head, navigation(places_of | {"definitions": "Definitions"}, ""), e("main", main, id="content")))
    return f"{len(series)} runs", body


def _run(at: int, name: str, run: Run) -> Html:
    prefix = f"run{at}-"
    inside = [
        top.verdict(run.summary, prefix),
        top.cards(run),
        top.promises(run.summary, prefix),
        top.notes(run),
        *_rest(run, prefix),
        setup.again(run, prefix),
    ]
    about = e("dl", [e("div", e("dt", word), e("dd", text)) for word, text in top.facts(run)], class_="facts")
    count = top.measured(run.summary)
    summary = e("summary", e("h2", name), e("span", f"{count:,} {top.requests(count)}", class_="note"))
    return e("details", summary, about, inside, class_="run-of-several", id=f"run{at}")


def document(title: str, body: Html, drawn: figures.Drawn, made: str = MADE) -> Html:
    """A page as a whole; `made` says at its foot what it was made from."""
    scripts = ([figures.library()] if drawn.data else []) + [_asset("page.js")]
    allowed = " ".join(f"'sha256-{_sha256(source)}'" for source in scripts)
    policy = (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )
    head = (
        e("meta", charset="utf-8"),
        e("meta", http_equiv="Content-Security-Policy", content=policy),
        e("meta", name="viewport", content="width=device-width, initial-scale=1"),
        e("meta", name="color-scheme", content="light dark"),
        e("meta", name="generator", content="genbench"),
        e("title", f"{title} – genbench"),
        e("link", rel="icon", href=ICON),
        e("style", Html(_themes() + _asset("page.css"))),
        e("noscript", e("style", Html("tr.story[hidden]{display:table-row}"))),
    )
    foot = e(
        "footer",
        e("p", made),
        class_="foot",
    )
    skip = e("a", "To the content", href="#content", class_="skip")
    without = e("noscript", e("p", "Figures are drawn by a script, which this browser does not run.", class_="nothing"))
    content = (
        skip,
        without,
        body,
        foot,
        json_script(drawn.data, DATA),
        [script(source) for source in scripts],
    )
    return join((Html("<!doctype html>\n"), e("html", e("head", head), e("body", content), lang="en")))


def _sha256(source: str) -> str:
    return base64.b64encode(hashlib.sha256(source.encode("utf-8", "replace")).digest()).decode()


def _asset(name: str) -> str:
    return (resources.files("genbench.report") / name).read_text(encoding="utf-8")


def _themes() -> str:
    """The looks' colours as variables of the page; paper is always light."""
    dark = f"@media screen and (prefers-color-scheme: dark){{:root{{{_variables(DARK)}}}}}"
    return f":root{{{_variables(LIGHT)}--font:{figures.FONT};}}\n{dark}\n"


def _variables(look: Look) -> str:
    found = {
        "ground": look.ground,
        "ink": look.ink,
        "faint": look.faint,
        "line": look.grid,
        "shade": look.shade,
        "main": look.main,
        "good": look.series[2],
        "warn": look.series[4] if look.name == "light" else look.series[1],
        "bad": look.bad,
    }
    return "".join(f"--{name}:{value};" for name, value in found.items())
