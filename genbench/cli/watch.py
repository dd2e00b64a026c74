"""The live view as the measuring process sees it: a pipe that snapshots go into, never waited for.

Rules
- The drawing process (`genbench.cli.live`) is started before the server is asked, so that it has loaded what it needs
  when the load begins. It has a session of its own: Ctrl-C reaches only the process that measures, which says when the
  view ends by closing the pipe.
- A snapshot that the pipe does not take at once is dropped. A line that somebody writes to the terminal meanwhile is
  kept until the pipe takes it, for the view to leave above itself; what was not taken is written at the end.
- When the drawing process cannot start or is gone, the run goes on with plain lines.
"""

import contextlib
import io
import os
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TextIO

import orjson

if TYPE_CHECKING:
    from genbench.engine.live import Snapshot

DRAW = (sys.executable, "-m", "genbench.cli.live")
END_S = 1.0  # what a view may take to be gone
CLEAR = "\r\x1b[J\x1b[?25h"  # the cursor is at the view's top: clear from here on, show the cursor
LONGEST = 600  # characters of a message: as JSON that is less than a pipe takes in one piece


def heading(said: Sequence[str]) -> Sequence[str]:
    """Of what a run said before its load: the line that names the model and the one after it, on the load."""
    return next((said[k : k + 2] for k, line in enumerate(said) if ", model " in line), ())


class LiveView:
    """Shows a run's snapshots in a region of the terminal, and nothing of itself once the last one has come."""

    def __init__(self, plain: Callable[["Snapshot"], None], command: Sequence[str] = DRAW) -> None:
        """`plain` gets the snapshots when nobody draws. `command` is the drawing process."""
        self._plain = plain
        self._said: list[str] = []
        self._lines: deque[str] = deque()
        self._kept: list[tuple[str, TextIO]] = []
        self._begun = False
        self._process: subprocess.Popen[bytes] | None = None
        self.dropped = 0
        with contextlib.suppress(OSError):
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, bufsize=0, start_new_session=True
            )
            assert self._process.stdin is not None
            os.set_blocking(self._process.stdin.fileno(), False)

    def say(self, line: str) -> None:
        """Write a line; some of what is said before the load heads the view."""
        self._said.append(line)
        if not self._begun and (head := heading(self._said)):  # now, while there is time
            self._put([line[:LONGEST] for line in head])
        sys.stderr.write(line + "\n")

    def show(self, now: "Snapshot") -> None:
        """Hand a moment on; the last one ends the view and returns when the terminal is clean again."""
        if not self._begun and not now.over:
            self._begin()
        if self._process is None:
            self._plain(now)
        elif now.over:
            self._end(END_S)
        else:
            self._send(now)

    def _begin(self) -> None:
        """From now on what is written to the terminal goes through the view."""
        self._begun = True
        if self._process is None:
            return
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if stream.isatty():
                self._kept.append((name, stream))
                setattr(sys, name, Lines(self._lines.append, stream))

    def _send(self, now: "Snapshot") -> None:
        while self._lines and self._put(self._lines[0]):
            self._lines.popleft()
        if not self._put(now):
            self.dropped += 1

    def _put(self, what: object) -> bool:
        """Whether the pipe took it; a line is shorter than PIPE_BUF, so the kernel takes all of it or nothing."""
        if self._process is None:
            return False
        assert self._process.stdin is not None
        try:
            os.write(self._process.stdin.fileno(), orjson.dumps(what) + b"\n")
        except (BlockingIOError, TypeError):  # orjson takes no lone surrogates, and a name may have one
            return False
        except OSError:  # nobody reads any more, and the loop has no time to wait
            self._end(0)
            return False
        return True

    def _end(self, patience_s: float) -> None:
        """Close the pipe, wait for a clean terminal, give the streams back."""
        process, self._process = self._process, None
        assert process is not None
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(patience_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for name, stream in self._kept:
            getattr(sys, name).close()
            setattr(sys, name, stream)
        with contextlib.suppress(OSError):  # the terminal is gone; the run is not
            if process.returncode:  # it could not clean up
                sys.stderr.write(CLEAR)
            for line in self._lines:
                sys.stderr.write(line + "\n")
            sys.stderr.flush()
        self._lines.clear()


class Lines(io.TextIOBase):
    """Stands in for a terminal: whole lines go to `take`, empty ones nowhere."""

    def __init__(self, take: Callable[[str], None], terminal: TextIO) -> None:
        self._take = take
        self._terminal = terminal
        self._rest = ""

    def write(self, text: str, /) -> int:
        """Take text as it comes; once closed, it goes to the terminal after all."""
        if self.closed:
            return self._terminal.write(text)
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._whole(line)
        return len(text)

    def _whole(self, line: str) -> None:
        for at in range(0, len(line.strip()) and len(line), LONGEST):
            self._take(line[at : at + LONGEST])

    def close(self) -> None:
        """Hand on what has no end yet."""
        if not self.closed:
            self._whole(self._rest)
            self._rest = ""
        super().close()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The terminal's own."""
        return self._terminal.encoding

    def isatty(self) -> bool:
        """What it stands in for is one."""
        return True

    def fileno(self) -> int:
        """The terminal's own."""
        return self._terminal.fileno()
