"""What this client was found able to do here: the file that `genbench calibrate` writes and later runs quote.

One entry per environment (host, CPU, number of CPUs, genbench, Python, loop, transport): an entry of any other is stale
and not used. A new calibration replaces the entry of its own environment and leaves the others, so a home directory may
be shared by several machines. The file is replaced as a whole; a damaged one is started anew.
"""

import os
import platform
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from types import UnionType
from typing import Any, get_type_hints

from genbench import __version__
from genbench.errors import RecordError

SCHEMA = 1
PLACE = "GENBENCH_CALIBRATION"  # the environment variable that names another file
STREAMS, REQUESTS = "streams", "requests"  # kinds of steps
AGAIN = "run genbench calibrate"
WORDS = {"cpu": "the CPU", "cpus": "the number of CPUs", "python": "Python"}  # where a field's name is none


@dataclass(frozen=True, slots=True)
class Environment:
    """What makes two calibrations comparable. `cpus` is the machine's, `loop` uvloop or asyncio."""

    host: str
    cpu: str
    cpus: int
    genbench: str
    python: str
    loop: str
    transport: str


@dataclass(frozen=True, slots=True)
class Step:
    """One load of a calibration: `in_flight` streams, or small requests in a closed loop (`kind`).

    `ok` of `requests` were whole and `matched` found in the engine's log. `events` are server-sent events of any kind;
    rates are over the time from the first send to the last end. Errors are against the engine's log, absolute, in ms;
    for small requests that of TTFT is the whole answer's. Shares are in percent: `shared_pct` of the tokens,
    `cpu_pct` (this client's) and `engine_cpu_pct` of one core, `cpu_wait_pct` of the step, in which this client could
    run and had no core. None: not to be had here.
    """

    kind: str
    in_flight: int
    requests: int
    ok: int
    matched: int
    events: int
    events_per_s: float
    requests_per_s: float
    ttft_error_p50_ms: float | None
    ttft_error_p99_ms: float | None
    icl_error_p50_ms: float | None
    icl_error_p99_ms: float | None
    shared_pct: float | None
    cpu_us_per_event: float
    cpu_pct: float
    cpu_wait_pct: float | None
    engine_cpu_pct: float | None
    loop_lag_p99_ms: float | None
    client_lag_p99_ms: float | None


@dataclass(frozen=True, slots=True)
class Calibration:
    """A finished calibration. `made` is UTC (ISO 8601); a ceiling of 0 says that no step held.

    `at_least` says for `events_per_s` and `requests_per_s` whether the client was not what ended the search.
    `cpu_us_per_event` is that of the step which gave the ceiling of events.
    """

    made: str
    genbench: str
    host: str
    cpu: str
    cpus: int
    python: str
    loop: str
    transport: str
    events_per_s_ceiling: float
    requests_per_s_ceiling: float
    cpu_us_per_event: float
    at_least: Mapping[str, bool] = field(default_factory=dict)
    steps: tuple[Step, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def environment(self) -> Environment:
        """What it is of."""
        return Environment(**{one.name: getattr(self, one.name) for one in fields(Environment)})

    def as_json(self) -> dict[str, Any]:
        """The entry as the file keeps it."""
        return asdict(self)

    def quote(self, events_per_s: float | None = None) -> dict[str, Any]:
        """What a run says of it: the ceilings, and the errors p99 at the load nearest below `events_per_s`.

        Without a rate, or with one above, that is the load of the ceiling; below the smallest load it is the smallest.
        """
        rate = self.events_per_s_ceiling if events_per_s is None else min(events_per_s, self.events_per_s_ceiling)
        steps = sorted((one for one in self.steps if one.kind == STREAMS), key=lambda one: one.events_per_s)
        below = [one for one in steps if one.events_per_s <= rate]
        step = below[-1] if below else steps[0] if steps else None
        return {
            "made": self.made,
            "events_per_s_ceiling": self.events_per_s_ceiling,
            "requests_per_s_ceiling": self.requests_per_s_ceiling,
            "ttft_error_p99_ms": step.ttft_error_p99_ms if step else None,
            "icl_error_p99_ms": step.icl_error_p99_ms if step else None,
        }


def environment(loop: str, transport: str) -> Environment:
    """This machine and this program; `loop` and `transport` as a run's header says them."""
    return Environment(
        host=platform.node(),
        cpu=cpu_model(),
        cpus=os.cpu_count() or 0,
        genbench=__version__,
        python=platform.python_version(),
        loop=loop,
        transport=transport,
    )


def cpu_model() -> str:
    """The processor's name; its architecture where the system does not tell."""
    with suppress(OSError), open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
        for line in file:
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def path() -> Path:
    """Where calibrations are kept: $GENBENCH_CALIBRATION, else genbench/calibration.json in $XDG_STATE_HOME."""
    named = os.environ.get(PLACE)
    if named:
        return Path(named).expanduser()
    state = Path(os.environ.get("XDG_STATE_HOME") or "")
    base = state if state.is_absolute() else Path.home() / ".local" / "state"  # the XDG rules: a relative one is no one
    return base / "genbench" / "calibration.json"


def load(wanted: Environment) -> Calibration | None:
    """The calibration of this environment, None where there is none; `reason` says why."""
    found = _find(wanted)
    return found if isinstance(found, Calibration) else None


def reason(wanted: Environment) -> str:
    """Why `load` has nothing for this environment, in one sentence; empty when it has."""
    found = _find(wanted)
    return found if isinstance(found, str) else ""


def stale(wanted: Environment) -> str:
    """`reason` where this machine was calibrated once, as it was then; empty where it never was."""
    return reason(wanted) if path().exists() else ""


def _find(wanted: Environment) -> Calibration | str:
    file = path()
    try:
        found = _read(file)
    except FileNotFoundError:
        return f"there is no calibration of this machine yet; {AGAIN}"
    except (OSError, ValueError, TypeError, KeyError) as error:
        return f"{file} cannot be read ({_why(error)}); {AGAIN}"
    for one in found:
        if one.environment == wanted:
            return one
    if not found:
        return f"{file} has no calibration in it; {AGAIN}"
    nearest = max(found, key=lambda one: (one.host == wanted.host, -len(_differences(one, wanted)), one.made))
    return f"the calibration of {nearest.made} is stale: {', '.join(_differences(nearest, wanted))}; {AGAIN}"


def _differences(one: Calibration, wanted: Environment) -> list[str]:
    """Each as 'Python was 3.11.2 and is 3.12.1'."""
    both = [(f.name, getattr(one, f.name), getattr(wanted, f.name)) for f in fields(Environment)]
    return [f"{WORDS.get(name, name)} was {was} and is {now}" for name, was, now in both if was != now]


def write(calibration: Calibration) -> Path:
    """Keep a calibration; returns the file. Raises RecordError where that cannot be."""
    import orjson

    file = path()
    others: list[Calibration] = []
    with suppress(OSError, ValueError, TypeError, KeyError):  # missing or damaged: begin anew
        others = [one for one in _read(file) if one.environment != calibration.environment]
    entries = [one.as_json() for one in (*others, calibration)]
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh = file.with_name(f"{file.name}.{os.getpid()}.tmp")
        fresh.write_bytes(orjson.dumps({"schema": SCHEMA, "calibrations": entries}, option=orjson.OPT_INDENT_2))
        os.replace(fresh, file)
    except OSError as error:
        raise RecordError(f"cannot write {file} ({_why(error)}); set {PLACE} to another file") from error
    return file


def _read(file: Path) -> list[Calibration]:
    """The entries of the file. Raises OSError, or ValueError, TypeError, KeyError when it is damaged."""
    import orjson

    found = orjson.loads(file.read_bytes())
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        raise ValueError(f"it has no schema {SCHEMA}")
    return [_calibration(row) for row in found["calibrations"]]


def _calibration(row: Mapping[str, Any]) -> Calibration:
    given = _checked(Calibration, row)
    given["steps"] = tuple(Step(**_checked(Step, step)) for step in row["steps"])
    given["notes"] = tuple(map(str, row["notes"]))
    given["at_least"] = {str(name): bool(value) for name, value in row["at_least"].items()}
    return Calibration(**given)


def _checked(kind: type, row: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a dataclass's fields; a text where a number belongs is a ValueError, a missing one a KeyError."""
    found = {}
    for name, hint in get_type_hints(kind).items():
        value = found[name] = row[name]
        if isinstance(hint, type | UnionType) and not isinstance(value, hint):
            raise ValueError(f"{name} is {value!r}")
    return found


def _why(error: Exception) -> str:
    return ((error.strerror if isinstance(error, OSError) else "") or str(error)).lower()
