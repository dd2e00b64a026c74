"""The loads of a sweep in text: `1,2,4,8`, `1:32:x2` (each twice the one before), `1:20:+1`, `auto`.

Both ends of FROM:TO:STEP are in it: where the steps do not meet TO, TO follows as the last value (1:20:x2 is
1, 2, 4, 8, 16, 20). Values ascend. Rates are numbers above 0, concurrencies whole numbers from 1 on; a factor's values
are rounded to whole numbers for them, each kept once.
"""

import itertools
import math
import re

from genbench.errors import ConfigError

AUTO = "auto"
MOST = 200
HIGHEST = 1e6  # requests in a second, or at once
FORMS = "write them like 1,2,4,8, 1:32:x2, 1:20:+1 or auto"
_STEPPED = re.compile(r"([^:]+):([^:]+):([x+])?([^:]+)")


def is_range(text: str) -> bool:
    """Whether it is more than one load, or may be."""
    return text.strip() == AUTO or "," in text or ":" in text


def parse(flag: str, text: str, *, whole: bool) -> tuple[float, ...] | None:
    """The loads that `text` means, ascending; None for `auto`. `whole`: only whole numbers.

    Raises ConfigError with one sentence for anything else.
    """
    text = text.strip()
    if text == AUTO:
        return None
    if not text:
        raise ConfigError(f"{flag} is empty; {FORMS}")
    stepped = _STEPPED.fullmatch(text)
    if stepped is not None:
        return _stepped(flag, text, stepped, whole=whole)
    if ":" in text:
        raise ConfigError(f"{flag} {text}: a range is FROM:TO:STEP with a step of x2 or +1; {FORMS}")
    values = tuple(_value(flag, text, item, whole=whole) for item in text.split(","))
    for before, after in itertools.pairwise(values):
        if after == before:
            raise ConfigError(f"{flag} {text}: {after:g} stands there twice; use --repeats to measure a load again")
        if after < before:
            raise ConfigError(f"{flag} {text}: {after:g} after {before:g}; write them in ascending order")
    return _few(flag, text, values)


def _stepped(flag: str, text: str, found: re.Match[str], *, whole: bool) -> tuple[float, ...]:
    first, last = (_value(flag, text, found[k], whole=whole) for k in (1, 2))
    if last < first:
        raise ConfigError(f"{flag} {text}: {last:g} is below {first:g}; write the lower one first")
    if found[3] is None and found[4].strip() not in ("x", "+"):
        raise ConfigError(f"{flag} {text}: the step is x{found[4]} (times) or +{found[4]} (plus); say which")
    times = found[3] == "x"
    step = _value(flag, text, found[4], whole=whole and not times)
    if times and step <= 1:
        raise ConfigError(f"{flag} {text}: times {step:g} never gets to {last:g}; use a factor above 1")
    count = math.log(last / first) / math.log(step) if times else (last - first) / step
    if count > 10 * MOST:  # a factor of 1.000001: rounding might never leave the first whole number
        raise ConfigError(f"{flag} {text}: that is about {count:,.0f} loads, and {MOST} is the most; use larger steps")
    values = [first * step**k if times else first + step * k for k in range(math.floor(count + 1e-9) + 1)]
    if values[-1] < last * (1 - 1e-9):
        values.append(last)
    values[-1] = last
    rounded = [float(round(value)) if whole else float(f"{value:.12g}") for value in values]
    return _few(flag, text, tuple(dict.fromkeys(rounded)))


def _value(flag: str, text: str, item: str, *, whole: bool) -> float:
    """One number of a range."""
    item = item.strip()
    try:
        value = float(item)
    except ValueError:
        said = "a value is missing" if not item else f"'{item}' is no number"
        raise ConfigError(f"{flag} {text}: {said}; {FORMS}") from None
    if not math.isfinite(value):
        raise ConfigError(f"{flag} {text}: '{item}' is no load to sweep over; give finite numbers")
    if value <= 0:
        raise ConfigError(f"{flag} {text}: {item} is not above 0; give numbers above 0")
    if value > HIGHEST:
        raise ConfigError(f"{flag} {text}: {item} is more than one machine can send; give numbers up to {HIGHEST:,.0f}")
    if whole and value != math.floor(value):
        raise ConfigError(f"{flag} {text}: {item} is no whole number; give whole numbers")
    return value


def _few(flag: str, text: str, values: tuple[float, ...]) -> tuple[float, ...]:
    """Values that are not too many, and not too near to each other for a name of their own."""
    for before, after in itertools.pairwise(values):
        if f"{before:g}" == f"{after:g}":
            raise ConfigError(f"{flag} {text}: two loads are both {after:g} to six digits; put them further apart")
    if len(values) > MOST:
        raise ConfigError(f"{flag} {text}: that is {len(values)} loads, and {MOST} is the most; use larger steps")
    return values
