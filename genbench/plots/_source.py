"""What figures read from a run: a metric or why there is none, time zero, phases, promises, and bins of time or tokens.

Time zero of every figure is the first send of the measured phase; the warm-up has negative times.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from genbench import loads
from genbench.metrics import steady
from genbench.metrics.definitions import METRICS, MetricDef, Values
from genbench.metrics.summary import Run
from genbench.plots._figure import SEPARATOR, Mark, Nothing
from genbench.records import Ints, RecordTable
from genbench.stats import PERCENTILES, Floats
from genbench.types import Phase

NS = 1e9
OF_STREAMS = ("ttft", "itl")
OF_SENT = ("client_lag",)


def metric(key: str) -> MetricDef:
    """A metric's row of the table of definitions."""
    return next(row for row in METRICS if row.key == key)


def values(run: Run, key: str) -> Values:
    """The values of a metric over its own population; raises Nothing where there are none."""
    found = metric(key).of(run.table)
    if found.values.size == 0:
        raise Nothing(absence(run, key))
    return found


def several(run: Run, key: str) -> Values:
    """The same, of two requests at least; raises Nothing for one alone, which has no distribution."""
    found = values(run, key)
    if found.rows[0] == found.rows[-1]:
        name = metric(key).label.lower()
        raise Nothing(f"only one request counts for the {name}: a distribution needs more")
    return found


def absence(run: Run, key: str) -> str:
    """Why a run has no value of a metric, in one sentence."""
    table, name = run.table, metric(key).label.lower()
    if not len(table):
        return "the run has no request"
    if key in OF_SENT:
        return f"no request of the measured phase was sent, so there is no {name}"
    if not table.ok.any():
        return f"no request of the measured phase ended ok, so there is no {name}"
    if key in OF_STREAMS and not (table.ok & table.streamed).any():
        return f"no answer was streamed, so there is no {name}"
    if key == "itl":
        return f"no answer came in two events with a known number of tokens, so there is no {name}"
    return f"no request has a known {name}"


def zero_ns(run: Run) -> int:
    """The first send of the measured phase, else of any; raises Nothing where nothing was sent."""
    table = run.table
    if not len(table):
        raise Nothing("the run has no request")
    sent = table.sent_ns >= 0
    among = sent & table.measured if (sent & table.measured).any() else sent
    if not among.any():
        raise Nothing(f"none of the {len(table):,} requests was sent")
    return int(table.sent_ns[among].min())


def all_phases(table: RecordTable) -> RecordTable:
    """The table with its warm-up taken for measured: for what is drawn over time, where the warm-up is shaded."""
    if table.measured.all():
        return table
    found = replace(table, phase=np.full_like(table.phase, Phase.MEASURED))
    vars(found)["content"] = table.content  # a cached property, the same for every phase: 0.25 s at 10^7 events
    return found


def part(header: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    """A part of the header; empty where it is not there."""
    found: Any = header
    for key in path:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def phases(run: Run) -> tuple[Mark, ...]:
    """What is not the steady load: warm-up, and before and after the steady window of a run that has one; seconds."""
    table, zero = run.table, zero_ns(run)
    sent, ended = table.sent_ns[table.sent_ns >= 0], table.end_ns[table.sent_ns >= 0]
    first, last = (int(sent.min()) - zero) / NS, (int(max(sent.max(), ended.max())) - zero) / NS
    found = [Mark("phase", first, 0.0, "warm-up")] if first < 0 else []
    if "steady_duration" in run.summary.run:
        load = part(run.header, "config", "load")
        window = steady.window(table, load.get("concurrency"), open_loop=loads.scheduled(load))
        if window is not None:
            start, end = ((edge - zero) / NS for edge in window)
            around = (Mark("phase", 0.0, start, "ramp"), Mark("phase", end, last, "tail"))
            found += [mark for mark in around if mark.high - mark.low > 0.002 * (last - first)]
    return tuple(found)


def shaded(marks: tuple[Mark, ...]) -> str:
    """What the shaded stretches mean; empty where there are none."""
    names = [mark.text for mark in marks if mark.kind == "phase"]
    return f"shaded: {', '.join(names)}" if names else ""


def promises(run: Run, key: str) -> tuple[Mark, ...]:
    """The SLOs on a metric, the bound in its own unit."""
    return tuple(
        Mark("promise", slo.bound, slo.bound, slo.text, PERCENTILES.get(slo.stat, math.nan))
        for slo in (result.slo for result in run.summary.slo)
        if slo.metric == key
    )


def edges(low: float, high: float, count: int) -> Floats:
    """Edges of `count` equal bins from low to high, one bin of a second where both are the same.

    The bins end where the data ends: the rate in a last bin that the data only half fills would look like a drop.
    """
    return np.linspace(low, high, count + 1) if high > low else np.array([low, low + 1.0])


def bins_said(bins: Floats) -> str:
    """How wide the bins of time are, for a note."""
    width = float(bins[1] - bins[0])
    return f"in bins of {width:.3g} s" if width >= 1 else f"in bins of {1000 * width:.3g} ms"


def token_edges(low: int, high: int, most: int) -> Floats:
    """Edges of at most `most` bins for whole tokens; widths are powers of two, so bins of two runs can be merged."""
    width = 2.0 ** math.ceil(max(0.0, math.log2((high - low + 1) / max(most - 2, 1))))
    first, last = math.floor(low / width), math.floor(high / width) + 1
    return np.asarray(width * np.arange(first, last + 1), dtype=np.float64)


def place(values: Floats | Ints, bins: Floats) -> Ints:
    """The bin of each value, int64; what lies outside counts in the nearest. Their width is one and the same."""
    width = bins[1] - bins[0]
    found = ((values - bins[0]) * (1 / width) + 1e-9).astype(np.int64)
    return np.asarray(np.clip(found, 0, bins.size - 2, out=found), dtype=np.int64)


def counted(count: int, noun: str) -> str:
    """A number of things in words."""
    return f"{count:,} {noun}" + "s" * (count != 1)


def joined(*said: str) -> str:
    """Parts of a note, the empty ones left out."""
    return SEPARATOR.join(text for text in said if text)
