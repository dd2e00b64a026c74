"""How an open loop's rate changes over time, as pure values: `Steady`, `Ramp`, `Stages`, and the text they come from.

Times are seconds from the shape's own beginning, rates are arrivals per second. `expected` is the integral of the rate
and `moments` its inverse: a process of one arrival per unit, put through `moments`, has that rate at every moment.
numpy is imported when moments are asked for: what only reads options does not need it.
"""

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from genbench.errors import ConfigError
from genbench.options import Load, seconds

if TYPE_CHECKING:
    import numpy as np

    Floats = np.ndarray[Any, np.dtype[np.float64]]

MOST = 1e9  # per second: one arrival per nanosecond
RAMP_FORM = "write FROM:TO:TIME like 1:50:60s"
STAGES_FORM = "write RATE@TIME,... like 5@30s,20@60s"


@dataclass(frozen=True, slots=True)
class Steady:
    """The same rate for ever."""

    rate: float

    @property
    def seconds(self) -> float | None:
        """No length of its own."""
        return None

    @property
    def warmup_rate(self) -> float:
        """The rate of warm-up arrivals, before the shape begins."""
        return self.rate

    def at(self, t_s: float) -> float:
        """The rate at t_s."""
        return self.rate

    def expected(self, t_s: float) -> float:
        """Expected arrivals from 0 to t_s."""
        return self.rate * t_s

    def moments(self, u: "Floats") -> "Floats":
        """Seconds at which the expected arrivals reach each u (at least 0)."""
        return u / self.rate


@dataclass(frozen=True, slots=True)
class Ramp:
    """From `first` to `last` in a straight line over `seconds`, then `last` for ever. Either end may be 0, not both."""

    first: float
    last: float
    seconds: float

    @property
    def warmup_rate(self) -> float:
        """The rate of warm-up arrivals: the first, or a tenth of the last where the ramp begins at 0."""
        return self.first or self.last / 10

    def at(self, t_s: float) -> float:
        """The rate at t_s."""
        return self.first + (self.last - self.first) * min(t_s / self.seconds, 1.0)

    def expected(self, t_s: float) -> float:
        """Expected arrivals from 0 to t_s."""
        sloped = min(t_s, self.seconds)
        return sloped * (self.first + self.at(sloped)) / 2 + max(0.0, t_s - self.seconds) * self.last

    def moments(self, u: "Floats") -> "Floats":
        """Seconds at which the expected arrivals reach each u (at least 0); inf for what a ramp to 0 never reaches.

        On the slope u = first * t + slope * t^2 / 2. Its root is taken as 2u / (first + rate at t): nothing is
        subtracted there, so that it holds for rising, falling and level ramps alike.
        """
        import numpy as np

        total = self.expected(self.seconds)
        slope = (self.last - self.first) / self.seconds
        on_slope = np.minimum(u, total)
        twice_mean = self.first + np.sqrt(np.maximum(self.first**2 + 2 * slope * on_slope, 0.0))
        found = np.zeros(u.shape)
        np.divide(2 * on_slope, twice_mean, out=found, where=twice_mean > 0)
        past = u >= total
        found[past] = self.seconds + (u[past] - total) / self.last if self.last > 0 else np.inf
        return found


@dataclass(frozen=True, slots=True)
class Stages:
    """One rate after the other: `parts` are (rate, seconds). A rate of 0 is a pause; after the last, nothing comes."""

    parts: tuple[tuple[float, float], ...]

    @property
    def seconds(self) -> float:
        """Length of all stages together."""
        return math.fsum(length for _, length in self.parts)

    @property
    def warmup_rate(self) -> float:
        """The rate of warm-up arrivals: the first that is not a pause."""
        return next(rate for rate, _ in self.parts if rate > 0)

    def at(self, t_s: float) -> float:
        """The rate at t_s; a stage has its beginning and not its end."""
        ends = itertools.accumulate(length for _, length in self.parts)
        return next((rate for (rate, _), end in zip(self.parts, ends, strict=True) if t_s < end), 0.0)

    def expected(self, t_s: float) -> float:
        """Expected arrivals from 0 to t_s."""
        found = begin = 0.0
        for rate, length in self.parts:
            found += rate * min(max(0.0, t_s - begin), length)
            begin += length
        return found

    def moments(self, u: "Floats") -> "Floats":
        """Seconds from which the expected arrivals exceed each u (at least 0); inf for what they never do.

        A u that is reached where a pause begins is put at its end: there is no arrival within a pause.
        """
        import numpy as np

        rates, lengths = np.array(self.parts, dtype=np.float64).T
        begins = np.concatenate(([0.0], np.cumsum(lengths)))
        counts = np.concatenate(([0.0], np.cumsum(rates * lengths)))
        stage = np.searchsorted(counts[1:], u, side="right")
        found = np.full(u.shape, np.inf)
        within = stage < len(rates)
        i = stage[within]
        found[within] = begins[i] + (u[within] - counts[i]) / rates[i]
        return found


Shape = Steady | Ramp | Stages


def shape(load: Load) -> Shape | None:
    """What the options say about the rate; None without a rate: a closed loop, or a trace with times of its own.

    Raises ConfigError for a --ramp or --stages that cannot be read, and for more than one of them.
    """
    given = [
        flag
        for flag, value in (("--request-rate", load.request_rate), ("--ramp", load.ramp), ("--stages", load.stages))
        if value is not None
    ]
    if len(given) > 1:
        raise ConfigError(f"{' and '.join(given)} each say the rate; give one of them")
    try:
        if load.ramp is not None:
            return parse_ramp(load.ramp)
        if load.stages is not None:
            return parse_stages(load.stages)
    except ValueError as error:
        raise ConfigError(f"{given[0]} {load.stages if load.ramp is None else load.ramp}: {error}") from error
    return None if load.request_rate is None else Steady(load.request_rate)


def parse_ramp(text: str) -> Ramp:
    """The ramp of '1:50:60s'. Raises ValueError with what is wrong, in words that end a sentence ("--ramp 1:50: ...").

    Rates are arrivals per second; a time without a unit is in seconds.
    """
    parts = text.split(":")
    if len(parts) != 3:
        raise ValueError(f"not a ramp; {RAMP_FORM}")
    first, last = _rate(parts[0], RAMP_FORM), _rate(parts[1], RAMP_FORM)
    if first == last == 0:
        raise ValueError("both ends are 0; give at least one a rate")
    return Ramp(first, last, _length(parts[2], RAMP_FORM))


def parse_stages(text: str) -> Stages:
    """The stages of '5@30s,20@60s'. Raises ValueError like `parse_ramp`."""
    parts = []
    for item in text.split(","):
        if not item.strip():
            raise ValueError(f"a stage is empty; {STAGES_FORM}")
        rate, at, length = item.partition("@")
        if not at:
            raise ValueError(f"'{item.strip()}' has no time; {STAGES_FORM}")
        parts.append((_rate(rate, STAGES_FORM), _length(length, STAGES_FORM)))
    if all(rate == 0 for rate, _ in parts):
        raise ValueError("every stage is a pause; give at least one a rate")
    return Stages(tuple(parts))


def _rate(text: str, form: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = math.nan
    if math.isnan(rate):
        raise ValueError(f"'{text.strip()}' is not a rate; {form}")
    if rate < 0:
        raise ValueError(f"a rate of {rate:g} is below 0; 0 is the lowest")
    if rate > MOST:
        raise ValueError(f"a rate of {rate:g} per second is more than can be timed; {MOST:g} is the highest")
    return rate


def _length(text: str, form: str) -> float:
    try:
        length = seconds(text)
    except ValueError:
        raise ValueError(f"'{text.strip()}' is not a time; {form}") from None
    if not 0 < length < math.inf:
        raise ValueError(f"a time of {text.strip()} is not possible; it must be above 0")
    return length
