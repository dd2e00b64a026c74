"""The figure of `genbench cost`: what a million output tokens cost over how long the first token takes, load by load.

Left and low is good: no load gives both for less than one with none to its left and below it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from genbench.costing import cost
from genbench.curves import _lines
from genbench.curves._source import (
    Curve,
    column,
    curves,
    ends,
    having,
    hollow_said,
    intervals_said,
    joined,
    left_out_said,
    loads,
    promises,
)
from genbench.metrics.levels import TOKENS
from genbench.plots import _draw
from genbench.plots import _parts as parts
from genbench.plots._draw import Failed, missing
from genbench.plots._figure import Nothing, Table
from genbench.plots._look import HEIGHT, LIGHT, WIDTH, Look
from genbench.plots._source import joined as clauses
from genbench.studies import sweep_files

NAME = "cost_by_latency"
USD = "usd_per_1m_output"
LATENCIES = {
    "ttft.p95": ("ttft_p95_ms", "time to first token, p95 (ms)"),
    "request_latency.p95": ("latency_p95_ms", "request latency, p95 (ms)"),
}


@dataclass(slots=True)
class CostByLatency:
    """The figure; `key` is the latency on its x axis."""

    key: str
    TITLE: str = "Cost against latency"

    def data(self, curve: Curve, price: float) -> Table:
        """Dollars per million output tokens and latency p95 of each load, both with their intervals."""
        levels = having(curve, TOKENS, self.key)
        name = LATENCIES[self.key][0]
        columns = loads(curve, levels) | ends(levels, self.key, name)
        for end, other in (("", "value"), ("low_", "high"), ("high_", "low")):  # the dearest where it is slowest
            tps = column(levels, TOKENS, other)
            columns[end + USD] = np.array([cost(price, one).usd_per_1m_output if one > 0 else np.nan for one in tps])
        columns["load"] = np.array([f"{level['value']:,.10g}" for level in levels])
        unit = "concurrency" if curve.by == "concurrency" else "req/s"
        said = (f"at ${price:g} per hour; numbers at the points: {unit}", intervals_said(levels, TOKENS, self.key))
        few = "too few requests for p95 at some loads" if any(one["figures"][self.key]["few"] for one in levels) else ""
        note = clauses(*said, hollow_said(levels), few, left_out_said(curve, levels))
        bounds = tuple(mark for mark in promises(curve, self.key.partition(".")[0]) if mark.share_pct == 95)
        return Table(columns, note, bounds)

    def chart(self, table: Table, look: Look) -> Any:
        """A line for each curve through its loads in order, each point with its load; promises as upright lines."""
        import altair as alt

        name, title = LATENCIES[self.key]
        x = _lines.axis(table, name, title, room=_lines.WORDS, beside=[mark.low for mark in table.marks])
        y = _lines.axis(table, USD, "cost of a million output tokens ($)")
        made = _lines.layers(table, look, x, y, parts.colour(table, look))
        made += _lines.words(table, look, x, y, "load", above=True)
        rows = [{"bound": mark.low, "promise": mark.text} for mark in dict.fromkeys(table.marks)]
        if rows:
            base = alt.Chart(parts.inline(rows)).encode(x=x.x("bound"))
            made.append(base.mark_rule(strokeDash=[5, 4], strokeWidth=1.3, color=look.ink))
            named = base.mark_text(align="right", baseline="top", dx=-5, dy=3, color=look.ink, fontSize=12)
            made.append(named.encode(y=alt.value(0), text="promise:N"))
        return alt.layer(*made).properties(width=WIDTH, height=HEIGHT)


def draw(priced: Sequence[tuple[str, Path, float]], out: Path, look: Look = LIGHT) -> str:
    """Draw the sweeps in these folders, each with its name and price, into `plots` of `out`.

    Returns a sentence where there is nothing to draw or something failed, else nothing. Raises RecordError for a folder
    without a sweep, and OSError where `out` takes no file.
    """
    read = [(name, sweep_files.read(folder)) for name, folder, _ in priced]
    series = curves(read)
    each = [price for (name, document), (_, _, price) in zip(read, priced, strict=True)
            for _ in curves([(name, document)])]  # fmt: skip
    by_curve = {id(curve): price for (_, curve), price in zip(series, each, strict=True)}
    key = next((one for one in LATENCIES if all(_has(curve, one) for _, curve in series)), "request_latency.p95")
    figure = CostByLatency(key)
    found: dict[str, Table | Nothing] = {}
    try:
        found[NAME] = joined(series, lambda curve: figure.data(curve, by_curve[id(curve)]), of_load=False)
    except Nothing as nothing:
        return f"no figure: {nothing}"
    _draw.write(
        found, out / _draw.FOLDER, lambda _, table, own: _draw.specification(figure, table, own), ("png",), look
    )
    why = found[NAME]
    return f"not drawn: {why}" if isinstance(why, Failed) else missing()


def _has(curve: Curve, key: str) -> bool:
    return bool(np.isfinite(column(curve.levels, key)).any())


def prices(document: Mapping[str, Any]) -> list[tuple[str, Path, float]]:
    """(name, folder, price) of each sweep in a document of cost."""
    found = {row["name"]: (Path(row["source"]), row["price_per_hour"]) for row in document["rows"]
             if row["kind"] == "sweep"}  # fmt: skip
    return [(name, folder, price) for name, (folder, price) in found.items()]
