"""Finds the highest load that keeps the promises: bracket, bisect, estimate, confirm. Pure: a probe is a function.

Rules
- Upwards in steps of `STEP` while the promises are kept, downwards while they are missed; then the middle of the
  bracket on a log scale, until it is narrow, or a probe in it is undecided and the estimate lies in it.
- The bracket is the highest load that was kept below every missed one, and the lowest missed one above every kept one.
  A load missed below one that was kept counts for neither: one of the two was wrong, and it is probed again. Where the
  one that was kept was let pass leniently, it was that one; such a load is probed again once a missed one comes within
  a factor of `NEAR`. So is one, within `DOUBT` of one that held, whose number in flight was judged to grow although its
  requests had kept their promises so far: near the limit a long busy stretch looks like growth.
- From then on every probe is a confirmation: it is made at the estimate (`limit`), its records join the others, and the
  estimate moves. The first that keeps its promises, or was made at the answer, and leaves the interval as narrow as was
  asked for is the last. Where one is missed, the search goes on below it.
- The answer is the estimate, or the load of the last confirmation where that kept its promises and lies within
  `SAME` of it. Where it did not keep them, the new estimate is the answer: lower than before. It is never as high as a
  load that was missed: where the estimate is, or where there is none, it is the highest load that kept its promises
  below that, and the interval ends at the missed one.
- Promises that are no share of requests have no estimate. A load where one of them is missed by its own value is too
  high for the search; the interval goes from the highest load that is surely kept to the lowest that is surely missed.
- At most `MOST` probes in all. Whoever runs them may say that there is no time for another one (None).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.special import stdtrit

from genbench.stats import Floats, Ints
from genbench.studies.probe import Series, Verdict

STEP = 4.0
NEAR, DOUBT = 2.1, 1.3
DOWN, MOST, DIGITS = 4, 12, 3  # steps down before it is given up; probes in all; of a load
SAME = 0.015
SEGMENT = 16  # blocks (of one median latency each) that make a segment; on engines' models the next one is independent
STEEPNESS, SPREAD = math.log(10.0), 0.7  # prior of the log of the line's slope: median and deviation
FARTHEST = 1.5  # times the lowest missed load: what is beyond says nothing of the line near the limit
ITERATIONS, CLOSE_ENOUGH = 25, 1e-8
FAR = 3.0  # an interval ends there, in log load
ENDED = 1.15  # an interval is wider by this: a search ends when it happens to look narrow
SEARCHING, SHORTEST_S, SHORTEST = 0.05, 12.0, 40  # of the budget, for one probe of the search; its least, in latencies
CONFIRMATIONS = 3  # share what the search leaves
KEPT_BACK = 0.4  # of the budget, for them


@dataclass(frozen=True, slots=True)
class Tried:
    """One probe: its load, what it said, for each promise by its text the promised share and the blocks.

    `grew`: its number in flight grew without bound, so its blocks are of no steady state. `lenient`: it was kept only
    as far as that was needed to go on. `figures`: whether the promises that are no share were kept by their own values.
    """

    value: float
    verdict: Verdict
    series: Mapping[str, tuple[float, Series]] = field(default_factory=dict)
    grew: bool = False
    lenient: bool = False
    figures: bool = True

    @property
    def held(self) -> bool:
        """Whether its own shares are at least the promised ones and its figures too, whatever the test says."""
        return self.verdict != "missed" and self.figures and self._shares

    @property
    def doubtful(self) -> bool:
        """Whether it was ended as growing while all that had been promised was kept."""
        return self.grew and self.figures and self._shares

    @property
    def _shares(self) -> bool:
        return all(one.shares.size > 0 and one.mean >= share for share, one in self.series.values())

    @property
    def too_high(self) -> bool:
        """Whether the search has to stay below it."""
        return self.verdict == "missed" or not self.figures


@dataclass(frozen=True, slots=True)
class Goal:
    """What is asked: where to start, bounds (None: none), and how narrow the interval is to be.

    `precision` is (high - low) / low of the interval; `whole`: loads are whole numbers, and two neighbours are narrow.
    """

    start: float
    low: float | None = None
    high: float | None = None
    precision: float = 0.05
    whole: bool = False
    most: int = MOST


@dataclass(frozen=True, slots=True)
class Found:
    """The answer and its 95 % interval; `value` None: not even the lowest load keeps the promises.

    `estimate` is the answer before it is rounded. `at_least`: the highest allowed load keeps them. `confirmed`: whether
    the confirmation kept them, None without one. `wide`: the interval is wider than was asked for. `fitted`: the
    estimate is that of `limit`, so that more of the same load tells more.
    """

    value: float | None
    low: float | None
    high: float | None
    tried: tuple[Tried, ...]
    estimate: float | None = None
    at_least: bool = False
    confirmed: bool | None = None
    wide: bool = True
    fitted: bool = False

    @property
    def near(self) -> bool:
        """Whether the interval is known, and to a factor of `NEAR`."""
        return bool(self.low and self.high and self.high / self.low <= NEAR)


@dataclass(frozen=True, slots=True)
class Ask:
    """What is wanted of a probe. `lenient`: nothing is known to be too high, so a clear "kept" is enough to go on."""

    value: float
    number: int
    lenient: bool
    confirms: int  # which confirmation it is, from 1; 0: none


Run = Callable[[Ask], Tried | None]


def search(
    run: Run,
    goal: Goal,
    told: Callable[[Found], None] = lambda found: None,
    hurry: Callable[[], bool] = lambda: False,
) -> Found:
    """Probe until the limit is known; `told` hears where it stands after each probe.

    `hurry`: whether time is short, so that an estimate that is near is confirmed before it is as good as it could be.
    """
    tried: list[Tried] = []
    confirmed = 0
    last: Tried | None = None
    found = answer(tried, goal, last)
    while len(tried) < goal.most:
        searching = not (confirmed or (found.near and hurry()))
        value = propose(tried, goal) if searching else None
        confirms = 0
        if value is None:
            if found.estimate is None or _enough(found, last):
                break
            confirmed = confirms = confirmed + 1
            value = _within(found.estimate, goal)
        one = run(Ask(value, len(tried), bracket(tried)[1] is None, confirms))
        if one is None:
            break
        tried.append(one)
        last = one if confirms else None
        if one.too_high or bracket(tried)[0] is None:
            confirmed = 0
        found = answer(tried, goal, last)
        told(found)
    return found


def _enough(found: Found, last: Tried | None) -> bool:
    """Whether the last confirmation leaves nothing to ask: the interval is narrow and the answer is where it was made,
    or another of the same load would tell no more.
    """
    if last is None or found.value is None:
        return False
    here = last.held or abs(last.value / found.value - 1) <= SAME
    return found.at_least or (here and not found.wide) or (last.held and not found.fitted)


def allotted(budget_s: float, left_s: float, confirms: int, latency_s: float = 0.0) -> float:
    """Seconds that a probe may take: a twentieth of the budget in the search, the rest in three confirmations.

    No less than a verdict takes, with the latency of a request alone, as long as there is so much left.
    """
    share_s = left_s / max(1, CONFIRMATIONS + 1 - confirms) if confirms else SEARCHING * budget_s
    return min(left_s, max(SHORTEST_S, SHORTEST * latency_s, share_s))


def propose(tried: Sequence[Tried], goal: Goal) -> float | None:
    """The next load of the search; None once there is an estimate to confirm, or nothing left to try."""
    if not tried:
        return _within(goal.start, goal)
    low, high = bracket(tried)
    latest = _latest(tried)
    if high is None and not all(one.held for one in latest):  # missed below what was kept: a second opinion
        value = min(one.value for one in latest if not one.held)
        return value if _tries(tried, value) == 1 else None
    if high is None:
        return _fresh(_within(max(one.value for one in tried) * STEP, goal), tried)
    if low is None:
        bottom = min(one.value for one in tried)
        if goal.low is None and bottom < goal.start / STEP ** (DOWN - 0.5):
            return None
        return _fresh(_within(bottom / STEP, goal), tried)
    if high / low <= 1 + goal.precision or (goal.whole and high - low <= 1):
        return None
    held = max(one.value for one in latest if one.value == low or (one.held and one.value < high))
    if high / held <= DOUBT and any(one.value == high and one.doubtful for one in latest) and _tries(tried, high) == 1:
        return high
    inside = [one for one in latest if low < one.value < high]
    fitted = limit(tried) if inside else None
    if fitted is not None and low < fitted[1] < _ceiling(latest, high):
        return None
    low = max([low, *(one.value for one in inside if one.held)])
    high = min([high, *(one.value for one in inside if not one.held and one.value > low)])
    if high / low <= 1 + goal.precision:
        return None
    if high / low <= NEAR and any(one.lenient for one in latest if one.value == low):
        return low
    return _fresh(_within(math.sqrt(low * high), goal), tried)


def bracket(tried: Sequence[Tried]) -> tuple[float | None, float | None]:
    """The highest kept load below every missed one, and the lowest missed one above every kept one.

    Of several probes at one load the last counts. Where none was kept (missed), one undecided counts as that if
    its own share was held (was not).
    """
    latest = _latest(tried)
    missed = [one.value for one in latest if one.too_high]
    missed = missed or [one.value for one in latest if one.verdict == "close" and not one.held]
    sure = [one for one in latest if not (one.lenient and one.value >= min(missed, default=math.inf))]
    kept = [one.value for one in sure if one.verdict == "kept"] or [one.value for one in sure if one.held]
    low = max((value for value in kept if not missed or value < min(missed)), default=None)
    high = min((value for value in missed if not kept or value > max(kept)), default=None)
    return low, high


def _settled(tried: Sequence[Tried]) -> Sequence[Tried]:
    """Without those that seemed to grow while all was kept, and had no second opinion: they bound no estimate."""
    found = [one for one in tried if not (one.doubtful and _tries(tried, one.value) == 1)]
    return found if any(one.too_high for one in found) else tried


def _ceiling(latest: Sequence[Tried], high: float) -> float:
    """Below which an estimate is clearly lower than a missed load: one that grew takes no part in the line."""
    return high / (1 + SAME) if any(one.grew and one.value == high for one in latest) else high


def _tries(tried: Sequence[Tried], value: float) -> int:
    return sum(one.value == value for one in tried)


def _latest(tried: Sequence[Tried]) -> list[Tried]:
    return list({one.value: one for one in tried}.values())


def _within(value: float, goal: Goal) -> float:
    """As it is written, whole or with three digits, and in bounds."""
    value = float(max(1, round(value))) if goal.whole else float(f"{value:.{DIGITS}g}")
    return min(max(value, goal.low or 0.0), math.inf if goal.high is None else goal.high)


def _fresh(value: float, tried: Sequence[Tried]) -> float | None:
    return None if any(one.value == value for one in tried) else value


# -- the estimate ------------------------------------------------------------------------------------------------------


def answer(tried: Sequence[Tried], goal: Goal, last: Tried | None) -> Found:
    """What is known so far; `last` is the last confirmation."""
    whole = tuple(tried)
    fitted = limit(tried)
    bounds = tried if fitted is None else _settled(tried)
    low, high = bracket(bounds)
    confirmed = None if last is None else last.held
    latest = _latest(bounds)
    if all(one.held for one in latest):
        top = max((one.value for one in tried), default=None)
        reached = top is not None and goal.high is not None and top >= goal.high
        return Found(top, top, None, whole, estimate=top, at_least=reached, confirmed=confirmed)
    below = math.inf if high is None else high
    kept = max((one.value for one in latest if one.held and one.value < below), default=None)
    if kept is None or (low is None and high is not None):
        return Found(None, None, high, whole)
    missed = min((one.value for one in latest if one.verdict == "missed" and one.value > kept), default=math.inf)
    estimated = fitted is not None and fitted[1] < _ceiling(latest, below)
    if fitted is not None and estimated:
        first, value, end = fitted
        value = max(value, low or 0.0)
    else:
        first, value, end = low or kept, kept, missed if missed < math.inf else high or kept
    first, end = min(first, value), max(min(end, missed), value)
    said = float(max(1, math.floor(value + 1e-9))) if goal.whole else _within(value, goal)
    if last is not None and last.held and abs(last.value / value - 1) <= SAME:
        said = last.value
    if goal.whole:  # the highest whole load below the end
        first, end = float(max(1, math.floor(min(first, said)))), max(said, math.ceil(end) - 1.0)
    narrow = end / first <= 1 + goal.precision or (goal.whole and end - first <= 1)
    return Found(said, first, end, whole, estimate=value, confirmed=confirmed, wide=not narrow, fitted=estimated)


def limit(tried: Sequence[Tried]) -> tuple[float, float, float] | None:
    """(low, estimate, high) of the load at which the first promise is no longer kept; None where no probe tells.

    For each promise the log-odds of keeping it are a straight line over the log of the load, fitted to the segments of
    all probes near the limit; the load is where the line crosses the promised share, with its 95 % interval. The lowest
    of the promises' loads is the limit.
    """
    texts = dict.fromkeys(text for one in tried for text in one.series)
    found = [crossing for text in texts if (crossing := _crossing(tried, text)) is not None]
    if not found:
        return None
    low, at, high = np.min(np.array(found), axis=0)
    return math.exp(max(low, at - FAR)), math.exp(at), math.exp(min(high, at + FAR))


@dataclass(frozen=True, slots=True)
class Segments:
    """Stretches of all probes: log load, share of good requests, number of requests, and which probe; [k] each."""

    x: Floats
    good: Floats
    weight: Floats
    probe: Ints


def _crossing(tried: Sequence[Tried], text: str) -> tuple[float, float, float] | None:
    """Log of the load where one promise's line crosses its share: the lower end, the estimate, the upper end."""
    missed = [one.value for one in tried if one.verdict == "missed"]
    farthest = FARTHEST * min(missed, default=math.inf)
    near = [one for one in tried if not one.grew and text in one.series and one.value <= farthest]
    near = [one for one in near if one.series[text][1].shares.size >= SEGMENT]
    if not near:
        return None
    share = near[0].series[text][0]
    parts = [_cut(one.series[text][1], share) for one in near]
    good = np.concatenate([means for means, _ in parts])
    if (good == 1).all():
        return None
    sizes = [means.size for means, _ in parts]
    segments = Segments(
        np.repeat([math.log(one.value) for one in near], sizes),
        good,
        np.concatenate([weights for _, weights in parts]),
        np.repeat(np.arange(len(near)), sizes),
    )
    return _fit(segments, math.log(share / (1 - share)))


def _cut(series: Series, share: float) -> tuple[Floats, Floats]:
    """Shares of good requests in segments, and their numbers of requests. Every block is in one of them: the last ones
    of a run are those with the longest queue.

    Far below the promised share the line is steeper than near it, so a probe whose share is below 1 - 4 (1 - share)
    counts as one that has just that.
    """
    starts = np.linspace(0, series.shares.size, series.shares.size // SEGMENT + 1).astype(np.int64)
    blocks = np.diff(starts)
    means: Floats = np.add.reduceat(series.shares, starts[:-1]) / blocks
    floor = max(0.2, 1 - 4 * (1 - share))
    return np.minimum(1.0, means + max(0.0, floor - series.mean)), blocks * float(series.size)


def _fit(segments: Segments, level: float) -> tuple[float, float, float]:
    """Where log-odds = level: the maximum of the quasi-likelihood of a - exp(b) x, b with a normal prior.

    Requests are not independent: weights are divided by the segments' own dispersion (Pearson). The error is the larger
    of the model's and of the sandwich of the segments' scores, and grows with what neighbouring segments have in
    common.
    """
    centre = float(np.average(segments.x, weights=segments.weight))
    x, good, count = segments.x - centre, segments.good, segments.x.size
    a, b, spread = level, STEEPNESS, 1.0
    prior = np.array([[1e-9, 0.0], [0.0, 1 / SPREAD**2]])
    for _ in range(3):
        weight = segments.weight / spread
        for _ in range(ITERATIONS):
            slope = math.exp(b)
            p = 1 / (1 + np.exp(-np.clip(a - slope * x, -30, 30)))
            along = np.array([np.ones_like(x), -slope * x])
            scores = along * (weight * (good - p))
            inner = (along * (weight * p * (1 - p))) @ along.T + prior
            step = np.linalg.solve(inner, scores.sum(axis=1) - prior @ np.array([0.0, b - STEEPNESS]))
            a, b = a + float(np.clip(step[0], -1, 1)), b + float(np.clip(step[1], -0.5, 0.5))
            if float(np.abs(step).max()) < CLOSE_ENOUGH:
                break
        off = (good - p) * np.sqrt(segments.weight / (p * (1 - p)))
        spread = max(1.0, float(np.dot(off, off)) / max(1, count - 2))
    follows = segments.probe[1:] == segments.probe[:-1]
    common = max(0.0, float((off[1:] * off[:-1])[follows].sum() / max(1e-12, float(np.dot(off, off)))))
    model = np.linalg.inv(inner)
    sandwich = model @ (scores @ scores.T * count / max(1, count - 2) + np.diag([0.0, prior[1, 1]])) @ model
    at = (a - level) / math.exp(b)
    towards = np.array([math.exp(-b), -at])
    error = math.sqrt((1 + 2 * common) * max(float(towards @ one @ towards) for one in (model, sandwich)))
    half = ENDED * float(stdtrit(max(1, min(count, 60) - 2), 0.975)) * error
    return centre + at - half, centre + at, centre + at + half
