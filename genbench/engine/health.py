"""The client watched during a run: how late its loop was, how much of a core it had, how long it waited for one.

Every `STEP_NS` a timer on the poller says how late it was served: that is the loop lag, what a read or a send due at
that moment would have waited. Once a second CPU time and the time spent runnable without a core (the kernel's own
account, Linux only) go into a series with the worst lag of that second. The collector is off during a run; a collection
forced by growing memory is counted with its pause.
"""

import array
import asyncio
import contextlib
import gc
import resource
import sys
from typing import Any

import numpy as np

from genbench.clock import now_ns
from genbench.engine.pacing import Pacer
from genbench.transport.poller import Poller

STEP_NS = 20_000_000
SECOND_NS = 1_000_000_000
GROWN_BYTES = 256 << 20
SCHEDSTAT = "/proc/self/schedstat"


class Watch:
    """Samples from `start` to `stop`; `facts` is what the header keeps."""

    def __init__(self, loop: asyncio.AbstractEventLoop, poller: Poller) -> None:
        self._pacer = Pacer(loop, poller, self._sample, exact=False)
        self._lags = array.array("q")
        self._worst = 0
        self.series: dict[str, list[float]] = {"t_ns": [], "cpu_pct": [], "cpu_wait_pct": [], "loop_lag_max_ns": []}
        self._start = self._last = (0, 0.0, 0.0)  # time, CPU and waiting seconds
        self._due_ns = 0
        self._collected_bytes = 0
        self._collections: list[int] = []  # pauses in ns

    def start(self) -> None:
        """Begin; the memory in use now is what growth is counted from."""
        self._start = self._last = _account()
        self._collected_bytes = peak_rss_bytes()
        self._due_ns = self._start[0] + STEP_NS
        self._pacer.at(self._due_ns)

    def stop(self) -> None:
        """End; a second that has begun counts as far as it went."""
        self._pacer.close()
        self._second(_account())

    def _sample(self) -> None:
        now = now_ns()
        self._worst = max(self._worst, now - self._due_ns)
        while self._due_ns <= now:  # moments that passed while the loop was held would have waited, too: all count
            self._lags.append(now - self._due_ns)
            self._due_ns += STEP_NS
        self._pacer.at(self._due_ns)
        if now - self._last[0] >= SECOND_NS:
            self._second(_account())

    def _second(self, now: tuple[int, float, float]) -> None:
        seconds = (now[0] - self._last[0]) / 1e9
        if seconds <= 0:
            return
        self.series["t_ns"].append(now[0])
        self.series["cpu_pct"].append(round(100 * (now[1] - self._last[1]) / seconds, 1))
        self.series["cpu_wait_pct"].append(round(100 * (now[2] - self._last[2]) / seconds, 1))
        self.series["loop_lag_max_ns"].append(self._worst)
        self._worst = 0
        self._last = now

    def collect_if_grown(self) -> None:
        """A collection when memory grew by `GROWN_BYTES`; called between two sends."""
        if peak_rss_bytes() - self._collected_bytes > GROWN_BYTES:
            began = now_ns()
            gc.collect(0)  # with the collector off all that is new is in the first generation
            self._collections.append(now_ns() - began)
            self._collected_bytes = peak_rss_bytes()

    def facts(self) -> dict[str, Any]:
        """For the run's header; lags in ns, shares in percent of one core."""
        seconds = max(1, self._last[0] - self._start[0]) / 1e9
        found: dict[str, Any] = {
            "watched_s": seconds,
            "cpu_s": self._last[1] - self._start[1],
            "cpu_pct": 100 * (self._last[1] - self._start[1]) / seconds,
            "cpu_wait_pct": 100 * (self._last[2] - self._start[2]) / seconds,
            "gc_collections": len(self._collections),
            "gc_pause_max_ns": max(self._collections, default=0),
            "peak_rss_bytes": peak_rss_bytes(),
            "series": self.series,
        }
        if self._lags:
            p50, p90, p99 = (round(q) for q in np.percentile(np.frombuffer(self._lags, np.int64), (50, 90, 99)))
            found["loop_lag_ns"] = {
                "count": len(self._lags),
                "p50": p50,
                "p90": p90,
                "p99": p99,
                "max": max(self._lags),
            }
        return found


def peak_rss_bytes() -> int:
    """The most memory this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _account() -> tuple[int, float, float]:
    """Now, CPU seconds so far, seconds spent waiting for a core so far (0 where the system keeps no such account)."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    waited = 0.0
    with contextlib.suppress(OSError), open(SCHEDSTAT) as file:
        waited = int(file.read().split()[1]) / 1e9
    return now_ns(), used.ru_utime + used.ru_stime, waited
