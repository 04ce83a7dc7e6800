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
from asyncgg.manifest.writing import atomic_write_text
from asyncgg.tuning.values import Point

__all__ = ["changed", "existing", "settings_block", "settings_of", "write_settings"]

_TABLE: Final = re.compile(r"\s*\[")
_KEY: Final = re.compile(r"""\s*["']?([A-Za-z0-9_-]+)["']?\s*=""")


def settings_of(point: Point) -> dict[str, float | int]:
    """The point as settings; an automatic burst is none: that is the default."""
    values: dict[str, float | int] = {"rate": point.rate}
    if point.burst is not None:
        values["burst"] = point.burst
    return values | {"concurrency": point.concurrency, "per_core": point.per_core}


def settings_block(point: Point, comment: str) -> str:
    """The lines for an asyncgg.toml, which has its settings at its top, without a table."""
    return f"# {comment}\n" + "".join(f"{name} = {value!r}\n" for name, value in settings_of(point).items())


def write_settings(path: Path, point: Point, comment: str, *, replace: bool) -> None:
    """Write the block to `path`; a file that is there gets it in place of its own values of these settings.

    Raises:
        UsageError: as of `existing`, it cannot be written, or it cannot be changed without changing its meaning.
    """
    before = existing(path, replace=replace)
    text = settings_block(point, comment) if before is None else changed(before, point, comment, path)
    with atomic_write_text(path, path.parent, "folder") as file:
        file.write(text)


def existing(path: Path, *, replace: bool) -> str | None:
    """The text of a settings file that is there already; None without one.

    Raises:
        UsageError: `replace` is not given, it cannot be read, or it is no TOML.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):  # a device may have no end
        raise UsageError(f"{path}: it is a device or a pipe; give a file")
    try:
        before = path.read_text(encoding="utf-8")
        if replace:
            tomllib.loads(before)
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
    return before


def changed(text: str, point: Point, comment: str, path: Path) -> str:
    """The text of a settings file with the point's settings in it. Raises `UsageError` when that cannot be done."""
    try:
        old = _plain(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: {error}; correct it first") from None
    lines = text.splitlines(keepends=True)
    top = next((number for number, line in enumerate(lines) if _TABLE.match(line)), len(lines))
    own = [line for line in lines[:top] if not _ours(line)]
    above = "".join(own).rstrip("\n")
    block = settings_block(point, comment)
    new = "".join([above, "\n\n" if above else "", block, *(["\n"] if top < len(lines) else []), *lines[top:]])
    wanted = {name: value for name, value in old.items() if name not in _NAMES} | settings_of(point)
    try:
        same = _plain(tomllib.loads(new)) == wanted
    except tomllib.TOMLDecodeError:
        same = False
    if not same:
        raise UsageError(f"{path}: its lines cannot be changed safely; put the settings into it by hand")
    return new


_NAMES: Final = frozenset({"rate", "burst", "concurrency", "per_core"})
_MARK: Final = "# asyncgg tune"


def _ours(line: str) -> bool:
    """Whether the line sets one of the settings, or is the comment that stood over them."""
    found = _KEY.match(line)
    return bool(found and found[1].replace("-", "_") in _NAMES) or line.startswith(_MARK)


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name.replace("-", "_"): value for name, value in values.items()}
