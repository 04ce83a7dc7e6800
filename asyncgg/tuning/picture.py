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
from asyncgg.manifest.writing import atomic_write_binary
from asyncgg.tuning.choose import frontier, shown
from asyncgg.tuning.report import slice_of, told
from asyncgg.tuning.sweep import Swept
from asyncgg.tuning.values import Trial

__all__ = ["KINDS", "draw", "kind_of", "require_matplotlib"]

KINDS: Final = (".svg", ".png", ".html")

_INK, _PALE, _GOOD, _BAD = "#1f2933", "#616e7c", "#1769c4", "#c0392b"


def kind_of(path: Path) -> str:
    """The picture's kind by its name. Raises `UsageError` for one that cannot be drawn."""
    kind = path.suffix.lower()
    if kind not in KINDS:
        raise UsageError(f"{path}: a picture is {', '.join(KINDS)}; give such a name")
    return kind


def require_matplotlib() -> Any:
    """matplotlib, drawing without a screen. Raises `UsageError` when it is not installed."""
    try:
        import matplotlib as mpl
    except ImportError:
        raise UsageError("pictures need matplotlib: pip install 'asyncgg[plots]'") from None
    mpl.use("Agg")
    return mpl


def draw(swept: Swept, path: Path) -> None:
    """Draw it into `path`, which is whole or not there. Raises `UsageError` as `require_matplotlib` and `kind_of`."""
    kind = kind_of(path)
    with atomic_write_binary(path, path.parent, "folder") as file:
        if kind == ".png":
            file.write(_picture(swept, "png"))
        elif kind == ".svg":
            file.write(_picture(swept, "svg"))
        else:
            file.write(_page(swept).encode())


def _picture(swept: Swept, kind: str) -> bytes:
    mpl = require_matplotlib()
    from matplotlib import pyplot as plt

    style = {
        "font.family": "sans-serif",
        "font.size": 10,
        "svg.fonttype": "none",
        "svg.hashsalt": "asyncgg",
        "text.color": _INK,
        "axes.edgecolor": _PALE,
        "axes.labelcolor": _INK,
        "xtick.color": _INK,
        "ytick.color": _INK,
    }
    with mpl.rc_context(style):
        figure, (left, middle, right) = plt.subplots(1, 3, figsize=(14.5, 5.2), layout="constrained")
        try:
            answer, service = _title(swept)
            figure.suptitle(answer, fontsize=14, fontweight="bold", ha="left", x=0.01)
            figure.text(0.99, 0.985, service, color=_PALE, ha="right", va="top")
            _plane(left, swept, "seconds until the end", "Blues", lambda trial: trial.seconds, "{:.1f}")
            _plane(middle, swept, "% throttled", "Reds", lambda trial: 100 * trial.throttled_share, "{:.2g}")
            _frontier(right, swept)
            file = io.BytesIO()
            figure.savefig(file, format=kind, dpi=110, metadata={"Date": None} if kind == "svg" else None)
        finally:
            plt.close(figure)
    return file.getvalue()


def _title(swept: Swept) -> tuple[str, str]:
    """The answer, and of which service."""
    service = told(swept.setup.script)
    if swept.choice is None:
        return "no recommendation", service
    trial = swept.choice.trial
    how = "no throttle" if swept.choice.clean else f"{100 * trial.throttled_share:.2g} % throttled"
    work = f"{swept.setup.work.batches:,} batches on {swept.setup.work.cores:,} cores"
    return f"use {shown(trial.point)}: {trial.seconds:.1f} s, {how}", f"{service}; {work}"


def _plane(axes: Any, swept: Swept, title: str, colors: str, value: Callable[[Trial], float], form: str) -> None:
    """A table as a map: concurrency by rate."""
    plane = [trial for trial in slice_of(swept) if trial.complete]
    rates = sorted({trial.point.rate for trial in plane})
    widths = sorted({trial.point.concurrency for trial in plane})
    grid = [[float("nan")] * len(rates) for _ in widths]
    for trial in plane:
        grid[widths.index(trial.point.concurrency)][rates.index(trial.point.rate)] = value(trial)
    known = [value(trial) for trial in plane]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    axes.imshow(grid, origin="lower", aspect="auto", cmap=colors, vmin=low, vmax=high + (high == low), alpha=0.7)
    for row, values in enumerate(grid):
        for column, one in enumerate(values):
            if not math.isnan(one):
                dark = high > low and (one - low) / (high - low) > 0.6
                axes.text(
                    column, row, form.format(one), ha="center", va="center", color="white" if dark else _INK, fontsize=9
                )
    axes.set_title(title, loc="left", fontweight="bold")
    axes.set_xticks(range(len(rates)), [f"{rate:g}" for rate in rates])
    axes.set_yticks(range(len(widths)), [str(width) for width in widths])
    axes.set_xlabel("rate, requests/s")
    axes.set_ylabel("concurrency")
    _mark_quota(axes, swept, rates)
    if swept.choice is not None:
        point = swept.choice.trial.point
        from matplotlib.patches import Rectangle

        place = (rates.index(point.rate) - 0.5, widths.index(point.concurrency) - 0.5)
        axes.add_patch(Rectangle(place, 1, 1, fill=False, edgecolor=_GOOD, linewidth=3))


def _mark_quota(axes: Any, swept: Swept, rates: list[float]) -> None:
    """A line where the quota lies among the rates."""
    free = swept.setup.script.quota - swept.setup.script.background_rate
    below = sum(rate <= free for rate in rates)
    if 0 < below < len(rates):
        axes.axvline(below - 0.5, color=_BAD, linewidth=1.5, linestyle="--")
        axes.text(below - 0.5, 1.01, "over the quota →", color=_BAD, fontsize=8, ha="left", transform=_mixed(axes))


def _mixed(axes: Any) -> Any:
    """Data along x, the axes' own height along y."""
    from matplotlib.transforms import blended_transform_factory

    return blended_transform_factory(axes.transData, axes.transAxes)


def _frontier(axes: Any, swept: Swept) -> None:
    """All trials, those nobody beats joined, the chosen one marked."""
    done = [trial for trial in swept.trials if trial.complete]
    best = frontier(done)
    axes.scatter(*_places(done), s=18, color=_PALE, alpha=0.45, label="tried", linewidths=0)
    axes.plot(*_places(best), color=_INK, linewidth=1.2, marker="o", markersize=4, label="nobody beats these")
    if swept.choice is not None:
        axes.scatter(*_places([swept.choice.trial]), s=150, marker="*", color=_GOOD, zorder=3, label="recommended")
    if swept.ideal:
        axes.axhline(swept.ideal, color=_BAD, linewidth=1, linestyle="--", label="what the quota itself takes")
    axes.set_title("seconds against % throttled, all settings", loc="left", fontweight="bold")
    axes.set_xlabel("% throttled")
    axes.set_ylabel("seconds until the end")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=9)


def _places(trials: Iterable[Trial]) -> tuple[list[float], list[float]]:
    pairs = [(100 * trial.throttled_share, trial.seconds) for trial in trials]
    return [one for one, _ in pairs], [two for _, two in pairs]


def _page(swept: Swept) -> str:
    """A page that needs nothing but itself: the picture, why, and every trial."""
    svg = _picture(swept, "svg").decode()
    svg = svg[svg.index("<svg") :]
    reasons = "".join(f"<li>{html.escape(reason)}</li>" for reason in (swept.choice.reasons if swept.choice else ()))
    chosen = swept.choice.trial if swept.choice else None
    rows = "".join(_row(trial, chosen) for trial in sorted(swept.trials, key=lambda one: one.seconds))
    head = "".join(
        f"<th>{name}</th>" for name in ("rate", "burst", "concurrency", "per core", "seconds", "sent", "throttled")
    )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>asyncgg tune</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; color: {_INK}; margin: 2rem auto; max-width: 1150px; padding: 0 1rem }}
svg {{ width: 100%; height: auto }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums }}
th, td {{ padding: .15rem .8rem; text-align: right; border-bottom: 1px solid #e4e7eb }}
tr.chosen {{ background: #dbeafe; font-weight: 600 }}
</style></head><body>
<h1>{html.escape(_title(swept)[0])}</h1>
<p>{html.escape(_title(swept)[1])}</p>
<ul>{reasons}</ul>
{svg}
<h2>All {len(swept.trials):,} settings</h2>
<table><tr>{head}</tr>{rows}</table>
</body></html>
"""


def _row(trial: Trial, chosen: Trial | None) -> str:
    point = trial.point
    burst = "auto" if point.burst is None else f"{point.burst:g}"
    seconds = f"{trial.seconds:.1f}" if trial.complete else "never ended"
    cells = (f"{point.rate:g}", burst, point.concurrency, point.per_core, seconds, trial.sent, trial.throttled)
    mark = ' class="chosen"' if trial is chosen else ""
    return f"<tr{mark}>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
