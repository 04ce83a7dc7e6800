"""Plot a sweep with matplotlib, an optional dependency: `pip install 'asyncgg[plots]'`."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from asyncgg.errors import UsageError
from asyncgg.files import atomic_write_binary
from asyncgg.tuning.models import Trial
from asyncgg.tuning.recommend import describe, pareto_front
from asyncgg.tuning.report import describe_scenario, visible_slice
from asyncgg.tuning.sweep import SweepResult

IMAGE_FORMATS: Final = (".svg", ".png")
CLIP: Final = 1.5
"""Durations from this multiple of the shortest on have the same color, or are cut off."""

TEXT_COLOR, MUTED_COLOR, ACCENT_COLOR, WARNING_COLOR = "#1f2933", "#616e7c", "#1769c4", "#c0392b"
_STYLE: Final = {
    "font.family": "sans-serif",
    "font.size": 10,
    "svg.fonttype": "none",
    "svg.hashsalt": "asyncgg",
    "text.color": TEXT_COLOR,
    "axes.edgecolor": MUTED_COLOR,
    "axes.labelcolor": TEXT_COLOR,
    "xtick.color": TEXT_COLOR,
    "ytick.color": TEXT_COLOR,
    "legend.frameon": False,
    "legend.fontsize": 9,
}


def image_format(path: Path) -> str:
    """Return the format of an image file by its suffix. Raises `UsageError` if unsupported."""
    suffix = path.suffix.lower()
    if suffix not in IMAGE_FORMATS:
        raise UsageError(f"{path}: unsupported image format; must be one of: .html, {', '.join(IMAGE_FORMATS)}")
    return suffix[1:]


def require_matplotlib() -> Any:
    """Return matplotlib with its file backend. Raises `UsageError` if it is not installed."""
    try:
        import matplotlib as mpl
    except ImportError:
        raise UsageError("plots require matplotlib: pip install 'asyncgg[plots]'") from None
    mpl.use("Agg")
    return mpl


def save_figure(path: Path, rows: int, columns: int, size: tuple[float, float], draw: Callable[..., None]) -> None:
    """Let `draw` fill a figure, given with each of its axes, and write it to `path`, atomically.

    Raises `UsageError` as `image_format` and `require_matplotlib`.
    """
    file_format, mpl = image_format(path), require_matplotlib()
    from matplotlib import pyplot as plt

    with mpl.rc_context(_STYLE):
        figure, grid = plt.subplots(rows, columns, figsize=size, layout="constrained")
        try:
            draw(figure, *grid)
            image = io.BytesIO()
            metadata = {"Date": None} if file_format == "svg" else None
            figure.savefig(image, format=file_format, dpi=110, metadata=metadata)
        finally:
            plt.close(figure)
    with atomic_write_binary(path) as file:
        file.write(image.getvalue())


def plot_sweep(result: SweepResult, path: Path) -> None:
    """Plot duration, throttled share and Pareto front into `path`, as `save_figure`."""
    save_figure(path, 1, 3, (14.5, 5.2), partial(_draw_sweep, result))


def _draw_sweep(result: SweepResult, figure: Any, left: Any, middle: Any, right: Any) -> None:
    headline, subtitle = _titles(result)
    draw_title(figure, headline, subtitle)
    _heatmap(left, result, "run time in seconds", "Blues", lambda trial: trial.seconds, "{:.1f}", clip=CLIP)
    _heatmap(middle, result, "% throttled", "Reds", lambda trial: 100 * trial.throttled_share, "{:.2g}")
    colors = {"text": TEXT_COLOR, "muted": MUTED_COLOR, "accent": TEXT_COLOR, "good": ACCENT_COLOR}
    draw_trade_offs(right, result, colors)
    right.set_title("run time and throttled share, all trials", loc="left", fontweight="bold")
    right.grid(alpha=0.25)


def draw_title(figure: Any, headline: str, subtitle: str) -> None:
    """Write the conclusion above a figure, and in small letters what was measured."""
    figure.suptitle(headline, fontsize=14, fontweight="bold", ha="left", x=0.01)
    figure.text(0.99, 0.985, subtitle, color=MUTED_COLOR, ha="right", va="top")


def _titles(result: SweepResult) -> tuple[str, str]:
    service = describe_scenario(result.setup.scenario)
    if result.recommendation is None:
        return "no recommendation", service
    trial, workload = result.recommendation.trial, result.setup.workload
    throttling = f"{100 * trial.throttled_share:.2g} % throttled"
    if result.recommendation.never_throttled:
        throttling = "no throttles"
    return (
        f"use {describe(trial.config)}: {trial.seconds:.1f} s, {throttling}",
        f"{service}; {workload.batches:,} batches on {workload.cores:,} cores",
    )


def _heatmap(
    axes: Any,
    result: SweepResult,
    title: str,
    colors: str,
    value: Callable[[Trial], float],
    number_format: str,
    *,
    clip: float = math.inf,
) -> None:
    """Draw a cell for each rate and concurrency. Values above `clip` times the lowest have one color.

    Without that, a few very slow trials would give all others the same color.
    """
    trials = [trial for trial in visible_slice(result) if trial.complete]
    rates = sorted({trial.config.rate for trial in trials})
    concurrencies = sorted({trial.config.concurrency for trial in trials})
    cells = [[math.nan] * len(rates) for _ in concurrencies]
    for trial in trials:
        cells[concurrencies.index(trial.config.concurrency)][rates.index(trial.config.rate)] = value(trial)
    all_values = [value(trial) for trial in trials]
    low, high = (min(all_values), max(all_values)) if all_values else (0.0, 1.0)
    high = min(high, low * clip) if low else high
    axes.imshow(cells, origin="lower", aspect="auto", cmap=colors, vmin=low, vmax=high + (high == low), alpha=0.7)
    for row, values in enumerate(cells):
        for column, number in enumerate(values):
            if not math.isnan(number):
                color = "white" if high > low and (number - low) / (high - low) > 0.6 else TEXT_COLOR
                text = number_format.format(number) if number else "–"  # noqa: RUF001 - a dash
                axes.text(column, row, text, ha="center", va="center", color=color, fontsize=9)
    axes.set_title(title, loc="left", fontweight="bold")
    axes.set_xticks(range(len(rates)), [f"{rate:g}" for rate in rates])
    axes.set_yticks(range(len(concurrencies)), [str(concurrency) for concurrency in concurrencies])
    axes.set_xlabel("rate, requests/s")
    axes.set_ylabel("concurrency")
    _mark_quota(axes, result, rates)
    if result.recommendation is not None:
        config = result.recommendation.trial.config
        from matplotlib.patches import Rectangle

        corner = (rates.index(config.rate) - 0.5, concurrencies.index(config.concurrency) - 0.5)
        axes.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor=ACCENT_COLOR, linewidth=3))


def _mark_quota(axes: Any, result: SweepResult, rates: list[float]) -> None:
    """Draw a line between the rates below and above the available quota."""
    available_rate = result.setup.scenario.quota - result.setup.scenario.background_rate
    below = sum(rate <= available_rate for rate in rates)
    if 0 < below < len(rates):
        color, transform = WARNING_COLOR, axes.get_xaxis_transform()
        axes.axvline(below - 0.5, color=color, linewidth=1.5, linestyle="--")
        axes.text(below - 0.5, 1.01, "over the quota →", color=color, fontsize=8, ha="left", transform=transform)


def draw_trade_offs(axes: Any, result: SweepResult, colors: Mapping[str, str]) -> None:
    """Draw run time over throttled share of all trials, in the colors `text`, `muted`, `accent` and `good`."""
    completed = [trial for trial in result.trials if trial.complete]

    def points(trials: Iterable[Trial]) -> tuple[list[float], list[float]]:
        pairs = [(100 * trial.throttled_share, trial.seconds) for trial in trials]
        return [share for share, _ in pairs], [seconds for _, seconds in pairs]

    axes.scatter(*points(completed), s=14, color=colors["muted"], alpha=0.6, linewidths=0, label="trials")
    axes.plot(*points(pareto_front(completed)), color=colors["accent"], marker="o", markersize=4, label="Pareto front")
    if result.recommendation is not None:
        star = {"s": 120, "marker": "*", "color": colors["good"], "zorder": 4, "label": "recommended"}
        axes.scatter(*points([result.recommendation.trial]), **star)
    if result.ideal_seconds:
        axes.axhline(result.ideal_seconds, color=colors["text"], linewidth=1, linestyle="--", label="minimum")
    # Most trials are at or near 0 %, so that part has most of the width; slow trials are cut off.
    axes.set_xscale("symlog", linthresh=1.0)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g} %")
    if completed:
        shortest = min(trial.seconds for trial in completed)
        axes.set_ylim(0.9 * shortest, min(max(trial.seconds for trial in completed), CLIP * shortest) * 1.05)
    axes.set_xlabel("throttled requests")
    axes.set_ylabel("run time, s")
    axes.legend(loc="upper right")
