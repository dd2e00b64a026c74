"""GPUs and instances by name: what `profiles/hardware.yaml`, or a file like it, says of memory, bandwidth and price.

Names are compared without regard to case, spaces, dashes, dots and who makes the GPU: "NVIDIA H100 80GB" is H100-80.
What stands before a dash is enough where that is one GPU; an H100 may be any of several.
"""

import difflib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genbench import config
from genbench.costing import Listed
from genbench.errors import ConfigError

NAME = "hardware"  # of the file among the profiles
OF_GPU = {"memory", "bandwidth", "tflops", "source", "date"}
OF_INSTANCE = {"gpu", "gpus", "price", "was", "source", "date"}
SAID_ANYWAY = re.compile(r"nvidia|tesla|amd|instinct|sxm\d?|gb\b|[^a-z0-9]")


@dataclass(frozen=True, slots=True)
class Gpu:
    """A kind of GPU: memory in GB, bandwidth in GB/s, dense 16-bit TFLOPS; what is not known is None."""

    name: str
    memory_gb: float
    bandwidth_gbs: float | None
    tflops: float | None
    source: str
    date: str


@dataclass(frozen=True, slots=True)
class Instance:
    """A machine to rent or buy: how many of which GPU, its list price in dollars per hour, earlier ones by month."""

    name: str
    gpu: str
    gpus: int
    price_per_hour: float | None
    was: Mapping[str, float]
    source: str
    date: str


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All that is known by name."""

    gpus: Mapping[str, Gpu]
    instances: Mapping[str, Instance]

    def gpu(self, name: str, flag: str = "--gpu") -> Gpu:
        """A GPU by its name, or by what stands before the dash of one. Raises ConfigError with the nearest names."""
        key = _key(name)
        of_name = [one for one in self.gpus.values() if _key(one.name.partition("-")[0]) == key]
        if not of_name or key in map(_key, self.gpus):
            return self.gpus[_find(name, list(self.gpus), flag, "GPU")]
        if len(of_name) > 1:
            known = " or ".join(f"{one.name} ({one.memory_gb:g} GB)" for one in of_name)
            raise ConfigError(f"{flag} {name}: it comes with several memory sizes; use {known}")
        return of_name[0]

    def instance(self, name: str, flag: str = "--instance") -> Instance:
        """An instance by its name. Raises ConfigError with the nearest names."""
        return self.instances[_find(name, list(self.instances), flag, "instance")]

    def named(self, said: Mapping[str, Any]) -> dict[str, Any]:
        """What a run says of its hardware, by the names that are known here, with the instance's GPU."""
        found = dict(said)
        for key, known in (("instance", self.instances), ("gpu", self.gpus)):
            by_key = {_key(name): name for name in known}
            if found.get(key):
                found[key] = by_key.get(_key(str(found[key])), found[key])
        own = self.instances.get(str(found.get("instance")))
        return found | ({"gpu": own.gpu} if own and not found.get("gpu") else {})

    def listed(self) -> list[Listed]:
        """The instances with a price, for `costing.doubts`."""
        return [
            Listed(one.name, one.gpu, one.gpus, (one.price_per_hour, *one.was.values()))
            for one in self.instances.values()
            if one.price_per_hour is not None
        ]


def read(path: str | None = None) -> Catalogue:
    """The shipped catalogue; what the file `path` says goes before it. Raises ConfigError for a file that is wrong."""
    shipped = _parsed(config.profile_text(NAME), f"profiles/{NAME}.yaml")
    if path is None:
        return _checked(shipped, f"profiles/{NAME}.yaml")
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "not UTF-8 text"
        raise ConfigError(f"--hardware {path}: {str(why).lower()}; check the path") from error
    own = _parsed(text, f"--hardware {path}")
    both = {part: {**shipped[part], **own.get(part, {})} for part in ("gpus", "instances")}
    return _checked(both, f"--hardware {path}")


def _find(name: str, known: Sequence[str], flag: str, what: str) -> str:
    by_key = {_key(one): one for one in known}
    found = by_key.get(_key(name))
    if found is not None:
        return found
    near = [by_key[one] for one in difflib.get_close_matches(_key(name), by_key, 3, 0.4)]
    near += [one for one in known if _key(one).startswith(_key(name)) and one not in near and _key(name)]
    said = f"; the nearest are {', '.join(near[:4])}" if near else f"; known are {', '.join(known)}"
    raise ConfigError(f"{flag} {name}: no {what} of that name is known{said}, and --hardware FILE adds your own")


def _key(name: str) -> str:
    return SAID_ANYWAY.sub("", name.lower())


def _parsed(text: str, where: str) -> dict[str, Any]:
    import yaml

    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{where} is not YAML ({str(error).splitlines()[0]}); correct it") from error
    if not isinstance(found, dict) or not set(found) <= {"gpus", "instances"}:
        raise ConfigError(f"{where}: must have `gpus:` and `instances:`, like profiles/{NAME}.yaml, and nothing else")
    for part, rows in found.items():
        known = OF_GPU if part == "gpus" else OF_INSTANCE
        if not isinstance(rows, dict) or not all(isinstance(row, dict) for row in rows.values()):
            raise ConfigError(f"{where}: {part} must be 'NAME: {{...}}' lines, like those of profiles/{NAME}.yaml")
        for name, row in rows.items():
            if not set(row) <= known:
                wrong = ", ".join(sorted(set(map(str, row)) - known))
                raise ConfigError(f"{where}: {name} has {wrong}, and a line of {part} has {', '.join(sorted(known))}")
    return found


def _checked(found: Mapping[str, Any], where: str) -> Catalogue:
    gpus = {}
    for name, row in found["gpus"].items():
        figures = [_above(row.get(key), f"{where}: {key} of {name}") for key in ("memory", "bandwidth", "tflops")]
        if figures[0] is None:
            raise ConfigError(f"{where}: {name} has no memory; give it in GB")
        gpus[str(name)] = Gpu(str(name), figures[0], figures[1], figures[2], _text(row, "source"), _text(row, "date"))
    instances = {}
    for name, row in found["instances"].items():
        if str(row.get("gpu")) not in gpus:
            raise ConfigError(
                f"{where}: {name} has the GPU {row.get('gpu')}, which is not among the gpus; add it there"
            )
        count, price = row.get("gpus"), _above(row.get("price"), f"{where}: price of {name}")
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise ConfigError(f"{where}: gpus of {name} is {count}; it must be a whole number from 1 on")
        earlier = row.get("was") or {}
        was = {str(until): _above(one, f"{where}: was of {name}") or 0.0 for until, one in earlier.items()}
        instances[str(name)] = Instance(
            str(name), str(row["gpu"]), count, price, was, _text(row, "source"), _text(row, "date")
        )
    return Catalogue(gpus, instances)


def _above(value: Any, what: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ConfigError(f"{what} is {value}; it must be a number above zero")
    return float(value)


def _text(row: Mapping[str, Any], key: str) -> str:
    return str(row.get(key) or "")
