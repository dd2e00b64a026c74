"""A sweep: the same work at one load after the other; every point an ordinary run, `sweep.json` anew after each.

Rules
- Loads ascend. With several groups (pairs of lengths) each is a curve of its own, one after the other; repeats come
  after all of them, so that a server that changes slowly changes all loads alike.
- A point's length is that of the options. Without any: with a rate 30 s, or 50 arrivals or 25 median latencies of the
  lowest load where those take longer, at most 2 minutes; with a concurrency max(100, 10 x concurrency) requests or
  60 s, whichever comes first. On the embedded engine it is less.
- After a saturated load the higher ones of its group are left out. So are points that would not end within the budget:
  their time is estimated from the points before. What is running when it ends is cut and not among the points.
- A server that goes away during a point is waited for, and that point measured once more.
- Whatever ends the sweep early, `sweep.json` has what there is.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from genbench import __version__, config, lengths, sources
from genbench.config import Given, changed
from genbench.engine.judges import Deadline, Together
from genbench.engine.saturation import Saturation
from genbench.errors import ConfigError, GenbenchError, TargetError
from genbench.metrics import slo
from genbench.resolve import resolve
from genbench.studies import point as points_of
from genbench.studies import sweep_files as files
from genbench.studies.auto import FIRST, Auto
from genbench.studies.folder import ENGINE_MODEL
from genbench.studies.point import CONCURRENCY, FOLDER, REQUEST_RATE, Point, Points, Restarted, finished
from genbench.studies.profile import Screen

RATE_S, RATE_ARRIVALS, RATE_LATENCIES, RATE_MOST_S = 30.0, 50, 25, 120.0
CONCURRENCY_S = 60.0
DEMO_S, DEMO_RATE_S = 8.0, 20.0
DEMO_LENGTHS = {"isl": "128", "osl": "64"}
DRAWING_S, DRAWING_SHARE = 10.0, 0.1  # of a budget, kept for the figures
ITS_OWN_LOAD = {"plan": "--plan", "ramp": "--ramp", "stages": "--stages", "speed": "--speed"}
SAYS_LENGTH = {"request_count", "duration_s", "until_ci"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to sweep over: `by` is request_rate or concurrency, `values` None for auto, `groups` pairs of lengths."""

    by: str
    values: tuple[float, ...] | None
    groups: tuple[str, ...] = ("",)
    repeats: int = 1
    budget_s: float | None = None
    cool_down_s: float = 30.0
    gpus: int | None = None

    def __post_init__(self) -> None:
        if self.by not in (REQUEST_RATE, CONCURRENCY):
            raise ConfigError(f"{self.by} is no load to sweep over; use {REQUEST_RATE} or {CONCURRENCY}")

    def load(self, value: float) -> dict[str, Any]:
        """A load as options."""
        return {REQUEST_RATE: None, CONCURRENCY: int(value)} if self.by == CONCURRENCY else {REQUEST_RATE: float(value)}

    def at_first(self, given: Given) -> Given:
        """The options of the first point, as far as the load goes: what is checked before anything is sent."""
        return changed(given, self.load(FIRST if self.values is None else self.values[0]))


@dataclass(frozen=True, slots=True)
class Swept:
    """What came of it: the content of `sweep.json`; the error that ended it, if one did; whether the budget did."""

    document: dict[str, Any]
    error: GenbenchError | None = None
    over_budget: bool = False


def check(given: Given) -> None:
    """Raises ConfigError for options that do not go with a sweep, and for what no point of it would accept."""
    load = given.config.load
    for name, flag in ITS_OWN_LOAD.items():
        value = getattr(given.config.workload if name == "plan" else load, name)
        if value is not None:
            raise ConfigError(f"{flag} {value} says itself how the load goes; a sweep sets it, so leave it out")
    if load.arrival == "trace":
        raise ConfigError("--arrival trace has its own moments; a sweep sets the load, so leave it out")
    resolve(slo.promised(given))


def groups_of(isl_osl: str | None) -> tuple[str, ...]:
    """The curves of --isl-osl: pairs without shares are one each. Raises ConfigError."""
    if isl_osl is None or "@" in isl_osl or "," not in isl_osl:
        return ("",)
    try:
        lengths.parse_pairs(isl_osl)
    except ValueError as error:
        raise ConfigError(f"--isl-osl {isl_osl}: {error}") from error
    pairs = tuple("".join(pair.split()) for pair in isl_osl.split(","))
    twice = next((pair for pair in pairs if pairs.count(pair) > 1), None)
    if twice is not None:
        raise ConfigError(f"--isl-osl {isl_osl}: {twice} stands there twice; use --repeats to measure it again")
    return pairs


class Sweep:
    """One sweep under way: `run` measures, `document` is what `sweep.json` has."""

    def __init__(
        self,
        given: Given,
        wanted: Wanted,
        folder: Path,
        screen: Screen,
        *,
        command: str,
        options: Mapping[str, Any],
        tell: Callable[[Mapping[str, Any]], None],
        before: Mapping[str, Any] | None = None,
    ) -> None:
        """`tell` hears of each point as it ends; `options` is kept for --resume; `before`: the one resumed."""
        self._given = given
        self._wanted = wanted
        self._folder = folder
        self._screen = screen
        self._tell = tell
        self._began = time.monotonic()
        self._until_s = math.inf
        if wanted.budget_s is not None:
            kept = min(DRAWING_S, DRAWING_SHARE * wanted.budget_s) if given.config.output.plots else 0.0
            self._until_s = self._began + wanted.budget_s - kept
        resolved = replace(resolve(given)[0], load=changed(given, {wanted.by: None}).config.load)
        self._unit = " req/s" if wanted.by == REQUEST_RATE else ""
        self._timed: list[tuple[dict[str, Any], float]] = []  # points in order, and their seconds beside the load
        self._over_budget: list[str] = []
        self._known = 0 if before is None else len(before["points"])
        self.document: dict[str, Any] = {
            "schema": files.SCHEMA,
            "genbench": __version__,
            "kind": files.KIND,
            "command": command,
            "started": before["started"] if before else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "model": resolved.target.model or "",
            "endpoint_type": resolved.target.endpoint_type,
            "by": wanted.by,
            "simulated": not resolved.target.url,
            "interrupted": True,  # until the end says otherwise
            "gpus": wanted.gpus,
            "options": dict(options),
            "config": config.public(resolved),
            "points": [],
            "left_out": [],
            "analysis": {},
        }

    def run(self) -> Swept:
        """Measure everything that is to be measured. Raises what stops the first point; later errors are handed back.

        Ctrl-C ends the point and the sweep; `document["interrupted"]` then says so.
        """
        wanted, error = self._wanted, None
        if not self._known:
            self._write()
        with Points(
            self._given,
            self._folder,
            self._screen,
            cool_down_s=wanted.cool_down_s,
            wait_ready_s=None,
            until_s=None if math.isinf(self._until_s) else self._until_s,
        ) as points:
            try:
                self.document["interrupted"] = not self._measure(points)
            except KeyboardInterrupt:
                if self._behind():
                    raise
                self.document["interrupted"] = True
            except GenbenchError as stopped:
                if not self.document["points"] or self._behind():
                    self._take_back()
                    raise
                error, self.document["interrupted"] = stopped, False
                self._leave_out(f"the sweep ended early: {stopped}")
        if self._over_budget:
            self._leave_out(f"left out by the budget of {wanted.budget_s:g} s: {', '.join(self._over_budget)}")
        self._write()
        return Swept(self.document, error, over_budget=bool(self._over_budget))

    # -- which points -------------------------------------------------------------------------------------------------

    def _measure(self, points: Points) -> bool:
        """All points; False when one was interrupted."""
        found: dict[str, list[float]] = {}
        for group in self._wanted.groups:
            found[group] = []
            for value in self._values(group):
                if not self._point(points, group, value, 0, self._shape(group, value)):
                    return False
                if self._entry(group, value, 0):
                    found[group].append(value)
        for repeat in range(1, self._wanted.repeats):
            for group, values in found.items():
                for value in values:
                    length = self._shape(group, value)
                    if not self._point(points, group, value, repeat, length):
                        return False
        return True

    def _values(self, group: str) -> Iterator[float]:
        """The loads of a group, as far as the ones before allow."""
        if self._wanted.values is None:
            auto = Auto(self._unit)
            while auto.value is not None:
                yield auto.value
                entry = self._entry(group, auto.value, 0)
                if entry is None:
                    return
                auto.add(entry)
            self._leave_out(f"{self._named(group)}auto ended: {auto.why}")
            return
        for k, value in enumerate(self._wanted.values):
            yield value
            entry = self._entry(group, value, 0)
            higher = self._wanted.values[k + 1 :]
            if entry is not None and entry["saturated"] and higher:
                listed = ", ".join(f"{one:g}" for one in higher)
                self._leave_out(
                    f"{self._named(group)}{listed}{self._unit} left out: at {value:g}{self._unit} the server was "
                    "saturated already"
                )
                return

    def _shape(self, group: str, value: float) -> dict[str, Any]:
        """How long a point is to be where the user did not say, and which lengths its requests have."""
        changes: dict[str, Any] = {"isl_osl": group} if group else {}
        if not SAYS_LENGTH.isdisjoint(self._given.named):
            return changes
        if self._wanted.by == CONCURRENCY:
            most_s = DEMO_S if self.document["simulated"] else CONCURRENCY_S
            return changes | {"request_count": max(100, 10 * int(value)), "duration_s": most_s}
        least_s = DEMO_RATE_S if self.document["simulated"] else RATE_S
        enough_s = max(least_s, RATE_ARRIVALS / value, RATE_LATENCIES * (self._latency_s(group, value) or 0.0))
        return changes | {"duration_s": round(min(enough_s, RATE_MOST_S), 1)}

    # -- one point ----------------------------------------------------------------------------------------------------

    def _point(self, points: Points, group: str, value: float, repeat: int, changes: dict[str, Any]) -> bool:
        """Measure one, if there is time for it; False when it was interrupted."""
        what = f"{self._named(group)}{value:g}{self._unit}" + (f", repeat {repeat + 1}" if repeat else "")
        needs_s = self._estimate(group, value, changes)
        left_s = self._until_s - time.monotonic()
        before = finished(self._folder / FOLDER / points_of.name(self._wanted.by, value, group, repeat)) is not None
        if not before and (left_s <= 0 or (needs_s is not None and needs_s > left_s)):
            self._over_budget.append(what + (f" (about {needs_s:.0f} s)" if needs_s is not None else ""))
            return True
        about = ", measured before" if before else "" if needs_s is None else f", about {needs_s:.0f} s"
        self._screen.say(f"point {len(self.document['points']) + 1}{self._of()}: {what}{about}")
        point = self._run(points, group, value, repeat, changes, what)
        if point.run.summary.interrupted:
            self._leave_out(f"{what} was interrupted; what was measured of it is in {FOLDER}/{point.folder.name}")
            return False
        if point.cut:
            self._over_budget.append(f"{what} (cut short, see {FOLDER}/{point.folder.name})")
            return True
        entry = files.entry_of(point, self._folder)
        self._timed.append((entry, point.seconds - self._load_s(entry, point.run.header["config"]["load"]["warmup"])))
        self.document["model"] = str(point.run.header.get("model") or ENGINE_MODEL)
        self.document["points"].append(entry)
        if not self._behind():
            self._write()
        self._tell(entry)
        return True

    def _run(self, points: Points, group: str, value: float, repeat: int, changes: dict[str, Any], what: str) -> Point:
        """The point; once more where the server had gone away and come back."""
        for last in (False, True):
            try:
                return points.run(
                    self._wanted.by, value, group=group, repeat=repeat, judge=self._judge(group, value), changes=changes
                )
            except Restarted as error:
                self._screen.say(f"note: {error}")
                if last:
                    raise TargetError(f"the server went away twice at {what}; look at its log") from error
        raise AssertionError("a loop of two ends in it")

    def _judge(self, group: str, value: float) -> Together:
        """What may end a point: the budget and, where requests come whatever the server does, saturation."""
        clock = None if math.isinf(self._until_s) else Deadline(self._until_s, "the budget was used up")
        if self._wanted.by == CONCURRENCY:
            return Together(clock)
        workload = self._given.config.workload
        dataset = workload.dataset or (workload.input_file and "jsonl:")
        arrivals_only = not sources.may_converse(dataset, workload.turns)  # later turns come on top of the rate
        return Together(clock, Saturation(value if arrivals_only else None, self._latency_s(group, value)))

    def _latency_s(self, group: str, value: float) -> float | None:
        """Median latency at the lowest load of a group, where that is lower than this one and was measured."""
        lower = [one for one in self.document["points"] if one["group"] == group and one["value"] < value]
        first = min(lower, key=lambda one: (float(one["value"]), int(one["repeat"])), default=None)
        known = None if first is None else (first["metrics"].get("request_latency") or {}).get("p50")
        return None if known is None else float(known) / 1e3

    def _estimate(self, group: str, value: float, changes: Mapping[str, Any]) -> float | None:
        """Seconds that a point will take, from the longest time its options allow; None before the first one."""
        if not self._timed:
            return None
        entry, beside_s = next((one for one in reversed(self._timed) if one[0]["group"] == group), self._timed[-1])
        load = resolve(changed(self._given, self._wanted.load(value) | dict(changes)))[0].load
        times = [load.duration_s if load.duration_s is not None else math.inf]
        if load.until_ci is not None:
            times.append(float(entry["seconds"]))
        if load.request_count is not None:
            known = entry["run"].get("request_throughput", {}).get("value")
            per_s = value if self._wanted.by == REQUEST_RATE else known
            times.append(load.request_count / per_s if per_s else math.inf)
        return min(times) + self._load_s({"value": value, "run": {}}, load.warmup) + beside_s

    def _load_s(self, entry: Mapping[str, Any], warmup: int | None) -> float:
        """Seconds of a point's load: what was measured and, at a rate, the warm-up before it."""
        before_s = (warmup or 0) / entry["value"] if self._wanted.by == REQUEST_RATE else 0.0
        return before_s + float(entry["run"].get("duration", {}).get("value", 0.0))

    # -- what is said and written -------------------------------------------------------------------------------------

    def _entry(self, group: str, value: float, repeat: int) -> dict[str, Any] | None:
        wanted = (group, value, repeat)
        return next(
            (one for one in self.document["points"] if (one["group"], one["value"], one["repeat"]) == wanted), None
        )

    def _of(self) -> str:
        values = self._wanted.values
        return "" if values is None else f" of {len(values) * len(self._wanted.groups) * self._wanted.repeats}"

    def _named(self, group: str) -> str:
        load = "concurrency " if self._wanted.by == CONCURRENCY else ""
        return f"{group}: {load}" if group else load

    def _leave_out(self, sentence: str) -> None:
        self.document["left_out"].append(sentence)
        self._screen.say(sentence)

    def _behind(self) -> bool:
        """Whether a resumed sweep has not yet found all of its points again: until then its files stay as they are."""
        return len(self.document["points"]) < self._known

    def _take_back(self) -> None:
        """Remove a folder in which nothing was measured."""
        if (self._folder / FOLDER).exists():
            return
        for path in self._folder.iterdir():
            path.unlink()
        self._folder.rmdir()

    def _write(self) -> None:
        files.write(self._folder, self.document, self._wanted.groups)


def exit_code(swept: Swept, *, strict: bool) -> int:
    """130 when interrupted; an error's own; 4 when a point is INVALID and that counts; 1 when the lowest load of a
    group misses a promise or no request of the whole sweep was ok; else 0.
    """
    document = swept.document
    if document["interrupted"]:
        return 130
    if swept.error is not None:
        return swept.error.exit_code
    points: Sequence[Mapping[str, Any]] = document["points"]
    if strict and any(one["verdict"] == "INVALID" for one in points):
        return 4
    if not any(one["outcomes"].get("ok") for one in points):
        return 1
    lowest = {one["group"]: min(other["value"] for other in points if other["group"] == one["group"]) for one in points}
    first = [one for one in points if one["value"] == lowest[one["group"]]]
    return int(any(not rule["passed"] for one in first for rule in one["slo"]))
