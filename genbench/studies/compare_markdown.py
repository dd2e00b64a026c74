"""A comparison for a pull request: short, the verdict first, what is unfair folded away."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from genbench.block import number
from genbench.studies.compare_words import GOOD, called, p_value, plain

MARKS = {True: ":white_check_mark:", False: ":x:"}


def markdown(document: Mapping[str, Any]) -> str:
    """The whole of it, with a final newline."""
    return "\n".join(_lines(document)) + "\n"


def _lines(document: Mapping[str, Any]) -> Iterator[str]:
    simulated = " (SIMULATED)" if any(one["simulated"] for one in document["subjects"]) else ""
    yield f"### genbench compare{simulated}"
    yield ""
    if document["gates"]:
        broken = sum(not gate["passed"] for gate in document["gates"])
        total = len(document["gates"])
        yield f"**{f'{broken} of {total} rules broken' if broken else f'all {total} rules kept'}**"
        yield ""
        for gate in document["gates"]:
            yield f"- {MARKS[gate['passed']]} `{gate['rule']}`: {_escaped(gate['text'])}"
        yield ""
    for said in document["sentences"]:
        yield f"- {_escaped(said)}"
    for one in document["comparisons"]:
        yield ""
        yield from _comparison(one)
    if document["capacities"]:
        yield ""
        yield "| capacity | base | other | change | verdict |"
        yield "|---|---:|---:|---:|---|"
        for row in document["capacities"]:
            cells = [_escaped(f"{row['b']}: {row['what']}"), plain(row["a_value"]), plain(row["b_value"])]
            yield f"| {' | '.join([*cells, _change(row), row['verdict'] or row['why']])} |"
    if document["value"]:
        yield ""
        yield "| for a dollar | output tokens | requests | relative |"
        yield "|---|---:|---:|---:|"
        for row in document["value"]:
            cells = [_escaped(row["name"]), number(row["output_tokens_per_dollar"], "token")]
            cells += [number(row["requests_per_dollar"], "requests"), number(row["relative"])]
            yield f"| {' | '.join(cells)} |"
    yield ""
    yield f"<sub>genbench {document['genbench']}; p after Holm's correction, differences below"
    yield f"{100 * document['min_effect']:g} % are not called; `{_code(document['command'])}`</sub>"


def _comparison(one: Mapping[str, Any]) -> Iterator[str]:
    at = f" at {one['load']['text']}" if one["load"] else ""
    yield f"**{_escaped(one['b'])}** against **{_escaped(one['a'])}**{at}"
    yield ""
    yield from _table(one["rows"]) if one["rows"] else ()
    if one["unfair"]:
        things = "1 thing makes" if len(one["unfair"]) == 1 else f"{len(one['unfair'])} things make"
        yield ""
        yield f"<details><summary>{things} it unfair</summary>"
        yield ""
        for line in one["unfair"]:
            yield f"- {_escaped(line['text'])}"
        yield ""
        yield "</details>"


def _table(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield "| | base | new | change | 95 % | p | |"
    yield "|---|---:|---:|---:|---:|---:|---|"
    for row in rows:
        unit = f" ({row['unit']})" if row["unit"] else ""
        cells = [_escaped(row["label"] + unit), number(row["a"], row["unit"]), number(row["b"], row["unit"])]
        cells += [_change(row), _ends(row), _escaped(p_value(row["p_holm"])), _verdict(row)]
        yield f"| {' | '.join(cells)} |"


def _change(row: Mapping[str, Any]) -> str:
    if row["ratio"] is not None:
        return f"{100 * (row['ratio'] - 1):+.3g} %"
    if row.get("unit") == "%" and row["a"] is not None and row["b"] is not None:
        points = row["b"] - row["a"]
        return f"{points:+.3g} points" if points else "0"
    return ""


def _ends(row: Mapping[str, Any]) -> str:
    ends = row["ci95"]
    if not ends or None in ends or row["ratio"] is None:
        return ""
    return f"{100 * (ends[0] - 1):+.3g} .. {100 * (ends[1] - 1):+.3g} %"


def _verdict(row: Mapping[str, Any]) -> str:
    if called(row):
        return f"{':green_circle:' if row['verdict'] in GOOD else ':red_circle:'} {row['verdict']}"
    return _escaped(f"{row['verdict']}: {row['why']}" if row["why"] else row["verdict"])


def _escaped(text: str) -> str:
    """Text that cannot end a cell, a line or become HTML."""
    plain = " ".join(str(text).split())
    for one, other in (
        ("&", "&amp;"),
        ("<", "&lt;"),
        (">", "&gt;"),
        ("|", "\\|"),
        ("`", "'"),
        ("*", "\\*"),
        ("_", "\\_"),
    ):
        plain = plain.replace(one, other)
    return plain


def _code(text: str) -> str:
    return text.replace("`", "'").replace("\n", " ").replace("<", "&lt;")
