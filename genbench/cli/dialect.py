"""Another tool's figures beside ours, as text: what `genbench report RUN --dialect NAME` prints, and its JSON.

One line per figure: theirs, ours, and in the last column our key and why the two differ, wrapped over the lines of its
metric. Plain ASCII, at most `WIDTH` columns.
"""

import os
import sys
import textwrap
from typing import TYPE_CHECKING, Any

from genbench.block import number

if TYPE_CHECKING:
    from genbench.metrics.dialects import Dialect, Row
    from genbench.metrics.summary import Run

WIDTH = 100
NAME_WIDTH = 36
LEAST_NUMBER = 10
GAP = "  "


def show(name: str, run: "Run", *, as_json: bool) -> None:
    """Print a run in the words of the tool `name` on stdout. Raises ConfigError for a tool that is not known."""
    from genbench.metrics.dialects import translate

    found = translate(name, run)
    try:
        sys.stdout.write(json_text(found) if as_json else text(found, str(run.folder)))
        sys.stdout.flush()
    except BrokenPipeError:  # `genbench ... | head`: nobody reads any more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def as_dict(found: "Dialect") -> dict[str, Any]:
    """The dialect as plain data."""
    return {
        "dialect": found.name,
        "tool": found.tool,
        "rows": [
            {
                "name": row.name,
                "unit": row.unit,
                "ours": row.ours or None,
                "why": row.why,
                "figures": [{"stat": one.stat, "theirs": one.theirs, "ours": one.ours} for one in row.figures],
            }
            for row in found.rows
        ],
        "notes": list(found.notes),
    }


def json_text(found: "Dialect") -> str:
    """The dialect as JSON, indented, with a final newline."""
    import orjson

    return orjson.dumps(as_dict(found), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()


def text(found: "Dialect", source: str) -> str:
    """The table with its notes below, with a final newline; `source` names the run."""
    cells = [line for row in found.rows for line in _figures(row)]
    lines = [f"{found.tool}: its figures beside genbench's", f"from the log of {source}", ""]
    if cells:
        names = max(len(cell[0]) for cell in cells)
        own, mine = (max(LEAST_NUMBER, *(len(cell[i]) for cell in cells)) for i in (1, 2))
        own = max(own, len(found.name))
        head = f"{'':<{names}}{GAP}{found.name:>{own}}{GAP}{'genbench':>{mine}}"
        reason = WIDTH - len(head) - len(GAP)
        lines.append(f"{head}{GAP}genbench's row: why they differ")
        for row in found.rows:
            why = _wrapped(f"{row.ours}: {row.why}" if row.ours else row.why, reason)
            block = _figures(row)
            block += [("", "", "")] * (len(why) - len(block))
            why += [""] * (len(block) - len(why))
            for (name, theirs, ours), words in zip(block, why, strict=True):
                lines.append(f"{name:<{names}}{GAP}{theirs:>{own}}{GAP}{ours:>{mine}}{GAP}{words}")
        lines.append("")
    for note in found.notes:
        lines += _wrapped(f"- {note}", WIDTH, "  ")
    joined = "\n".join(line.rstrip() for line in lines).rstrip() + "\n"
    return joined.encode("ascii", "replace").decode("ascii")


def _figures(row: "Row") -> list[tuple[str, str, str]]:
    """The lines of a row: a lone figure in one, else the name and below it a line for each statistic."""
    unit = f" ({row.unit})" if row.unit else ""
    name = _wrapped(row.name + unit, NAME_WIDTH)
    shown = [(one.stat, _cell(one.theirs, row.unit), _cell(one.ours, row.unit)) for one in row.figures]
    if len(shown) == 1 and not shown[0][0]:
        return [(name[0], *shown[0][1:]), *((f"  {more}", "", "") for more in name[1:])]
    return [*((line, "", "") for line in name), *((f"  {stat}", theirs, ours) for stat, theirs, ours in shown)]


def _cell(value: float | str | None, unit: str) -> str:
    if isinstance(value, str):
        return value
    counts = "token" if unit in ("", "Tot", "requests", "count", "tokens") else unit
    return number(value, counts)


def _wrapped(words: str, width: int, indent: str = "") -> list[str]:
    return textwrap.wrap(words, width, subsequent_indent=indent, break_on_hyphens=False)
