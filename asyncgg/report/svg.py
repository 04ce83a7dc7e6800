"""Draws figures with matplotlib as SVG whose colors follow the page: `pip install 'asyncgg[plots]'`."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from html import escape
from typing import Any, Final

COLORS: Final = {
    "text": "#000001",
    "muted": "#000002",
    "grid": "#000003",
    "good": "#000004",
    "bad": "#000005",
    "warning": "#000006",
    "accent": "#000007",
    "accent-light": "#000008",
    "background": "#000009",
}
"""Placeholders by name: the page replaces them by CSS variables, which have a light and a dark value."""

_STYLE: Final[Any] = {
    "font.family": "sans-serif",
    "font.size": 9,
    "svg.fonttype": "none",  # text stays text: it is searchable and takes no space
    "text.color": COLORS["text"],
    "axes.facecolor": "none",
    "axes.edgecolor": COLORS["muted"],
    "axes.labelcolor": COLORS["text"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": COLORS["grid"],
    "grid.linewidth": 0.6,
    "hatch.color": COLORS["background"],
    "xtick.color": COLORS["muted"],
    "xtick.labelcolor": COLORS["text"],
    "ytick.color": COLORS["muted"],
    "ytick.labelcolor": COLORS["text"],
    "legend.frameon": False,
    "legend.fontsize": 8,
    "text.parse_math": False,
}
_PREAMBLE: Final = re.compile(r"\A.*?(?=<svg)|<metadata>.*?</metadata>|<style .*?</style>", re.DOTALL)
_NO_METADATA: Final = {"Date": None, "Creator": None, "Format": None, "Type": None}


def is_available() -> bool:
    """Whether matplotlib is installed."""
    try:
        import matplotlib  # noqa: F401 - only whether it can be imported
    except ImportError:
        return False
    return True


def draw_svg(name: str, label: str, size: tuple[float, float], draw: Callable[[Any], None]) -> str:
    """An SVG element for an HTML page, drawn by `draw` on a figure of `size` inches.

    `name` makes its ids unique on the page; `label` is read by screen readers.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({**_STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=size, layout="constrained", facecolor="none")
        draw(figure)
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata=_NO_METADATA, facecolor="none")
    svg = _PREAMBLE.sub("", file.getvalue())
    for color, placeholder in COLORS.items():
        svg = svg.replace(placeholder, f"var(--{color})")
    svg = re.sub(r'\bid="', f'id="{name}-', svg).replace("url(#", f"url(#{name}-").replace('href="#', f'href="#{name}-')
    opening = re.match(r'<svg .*?viewBox="([^"]+)".*?>', svg, re.DOTALL)
    assert opening is not None
    attributes = f'xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="{opening[1]}" role="img"'
    return f'<svg {attributes} aria-label="{escape(label)}">{svg[opening.end() :]}'
