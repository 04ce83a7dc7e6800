"""Refuses a command whose output files would overwrite each other, its journal or its input."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import click

from asyncgg.errors import UsageError
from asyncgg.files import checked_output_path, is_same_file, real_path, settings_file

JOURNALS: Final = ("journal", "original", "run", "replay", "from_run")
"""Parameters that name a journal."""
OUTPUTS: Final = (
    *("write", "out", "plot", "rejects", "failures", "outcomes", "html", "markdown"),
    *("record", "log_file", "log_requests", "metrics_file"),
)
"""Parameters that name another file to write."""
INPUTS: Final = (
    *("manifest", "things", "cores", "only", "protect", "inventory", "old", "new"),
    *("policy", "targets", "config", "service"),
)
"""Parameters that name a file to read; `inventory` can be written, too."""
_ALLOWED: Final = frozenset({("write", "config")})
"""`tune --write` changes the settings file that the command reads."""


def require_distinct_files(values: Mapping[str, Any]) -> None:
    """Raise `UsageError` if an output of the current command is also another output, its journal or an input.

    `values` are parameters and settings by name. The settings file is an input of every command.
    """
    files = dict(_files(values))
    if not files.keys().isdisjoint(OUTPUTS):
        files |= _files({"config": settings_file(values.get("config"))})
    for name, path in files.items():
        if name in INPUTS:
            continue
        for other, other_path in files.items():
            if other == name or (name, other) in _ALLOWED:
                continue
            if other in JOURNALS and name in OUTPUTS:
                checked_output_path(path, other_path)
            if real_path(path) == real_path(other_path) or is_same_file(path, other_path):
                raise UsageError(f"{path}: {_label(name)} and {_label(other)} name the same file; choose another one")


def _files(values: Mapping[str, Any]) -> Iterator[tuple[str, Path]]:
    """The parameters that name a regular file, or one that does not exist yet: devices can have several outputs."""
    for name in (*OUTPUTS, *JOURNALS, *INPUTS):
        value = values.get(name)
        if not isinstance(value, str | Path) or str(value) == "-" or str(value).startswith("s3://"):
            continue
        path = Path(value)
        if path.is_file() or not path.exists():
            yield name, path


def _label(name: str) -> str:
    """The parameter as the user wrote it."""
    context = click.get_current_context(silent=True)
    parameter = next((item for item in context.command.params if item.name == name), None) if context else None
    if isinstance(parameter, click.Argument):
        return (parameter.metavar or name).strip("[].")
    return f"--{name.replace('_', '-')}"
