"""What all users get against what each one gets: no load gives more of both than one on the line."""

from typing import Any

import numpy as np

from genbench.curves import _lines
from genbench.curves._source import Curve, column, ends, having, hollow_said, intervals_said, left_out_said, loads
from genbench.metrics.curve import SPEED
from genbench.metrics.levels import TOKENS
from genbench.plots import _parts as parts
from genbench.plots._figure import Table
from genbench.plots._look import HEIGHT, WIDTH, Look
from genbench.plots._source import joined

TITLE = "Throughput against speed per user"
OF_LOAD = False
PER_GPU = "tokens_per_gpu"
TOTAL, EACH, USER = "output_tps", "output_tps_per_gpu", "output_tps_per_user"


def data(curve: Curve) -> Table:
    """Output throughput (of each GPU where their number is known) and p50 of the speed per user, load by load."""
    levels = having(curve, TOKENS, SPEED)
    front = set(curve.found["front"] or ())
    columns = loads(curve, levels) | ends(levels, SPEED, USER) | ends(levels, TOKENS, TOTAL)
    if np.isfinite(column(levels, PER_GPU)).all():
        columns |= ends(levels, PER_GPU, EACH)
    columns["on_front"] = np.array([level["value"] in front for level in levels])
    columns["load"] = np.array([f"{level['value']:,.10g}" for level in levels])
    unit = "concurrency" if curve.by == "concurrency" else "req/s"
    beaten = "off the line: another load is better in both" if len(front) < len(levels) else ""
    said = (f"numbers at the points: {unit}", beaten, intervals_said(levels, SPEED, TOKENS), hollow_said(levels))
    return Table(columns, joined(*said, left_out_said(curve, levels)))


def chart(table: Table, look: Look) -> Any:
    """A point for each load, and a line through those that no other beats; of several curves one for each."""
    import altair as alt

    each = EACH in table.columns and bool(np.isfinite(table.columns[EACH]).all())
    x = _lines.axis(table, USER, "output speed per user, p50 (token/s)", even=True, room=_lines.WORDS)
    y = _lines.axis(
        table, EACH if each else TOTAL, f"output throughput{' per GPU' * each} (token/s)", even=True, room=_lines.WORDS
    )
    made = [
        layer.transform_filter("datum.on_front") if layer.mark.type == "line" else layer
        for layer in _lines.layers(table, look, x, y, parts.colour(table, look))
    ]
    made += _lines.words(table, look, x, y, "load", above=True)
    return alt.layer(*made).properties(width=WIDTH, height=HEIGHT)
