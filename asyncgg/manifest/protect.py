"""The protect list (`--protect`): names and globs of cores and things that must not be changed."""

from __future__ import annotations

import fnmatch
import operator
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import Final

from asyncgg.errors import ManifestError, UsageError
from asyncgg.manifest.name_lists import iter_entries, read_text
from asyncgg.models import invalid_name_reason
from asyncgg.name_columns import NameColumns

_KINDS: Final = ("core", "thing")
_BRACKET_EXPRESSION: Final = re.compile(r"\[!?[a-zA-Z0-9:_-]+\]")
_VALID_GLOB: Final = re.compile(r"[a-zA-Z0-9:_*?-]+\Z")
_MATCHES_NOTHING: Final = "(?!)"


@dataclass(frozen=True, slots=True)
class _NameMatcher:
    """The entries for one kind of name."""

    exact: Mapping[str, str]
    """The entry as written, by name."""
    globs: tuple[tuple[re.Pattern[str], str], ...]
    any_glob: re.Pattern[str] | None

    def match(self, name: str) -> str | None:
        if (entry := self.exact.get(name)) is not None:
            return entry
        if self.any_glob is None or self.any_glob.match(name) is None:
            return None
        return next((entry for pattern, entry in self.globs if pattern.match(name)), None)

    def match_all(self, names: Sequence[str]) -> list[bool]:
        """Whether an entry matches, for each name."""
        matches = list(map(self.exact.__contains__, names))
        if self.any_glob is not None:
            globs = map(bool, map(self.any_glob.match, names))
            matches = list(map(operator.or_, matches, globs))
        return matches


@dataclass(frozen=True, slots=True)
class ProtectList:
    """Names and globs (`*`, `?`, `[...]`) of cores and things that must not be changed.

    Case-sensitive. The prefix `core:` or `thing:` restricts an entry to one kind. A thing name can
    itself start with `core:`; such an entry protects both.
    """

    entries: tuple[str, ...] = ()
    """As written, in order."""
    _core: _NameMatcher = field(init=False, repr=False, compare=False)
    _thing: _NameMatcher = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Compile the entries. Raises `UsageError` for an entry that cannot match any name."""
        kinds: dict[str, dict[str, str]] = {kind: {} for kind in _KINDS}
        for entry in self.entries:
            if problem := _invalid_entry_reason(entry):
                raise UsageError(f"invalid protect entry `{entry}`: {problem}")
            for kind, pattern in _interpretations(entry):
                kinds[kind].setdefault(pattern, entry)
        object.__setattr__(self, "_core", _build_matcher(kinds["core"]))
        object.__setattr__(self, "_thing", _build_matcher(kinds["thing"]))

    def match(self, core: str, thing: str) -> str | None:
        """The entry, as written, that protects this association, or None."""
        return self._thing.match(thing) or self._core.match(core)

    def without_protected(self, pairs: list[tuple[str, str]] | NameColumns) -> list[tuple[str, str]] | NameColumns:
        """The (core, thing) pairs that no entry protects."""
        if not self.entries or not pairs:
            return pairs
        cores, things = pairs.to_lists() if isinstance(pairs, NameColumns) else zip(*pairs, strict=True)
        is_protected = list(map(operator.or_, self._core.match_all(cores), self._thing.match_all(things)))
        if not any(is_protected):
            return pairs
        is_kept = list(map(operator.not_, is_protected))
        return pairs.filter(is_kept) if isinstance(pairs, NameColumns) else list(compress(pairs, is_kept))


def load_protect_list(path: str) -> ProtectList:
    """Read a protect list: one entry per line, with blank lines and `#` comments.

    Raises `ManifestError` with file and line if the list cannot be read, is empty, or has an entry
    that cannot match any name.
    """
    text, name = read_text(path)
    entries = []
    for number, entry in iter_entries(text):
        if problem := _invalid_entry_reason(entry):
            raise ManifestError(f"{name}:{number}: invalid protect entry {entry[:200]!a}: {problem}")
        entries.append(entry)
    if not entries:
        raise ManifestError(f"{name}: the protect list has no entries; add an entry or omit the list")
    return ProtectList(tuple(entries))


def _interpretations(entry: str) -> Iterable[tuple[str, str]]:
    """The kinds and patterns that an entry protects."""
    kind, colon, rest = entry.partition(":")
    if colon and kind in _KINDS:
        yield kind, rest.strip()
        if rest != rest.strip():  # no name contains blanks, so this is a prefix
            return
    for possible_kind in _KINDS:
        yield possible_kind, entry


def _invalid_entry_reason(entry: str) -> str | None:
    kind, colon, rest = entry.partition(":")
    pattern = rest.strip() if colon and kind in _KINDS else entry
    if not pattern:
        return f"no name after `{kind}:`"
    if not _is_glob(pattern):
        return invalid_name_reason(pattern)
    simplified = _BRACKET_EXPRESSION.sub("?", pattern)
    if not _VALID_GLOB.match(simplified) or _MATCHES_NOTHING in fnmatch.translate(pattern):
        return "not a glob of names (a-z A-Z 0-9 : _ - and * ? [...])"
    return None


def _is_glob(pattern: str) -> bool:
    return any(char in pattern for char in "*?[")


def _build_matcher(patterns: Mapping[str, str]) -> _NameMatcher:
    globs = {fnmatch.translate(pattern): entry for pattern, entry in patterns.items() if _is_glob(pattern)}
    return _NameMatcher(
        {pattern: entry for pattern, entry in patterns.items() if not _is_glob(pattern)},
        tuple((re.compile(glob), entry) for glob, entry in globs.items()),
        re.compile("|".join(f"(?:{glob})" for glob in globs)) if globs else None,
    )
