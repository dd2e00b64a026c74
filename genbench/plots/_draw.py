"""From a figure's numbers to files: a CSV, and with altair and vl-convert a PNG or an SVG. No browser, no network.

Where those two are not installed (they have no wheel for every platform) the CSVs are written and one sentence says so.
"""

import csv
import os
import textwrap
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from genbench import registry
from genbench.metrics.summary import Run
from genbench.plots._figure import BETWEEN_RUNS, SEPARATOR, Figure, Nothing, Table, together
from genbench.plots._look import LIGHT, Look

FOLDER = "plots"
NOTE_WIDTH = 118  # letters in a line under the title
SCALE = 2.0  # pixels of a PNG for each unit of length


def names() -> list[str]:
    """All figures of a run, in the order of `ORDER`, the others behind them."""
    known = registry.names("plots")
    return sorted(known, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))


ORDER = (
    "latency_over_run",
    "ttft_cdf",
    "itl_cdf",
    "latency_cdf",
    "throughput_over_run",
    "server_over_run",
    "gpu_over_run",
    "arrivals_over_run",
    "outcomes_over_run",
    "ttft_box",
    "latency_box",
    "ttft_by_input",
    "itl_by_position",
    "lengths",
    "lengths_heatmap",
    "timeline",
    "client_lag",
)


class Failed(Nothing):
    """A figure's own code went wrong: the others, the page and the run do not go with it."""


class Drawing(Protocol):
    """What a figure of a run, of a sweep or of a comparison has for its picture."""

    TITLE: str

    def chart(self, table: Table, look: Look) -> Any:
        """The altair chart of a table."""


Spec: TypeAlias = Callable[[str, Table, Look], dict[str, Any]]


def tables(series: Sequence[tuple[str, Run]], chosen: Sequence[str]) -> dict[str, Table | Nothing]:
    """The numbers of each figure, or why it has none."""
    found: dict[str, Table | Nothing] = {}
    for name in chosen:
        try:
            found[name] = together(series, figure(name).data)
        except Nothing as why:
            found[name] = why
        except Exception as error:
            found[name] = failure(error)
    return found


def failure(error: Exception) -> Failed:
    """The fault of one figure in a sentence."""
    return Failed(f"this figure failed ({type(error).__name__}: {' '.join(str(error).split())[:200]})")


def figure(name: str) -> Figure:
    """A figure by its name, or by a path of the user's own."""
    found: Figure = registry.load("plots", name)
    return found


def spec(name: str, table: Table, look: Look) -> dict[str, Any]:
    """The Vega-Lite specification of a figure, title, note and look included."""
    return specification(figure(name), table, look)


def specification(module: Drawing, table: Table, look: Look) -> dict[str, Any]:
    """The same of a figure of any kind."""
    from altair.utils.schemapi import debug_mode

    with debug_mode(False):  # altair's check of each part it makes takes half of the time
        made: dict[str, Any] = module.chart(table, look).to_dict(validate=False)
    made["title"] = {"text": module.TITLE, **({"subtitle": lines(table.note)} if table.note else {})}
    made["config"] = look.config()
    return made


def lines(note: str, width: int = NOTE_WIDTH) -> list[str]:
    """A note in lines: one where it fits, else one for each run, broken between clauses, then between words."""
    if len(note) <= width:
        return [note] if note else []
    return [line for run in note.split(BETWEEN_RUNS) for line in _clauses(run, width)]


def _clauses(note: str, width: int) -> list[str]:
    found = [""]
    for clause in note.split(SEPARATOR):
        if found[-1] and len(found[-1]) + len(clause) + 2 <= width:
            found[-1] += SEPARATOR + clause
        else:
            found += textwrap.wrap(clause, width)
    return found[1:]


def image(made: Mapping[str, Any], kind: str) -> bytes:
    """A specification as a PNG or an SVG file."""
    import vl_convert

    if kind == "svg":
        return str(vl_convert.vegalite_to_svg(dict(made))).encode()
    return bytes(vl_convert.vegalite_to_png(dict(made), scale=SCALE))


def missing() -> str:
    """One sentence when figures cannot be drawn here; empty when they can."""
    try:
        import altair  # noqa: F401
        import vl_convert  # noqa: F401
    except (ImportError, OSError) as error:
        name = getattr(error, "name", None)
        why = f"{name} is not installed" if name else " ".join(str(error).split())
        return f"no pictures: {why}; the numbers of each are in {FOLDER}/*.csv"
    return ""


def draw(
    found: MutableMapping[str, Table | Nothing], folder: Path, kinds: Sequence[str] = ("png",), look: Look = LIGHT
) -> list[Path]:
    """Write the figures of a run as `write` does."""
    return write(found, folder, spec, kinds, look)


def write(
    found: MutableMapping[str, Table | Nothing], folder: Path, spec: Spec, kinds: Sequence[str], look: Look
) -> list[Path]:
    """Write each figure's CSV and images into `folder`; what has nothing to draw has no file there, no old one either.

    A figure that cannot be drawn keeps its CSV and becomes a `Failed` in `found`. Raises OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    drawable = not missing()
    for name, table in list(found.items()):
        stem = Path(name).stem
        if isinstance(table, Nothing):
            for kind in ("csv", "png", "svg"):
                (folder / f"{stem}.{kind}").unlink(missing_ok=True)
            continue
        written.append(save(table, folder / f"{stem}.csv"))
        if not drawable:
            continue
        try:
            made = spec(name, table, look)
            images = [(kind, image(made, kind)) for kind in kinds]
        except Exception as error:
            found[name] = failure(error)
            continue
        written += [replaced(folder / f"{stem}.{kind}", data) for kind, data in images]
    return written


def replaced(path: Path, data: bytes) -> Path:
    """Write a file as a whole or not at all."""
    fresh = path.with_name(f"{path.name}.tmp")
    try:
        fresh.write_bytes(data)
        os.replace(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)
    return path


def save(table: Table, path: Path) -> Path:
    """Write a figure's numbers as CSV."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(table.columns)
        rows = table.rows()
        writer.writerows([["" if cell is None else cell for cell in row.values()] for row in rows])
    return path
