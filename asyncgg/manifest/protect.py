"""Rule: the protect list (`--protect`) is read and asked here; a list that cannot be read whole protects by an error.

One entry a line: a name, or a glob of `*`, `?` and `[...]`, of things and cores alike; `core:` or `thing:` in front
restricts it to one kind. Blank lines and what follows `#` are ignored. Case counts. A thing name may itself begin with
`core:`: such an entry protects in both readings, because protecting one thing too many can be mended.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from asyncgg.errors import UsageError
from asyncgg.models import invalid_name_reason

__all__ = ["ProtectList", "load_protect_list"]

_KINDS: Final = ("core", "thing")
_BRACKET_EXPRESSION: Final = re.compile(r"\[!?[a-zA-Z0-9:_-]+\]")
_VALID_GLOB: Final = re.compile(r"[a-zA-Z0-9:_*?-]+\Z")
_MATCHES_NOTHING: Final = "(?!)"


@dataclass(frozen=True, slots=True)
class _NameMatcher:
    """The entries that hold for one kind of name."""

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


@dataclass(frozen=True, slots=True)
class ProtectList:
    """Names and globs of things and cores that are never touched."""

    entries: tuple[str, ...] = ()
    """As written, in their order."""
    _core: _NameMatcher = field(init=False, repr=False, compare=False)
    _thing: _NameMatcher = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check and prepare the entries. Raises `UsageError` for one that could never match a name."""
        kinds: dict[str, dict[str, str]] = {kind: {} for kind in _KINDS}
        for entry in self.entries:
            if problem := _invalid_entry_reason(entry):
                raise UsageError(f"protect entry `{entry}` {problem}")
            for kind, pattern in _interpretations(entry):
                kinds[kind].setdefault(pattern, entry)
        object.__setattr__(self, "_core", _build_matcher(kinds["core"]))
        object.__setattr__(self, "_thing", _build_matcher(kinds["thing"]))

    def match(self, core: str, thing: str) -> str | None:
        """The entry, as written, that forbids touching this association, or None."""
        return self._thing.match(thing) or self._core.match(core)


def load_protect_list(path: str) -> ProtectList:
    """Read a protect list.

    Raises `UsageError` naming file and line when it is missing, empty, not UTF-8, or has an entry that could never
    match: nothing may be sent then.
    """
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        raise UsageError(f"{path}: no such protect list: check the path of --protect") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"{path}: the protect list cannot be read: {reason}") from None
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UsageError(f"{path}: the protect list is UTF-16 text: save it as UTF-8")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{path}:{line}: the protect list is not UTF-8 text: save it as UTF-8") from None
    entries = []
    for number, line_text in enumerate(re.split(r"\r\n|\r|\n", text), 1):
        entry = line_text.split("#", 1)[0].strip()
        if not entry:
            continue
        if problem := _invalid_entry_reason(entry):
            raise UsageError(f"{path}:{number}: protect entry {entry[:200]!a} {problem}")
        entries.append(entry)
    if not entries:
        raise UsageError(f"{path}: the protect list has no entries: fill it, or leave --protect out")
    return ProtectList(tuple(entries))


def _interpretations(entry: str) -> Iterable[tuple[str, str]]:
    """What an entry forbids: kind and pattern."""
    kind, colon, rest = entry.partition(":")
    if colon and kind in _KINDS:
        yield kind, rest.strip()
        if rest != rest.strip():  # blanks stand in no name: the prefix is meant as one
            return
    for possible_kind in _KINDS:
        yield possible_kind, entry


def _invalid_entry_reason(entry: str) -> str | None:
    """Why an entry could never match a name, to follow the entry; None when it could."""
    kind, colon, rest = entry.partition(":")
    pattern = rest.strip() if colon and kind in _KINDS else entry
    if not pattern:
        return f"names nothing after `{kind}:`"
    if not _is_glob(pattern):
        problem = invalid_name_reason(pattern)
        return f"{problem}: it could never protect anything" if problem else None
    simplified = _BRACKET_EXPRESSION.sub("?", pattern)
    if not _VALID_GLOB.match(simplified) or _MATCHES_NOTHING in fnmatch.translate(pattern):
        return "is no glob of names (a-z A-Z 0-9 : _ - and * ? [...]): it could never protect anything"
    return None


def _is_glob(pattern: str) -> bool:
    return any(sign in pattern for sign in "*?[")


def _build_matcher(patterns: Mapping[str, str]) -> _NameMatcher:
    globs = {fnmatch.translate(pattern): entry for pattern, entry in patterns.items() if _is_glob(pattern)}
    return _NameMatcher(
        {pattern: entry for pattern, entry in patterns.items() if not _is_glob(pattern)},
        tuple((re.compile(glob), entry) for glob, entry in globs.items()),
        re.compile("|".join(f"(?:{glob})" for glob in globs)) if globs else None,
    )
