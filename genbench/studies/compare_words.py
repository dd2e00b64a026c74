"""A comparison in words: the sentences, and the screen (at most 100 columns, ASCII), its conclusion first.

The wording keeps to what was tested: one run a side says "these runs", repeats and rounds say "these engines", and what
was not found is said with the size that would have been.
"""

import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from scipy.special import ndtri

from genbench.block import number
from genbench.metrics.contrast import UNTESTED

WIDTH = 100
LABEL, VALUE, RATIO, INTERVAL, P = 31, 9, 7, 16, 8
CALLED = ("faster", "slower", "better", "worse")
GOOD = ("faster", "better")
SHOWN = ("ttft.p50", "request_latency.p50", "tpot.p50", "itl.mean", "output_token_throughput", "embedding_throughput")
SHORTENED = ("ttft", "tpot", "itl")  # what the conclusion calls by these letters
ONLY_RUNS = (
    "this is about these runs: the same engine, started twice, may differ as much; to say it of engines, repeat both or"
    " use genbench run-ab"
)
Row = Mapping[str, Any]
Z95 = 1.959963984540054
MOST_CHANGES, MOST_UNSEEN, MOST_BRIEF, MOST_LOADS = 4, 3, 3, 4


def key_of(row: Row) -> str:
    """`ttft.p99`, of a figure of the whole run its key alone."""
    return str(row["metric"]) if row["stat"] in ("", "value") else f"{row['metric']}.{row['stat']}"


def called(row: Row) -> bool:
    """Whether the row says that there is a difference."""
    return row["verdict"] in CALLED


# -- sentences --------------------------------------------------------------------------------------------------------


def sentences(document: Mapping[str, Any]) -> list[str]:
    """What the comparison says, the most important first."""
    said: list[str] = []
    several = len({one["b"] for one in document["comparisons"]}) > 1
    for one in document["comparisons"]:
        found = _of_pair(one, float(document["min_effect"]))
        said += [f"{one['b']}: {text}" if several and text != found[0] else text for text in found]
    if document["says"] == "runs" and any(one["rows"] for one in document["comparisons"]):
        said.append(ONLY_RUNS)
    said += [_of_capacity(row) for row in document["capacities"]]
    said += [_of_value(row, document["value"][0]["name"]) for row in document["value"][1:] if row["relative"]]
    return said


def _of_pair(one: Mapping[str, Any], min_effect: float) -> list[str]:
    """What is said of a pair, its conclusion first; nothing of capacity searches, which have no rows."""
    return list(_pair_said(one, min_effect))


def _pair_said(one: Mapping[str, Any], min_effect: float) -> Iterator[str]:
    at = f"at {one['load']['text']}: " if one["load"] else ""
    what = f"these {one['says']}"
    pair = f"{one['b']} against {one['a']}"
    tested = [row for row in one["rows"] if row["p_holm"] is not None and row["ratio"] is not None]
    differ = [row for row in one["rows"] if called(row)]
    if not one["rows"] and one["runs"] != [0, 0]:
        why = "they share no figure; a file without requests has its tool's own ones"
        yield f"{at}nothing can be said of {pair}: {why}"
    if not one["rows"]:
        return
    if not tested and not differ:
        why = next((row["why"] for row in one["rows"] if row["why"]), "there is no row that both have")
        yield f"{at}nothing can be said of {pair}: {why}"
        return
    if differ:
        shown = sorted(differ, key=_prominence)[:MOST_CHANGES]
        more = f", and {len(differ) - len(shown)} more" if len(differ) > len(shown) else ""
        yield f"{at}{what} differ: {pair}: {'; '.join(map(_change, shown))}{more}"
    else:
        yield f"{at}no difference seen between {one['a']} and {one['b']} in {_tested(one)}"
    small = [row for row in tested if not called(row) and row["p_holm"] < 0.05]
    if small:
        changes = "; ".join(map(_change, small[:MOST_CHANGES]))
        yield f"{at}found, but smaller than --min-effect {100 * min_effect:g} %: {changes}"
    unseen = list(_unseen(tested, min_effect))
    if unseen and not one["load"]:  # of a sweep it would be said load by load
        yield f"{at}not seen is not the same as not there: below about {', '.join(unseen)} a difference would not show"


def _rows(count: int, kind: str = "") -> str:
    return f"{count} {kind}{'row' if count == 1 else 'rows'}"


def _tested(*comparisons: Mapping[str, Any]) -> str:
    return _rows(sum(row["p_holm"] is not None for one in comparisons for row in one["rows"]), "tested ")


def _prominence(row: Row) -> tuple[bool, int]:
    key = key_of(row)
    return key not in SHOWN, SHOWN.index(key) if key in SHOWN else 0


def _change(row: Row) -> str:
    """`Time to first token p50 4.8 % slower (95 %: 3.1 .. 6.5)`."""
    label = row["label"]
    if row["ratio"] is None:
        points = (row["b"] or 0.0) - (row["a"] or 0.0)
        return f"{label} {abs(points):.3g} percentage points {'higher' if points > 0 else 'lower'}"
    word = "higher" if row["ratio"] > 1 else "lower"
    ends = _percents(row)
    interval = "" if ends is None else f" (95 %: {ends[0]:+.3g} .. {ends[1]:+.3g} %)"
    return f"{label} {abs(100 * (row['ratio'] - 1)):.3g} % {word}{interval}"


def _percents(row: Row) -> tuple[float, float] | None:
    ends = row["ci95"]
    if not ends or None in ends or row["ratio"] is None:
        return None
    return 100 * (float(ends[0]) - 1), 100 * (float(ends[1]) - 1)


def _unseen(tested: Sequence[Row], min_effect: float) -> Iterator[str]:
    """How large a difference has to be, in percent, to be called in the rows where none was: the distance from 1 at
    which the interval, widened for Holm's first step, leaves it; at least --min-effect.
    """
    widened = float(ndtri(1 - 0.025 / max(len(tested), 1))) / Z95
    known = [row for row in tested if not called(row) and _percents(row) is not None]
    for row in sorted(known, key=_prominence)[:MOST_UNSEEN]:
        low, high = row["ci95"]
        least = math.exp(widened * math.log(high / low) / 2) - 1
        yield f"{100 * max(least, min_effect):.2g} % ({row['label']})"


def _of_capacity(row: Row) -> str:
    if row["ratio"] is None:
        return f"{row['what']}: not compared: {row['why']}"
    said = f"{row['what']}: {plain(row['b_value'])} against {plain(row['a_value'])}, {_percent(row['ratio'])}"
    if row["ci95"] is None:
        return f"{said} ({row['why']})"
    low, high = (100 * (end - 1) for end in row["ci95"])
    return f"{said} (95 %: {low:+.3g} .. {high:+.3g} %, p {p_value(row['p'])}): {row['verdict']}"


def _of_value(row: Row, base: str) -> str:
    return f"for a dollar {row['name']} gives {row['relative']:.3g} times what {base} gives"


def plain(value: float | None) -> str:
    """A load or a throughput: whole ones stay whole."""
    return "-" if value is None else f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def _percent(ratio: float) -> str:
    return f"{100 * (ratio - 1):+.3g} %"


def p_value(value: float | None) -> str:
    """A p-value for a reader."""
    if value is None:
        return ""
    return "<0.001" if value < 0.001 else f"{value:.2g}"


# -- the conclusion ---------------------------------------------------------------------------------------------------


def conclusion(document: Mapping[str, Any], letters: Mapping[str, str]) -> tuple[list[str], set[str]]:
    """The comparison in a line for each pair, and those of its sentences that say no more than that."""
    pairs: dict[str, list[Mapping[str, Any]]] = {}
    for one in document["comparisons"]:
        if one["rows"] or one["runs"] != [0, 0]:
            pairs.setdefault(one["b"], []).append(one)
    found, said = [], set()
    for b, comparisons in pairs.items():
        found.append(_at_loads(comparisons) if len(comparisons) > 1 else _in_short(comparisons[0], letters[b]))
        if len(pairs) > 1:
            found[-1] = f"{letters[b]}: {found[-1]}"
        if len(comparisons) == 1:
            said.add(_of_pair(comparisons[0], float(document["min_effect"]))[0])
    if not found:
        found = [_of_capacity(row) for row in document["capacities"]]
        said = set(found)
    return found, said


def _in_short(one: Mapping[str, Any], letter: str) -> str:
    """`these runs differ: B is slower in TTFT p50 (+69 %), faster in ITL mean (-4 %), and in 3 more rows`."""
    differ = sorted((row for row in one["rows"] if called(row)), key=_prominence)
    if differ:
        shown = differ[:MOST_BRIEF]
        words = [
            f"{word} in {', '.join(_brief(row) for row in shown if row['verdict'] == word)}"
            for word in dict.fromkeys(row["verdict"] for row in shown)
        ]
        more = f"; {len(differ) - len(shown)} more" if len(differ) > len(shown) else ""
        return f"these {one['says']} differ: {letter} is {'; '.join(words)}{more}"
    text = _of_pair(one, 0.0)[0]
    return text if "nothing can be said" in text else f"no difference seen in {_tested(one)}"


def _at_loads(comparisons: Sequence[Mapping[str, Any]]) -> str:
    differ = [one for one in comparisons if any(map(called, one["rows"]))]
    if not differ:
        return f"no difference seen in {_tested(*comparisons)} at {len(comparisons)} loads"
    loads = [one["load"]["text"] for one in differ]
    more = ", ..." if len(loads) > MOST_LOADS else ""
    where = ", ".join(loads[:MOST_LOADS])
    return f"these {differ[0]['says']} differ at {len(differ)} of {len(comparisons)} loads: {where}{more}"


def _brief(row: Row) -> str:
    name = row["metric"].upper() if row["metric"] in SHORTENED else row["metric"].replace("_", " ")
    stat = "" if row["stat"] in ("", "value") else f" {row['stat']}"
    if row["ratio"] is None:
        return f"{name}{stat} ({(row['b'] or 0.0) - (row['a'] or 0.0):+.3g} points)"
    return f"{name}{stat} ({_percent(row['ratio'])})"


# -- the screen -------------------------------------------------------------------------------------------------------


def screen(document: Mapping[str, Any]) -> str:
    """What is printed: the conclusion and the sides, then for each pair what is unfair and the table; then the
    sentences that say more than the conclusion; gates last.
    """
    names = [one["name"] for one in document["subjects"]]
    letters = {name: chr(ord("A") + k) if k < 26 else str(k + 1) for k, name in enumerate(names)}
    simulated = "SIMULATED: " if any(one["simulated"] for one in document["subjects"]) else ""
    first, said = conclusion(document, letters)
    lines = [line for text in first for line in _wrapped(simulated + text, "", "  ")] + [""]
    for one in document["subjects"]:
        lines += _wrapped(_side(one), f"{letters[one['name']]}  ")
    for b in dict.fromkeys(one["b"] for one in document["comparisons"]):
        of_pair = [one for one in document["comparisons"] if one["b"] == b]
        everywhere = _everywhere(of_pair)
        if len(of_pair) > 1:
            lines += ["", f"{letters[b]} against {letters[of_pair[0]['a']]} at every load", *_warnings(everywhere)]
        for one in of_pair:
            lines += ["", *_pair(one, letters, everywhere if len(of_pair) > 1 else [])]
    lines += _capacities(document, letters)
    lines += _value(document["value"])
    rest = [line for text in document["sentences"] if text not in said for line in _wrapped(text, "- ")]
    lines += ["", *rest] if rest else []
    if document["gates"]:
        lines += ["", *(line for gate in document["gates"] for line in _wrapped(_gate(gate), ""))]
    return "\n".join(line.rstrip() for line in lines).encode("ascii", "replace").decode() + "\n"


def _side(one: Mapping[str, Any]) -> str:
    verdicts = sorted(set(one["verdicts"]))
    runs = f"{one['runs']} runs, " if one["runs"] > 1 else ""
    requests = f"{runs}{one['requests']:,} requests" if one["requests"] else ""
    price = f"${one['price']:g} per hour" if one["price"] else ""
    kind = one["kind"] if one["kind"] not in ("run", "repeats") else ""
    words = [one["model"], kind, one["load"], requests, "/".join(verdicts), price]
    return f"{one['name']}  " + ", ".join(word for word in words if word)


def _wrapped(text: str, first: str, then: str = "") -> list[str]:
    then = then or " " * len(first) or "  "
    return textwrap.wrap(text, WIDTH, initial_indent=first, subsequent_indent=then, break_on_hyphens=False)


def _everywhere(comparisons: Sequence[Mapping[str, Any]]) -> list[str]:
    """What is unfair at every load of a pair."""
    first, *others = [[line["text"] for line in one["unfair"]] for one in comparisons]
    return [text for text in first if all(text in other for other in others)]


def _warnings(texts: Sequence[str]) -> list[str]:
    return [line for text in texts for line in _wrapped(text, "! ")]


def _pair(one: Mapping[str, Any], letters: Mapping[str, str], said: Sequence[str]) -> Iterator[str]:
    a, b = letters[one["a"]], letters[one["b"]]
    yield f"{b} against {a}" + (f" at {one['load']['text']}" if one["load"] else "")
    yield from _warnings([line["text"] for line in one["unfair"] if line["text"] not in said])
    if not one["unfair"]:
        yield "nothing unfair was found: load, requests, lengths, options and client are the same"
    if not one["rows"]:
        return
    yield ""
    head = [a.rjust(VALUE), b.rjust(VALUE), f"{b}/{a}".rjust(RATIO), "95 %".rjust(INTERVAL), "p".rjust(P)]
    yield " " * LABEL + "".join(head)
    for row in one["rows"]:
        yield from _row(row)
    if any(row["p"] is not None for row in one["rows"]):
        yield f"p: after Holm's correction over {_rows(sum(row['p_holm'] is not None for row in one['rows']))}"


def _row(row: Row) -> Iterator[str]:
    unit = f" ({row['unit']})" if row["unit"] else ""
    label = f"{row['label']}{unit}"
    if len(label) > LABEL - 1:
        label = key_of(row) + unit
    if len(label) > LABEL - 1:
        yield label
        label = ""
    cells = [number(row["a"], row["unit"]).rjust(VALUE), number(row["b"], row["unit"]).rjust(VALUE)]
    cells += [_ratio(row).rjust(RATIO), _interval(row).rjust(INTERVAL), p_value(row["p_holm"]).rjust(P)]
    line = f"{label:<{LABEL}}" + "".join(cells)
    said = row["why"] if row["why"] and not called(row) else row["verdict"]
    if row["verdict"] == UNTESTED:
        said = f"{UNTESTED}: {row['why']}"
    if len(line) + 2 + len(said) <= WIDTH:
        yield f"{line}  {said}"
        return
    yield f"{line}  {row['verdict']}"
    yield from textwrap.wrap(f"{key_of(row)}: {row['why'] or said}", WIDTH, initial_indent="  ", subsequent_indent="  ")


def _ratio(row: Row) -> str:
    return "" if row["ratio"] is None else f"{row['ratio']:.3f}" if row["ratio"] < 99 else f"{row['ratio']:.3g}"


def _interval(row: Row) -> str:
    ends = row["ci95"]
    if not ends or None in ends:
        return ""
    return f"{ends[0]:.3f} .. {ends[1]:.3f}"


def _capacities(document: Mapping[str, Any], letters: Mapping[str, str]) -> Iterator[str]:
    if not document["capacities"]:
        return
    yield ""
    yield f"{'capacity':<{LABEL + 12}}" + "".join(
        word.rjust(width) for word, width in (("A", VALUE), ("other", VALUE), ("ratio", RATIO), ("95 %", INTERVAL))
    )
    for row in document["capacities"]:
        what = f"{letters[row['b']]}: {row['what']}"
        what = what if len(what) < LABEL + 12 else f"{what[: LABEL + 8]}..."
        cells = [plain(row["a_value"]).rjust(VALUE), plain(row["b_value"]).rjust(VALUE)]
        cells += [_ratio(row).rjust(RATIO), _interval(row).rjust(INTERVAL)]
        yield f"{what:<{LABEL + 12}}" + "".join(cells)


def _value(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if not rows:
        return
    yield ""
    yield (
        f"{'for a dollar':<{LABEL + 12}}"
        + "token".rjust(14)
        + "requests".rjust(14)
        + "relative".rjust(10)
        + ("$/1M tokens".rjust(14))
    )
    for row in rows:
        name = row["name"] if len(row["name"]) < LABEL + 12 else f"{row['name'][: LABEL + 8]}..."
        cells = [number(row["output_tokens_per_dollar"], "token").rjust(14)]
        cells += [number(row["requests_per_dollar"], "requests").rjust(14), number(row["relative"]).rjust(10)]
        cells += [number(row["dollars_per_million_output_tokens"]).rjust(14)]
        yield f"{name:<{LABEL + 12}}" + "".join(cells)


def _gate(gate: Mapping[str, Any]) -> str:
    return f"{'PASS' if gate['passed'] else 'FAIL'}  {gate['rule']}: {gate['text']}"
