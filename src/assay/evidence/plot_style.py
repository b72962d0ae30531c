"""How plots look: sizes, sentinel colours that become CSS variables, and matplotlib's settings."""

from __future__ import annotations

from typing import Any

FONT = 12.0
"""Size of text in a drawing, in the units of its view box, which are CSS pixels at full size."""

INK, MUTED, RULE, PAPER = "#010200", "#010201", "#010202", "#010203"
SERIES = ["#010211", "#010212", "#010213", "#010214", "#010215", "#010216"]
VARIABLES = {INK: "--ink", MUTED: "--muted", RULE: "--rule", PAPER: "--paper"} | {
    colour: f"--c{at}" for at, colour in enumerate(SERIES, 1)
}
DASHES: list[Any] = ["-", (0, (6, 2)), (0, (2, 1.5)), (0, (7, 2, 2, 2)), (0, (1, 1)), (0, (9, 3))]
NARROW, WIDE = 340, 680
RC: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "assay",
    "text.parse_math": False,
    "font.size": FONT,
    "axes.titlesize": FONT,
    "axes.unicode_minus": True,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.titlecolor": MUTED,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.8,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "ytick.left": False,
    "xtick.major.size": 3,
    "lines.solid_capstyle": "round",
}
