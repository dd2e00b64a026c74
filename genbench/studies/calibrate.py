"""How far this client can be trusted on this machine: real runs against the embedded engine at rising loads.

Every step is a run like any other (`studies.profile`): the engine, the sockets, the decoding and the log are all in it,
only its folder is thrown away. What the engine wrote down (GET /truth) is held against what the run recorded.

Streams: N answers at a time of 20 token/s each, every one half a step long, so that half of the requests are sent while
the others stream. Upward until a step fails a bound; then one more half-way between the last that held and that one.
Small requests: a closed loop on embeddings, answered at once; the highest rate of requests counts.

Where there are two CPUs the engine has the last one to itself and the client the others. The engine is a client's equal
in speed, not its better: where it was what ended the search, a ceiling is "at least".
"""

import http.client
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from genbench import config
from genbench.errors import TargetError
from genbench.metrics.summary import Run
from genbench.metrics.verdict import CPU_PCT, SHARED_PCT, shared_reads_pct
from genbench.studies import simulated, truth
from genbench.studies.calibration import REQUESTS, STREAMS, Calibration, Step, environment
from genbench.studies.profile import Screen, profile

TOKENS_PER_S = 20
WAVES = 2  # answers of each stream in a step
TTFT = "50ms"
MOST_REQUESTS_PER_S = 4000  # a fast machine is done with a step's requests before its time is up
ICL_ERROR_MS = 1.0
SHARED_BOUND_PCT = SHARED_PCT[0]
QUIET_CPU_PCT = 50.0  # a step that fails below this was not failed by its load
WAIT_PCT = 5.0  # a client with a core to itself waits less than this for one
INPUT_TOKENS = {STREAMS: 32, REQUESTS: 4}
SPARE_FILES = 128
TRUTH_LIMIT = "1000000000"  # as good as none: a step's log is cleared before the next
ASK_S = 60.0


@dataclass(frozen=True, slots=True)
class Ladder:
    """The loads, each in rising order: streams at a time, and small requests in flight."""

    streams: tuple[int, ...] = (1, 10, 100, 300, 1000, 2000, 4000)
    in_flight: tuple[int, ...] = (1, 8, 64)


LADDER = Ladder()


# -- judging ----------------------------------------------------------------------------------------------------------


def complaint(step: Step) -> str:
    """Why a step does not count as held; empty when it does."""
    found = []
    if step.ok < step.requests:
        found.append(f"{step.requests - step.ok} of {step.requests} requests were not ok")
    if step.cpu_pct > CPU_PCT:
        found.append(f"the client used {step.cpu_pct:.0f} % of a core (bound {CPU_PCT:.0f} %)")
    if step.kind == STREAMS:
        if step.icl_error_p99_ms is None:
            found.append("no gap could be compared with the engine's log")
        elif step.icl_error_p99_ms > ICL_ERROR_MS:
            found.append(f"inter-chunk error p99 {step.icl_error_p99_ms:.3g} ms (bound {ICL_ERROR_MS:g} ms)")
        if step.shared_pct is not None and step.shared_pct > SHARED_BOUND_PCT:
            found.append(f"{step.shared_pct:.3g} % of the tokens shared a read (bound {SHARED_BOUND_PCT:g} %)")
    return ", ".join(found)


def engine_was_the_limit(step: Step) -> bool:
    """Whether the engine had no CPU left while the client had."""
    return step.engine_cpu_pct is not None and step.engine_cpu_pct > CPU_PCT >= step.cpu_pct


@dataclass(frozen=True, slots=True)
class Ceiling:
    """The highest rate per second that held, and the step it is of; `at_least` when the client did not end the search.

    0 and None where no step held.
    """

    per_s: float
    at_least: bool
    step: Step | None


def ceiling(steps: Iterable[Step], *, one_core: bool = False) -> Ceiling:
    """Of streams, in events/s: the best step that held below the first that failed.

    At least that, when no step failed, when the engine failed it, or when both sides had one core between them.
    """
    rows = sorted((one for one in steps if one.kind == STREAMS), key=lambda one: one.in_flight)
    failed = next((one for one in rows if complaint(one)), None)
    held = rows if failed is None else [one for one in rows if one.in_flight < failed.in_flight]
    best = max(held, key=lambda one: one.events_per_s, default=None)
    at_least = failed is None or engine_was_the_limit(failed) or one_core
    return Ceiling(best.events_per_s if best else 0.0, at_least, best)


def requests_ceiling(steps: Iterable[Step], *, one_core: bool = False) -> Ceiling:
    """Of small requests, in requests/s: the highest rate reached with every request ok.

    At least that, when the client had CPU left, or when both sides had one core between them.
    """
    rows = [one for one in steps if one.kind == REQUESTS and one.ok == one.requests]
    best = max(rows, key=lambda one: one.requests_per_s, default=None)
    if best is None:
        return Ceiling(0.0, False, None)
    return Ceiling(best.requests_per_s, best.cpu_pct <= CPU_PCT or one_core, best)


def reasons(steps: Sequence[Step], *, one_core: bool = False) -> list[str]:
    """What ended the search, and what disturbed it, one sentence each."""
    said = []
    rows = sorted((one for one in steps if one.kind == STREAMS), key=lambda one: one.in_flight)
    failed = next((one for one in rows if complaint(one)), None)
    if failed is None:
        said.append("every load of streams held: their ceiling is at least the last one's rate")
    else:
        said.append(f"{title(failed)} did not hold: {complaint(failed)}")
        if engine_was_the_limit(failed):
            said.append("there the engine had no CPU left while the client had: the ceiling is at least the rate below")
        elif failed.cpu_pct < QUIET_CPU_PCT:
            said.append(
                f"that client used only {failed.cpu_pct:.0f} % of a core, so something else held one of the two up; "
                "calibrate again when the machine is quiet"
            )
    best = requests_ceiling(steps).step
    if best is not None and engine_was_the_limit(best):
        said.append("small requests: the engine had no CPU left while the client had: their ceiling is at least that")
    elif best is not None and best.cpu_pct <= CPU_PCT:
        said.append("small requests: the client had CPU left at the highest rate: their ceiling is at least that")
    waited = max((one.cpu_wait_pct or 0.0 for one in steps), default=0.0)
    if waited > WAIT_PCT and not one_core:
        said.append(
            f"at times the client waited {waited:.0f} % of a step for a core that something else had; "
            "calibrate again when the machine is quiet"
        )
    return said


def title(step: Step) -> str:
    """'300 streams', '1 request'."""
    noun = "stream" if step.kind == STREAMS else "request"
    return f"{step.in_flight} {noun}{'' if step.in_flight == 1 else 's'}"


def half_way(steps: Iterable[Step]) -> int | None:
    """Streams between the last step that held and the first that failed; None where there is nothing between."""
    rows = sorted((one for one in steps if one.kind == STREAMS), key=lambda one: one.in_flight)
    failed = next((one.in_flight for one in rows if complaint(one)), 0)
    held = max((one.in_flight for one in rows if one.in_flight < failed), default=0)
    middle = (held + failed) // 2
    return middle if held < middle < failed else None


# -- the two sides ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Engine:
    """The embedded engine under way: its address, and its process where the system lets us see it."""

    url: str
    pid: int | None

    def cpu_s(self) -> float | None:
        """CPU time of its process so far, user and system; None where there is no /proc."""
        if self.pid is None:
            return None
        try:
            words = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def log(self) -> list[dict[str, Any]]:
        """Its log of the requests since `clear`."""
        found: list[dict[str, Any]] = self._ask("GET")["requests"]
        return found

    def clear(self) -> None:
        """Forget the log."""
        self._ask("DELETE")

    def _ask(self, method: str) -> Any:
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=ASK_S)
        try:
            connection.request(method, "/truth")
            return json.loads(connection.getresponse().read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise TargetError(f"the embedded engine does not answer ({error}); run genbench calibrate again") from error
        finally:
            connection.close()


def cores() -> list[int]:
    """The CPUs this process may use; empty where the system does not pin."""
    return sorted(os.sched_getaffinity(0)) if sys.platform == "linux" else []


def _pin(wanted: Collection[int]) -> None:
    if sys.platform == "linux":
        with suppress(OSError):  # a sandbox may forbid it: then both sides run where the system puts them
            os.sched_setaffinity(0, wanted)


def _children() -> set[int]:
    """Processes this one has started; empty where there is no /proc."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has just ended
            if int(stat.read_text().rpartition(")")[2].split()[1]) == os.getpid():
                found.add(int(stat.parent.name))
    return found


@contextmanager
def engine(*arguments: str) -> Iterator[Engine]:
    """The embedded engine on the last core, this process on the others while the block runs; then as before.

    The engine inherits the core from this process, which leaves it at once.
    """
    before, known = cores(), _children()
    apart = len(before) > 1
    try:
        if apart:
            _pin(before[-1:])
        with simulated.engine(*arguments) as url:
            if apart:
                _pin(before[:-1])
            new = _children() - known
            yield Engine(url, new.pop() if len(new) == 1 else None)
    finally:
        if apart:
            _pin(before)


def placement() -> tuple[str, bool]:
    """One sentence on who runs where, and whether both have one core between them."""
    found, count = cores(), os.cpu_count() or 1
    if len(found) > 1:
        others = f"the other {len(found) - 1} CPUs" if len(found) > 2 else "the other"
        return f"the engine is pinned to one CPU, the client to {others}", False
    if len(found) == 1 or count == 1:
        return "client and engine shared one core: each had half of it, so every figure is worse than it is", True
    return "client and engine are not pinned here: the system moved them between the CPUs", False


# -- a step -----------------------------------------------------------------------------------------------------------


def measure(server: Engine, kind: str, in_flight: int, seconds: float) -> tuple[Step, Mapping[str, Any]]:
    """One run of about `seconds` and what the engine says of it; with the run's `health`.

    Raises KeyboardInterrupt when the run was interrupted, and what `profile` raises.
    """
    server.clear()
    with tempfile.TemporaryDirectory(prefix="genbench-calibrate-") as folder:
        options = load_of(server.url, kind, in_flight, seconds) | {"artifact_dir": folder, "server_metrics": ("off",)}
        spent_s = server.cpu_s()
        run = profile(config.load(options), config.command_line(options, ()), Screen(lambda _: None, None))
        if run.summary.interrupted:
            raise KeyboardInterrupt
        now_s = server.cpu_s()
        engine_s = None if spent_s is None or now_s is None else now_s - spent_s
        matched = truth.pairs(truth.seen(run.table), truth.logged(server.log()))
        return step_of(kind, in_flight, run, matched, engine_s), run.header.get("health") or {}


def load_of(url: str, kind: str, in_flight: int, seconds: float) -> dict[str, Any]:
    """The options of a step's run, as the command line would name them."""
    named: dict[str, Any] = {"url": (url,), "concurrency": in_flight, "isl": INPUT_TOKENS[kind], "warmup": 0}
    if kind == STREAMS:
        tokens = max(2, round(seconds * TOKENS_PER_S / WAVES))
        return named | {"osl": tokens, "request_count": WAVES * in_flight}
    most = max(in_flight, round(seconds * MOST_REQUESTS_PER_S))
    return named | {"endpoint_type": "embeddings", "duration_s": seconds, "request_count": most}


def step_of(
    kind: str, in_flight: int, run: Run, matched: Sequence[tuple[truth.Seen, truth.Logged]], engine_s: float | None
) -> Step:
    """A step's figures; `engine_s` is the CPU time the engine took for it."""
    table, health = run.table, run.header.get("health") or {}
    events, ok = int(table.event_ns.size), int(table.ok.sum())
    span_s = float(table.end_ns.max() - table.sent_ns[table.sent_ns >= 0].min(initial=table.end_ns.max())) / 1e9
    seconds = max(span_s, 1e-9)
    first = truth.quantiles_ms(np.abs(truth.ttft_errors_ns(matched)), 50, 99) or (None, None)
    gap = truth.quantiles_ms(truth.gap_errors_ns(matched), 50, 99) or (None, None)
    lag = run.summary.metrics.get("client_lag")
    loop_lag_ns = (health.get("loop_lag_ns") or {}).get("p99")
    return Step(
        kind=kind,
        in_flight=in_flight,
        requests=len(table),
        ok=ok,
        matched=len(matched),
        events=events,
        events_per_s=events / seconds,
        requests_per_s=ok / seconds,
        ttft_error_p50_ms=first[0],
        ttft_error_p99_ms=first[1],
        icl_error_p50_ms=gap[0],
        icl_error_p99_ms=gap[1],
        shared_pct=shared_reads_pct(table),
        cpu_us_per_event=health["cpu_s"] * 1e6 / max(1, events),
        cpu_pct=float(health["cpu_pct"]),
        cpu_wait_pct=health.get("cpu_wait_pct"),
        engine_cpu_pct=None if engine_s is None else 100 * engine_s / seconds,
        loop_lag_p99_ms=None if loop_lag_ns is None else loop_lag_ns / 1e6,
        client_lag_p99_ms=None if lag is None else lag.stats["p99"],
    )


def progress(step: Step) -> str:
    """A finished step in one line."""
    streams = step.kind == STREAMS
    rate = f"{step.events_per_s:,.0f} events/s" if streams else f"{step.requests_per_s:,.0f} req/s"
    error, what = (step.icl_error_p99_ms, "inter-chunk") if streams else (step.ttft_error_p99_ms, "latency")
    shown = "unknown" if error is None else f"{error:.3g} ms"
    why = complaint(step) if streams else ""
    end = f"; does not hold: {why}" if why else ""
    return f"{title(step)} at a time: {rate}, {what} error p99 {shown}, {step.cpu_pct:.0f} % of a core{end}"


# -- the whole --------------------------------------------------------------------------------------------------------


def calibrate(seconds: float, say: Callable[[str], None], ladder: Ladder = LADDER) -> Calibration:
    """Climb both ladders, `seconds` a step; `say` hears a line for each. Nothing is stored.

    Raises KeyboardInterrupt when a step was interrupted, TargetError when the engine does not start.
    """
    where, one_core = placement()
    say(where)
    rungs, notes = _rungs(ladder.streams)
    steps: list[Step] = []
    health: Mapping[str, Any] = {}

    def climb(server: Engine, kind: str, in_flight: int) -> bool:
        nonlocal health
        step, health = measure(server, kind, in_flight, seconds)
        steps.append(step)
        say(progress(step))
        return not complaint(step)

    with engine("--ttft", TTFT, "--itl", f"{1000 / TOKENS_PER_S:g}ms", "--truth-limit", TRUTH_LIMIT) as server:
        for streams in rungs:
            if not climb(server, STREAMS, streams):
                break
        middle = half_way(steps)
        if middle is not None:
            climb(server, STREAMS, middle)
    with engine("--ttft", "0s", "--itl", "0s", "--truth-limit", TRUTH_LIMIT) as server:
        for in_flight in ladder.in_flight:
            climb(server, REQUESTS, in_flight)
    here = environment(str(health.get("loop")), str(health.get("transport")))
    events, requests = ceiling(steps, one_core=one_core), requests_ceiling(steps, one_core=one_core)
    return Calibration(
        made=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        **asdict(here),
        events_per_s_ceiling=events.per_s,
        requests_per_s_ceiling=requests.per_s,
        cpu_us_per_event=(events.step or steps[0]).cpu_us_per_event,
        at_least={"events_per_s": events.at_least, "requests_per_s": requests.at_least},
        steps=tuple(sorted(steps, key=lambda one: (one.kind != STREAMS, one.in_flight))),
        notes=(where, *notes, *reasons(steps, one_core=one_core)),
    )


def _rungs(wanted: Sequence[int]) -> tuple[list[int], list[str]]:
    """The steps for which there are files enough, and a sentence on those left out."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    room = sys.maxsize if most == resource.RLIM_INFINITY else most - SPARE_FILES
    left_out = [streams for streams in wanted if streams > room]
    notes = [f"{left_out[0]} streams and more were left out for want of open files (ulimit -n)"] if left_out else []
    return [streams for streams in wanted if streams <= room], notes
