"""A table as a picture: a row of bars for each client, a panel for each figure; SVG written by hand, nothing needed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

__all__ = ["BarPanel", "bar_chart"]

_ROW: Final = 26
_TOP: Final = 84
_NAMES: Final = 320
_PANEL: Final = 250
_BAR: Final = 150
"""Pixels of the longest bar; the rest of a panel is for its figure."""
_HIGHLIGHT, _NEUTRAL, _TEXT_COLOR, _MUTED = "#1769c4", "#a3adb8", "#1f2933", "#616e7c"


@dataclass(frozen=True)
class BarPanel:
    """One figure of all rows, None where there is none."""

    title: str
    values: Sequence[float | None]
    texts: Sequence[str]


def bar_chart(
    title: str, subtitle: str, names: Sequence[str], panels: Sequence[BarPanel], highlighted: Collection[str]
) -> str:
    """An SVG document; the rows whose name is in `ours` stand out."""
    width, height = _NAMES + _PANEL * len(panels) + 20, _TOP + _ROW * len(names) + 16
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">',
        f'<g font-family="system-ui, sans-serif" font-size="13" fill="{_TEXT_COLOR}">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<text x="16" y="26" font-size="16" font-weight="600">{escape(title)}</text>',
        f'<text x="16" y="46" fill="{_MUTED}">{escape(subtitle)}</text>',
    ]
    for row, name in enumerate(names):
        weight = ' font-weight="600"' if name in highlighted else ""
        out.append(
            f'<text x="{_NAMES - 12}" y="{_TOP + _ROW * row + 17}" text-anchor="end"{weight}>{escape(name)}</text>'
        )
    for number, panel in enumerate(panels):
        out += _render_bar_panel(panel, _NAMES + _PANEL * number, names, highlighted)
    return "\n".join([*out, "</g>", "</svg>", ""])


def _render_bar_panel(panel: BarPanel, left: int, names: Sequence[str], highlighted: Collection[str]) -> list[str]:
    longest = _bar_maximum([value for value in panel.values if value is not None])
    out = [f'<text x="{left}" y="{_TOP - 12}" font-weight="600">{escape(panel.title)}</text>']
    for row, (name, value, text) in enumerate(zip(names, panel.values, panel.texts, strict=True)):
        top, length = _TOP + _ROW * row, _BAR * min(value, longest) / longest if value and longest else 0.0
        if length:
            color = _HIGHLIGHT if name in highlighted else _NEUTRAL
            size = f'width="{max(length, 1):.1f}" height="{_ROW - 8}"'
            out.append(f'<rect x="{left}" y="{top + 4}" {size} rx="2" fill="{color}"/>')
        if value and value > longest:
            out.append(f'<path d="M{left + length - 14} {top + 24}l6 -22h5l-6 22z" fill="#ffffff"/>')
        out.append(f'<text x="{left + length + 6:.1f}" y="{top + 17}">{escape(text)}</text>')
    return out


def _bar_maximum(values: Sequence[float]) -> float:
    """What the longest bar stands for: the most, unless that would flatten all others; then its bar is broken."""
    *_, second, largest = [0.0, 0.0, *sorted(values)]
    return min(largest, 1.5 * second) if largest > 3 * second > 0 else largest
