"""What a person sees: lines before the load, a live view during it, the final block after it.

stdout is for results: with --json nothing but JSON, plain ASCII when it is no terminal. Progress goes to stderr: on a
terminal a view that another process draws (`watch.py`, `live.py`), else, and where TERM is dumb, one plain line every
`PLAIN_EVERY_S`. With --quiet there is none.
"""

import contextlib
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from genbench.options import Output

if TYPE_CHECKING:
    from rich.console import Console

    from genbench.block import Block
    from genbench.engine.live import Snapshot
    from genbench.metrics.summary import Run
    from genbench.studies.profile import Screen

PLAIN_EVERY_S = 5.0
PLAIN_WIDTH = 100
COLOURS = {
    "PASS": "bold green",
    "FAIL": "bold red",
    "VALID": "bold green",
    "SUSPECT": "bold yellow",
    "INVALID": "bold red",
}


def make(output: Output) -> "Screen":
    """Where a run says things, as the options and the terminal allow."""
    from genbench.studies.profile import Screen

    if output.quiet:
        return Screen(lambda _: None, None)
    line = PlainLine()
    if sys.stderr.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown"):
        from genbench.cli.watch import LiveView

        view = LiveView(line.show)
        return Screen(view.say, view.show)
    return Screen(_say, line.show)


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")


class PlainLine:
    """For logs: a line every few seconds."""

    def __init__(self) -> None:
        self._next_s = PLAIN_EVERY_S
        self._rates: list[float] = []

    def show(self, now: "Snapshot") -> None:
        """Say the moment when it is time, with the mean rate since the line before."""
        self._rates.append(now.tokens_per_s)
        if now.elapsed_s >= self._next_s and not now.over:
            self._next_s = now.elapsed_s - now.elapsed_s % PLAIN_EVERY_S + PLAIN_EVERY_S
            with contextlib.suppress(OSError):  # nobody reads any more: the run goes on
                sys.stderr.write(text(now, sum(self._rates) / len(self._rates)) + "\n")
            self._rates.clear()


def text(now: "Snapshot", tokens_per_s: float) -> str:
    """A moment in one line."""
    if now.warming_up:
        return f"warming up | {now.in_flight} in flight"
    total = f"/{now.total}" if now.total is not None else ""
    parts = [f"{now.elapsed_s:.0f} s", f"{now.done}{total} done", f"{now.in_flight} in flight", f"{now.failed} failed"]
    if now.waiting:
        parts.append(f"{now.waiting} waiting for the cap")
    if now.streams and tokens_per_s:
        parts.append(f"{tokens_per_s:,.0f} token/s")
    for name, values in (("TTFT", now.ttft_ms), ("ITL", now.itl_ms), ("latency", now.latency_ms)):
        if values is not None:
            parts.append(f"{name} p50 {values[0]:.3g} ms p99 {values[2]:.3g} ms")
    if now.left_s is not None:
        parts.append(f"{now.left_s:.0f} s left")
    return " | ".join(parts)


def show(run: "Run", *, as_json: bool) -> None:
    """Print the result on stdout."""
    with _readable():
        if as_json:
            from genbench.exporters import json

            sys.stdout.write(json.text(run.summary, run.header, run.server).decode())
        else:
            _block(run)
        sys.stdout.flush()


def last_lines(lines: Sequence[str]) -> None:
    """Where the files are, and how it goes on; below the result."""
    with _readable():
        sys.stdout.write("\n".join(["", *lines]) + "\n")
        sys.stdout.flush()


@contextlib.contextmanager
def _readable() -> Iterator[None]:
    """`genbench ... | head`: nobody reads any more, and the run's own exit code stands."""
    try:
        yield
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _block(run: "Run") -> None:
    from genbench.block import block, plain

    if sys.stdout.isatty():
        from rich.console import Console

        width = shutil.get_terminal_size().columns
        coloured(block(run, width), Console(width=width, highlight=False))
    else:
        sys.stdout.write(plain(block(run, PLAIN_WIDTH), PLAIN_WIDTH))


@contextlib.contextmanager
def waiting(line: str, *, quiet: bool) -> Iterator[None]:
    """A line on a terminal while something takes its time; gone when that is done."""
    shown = sys.stderr.isatty() and not quiet
    if shown:
        sys.stderr.write(line)
        sys.stderr.flush()
    try:
        yield
    finally:
        if shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def exit_code(run: "Run", *, strict: bool = False) -> int:
    """130 when interrupted; 4 when INVALID and that counts; 1 when a promise is missed or nothing was ok; else 0.

    A run that --stop-after-errors ended has missed a promise, too.
    """
    if run.summary.interrupted:
        return 130
    if strict and run.summary.verdict == "INVALID":
        return 4
    if run.header.get("stopped_early"):
        return 1
    if not run.summary.outcomes.get("ok") or any(not result.passed for result in run.summary.slo):
        return 1
    return 0


def coloured(shown: "Block", console: "Console") -> None:
    """The block in colour."""
    from rich.table import Table
    from rich.text import Text

    console.print()
    console.print(Text(shown.title, style="bold"))
    for line in (shown.subtitle, *shown.about):
        console.print(Text(line, style="dim"))
    console.print(Text("verdict"), Text(shown.verdict, style=COLOURS[shown.verdict]))
    for finding in shown.findings:
        console.print(Text(f"- {finding}", style="yellow"))
    if shown.metrics:
        grid = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 1))
        grid.add_column("")
        for column in shown.columns:
            grid.add_column(column, justify="right", no_wrap=True)
        for cells in shown.metrics:
            grid.add_row(Text(cells[0], style="cyan"), *map(Text, cells[1:]))
        console.print()
        console.print(grid)
        if shown.legend:
            console.print(Text(shown.legend, style="dim"))
    if shown.targets:
        grid = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 1))
        for k, name in enumerate(shown.targets[0]):
            grid.add_column(name, justify="right" if k else "left", no_wrap=bool(k))
        for cells in shown.targets[1:]:
            grid.add_row(*map(Text, cells))
        console.print()
        console.print(grid)
    if shown.server:
        console.print()
    for line in shown.server:
        console.print(Text(line))
    for rows in (shown.run, shown.outcomes):
        if rows:
            grid = Table(box=None, pad_edge=False, show_header=False, padding=(0, 1))
            widths = [max(len(row[k]) for row in rows) for k in (0, 1)]  # the message is what gives way
            grid.add_column("", style="cyan", min_width=widths[0], no_wrap=True)
            grid.add_column("", justify="right", min_width=widths[1], no_wrap=True)
            grid.add_column("", style="dim", overflow="ellipsis", no_wrap=True)
            for row in rows:
                grid.add_row(*map(Text, row))
            console.print()
            console.print(grid)
    if shown.slos:
        console.print()
    for held, line in shown.slos:
        word = "PASS" if held else "FAIL"
        console.print(Text(word, style=COLOURS[word]), Text(line))
    if shown.notes:
        console.print()
    for note in shown.notes:
        console.print(Text(f"- {note}", style="yellow"))
