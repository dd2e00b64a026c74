"""The highest load that keeps the promises: `search` and `probe` on a real server, every probe an ordinary run.

Rules
- First some requests one at a time: their latency is where the search starts, and where they miss a promise no load
  keeps it.
- Every probe has a seed of its own (the study's plus its number), so that one lucky stretch of arrivals is not in all
  of them. With a rate there is no warm-up but the first: what is sent while the server fills up is not tested.
- `capacity.json` is written anew after every probe. What is in it comes from the probes' folders: --resume goes through
  the same search, takes finished probes as they are, and goes on where they end. Their time counts against the budget.
- A server that goes away is waited for, and the probe made once more; where it stays away, the search ends with what
  there is.
"""

import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from scipy.special import bdtr

from genbench import sources
from genbench.config import Given
from genbench.engine.saturation import Saturation
from genbench.errors import GenbenchError, RecordError, TargetError
from genbench.exporters.json import as_dict
from genbench.metrics import slo
from genbench.metrics.summary import Run
from genbench.studies import probe, verdicts
from genbench.studies.capacity_asked import Wanted
from genbench.studies.capacity_files import NAME
from genbench.studies.point import CONCURRENCY, FOLDER, REQUEST_RATE, Point, Points, Restarted, finished, name
from genbench.studies.probe import ERROR, SO_FAR, Probe, Timing, counts, of_figures, series, verdict_of
from genbench.studies.profile import Screen
from genbench.studies.search import KEPT_BACK, Ask, Found, Goal, Tried, allotted, search
from genbench.studies.sweep import DRAWING_S, DRAWING_SHARE
from genbench.types import Slo

ALONE = "alone"  # the group of the run that sends one request at a time
REQUESTS_ALONE = 10
CERTAIN = 0.01  # chance of an error, to say that even one at a time is too much
SURE = 1e-9  # of a confirmation, which is to take its whole time
STOPPING_S, STOPPING = 3.0, 0.02  # kept of the budget for a probe's beginning and end, and at most that share
MARGIN_S = 30.0
OF_THE_CLIENT = {"client_lag", "loop_lag", "cpu"}


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of it: the content of `capacity.json`, the run that confirms it, the error that ended it."""

    document: dict[str, Any]
    confirmation: Run | None = None
    error: GenbenchError | None = None


@dataclass(slots=True)
class Capacity:
    """One search under way; `document` is what `capacity.json` has."""

    given: Given
    wanted: Wanted
    folder: Path
    screen: Screen
    promises: Sequence[Slo]
    document: dict[str, Any]
    _began: float = field(default_factory=time.monotonic)
    _before_s: float = 0.0  # seconds of the probes that were there already
    _latency_s: float = 0.0
    _runs: list[Point] = field(default_factory=list)

    def run(self) -> Answer:
        """Search. Raises what stops the first run; later errors are handed back. Ctrl-C ends the probe and the search;
        `document["interrupted"]` then says so.
        """
        error: GenbenchError | None = None
        self.write()
        until_s = self._began + self.wanted.budget_s
        with Points(
            self.given,
            self.folder,
            self.screen,
            cool_down_s=self.wanted.cool_down_s,
            wait_ready_s=None,
            until_s=until_s,
        ) as points:
            try:
                if self._alone(points):
                    found = search(lambda ask: self._probe(points, ask), self._goal(), self._told, self._hurry)
                    self._told(found)
            except KeyboardInterrupt:
                self.document["interrupted"] = True
            except GenbenchError as stopped:
                if not self.document["alone"]:
                    raise
                error = stopped
                self.document["notes"].append(f"the search ended early: {stopped}")
        self.document["simulated"] = points.simulated
        self.document["sentences"] = verdicts.sentences(self.document)
        self.document["ended"] = not self.document["interrupted"] and error is None
        self.write()
        return Answer(self.document, self._confirmation(), error)

    # -- one request at a time ----------------------------------------------------------------------------------------

    def _alone(self, points: Points) -> bool:
        """Measure a request alone; False where that already misses a promise, or was interrupted."""
        self.screen.say(f"first {REQUESTS_ALONE} requests, one at a time")
        most_s = self._length_s(name(CONCURRENCY, 1, ALONE)) or allotted(self.wanted.budget_s, self._left_s(), 0)
        changes = {"request_count": REQUESTS_ALONE, "duration_s": most_s, "warmup": 1}
        point = self._run(points, CONCURRENCY, 1, changes, group=ALONE)
        if self._interrupted(point):
            return False
        summary, table = point.run.summary, point.run.table
        self.document |= {key: point.run.header.get(key) for key in ("model", "endpoint_type")}
        self.document["alone"] = self._entry(point)
        if "request_latency" not in summary.metrics:
            self.document["hopeless"] = "not one request was ok, one at a time"
            return False
        self._latency_s = summary.metrics["request_latency"].stats["p50"] / 1e3
        missed = []
        for share in slo.shares(self.promises):
            good, due = counts(table, share)
            if 1 - float(bdtr(due - good - 1, due, 1 - share.share)) < CERTAIN and due > good:
                missed.append(share.slo)
        figures = self._figures()
        missed += [one for one, said in zip(figures, of_figures(figures, summary), strict=True) if said == "missed"]
        if missed:
            said = "; ".join(verdicts.measured(one, self.document["alone"]) for one in missed)
            self.document["hopeless"] = f"even one request at a time misses it: {said}"
        return not missed

    def _goal(self) -> Goal:
        wanted = self.wanted
        whole = wanted.by == CONCURRENCY
        start = wanted.low or (1.0 if whole else 1 / self._latency_s)
        return Goal(start, wanted.low, wanted.high, wanted.precision, whole)

    # -- a probe ------------------------------------------------------------------------------------------------------

    def _probe(self, points: Points, ask: Ask) -> Tried | None:
        repeat = sum(entry["value"] == ask.value for entry in self.document["probes"])
        known_s = self._length_s(name(self.wanted.by, ask.value, "", repeat))
        left_s = self._left_s()
        least_s = max(probe.LEAST_S, probe.LATENCIES * self._latency_s)
        if known_s is None and left_s < least_s:
            after = f"; a probe takes {least_s:.0f} s at least" if least_s > probe.LEAST_S else ""
            self.document["notes"].append(f"the budget of {self.wanted.budget_s:g} s was used up{after}")
            return None
        cap_s = allotted(self.wanted.budget_s, max(left_s, least_s), ask.confirms, self._latency_s)
        what = "confirmation" if ask.confirms else "probe"
        self.screen.say(f"{what} {ask.number + 1}: {verdicts.load(self.wanted.by, ask.value)}, up to {cap_s:.0f} s")
        changes: dict[str, Any] = {
            "duration_s": known_s or float(math.ceil(cap_s + MARGIN_S)),
            "request_count": None,
            "seed": self.given.config.seed + ask.number + 1,
        }
        if self.wanted.by == REQUEST_RATE and "warmup" not in self.given.named:
            changes["warmup"] = 0
        point = self._run(points, self.wanted.by, ask.value, changes, repeat=repeat, ask=ask, cap_s=cap_s)
        if self._interrupted(point):
            return None
        tried = self._tried(point)
        self._runs.append(point)
        entry = self._entry(point) | {"verdict": tried.verdict, "confirmation": ask.confirms > 0}
        self.document["probes"].append(entry)
        self.screen.say(f"  {entry['why'] or tried.verdict} ({point.seconds:.0f} s)")
        return tried

    def _run(
        self,
        points: Points,
        by: str,
        value: float,
        changes: Mapping[str, Any],
        *,
        group: str = "",
        repeat: int = 0,
        ask: Ask | None = None,
        cap_s: float = 0.0,
    ) -> Point:
        """A run; once more where the server had gone away and come back."""
        for last in (False, True):
            judge = None if ask is None else self._judge(ask, cap_s)
            try:
                point = points.run(by, value, group=group, repeat=repeat, judge=judge, changes=changes)
            except Restarted as error:
                self.screen.say(f"note: {error}")
                if last:
                    raise TargetError(f"the server went away twice at {value:g}; look at its log") from error
            else:
                self._before_s += point.seconds if point.resumed else 0.0
                return point
        raise AssertionError("a loop of two ends in it")

    def _judge(self, ask: Ask, cap_s: float) -> Probe:
        workload = self.given.config.workload
        dataset = workload.dataset or (workload.input_file and "jsonl:")
        rate = ask.value
        if self.wanted.by == CONCURRENCY or sources.may_converse(dataset, workload.turns):
            growth = Saturation(None, self._latency_s)  # later turns come on top of a rate
        else:
            growth = Saturation(rate, self._latency_s)
        timing = Timing(
            cap_s,
            self._latency_s,
            lenient=ask.lenient and not ask.confirms,
            whole=bool(self._figures()),
            error=SURE if ask.confirms else ERROR,
        )
        return Probe(slo.shares(self.promises), growth, timing)

    def _tried(self, point: Point) -> Tried:
        found = [(share, series(point.run.table, share)) for share in slo.shares(self.promises)]
        stopped_at = str(point.run.header.get("stopped_at") or "")
        said = verdict_of(stopped_at, found, of_figures(self._figures(), point.run.summary))
        held = {share.slo.text: (share.share, one) for share, one in found}
        figures = self._figures()
        kept = all(one.passed for one in point.run.summary.slo if one.slo in figures)
        return Tried(point.value, said, held, bool(point.saturated), stopped_at.endswith(SO_FAR), kept)

    def _figures(self) -> list[Slo]:
        """The promises that are no share of requests."""
        shares = {share.slo for share in slo.shares(self.promises)}
        return [one for one in self.promises if one not in shares]

    # -- time ---------------------------------------------------------------------------------------------------------

    def _hurry(self) -> bool:
        return self._left_s() < KEPT_BACK * self.wanted.budget_s

    def _left_s(self) -> float:
        spent_s = self._before_s + time.monotonic() - self._began
        kept_s = min(STOPPING_S, STOPPING * self.wanted.budget_s)
        if self.given.config.output.plots:
            kept_s += min(DRAWING_S, DRAWING_SHARE * self.wanted.budget_s)
        return self.wanted.budget_s - spent_s - kept_s

    def _length_s(self, label: str) -> float | None:
        """The duration that a finished run was given; with another one it would not count as the same run."""
        header = finished(self.folder / FOLDER / label) if (self.folder / FOLDER / label).exists() else None
        known = None if header is None else header["config"]["load"].get("duration_s")
        return None if known is None else float(known)

    def _interrupted(self, point: Point) -> bool:
        if point.run.summary.interrupted:
            self.document["interrupted"] = True
        return bool(point.run.summary.interrupted)

    # -- what is written ----------------------------------------------------------------------------------------------

    def _entry(self, point: Point) -> dict[str, Any]:
        """A run as `capacity.json` has it."""
        summary = as_dict(point.run.summary)
        return {
            "by": point.by,
            "value": point.value,
            "folder": point.folder.relative_to(self.folder).as_posix(),
            "why": str(point.run.header.get("stopped_at") or ""),
            "saturated": point.saturated,
            "seconds": round(point.seconds, 3),
            "run_verdict": summary["verdict"],
            "client": [one.text for one in point.run.summary.findings if one.check in OF_THE_CLIENT],
            **{part: summary[part] for part in ("metrics", "run", "outcomes", "slo")},
        }

    def _told(self, found: Found) -> None:
        self.document["answer"] = {
            "value": found.value,
            "ci95": None if found.low is None or found.value is None else [found.low, found.high],
            "at_least": found.high is None and found.value is not None,
            "highest_allowed": found.at_least,
            "confirmed": found.confirmed,
            "wide": found.wide,
            "fitted": found.fitted,
        }
        self.document["sentences"] = verdicts.sentences(self.document)
        self.write()

    def _confirmation(self) -> Run | None:
        """The last confirmation, else the highest load that was kept."""
        for entry, point in zip(reversed(self.document["probes"]), reversed(self._runs), strict=True):
            if entry["confirmation"]:
                return point.run
        kept = [
            point
            for entry, point in zip(self.document["probes"], self._runs, strict=True)
            if entry["verdict"] == "kept" and point.value == (self.document["answer"] or {}).get("value")
        ]
        return kept[-1].run if kept else None

    def write(self) -> None:
        """Replace `capacity.json`. Raises RecordError."""
        fresh = self.folder / f"{NAME}.tmp"
        try:
            fresh.write_bytes(orjson.dumps(self.document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
            os.replace(fresh, self.folder / NAME)
        except OSError as error:
            raise RecordError(
                f"cannot write {self.folder / NAME} ({error.strerror}); free space and use --resume"
            ) from error
