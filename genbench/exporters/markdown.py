"""summary.md: the block that ends the run on the screen, in plain ASCII, ready for a ticket."""

from pathlib import Path

from genbench.block import block, plain
from genbench.metrics.summary import Run

WIDTH = 100


def text(run: Run) -> str:
    """The block, at most 100 columns, fenced so that columns stay columns."""
    return f"```text\n{plain(block(run, WIDTH), WIDTH)}```\n"


def write(run: Run, out: Path) -> list[Path]:
    """Write `summary.md` into the folder `out`."""
    path = out / "summary.md"
    path.write_text(text(run), encoding="ascii")
    return [path]
