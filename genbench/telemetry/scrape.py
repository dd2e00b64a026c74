"""The process that asks exporters beside a run: told on standard input, rows into a file. `python -m` runs it.

Rules
- Line 1 of its input is what to ask: `{"every_s": 0.5, "timeout_s": 2, "sources": [...]}`. It answers with a line for
  each source: who speaks there, or why nobody does. Line 2 is the file to write: from then on it asks every `every_s`.
  When the input ends it asks once more and is gone: with its parent at the latest, who need not live to say so.
- Each source has a thread: one that hangs holds up nobody else. It ignores SIGINT and is nice to others.
- A row is one answer: `t_ns` on the run's clock (half-way between question and answer, which lay `took_ns` apart), `v`
  gauges and counters, `h` histograms as [sum, count, bounds, counts], `g` by GPU; or `error`. The first row of a source
  is from before the load. Lines with `url` name the sources.
"""

import json
import os
import signal
import sys
import threading
import time
from dataclasses import astuple
from typing import Any, BinaryIO

from genbench.clock import now_ns
from genbench.telemetry import prometheus
from genbench.telemetry.source import Line, Source, Unavailable, unpacked

NICE = 10


class Log:
    """Rows, kept until there is a file for them; then each is written whole and at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: list[bytes] = []
        self._file: BinaryIO | None = None

    def open(self, path: str) -> None:
        """Write what was kept, and everything from now on, to the end of this file."""
        with self._lock:
            self._file = open(path, "ab", buffering=0)  # noqa: SIM115 - it stays open as long as the process
            self._file.write(b"".join(self._kept))
            self._kept.clear()

    def add(self, row: dict[str, Any]) -> None:
        """Write a row, or keep it."""
        data = json.dumps(row, separators=(",", ":")).encode() + b"\n"
        with self._lock:
            if self._file is None:
                self._kept.append(data)
            else:
                self._file.write(data)


class Scraper:
    """Asks one source, in a thread of its own."""

    def __init__(self, number: int, source: Source, log: Log, every_s: float, timeout_s: float) -> None:
        self._number = number
        self._source = source
        self._log = log
        self._every_s = every_s
        self._line = Line(source, timeout_s)
        self._reader = prometheus.Reader()
        self._path = ""
        self.begin = threading.Event()
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._work, daemon=True)

    def _work(self) -> None:
        answer = self._settled()
        usable = not answer.get("error")
        if usable:
            self._log.add({"source": self._number, "url": self._source.shown, "role": self._source.role, **answer})
            self._scrape()
        say({"source": self._number, **answer})
        self.begin.wait()
        due_s = time.monotonic()
        while usable and not self.stop.is_set():
            self._scrape()
            due_s = max(due_s + self._every_s, time.monotonic())
            self.stop.wait(due_s - time.monotonic())
        if usable:
            self._scrape()
        self._line.close()

    def _settled(self) -> dict[str, Any]:
        """Which of the paths has metrics, and whose: {"dialect": ...} or {"error": ...}."""
        reason, fallback = "", None
        for path in self._source.paths or ("",):
            try:
                dialect, reading = prometheus.read(self._line.get(path))
            except Unavailable as error:
                reason = reason or str(error)
                if not reason.startswith("HTTP "):
                    break
                continue
            except prometheus.NotMetrics as error:
                reason = reason or f"answers with {error}"
                continue
            except Exception as error:
                reason = reason or f"its answer could not be read ({type(error).__name__})"
                continue
            if self._source.role == "gpu" and not reading.gpus:
                return {"error": "answers with no GPU metric (DCGM_FI_DEV_... or nv_gpu_...)"}
            if not self._source.asked and not dialect and not reading:
                return {"error": "answers with metrics that are not known"}
            if dialect == "tensorrt-llm" and not reading.histograms and fallback is None and self._source.paths:
                fallback = path, dialect  # its JSON: the text, where there is one, says more
                continue
            self._path = path
            return {"dialect": dialect}
        if fallback is not None:
            self._path = fallback[0]
            return {"dialect": fallback[1]}
        return {"error": reason or "no answer"}

    def _scrape(self) -> None:
        began_ns = now_ns()
        row: dict[str, Any] = {"source": self._number}
        try:
            body = self._line.get(self._path)
            row["took_ns"] = now_ns() - began_ns
            row["t_ns"] = began_ns + row["took_ns"] // 2
            _, reading = self._reader.read(body)
        except (Unavailable, prometheus.NotMetrics) as error:
            row["t_ns"] = began_ns
            row["error"] = str(error) if isinstance(error, Unavailable) else f"answered with {error}"
        except Exception as error:  # an answer that nobody thought of: the next one may be read
            row["t_ns"] = began_ns
            row["error"] = f"its answer could not be read ({type(error).__name__})"
        else:
            if self._source.role == "gpu":
                reading.values.pop("process_memory", None)  # the exporter's own
            row["v"] = reading.values
            row["h"] = {key: astuple(one) for key, one in reading.histograms.items()}
            row["g"] = reading.gpus
        self._log.add(row)


def say(answer: dict[str, Any]) -> None:
    """A line to the parent; it may be gone."""
    try:
        os.write(1, json.dumps(answer).encode() + b"\n")
    except OSError:
        return


def main() -> None:
    """What `python -m genbench.telemetry.scrape` does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(NICE)
    first = sys.stdin.buffer.readline()
    if not first:
        return
    told = json.loads(first)
    log = Log()
    times = told["every_s"], told["timeout_s"]
    scrapers = [Scraper(k, unpacked(one), log, *times) for k, one in enumerate(told["sources"])]
    for one in scrapers:
        one.thread.start()
    path = sys.stdin.buffer.readline()
    if path:
        log.open(json.loads(path))
        for one in scrapers:
            one.begin.set()
        sys.stdin.buffer.read()
        for one in scrapers:
            one.stop.set()
        until_s = time.monotonic() + told["timeout_s"] + 0.5
        for one in scrapers:
            one.thread.join(max(0.0, until_s - time.monotonic()))
    os._exit(0)  # a thread that hangs in an exporter's answer is left there


if __name__ == "__main__":
    main()
