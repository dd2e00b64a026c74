"""When `auto` has seen enough: it doubles the load until more of it brings nothing, or breaks something.

It stops after a load at which a promise is missed, no request was ok, the number in flight grew without bound, or less
than 90 % of the asked rate was delivered; and after two doublings in a row that brought less than 5 % more throughput
each (the second confirms the first). Throughput is output tokens per second, of the steady window where both loads have
one; inputs or requests per second where there are no output tokens.
"""

from collections.abc import Mapping
from typing import Any

FIRST = 1.0
MOST = 1024.0
GAIN_PCT = 5.0
DELIVERED_PCT = 90.0
THROUGHPUTS = ("output_token_throughput", "embedding_throughput", "request_throughput")


class Auto:
    """The loads of one group, one after the other."""

    def __init__(self, unit: str) -> None:
        """`unit` follows a load in a sentence: " req/s", or nothing."""
        self.value: float | None = FIRST
        self.why = ""  # it ended
        self._unit = unit
        self._before: Mapping[str, Any] | None = None
        self._flat = ""

    def add(self, entry: Mapping[str, Any]) -> None:
        """Take the point of `value` and choose the next load, None when it is enough."""
        self.why = self._broken(entry) or self._brings_nothing(entry)
        if not self.why and entry["value"] * 2 > MOST:
            self.why = f"{MOST:g}{self._unit} is the highest load that auto tries"
        self._before = entry
        self.value = None if self.why else entry["value"] * 2

    def _broken(self, entry: Mapping[str, Any]) -> str:
        at, run = f"at {entry['value']:g}{self._unit}", entry["run"]
        missed = [one["rule"] for one in entry["slo"] if not one["passed"]]
        if missed:
            return f"{missed[0]} is missed {at}"
        if not entry["outcomes"].get("ok"):
            return f"no request was ok {at}"
        if entry["saturated"]:
            return f"the server is saturated {at}"
        if "requested_rate" in run and "delivered_rate" in run:
            share = 100 * run["delivered_rate"]["value"] / run["requested_rate"]["value"]
            if share < DELIVERED_PCT:
                return f"only {share:.3g} % of the rate were delivered {at}"
        return ""

    def _brings_nothing(self, entry: Mapping[str, Any]) -> str:
        gain = None if self._before is None else gain_pct(self._before["run"], entry["run"])
        if gain is None or gain >= GAIN_PCT:
            self._flat = ""
            return ""
        said = f"{gain:+.2g} % at {entry['value']:g}{self._unit}"
        before, self._flat = self._flat, said
        return f"doubling the load changed throughput by {before} and {said}" if before else ""


def gain_pct(before: Mapping[str, Any], after: Mapping[str, Any]) -> float | None:
    """By how much throughput rose, in percent of what it was; None where there is none to compare."""
    for key in THROUGHPUTS:
        for name in (f"steady_{key}", key):
            if name in before and name in after:
                low, high = before[name]["value"], after[name]["value"]
                return float(100 * (high / low - 1)) if low > 0 else None
    return None
