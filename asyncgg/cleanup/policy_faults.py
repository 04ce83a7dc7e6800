"""Rule: what is wrong or doubtful in a policy is gathered and put into words here, each with its key and line. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic_core import ErrorDetails

from asyncgg.cleanup.policy_lines import KeyPath

__all__ = ["At", "Fault", "Faults", "no_such_key"]

_WORDS: Final[Mapping[str, str]] = {
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
class Fault:
    """One thing that is wrong, or doubtful, in a policy."""

    line: int
    """From 1; 0 when it is about the whole file."""
    key: str
    message: str

    def at(self, file: str) -> str:
        """As people read it: file, line, key, what."""
        place = f"{file}:{self.line}" if self.line else file
        return f"{place}: {self.key}: {self.message}" if self.key else f"{place}: {self.message}"


@dataclass(slots=True)
class Faults:
    """Gathers what is found while a policy is read, so that all of it is told at once."""

    lines: Mapping[KeyPath, int] = field(default_factory=dict)
    found: list[Fault] = field(default_factory=list)
    warnings: list[Fault] = field(default_factory=list)

    def add(self, path: KeyPath, message: str) -> None:
        """Note a fault of the key at `path`."""
        self.found.append(Fault(self.line(path), shown(path), message))

    def warn(self, path: KeyPath, message: str) -> None:
        """Note a doubt about the key at `path`."""
        self.warnings.append(Fault(self.line(path), shown(path), message))

    def line(self, path: KeyPath) -> int:
        """The line of the key, or of the nearest table around it that stands in the file; 0 when none does."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 0)

    def add_errors(
        self, path: KeyPath, errors: Iterable[ErrorDetails], known: Mapping[KeyPath, Collection[str]]
    ) -> None:
        """Note what pydantic found in the table at `path`; `known` are the keys of it and of its tables."""
        for error in errors:
            inner = tuple(
                part for part in error["loc"] if not isinstance(part, str) or not part.startswith("function-")
            )
            whole = (*path, *inner)
            if error["type"] == "unexpected_keyword_argument":
                self.add(whole, no_such_key(str(inner[-1]), known.get(inner[:-1], ())))
            else:
                self.add(whole, _words(error))


@dataclass(frozen=True, slots=True)
class At:
    """Where a reader is: a key's path, and where its faults go."""

    path: KeyPath
    faults: Faults

    def __call__(self, *more: str | int) -> At:
        """Further within."""
        return At((*self.path, *more), self.faults)

    def wrong(self, message: str) -> None:
        """Note a fault of this key."""
        self.faults.add(self.path, message)


def no_such_key(key: str, known: Collection[str]) -> str:
    """The words for a key nobody knows."""
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    return (
        f"there is no such key; did you mean {near[0]}?" if near else f"there is no such key; known: {', '.join(known)}"
    )


def shown(path: KeyPath) -> str:
    """A path as people write it, arrays counted from 1: `rule[2].not.name`."""
    text = ""
    for part in path:
        text += f"[{part + 1}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _words(error: ErrorDetails) -> str:
    kind, value = error["type"], error["input"]
    if kind == "missing":
        return _WORDS[kind]
    context: Mapping[str, Any] = error.get("ctx", {})
    if kind == "literal_error":
        return f"{value!r} is none of {context['expected']}"
    if kind in _WORDS:
        return f"{value!r} {_WORDS[kind]}" if not isinstance(value, dict | list) else _WORDS[kind]
    message = str(error["msg"]).removeprefix("Value error, ").replace("Input should", "must")
    return f"{value!r} {message}" if message.startswith(("is ", "must ")) else message
