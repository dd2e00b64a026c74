"""The tables of a comparison's page: what is unfair, gates, every metric with its verdict, capacities, value, words.

They read compare.json and compute nothing. What is good for the other side is told by a word and a colour, never by the
colour alone.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from genbench.block import number
from genbench.contrasts import _source as source
from genbench.metrics.definitions import by_key
from genbench.report import top
from genbench.report.markup import Html, e, join, row, table

BARRED, UNTESTED = "not comparable", "not tested"
TERMS = (
    ("Ratio", "B / A; above 1 is more, which is better for throughputs and worse for times"),
    ("95 % interval", "of the ratio: where it holds 1, the two may be the same"),
    (
        "p",
        "how often two that are the same would look at least that different; below it the same after Holm's correction "
        "for the number of metrics tested (Holm 1979), which is what the verdict goes by",
    ),
    ("Faster, slower", "a difference (p after Holm below 0.05) that is at least the smallest effect that counts"),
    ("Better, worse", "the same, of what is not a speed"),
    ("No difference seen", "none was found: a longer run might find one"),
    (
        "Not tested",
        "shown but not judged: such an interval is not known to be right, or says nothing of B",
    ),
    ("Not comparable", "one side lacks it, or what was measured is not the same quantity; the reason stands below"),
)

Comparison = Mapping[str, Any]


# -- what comes first -------------------------------------------------------------------------------------------------


def unfair(document: Mapping[str, Any]) -> Html:
    """What makes it unfair, a line for each thing; of several comparisons each line once, with whose it is."""
    comparisons = document.get("comparisons") or ()
    lines: dict[tuple[str, str], list[Comparison]] = {}
    barred: dict[tuple[str, str], tuple[str, ...]] = {}
    for one in comparisons:
        for line in one.get("unfair") or ():
            key = (str(line.get("key", "")), str(line.get("text", "")))
            lines.setdefault(key, []).append(one)
            barred[key] = tuple(map(str, line.get("bars") or ()))
    if not lines:
        said = "Nothing was found that makes it unfair." if comparisons else "Nothing was compared."
        return e("p", e("span", "✓ ", aria_hidden="true"), said, class_="fair", id="unfair")
    made = [
        e("li", e("bdi", text), _barred(barred[key, text]), _whose(document, owners, len(comparisons)))
        for (key, text), owners in lines.items()
    ]
    grave = any("*" in bars for bars in barred.values())
    return e(
        "section",
        e("h2", e("span", "✕" if grave else "!", class_="sign", aria_hidden="true"), "What makes it unfair"),
        e("ul", made),
        class_=f"verdict unfair {'invalid' if grave else 'suspect'}",
        id="unfair",
    )


def _barred(metrics: Sequence[str]) -> Html | None:
    if not metrics:
        return None
    labels = ["no metric"] if "*" in metrics else list(dict.fromkeys(_label(key) for key in metrics))
    said = "no metric can be compared" if "*" in metrics else f"cannot be compared: {', '.join(labels)}"
    return e("span", f" – {said}", class_="note")


def _label(key: str) -> str:
    found = by_key().get(key)
    return key if found is None else found.label


def _whose(document: Mapping[str, Any], owners: Sequence[Comparison], every: int) -> Html | None:
    if len(owners) == every:
        return None
    names = list(dict.fromkeys(title(document, one) for one in owners))
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return e("span", f" ({', '.join(names[:3])}{more})", class_="note")


def gates(document: Mapping[str, Any]) -> Html | None:
    """The rules of --fail-if: held or broken."""
    found = document.get("gates") or ()
    if not found:
        return None
    rows = [
        row(
            e("code", str(one.get("rule", ""))),
            top.pill(bool(one.get("passed"))),
            e("bdi", str(one.get("text") or "")),
            numbers=False,
        )
        for one in found
    ]
    failed = sum(not one.get("passed") for one in found)
    said = f"{failed} of {len(found)} failed" if failed else "passed" if len(found) == 1 else f"all {len(found)} passed"
    head = ("Rule", "Result", "What was seen")
    made = table("Rules and whether they hold", head, rows, class_="promises gates")
    return e("section", e("h2", f"Gate: {said}"), made, id="gates")


def sentences(document: Mapping[str, Any]) -> Html:
    """What can be quoted."""
    found = [e("li", e("bdi", str(one))) for one in document.get("sentences") or ()]
    return e(
        "section",
        e("h2", "What it says"),
        e("ul", found) if found else e("p", "No metric could be compared.", class_="nothing"),
        class_="says-of-curve",
        id="says",
    )


# -- metric by metric -------------------------------------------------------------------------------------------------


def title(document: Mapping[str, Any], one: Comparison) -> str:
    """A comparison's name among those of a document: the other side, and the load where there is one."""
    where = source.load(one)
    return f"{source.pair(document, one)}{f' at {where}' if where else ''}"


def overview(document: Mapping[str, Any]) -> Html | None:
    """Where there are several comparisons: metrics against others, or against loads, with change and verdict."""
    comparisons = [one for one in document.get("comparisons") or () if one.get("rows")]
    if len(comparisons) < 2:
        return None
    groups: dict[tuple[Any, Any], list[Comparison]] = {}
    for one in comparisons:
        groups.setdefault((one.get("a"), one.get("b")) if one.get("load") else ("", ""), []).append(one)
    made = [_overview(document, found, len(groups) > 1) for found in groups.values()]
    note = (
        "Change against the base. A coloured cell says in words what was found, the others show no difference or "
        "say that they were not tested; – stands where nothing can be compared."
    )
    return e("section", e("h2", "At a glance"), made, e("p", note, class_="note"), id="glance")


def _overview(document: Mapping[str, Any], found: Sequence[Comparison], several: bool) -> Html:
    by_load = bool(found[0].get("load"))
    pair = f"{found[0].get('b')} against {found[0].get('a')}"
    caption = pair if by_load else f"Against {source.bases(document)}"
    names = list(dict.fromkeys(source.name(one) for each in found for one in each["rows"]))
    rows = []
    for name in names:
        mine = [next((one for one in each["rows"] if source.name(one) == name), None) for each in found]
        rows.append(e("tr", e("th", name, scope="row"), [_glance(one) for one in mine]))
    heads = [source.load(one) if by_load else source.pair(document, one) for one in found]
    return table(caption, ("Metric", *heads), rows, class_="wide glance", seen=several or by_load)


def _glance(one: Mapping[str, Any] | None) -> Html:
    if one is None or one.get("verdict") == BARRED:
        return e("td", "–", title=str((one or {}).get("why") or "not measured"), class_="n")
    kind = source.kind(one.get("verdict"))
    differs = kind != source.SAME
    said = differs or one.get("verdict") == UNTESTED
    under = e("span", str(one.get("verdict")), class_="under") if said else None
    return e("td", _change(one), under, class_=f"n told {kind}" if differs else "n")


def comparisons(document: Mapping[str, Any]) -> Html | None:
    """Every metric of every comparison; where there are many they are folded."""
    found = [one for one in document.get("comparisons") or () if one.get("rows")]
    if not found:
        return None
    several = len(found) > 1
    made = [_comparison(document, one, at, len(found)) for at, one in enumerate(found)]
    methods = list(dict.fromkeys(str(one["method"]) for each in found for one in each["rows"] if one.get("method")))
    least = 100 * float(document.get("min_effect") or 0)
    note = f"Smallest effect that counts: {least:g} %." if least else "Every difference counts, however small."
    said = [e("p", note, f" Intervals and p by: {'; '.join(methods)}." if methods else "", class_="note")]
    return e("section", e("h2", "Every metric" if not several else "Every comparison"), made, said, id="comparisons")


def _comparison(document: Mapping[str, Any], one: Comparison, at: int, every: int) -> Html:
    a, b = str(one.get("a", "")), str(one.get("b", ""))
    where = source.load(one)
    name = f"{b} against {a}{f' at {where}' if where else ''}"
    rows = [_row(metric) for metric in one.get("rows") or ()]
    head = ("Metric", _side("A", a), _side("B", b), "Ratio B / A", "95 % interval", "p", "Verdict")
    made = table(name, head, rows, class_="compared")
    if every == 1:
        return made
    count = _count(one)
    summary = e("summary", e("h3", name), e("span", count, class_="note"))
    return e("details", summary, made, open=every <= 3, class_="compared-pair", id=f"pair{at}")


def _count(one: Comparison) -> str:
    """How many metrics had which verdict."""
    verdicts = [str(metric.get("verdict")) for metric in one.get("rows") or ()]
    return ", ".join(f"{verdicts.count(known)} {known}" for known in dict.fromkeys(verdicts))


def _side(letter: str, name: str) -> Html:
    return join((e("span", letter, class_="under"), e("bdi", name)))


def _row(metric: Mapping[str, Any]) -> Html:
    unit = str(metric.get("unit") or "")
    p, holm = metric.get("p"), metric.get("p_holm")
    ratio = metric.get("ratio")
    change = _change(metric)
    shown: Html | str = "–" if change == "–" else change
    if source.usable(ratio):
        shown = join((_plain(float(ratio or 0)), e("span", change, class_="under")))
    interval = _interval(metric.get("ci95"), _plain if source.usable(ratio) else _points)
    return e(
        "tr",
        e("th", e("a", source.name(metric), href=f"#def-{metric.get('metric')}"), scope="row"),
        [e("td", _amount(metric.get(side), unit), class_="n") for side in ("a", "b")],
        e("td", shown, class_="n"),
        e("td", interval, class_="n"),
        e("td", _p(p), e("span", f"Holm {_p(holm)}", class_="under") if holm is not None else None, class_="n"),
        e("td", _verdict(metric), class_="verdict-cell"),
    )


def _verdict(metric: Mapping[str, Any]) -> Html:
    said = str(metric.get("verdict") or "–")
    why = str(metric.get("why") or "")
    kind = source.kind(said)
    tone = {source.BETTER: "pill valid", source.WORSE: "pill invalid"}.get(
        kind, "barred" if said in source.WITHOUT else "same"
    )
    return join((e("span", said, class_=tone), e("span", e("bdi", why), class_="under") if why else None))


def _amount(value: Any, unit: str) -> Html | str:
    return "–" if value is None else join((number(value, unit), e("span", f" {unit}", class_="unit") if unit else None))


def _change(metric: Mapping[str, Any]) -> str:
    """The ratio as a change; of shares in percent the difference in points."""
    ratio, a, b = metric.get("ratio"), metric.get("a"), metric.get("b")
    if source.usable(ratio):
        return source.change(float(ratio or 0))
    if metric.get("unit") == "%" and a is not None and b is not None and metric.get("verdict") != BARRED:
        return _points(b - a)
    return "–"


def _points(value: float) -> str:
    return f"{value:+.2g} points".replace("-", "−").replace("+0 ", "±0 ")


def _plain(value: float) -> str:
    return f"{value:.3f}" if 0.01 < abs(value) < 100 else f"{value:.3g}"


def _p(value: Any) -> str:
    if value is None:
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}" if value < 0.1 else f"{value:.2f}"


def _interval(ends: Any, said: Any) -> str:
    low, high = ends or (None, None)
    if low is None or high is None:
        return "–" if low is high else f"above {said(low)}" if high is None else f"below {said(high)}"
    return f"{said(low)} – {said(high)}"


# -- capacities, value, words -----------------------------------------------------------------------------------------


def capacities(document: Mapping[str, Any]) -> Html | None:
    """The highest loads that keep a promise, and the highest throughputs, side by side."""
    found = document.get("capacities") or ()
    if not found:
        return None
    rows = [
        e(
            "tr",
            e(
                "th",
                e("bdi", str(one.get("what", ""))),
                e("span", f"{one.get('b')} against {one.get('a')}", class_="under"),
                scope="row",
            ),
            [
                e("td", number(one.get(f"{side}_value")), _under(one.get(f"{side}_ci95")), class_="n")
                for side in ("a", "b")
            ],
            e("td", _plain(one["ratio"]) if source.usable(one.get("ratio")) else "–", class_="n"),
            e("td", _interval(one.get("ci95"), _plain), class_="n"),
            e("td", _p(one.get("p")), class_="n"),
            e("td", _verdict(one), class_="verdict-cell"),
        )
        for one in found
    ]
    head = ("Capacity", "A", "B", "Ratio B / A", "95 % interval", "p", "Verdict")
    made = table("Capacity against capacity", head, rows, class_="compared")
    return e("section", e("h2", "Capacity against capacity"), made, id="capacities")


def _under(ends: Any) -> Html | None:
    said = _interval(ends, number)
    return e("span", said, class_="under") if said != "–" else None


def value(document: Mapping[str, Any], drawn: Html | None) -> Html | None:
    """What a dollar buys, where prices are known."""
    found = document.get("value") or ()
    if not found:
        return None
    known = (*(document.get("subjects") or ()), *found)
    prices = {one.get("name"): one["price"] for one in known if one.get("price") is not None}
    rows = [
        row(
            str(one.get("name", "")),
            number(prices.get(one.get("name"))),
            number(one.get("output_tokens_per_dollar")),
            number(one.get("requests_per_dollar")),
            f"{one['relative']:.2f}×" if source.usable(one.get("relative")) else "–",
        )
        for one in found
    ]
    head = ("", "Price ($/h)", "Output tokens per $", "Requests per $", f"Times {found[0].get('name')}'s")
    made = table("What a dollar buys", head, rows, class_="value")
    return e("section", e("h2", "Throughput per dollar"), drawn, made, id="value")


def terms(document: Mapping[str, Any]) -> Html:
    """What the words of this page mean, and the formulas of its metrics."""
    keys = {one.get("metric") for each in document.get("comparisons") or () for one in each.get("rows") or ()}
    rows = [row(name, told, numbers=False) for name, told in TERMS]
    rows += [
        e(
            "tr",
            e("th", one.label, e("code", one.key), scope="row"),
            e("td", f"{one.formula} ({one.unit})"),
            id=f"def-{one.key}",
        )
        for one in by_key().values()
        if one.key in keys
    ]
    made = table("What the words of this page mean", ("Word", "Meaning"), rows, class_="terms")
    return e("section", e("h2", "What the words mean"), made, id="terms")
