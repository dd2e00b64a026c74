"""Makes terminal-live.svg and terminal-block.svg beside this file: half a minute of the embedded engine, as seen.

    python docs/screenshots/make_terminal.py

The live view is the one a terminal of 80 x 24 shows 20 s into the load, the final block that of one with 100 columns.
"""

import argparse
import contextlib
import functools
import io
import tempfile
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console

from genbench import config
from genbench.block import block
from genbench.cli import live, screen
from genbench.cli.watch import heading
from genbench.engine.live import Snapshot
from genbench.studies import simulated
from genbench.studies.profile import Screen, profile

HERE = Path(__file__).parent
FAULTS = ("--fault", "status:503", "--fault-share", "0.02", "--jitter", "0.4")
FONT = "DejaVu Sans Mono, Menlo, Consolas, monospace"


def svg(console: Console, title: str) -> str:
    """What the console recorded, in fonts the viewer has: an SVG in a page may not load any."""
    head, _, rest = CONSOLE_SVG_FORMAT.partition("@font-face")
    local = head + ".{unique_id}-matrix" + rest.partition(".{unique_id}-matrix")[2]
    return console.export_svg(title=title, code_format=local.replace("Fira Code, monospace", FONT))


def recorder(width: int) -> Console:
    """A console that keeps what is printed and shows nothing."""
    return Console(record=True, width=width, file=io.StringIO(), force_terminal=True, color_system="truecolor")


def main() -> None:
    """Run, draw, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=HERE, help="where the pictures go")
    parser.add_argument("--seconds", default="30", help="how long the load lasts")
    given = parser.parse_args()
    said: list[str] = []
    seen: list[Snapshot] = []
    simulated.engine = functools.partial(simulated.engine, *FAULTS)  # the demonstration's, with something to show
    with tempfile.TemporaryDirectory() as name, contextlib.chdir(name):
        options = {"request_rate": "12", "concurrency": "32", "duration_s": given.seconds, "warmup": "0"}
        run = profile(config.load(options), config.command_line(options, ()), Screen(said.append, seen.append))
    history = live.History(heading(said))
    for k, now in enumerate(seen[: len(seen) * 2 // 3]):
        history.add(k / 4, now)
    shown = recorder(80)
    for line in live.frame(history, 80, 24):
        shown.print(line)
    shown.print()  # else the last line's underscores are cut off
    (given.folder / "terminal-live.svg").write_text(svg(shown, "genbench profile"))
    shown = recorder(100)
    screen.coloured(block(run, 100), shown)
    shown.print()
    (given.folder / "terminal-block.svg").write_text(svg(shown, "genbench profile"))


if __name__ == "__main__":
    main()
