"""The rows of `server_metrics.jsonl` read back: what each source said, and when, as series.

A torn last line is left out, like everywhere. What is not in the vocabulary of this version is left out, too.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from genbench.stats import Floats, Ints
from genbench.telemetry.beside import NAME
from genbench.telemetry.prometheus import Histogram
from genbench.telemetry.vocabulary import BY_KEY, OF_GPU

PREFERRED = {True: ("gpu", "server", "prometheus"), False: ("server", "prometheus", "gpu")}  # of a GPU's words, others


@dataclass(frozen=True, slots=True)
class Scrape:
    """One answer, or why there was none."""

    t_ns: int
    values: Mapping[str, float] = field(default_factory=dict)
    histograms: Mapping[str, Histogram] = field(default_factory=dict)
    gpus: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    error: str = ""
    took_ns: int = 0  # the moment is known to half of it


@dataclass(frozen=True, slots=True)
class Told:
    """A source and its scrapes in order; the first is from before the load."""

    url: str
    role: str
    dialect: str
    scrapes: Sequence[Scrape]

    @property
    def good(self) -> list[Scrape]:
        """Those that had an answer."""
        return [one for one in self.scrapes if not one.error]


@dataclass(frozen=True, slots=True)
class Track:
    """One gauge or counter of one source, or of one of its GPUs: moments int64[n], values float64[n], in order."""

    source: int
    gpu: str
    t_ns: Ints
    values: Floats


def read(folder: Path) -> tuple[Told, ...]:
    """What the sources of a run said; empty where nothing was asked. Raises OSError."""
    try:
        data = (folder / NAME).read_bytes()
    except FileNotFoundError:
        return ()
    heads: dict[int, dict[str, Any]] = {}
    rows: dict[int, list[Scrape]] = {}
    for line in data.split(b"\n"):
        with contextlib.suppress(AttributeError, KeyError, TypeError, ValueError):  # a torn or foreign line
            row = orjson.loads(line)
            if "url" in row:
                heads[row["source"]] = row
            else:
                rows.setdefault(row["source"], []).append(_scrape(row))
    return tuple(
        Told(
            str(head["url"]),
            str(head.get("role")),
            str(head.get("dialect") or ""),
            sorted(rows.get(number, ()), key=lambda one: one.t_ns),
        )
        for number, head in sorted(heads.items())
    )


def _scrape(row: Mapping[str, Any]) -> Scrape:
    if "error" in row:
        return Scrape(int(row["t_ns"]), error=str(row["error"]))
    histograms = {
        key: Histogram(total, count, tuple(bounds), tuple(counts))
        for key, (total, count, bounds, counts) in row.get("h", {}).items()
        if key in BY_KEY
    }
    gpus = {gpu: {key: v for key, v in told.items() if key in BY_KEY} for gpu, told in row.get("g", {}).items()}
    values = {key: value for key, value in row.get("v", {}).items() if key in BY_KEY}
    return Scrape(int(row["t_ns"]), values, histograms, gpus, took_ns=int(row.get("took_ns", 0)))


def tracks(told: Sequence[Told], key: str) -> list[Track]:
    """The series of a gauge or a counter, from the kind of source that is nearest to it; empty: nobody tells."""
    for role in PREFERRED[BY_KEY[key].of == OF_GPU]:
        found = [track for k, one in enumerate(told) if one.role == role for track in _of_source(k, one.good, key)]
        if found:
            return found
    return []


def _of_source(number: int, scrapes: Sequence[Scrape], key: str) -> Iterator[Track]:
    if BY_KEY[key].of != OF_GPU:
        yield from _track(number, "", scrapes, lambda one: one.values.get(key))
        return
    for gpu in dict.fromkeys(gpu for one in scrapes for gpu in one.gpus):
        yield from _track(number, gpu, scrapes, lambda one, gpu=gpu: one.gpus.get(gpu, {}).get(key))  # type: ignore[misc]


def _track(number: int, gpu: str, scrapes: Sequence[Scrape], of: Callable[[Scrape], float | None]) -> Iterator[Track]:
    pairs = [(one.t_ns, value) for one in scrapes if (value := of(one)) is not None]
    if pairs:
        yield Track(number, gpu, np.array([t for t, _ in pairs], np.int64), np.array([v for _, v in pairs], np.float64))


def histograms(told: Sequence[Told], key: str) -> list[tuple[int, list[tuple[int, Histogram]]]]:
    """(source, its (moment, histogram) in order) of those that tell it."""
    for role in PREFERRED[False]:
        found = [
            (k, [(s.t_ns, s.histograms[key]) for s in one.good if key in s.histograms])
            for k, one in enumerate(told)
            if one.role == role
        ]
        if found := [(k, pairs) for k, pairs in found if pairs]:
            return found
    return []


def together(found: Sequence[Track], several: str) -> tuple[Ints, Floats]:
    """Several series as one: at each moment of any of them the sum, or the mean, of what each said last.

    It begins when all have said something, and ends with the first that falls silent.
    """
    if len(found) == 1:
        return found[0].t_ns, found[0].values
    begin, end = max(int(one.t_ns[0]) for one in found), min(int(one.t_ns[-1]) for one in found)
    every = np.unique(np.concatenate([one.t_ns for one in found]))
    t_ns = every[(every >= begin) & (every <= end)]
    held = np.array([one.values[np.searchsorted(one.t_ns, t_ns, side="right") - 1] for one in found])
    return t_ns, held.sum(axis=0) if several == "sum" else held.mean(axis=0)
