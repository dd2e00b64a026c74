"""What a longer input costs: the slope of the line is the time for more tokens, its start is what is fixed."""

from typing import Any

import numpy as np

from genbench.block import number
from genbench.metrics.definitions import isl
from genbench.metrics.summary import Run
from genbench.plots import _parts as parts
from genbench.plots._figure import MOST, Nothing, Table, thinned
from genbench.plots._look import HEIGHT, WIDTH, Look
from genbench.plots._source import counted, joined, values
from genbench.stats import Floats

TITLE = "Time to first token by input length"


def data(run: Run) -> Table:
    """TTFT (ms) and input length of ok, streamed requests, and the least-squares line through all of them."""
    found = values(run, "ttft")
    lengths = isl(run.table)[found.rows]
    known = lengths >= 0
    if not known.any():
        raise Nothing("no request has a known input length: the server sends no usage, and no tokenizer was named")
    inputs, ttft = lengths[known].astype(np.float64), found.values[known]
    if ttft.size == 1:
        raise Nothing("only one request has a time to first token and an input length: a dependence needs more")
    line, said = _fit(inputs, ttft)
    kept = thinned(ttft.size)
    shown = f"{kept.size:,} of {ttft.size:,} requests, evenly spread" if kept.size < ttft.size else ""
    note = joined(said, shown or counted(ttft.size, "request"))
    return Table({"isl_tokens": inputs[kept], "ttft_ms": ttft[kept], "fit_ms": line[kept]}, note)


def _fit(lengths: Floats, ttft: Floats) -> tuple[Floats, str]:
    """The line's value at each length and the line in words; NaN where the length does not vary."""
    if lengths.min() == lengths.max():
        return np.full(lengths.size, np.nan), f"no line: every input has {lengths[0]:,.0f} tokens"
    away, above = lengths - lengths.mean(), ttft - ttft.mean()
    slope = float(np.dot(away, above) / np.dot(away, away))
    start = float(ttft.mean() - slope * lengths.mean())
    power = float(np.dot(above, above))
    explained = slope * float(np.dot(away, above)) / power if power > 0 else 1.0
    sign = "-" if slope < 0 else "+"
    words = f"{number(start, 'ms')} ms {sign} {number(abs(1000 * slope), 'ms')} ms per 1k tokens"
    return start + slope * lengths, f"line: {words} (least squares, R² {explained:.2f})"


def chart(table: Table, look: Look) -> Any:
    """A point for each request, and the line."""
    import altair as alt

    columns = table.columns
    x = parts.axis("input length (tokens)", columns["isl_tokens"], whole=True)
    y = parts.axis("time to first token (ms)", columns["ttft_ms"])
    base = alt.Chart().encode(color=parts.colour(table, look))
    crowd = 0.55 if len(table) <= MOST // 2 else 0.3
    tips = parts.tooltips(isl_tokens=("input (tokens)", ",.0f"), ttft_ms=("TTFT (ms)", ",.2f"))
    layers = [
        base.mark_circle(size=26, opacity=crowd).encode(
            x=alt.X("isl_tokens:Q", **x), y=alt.Y("ttft_ms:Q", **y), tooltip=tips
        )
    ]
    if np.isfinite(columns["fit_ms"]).any():
        line = base.transform_filter("isValid(datum.fit_ms)").mark_line(strokeWidth=2.5, clip=True)
        if not parts.names(table):
            line = line.encode(color=alt.value(look.ink))
        layers.append(line.encode(x=alt.X("isl_tokens:Q", **x), y=alt.Y("fit_ms:Q", **y)))
    return alt.layer(*layers, data=parts.data(table)).properties(width=WIDTH, height=HEIGHT)
