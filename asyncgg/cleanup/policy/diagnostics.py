"""Errors and warnings of a policy, with line and key."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from pydantic_core import ErrorDetails

from asyncgg.cleanup.policy.toml_lines import KeyPath
from asyncgg.settings import format_validation_error


@dataclass(frozen=True, slots=True, order=True)
class Diagnostic:
    """An error or warning."""

    line: int
    """From 1; 0 for the whole file."""
    key: str
    message: str

    def format(self, file: str) -> str:
        """One line: file, line, key, message."""
        location = f"{file}:{self.line}" if self.line else file
        return f"{location}: {self.key}: {self.message}" if self.key else f"{location}: {self.message}"


@dataclass(slots=True)
class Diagnostics:
    """Collects errors and warnings, so that one pass reports all of them."""

    lines: Mapping[KeyPath, int] = field(default_factory=dict)
    errors: list[Diagnostic] = field(default_factory=list)
    warnings: list[Diagnostic] = field(default_factory=list)

    def add_error(self, path: KeyPath, message: str) -> None:
        """Add an error of the key at `path`."""
        self.errors.append(Diagnostic(self.line_of(path), format_path(path), message))

    def add_warning(self, path: KeyPath, message: str) -> None:
        """Add a warning about the key at `path`."""
        self.warnings.append(Diagnostic(self.line_of(path), format_path(path), message))

    def line_of(self, path: KeyPath) -> int:
        """The line of the key, or of the nearest enclosing table in the file, else 0."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 0)

    def add_validation_errors(
        self, path: KeyPath, errors: Iterable[ErrorDetails], known_keys: Mapping[KeyPath, Collection[str]]
    ) -> None:
        """Add pydantic's errors for the table at `path`; `known_keys` by table, relative to `path`."""
        for error in errors:
            inner = tuple(
                part for part in error["loc"] if not isinstance(part, str) or not part.startswith("function-")
            )
            full_path = (*path, *inner)
            if error["type"] == "unexpected_keyword_argument":
                self.add_error(full_path, unknown_key_message(str(inner[-1]), known_keys.get(inner[:-1], ())))
            else:
                self.add_error(full_path, format_validation_error(error))


class InvalidValueError(Exception):
    """A value is invalid; the diagnostics have the reason."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """The key that a parser is reading, with the diagnostics to add to."""

    path: KeyPath
    diagnostics: Diagnostics

    def __call__(self, *keys: str | int) -> Cursor:
        """The cursor of a nested key."""
        return Cursor((*self.path, *keys), self.diagnostics)

    def error(self, message: str) -> InvalidValueError:
        """Add an error of this key; the returned exception ends the parsing of what contains it."""
        self.diagnostics.add_error(self.path, message)
        return InvalidValueError()


def unknown_key_message(key: str, known_keys: Collection[str]) -> str:
    """The message for an unknown key."""
    matches = difflib.get_close_matches(key, known_keys, n=1, cutoff=0.6)
    return f"unknown key; did you mean {matches[0]}?" if matches else f"unknown key; known: {', '.join(known_keys)}"


def format_path(path: KeyPath) -> str:
    """A path as text, with array indexes from 1: `rule[2].not.name`."""
    text = ""
    for part in path:
        text += f"[{part + 1}]" if isinstance(part, int) else f".{part}" if text else part
    return text
