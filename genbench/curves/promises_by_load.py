"""How many requests keep what was promised at each load: where a line leaves the top, users begin to feel it."""

from typing import Any

import numpy as np

from genbench.curves import _lines
from genbench.curves._source import Curve, answers, hollow_said, left_out_said, loads, usable
from genbench.metrics.levels import AveragedLevel, value_of
from genbench.plots._figure import Mark, Nothing, Table
from genbench.plots._look import Look
from genbench.plots._source import joined
from genbench.stats import PERCENTILES

TITLE = "Promises kept by load"
OF_LOAD = True
EVERY = "every promise"
ALL = "slo_attainment"


def data(curve: Curve) -> Table:
    """Requests (%) that keep each promise on a request, and all of them, at each load."""
    levels = usable(curve)
    promises = curve.found["promises"]
    if not promises:
        raise Nothing("the sweep has no promise (--slo)")
    found = {one["rule"]: _shares(one, levels) for one in promises}
    found = {rule: shares for rule, shares in found.items() if np.isfinite(shares).any()}
    if not found:
        raise Nothing("no promise is one that a single request can keep")
    if len(found) > 1:
        every = [value_of(level, ALL) for level in levels]
        found[EVERY] = np.array([np.nan if value is None else value for value in every], dtype=np.float64)
    columns = {head: np.tile(one, len(found)) for head, one in loads(curve, levels).items()}
    columns["line"] = np.repeat(list(found), len(levels))
    columns["kept_pct"] = np.concatenate(list(found.values()))
    marks = tuple(
        Mark("promise", share, share, one["rule"])
        for one in promises
        if one["rule"] in found and (share := PERCENTILES.get(one.get("stat", "")))
    )
    said = "dashed: the share that a percentile asks for" if marks else ""
    marks += answers(curve)
    return Table(columns, joined(said, hollow_said(levels), left_out_said(curve, levels)), marks)


def _shares(promise: Any, levels: list[AveragedLevel]) -> Any:
    known = {row["value"]: row["attainment_pct"] for row in promise["levels"]}
    found = [known.get(level["value"]) for level in levels]
    return np.array([np.nan if share is None else share for share in found], dtype=np.float64)


def chart(table: Table, look: Look) -> Any:
    """A line for each promise, and the share that a percentile asks for; of several curves a panel for each promise."""
    import altair as alt

    scale = alt.Scale(domain=[0, 104], nice=False)
    shown = alt.Axis(values=[0, 20, 40, 60, 80, 100])
    y = _lines.Axis("kept_pct", {"title": "requests that keep it (%)", "scale": scale, "axis": shown})
    return _lines.lines(table, look, y, belongs=lambda mark, rule: mark.text == rule, named=False)
