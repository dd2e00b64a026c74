"""Ends a run when a statistic is known well enough: its 95 % interval lies within so many percent of its value.

Rules
- The interval is that of `stats` (order statistics) or, for the mean, Student's; both with the number of values that
  independent ones would have to be, n * (1 - rho) / (1 + rho), rho being the lag-1 autocorrelation in the order of
  ending, 0 where it is negative. Nothing is said before `LEAST` values, nor while no such order statistic exists.
- Looking again and again and stopping at the first narrow interval makes it a little too optimistic for small n and
  exact in the limit: Chow & Robbins 1965, On the asymptotic theory of fixed-width sequential confidence intervals.
- Values are exact: ns in an array. What is new is sorted and merged into what was sorted before, sums are carried on,
  and a look is left out until 1 % more have ended: 0.2 ms at 10^5 values, 2 ms at 10^6, O(n) for all together.
- The formulas are those of docs/metrics.md; this floor does not import metrics, so a test compares the two.
"""

import math
from array import array
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from genbench.engine.judge import Stop
from genbench.engine.live import IS_CONTENT
from genbench.stats import Ints, order_statistic_interval
from genbench.types import EventKind, Outcome, Record

LEAST = 100
GROWTH = 1.01
TAIL = 0.975
VISIBLE = bytes(kind in (EventKind.CONTENT, EventKind.TOOL) for kind in range(256))


@dataclass(frozen=True, slots=True)
class Until:
    """`metric` is a key of `VALUES`, `quantile` from 0 to 1 (None: the mean), `percent` of the value to either side."""

    metric: str
    quantile: float | None
    percent: float

    @property
    def name(self) -> str:
        """Like ttft.p95."""
        return f"{self.metric}.{'mean' if self.quantile is None else f'p{100 * self.quantile:g}'}"


class Precision:
    """How well the statistic of an `Until` is known from the records so far."""

    def __init__(self, until: Until) -> None:
        """Raises KeyError for a metric that cannot be followed while the run is under way."""
        self.until = until
        self._of = VALUES[until.metric]
        self._fresh = array("q")
        self._ordered: Ints = np.empty(1024, dtype=np.int64)  # its first `_sums.count`
        self._sums = Sums()
        self._looked = 0
        self.off_pct: float | None = None  # at the last look

    def add(self, record: Record) -> None:
        """Take a record of the measured phase; only those that are `ok` count."""
        value = self._of(record) if record.outcome == Outcome.OK else None
        if value is not None:
            self._fresh.append(value)

    def look(self, now_ns: int, in_flight: int) -> Stop | None:
        """See `judge.Judge`."""
        known = self.reached()
        return Stop(known) if known else None

    def reached(self) -> str:
        """A sentence once the interval is narrow enough; empty before."""
        count = self._sums.count + len(self._fresh)
        if count < max(LEAST, GROWTH * self._looked):
            return ""
        self._looked = count
        self._take()
        off = self.off_pct = self._off_pct()
        if off is None or off > self.until.percent:
            return ""
        return f"{self.until.name} known to {off:.2g} % after {count:,} requests"

    def _take(self) -> None:
        values = np.array(self._fresh, dtype=np.int64)
        del self._fresh[:]
        before = self._sums.count
        self._sums.add(values)
        if self.until.quantile is None:
            return
        if self._sums.count > self._ordered.size:
            grown = np.empty(2 * self._sums.count, dtype=np.int64)
            grown[:before] = self._ordered[:before]
            self._ordered = grown
        values.sort()
        self._ordered[before : self._sums.count] = values
        self._ordered[: self._sums.count].sort(kind="stable")  # two sorted runs: Timsort merges them

    def _off_pct(self) -> float | None:
        """The wider side of the interval in percent of the value; None while there is no interval."""
        rho = max(0.0, self._sums.autocorrelation())
        enough = self._sums.count * (1 - rho) / (1 + rho)
        found = self._mean(enough) if self.until.quantile is None else self._quantile(enough, self.until.quantile)
        if found is None or found[1] <= 0:
            return None
        low, value, high = found
        return 100 * max(high - value, value - low) / value

    def _mean(self, enough: float) -> tuple[float, float, float] | None:
        if enough < 2:
            return None
        mean, half = self._sums.mean, float(stdtrit(enough - 1, TAIL)) * self._sums.deviation / math.sqrt(enough)
        return mean - half, mean, mean + half

    def _quantile(self, enough: float, q: float) -> tuple[float, float, float] | None:
        """The bounds are those of so many independent values, at the same share of the values there are."""
        low, high = order_statistic_interval(int(enough), q)
        if low is None or high is None:
            return None
        n = self._sums.count
        each = (n + 1) / (int(enough) + 1)
        at = (n - 1) * q
        below = int(at)
        a, b = (int(self._ordered[i]) for i in (below, min(below + 1, n - 1)))
        first = max(0, math.floor((low + 1) * each) - 1)
        last = min(n - 1, math.ceil((high + 1) * each) - 1)
        return int(self._ordered[first]), a + (b - a) * (at - below), int(self._ordered[last])


class Sums:
    """Mean, deviation and lag-1 autocorrelation of a series that grows; counted from its first value (rounding)."""

    def __init__(self) -> None:
        self.count = self._first = 0
        self._sum = self._squares = self._products = self._last = 0.0

    def add(self, values: Ints) -> None:
        """Take the next values of the series."""
        if not values.size:
            return
        if not self.count:
            self._first = int(values[0])
        away = (values - self._first).astype(np.float64)
        self._products += float(np.dot(away[:-1], away[1:])) + (self._last * float(away[0]) if self.count else 0.0)
        self._sum += float(away.sum())
        self._squares += float(np.dot(away, away))
        self._last = float(away[-1])
        self.count += values.size

    @property
    def mean(self) -> float:
        """Of all values."""
        return self._first + self._sum / self.count

    @property
    def deviation(self) -> float:
        """Of the sample (n - 1)."""
        return math.sqrt(max(0.0, self._squares - self._sum**2 / self.count) / (self.count - 1))

    def autocorrelation(self) -> float:
        """As `stats.lag1_autocorrelation` of the whole series."""
        mean = self._sum / self.count
        power = self._squares - self.count * mean**2
        # The sums leave out the last value, then the first, which is 0.
        shared = self._products - mean * (2 * self._sum - self._last) + (self.count - 1) * mean**2
        return shared / power if power > 0 else 0.0


def _content(record: Record) -> bytes:
    """A byte for each event: 1 where it brought a token."""
    return bytes(record.event_kind).translate(IS_CONTENT)


def _ttft(record: Record) -> int | None:
    first = _content(record).find(1) if record.streamed else -1
    return None if first < 0 else record.event_ns[first] - record.sent_ns


def _ttfo(record: Record) -> int | None:
    first = bytes(record.event_kind).translate(VISIBLE).find(1) if record.streamed else -1
    return None if first < 0 else record.event_ns[first] - record.sent_ns


def _ttst(record: Record) -> int | None:
    content = _content(record)
    first = content.find(1) if record.streamed else -1
    second = content.find(1, first + 1) if first >= 0 else -1
    return None if second < 0 else record.event_ns[second] - record.event_ns[first]


def _request_latency(record: Record) -> int | None:
    if not record.streamed:
        return record.end_ns - record.sent_ns
    last = _content(record).rfind(1)
    return None if last < 0 else record.event_ns[last] - record.sent_ns


def _osl(record: Record) -> int:
    known = record.osl_usage if record.osl_usage >= 0 else record.osl_tokenizer
    return -1 if record.embeddings else known


def _tpot(record: Record) -> int | None:
    content, length = _content(record), _osl(record)
    if record.reasoning_tokens > 0 and EventKind.REASONING not in record.event_kind:
        length -= record.reasoning_tokens  # not in the stream
    if not record.streamed or record.choices != 1 or length < 2 or content.count(1) < 2:
        return None
    return round((record.event_ns[content.rfind(1)] - record.event_ns[content.find(1)]) / (length - 1))


def _ntpot(record: Record) -> int | None:
    latency, length = _request_latency(record), _osl(record)
    return None if latency is None or length < 1 else round(latency / length)


def _intended(of: Callable[[Record], int | None]) -> Callable[[Record], int | None]:
    """The same, from the intended moment on."""

    def value(record: Record) -> int | None:
        found = of(record)
        return None if found is None else found + record.sent_ns - record.intended_ns

    return value


VALUES: dict[str, Callable[[Record], int | None]] = {
    "ttft": _ttft,
    "ttfo": _ttfo,
    "ttft_first_turn": lambda record: _ttft(record) if record.session >= 0 and record.turn == 0 else None,
    "ttft_later_turns": lambda record: _ttft(record) if record.session >= 0 and record.turn > 0 else None,
    "ttst": _ttst,
    "request_latency": _request_latency,
    "tpot": _tpot,
    "ntpot": _ntpot,
    "ttft_intended": _intended(_ttft),
    "request_latency_intended": _intended(_request_latency),
}
