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
from asyncgg.model import invalid_name_reason

__all__ = ["Protect", "load_protect"]

_KINDS: Final = ("core", "thing")
_SET: Final = re.compile(r"\[!?[a-zA-Z0-9:_-]+\]")
_GLOB: Final = re.compile(r"[a-zA-Z0-9:_*?-]+\Z")
_NEVER: Final = "(?!)"


@dataclass(frozen=True, slots=True)
class _Guard:
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
class Protect:
    """Names and globs of things and cores that are never touched."""

    entries: tuple[str, ...] = ()
    """As written, in their order."""
    _core: _Guard = field(init=False, repr=False, compare=False)
    _thing: _Guard = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check and prepare the entries. Raises `UsageError` for one that could never match a name."""
        kinds: dict[str, dict[str, str]] = {kind: {} for kind in _KINDS}
        for entry in self.entries:
            if fault := _entry_fault(entry):
                raise UsageError(f"protect entry `{entry}` {fault}")
            for kind, pattern in _readings(entry):
                kinds[kind].setdefault(pattern, entry)
        object.__setattr__(self, "_core", _guard(kinds["core"]))
        object.__setattr__(self, "_thing", _guard(kinds["thing"]))

    def blocks(self, core: str, thing: str) -> str | None:
        """The entry, as written, that forbids touching this association, or None."""
        return self._thing.match(thing) or self._core.match(core)


def load_protect(path: str) -> Protect:
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
        if fault := _entry_fault(entry):
            raise UsageError(f"{path}:{number}: protect entry {entry[:200]!a} {fault}")
        entries.append(entry)
    if not entries:
        raise UsageError(f"{path}: the protect list has no entries: fill it, or leave --protect out")
    return Protect(tuple(entries))


def _readings(entry: str) -> Iterable[tuple[str, str]]:
    """What an entry forbids: kind and pattern."""
    kind, colon, rest = entry.partition(":")
    if colon and kind in _KINDS:
        yield kind, rest.strip()
        if rest != rest.strip():  # blanks stand in no name: the prefix is meant as one
            return
    for each in _KINDS:
        yield each, entry


def _entry_fault(entry: str) -> str | None:
    """Why an entry could never match a name, to follow the entry; None when it could."""
    kind, colon, rest = entry.partition(":")
    pattern = rest.strip() if colon and kind in _KINDS else entry
    if not pattern:
        return f"names nothing after `{kind}:`"
    if not _is_glob(pattern):
        fault = invalid_name_reason(pattern)
        return f"{fault}: it could never protect anything" if fault else None
    plain = _SET.sub("?", pattern)
    if not _GLOB.match(plain) or _NEVER in fnmatch.translate(pattern):
        return "is no glob of names (a-z A-Z 0-9 : _ - and * ? [...]): it could never protect anything"
    return None


def _is_glob(pattern: str) -> bool:
    return any(sign in pattern for sign in "*?[")


def _guard(patterns: Mapping[str, str]) -> _Guard:
    globs = {fnmatch.translate(pattern): entry for pattern, entry in patterns.items() if _is_glob(pattern)}
    return _Guard(
        {pattern: entry for pattern, entry in patterns.items() if not _is_glob(pattern)},
        tuple((re.compile(glob), entry) for glob, entry in globs.items()),
        re.compile("|".join(f"(?:{glob})" for glob in globs)) if globs else None,
    )
