"""Rule: the picture of a sweep is drawn here, by matplotlib, which is an extra: `pip install 'asyncgg[plots]'`.

Three panels that answer in ten seconds: how long, how much was refused, and which settings are worth anything.
"""

from __future__ import annotations

import html
import io
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

from asyncgg.errors import UsageError
from asyncgg.files import atomic_write_binary
from asyncgg.tuning.models import Trial
from asyncgg.tuning.recommend import describe, pareto_front
from asyncgg.tuning.report import describe_scenario, visible_slice
from asyncgg.tuning.sweep import SweepResult

__all__ = ["IMAGE_FORMATS", "image_format", "plot_sweep", "require_matplotlib"]

IMAGE_FORMATS: Final = (".svg", ".png", ".html")

_TEXT_COLOR, _MUTED_COLOR, _ACCENT_COLOR, _WARNING_COLOR = "#1f2933", "#616e7c", "#1769c4", "#c0392b"


def image_format(path: Path) -> str:
    """The picture's kind by its name. Raises `UsageError` for one that cannot be drawn."""
    suffix = path.suffix.lower()
    if suffix not in IMAGE_FORMATS:
        raise UsageError(f"{path}: a picture is {', '.join(IMAGE_FORMATS)}; give such a name")
    return suffix


def require_matplotlib() -> Any:
    """matplotlib, drawing without a screen. Raises `UsageError` when it is not installed."""
    try:
        import matplotlib as mpl
    except ImportError:
        raise UsageError("pictures need matplotlib: pip install 'asyncgg[plots]'") from None
    mpl.use("Agg")
    return mpl


def plot_sweep(result: SweepResult, path: Path) -> None:
    """Draw it into `path`, which is whole or not there. Raises `UsageError` as `require_matplotlib` and `kind_of`."""
    suffix = image_format(path)
    with atomic_write_binary(path, path.parent, "folder") as file:
        if suffix == ".png":
            file.write(_render(result, "png"))
        elif suffix == ".svg":
            file.write(_render(result, "svg"))
        else:
            file.write(_html_page(result).encode())


def _render(result: SweepResult, file_format: str) -> bytes:
    mpl = require_matplotlib()
    from matplotlib import pyplot as plt

    style = {
        "font.family": "sans-serif",
        "font.size": 10,
        "svg.fonttype": "none",
        "svg.hashsalt": "asyncgg",
        "text.color": _TEXT_COLOR,
        "axes.edgecolor": _MUTED_COLOR,
        "axes.labelcolor": _TEXT_COLOR,
        "xtick.color": _TEXT_COLOR,
        "ytick.color": _TEXT_COLOR,
    }
    with mpl.rc_context(style):
        figure, (left, middle, right) = plt.subplots(1, 3, figsize=(14.5, 5.2), layout="constrained")
        try:
            headline, service = _title(result)
            figure.suptitle(headline, fontsize=14, fontweight="bold", ha="left", x=0.01)
            figure.text(0.99, 0.985, service, color=_MUTED_COLOR, ha="right", va="top")
            _heatmap(left, result, "seconds until the end", "Blues", lambda trial: trial.seconds, "{:.1f}")
            _heatmap(middle, result, "% throttled", "Reds", lambda trial: 100 * trial.throttled_share, "{:.2g}")
            _pareto_plot(right, result)
            file = io.BytesIO()
            figure.savefig(file, format=file_format, dpi=110, metadata={"Date": None} if file_format == "svg" else None)
        finally:
            plt.close(figure)
    return file.getvalue()


def _title(result: SweepResult) -> tuple[str, str]:
    """The answer, and of which service."""
    service = describe_scenario(result.setup.scenario)
    if result.recommendation is None:
        return "no recommendation", service
    trial = result.recommendation.trial
    throttling = (
        "no throttle" if result.recommendation.never_throttled else f"{100 * trial.throttled_share:.2g} % throttled"
    )
    workload = f"{result.setup.workload.batches:,} batches on {result.setup.workload.cores:,} cores"
    return f"use {describe(trial.config)}: {trial.seconds:.1f} s, {throttling}", f"{service}; {workload}"


def _heatmap(
    axes: Any, result: SweepResult, title: str, colors: str, value: Callable[[Trial], float], number_format: str
) -> None:
    """A table as a map: concurrency by rate."""
    trials = [trial for trial in visible_slice(result) if trial.complete]
    rates = sorted({trial.config.rate for trial in trials})
    concurrencies = sorted({trial.config.concurrency for trial in trials})
    cells = [[float("nan")] * len(rates) for _ in concurrencies]
    for trial in trials:
        cells[concurrencies.index(trial.config.concurrency)][rates.index(trial.config.rate)] = value(trial)
    all_values = [value(trial) for trial in trials]
    low, high = (min(all_values), max(all_values)) if all_values else (0.0, 1.0)
    axes.imshow(cells, origin="lower", aspect="auto", cmap=colors, vmin=low, vmax=high + (high == low), alpha=0.7)
    for row, values in enumerate(cells):
        for column, number in enumerate(values):
            if not math.isnan(number):
                dark = high > low and (number - low) / (high - low) > 0.6
                axes.text(
                    column,
                    row,
                    number_format.format(number),
                    ha="center",
                    va="center",
                    color="white" if dark else _TEXT_COLOR,
                    fontsize=9,
                )
    axes.set_title(title, loc="left", fontweight="bold")
    axes.set_xticks(range(len(rates)), [f"{rate:g}" for rate in rates])
    axes.set_yticks(range(len(concurrencies)), [str(width) for width in concurrencies])
    axes.set_xlabel("rate, requests/s")
    axes.set_ylabel("concurrency")
    _mark_quota(axes, result, rates)
    if result.recommendation is not None:
        config = result.recommendation.trial.config
        from matplotlib.patches import Rectangle

        corner = (rates.index(config.rate) - 0.5, concurrencies.index(config.concurrency) - 0.5)
        axes.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor=_ACCENT_COLOR, linewidth=3))


def _mark_quota(axes: Any, result: SweepResult, rates: list[float]) -> None:
    """A line where the quota lies among the rates."""
    available_rate = result.setup.scenario.quota - result.setup.scenario.background_rate
    below = sum(rate <= available_rate for rate in rates)
    if 0 < below < len(rates):
        axes.axvline(below - 0.5, color=_WARNING_COLOR, linewidth=1.5, linestyle="--")
        axes.text(
            below - 0.5,
            1.01,
            "over the quota →",
            color=_WARNING_COLOR,
            fontsize=8,
            ha="left",
            transform=_blended_transform(axes),
        )


def _blended_transform(axes: Any) -> Any:
    """Data along x, the axes' own height along y."""
    from matplotlib.transforms import blended_transform_factory

    return blended_transform_factory(axes.transData, axes.transAxes)


def _pareto_plot(axes: Any, result: SweepResult) -> None:
    """All trials, those nobody beats joined, the chosen one marked."""
    completed = [trial for trial in result.trials if trial.complete]
    front = pareto_front(completed)
    axes.scatter(*_coordinates(completed), s=18, color=_MUTED_COLOR, alpha=0.45, label="tried", linewidths=0)
    axes.plot(
        *_coordinates(front), color=_TEXT_COLOR, linewidth=1.2, marker="o", markersize=4, label="nobody beats these"
    )
    if result.recommendation is not None:
        axes.scatter(
            *_coordinates([result.recommendation.trial]),
            s=150,
            marker="*",
            color=_ACCENT_COLOR,
            zorder=3,
            label="recommended",
        )
    if result.ideal_seconds:
        axes.axhline(
            result.ideal_seconds, color=_WARNING_COLOR, linewidth=1, linestyle="--", label="what the quota itself takes"
        )
    axes.set_title("seconds against % throttled, all settings", loc="left", fontweight="bold")
    axes.set_xlabel("% throttled")
    axes.set_ylabel("seconds until the end")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=9)


def _coordinates(trials: Iterable[Trial]) -> tuple[list[float], list[float]]:
    pairs = [(100 * trial.throttled_share, trial.seconds) for trial in trials]
    return [one for one, _ in pairs], [two for _, two in pairs]


def _html_page(result: SweepResult) -> str:
    """A page that needs nothing but itself: the picture, why, and every trial."""
    svg = _render(result, "svg").decode()
    svg = svg[svg.index("<svg") :]
    reasons = "".join(
        f"<li>{html.escape(reason)}</li>" for reason in (result.recommendation.reasons if result.recommendation else ())
    )
    chosen = result.recommendation.trial if result.recommendation else None
    rows = "".join(_html_row(trial, chosen) for trial in sorted(result.trials, key=lambda one: one.seconds))
    head = "".join(
        f"<th>{name}</th>" for name in ("rate", "burst", "concurrency", "per core", "seconds", "sent", "throttled")
    )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>asyncgg tune</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; color: {_TEXT_COLOR}; margin: 2rem auto; max-width: 1150px; padding: 0 1rem }}
svg {{ width: 100%; height: auto }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums }}
th, td {{ padding: .15rem .8rem; text-align: right; border-bottom: 1px solid #e4e7eb }}
tr.chosen {{ background: #dbeafe; font-weight: 600 }}
</style></head><body>
<h1>{html.escape(_title(result)[0])}</h1>
<p>{html.escape(_title(result)[1])}</p>
<ul>{reasons}</ul>
{svg}
<h2>All {len(result.trials):,} settings</h2>
<table><tr>{head}</tr>{rows}</table>
</body></html>
"""


def _html_row(trial: Trial, chosen: Trial | None) -> str:
    config = trial.config
    burst = "auto" if config.burst is None else f"{config.burst:g}"
    seconds = f"{trial.seconds:.1f}" if trial.complete else "never ended"
    cells = (f"{config.rate:g}", burst, config.concurrency, config.per_core, seconds, trial.sent, trial.throttled)
    mark = ' class="chosen"' if trial is chosen else ""
    return f"<tr{mark}>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
