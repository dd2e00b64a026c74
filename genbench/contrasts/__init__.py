"""Figures of a comparison: one file each, its numbers (`data`) apart from its drawing (`chart`); `draw` writes them."""

from genbench.contrasts._draw import draw
from genbench.contrasts._source import short

__all__ = ["draw", "short"]
