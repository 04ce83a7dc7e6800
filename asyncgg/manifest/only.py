"""Rule: the list of what is wanted of a run (`--only`) is read and asked here: pairs as in a manifest, or bare things.

A bare thing stands for each of its associations. The whole list is held in memory.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from asyncgg.errors import UsageError
from asyncgg.manifest.name_lists import display_path, first_nonblank_line, parse_names, read_bytes
from asyncgg.manifest.reader import ManifestReader, open_manifest
from asyncgg.manifest.rows import find_columns
from asyncgg.manifest.sources import Source

__all__ = ["Selection", "load_selection"]

_MAX_LISTED: Final = 10
_MANIFEST_SUFFIXES: Final = (".jsonl", ".ndjson", ".parquet")


class Selection:
    """Associations and things that are wanted; it notes which of them were met."""

    def __init__(self, name: str, entries: Iterable[tuple[str, str] | str]) -> None:
        """`name` is what messages call the list."""
        self.name = name
        self._unused: set[tuple[str, str] | str] = set(entries)
        self._used: set[tuple[str, str] | str] = set()

    def matches(self, core: str, thing: str) -> bool:
        """Whether this association is in it, by itself or by its thing."""
        is_selected = False
        for entry in ((core, thing), thing):
            if entry in self._unused:
                self._unused.discard(entry)
                self._used.add(entry)
            is_selected = is_selected or entry in self._used
        return is_selected

    def require_all_used(self, location: str) -> None:
        """Raise `UsageError` that names what was never asked about, hence is not in `where`."""
        if not self._unused:
            return
        unused = sorted(entry if isinstance(entry, str) else ",".join(entry) for entry in self._unused)
        suffix = f" and {len(unused) - _MAX_LISTED} more" if len(unused) > _MAX_LISTED else ""
        noun = "entry is" if len(unused) == 1 else "entries are"
        raise UsageError(
            f"{self.name}: {len(unused)} {noun} not in {location}: {', '.join(unused[:_MAX_LISTED])}{suffix}; take them out"
        )


def load_selection(path: str | Path) -> Selection:
    """Read the list at `path` (`-`: standard input), once, so that it may be a pipe.

    It is a manifest when it is one by its ending or has a column `core`, else a list of things. Raises `UsageError` or
    `ManifestError` that names file and line.
    """
    name = str(path)
    if name.lower().removesuffix(".gz").endswith(_MANIFEST_SUFFIXES) or name.lower().endswith(".gz"):
        return Selection(name, _read_pairs(open_manifest(name)))
    data, location = read_bytes(name), display_path(name)
    if not _has_core_column(first_nonblank_line(data), location):
        return Selection(location, parse_names(data, location, "thing"))
    source = Source(location, io.BytesIO(data), owned=True)
    source.open_text(expect_gzip=False)
    return Selection(location, _read_pairs(ManifestReader(source, "csv")))


def _has_core_column(line: str, location: str) -> bool:
    """Whether the first line of a text names the columns of a manifest."""
    return any(find_columns(location, _split_cells(line, delimiter)) for delimiter in ",;\t")


def _split_cells(line: str, delimiter: str) -> list[str]:
    return [cell.strip().strip('"') for cell in line.split(delimiter)]


def _read_pairs(reader: ManifestReader) -> Iterable[tuple[str, str]]:
    with reader as manifest:
        for chunk in manifest.chunks():
            if chunk.bad:
                raise UsageError(f"{chunk.bad[0]}; correct the list")
            yield from chunk.good
