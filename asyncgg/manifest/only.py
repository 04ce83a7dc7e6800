"""Rule: the list of what is wanted of a run (`--only`) is read and asked here: pairs as in a manifest, or bare things.

A bare thing stands for each of its associations. The whole list is held in memory.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from asyncgg.errors import UsageError
from asyncgg.manifest.names import first_line, names_in, read_list, shown_path
from asyncgg.manifest.reading import Manifest, open_manifest
from asyncgg.manifest.rows import find_columns
from asyncgg.manifest.sources import Source

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


def load_only(path: str | Path) -> Only:
    """Read the list at `path` (`-`: standard input), once, so that it may be a pipe.

    It is a manifest when it is one by its ending or has a column `core`, else a list of things. Raises `UsageError` or
    `ManifestError` that names file and line.
    """
    name = str(path)
    if name.lower().removesuffix(".gz").endswith(_NOT_TEXT) or name.lower().endswith(".gz"):
        return Only(name, _pairs(open_manifest(name)))
    data, where = read_list(name), shown_path(name)
    if not _has_cores(first_line(data), where):
        return Only(where, names_in(data, where, "thing"))
    source = Source(where, io.BytesIO(data), owned=True)
    source.start_text(gzipped=False)
    return Only(where, _pairs(Manifest(source, "csv")))


def _has_cores(line: str, where: str) -> bool:
    """Whether the first line of a text names the columns of a manifest."""
    return any(find_columns(where, _cells(line, sign)) for sign in ",;\t")


def _cells(line: str, delimiter: str) -> list[str]:
    return [cell.strip().strip('"') for cell in line.split(delimiter)]


def _pairs(opened: Manifest) -> Iterable[tuple[str, str]]:
    with opened as manifest:
        for chunk in manifest.chunks():
            if chunk.bad:
                raise UsageError(f"{chunk.bad[0]}; correct the list")
            yield from chunk.good
