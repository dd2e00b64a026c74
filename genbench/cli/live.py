"""The live view's own process: reads one JSON line per snapshot from standard input and draws on standard error.

It exists so that the process that measures does not draw: a frame takes 2 ms and more, handing a snapshot over 0.1 ms.

Rules
- Lines are a heading (a list), a message to leave on the screen (a string), or a snapshot (an object).
- Between two frames the cursor stands at the view's top left corner. So "clear from here on" removes the view whatever
  its size: for this process at its end, for the parent should this process have died, after a change of window size.
- The size is asked for at each frame: a process of another session gets no SIGWINCH.
- It ends, and has cleaned up, when its input ends.
"""

import json
import math
import os
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from io import StringIO
from typing import TextIO

from rich.console import Console
from rich.text import Text

from genbench.engine.live import Snapshot

NICE = 10
SPAN_S = 60.0
RATE_S = 2.0  # the number beside the chart is the mean over this long
MOST_ROWS = 8
CPU_PCT = 85.0  # as the verdict's bound
LABEL = 16
CELL = 10
MOST_COLUMNS = 120
COLOUR, WARN = "cyan", "bold yellow"
SIMULATED = "SIMULATED"
CLEAR = "\r\x1b[J\x1b[?25h"  # from the cursor on, and the cursor is seen again
BLOCKS, ASCII_BLOCKS = " ▁▂▃▄▅▆▇█", " .:-=+*%#"
Row = tuple[int, Text]  # how soon it goes where there is no room (0: never), and what it says


class History:
    """The moments of the last minute: (when, tokens or requests per second), and the last snapshot."""

    def __init__(self, heading: Sequence[str] = ()) -> None:
        self.heading = tuple(heading)
        self.last: Snapshot | None = None
        self.rates: deque[tuple[float, float]] = deque()
        self._before = (0.0, 0)

    def add(self, t_s: float, now: Snapshot) -> None:
        """Take a snapshot that came at `t_s` of any steady clock."""
        if self.last is not None and self.last.streams and not now.streams:
            self.rates.clear()  # they were tokens of a server that sends none
        then, done = self._before
        per_s = now.tokens_per_s if now.streams else (now.done - done) / max(t_s - then, 0.01)
        self._before = (t_s, now.done)
        if self.last is not None:  # the first has nothing to be compared with
            self.rates.append((t_s, per_s))
        self.last = now
        while self.rates and self.rates[0][0] < t_s - SPAN_S:
            self.rates.popleft()

    def binned(self, columns: int) -> list[float | None]:
        """Mean rate of each of `columns` equal parts of the last minute, None where there was no snapshot."""
        sums, counts = [0.0] * columns, [0] * columns
        end = self.rates[-1][0] if self.rates else 0.0
        for t_s, per_s in self.rates:
            place = columns - 1 - min(columns - 1, int((end - t_s) / SPAN_S * columns))
            sums[place] += per_s
            counts[place] += 1
        found: list[float | None] = [s / n if n else None for s, n in zip(sums, counts, strict=True)]
        for k in range(1, columns):  # where a column is shorter than the time between two snapshots
            if found[k] is None:
                found[k] = found[k - 1]
        return found

    def lately(self) -> float | None:
        """Mean rate of the last moments."""
        recent = [per_s for t_s, per_s in self.rates if t_s > self.rates[-1][0] - RATE_S]
        return sum(recent) / len(recent) if recent else None


def frame(history: History, width: int, height: int, *, plain: bool = False) -> list[Text]:
    """The view: lines shorter than `width`, fewer than `height`. Pure; `plain`: ASCII only."""
    now = history.last
    if now is None:
        return []
    inside, room = max(10, width - 1), max(1, height - 1)
    before = [(1, Text()), *_title(history.heading), (1, Text()), (0, _progress(now, inside, plain=plain)), (1, Text())]
    after = [(1, Text()), *_times(now), (1, Text()), *_counts(now)]
    spare = room - len(before) - len(after)
    chart = _chart(history, inside, min(MOST_ROWS, max(1, spare // 3)), plain=plain)
    rows = [*before, *((3, line) for line in chart), *after]
    while len(rows) > room:
        rows.pop(max(range(len(rows)), key=lambda k: (rows[k][0] > 0, -rows[k][0], k)))
    for _, line in rows:
        line.truncate(inside, overflow="crop" if plain else "ellipsis")
    return [line for _, line in rows]


def _title(heading: Sequence[str]) -> Iterator[Row]:
    """The model first: it tells two terminals apart. `heading` is what was said of the server and of the load."""
    if heading:
        where, _, model = heading[0].rpartition(", model ")
        model = "".join(c if c.isprintable() else "?" for c in model)  # it is the server's
        line = Text.assemble((model, "bold"), f"  {where.partition(' ')[0]}")
        if SIMULATED in where:
            line.append(f"  {SIMULATED}", "bold yellow")
        yield 9, line.append("".join(f"  {load}" for load in heading[1:]), "dim")


def _progress(now: Snapshot, width: int, *, plain: bool) -> Text:
    """How far it is: by count, by time, by whichever ends it first."""
    shares = [now.done / now.total] if now.total else []
    shares += [now.elapsed_s / now.duration_s] if now.duration_s else []
    share = 0.0 if now.warming_up else min(1.0, max(shares, default=0.0))
    says = _says(now, share)
    columns = width - LABEL - len(says) - 2
    line = _labelled("progress")
    if columns >= 8:
        full = int(share * columns)
        done, rest = ("#", "-") if plain else ("━", "─")
        line.append(done * full, COLOUR).append(rest * (columns - full), "bright_black").append("  ")
    return line.append(says)


def _says(now: Snapshot, share: float) -> str:
    if now.warming_up:
        return "warming up"
    if now.left_s == 0 and now.in_flight and share >= 1:
        return f"no more is sent; {now.in_flight:,} still in flight"
    if now.duration_s and (not now.total or now.elapsed_s / now.duration_s >= now.done / now.total):
        far = f"{_clock(now.elapsed_s)} of {_clock(now.duration_s)}"
    elif now.total:
        far = f"{now.done:,} of {now.total:,}"
    else:
        far = _clock(now.elapsed_s)
    return far if now.left_s is None else f"{far}, {_clock(math.ceil(now.left_s))} left"


def _chart(history: History, width: int, rows: int, *, plain: bool) -> Iterator[Text]:
    """Throughput of the last minute, `rows` high, from zero to the highest."""
    assert history.last is not None
    binned = history.binned(max(8, min(width - LABEL, MOST_COLUMNS)))
    top = max((per_s or 0.0 for per_s in binned), default=0.0)
    unit = "token/s" if history.last.streams else "req/s"
    names = [f"{_rate(history.lately())} {unit}"] + [""] * (rows - 2) + ["last 60 s"] * (rows > 1)
    if rows > 2:
        names[1] = f"peak {_rate(top)}"
    eighths = [None if v is None else max(1, round(8 * rows * v / top)) if v > 0 else 0 for v in binned]
    blocks = ASCII_BLOCKS if plain else BLOCKS
    for k, name in enumerate(names):
        below = 8 * (rows - 1 - k)
        bars = "".join(" " if n is None else blocks[min(8, max(0, n - below))] for n in eighths)
        yield _labelled(name, "dim" if k else "bold").append(bars, COLOUR)


def _times(now: Snapshot) -> Iterator[Row]:
    """Percentiles so far."""
    named = [("TTFT", now.ttft_ms), ("ITL", now.itl_ms)] if now.streams else [("latency", now.latency_ms)]
    for k, (name, values) in enumerate(named):
        line = _labelled(name)
        for percent, value in zip((50, 90, 99), values or (None,) * 3, strict=True):
            cell = "-" if value is None else _ms(value)
            line.append(f"p{percent} ", "dim")
            line.append(cell if percent == 99 else f"{cell:<{CELL}}")
        yield 6 - k, line


def _counts(now: Snapshot) -> Iterator[Row]:
    """Requests, failures by kind, the client itself."""
    parts = [f"{now.in_flight:,} in flight"]
    parts += [] if now.waiting is None else [f"{now.waiting:,} waiting"]
    parts += [f"{now.done:,} done"] if now.failures else [f"{now.done:,} done", "0 failed"]
    yield 8, _labelled("requests").append(", ".join(parts))
    if now.failures:
        kinds = ", ".join(f"{kind} {count:,}" for kind, count in sorted(now.failures.items(), key=lambda one: -one[1]))
        yield 7, _labelled("failed", "bold red").append(f"{now.failed:,}: {kinds}", "red")
    if now.lag_ms is not None and now.cpu_pct is not None:
        late = now.itl_ms is not None and now.lag_ms > now.itl_ms[0]
        line = _labelled("client").append(f"CPU {now.cpu_pct:.0f} %", WARN if now.cpu_pct > CPU_PCT else "")
        line.append(", ").append(f"loop lag max {_ms(now.lag_ms)}", WARN if late else "")
        yield 4, line.append(" (last second)", "dim")


def _labelled(name: str, style: str = COLOUR) -> Text:
    """The start of a line."""
    return Text.assemble((f"{name:<{LABEL}}", style))


def _ms(value: float) -> str:
    """Three digits, in the unit that suits."""
    if value >= 10_000:
        return f"{value / 1e3:,.1f} s"
    decimals = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:.{decimals}f} ms"


def _rate(per_s: float | None) -> str:
    return "-" if per_s is None else f"{per_s:,.0f}" if per_s >= 100 else f"{per_s:.1f}"


def _clock(seconds: float) -> str:
    """42 s, 3:07 min, 2:05:00 h."""
    whole = int(seconds)
    if whole < 100:
        return f"{whole} s"
    hours, rest = divmod(whole, 3600)
    minutes, rest = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{rest:02} h" if hours else f"{minutes}:{rest:02} min"


class View:
    """A region of the terminal that is drawn anew in place."""

    def __init__(self, terminal: TextIO) -> None:
        self._terminal = terminal
        self._plain = "utf" not in (terminal.encoding or "").lower()
        self._drawn = False
        self.history = History()

    def draw(self) -> None:
        """Draw the last moment over the one before it: one write, so that nothing flickers."""
        width, height = os.get_terminal_size(self._terminal.fileno())
        if width < 1 or height < 1:  # a terminal that does not know its size says 0
            width, height = 80, 24
        lines = frame(self.history, width, height, plain=self._plain)
        if not lines:
            return
        self._drawn = True
        drawn = "\x1b[K\r\n".join(ansi(lines, width))
        back = f"\x1b[{len(lines) - 1}A" if len(lines) > 1 else ""
        self._write(f"\r\x1b[?25l{drawn}\x1b[J{back}\r")

    def leave(self, message: str) -> None:
        """Put a line above the view for good."""
        self._write(f"\r\x1b[J{message}\r\n")
        self.draw()

    def clear(self) -> None:
        """Leave the terminal as if nothing had been drawn."""
        if self._drawn:
            self._write(CLEAR)

    def _write(self, text: str) -> None:
        self._terminal.write(text)
        self._terminal.flush()


def ansi(lines: Sequence[Text], width: int) -> list[str]:
    """The lines in the terminal's colours (TERM, NO_COLOR), each by itself."""
    found = StringIO()
    console = Console(file=found, force_terminal=True, width=width, highlight=False, legacy_windows=False)
    for line in lines:
        console.print(line, soft_wrap=True, end="\n")
    return found.getvalue().split("\n")[:-1]


def follow(view: View, source: int) -> None:
    """Draw what comes until the input ends; of several snapshots at once the last."""
    rest = b""
    while data := os.read(source, 1 << 16):
        *lines, rest = (rest + data).split(b"\n")
        new = False
        for line in lines:
            found = json.loads(line)
            if isinstance(found, str):
                view.leave(found)
            elif isinstance(found, list):
                view.history.heading = tuple(found)
            else:
                view.history.add(time.monotonic(), Snapshot(**found))
                new = True
        if new:
            view.draw()


def main() -> None:
    """What `python -m genbench.cli.live` does."""
    os.nice(NICE)
    view = View(sys.stderr)
    ansi([Text("once, for what rich loads late")], 80)
    try:
        follow(view, sys.stdin.fileno())
        view.clear()
    except OSError:  # the terminal is gone: nobody is left to be told
        sys.exit(1)


if __name__ == "__main__":
    main()
