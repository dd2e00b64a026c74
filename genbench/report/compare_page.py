"""report.html of a comparison: one file that holds its verdicts, its figures, and the set-ups side by side.

It asks the network for nothing: its policy is that of a run's page.

Order: what was compared; what makes it unfair; the gate; what it says, with the ratios in a figure; every metric;
capacities; value for money; the figures of all runs and sweeps in one; what differs between their set-ups; what the
words mean; the command.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from genbench import contrasts
from genbench.block import number
from genbench.contrasts import _draw as contrasts_draw
from genbench.curves import _draw as curves_draw
from genbench.metrics.summary import Run
from genbench.plots import _draw as plots_draw
from genbench.plots._draw import Failed, missing, replaced
from genbench.plots._figure import Nothing, Table
from genbench.report import compare_numbers as numbers
from genbench.report import figures, page, setup
from genbench.report.markup import Html, e, join, row, table

NAME = page.NAME
MADE = "Made by genbench compare from the files named above; compare.json beside this page holds its numbers."
OF_RUNS = (
    "ttft_cdf",
    "itl_cdf",
    "latency_cdf",
    "itl_by_position",
    "ttft_box",
    "latency_box",
    "throughput_over_run",
    "latency_over_run",
    "arrivals_over_run",
    "lengths",
)
PANELS = ("latency_over_run", "arrivals_over_run", "lengths")  # a panel for each run
MOST_PANELS = 4
CUT = 16  # letters of a hash

Series = Sequence[tuple[str, Run]]
Sweeps = Sequence[tuple[str, Mapping[str, Any]]]
Tables = Mapping[str, Table | Nothing]


def write(
    folder: Path, document: Mapping[str, Any], series: Series, sweeps: Sweeps = (), tables: Tables | None = None
) -> Path:
    """Write `report.html` of a comparison into a folder, as a whole or not at all; arguments as for `text`.

    Raises OSError.
    """
    return replaced(folder / NAME, text(document, series, sweeps, tables).encode("utf-8", "replace"))


def text(document: Mapping[str, Any], series: Series = (), sweeps: Sweeps = (), tables: Tables | None = None) -> str:
    """The page of a comparison, as compare.json has it.

    `series` are the runs and `sweeps` the sweeps whose figures are laid over each other, by their names. `tables` are
    numbers of figures that are known already, by the figures' names: those of `contrasts.draw`, of `plots` and of
    `curves`; what is not there is made here.
    """
    specs: list[dict[str, Any]] = []
    own, overlaid = _figures(document, series, sweeps, tables or {}, specs)
    sections = {
        "unfair": ("", numbers.unfair(document)),
        "gates": ("Gate", numbers.gates(document)),
        "says": ("What it says", numbers.sentences(document)),
        "ratios": ("Ratios", own["ratios"]),
        "glance": ("At a glance", numbers.overview(document)),
        "comparisons": ("Every metric", numbers.comparisons(document)),
        "capacities": ("Capacity", numbers.capacities(document)),
        "value": ("Value", numbers.value(document, own["value"])),
        "figures": ("Figures", overlaid),
        "setup": ("Set-up", _setup(document, series, sweeps)),
        "terms": ("Words", numbers.terms(document)),
        "again": ("Run it again", setup.command(document.get("command"))),
    }
    places = {place: name if made else "" for place, (name, made) in sections.items()}
    main = e("main", [made for _, made in sections.values()], id="content")
    body = join((_masthead(document), page.navigation(places, ""), main))
    drawn = figures.Drawn(Html(""), figures.data_of(specs))
    return str(page.document(_title(document), body, drawn, MADE))


def _title(document: Mapping[str, Any]) -> str:
    names = [str(one.get("name", "")) for one in document.get("subjects") or ()]
    base = str(document.get("base") or (names[0] if names else ""))
    others = [name for name in names if name != base]
    if len(others) == 1:
        return f"{others[0]} against {base}"
    return f"{len(others)} others against {base}" if others else "Nothing to compare"


def _masthead(document: Mapping[str, Any]) -> Html:
    subjects = document.get("subjects") or ()
    simulated = any(one.get("simulated") for one in subjects)
    why = "answered by genbench's embedded engine, not by a real server"
    mark = e("span", "SIMULATED", class_="mark", title=why) if simulated else None
    over = " ".join(str(word) for word in ("genbench", document.get("genbench") or "", "compare") if word)
    told = [e("div", e("dt", name), e("dd", e("bdi", said))) for name, said in _facts(document)]
    return e(
        "header",
        e("p", over, mark, class_="over"),
        e("h1", e("bdi", _title(document))),
        e("dl", told, class_="facts"),
        class_="masthead compare",
    )


def _facts(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    subjects = document.get("subjects") or ()
    base = str(document.get("base") or "")
    others = [str(one.get("name", "")) for one in subjects if one.get("name") != base]
    what = {"runs": "these runs", "engines": "these engines, measured repeatedly"}
    found = [
        ("Base (A)", base),
        ("Compared with it (B)", _list(others)),
        ("It speaks of", what.get(str(document.get("says")), "")),
        ("Model", _list(_each(subjects, "model"))),
        ("Load", _list(_each(subjects, "load"))),
        ("Smallest effect", f"{100 * float(document.get('min_effect') or 0):g} %"),
    ]
    return [(name, said) for name, said in found if said]


def _each(subjects: Sequence[Mapping[str, Any]], key: str) -> list[str]:
    return list(dict.fromkeys(str(one[key]) for one in subjects if one.get(key)))


def _list(names: Sequence[str], most: int = 5) -> str:
    more = [f"{len(names) - most} more"] if len(names) > most else []
    return ", ".join([*names[:most], *more])


# -- figures ----------------------------------------------------------------------------------------------------------


def _figures(
    document: Mapping[str, Any], series: Series, sweeps: Sweeps, known: Tables, specs: list[dict[str, Any]]
) -> tuple[dict[str, Html | None], Html | None]:
    """The comparison's own figures by their place, and the section of those in which all runs and sweeps are."""
    if why := missing():
        return {"ratios": None, "value": None}, e("section", e("h2", "Figures"), figures.absence(why), id="figures")
    mine = {name: known.get(name, one) for name, one in contrasts_draw.tables(document).items()}
    own: dict[str, Html | None] = {}
    for place, names in (("ratios", [name for name in mine if name != "value"]), ("value", ["value"])):
        shown = [figures.Shown("contrasts", contrasts_draw, name, mine[name]) for name in names if _worth(mine[name])]
        own[place] = figures.placed(shown, specs) if shown else None
    if own["ratios"] is not None:
        own["ratios"] = e("section", e("h2", "Ratios", class_="heard"), own["ratios"], id="ratios")
    over = [*_of_runs(series, known), *_of_sweeps(sweeps, known)]
    if not over:
        return own, None
    hint = "Drag a figure to move it, Ctrl + wheel to zoom, double-click to go back."
    said = e("p", hint, class_="note hint")
    return own, e("section", e("h2", "Figures"), said, figures.placed(over, specs), id="figures")


def _worth(table: Table | Nothing) -> bool:
    """Whether there is something to draw, or a fault to tell: a figure of what is not there needs no excuse."""
    return not isinstance(table, Nothing) or isinstance(table, Failed)


def _of_runs(series: Series, known: Tables) -> list[figures.Shown]:
    if not series:
        return []
    chosen = [name for name in OF_RUNS if name not in PANELS or len(series) <= MOST_PANELS]
    short = contrasts.short([name for name, _ in series])
    made = plots_draw.tables([(short[name], run) for name, run in series], [one for one in chosen if one not in known])
    found = {name: known[name] if name in known else made[name] for name in chosen}
    return [
        figures.Shown("plots", plots_draw, name, one, name in figures.HALF)
        for name, one in found.items()
        if _worth(one)
    ]


def _of_sweeps(sweeps: Sweeps, known: Tables) -> list[figures.Shown]:
    if not sweeps:
        return []
    short = contrasts.short([name for name, _ in sweeps])
    names = [name for name in curves_draw.names() if name not in known]
    made = curves_draw.tables([(short[name], sweep) for name, sweep in sweeps], names)
    found = {name: known[name] if name in known else made[name] for name in curves_draw.names()}
    return [figures.Shown("curves", curves_draw, name, one, half=True) for name, one in found.items() if _worth(one)]


# -- what was compared ------------------------------------------------------------------------------------------------


def _setup(document: Mapping[str, Any], series: Series, sweeps: Sweeps) -> Html:
    headers = [(name, run.header) for name, run in series]
    headers += [(name, {key: one for key, one in sweep.items() if key in KEPT}) for name, sweep in sweeps]
    return e(
        "section",
        e("h2", "Set-up side by side"),
        _subjects(document),
        _settings(headers) if len(headers) > 1 else None,
        id="setup",
    )


KEPT = frozenset({*setup.FACTS, "config", "environment", "preflight"})


def _subjects(document: Mapping[str, Any]) -> Html:
    base = document.get("base")
    subjects = document.get("subjects") or ()
    priced = any(one.get("price") is not None for one in subjects)
    rows = []
    for one in subjects:
        mark = e("span", "base", class_="given") if one.get("name") == base else None
        sources = ", ".join(map(str, one.get("sources") or ()))
        first = join((e("bdi", str(one.get("name", ""))), mark, e("span", e("bdi", sources), class_="under")))
        runs = int(one.get("runs") or 1)
        what = f"{one.get('kind', '')}{f' of {runs}' if runs > 1 else ''}"
        cells = [what, _verdicts(one), str(one.get("model") or "–"), str(one.get("load") or "–")]
        rows.append(row(first, *cells, *([number(one.get("price"))] if priced else []), numbers=False))
    head = ("", "What", "Verdict", "Model", "Load", *(["Price ($/h)"] if priced else []))
    return table("What was compared", head, rows, class_="subjects")


def _verdicts(one: Mapping[str, Any]) -> Html | str:
    found = [str(level) for level in one.get("verdicts") or ()]
    pills = [
        (e("span", level, class_=f"pill {level.lower()}"), f" {found.count(level)} " if len(found) > 1 else " ")
        for level in dict.fromkeys(found)
    ]
    return join(part for pill in pills for part in pill) if found else "–"


def _settings(headers: Sequence[tuple[str, Mapping[str, Any]]]) -> Html:
    """What differs between the set-ups, and folded below it what does not."""
    flat = [dict(setup.flat(_bare(header))) for _, header in headers]
    keys = list(dict.fromkeys(key for one in flat for key in one))
    said = {key: [setup.value_said(one.get(key)) for one in flat] for key in keys}
    differ = [key for key in keys if len(set(said[key])) > 1]
    same = [key for key in keys if key not in differ and said[key][0] != "–"]
    names = [e("bdi", name) for name, _ in headers]
    rows = [row(key, *(_setting(one) for one in said[key]), numbers=False) for key in differ]
    first = (
        table("What differs between the set-ups", ("What differs", *names), rows, class_="wide settings-of-several")
        if rows
        else e("p", "The set-ups are the same in all that their headers say.", class_="note")
    )
    folded = e(
        "details",
        e("summary", e("h3", "The same in all"), e("span", f"{len(same)}", class_="note")),
        e(
            "table",
            e("caption", "What is the same in all set-ups", class_="heard"),
            e("tbody", [e("tr", e("th", key, scope="row"), e("td", _setting(said[key][0]))) for key in same]),
            class_="settings",
        ),
    )
    return join((first, e("div", folded, class_="groups one") if same else None))


def _bare(header: Mapping[str, Any]) -> dict[str, Any]:
    """What a header says of the set-up; the config's own parts without the word before them."""
    parts: dict[str, Any] = {key: header[key] for key in setup.FACTS if header.get(key) is not None}
    config = header.get("config")
    parts |= config if isinstance(config, Mapping) else {}
    return parts | {key: header[key] for key in ("environment", "preflight") if isinstance(header.get(key), Mapping)}


def _setting(said: str) -> Html | str:
    hexed = len(said) > 2 * CUT and all(letter in "0123456789abcdef" for letter in said)
    return e("code", f"{said[:CUT]}…", title=said) if hexed else e("bdi", said)
