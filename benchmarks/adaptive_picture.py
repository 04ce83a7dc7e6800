"""Rates over time against the quota, a panel for each run; SVG written by hand, nothing needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

__all__ = ["Curve", "RatePanel", "rate_charts"]

_WIDTH, _HEIGHT, _LEFT, _TOP, _GAP, _COLUMNS = 520, 150, 56, 70, 70, 2
_TEXT_COLOR, _MUTED, _QUOTA = "#1f2933", "#9aa5b1", "#c0392b"
_COLORS: Final = ("#1769c4", "#12915a", "#8e5fc7", "#b8860b")


@dataclass(frozen=True)
class Curve:
    """Requests a second in each second since the start."""

    name: str
    values: Sequence[float]


@dataclass(frozen=True)
class RatePanel:
    """One run: its curves, and the quota as (since, requests a second)."""

    title: str
    subtitle: str
    curves: Sequence[Curve]
    quota: Sequence[tuple[float, float]]


def rate_charts(title: str, subtitle: str, panels: Sequence[RatePanel]) -> str:
    """An SVG document, two panels in a row."""
    rows = -(-len(panels) // _COLUMNS)
    width, height = _COLUMNS * (_WIDTH + _LEFT) + 30, _TOP + rows * (_HEIGHT + _GAP) + 10
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">',
        f'<g font-family="system-ui, sans-serif" font-size="12" fill="{_TEXT_COLOR}"><title>{escape(title)}</title>',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<text x="16" y="24" font-size="16" font-weight="600">{escape(title)}</text>',
        f'<text x="16" y="42" fill="{_MUTED}">{escape(subtitle)}</text>',
    ]
    for number, panel in enumerate(panels):
        row, column = divmod(number, _COLUMNS)
        out += _render_rate_panel(panel, _LEFT + column * (_WIDTH + _LEFT), _TOP + 30 + row * (_HEIGHT + _GAP))
    return "\n".join([*out, "</g>", "</svg>", ""])


def _render_rate_panel(panel: RatePanel, left: int, top: int) -> list[str]:
    seconds = max(len(curve.values) for curve in panel.curves)
    y_max = max(rate for _, rate in panel.quota)
    y_max = 1.15 * max(y_max, *(min(2 * y_max, value) for curve in panel.curves for value in curve.values))

    def point(at: float, rate: float) -> str:
        return f"{left + _WIDTH * at / seconds:.1f},{top + _HEIGHT * (1 - min(rate, y_max) / y_max):.1f}"

    out = [
        f'<text x="{left}" y="{top - 22}" font-weight="600">{escape(panel.title)}</text>',
        f'<text x="{left}" y="{top - 7}" fill="{_MUTED}">{escape(panel.subtitle)}</text>',
        f'<path d="M{point(0, y_max)} L{point(0, 0)} L{point(seconds, 0)}" fill="none" stroke="{_MUTED}"/>',
        f'<text x="{left + _WIDTH}" y="{top + _HEIGHT + 14}" text-anchor="end" fill="{_MUTED}">{seconds} s</text>',
    ]
    ends = [*(since for since, _ in panel.quota[1:]), float(seconds)]
    for (since, rate), end in zip(panel.quota, ends, strict=True):
        if since < seconds:
            path = f"M{point(since, rate)} L{point(min(end, seconds), rate)}"
            out.append(f'<path d="{path}" stroke="{_QUOTA}" stroke-dasharray="5 3" fill="none"/>')
            out.append(
                f'<text x="{left - 6}" y="{point(0, rate).split(",")[1]}" text-anchor="end" fill="{_QUOTA}">{rate:g}'
                "</text>"
            )
    for number, curve in enumerate(panel.curves):
        color = _COLORS[number % len(_COLORS)]
        path = "M" + " L".join(
            point(seconds_since_start + 0.5, value) for seconds_since_start, value in enumerate(curve.values)
        )
        out.append(f'<path d="{path}" stroke="{color}" stroke-width="1.6" fill="none"/>')
        x = left + 8 + 170 * number
        out.append(f'<text x="{x}" y="{top + _HEIGHT + 14}" fill="{color}">{escape(curve.name)}</text>')
    return out
