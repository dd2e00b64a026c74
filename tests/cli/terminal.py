"""A pseudo-terminal and what would stand on its screen, for tests of what a person sees."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios


class Terminal:
    """A pseudo-terminal with a screen: as much of one as the view makes use of."""

    def __init__(self, width: int = 80, height: int = 24) -> None:
        self.width = width
        self.rows = [""]
        self.at = (0, 0)
        self.cursor_seen = True
        self.log = ""
        self._main, self.side = pty.openpty()
        fcntl.ioctl(self.side, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def start(self, *command: str, stdin: int | None = None) -> subprocess.Popen[bytes]:
        """Run a command on it."""
        own = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "COLUMNS", "LINES")}
        environment = own | {"TERM": "xterm-256color"}
        process = subprocess.Popen(
            command, stdin=stdin, stdout=self.side, stderr=self.side, env=environment, start_new_session=True
        )
        os.close(self.side)
        return process

    def read(self, until: str | None = None) -> None:
        """Take what is written until a text has come, or nobody can write any more."""
        while until is None or until not in self.log:
            try:
                data = os.read(self._main, 1 << 16)
            except OSError:  # Linux says EIO when the other side is closed
                data = b""
            if not data:
                os.close(self._main)
                break
            text = data.decode()
            self.log += text
            self._show(text)

    def _show(self, text: str) -> None:
        for part in re.findall(r"\x1b\[[?0-9;]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", text):
            row, column = self.at
            if part == "\r":
                self.at = (row, 0)
            elif part == "\n":
                self.at = (row + 1, column)
                self.rows += [""] * (row + 2 - len(self.rows))
            elif part == "\x1b[K":
                self.rows[row] = self.rows[row][:column]
            elif part == "\x1b[J":
                self.rows[row:] = [self.rows[row][:column]]
            elif part in ("\x1b[?25l", "\x1b[?25h"):
                self.cursor_seen = part.endswith("h")
            elif match := re.fullmatch(r"\x1b\[(\d+)A", part):
                self.at = (row - int(match[1]), column)
            elif not part.startswith("\x1b"):
                old = self.rows[row].ljust(column)
                self.rows[row] = old[:column] + part + old[column + len(part) :]
                self.at = (row, column + len(part))
            else:
                assert part.endswith("m"), f"{part!r} is unknown"

    @property
    def screen(self) -> list[str]:
        return [row.rstrip() for row in self.rows]
