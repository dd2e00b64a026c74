"""The answer of a capacity search as `genbench cost` and `size` take it: the load, how sure it is, and its probe."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from genbench.block import number
from genbench.metrics.levels import words


@dataclass(frozen=True, slots=True)
class Answer:
    """The highest load that is held, in requests per second or in flight (`by`), and its interval.

    `low` and `high` are None where the interval has no such end; `fitted` False: they are the loads around it and no
    confidence interval. `doubt` says why it is not to be relied on, "" where it is. `probe` is the run to take its
    other figures from.
    """

    by: str
    value: float
    low: float | None
    high: float | None
    fitted: bool
    doubt: str
    probe: Mapping[str, Any]

    @property
    def load(self) -> str:
        """The load in words, to four digits."""
        return at(self.by, self.value)

    @property
    def interval(self) -> str:
        """(95 % CI 23.30-93.20), or what else it is; "" without one."""
        if self.low is None or self.high is None:
            return ""
        low, high = number(self.low), number(self.high)
        return f" (95 % CI {low}-{high})" if self.fitted else f" ({low} for sure, {high} is too much)"

    @property
    def below(self) -> float | None:
        """The interval's lower end, where it is another load than the answer."""
        return self.low if self.low is not None and 0 < self.low < self.value else None


def of(document: Mapping[str, Any]) -> Answer | None:
    """The answer in `capacity.json`; None where it holds no load."""
    said = document["answer"] or {}
    value = said.get("value")
    if value is None or not document["probes"]:
        return None
    low, high = said.get("ci95") or (None, None)
    value = float(value)
    return Answer(str(document["by"]), value, low, high, bool(said.get("fitted", True)), _doubt(said),
                  nearest(document, value))  # fmt: skip


def nearest(document: Mapping[str, Any], value: float) -> Mapping[str, Any]:
    """The probe whose load is the nearest one: a confirmation before others, and none whose queue grew if possible."""
    probes: list[Mapping[str, Any]] = list(reversed(document["probes"]))
    return min(probes, key=lambda one: (bool(one["saturated"]), abs(one["value"] - value), not one["confirmation"]))


def at(by: str, value: float) -> str:
    """A load in words, to four digits."""
    return words(by, float(f"{value:.4g}"))


def _doubt(said: Mapping[str, Any]) -> str:
    if said.get("confirmed") is False:
        return "the search was not confirmed: the confirmation did not keep the promises"
    if said.get("confirmed") is None:
        return "the search was not confirmed"
    return "the search ended with a wider interval than was asked for" if said.get("wide") else ""
