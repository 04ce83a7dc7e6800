"""Rule: the list of what is wanted of a run (`--only`) is read and asked here: pairs as in a manifest, or bare things.

A bare thing stands for each of its associations. The whole list is held in memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from asyncgg.errors import UsageError
from asyncgg.manifest.names import load_names
from asyncgg.manifest.reading import open_manifest
from asyncgg.manifest.rows import find_columns

__all__ = ["Only", "load_only"]

_SHOWN: Final = 10
_NOT_TEXT: Final = (".jsonl", ".ndjson", ".parquet")


class Only:
    """Associations and things that are wanted; it notes which of them were met."""

    def __init__(self, name: str, entries: Iterable[tuple[str, str] | str]) -> None:
        """`name` is what messages call the list."""
        self.name = name
        self._left: set[tuple[str, str] | str] = set(entries)
        self._met: set[tuple[str, str] | str] = set()

    def wants(self, core: str, thing: str) -> bool:
        """Whether this association is in it, by itself or by its thing."""
        wanted = False
        for entry in ((core, thing), thing):
            if entry in self._left:
                self._left.discard(entry)
                self._met.add(entry)
            wanted = wanted or entry in self._met
        return wanted

    def check(self, where: str) -> None:
        """Raise `UsageError` that names what was never asked about, hence is not in `where`."""
        if not self._left:
            return
        unknown = sorted(entry if isinstance(entry, str) else ",".join(entry) for entry in self._left)
        more = f" and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else ""
        noun = "entry is" if len(unknown) == 1 else "entries are"
        raise UsageError(
            f"{self.name}: {len(unknown)} {noun} not in {where}: {', '.join(unknown[:_SHOWN])}{more}; take them out"
        )


def load_only(path: Path) -> Only:
    """Read the list at `path`: a manifest when it is one by its ending or has a column `core`, else a list of things.

    Raises `UsageError` or `ManifestError` that names file and line.
    """
    name = str(path)
    if name.lower().removesuffix(".gz").endswith(_NOT_TEXT) or name.lower().endswith(".gz"):
        return Only(name, _pairs(name, None))
    if _has_cores(path):
        return Only(name, _pairs(name, "csv"))
    return Only(name, load_names(path, "thing"))


def _has_cores(path: Path) -> bool:
    """Whether the first line of a text names the columns of a manifest."""
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            line = next((line for line in file if line.strip()), "")
    except OSError:
        return False  # whoever reads it next says why
    return any(find_columns(str(path), _cells(line, sign)) for sign in ",;\t")


def _cells(line: str, delimiter: str) -> list[str]:
    return [cell.strip().strip('"') for cell in line.split(delimiter)]


def _pairs(name: str, form: str | None) -> Iterable[tuple[str, str]]:
    with open_manifest(name, format=form) as manifest:
        for chunk in manifest.chunks():
            if chunk.bad:
                raise UsageError(f"{chunk.bad[0]}; correct the list")
            yield from chunk.good
