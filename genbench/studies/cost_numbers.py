"""Numbers as a user writes them for `genbench cost` and `genbench size`: 1,800 and $1.21, 8B and 17GB.

A comma stands between thousands, as genbench prints them. A unit is read only where the option is in exactly that unit;
any other is refused, in words that say what the option is in.
"""

import math
import re
from collections.abc import Mapping

from genbench.errors import ConfigError

UNITS: Mapping[str, tuple[str, str]] = {  # of an option: what it is in, and one like it
    "price": ("in dollars per hour", "1.21"),
    "throughput": ("in tokens per second", "161.3"),
    "input-throughput": ("in tokens per second", "400"),
    "input": ("in tokens per second", "400"),
    "requests": ("in requests per second", "8"),
    "users": ("in requests in flight", "200"),
    "concurrency": ("in requests in flight", "16"),
    "rate": ("in requests per second", "40"),
    "capacity": ("in requests per second", "8"),
    "mem": ("in GB", "17 or 17GB"),
    "gpu-memory": ("in GB", "80 or 80GB"),
    "overhead": ("in GB", "2 or 2GB"),
    "params": ("in billions of parameters", "8 or 8B"),
    "active": ("in billions of parameters", "3 or 3B"),
    "tpot": ("in ms", "25"),
    "hours": ("in hours a month", "730"),
}
BEFORE: Mapping[str, str] = {"price": "$"}
AFTER: Mapping[str, str] = {
    "mem": "gb", "gpu-memory": "gb", "overhead": "gb", "params": "b", "active": "b", "tpot": "ms",
}  # fmt: skip
THOUSANDS = re.compile(r"[-+]?\d{1,3}(,\d{3})+(\.\d+)?")
BETWEEN = re.compile(r",(?!\d{3}(?:[,.]|$))")  # a comma between key=value pairs, not one between thousands


def number(flag: str, text: str, key: str, least: float | None = None) -> float:
    """The number of the option `key` in its unit: above zero, or from `least` on. Raises ConfigError."""
    value = _read(text, key)
    if not (value >= least if least is not None else value > 0) or math.isinf(value):
        unit, example = UNITS.get(key, ("", ""))
        said = f"{', ' if unit else ''}{unit}{', like ' if example else ''}{example}"
        bound = "above zero" if least is None else f"from {least:g} on"
        raise ConfigError(f"{_joined(flag, text)}: must be a number {bound}{said}")
    return value


def whole(flag: str, text: str) -> int:
    """A whole number from 1 on. Raises ConfigError."""
    value = _read(text, "")
    if not 1 <= value < math.inf or value != int(value):
        raise ConfigError(f"{_joined(flag, text)}: must be a whole number from 1 on")
    return int(value)


def pairs(text: str) -> list[tuple[str, str]]:
    """key=value,... where a value may have commas between its thousands."""
    return [
        (key.strip(), value.strip()) for key, _, value in (one.partition("=") for one in BETWEEN.split(text) if one)
    ]


def _read(text: str, key: str) -> float:
    bare = text.strip().removeprefix(BEFORE.get(key, ""))
    unit = AFTER.get(key, "")
    if unit and bare.lower().endswith(unit):
        bare = bare[: -len(unit)].rstrip()
    try:
        return float(bare.replace(",", "") if THOUSANDS.fullmatch(bare) else bare)
    except ValueError:
        return math.nan


def _joined(flag: str, text: str) -> str:
    return f"{flag}{'' if flag.endswith('=') else ' '}{text}"
