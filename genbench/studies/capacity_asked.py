"""What a capacity search is asked for, and what goes with it: refused before any load is sent."""

from dataclasses import dataclass

from genbench.config import Given
from genbench.errors import ConfigError
from genbench.metrics import slo
from genbench.metrics.definitions import by_key
from genbench.resolve import resolve
from genbench.studies import probe
from genbench.studies.point import CONCURRENCY, REQUEST_RATE
from genbench.types import Slo

SAYS_LOAD = {
    "request_rate": "--request-rate", "ramp": "--ramp", "stages": "--stages", "speed": "--speed", "plan": "--plan",
    "request_count": "--request-count", "duration_s": "--duration", "until_ci": "--until-ci",
}  # fmt: skip
GROW_WITH_LOAD = {
    "request_throughput", "output_token_throughput", "input_token_throughput", "total_token_throughput", "goodput",
    "embedding_throughput", "requested_rate", "delivered_rate", "concurrency_mean", "concurrency_max", "duration",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to look for: `by` request_rate or concurrency; times in s, `precision` as a share."""

    by: str = REQUEST_RATE
    low: float | None = None
    high: float | None = None
    precision: float = 0.05
    budget_s: float = 1800.0
    cool_down_s: float = 30.0


def check(given: Given, wanted: Wanted) -> list[Slo]:
    """The promises. Raises ConfigError for what does not go with a search, and for promises that no search can keep."""
    for option, flag in SAYS_LOAD.items():
        value = getattr(given.config.workload if option == "plan" else given.config.load, option)
        if value is not None:
            raise ConfigError(f"{flag} {value}: capacity sets load and length of its probes itself; leave it out")
    if wanted.by == CONCURRENCY and given.config.load.concurrency is not None:
        raise ConfigError(
            f"--concurrency {given.config.load.concurrency}: --by concurrency sets it itself; leave it out"
        )
    if given.config.load.arrival == "trace":
        raise ConfigError("--arrival trace has its own moments; capacity sets the rate, so leave it out")
    if not given.config.slo:
        raise ConfigError("capacity needs a promise to keep; give --slo 'ttft.p95<500ms', a set's name or --goodput")
    promises = [slo.parse(text) for text in given.config.slo]
    for one in promises:
        if one.metric in GROW_WITH_LOAD:
            raise ConfigError(
                f"--slo {one.text}: {one.metric} grows with the load, and is no limit to it; leave it out"
            )
        wrong = {"low": (">", ">="), "high": ("<", "<=")}.get(by_key()[one.metric].better, ())
        if one.op in wrong:
            raise ConfigError(f"--slo {one.text} asks for a slow server, and every high load keeps it; turn it around")
        if one.op == "<" and one.bound <= 0:
            raise ConfigError(f"--slo {one.text} can never be kept; give a bound above 0")
    if wanted.budget_s < 2 * probe.LEAST_S:
        raise ConfigError(
            f"--budget {wanted.budget_s:g}: one probe takes {probe.LEAST_S:g} s or more; give a minute at least"
        )
    if wanted.low is not None and wanted.high is not None and wanted.low >= wanted.high:
        raise ConfigError(f"--low {wanted.low:g} is not below --high {wanted.high:g}; exchange them")
    resolve(given)
    return promises
