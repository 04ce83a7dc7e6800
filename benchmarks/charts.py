"""Draw the charts of the comparisons as SVG files with matplotlib."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib import pyplot as plt

__all__ = ["BarPanel", "Curve", "RatePanel", "write_bar_chart", "write_rate_chart"]

_HIGHLIGHT, _NEUTRAL, _TEXT_COLOR, _MUTED, _QUOTA = "#1769c4", "#a3adb8", "#1f2933", "#616e7c", "#c0392b"
_CURVE_COLORS: Final = ("#1769c4", "#12915a", "#8e5fc7", "#b8860b")
_STYLE: Final[Any] = {  # the keys are a Literal type of matplotlib
    "font.family": "sans-serif",
    "font.size": 9,
    "svg.fonttype": "none",
    "svg.hashsalt": "asyncgg",
    "text.color": _TEXT_COLOR,
    "axes.edgecolor": _MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


@dataclass(frozen=True)
class BarPanel:
    """One figure of all rows; None for a row without it."""

    title: str
    values: Sequence[float | None]
    labels: Sequence[str]


@dataclass(frozen=True)
class Curve:
    """Requests per second, for each second since the start."""

    name: str
    values: Sequence[float]


@dataclass(frozen=True)
class RatePanel:
    """The curves of one experiment and its quota as (start, requests per second)."""

    title: str
    subtitle: str
    curves: Sequence[Curve]
    quota: Sequence[tuple[float, float]]


def write_bar_chart(
    path: Path,
    title: str,
    subtitle: str,
    names: Sequence[str],
    panels: Sequence[BarPanel],
    highlighted: Collection[str],
) -> None:
    """Draw a bar for each name in each panel; the highlighted names have another color."""
    with mpl.rc_context(_STYLE):
        size = (2.5 + 2.4 * len(panels), 1.1 + 0.26 * len(names))
        figure, axes = plt.subplots(1, len(panels), figsize=size, sharey=True, squeeze=False, layout="constrained")
        for axis, panel in zip(axes[0], panels, strict=True):
            maximum = _bar_maximum([value for value in panel.values if value is not None])
            lengths = [min(value or 0.0, maximum) for value in panel.values]
            colors = [_HIGHLIGHT if name in highlighted else _NEUTRAL for name in names]
            bars = axis.barh(range(len(names)), lengths, height=0.7, color=colors)
            axis.bar_label(bars, panel.labels, padding=4)
            for row, value in enumerate(panel.values):
                if value and value > maximum:  # the bar is cut
                    axis.text(0.93 * maximum, row, "//", color="white", va="center", ha="center", fontweight="bold")
            axis.set_title(panel.title, loc="left", fontweight="bold", fontsize=9)
            axis.set_xlim(0, 1.6 * (maximum or 1.0))
            axis.set_xticks([])
            axis.spines[["left", "bottom"]].set_visible(False)
            axis.tick_params(left=False)
        axes[0][0].set_yticks(range(len(names)), names)
        axes[0][0].invert_yaxis()
        for label in axes[0][0].get_yticklabels():
            label.set_fontweight("bold" if label.get_text() in highlighted else "normal")
        _save(figure, path, title, subtitle)


def write_rate_chart(path: Path, title: str, subtitle: str, panels: Sequence[RatePanel]) -> None:
    """Draw the curves of each panel against its quota, two panels in a row."""
    with mpl.rc_context(_STYLE):
        rows = -(-len(panels) // 2)
        figure, axes = plt.subplots(rows, 2, figsize=(11.5, 0.7 + 2.2 * rows), squeeze=False, layout="constrained")
        for axis, panel in zip(axes.flat, panels, strict=False):
            seconds = max(len(curve.values) for curve in panel.curves)
            quota = max(rate for _, rate in panel.quota)
            highest = max(value for curve in panel.curves for value in curve.values)
            starts = [*(start for start, _ in panel.quota), float(seconds)]
            axis.stairs([rate for _, rate in panel.quota], starts, baseline=None, color=_QUOTA, linestyle="--")
            for curve, color in zip(panel.curves, _CURVE_COLORS, strict=False):
                axis.plot([second + 0.5 for second in range(len(curve.values))], curve.values, color, label=curve.name)
            axis.set_title(f"{panel.title}\n{panel.subtitle}", loc="left", fontsize=9)
            axis.set_xlim(0, seconds)
            axis.set_ylim(0, 1.15 * max(quota, min(2 * quota, highest)))
            axis.legend(frameon=False, fontsize=8, ncols=2, loc="lower right")
        for axis in axes.flat[len(panels) :]:
            axis.set_visible(False)
        _save(figure, path, title, subtitle)


def _bar_maximum(values: Sequence[float]) -> float:
    """Return the value of the longest bar: the maximum, unless all other bars would be short."""
    *_, second, largest = [0.0, 0.0, *sorted(values)]
    return min(largest, 1.5 * second) if largest > 3 * second > 0 else largest


def _save(figure: Any, path: Path, title: str, subtitle: str) -> None:
    figure.suptitle(f"{title}\n\n", ha="left", x=0.01, fontsize=12, fontweight="bold")
    figure.text(0.01, 1 - 0.36 / figure.get_figheight(), subtitle, va="top", color=_MUTED)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
