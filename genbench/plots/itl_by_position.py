"""Whether tokens come slower as an answer grows: the line is the median gap at each place, the band p5 to p95."""

import math
from typing import Any

import numpy as np

from genbench.metrics.definitions import Values
from genbench.metrics.summary import Run
from genbench.plots import _parts as parts
from genbench.plots._figure import Table
from genbench.plots._look import HEIGHT, WIDTH, Look
from genbench.plots._source import counted, joined, values
from genbench.records import Ints
from genbench.stats import Floats

TITLE = "Inter-token latency along the answer"
POSITIONS = 200
LEAST = 20  # gaps at a position, for a p5 and a p95 that mean something; all are drawn where none has so many
PERCENTS = (5.0, 50.0, 95.0)


def data(run: Run) -> Table:
    """p5, p50 and p95 of the time between tokens (ms) by output position; ok, streamed requests.

    The position of a gap is that of the token that ends it, the first token being 1; an event with several tokens
    stands at its last. Each gap counts once. More than 200 positions are put together in bins of
    equal width, and so are those that a mean event spans.
    """
    found = values(run, "itl")
    position = _positions(found)
    last = int(position.max())
    tokens = 1.0 if found.weights is None else float(found.weights.mean())
    width = max(-(-(last - 1) // POSITIONS), math.ceil(tokens - 1e-9))
    place = (position - 2) // width
    ordered, start = _grouped(found.values, place)
    count = np.diff(start)
    least = LEAST if count.max() >= LEAST else 1
    some = np.flatnonzero(count >= least)
    at = {f"p{percent:g}_ms": _percentiles(ordered, start[some], count[some], percent) for percent in PERCENTS}
    columns = {"from_position": some * width + 2, "to_position": some * width + width + 1, **at, "gaps": count[some]}
    binned = f"{last:,} positions in {some.size} bins of {width}" if width > 1 else ""
    left_out = found.values.size - int(count[some].sum())
    rare = f"{left_out:,} at positions with fewer than {least} are left out" if left_out else ""
    gaps = counted(found.values.size, "gap")
    return Table(columns, joined("line: median, band: p5 to p95", binned, gaps, rare))


def _positions(found: Values) -> Ints:
    """Output position of the token that ends each gap: one, and the tokens since the first event."""
    weights = found.weights if found.weights is not None else np.ones(found.values.size)
    total = np.cumsum(weights)
    first = np.append(True, found.rows[1:] != found.rows[:-1])
    before = (total - weights)[first][np.cumsum(first) - 1]
    return np.asarray(np.maximum(np.round(total - before) + 1, 2), dtype=np.int64)


def _grouped(values: Floats, group: Ints) -> tuple[Floats, Ints]:
    """Values by group, ascending in each, and where each group starts; at most 256 groups, no value below zero.

    One sort of whole numbers, the group in the upper 8 bits and below it the upper 56 of the value, which as bits have
    the order of the numbers: a quarter of the time of sorting indices. What is cut off is 1 part in 10^13.
    """
    key = (group.astype(np.uint64) << np.uint64(56)) | (np.abs(values).view(np.uint64) >> np.uint64(8))
    key.sort()
    counts = np.bincount(group)
    return (key << np.uint64(8)).view(np.float64), np.concatenate(([0], np.cumsum(counts)))


def _percentiles(ordered: Floats, start: Ints, count: Ints, percent: float) -> Floats:
    """A percentile of each group by linear interpolation."""
    at = (count - 1) * percent / 100
    low = np.floor(at).astype(np.int64)
    high = np.minimum(low + 1, count - 1)
    share = at - low
    return np.asarray(ordered[start + low] * (1 - share) + ordered[start + high] * share, dtype=np.float64)


def chart(table: Table, look: Look) -> Any:
    """A line and a band for each run."""
    import altair as alt

    columns = table.columns
    middle = (columns["from_position"] + columns["to_position"]) / 2
    drawn = Table({**columns, "position": middle})
    ends = (float(columns["from_position"].min()), float(columns["to_position"].max()))
    x = parts.axis("output position (tokens)", middle, ends=ends, whole=True)
    y = parts.axis("inter-token latency (ms)", [columns["p5_ms"], columns["p95_ms"]])
    base = alt.Chart().encode(x=alt.X("position:Q", **x), color=parts.colour(table, look))
    tips = parts.tooltips(
        from_position=("from position", ",.0f"),
        to_position=("to position", ",.0f"),
        p5_ms=("p5 (ms)", ",.2f"),
        p50_ms=("median (ms)", ",.2f"),
        p95_ms=("p95 (ms)", ",.2f"),
        gaps=("gaps", ",.0f"),
    )
    line = base.encode(y=alt.Y("p50_ms:Q", **y))
    layers = [
        base.mark_area(opacity=0.22).encode(y=alt.Y("p5_ms:Q", **y), y2="p95_ms:Q"),
        line.mark_line(strokeWidth=2, point={"size": 30} if len(table) <= 20 else False),
        parts.hover(line, tips),
    ]
    return alt.layer(*layers, data=parts.data(drawn)).properties(width=WIDTH, height=HEIGHT)
