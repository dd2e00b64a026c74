"""A real engine as a process, genbench run against it, and a client of ten lines to compare with."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

START_S = 120
RUN_S = 100


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


class Engine:
    """A server started with `command`; `ready` is a path it answers 200 to once it can serve."""

    def __init__(self, command: list[str], port: int, ready: str, log: Path, cwd: Path) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.port = port
        self._log = log
        offline = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(cwd / "hub"), "DO_NOT_TRACK": "1", "OMP_NUM_THREADS": "1"}
        (cwd / "hub" / "hub").mkdir(parents=True, exist_ok=True)  # transformers lists it and fails where it is missing
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                command,
                cwd=cwd,
                env={**os.environ, **offline, "INFINITY_ANONYMOUS_USAGE_STATS": "0", "VLLM_CPU_KVCACHE_SPACE": "1"},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self._wait(ready)
        except BaseException:
            self.stop()
            raise

    def _wait(self, ready: str) -> None:
        until = time.monotonic() + START_S
        while self._process.poll() is None and time.monotonic() < until:
            try:
                urllib.request.urlopen(self.url + ready, timeout=5).close()
                return
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.2)  # not a test's wait for a result: the engine is still loading
        raise RuntimeError(f"the engine did not start:\n{self._log.read_text(errors='replace')[-3000:]}")

    def stop(self) -> None:
        """End the engine and whatever it started."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


@dataclass(frozen=True)
class Ran:
    """What one `genbench profile` did; `summary` is what --json printed."""

    code: int
    out: str
    err: str
    folder: Path

    @property
    def summary(self) -> dict[str, Any]:
        """The summary as printed."""
        found: dict[str, Any] = json.loads(self.out)
        return found

    def stat(self, metric: str, stat: str = "mean") -> float:
        """One statistic of a metric."""
        value: float = self.summary["metrics"][metric][stat]
        return value

    @property
    def header(self) -> dict[str, Any]:
        """run.json."""
        found: dict[str, Any] = json.loads((self.folder / "run.json").read_text())
        return found

    @property
    def records(self) -> list[dict[str, Any]]:
        """The requests, warm-up left out, with what was amended later (tokenizer counts) put in."""
        rows: dict[int, dict[str, Any]] = {}
        for line in (self.folder / "requests.jsonl").read_text().splitlines():
            row = json.loads(line)
            if "amend" in row:
                rows[row.pop("amend")].update(row)
            else:
                rows[row.get("index", 0)] = row
        return [row for row in rows.values() if row.get("phase", 1) == 1]


def profile(folder: Path, url: str, *arguments: str) -> Ran:
    """Run `python -m genbench profile --json` in a process of its own."""
    command = [sys.executable, "-m", "genbench", "profile", "--url", url, "--json", "--quiet", "--no-plots"]
    command += ["--artifact-dir", str(folder), "--name", "run", *arguments]
    environment = {name: value for name, value in os.environ.items() if name != "OPENAI_API_KEY"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_S, env=environment, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return Ran(done.returncode, done.stdout, done.stderr, folder / "run")


def plain_client(port: int, path: str, bodies: list[dict[str, Any]]) -> list[tuple[float, float]]:
    """(time to first token, time to last token) in ms of streamed requests, one after the other, by http.client."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    times = []
    for body in bodies:
        began = time.perf_counter()
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        stamps: list[float] = []
        rest = b""
        while data := response.read1():
            now = time.perf_counter()
            *events, rest = (rest + data).split(b"\n\n")
            stamps += [now for event in events if _has_text(event)]
        times.append((1e3 * (stamps[0] - began), 1e3 * (stamps[-1] - began)))
    connection.close()
    return times


def _has_text(event: bytes) -> bool:
    payload = event.removeprefix(b"data: ").strip()
    if not payload.startswith(b"{"):
        return False
    choices = json.loads(payload).get("choices") or [{}]
    return bool(choices[0].get("text") or (choices[0].get("delta") or {}).get("content"))
