"""The moments of a run: options and a seed, or a trace's times, become send offsets before the clock starts.

- A closed loop has none. A steady rate takes the offsets of its arrival process as they are.
- A ramp or stages take the same process at one arrival per unit and put it through the inverse of the expected count.
- A trace keeps its own times, divided by the speed.

The first `warmup` arrivals are warm-up; shape and duration begin with the first measured one. Nothing is rescaled to
hit a rate or a count: what was drawn is what is sent.
"""

import itertools
import math
from array import array
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from genbench import registry
from genbench.arrivals.poisson import LAST_NS
from genbench.errors import ConfigError, DatasetError
from genbench.options import Load
from genbench.plan.rates import Shape, Steady
from genbench.plan.rates import shape as shape
from genbench.types import OPEN_ENDED

CHUNK = 4096
MAX_ARRIVALS = 50_000_000  # 400 MB of offsets
NEVER = (1 << 63) - 1
SAME_AT_ONCE = ("poisson", "constant", "gamma")  # without gaps each of them is a burst
NO_TIMES = "--arrival trace: the data set has no times; use burstgpt, azure-llm or lines with a timestamp"

Offsets = np.ndarray[Any, np.dtype[np.int64]]
Floats = np.ndarray[Any, np.dtype[np.float64]]


def is_trace(load: Load) -> bool:
    """Whether the data set's own times are the arrivals."""
    return load.arrival == "trace" or load.speed is not None


def arrivals(load: Load, seed: int, units: int, times_ns: Iterator[int] | None) -> tuple[int, Offsets | None]:
    """How many requests (or conversations) there are, warm-up included, and when each is due.

    At most `units`, which is the warm-up and at least one more, or OPEN_ENDED when only time limits the run. Offsets
    are int64[count] from the run's start, non-decreasing; None for a closed loop. `times_ns` are the samples' own
    moments in order, for a trace; no more of them are taken than the run needs. Raises ConfigError for a shape or a
    process that cannot be used and for more than MAX_ARRIVALS, DatasetError for a trace without times, with times that
    go backwards, or with nothing left after the warm-up.
    """
    if is_trace(load):
        offset_ns = _traced(load, units, iter(()) if times_ns is None else times_ns)
    else:
        form = shape(load)
        if form is None:
            return units, None
        expected = 0.0 if form.seconds is None else form.expected(min(form.seconds, load.duration_s or form.seconds))
        if min(units, expected) > 1.1 * MAX_ARRIVALS:
            raise ConfigError(f"{expected:,.0f} arrivals are too many for one run; give a lower rate or a shorter time")
        offset_ns = _drawn(load, form, np.random.default_rng((seed, 1)), units)
    if len(offset_ns) > MAX_ARRIVALS:
        how = "a lower --request-count" if units < OPEN_ENDED else "--request-count, or a lower rate or a shorter time"
        raise ConfigError(f"more than {MAX_ARRIVALS:,} arrivals are too many for one run; give {how}")
    return len(offset_ns), offset_ns


def _drawn(load: Load, form: Shape, rng: np.random.Generator, units: int) -> Offsets:
    """The arrivals of a process, on a steady rate or along a shape."""
    warmup = load.warmup or 0
    chunks = _chunks(load, form, rng, warmup, min(units, MAX_ARRIVALS + 1))
    head = next(chunks)
    warm, measured = head[:warmup], head[warmup:]
    zero = start = int(measured[0])
    if not isinstance(form, Steady):
        before = _whole(head[: warmup + 1] / form.warmup_rate)
        warm, start = before[:warmup], int(before[warmup])

    def placed(raw: Offsets) -> Offsets:
        if isinstance(form, Steady):
            return raw
        return _whole(start + form.moments((raw - zero) / 1e9) * 1e9)

    end = NEVER
    if load.duration_s is not None:  # beyond a ramp's end its last rate goes on; after the stages nothing comes anyhow
        end = int(placed(measured[:1])[0]) + _ns(load.duration_s)
    elif form.seconds is not None:
        end = start + _ns(form.seconds)
    end = min(end, NEVER if isinstance(form, Steady) else LAST_NS)  # what a shape never reaches lies at LAST_NS
    found, latest = [warm], start
    for raw in itertools.chain((measured,), chunks):
        # The last digit of a moment may turn two arrivals round that a burst has put within a nanosecond.
        moments = np.maximum.accumulate(np.maximum(placed(raw), latest))
        latest = int(moments[-1])
        inside = int(np.searchsorted(moments, end))
        found.append(moments[:inside])
        if inside < len(moments):
            break
    return np.concatenate(found)


def _chunks(load: Load, form: Shape, rng: np.random.Generator, warmup: int, limit: int) -> Iterator[Offsets]:
    """The process's offsets as arrays, at most `limit` in all; the first array holds a measured arrival."""
    name, stream = _process(load, form, rng)
    before, taken, size = 0, 0, max(CHUNK, warmup + 1)
    while taken < limit:
        try:
            chunk = np.fromiter(itertools.islice(stream, min(size, limit - taken)), dtype=np.int64)
        except (TypeError, ValueError, OverflowError) as error:
            raise ConfigError(f"--arrival {name} failed ({error}); it has to yield whole ns") from error
        back = np.flatnonzero(np.diff(chunk, prepend=before) < 0)
        if len(back):
            k, t = taken + int(back[0]), int(chunk[back[0]])
            raise ConfigError(f"--arrival {name} goes back in time: offset {k} is {t} ns; let them never decrease")
        if taken == 0 and len(chunk) <= warmup:
            raise ConfigError(f"--arrival {name} ends after {len(chunk)} arrivals, all of them warm-up; yield more")
        if not len(chunk):
            return
        yield chunk
        before, taken, size = int(chunk[-1]), taken + len(chunk), CHUNK


def _process(load: Load, form: Shape, rng: np.random.Generator) -> tuple[str, Iterator[int]]:
    """The arrival process and its name, at its rate where that is steady, else at one arrival per unit."""
    name = load.arrival or ("poisson" if load.burstiness is None else "gamma")
    rate = form.rate if isinstance(form, Steady) else 1.0
    if math.isinf(rate) and name in SAME_AT_ONCE:
        name = "burst"
    if name == "burst" and not isinstance(form, Steady):
        raise ConfigError("--arrival burst sends everything at once; leave out --ramp and --stages")
    found = registry.load("arrivals", name)
    offsets = getattr(found, "offsets", found)  # file.py:name may be the function itself
    options: Mapping[str, Any] = {} if load.burstiness is None else {"burstiness": load.burstiness}
    try:
        return name, iter(offsets(rate, rng, options))
    except TypeError as error:
        raise ConfigError(
            f"--arrival {name} has no usable function offsets(rate, rng, options) ({error}); correct it"
        ) from error


def _traced(load: Load, units: int, times_ns: Iterator[int]) -> Offsets:
    """A trace's own times from its first request on, so many times as fast. Requests are counted from 1 in messages."""
    warmup, speed = load.warmup or 0, load.speed or 1.0
    found = array("q")
    first = before = 0
    end = None
    for t in itertools.islice(times_ns, min(units, MAX_ARRIVALS + 1)):
        k = len(found)
        if t < 0:
            raise DatasetError(f"--arrival trace: request {k + 1} has no time; give all of them one" if k else NO_TIMES)
        if k == 0:
            first = before = t
        if t < before:
            raise DatasetError(
                f"--arrival trace: request {k + 1} is at {t / 1e9:.9g} s and request {k} at {before / 1e9:.9g} s; "
                "sort the data set by time"
            )
        offset = t - first if speed == 1 else round(min((t - first) / speed, LAST_NS))
        if k == warmup and load.duration_s is not None:
            end = offset + _ns(load.duration_s)
        if end is not None and offset >= end:
            break
        found.append(offset)
        before = t
    if not found:
        raise DatasetError(NO_TIMES)
    if len(found) <= warmup:
        raise DatasetError(
            f"--warmup {warmup} leaves nothing of a trace of {len(found)} requests; give a smaller number, or 0"
        )
    return np.frombuffer(found, dtype=np.int64).copy()


def _ns(length_s: float) -> int:
    return round(min(length_s * 1e9, LAST_NS))


def _whole(times_ns: Floats) -> Offsets:
    """Rounded to whole ns; what lies too far off stays at LAST_NS."""
    return np.rint(np.minimum(times_ns, LAST_NS)).astype(np.int64)
