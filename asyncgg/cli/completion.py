"""Completes words of a command line in the shell: journals, files, folders and fixed values."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Final

from click.shell_completion import CompletionItem

_FILES: Final = frozenset({"FILE", "FILE.prom", "PATH", "MANIFEST", "SNAPSHOT", "OLD", "NEW", "POLICY", "JOURNAL"})
_FOLDERS: Final = frozenset({"FOLDER", "LOCATION"})


def complete_metavar(metavar: str, incomplete: str) -> list[CompletionItem]:
    """What a value that is described as `metavar`, such as `FILE` or `text|json`, can be; often nothing."""
    words = metavar.split("|")
    items = [CompletionItem(word) for word in words if word.islower() and word.startswith(incomplete)]
    if "JOURNAL" in words:
        items += [CompletionItem(name) for name in _find_journals(incomplete)]
    if not items and _FILES.intersection(words):
        items = [CompletionItem(incomplete, type="file")]
    if not items and _FOLDERS.intersection(words):
        items = [CompletionItem(incomplete, type="dir")]
    return items


def _find_journals(incomplete: str) -> list[str]:
    """The journals of the folder that is typed, and of the folders in it; none if the shell must quote one."""
    from asyncgg.errors import AsyncggError
    from asyncgg.report.run_list import find_journals  # imports SQLite: too slow for --help

    folder = Path(incomplete) if incomplete.endswith("/") else Path(incomplete).parent
    prefix = "./" if incomplete.startswith("./") else ""
    try:
        names = [f"{prefix}{path}" for path in find_journals(folder)]
    except AsyncggError:
        return []
    names = [name for name in names if name.startswith(incomplete)]
    return names if all(shlex.quote(name) == name for name in names) else []
