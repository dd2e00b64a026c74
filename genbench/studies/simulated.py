"""Starts the embedded engine as its own process, for the demo."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator

from genbench.errors import TargetError

READY = "listening on "
DEMO = ("--preset", "small")


@contextlib.contextmanager
def engine(*arguments: str) -> Iterator[str]:
    """The URL of an engine that lives as long as the block; it ends when its standard input closes.

    `arguments` are those of `genbench simulate`; without any it is the model of an engine that the demo shows.
    Its own session, so that Ctrl-C in the terminal reaches only the client.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "genbench", "simulate", "--port", "0", *(arguments or DEMO)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if READY not in line:
            raise TargetError(
                f"the embedded engine did not start ({line.strip() or 'no output'}); try genbench simulate"
            )
        yield line.partition(READY)[2].strip()
    finally:
        process.stdin.close()
        process.stdout.close()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
