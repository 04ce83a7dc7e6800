"""Write a configuration into a settings file and keep the other lines of the file."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from asyncgg.errors import UsageError
from asyncgg.files import atomic_write_text, parse_toml
from asyncgg.tuning.models import Configuration

_TABLE_HEADER: Final = re.compile(r"\s*\[")
_KEY_LINE: Final = re.compile(r"""\s*["']?([A-Za-z0-9_-]+)["']?\s*=""")


def to_settings(config: Configuration) -> dict[str, float | int]:
    """Return the configuration as settings; an automatic burst is the default and left out."""
    return {name: value for name, value in asdict(config).items() if value is not None}


def render_settings(config: Configuration, comment: str) -> str:
    """Return the lines for the top of an asyncgg.toml, before its first table."""
    return f"# {comment}\n" + "".join(f"{name} = {value!r}\n" for name, value in to_settings(config).items())


def write_settings(path: Path, config: Configuration, comment: str, *, replace: bool) -> None:
    """Write the settings to `path`, in an existing file in place of the same settings.

    Raises `UsageError` as `read_existing` and `update_settings`, or if the file cannot be written.
    """
    current = read_existing(path, replace=replace)
    text = render_settings(config, comment) if current is None else update_settings(current, config, comment, path)
    with atomic_write_text(path) as file:
        file.write(text)


def read_existing(path: Path, *, replace: bool) -> str | None:
    """Return the text of an existing settings file, or None without one.

    Raises `UsageError` if the file exists and `replace` is false, or it cannot be read or parsed.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):  # reading a device might never end
        raise UsageError(f"{path} is not a regular file")
    try:
        text = path.read_text(encoding="utf-8-sig")
        if replace:
            parse_toml(text)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: cannot be read: invalid UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: invalid TOML: {error}") from None
    if not replace:
        raise UsageError(f"{path} already exists; pass --replace to update the settings in the file")
    return text


def update_settings(text: str, config: Configuration, comment: str, path: Path) -> str:
    """Return the text of a settings file with the settings replaced and all other lines kept.

    Raises `UsageError` if any other key would change its value.
    """
    try:
        old = _normalize_keys(parse_toml(text))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: invalid TOML: {error}") from None
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
        matches = _normalize_keys(parse_toml(new)) == expected
    except tomllib.TOMLDecodeError:
        matches = False
    if not matches:
        raise UsageError(f"{path}: cannot be updated safely; edit the settings in the file yourself")
    return new


_MANAGED_SETTINGS: Final = frozenset({"rate", "burst", "concurrency", "per_core"})
_COMMENT_PREFIX: Final = "# asyncgg tune"


def _is_managed_line(line: str) -> bool:
    """Whether the line sets one of the settings or is the comment above them."""
    match = _KEY_LINE.match(line)
    return bool(match and match[1].replace("-", "_") in _MANAGED_SETTINGS) or line.startswith(_COMMENT_PREFIX)


def _normalize_keys(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name.replace("-", "_"): value for name, value in values.items()}
