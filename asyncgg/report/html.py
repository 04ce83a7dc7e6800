"""Renders reports as self-contained HTML pages and as Markdown, from the templates of the package."""

from __future__ import annotations

import base64
import hashlib
import re
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from asyncgg.formatting import format_count, format_duration, format_timestamp, sanitize

if TYPE_CHECKING:
    from jinja2 import Environment

_TEMPLATES: Final = Path(__file__).parent / "templates"


def render(template: str, **values: Any) -> str:
    """Render a template of the package. In .html every value is escaped; no network is needed to show it."""
    script = (_TEMPLATES / "page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    style = (_TEMPLATES / "page.css").read_text(encoding="utf-8")
    return (
        _environment()
        .get_template(template)
        .render(script=script, script_hash=f"sha256-{digest}", style=style, **values)
    )


def bar_widths(total: float, *counts: float) -> list[float]:
    """The widths of the segments of a bar in percent. A count above 0 has at least 0.8 %."""
    shares = [100 * count / (total or 1) for count in counts]
    widths = [max(share, 0.8) if share else 0.0 for share in shares]
    excess = max(0.0, sum(widths) - 100)
    largest = max(range(len(widths)), key=widths.__getitem__, default=0)
    return [round(width - excess if number == largest else width, 2) for number, width in enumerate(widths)]


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=select_autoescape(("html",)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        clock=_format_clock,
        count=format_count,
        duration=format_duration,
        number=lambda value: f"{value:,}",
        timestamp=format_timestamp,
        time=_format_time,
        cell=_markdown_cell,
        clean=sanitize,
    )
    environment.globals.update(bar_widths=bar_widths)
    return environment


def _format_clock(seconds: float | None) -> str:
    """Unix time as a time of day for people; empty for None."""
    return "" if seconds is None else f"{datetime.fromtimestamp(seconds, UTC):%H:%M:%S}"


def _format_time(seconds: float | None) -> str:
    """Unix time as date and time for people; empty for None."""
    return "" if not seconds else f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _markdown_cell(value: object) -> str:
    """A text from outside in a table of Markdown: no markup, no line break, no column."""
    return re.sub(r"([\\`*_{}\[\]<>()#!|~&@$])", r"\\\1", sanitize(value))
