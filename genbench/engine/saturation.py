"""Is an open loop's number in flight growing without bound? Ends the run with "saturated: ..." when it is.

What is looked at, twice a second: X(t), requests in flight (those that wait for a cap are among them), and D(t), those
that have ended. Nothing is said before 10 s, nor before 20 median latencies: those of a low load where they are known,
else those of the first 20 that ended, since later ones have the growth in them already. The first fifth of the time so
far is left out, the rest is cut into 20 equal stretches. The load is called saturated when all of this holds:
- D grows more slowly than the asked rate L. Per stretch of length w the server falls behind by y = L w - (D's growth);
  the mean of y, less 3.5 of its standard errors, is above 0. What arrived by chance beyond L is not in y, so that a
  clump of arrivals is not taken for a slow server. Without a rate, y is the growth of X.
- X grows: the mean of its growth per stretch, less 2 standard errors, is above 0.
- X grows noticeably, and still does: from the window's middle to its end by 15 % of where it is then, and by 3
  requests. A server that settles at a higher number grows less and less.
A standard error is that of the mean of 20 stretches, the variance multiplied by (1 + r) / (1 - r) where neighbours
resemble each other (r, their lag-1 correlation, above 0).

Looking again and again: 3.5 and 2 were chosen by simulation so that in a few hundred looks a server at 95 % of its
capacity (M/M/1, the worst there is) is almost never called saturated. tests/engine/test_saturation.py holds it: at 20
arrivals per second for 60 s at most 5 % of 200 runs, and at 110 % at least 95 % are found within 200 s; servers that
work in batches are found many times sooner, their ends being far more regular than those of M/M/1.
"""

import math
from array import array

import numpy as np

from genbench.engine.judge import Stop
from genbench.engine.until import VALUES
from genbench.stats import Floats, lag1_autocorrelation
from genbench.types import MISSING, Outcome, Record

SATURATED = "saturated: "
LEAST_S = 10.0
LATENCIES = 20  # so many median latencies
FIRST = 20  # so many ended requests make the median
SKIPPED = 0.2
STRETCHES = 20
BEHIND, GROWS = 3.5, 2.0
NOTICEABLE, LEAST_GROWTH = 0.15, 3.0
STEADY, CHANCE = 0.10, 3.0


class Saturation:
    """The judge of one run (`judge.Judge`).

    `rate` is the asked one in req/s, None where arrivals have none; `latency_s` the median latency of a low load, None
    where it is not known. That decides how soon a server that is far beyond its capacity is found: with a model of an
    8B engine at twice its capacity after 27 s instead of 150 s.
    """

    def __init__(self, rate: float | None = None, latency_s: float | None = None) -> None:
        self.why = ""  # the sentence, once it has been said
        self._rate = rate
        self._latency_s = latency_s
        self._ended = 0
        self._first: list[float] = []
        self._ttft_ns, self._ttft_s = array("q"), array("d")
        self._t_s, self._in_flight, self._done = array("d"), array("d"), array("d")
        self._zero_ns = MISSING
        self._now_s = 0.0

    def add(self, record: Record) -> None:
        """See `judge.Judge`; a request that was given up counts as ended, too."""
        self._ended += 1
        if record.sent_ns >= 0 and len(self._first) < FIRST:
            self._first.append((record.end_ns - record.sent_ns) / 1e9)
        ttft = VALUES["ttft"](record) if record.outcome == Outcome.OK else None
        if ttft is not None:
            self._ttft_ns.append(record.sent_ns)
            self._ttft_s.append(ttft / 1e9)

    def look(self, now_ns: int, in_flight: int) -> Stop | None:
        """See `judge.Judge`; what is in flight is let end, because its tokens are the server's throughput."""
        if self._zero_ns == MISSING:
            self._zero_ns = now_ns
        self._now_s = (now_ns - self._zero_ns) / 1e9
        self._t_s.append(self._now_s)
        self._in_flight.append(in_flight)
        self._done.append(self._ended)
        if not self.enough():
            return None
        held, done, seconds = self._window()
        fell_behind = np.diff(held) if self._rate is None else self._rate * seconds - np.diff(done)
        grown = held[-5:].mean() - held[STRETCHES // 2 - 2 : STRETCHES // 2 + 3].mean()
        noticeable = grown >= max(LEAST_GROWTH, NOTICEABLE * held[-5:].mean())
        if not noticeable or _score(np.diff(held)) < GROWS or _score(fell_behind) < BEHIND:
            return None
        self.why = self._sentence(held, done, seconds)
        return Stop(self.why)

    def enough(self) -> bool:
        """Whether there are data enough for the word."""
        if len(self._first) < FIRST:
            return False
        latency_s = float(np.median(self._first)) if self._latency_s is None else self._latency_s
        return self._now_s >= max(LEAST_S, LATENCIES * latency_s)

    def stationary(self) -> bool:
        """Whether the number in flight has settled: data enough, and the halves of the window differ little.

        That is by at most 10 % of their mean, or by no more than chance makes (3 standard errors), as in the run's
        steady figures.
        """
        if not self.enough() or self.why:
            return False
        held, _, _ = self._window()
        means = (held[1:] + held[:-1]) / 2
        low, high = means[: STRETCHES // 2], means[STRETCHES // 2 :]
        off = abs(float(high.mean() - low.mean()))
        return off <= max(STEADY * float(means.mean()), CHANCE * math.hypot(_error(low), _error(high)))

    def _window(self) -> tuple[Floats, Floats, float]:
        """In flight and ended at the edges of the stretches, float64[21] each, and the seconds of a stretch."""
        edges = np.linspace(SKIPPED * self._now_s, self._now_s, STRETCHES + 1)
        t_s = np.frombuffer(self._t_s)
        held = np.interp(edges, t_s, np.frombuffer(self._in_flight))
        return held, np.interp(edges, t_s, np.frombuffer(self._done)), float(edges[1] - edges[0])

    def _sentence(self, held: Floats, done: Floats, seconds: float) -> str:
        span_s = STRETCHES * seconds
        asked = "" if self._rate is None else f" while {self._rate:.3g} came"
        said = (
            f"{SATURATED}in flight grew from {held[0]:.0f} to {held[-1]:.0f} in {span_s:.0f} s, "
            f"{(done[-1] - done[0]) / span_s:.3g} req/s ended{asked}"
        )
        sent_s = (np.frombuffer(self._ttft_ns, dtype=np.int64) - self._zero_ns) / 1e9
        ttft_s = np.frombuffer(self._ttft_s)
        early, late = ttft_s[sent_s < self._now_s / 4], ttft_s[np.argsort(sent_s)][-FIRST:]
        if early.size:
            said += f"; TTFT from {1e3 * float(np.median(early)):.3g} to {1e3 * float(np.median(late)):.3g} ms"
        return said


def _error(values: Floats) -> float:
    """Standard error of the mean of a series in time."""
    r = max(0.0, min(0.99, lag1_autocorrelation(values)))
    return float(values.std(ddof=1)) * math.sqrt((1 + r) / (1 - r) / values.size)


def _score(values: Floats) -> float:
    """How many standard errors the mean is above 0."""
    mean, error = float(values.mean()), _error(values)
    return mean / error if error > 0 else math.copysign(math.inf, mean) if mean else 0.0
