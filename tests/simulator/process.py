"""The simulator as a process of its own, for tests of anything that needs a server."""

import json
import signal
import subprocess
import sys
import urllib.request
from typing import Any


class Simulator:
    """A running simulator: `url`, `port`, its `process`; `truth()` and `clear()` for what it saw."""

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "genbench.simulator", *arguments]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        assert self.process.stdout
        line = self.process.stdout.readline()
        assert line.startswith("genbench simulate: listening on "), line
        self.url = line.split()[-1]
        self.port = 0 if self.url.startswith("unix:") else int(self.url.rpartition(":")[2])

    def truth(self) -> list[dict[str, Any]]:
        """The requests it kept (http only)."""
        with urllib.request.urlopen(self.url + "/truth", timeout=10) as answer:
            found: list[dict[str, Any]] = json.load(answer)["requests"]
        return found

    def truth_of(self, request_id: str) -> dict[str, Any]:
        """The one request that was sent with this x-request-id."""
        (found,) = [one for one in self.truth() if one["id"] == request_id]
        return found

    def clear(self) -> None:
        """Forget the truth so far."""
        request = urllib.request.Request(self.url + "/truth", method="DELETE")
        urllib.request.urlopen(request, timeout=10).close()

    def stop(self) -> int:
        """End it by closing its standard input; its exit code."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.close()
        try:
            code = self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(5)
            raise
        finally:
            self.process.stdout.close()
        return code
