"""From a sweep to files: for each figure a CSV, and a picture where altair and vl-convert are installed."""

from collections.abc import Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from genbench import registry
from genbench.curves._source import Curve, curves, joined, read
from genbench.plots import _draw
from genbench.plots._draw import FOLDER, Failed, missing
from genbench.plots._figure import Nothing, Table
from genbench.plots._look import LIGHT, Look

ORDER = (
    "throughput_by_load",
    "latency_by_throughput",
    "ttft_by_load",
    "itl_by_load",
    "pareto",
    "in_flight_by_load",
    "promises_by_load",
)


class Figure(Protocol):
    """A module in `curves/`: as one in `plots/`, of a curve instead of a run."""

    TITLE: str
    OF_LOAD: bool  # whether an axis of it is the load

    def data(self, curve: Curve) -> Table:
        """The numbers it draws."""

    def chart(self, table: Table, look: Look) -> Any:
        """The altair chart of them."""


def names() -> list[str]:
    """All figures of a sweep, in the order of `ORDER`, the others behind them."""
    known = registry.names("curves")
    return [name for name in ORDER if name in known] + [name for name in known if name not in ORDER]


def figure(name: str) -> Figure:
    """A figure by its name."""
    found: Figure = registry.load("curves", name)
    return found


def tables(
    sweeps: Sequence[tuple[str, Mapping[str, Any]]], chosen: Sequence[str] | None = None
) -> dict[str, Table | Nothing]:
    """The numbers of each figure of one sweep or of several, or why it has none."""
    series = curves(sweeps)
    found: dict[str, Table | Nothing] = {}
    for name in names() if chosen is None else chosen:
        module = figure(name)
        try:
            found[name] = joined(series, module.data, of_load=module.OF_LOAD)
        except Nothing as why:
            found[name] = why
        except Exception as error:  # one figure's fault costs none of the others
            found[name] = _draw.failure(error)
    return found


def spec(name: str, table: Table, look: Look) -> dict[str, Any]:
    """The Vega-Lite specification of a figure, title, note and look included."""
    return _draw.specification(figure(name), table, look)


def write(
    found: MutableMapping[str, Table | Nothing], folder: Path, kinds: Sequence[str] = ("png",), look: Look = LIGHT
) -> list[Path]:
    """Write each figure's CSV and images into `folder`, as those of runs are."""
    return _draw.write(found, folder, spec, kinds, look)


def draw(folder: Path, kinds: Sequence[str] = ("png",), look: Look = LIGHT) -> str:
    """Draw the figures of the sweep in `folder` into its `plots`; a sentence about those that failed, or empty.

    `kinds` are of png and svg; the numbers of each figure are written beside it. Raises RecordError where the folder
    holds no sweep, and OSError where it takes no file.
    """
    found = tables([("", read(folder))])
    write(found, folder / FOLDER, kinds, look)
    failed = [f"{name}: {why}" for name, why in found.items() if isinstance(why, Failed)]
    said = [missing(), f"not drawn: {'; '.join(failed)}" if failed else ""]
    return "; ".join(text for text in said if text)
