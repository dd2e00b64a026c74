"""The scraping process as the run sees it: started early, told what to ask, told to begin, told to end.

Nothing of it runs in the process that measures while the load runs: not a thread, not a reader on its loop.
"""

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from genbench.telemetry.source import DEFAULT_PATHS, TIMEOUT_S, Source

SCRAPE = (sys.executable, "-m", "genbench.telemetry.scrape")
NAME = "server_metrics.jsonl"
EVERY_S = 0.5
START_S = 10.0  # for the process to come up on a busy machine
END_S = TIMEOUT_S + 2.0


class Beside:
    """A child process that scrapes; it has a session of its own, so that Ctrl-C reaches only the run."""

    def __init__(self, command: Sequence[str] = SCRAPE) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        with contextlib.suppress(OSError):
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # what it lacks is a note of the run, no traceback on the screen
                bufsize=0,
                start_new_session=True,
            )

    def ask(
        self, sources: Sequence[Source], every_s: float = EVERY_S, timeout_s: float = TIMEOUT_S
    ) -> list[Mapping[str, Any]]:
        """Ask each source once. An answer for each, in their order: {"dialect": ...} or {"error": ...}."""
        self._tell({"every_s": every_s, "timeout_s": timeout_s, "sources": [one.packed() for one in sources]})
        until_s = time.monotonic() + START_S + TIMEOUT_S * len(DEFAULT_PATHS)
        found: dict[int, Mapping[str, Any]] = {}
        rest = b""
        while self._process is not None and len(found) < len(sources):
            assert self._process.stdout is not None
            ready, _, _ = select.select([self._process.stdout], [], [], max(0.0, until_s - time.monotonic()))
            data = os.read(self._process.stdout.fileno(), 1 << 16) if ready else b""
            if not data:
                break
            *lines, rest = (rest + data).split(b"\n")
            for answer in map(json.loads, lines):
                found[answer["source"]] = answer
        silent = {"error": "the process that scrapes does not answer"}
        return [found.get(k, silent) for k in range(len(sources))]

    def begin(self, folder: Path) -> None:
        """Write rows into the run's folder from now on."""
        self._tell(str(folder / NAME))

    def end(self) -> None:
        """One more scrape, and it is gone. Safe to be called again."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(OSError):
            process.stdin.close()
        process.stdout.close()
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _tell(self, what: object) -> None:
        if self._process is None:
            return
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(what).encode() + b"\n")
        except OSError:  # it is gone; the run goes on without
            self.end()
