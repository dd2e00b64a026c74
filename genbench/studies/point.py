"""A run of a study in a folder below the study's own: a point of a `sweep` or `capacity`, a block of `run-ab`.

Rules
- Every point is `studies.profile.profile` with the load replaced: the same seed, so request k is the same everywhere,
  and a salt of its own unless the user fixed one.
- After each point the server gets time to become quiet (`quiet`).
- A point that came to its end is never measured again: `run` hands out what is in its folder. What was interrupted, cut
  by the clock or ended by a server that went away is no such point; its folder is renamed, not removed.
- Without a target one embedded engine serves all points. The runs are marked as simulated afterwards, because to
  `profile` the engine is a server like any other.
"""

import contextlib
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from genbench import config, registry
from genbench.config import Given, changed
from genbench.engine.judge import Judge
from genbench.engine.judges import GONE, OUT_OF_TIME, Gone, Together
from genbench.engine.saturation import SATURATED
from genbench.errors import ConfigError, RecordError, TargetError
from genbench.loads import short
from genbench.metrics.summary import Run
from genbench.options import RunConfig
from genbench.records import read_header, write_header
from genbench.resolve import resolve
from genbench.studies import simulated
from genbench.studies.prepare import Place, Waiting, place
from genbench.studies.profile import Screen, profile
from genbench.studies.quiet import Quiet
from genbench.studies.report import read, rebuild

REQUEST_RATE, CONCURRENCY = "request_rate", "concurrency"
FOLDER = "points"
OTHERWISE = {  # may differ between a run and its continuation
    "url", "wait_ready_s", "api_key", "header", "server_metrics", "gpu_telemetry", "prometheus",
}  # fmt: skip


@dataclass(frozen=True)
class Measured:
    """A run and its folder; `seconds` the wall time it took, cool-down included; `resumed`: it had been measured
    before.
    """

    folder: Path
    run: Run
    seconds: float
    resumed: bool

    @property
    def cut(self) -> bool:
        """Whether the clock ended it: its figures are those of a shorter run than was asked for."""
        return str(self.run.header.get("stopped_at") or "").startswith(OUT_OF_TIME)

    @property
    def saturated(self) -> str:
        """Why it was ended as saturated; "" where it was not."""
        return saturated(self.run)


@dataclass(frozen=True)
class Point(Measured):
    """One load. `by` is request_rate or concurrency, `group` "" or the lengths like 128:32, `repeat` from 0."""

    by: str
    value: float
    group: str
    repeat: int


class Restarted(TargetError):
    """The server went away during a point and is there again: the point can be run anew, with a fresh judge."""


class Points:
    """Runs the points of a study: `with Points(...) as points: points.run("concurrency", 8)`.

    `until_s` (of `time.monotonic`) is when the study's time is over; cool-downs end then, too.
    """

    def __init__(
        self,
        given: Given,
        folder: Path,
        screen: Screen,
        *,
        cool_down_s: float,
        wait_ready_s: float | None,
        until_s: float | None = None,
        below: str = FOLDER,
    ) -> None:
        """`wait_ready_s`: how long a server that went away is waited for (None: as long as the options say)."""
        self.simulated = not resolve(given)[0].target.url
        self._given = given
        self._folder = folder / below
        self._screen = screen
        self._cool_down_s = cool_down_s
        self._wait_ready_s = given.config.target.wait_ready_s if wait_ready_s is None else wait_ready_s
        self._until_s = until_s
        self._engine = contextlib.ExitStack()
        self._engine_url = ""
        self._said: set[str] = set()
        self._quiet = Quiet()
        self._measured = 0

    def __enter__(self) -> "Points":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._engine.close()

    def run(
        self,
        by: str,
        value: float,
        *,
        group: str = "",
        repeat: int = 0,
        judge: Judge | None = None,
        changes: Mapping[str, Any] | None = None,
    ) -> Point:
        """Measure one load; `changes` are further options by field name. As `measure`."""
        load: dict[str, Any] = {by: int(value) if by == CONCURRENCY else float(value)}
        if by == CONCURRENCY:
            load["request_rate"] = None
        mark: dict[str, Any] = {"by": by, "value": value, "group": group, "repeat": repeat}
        one = self.measure(name(by, value, group, repeat), load | dict(changes or {}), mark, judge)
        return Point(one.folder, one.run, one.seconds, one.resumed, by, value, group, repeat)

    def measure(
        self, label: str, changes: Mapping[str, Any], place: Mapping[str, Any], judge: Judge | None = None
    ) -> Measured:
        """A run with these options in a folder of this name, or what is there where it was measured before.

        `place` goes into its header as `point`. An interrupted run is returned as it is, without a cool-down
        (`run.summary.interrupted`), and so is one that the clock ended (`cut`). Raises what `profile` raises,
        ConfigError where the folder has a run with other options, TargetError when the server went away and did not
        come back, Restarted when it did.
        """
        folder = self._folder / label
        given = self._changed(label, changes)
        before = self._before(folder, given)
        if before is not None:
            return Measured(folder, *before, resumed=True)
        began = time.monotonic()
        gone = Gone()
        mark = dict(place)
        run = self._profile(given, Together(gone, judge))
        mark["seconds"] = time.monotonic() - began
        run = self._marked(folder, mark) or run
        if not run.summary.interrupted:
            self._look_for_the_server(gone, folder, label, given)
            self._cool_down(run, resolve(given)[0])
            mark["seconds"] = time.monotonic() - began
            write_header(folder, read_header(folder) | {"point": mark})
        return Measured(folder, run, mark["seconds"], resumed=False)

    # -- before -------------------------------------------------------------------------------------------------------

    def _changed(self, label: str, changes: Mapping[str, Any]) -> Given:
        """The options of one point: its own, its folder, no figures."""
        given = changed(self._given, {"artifact_dir": str(self._folder), "name": label, "plots": False} | dict(changes))
        if self._measured:  # it was there before: a server that is not is waited for
            given = changed(given, {"wait_ready_s": self._wait_ready_s})
        return given

    def _profile(self, given: Given, judge: Judge) -> Run:
        url = self._engine_at()
        if url:
            given = Given(replace(given.config, target=replace(given.config.target, url=(url,))), given.named)
        screen = Screen(self._say, self._screen.watch)
        try:
            return profile(given, command_line(given), screen, judge)
        finally:
            self._measured += 1
            signal.signal(signal.SIGTERM, _as_ctrl_c)  # the loop has put the default back

    def _engine_at(self) -> str:
        """Where the embedded engine listens; it is started when it is first asked for. "" with a target."""
        if self.simulated and not self._engine_url:
            self._engine_url = self._engine.enter_context(simulated.engine())
        return self._engine_url

    def _say(self, line: str) -> None:
        """What holds for all points is said once."""
        if self._engine_url:
            line = line.replace(urlsplit(self._engine_url).netloc, "the embedded engine (SIMULATED)")
        if line.startswith(("note: ", "will send ")):
            kind = line if line.startswith("note: ") else "will send"
            if kind in self._said:
                return
            self._said.add(kind)
        self._screen.say(line)

    def _before(self, folder: Path, given: Given) -> tuple[Run, float] | None:
        """A point that came to its end earlier, and its seconds; what is there of an unfinished one is put aside.

        Raises ConfigError where it was measured with other options.
        """
        if not folder.exists():
            return None
        header = finished(folder)
        if header is None:
            put_aside(folder, "unfinished")
            return None
        other = differing(header, resolve(given)[0])
        if other:
            raise ConfigError(f"{folder} was measured with {other}; repeat its options, or begin a new study")
        if not isinstance(header.get("point"), dict):  # killed right after its end
            fresh = self._marked(folder, {"seconds": float(header.get("health", {}).get("watched_s", 0.0))})
            header = read_header(folder)
            return fresh or rebuild(folder), header["point"]["seconds"]
        self._quiet.learn(header)
        return read(folder), float(header["point"].get("seconds", 0.0))

    # -- after --------------------------------------------------------------------------------------------------------

    def _marked(self, folder: Path, mark: Mapping[str, Any]) -> Run | None:
        """Write into the header which point it is, and that it is simulated; the run anew where that changed it."""
        header = read_header(folder) | {"point": dict(mark)}
        self._quiet.learn(header)
        if self.simulated:
            header["simulated"] = True
            header["config"]["target"]["url"] = []
        write_header(folder, header)
        return rebuild(folder) if self.simulated else None

    def _look_for_the_server(self, gone: Gone, folder: Path, label: str, given: Given) -> None:
        """Where the point ended with nobody to connect to: put it aside and wait for the server."""
        if not gone.in_a_row:
            return
        if not gone.stopped:
            with contextlib.suppress(TargetError):  # a server that refuses some is not gone
                self._places(resolve(given)[0], 0.0, patient=False)
                return
        put_aside(folder, "server-gone")
        self._screen.say(f"the server went away at {label}; waiting for it up to {self._wait_ready_s:g} s")
        try:
            self._places(resolve(given)[0], self._wait_ready_s, patient=True)
        except TargetError as error:
            raise TargetError(
                f"the server went away at {label} and did not come back in {self._wait_ready_s:g} s"
            ) from error
        raise Restarted(f"the server went away at {label} and came back; measure that point again")

    def _places(self, resolved: RunConfig, wait_s: float, *, patient: bool) -> list[Place]:
        target = replace(resolved.target, wait_ready_s=wait_s)
        endpoint = registry.load("endpoints", target.endpoint_type)
        path = "/" + (target.endpoint or endpoint.PATH).lstrip("/")
        waiting = Waiting(self._engine_url or None, patient=patient, say=self._say)
        urls = (self._engine_url,) if self._engine_url else target.url
        return [place(url, endpoint, path, target, waiting) for url in urls]

    def _cool_down(self, run: Run, resolved: RunConfig) -> None:
        """Wait until every server is quiet, at most so long."""
        until_s = time.monotonic() + self._cool_down_s
        if self._until_s is not None:
            until_s = min(until_s, self._until_s)
        left_s = until_s - time.monotonic()
        if left_s <= 0:
            return
        try:
            places = self._places(resolved, left_s, patient=False)
        except TargetError:
            return  # it is not there any more: the next point waits for it
        if not self._quiet.wait(places, run.header, resolved, until_s):
            self._screen.say(f"note: the server was not quiet {left_s:.3g} s after the point; the next one begins")


# -- options and folders ----------------------------------------------------------------------------------------------


def name(by: str, value: float, group: str = "", repeat: int = 0) -> str:
    """The folder of a point: r4, c8, c8-128x32, c8-128x32-2 for the second of its repeats."""
    load = {by: int(value) if by == CONCURRENCY else float(value)}
    parts = [short(load), "".join("x" if c == ":" else c if c.isalnum() or c in ".-" else "-" for c in group)]
    return "-".join([part for part in parts if part] + ([str(repeat + 1)] if repeat else []))


def command_line(given: Given) -> list[str]:
    """The `genbench profile` that repeats a point."""
    left_out = {"name", "artifact_dir", "plots", "wait_ready_s"}
    named: dict[str, Any] = {}
    for field in config.options():
        value = getattr(getattr(given.config, field.section) if field.section else given.config, field.name)
        if field.name in given.named - left_out and value is not None:
            named[field.name] = f"{value:g}" if isinstance(value, float) else value
    return config.command_line(named, ())


def saturated(run: Run) -> str:
    """Why the run was ended as saturated; "" where it was not."""
    why = str(run.header.get("stopped_at") or "")
    return why if why.startswith(SATURATED) else ""


def finished(folder: Path) -> dict[str, Any] | None:
    """The header of a run that came to its end, by its plan or by a judge of its load; None for anything else."""
    try:
        header = read_header(folder)
    except RecordError:
        return None
    cut = str(header.get("stopped_at") or "").startswith((OUT_OF_TIME, GONE))
    return None if header.get("interrupted", True) or header.get("error") or cut else header


def put_aside(folder: Path, why: str) -> None:
    """Rename a point's folder, so that its name is free again; what was measured stays."""
    if not folder.exists():
        return
    free = next(k for k in range(1, 10_000) if not folder.with_name(f"{folder.name}.{why}-{k}").exists())
    folder.rename(folder.with_name(f"{folder.name}.{why}-{free}"))


def differing(header: Mapping[str, Any], resolved: RunConfig) -> str:
    """The first option in which a run differs from what is wanted, as 'isl 550, not 100'; "" where none does."""
    then, now = header.get("config") or {}, config.public(resolved)
    for field in config.options():
        if field.section == "output" or field.name in OTHERWISE:
            continue
        had, wants = (part.get(field.section, {}) if field.section else part for part in (then, now))
        if field.name in had and had[field.name] != wants[field.name]:
            return f"{field.flag} {had[field.name]}, not {wants[field.name]}"
    return ""


def _as_ctrl_c(number: int, frame: object) -> None:
    raise KeyboardInterrupt
