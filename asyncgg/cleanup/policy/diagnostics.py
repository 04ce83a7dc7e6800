"""Rule: what is wrong or doubtful in a policy is gathered and put into words here, each with its key and line. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic_core import ErrorDetails

from asyncgg.cleanup.policy.toml_lines import KeyPath

__all__ = ["Cursor", "Diagnostic", "Diagnostics", "unknown_key_message"]

_MESSAGES: Final[Mapping[str, str]] = {
    "missing": "is missing",
    "string_type": "must be text, in quotes",
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "tuple_type": "must be text or a list of texts",
    "dict_type": "must be a table",
    "dataclass_type": "must be a table",
    "dataclass_exact_type": "must be a table",
    "finite_number": "must be a finite number",
}


@dataclass(frozen=True, slots=True, order=True)
class Diagnostic:
    """One thing that is wrong, or doubtful, in a policy."""

    line: int
    """From 1; 0 when it is about the whole file."""
    key: str
    message: str

    def format(self, file: str) -> str:
        """As people read it: file, line, key, what."""
        location = f"{file}:{self.line}" if self.line else file
        return f"{location}: {self.key}: {self.message}" if self.key else f"{location}: {self.message}"


@dataclass(slots=True)
class Diagnostics:
    """Gathers what is found while a policy is read, so that all of it is told at once."""

    lines: Mapping[KeyPath, int] = field(default_factory=dict)
    errors: list[Diagnostic] = field(default_factory=list)
    warnings: list[Diagnostic] = field(default_factory=list)

    def add_error(self, path: KeyPath, message: str) -> None:
        """Note a fault of the key at `path`."""
        self.errors.append(Diagnostic(self.line_of(path), format_path(path), message))

    def add_warning(self, path: KeyPath, message: str) -> None:
        """Note a doubt about the key at `path`."""
        self.warnings.append(Diagnostic(self.line_of(path), format_path(path), message))

    def line_of(self, path: KeyPath) -> int:
        """The line of the key, or of the nearest table around it that stands in the file; 0 when none does."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 0)

    def add_validation_errors(
        self, path: KeyPath, errors: Iterable[ErrorDetails], known_keys: Mapping[KeyPath, Collection[str]]
    ) -> None:
        """Note what pydantic found in the table at `path`; `known` are the keys of it and of its tables."""
        for error in errors:
            inner = tuple(
                part for part in error["loc"] if not isinstance(part, str) or not part.startswith("function-")
            )
            full_path = (*path, *inner)
            if error["type"] == "unexpected_keyword_argument":
                self.add_error(full_path, unknown_key_message(str(inner[-1]), known_keys.get(inner[:-1], ())))
            else:
                self.add_error(full_path, _format_error(error))


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a reader is: a key's path, and where its faults go."""

    path: KeyPath
    diagnostics: Diagnostics

    def __call__(self, *keys: str | int) -> Cursor:
        """Further within."""
        return Cursor((*self.path, *keys), self.diagnostics)

    def error(self, message: str) -> None:
        """Note a fault of this key."""
        self.diagnostics.add_error(self.path, message)


def unknown_key_message(key: str, known_keys: Collection[str]) -> str:
    """The words for a key nobody knows."""
    matches = difflib.get_close_matches(key, known_keys, n=1, cutoff=0.6)
    return (
        f"there is no such key; did you mean {matches[0]}?"
        if matches
        else f"there is no such key; known: {', '.join(known_keys)}"
    )


def format_path(path: KeyPath) -> str:
    """A path as people write it, arrays counted from 1: `rule[2].not.name`."""
    text = ""
    for part in path:
        text += f"[{part + 1}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _format_error(error: ErrorDetails) -> str:
    kind, value = error["type"], error["input"]
    if kind == "missing":
        return _MESSAGES[kind]
    context: Mapping[str, Any] = error.get("ctx", {})
    if kind == "literal_error":
        return f"{value!r} is none of {context['expected']}"
    if kind in _MESSAGES:
        return f"{value!r} {_MESSAGES[kind]}" if not isinstance(value, dict | list) else _MESSAGES[kind]
    message = str(error["msg"]).removeprefix("Value error, ").replace("Input should", "must")
    return f"{value!r} {message}" if message.startswith(("is ", "must ")) else message
