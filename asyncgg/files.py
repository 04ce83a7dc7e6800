"""Text files that are read at once, and output files that are written completely or not at all."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final, cast

from asyncgg.errors import AsyncggError, SettingsError, UsageError

SETTINGS_FILE: Final = "asyncgg.toml"
CONFIG_VARIABLE: Final = "ASYNCGG_CONFIG"
"""Names another settings file."""
_COMPANION_SUFFIXES: Final = ("", "-wal", "-shm", "-journal", ".lock")
_MAX_TEXT: Final = 64 << 20
"""Bytes of a file that is read at once."""
_UNQUOTED_ACCOUNT: Final = re.compile(r"^\s*expect[_-]account\s*=\s*(0\d*)", re.MULTILINE)


@contextlib.contextmanager
def os_errors_as(kind: type[AsyncggError], message: str) -> Iterator[None]:
    """Raise `kind`, with `message` and the reason, for an `OSError` of the block."""
    try:
        yield
    except OSError as error:
        raise kind(f"{message}: {error.strerror or error}") from None


def settings_file(config: Path | None = None) -> Path | None:
    """The settings file of a command, if there is one."""
    variable = os.environ.get(CONFIG_VARIABLE)
    if config or variable:
        return config or Path(variable or "")
    return Path(SETTINGS_FILE) if Path(SETTINGS_FILE).exists() else None


def read_text(path: Path, kind: str) -> str:
    """The UTF-8 text of a file of this `kind`. Raises `SettingsError`."""
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_TEXT + 1)
        if len(data) > _MAX_TEXT:  # a device such as /dev/zero never ends
            raise SettingsError(f"{path}: larger than {_MAX_TEXT >> 20} MiB; this is not a {kind}")
        return data.decode("utf-8-sig")
    except FileNotFoundError:
        raise SettingsError(f"{path}: {kind} not found; check the path") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{path}: invalid UTF-8; save the {kind} as UTF-8") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in the path
        raise SettingsError(f"{path}: cannot read the {kind}: {getattr(error, 'strerror', None) or error}") from None


def parse_json_object(data: bytes) -> dict[str, Any]:
    """The JSON object that `data` is; empty for anything else."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def read_toml(path: Path, kind: str) -> dict[str, Any]:
    """The values of a TOML file of this `kind`. Raises `SettingsError`."""
    text = read_text(path, kind)
    try:
        return parse_toml(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path}: invalid TOML: {error}{quotes_hint(text)}") from None


def parse_toml(text: str) -> dict[str, Any]:
    """The values of a TOML text. Raises `tomllib.TOMLDecodeError`, also for what Python cannot hold."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise
    except (ValueError, RecursionError):  # a number with thousands of digits, thousands of brackets
        raise tomllib.TOMLDecodeError("nested too deeply, or a number is too long") from None


def quotes_hint(toml: str) -> str:
    """What to add to the message about invalid TOML: a number cannot start with 0."""
    match = _UNQUOTED_ACCOUNT.search(toml)
    return f'; write the account in quotes: "{match[1]}"' if match else ""


@contextlib.contextmanager
def atomic_write_text(path: Path, protected_path: Path | None = None, kind: str = "journal") -> Iterator[IO[str]]:
    """A UTF-8 text file that replaces `path` when the block succeeds; gzipped for names in .gz.

    Devices and pipes are written directly.

    Raises:
        UsageError: the file cannot be written, or belongs to `protected_path`, a `kind`.
    """
    with atomic_write_binary(path, protected_path, kind) as raw, contextlib.ExitStack() as stack:
        binary = raw
        if real_path(path).name.lower().endswith(".gz"):
            # No name and time inside, so that equal rows give equal files.
            binary = cast("IO[bytes]", stack.enter_context(gzip.GzipFile("", "wb", fileobj=raw, mtime=0)))
        yield stack.enter_context(io.TextIOWrapper(binary, encoding="utf-8", errors="backslashreplace", newline=""))


@contextlib.contextmanager
def atomic_write_binary(path: Path, protected_path: Path | None = None, kind: str = "journal") -> Iterator[IO[bytes]]:
    """As `atomic_write_text`, for a binary file without compression."""
    target = checked_output_path(path, protected_path, kind)
    is_special = target.exists() and not target.is_file()
    temp_path = target if is_special else target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        with temp_path.open("wb") as raw:
            yield raw
        if not is_special:
            temp_path.replace(target)
    except OSError as error:
        raise UsageError(f"{path}: cannot write the file: {error.strerror or error}") from None
    finally:
        if not is_special:
            temp_path.unlink(missing_ok=True)


def checked_output_path(path: Path, protected_path: Path | None = None, kind: str = "journal") -> Path:
    """The file that writing to `path` replaces. Raises `UsageError` if this is not allowed."""
    target = real_path(path)  # replaces the target of a link, not the link
    if path.exists() and not target.exists():  # a pipe as /dev/stdout, whose target has no name
        return path
    if target.is_dir():
        raise UsageError(f"{path} is a directory; give a file name")
    if protected_path is None:
        return target
    protected = real_path(protected_path)
    if target in {protected.with_name(protected.name + suffix) for suffix in _COMPANION_SUFFIXES} or is_same_file(
        target, protected
    ):
        raise UsageError(f"{path}: would overwrite the {kind}; choose another file")
    return target


def real_path(path: Path) -> Path:
    """The absolute path without links. Unlike `Path.resolve` it accepts a loop of links."""
    return Path(os.path.realpath(path))


def is_same_file(one: Path, other: Path) -> bool:
    """Whether both paths are the same existing file."""
    try:
        return one.samefile(other)
    except (OSError, ValueError):  # missing, or not a path (`-`, s3://)
        return False


def sync_folder(folder: Path) -> None:
    """Sync the names in `folder` to the disk, where the file system can do it."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
