"""How figures look: sizes, fonts and colours, light and dark. Okabe and Ito's palette, safe for the colour-blind.

Source of the palette: Okabe and Ito, "Color Universal Design" (2008), https://jfly.uni-koeln.de/color/.
"""

from dataclasses import dataclass
from typing import Any

WIDTH, HEIGHT = 720, 340
FONT = "Inter, 'Helvetica Neue', Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif"


@dataclass(frozen=True, slots=True)
class Look:
    """Colours of one theme. `series` tells things apart, in this order; `main` is the first of them."""

    name: str
    ground: str
    ink: str
    faint: str
    grid: str
    series: tuple[str, ...]
    shade: str  # phases that do not count
    bad: str  # failures, promises missed
    ramp: tuple[str, ...]  # few to many

    @property
    def main(self) -> str:
        """The colour of a figure that has one thing to show."""
        return self.series[0]

    def config(self) -> dict[str, Any]:
        """The `config` of a Vega-Lite specification."""
        return {
            "background": self.ground,
            "font": FONT,
            "view": {"stroke": None, "continuousWidth": WIDTH, "continuousHeight": HEIGHT},
            "title": {
                "anchor": "start",
                "color": self.ink,
                "fontSize": 17,
                "fontWeight": 600,
                "subtitleColor": self.faint,
                "subtitleFontSize": 12,
                "subtitlePadding": 6,
                "offset": 14,
            },
            "axis": {
                "labelColor": self.faint,
                "titleColor": self.ink,
                "labelFontSize": 12,
                "titleFontSize": 13,
                "titleFontWeight": 500,
                "titlePadding": 10,
                "gridColor": self.grid,
                "domainColor": self.grid,
                "tickColor": self.grid,
                "labelOverlap": True,
            },
            "legend": {
                "labelColor": self.ink,
                "titleColor": self.ink,
                "labelFontSize": 12,
                "titleFontSize": 12,
                "titleFontWeight": 500,
                "symbolStrokeWidth": 2,
            },
            "header": {"labelColor": self.ink, "titleColor": self.ink},
            "range": {"category": list(self.series), "heatmap": list(self.ramp), "ramp": list(self.ramp)},
            "text": {"color": self.ink},
            "padding": 18,
        }


LIGHT = Look(
    name="light",
    ground="#ffffff",
    ink="#1c2024",
    faint="#60646c",
    grid="#e4e6ea",
    series=("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"),
    shade="#eceef1",
    bad="#d55e00",
    ramp=("#e8f1f8", "#a9cfe6", "#56b4e9", "#0072b2", "#00395a"),
)
DARK = Look(
    name="dark",
    ground="#15181c",
    ink="#eceef0",
    faint="#a0a6ad",
    grid="#2e3339",
    series=("#56b4e9", "#e69f00", "#2bc79a", "#e39cc4", "#f0e442", "#0f8fd4", "#ffffff"),
    shade="#22262b",
    bad="#ff7f3f",
    ramp=("#1d2a35", "#0b4f7a", "#0f8fd4", "#56b4e9", "#d6ecfa"),
)
