"""One probe of a capacity search: decides, while a run goes on, whether its load keeps the promises.

Rules
- What is tested is the share of requests that keep a promise (`metrics.slo.Share`), in order of their ends, in blocks
  of as many requests as end in one median latency, by `sequential.side`. Requests sent in the first `SETTLING` median
  latencies are left out: the server was filling up.
- Nothing is said before `LEAST_S` and `LATENCIES` median latencies (of a request alone, times `SLOWER` at most, for a
  miss: on a server that is overrun latencies have no bound).
- A promise is missed once its share is below what was promised, with a chance of an error of at most `error`; kept the
  other way round, and only once the number in flight is stationary.
- `lenient`: while no load is known to be too high, half of the misses that were allowed is enough to go on upwards.
- A load whose number in flight grows without bound keeps nothing: `engine.saturation` ends the run.
- What is not decided when the time is up is undecided.
- Promises that are no share of requests (means, pooled metrics, rates) need the whole time; `of_figures` reads them
  from the run's 95 % intervals afterwards.

The verdict stands in `run.json` as `stopped_at`; everything else is worked out from the records (`series`), so a study
can be resumed from its folders. Works on records and a clock given from outside, in real and in virtual time.
"""

import math
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from genbench.engine.judge import Judge, Stop
from genbench.engine.saturation import SATURATED
from genbench.engine.until import VALUES
from genbench.metrics import slo as rules
from genbench.metrics.definitions import by_key
from genbench.metrics.slo import OPERATORS, Share
from genbench.records import Bools, Ints, RecordTable
from genbench.sequential import side
from genbench.stats import Floats
from genbench.types import MISSING, NOT_FAILED, EventKind, Outcome, Record, Slo, Summary

Verdict = Literal["kept", "missed", "close"]

KEPT, MISSED, CLOSE = "kept: ", "missed: ", "undecided: "
SO_FAR = " so far"
LEAST_S = 10.0
LATENCIES = 20
SETTLING = 4
SLOWER = 4
FEWEST = 20  # requests, before anything is said
ERROR = 0.02
NS = 1e9


class Growth(Judge, Protocol):
    """Ends a run whose number in flight grows without bound, and knows when it is stationary."""

    def stationary(self) -> bool:
        """Whether the number in flight has been stationary."""


@dataclass(frozen=True, slots=True)
class Timing:
    """How long a probe may take (s), the latency of a request alone (s), whether a lenient "kept" is enough.

    `whole`: it takes the whole time unless a promise is missed or the load too high.
    """

    cap_s: float
    latency_s: float = 0.0
    lenient: bool = False
    whole: bool = False
    error: float = ERROR


class Probe:
    """The judge of one probe."""

    def __init__(self, shares: Sequence[Share], growth: Growth, timing: Timing) -> None:
        self._shares = tuple(share for share in shares if all(rule.metric in FOLLOWED for rule in share.rules))
        self._all = len(self._shares) == len(shares)
        self._growth = growth
        self._timing = timing
        self._began_ns = MISSING
        self._sent_ns = array("q")
        self._took_ns = array("q")
        self._good = [bytearray() for _ in self._shares]
        self._looked = 0

    def add(self, record: Record) -> None:
        """See `judge.Judge`."""
        self._growth.add(record)
        if record.outcome in (Outcome.CANCELLED, Outcome.NO_OUTPUT):
            return
        self._sent_ns.append(record.sent_ns)
        if record.outcome == Outcome.OK:
            self._took_ns.append(record.end_ns - record.sent_ns)
        for good, share in zip(self._good, self._shares, strict=True):
            good.append(_is_good(record, share))

    def look(self, now_ns: int, in_flight: int) -> Stop | None:
        """See `judge.Judge`."""
        if self._began_ns == MISSING:
            self._began_ns = now_ns
        stop = self._growth.look(now_ns, in_flight)
        if stop is not None:
            return stop
        seconds = (now_ns - self._began_ns) / NS
        over = seconds >= self._timing.cap_s
        count = len(self._sent_ns)
        if not over and (seconds < LEAST_S or count < max(FEWEST, 1.01 * self._looked)):
            return None
        self._looked = count
        latency_s = self._latency_s()
        if not over and seconds < LATENCIES * min(latency_s, SLOWER * self._timing.latency_s or latency_s):
            return None
        said = self._decide(seconds, latency_s)
        if said is None and over:
            return Stop(f"{CLOSE}{self._shown(seconds, latency_s)} after {seconds:.0f} s")
        return said

    def _decide(self, seconds: float, latency_s: float) -> Stop | None:
        sides, easily = [], True
        for share, good in zip(self._shares, self._good, strict=True):
            found = self._series(good, seconds, latency_s)
            sides.append(side(found.shares, share.share, self._timing.error))
            easily = easily and found.mean >= (1 + share.share) / 2
            if sides[-1] == "below":
                return Stop(f"{MISSED}{_shown(share, found)}", at_once=True)
        if self._timing.whole or not self._all or seconds < LATENCIES * latency_s or not self._growth.stationary():
            return None
        if self._timing.lenient and easily and self._shares:
            return Stop(f"{KEPT}{self._shown(seconds, latency_s)}{SO_FAR}")
        if sides and all(found == "above" for found in sides):
            return Stop(f"{KEPT}{self._shown(seconds, latency_s)}")
        return None

    def _sent(self) -> Ints:
        return np.frombuffer(self._sent_ns, dtype=np.int64)

    def _latency_s(self) -> float:
        return float(np.median(np.frombuffer(self._took_ns, dtype=np.int64))) / NS if self._took_ns else 0.0

    def _series(self, good: bytearray, seconds: float, latency_s: float) -> "Series":
        return _in_blocks(np.frombuffer(good, dtype=np.uint8), self._sent(), self._began_ns, seconds, latency_s)

    def _shown(self, seconds: float, latency_s: float) -> str:
        told = zip(self._shares, self._good, strict=True)
        return "; ".join(_shown(share, self._series(good, seconds, latency_s)) for share, good in told)


def _shown(share: Share, found: "Series") -> str:
    """What was tested: without the first requests, which came while the server filled up."""
    return f"{share.slo.text} by {100 * found.mean:.4g} % of {found.shares.size * found.size:,} requests"


# -- blocks ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Series:
    """The share of good requests in each block of `size` requests, in order of their ends; float64[k]."""

    shares: Floats
    size: int

    @property
    def mean(self) -> float:
        """Share of good requests in all blocks; 1 where there is none."""
        return float(self.shares.mean()) if self.shares.size else 1.0


def _in_blocks(
    good: "np.ndarray[tuple[int], np.dtype[np.uint8]] | Bools",
    sent_ns: Ints,
    began_ns: int,
    seconds: float,
    latency_s: float,
) -> Series:
    """Blocks of as many requests as end in one median latency; those sent while the server filled up left out."""
    settled = min(SETTLING * latency_s, seconds / 2)
    rest = good[sent_ns >= began_ns + settled * NS]
    size = max(1, round(rest.size * latency_s / max(seconds - settled, 1e-9)))
    blocks = rest.size // size
    return Series(rest[: blocks * size].reshape(blocks, size).mean(axis=1, dtype=np.float64), size)


def series(table: RecordTable, share: Share) -> Series:
    """The same from the records of a run."""
    values = {rule.metric: by_key()[rule.metric].of(table) for rule in share.rules}  # type: ignore[union-attr]
    good = rules.kept(table, share, values)
    rows = np.flatnonzero(rules.due(table) & (table.sent_ns >= 0))
    if not rows.size:
        return Series(np.empty(0), 1)
    rows = rows[np.argsort(table.end_ns[rows], kind="stable")]
    sent_ns, end_ns = table.sent_ns[rows], table.end_ns[rows]
    took = (end_ns - sent_ns)[table.ok[rows]]
    latency_s = float(np.median(took)) / NS if took.size else 0.0
    began_ns = int(sent_ns.min())
    return _in_blocks(good[rows], sent_ns, began_ns, (int(end_ns.max()) - began_ns) / NS, latency_s)


def counts(table: RecordTable, share: Share) -> tuple[int, int]:
    """How many requests of a run kept a promise, and how many were due."""
    values = {rule.metric: by_key()[rule.metric].of(table) for rule in share.rules}  # type: ignore[union-attr]
    due = rules.due(table)
    return int((rules.kept(table, share, values) & due).sum()), int(due.sum())


# -- after the run -----------------------------------------------------------------------------------------------------


def verdict_of(stopped_at: str, found: Sequence[tuple[Share, Series]], figures: Sequence[Verdict]) -> Verdict:
    """What a probe says: why it was stopped, what its records say of each share, and what the figures say."""
    if stopped_at.startswith((SATURATED, MISSED)) or "missed" in figures:
        return "missed"
    if not stopped_at.startswith(KEPT):
        sides = [side(one.shares, share.share, ERROR) for share, one in found]
        if "below" in sides:
            return "missed"
        if not all(one == "above" for one in sides):
            return "close"
    return "close" if "close" in figures else "kept"


def of_figures(slos: Sequence[Slo], summary: Summary) -> list[Verdict]:
    """What the run's own numbers say of promises that are no share; one whose interval holds the bound is close."""
    return [_of_figure(slo, summary) for slo in slos]


def _of_figure(slo: Slo, summary: Summary) -> Verdict:
    value: float | None = None
    interval: tuple[float | None, float | None] | None = None
    if slo.metric in summary.metrics:
        row = summary.metrics[slo.metric]
        value, interval = row.stats.get(slo.stat), row.ci95.get(slo.stat)
    elif slo.metric in summary.run:
        value, interval = summary.run[slo.metric].value, summary.run[slo.metric].ci95
    if value is None:
        return "missed"
    low, high = interval or (value, value)
    held = {
        OPERATORS[slo.op](-math.inf if low is None else low, slo.bound),
        OPERATORS[slo.op](math.inf if high is None else high, slo.bound),
    }
    return "close" if len(held) == 2 else "kept" if held == {True} else "missed"


# -- one record --------------------------------------------------------------------------------------------------------


def _inverse(of: Callable[[Record], int | None], times: Callable[[Record], float]) -> Callable[[Record], float | None]:
    def value(record: Record) -> float | None:
        found, factor = of(record), times(record)
        return None if not found or factor < 0 else factor * NS / found

    return value


def _isl(record: Record) -> int:
    return record.isl_usage if record.isl_usage >= 0 else record.isl_tokenizer


FOLLOWED: Mapping[str, Callable[[Record], float | None]] = {
    key: of for key, of in VALUES.items() if not key.endswith("_turns") and not key.endswith("_turn")
} | {
    "output_tps_per_user": _inverse(VALUES["tpot"], lambda record: 1.0),
    "prefill_tps": _inverse(VALUES["ttft"], _isl),
}
SPEEDS = ("output_tps_per_user", "prefill_tps")


def _is_good(record: Record, share: Share) -> bool:
    """`metrics.slo.kept` of one record."""
    if record.outcome != Outcome.OK:
        return not share.rules and record.outcome in NOT_FAILED
    return all(_keeps(record, rule) for rule in share.rules)


def _keeps(record: Record, rule: Slo) -> bool:
    value = FOLLOWED[rule.metric](record)
    if value is None:
        return rule.metric == "tpot" and 0 <= _streamed(record) < 2
    return OPERATORS[rule.op](value if rule.metric in SPEEDS else value / 1e6, rule.bound)


def _streamed(record: Record) -> int:
    """Output tokens that were in the stream; -1 where nobody says."""
    length = record.osl_usage if record.osl_usage >= 0 else record.osl_tokenizer
    if length >= 0 and record.reasoning_tokens > 0 and EventKind.REASONING not in record.event_kind:
        return max(0, length - record.reasoning_tokens)
    return length
