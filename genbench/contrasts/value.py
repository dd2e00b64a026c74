"""Output tokens for a dollar beside those of the base: a longer bar is more for the money."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from genbench.block import number
from genbench.contrasts import _source as source
from genbench.plots import _parts as parts
from genbench.plots._figure import Nothing, Table
from genbench.plots._look import WIDTH, Look

TITLE = "Throughput per dollar"
ROW = 40  # px


def data(document: Mapping[str, Any]) -> Table:
    """Output tokens (or requests) per dollar of each that has a price, and how many times those of the base."""
    known = [one for one in document.get("value") or () if source.usable(one.get("relative"))]
    if not known:
        raise Nothing("no price is known")
    keys = ("output_tokens_per_dollar", "requests_per_dollar")
    key = next((one for one in keys if all(source.usable(row.get(one)) for row in known)), "")
    if not key:
        raise Nothing("neither tokens nor requests per dollar are known of all that have a price")
    base = source.plain(known[0].get("name"))  # the first that has a price
    columns = {
        "name": np.array([source.plain(one.get("name")) for one in known]),
        key: np.array([one[key] for one in known], dtype=np.float64),
        "relative": np.array([one["relative"] for one in known], dtype=np.float64),
        "is_base": np.array([one is known[0] for one in known]),
    }
    return Table(columns, f"{base} is 1; beside each bar what a dollar buys")


def chart(table: Table, look: Look) -> Any:
    """A bar for each, a line at the base."""
    import altair as alt

    key = next(one for one in table.columns if one.endswith("_per_dollar"))
    unit = "tokens" if "token" in key else "requests"
    short = source.short(table.columns["name"].tolist())
    rows = [row | {"name": short[row["name"]]} | _said(row, key, unit) for row in table.rows()]
    names = list(short.values())
    title = f"{'output tokens' if unit == 'tokens' else unit} per dollar (ratio)"
    room = 1.35 * max(float(table.columns["relative"].max()), 1.0)  # words stand beside the longest bar
    x: dict[str, Any] = {
        "title": title,
        "scale": alt.Scale(domain=[0, room], nice=False),
        "axis": alt.Axis(tickCount=6, format="~g"),
        "stack": None,
    }
    axis = alt.Axis(labelLimit=190, ticks=False, domain=False, grid=False)
    y = alt.Y("name:N", title=None, sort=names, scale=alt.Scale(domain=names), axis=axis)
    base = alt.Chart(parts.inline(rows)).encode(x=alt.X("relative:Q", **x), y=y)
    tips = parts.tooltips(
        **{"name": ("", ""), key: (key.replace("_", " "), ",.4~g"), "relative": ("times the base's", ".3f")}
    )
    colour = alt.condition("datum.is_base", alt.value(look.faint), alt.value(look.main))
    words: Any = {"text": source.fitting("said", "short"), "align": "left", "dx": 7, "fontSize": 12}
    layers = [
        base.mark_bar(size=ROW * 0.55, cornerRadiusEnd=2).encode(color=colour, tooltip=tips),
        alt.Chart(parts.inline([{"at": 1.0}]))
        .mark_rule(color=look.ink, strokeDash=[5, 4], strokeWidth=1.3)
        .encode(x=alt.X("at:Q", **x)),
        base.mark_text(**words, stroke=look.ground, strokeWidth=4, strokeJoin="round"),  # no line crosses the words
        base.mark_text(**words, color=look.ink),
    ]
    return alt.layer(*layers).properties(width=WIDTH, height=ROW * len(rows))


def _said(row: Mapping[str, Any], key: str, unit: str) -> dict[str, str]:
    bought = f"{row[key] / 1e6:.3g} M" if row[key] >= 1e6 else number(row[key])
    times = f"{row['relative']:.2f}×"
    return {"said": f"{times}, {bought} {unit}/$", "short": times}
