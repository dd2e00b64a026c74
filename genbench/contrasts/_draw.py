"""From a comparison to files: for each figure a CSV, and a picture where altair and vl-convert are installed."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from genbench import registry
from genbench.plots import _draw
from genbench.plots._draw import FOLDER
from genbench.plots._figure import Nothing, Table
from genbench.plots._look import LIGHT, Look

ORDER = ("ratios", "ratios_by_load", "value")


class Figure(_draw.Drawing, Protocol):
    """A module in `contrasts/`: as one in `plots/`, of compare.json instead of a run."""

    def data(self, document: Mapping[str, Any]) -> Table:
        """The numbers it draws."""


def names() -> list[str]:
    """All figures of a comparison, in the order of `ORDER`, the others behind them."""
    known = registry.names("contrasts")
    return [name for name in ORDER if name in known] + [name for name in known if name not in ORDER]


def figure(name: str) -> Figure:
    """A figure by its name."""
    found: Figure = registry.load("contrasts", name)
    return found


def tables(document: Mapping[str, Any]) -> dict[str, Table | Nothing]:
    """The numbers of each figure of a comparison, or why it has none."""
    found: dict[str, Table | Nothing] = {}
    for name in names():
        try:
            found[name] = figure(name).data(document)
        except Nothing as why:
            found[name] = why
        except Exception as error:  # one figure's fault costs none of the others
            found[name] = _draw.failure(error)
    return found


def spec(name: str, table: Table, look: Look) -> dict[str, Any]:
    """The Vega-Lite specification of a figure, title, note and look included."""
    return _draw.specification(figure(name), table, look)


def draw(
    document: Mapping[str, Any], out: Path, kinds: Sequence[str] = ("png",), look: Look = LIGHT
) -> dict[str, Table | Nothing]:
    """Draw the figures of a comparison (what compare.json holds) into `plots` of the folder `out`; their numbers.

    `kinds` are of png and svg; the CSV of each figure is written beside it, a figure that has nothing to draw has no
    file. One that could not be drawn is a `plots._draw.Failed` in what comes back. Raises OSError.
    """
    found = tables(document)
    _draw.write(found, out / FOLDER, spec, kinds, look)
    return found
