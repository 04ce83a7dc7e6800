"""Rule: settings become a block of TOML here, and an existing settings file gets them without losing a word of its own.

A file is changed line by line, its comments kept; what comes out must say exactly what it said before but for the
settings written, else nothing is touched.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from asyncgg.errors import UsageError
from asyncgg.files import atomic_write_text
from asyncgg.tuning.models import Configuration

__all__ = ["read_existing", "render_settings", "to_settings", "update_settings", "write_settings"]

_TABLE_HEADER: Final = re.compile(r"\s*\[")
_KEY_LINE: Final = re.compile(r"""\s*["']?([A-Za-z0-9_-]+)["']?\s*=""")


def to_settings(config: Configuration) -> dict[str, float | int]:
    """The point as settings; an automatic burst is none: that is the default."""
    values: dict[str, float | int] = {"rate": config.rate}
    if config.burst is not None:
        values["burst"] = config.burst
    return values | {"concurrency": config.concurrency, "per_core": config.per_core}


def render_settings(config: Configuration, comment: str) -> str:
    """The lines for an asyncgg.toml, which has its settings at its top, without a table."""
    return f"# {comment}\n" + "".join(f"{name} = {value!r}\n" for name, value in to_settings(config).items())


def write_settings(path: Path, config: Configuration, comment: str, *, replace: bool) -> None:
    """Write the block to `path`; a file that is there gets it in place of its own values of these settings.

    Raises:
        UsageError: as of `existing`, it cannot be written, or it cannot be changed without changing its meaning.
    """
    current = read_existing(path, replace=replace)
    text = render_settings(config, comment) if current is None else update_settings(current, config, comment, path)
    with atomic_write_text(path, path.parent, "folder") as file:
        file.write(text)


def read_existing(path: Path, *, replace: bool) -> str | None:
    """The text of a settings file that is there already; None without one.

    Raises:
        UsageError: `replace` is not given, it cannot be read, or it is no TOML.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):  # a device may have no end
        raise UsageError(f"{path}: it is a device or a pipe; give a file")
    try:
        text = path.read_text(encoding="utf-8")
        if replace:
            tomllib.loads(text)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError(f"{path}: it cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: it cannot be read: it is not UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: {error}; correct it first") from None
    if not replace:
        raise UsageError(f"{path}: it is there already; --replace puts the settings into it, its other lines stay")
    return text


def update_settings(text: str, config: Configuration, comment: str, path: Path) -> str:
    """The text of a settings file with the point's settings in it. Raises `UsageError` when that cannot be done."""
    try:
        old = _normalize_keys(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: {error}; correct it first") from None
    lines = text.splitlines(keepends=True)
    table_start = next((number for number, line in enumerate(lines) if _TABLE_HEADER.match(line)), len(lines))
    kept_lines = [line for line in lines[:table_start] if not _is_managed_line(line)]
    preamble = "".join(kept_lines).rstrip("\n")
    block = render_settings(config, comment)
    new = "".join(
        [
            preamble,
            "\n\n" if preamble else "",
            block,
            *(["\n"] if table_start < len(lines) else []),
            *lines[table_start:],
        ]
    )
    expected = {name: value for name, value in old.items() if name not in _MANAGED_SETTINGS} | to_settings(config)
    try:
        matches = _normalize_keys(tomllib.loads(new)) == expected
    except tomllib.TOMLDecodeError:
        matches = False
    if not matches:
        raise UsageError(f"{path}: its lines cannot be changed safely; put the settings into it by hand")
    return new


_MANAGED_SETTINGS: Final = frozenset({"rate", "burst", "concurrency", "per_core"})
_COMMENT_PREFIX: Final = "# asyncgg tune"


def _is_managed_line(line: str) -> bool:
    """Whether the line sets one of the settings, or is the comment that stood over them."""
    match = _KEY_LINE.match(line)
    return bool(match and match[1].replace("-", "_") in _MANAGED_SETTINGS) or line.startswith(_COMMENT_PREFIX)


def _normalize_keys(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name.replace("-", "_"): value for name, value in values.items()}
