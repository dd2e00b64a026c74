"""Figures of a sweep: one file each, its numbers (`data`) apart from its drawing (`chart`); `draw` writes them."""

from genbench.curves._draw import draw

__all__ = ["draw"]
