"""Rule: a policy is read from its file here, and every fault in it named with key and line in one pass; no network."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from asyncgg.cleanup.keep import local_file
from asyncgg.cleanup.policy import Guards, IotLimits, Name, Notify, Policy, Ramp, Sources, State
from asyncgg.cleanup.policy_doubts import doubts
from asyncgg.cleanup.policy_faults import Fault, Faults, no_such_key
from asyncgg.cleanup.policy_lines import KeyPath, key_lines
from asyncgg.cleanup.policy_rules import read_rules
from asyncgg.errors import SettingsError, UsageError
from asyncgg.manifest import ProtectList, load_protect_list

__all__ = ["Checked", "check_policy", "load_policy"]

_TABLES: Final[Mapping[str, type[Any]]] = {
    "sources": Sources,
    "guards": Guards,
    "state": State,
    "notify": Notify,
    "iot": IotLimits,
}
_TOP: Final = ("name", *_TABLES, "rule")
_PLACE: Final = re.compile(r"\s*\(at (?:line (\d+), column \d+|end of document)\)$")


@dataclass(frozen=True, slots=True)
class Checked:
    """A policy's file after it was read."""

    policy: Policy | None
    """None when there is any fault."""
    faults: tuple[Fault, ...]
    """By line; all of them, not only the first."""
    warnings: tuple[Fault, ...]


def load_policy(path: Path) -> Policy:
    """The policy in this file.

    Raises:
        SettingsError: it cannot be read, or has faults: a line for each, with file, line and key.
    """
    checked = check_policy(path)
    if checked.policy is None:
        raise SettingsError("\n".join(fault.at(str(path)) for fault in checked.faults))
    return checked.policy


def check_policy(path: Path) -> Checked:
    """The policy in this file, or every fault it has; its lists of names to protect are read too, nothing is asked.

    Raises:
        SettingsError: the file cannot be read at all.
    """
    text = _text(path)
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return Checked(None, (_not_toml(error, text),), ())
    except RecursionError:
        return Checked(None, (Fault(0, "", "is nested too deeply"),), ())
    faults = Faults(key_lines(text))
    for key in values.keys() - set(_TOP):
        faults.add((key,), no_such_key(key, _TOP))
    name = _checked(Name, values.get("name", path.stem), ("name",), faults)
    tables = {key: _checked(kind, values.get(key, {}), (key,), faults) for key, kind in _TABLES.items()}
    rules = read_rules(values.get("rule"), faults)
    protect = _protect(values.get("guards"), path, faults)
    policy = None
    if not faults.found:
        policy = Policy(path=path, name=name, rules=rules, protect=protect, **tables)
        _look_twice(policy, values, faults)
    return Checked(None if faults.found else policy, tuple(sorted(faults.found)), tuple(sorted(faults.warnings)))


def _look_twice(policy: Policy, values: Any, faults: Faults) -> None:
    """What only a whole policy shows."""
    ramp = policy.guards.ramp
    if ramp and ramp.maximum_per_minute is not None and ramp.maximum_per_minute < ramp.base_per_minute:
        faults.add(("guards", "ramp", "maximum-per-minute"), "is less than base-per-minute")
    for path, message in doubts(policy):
        faults.warn(path, message)
    for one in policy.lists:
        file = local_file(policy.path, one.file)
        if file is not None and not file.is_file():
            faults.warn(_where(values, one.file, faults), f"{file} is not there now; without it no run will start")


def _where(values: Any, file: str, faults: Faults) -> KeyPath:
    """The first `not-in` that names this file."""
    for path in faults.lines:
        if path[-1] == "not-in" or path[-2:] == ("not-in", "file"):
            value = values
            for part in path:
                value = value[part]
            if value == file:
                return path
    return ("rule",)


_adapter = cache(TypeAdapter)
"""Of one kind of table; to make one takes 5 ms."""


def _checked(kind: Any, value: object, path: KeyPath, faults: Faults) -> Any:
    try:
        return _adapter(kind).validate_python(value)
    except ValidationError as error:
        known: dict[KeyPath, tuple[str, ...]] = {(): _keys(kind), ("ramp",): _keys(Ramp)}
        faults.add_errors(path, error.errors(include_url=False), known)
        return None


def _keys(kind: Any) -> tuple[str, ...]:
    return tuple(one.name.replace("_", "-") for one in fields(kind)) if isinstance(kind, type) else ()


def _protect(guards: object, policy: Path, faults: Faults) -> ProtectList:
    """Both lists of the guards; from the values as written, so that faults of other guards hide none of theirs."""
    entries: list[str] = []
    for path, file in _texts(guards, "protect"):
        try:
            entries += load_protect_list(str(policy.parent / file)).entries
        except UsageError as error:
            faults.add(path, str(error).replace("check the path of --protect", "check the path"))
    for path, entry in _texts(guards, "protect-names"):
        try:
            entries += ProtectList((entry,)).entries
        except UsageError as error:
            faults.add(path, str(error))
    return ProtectList(tuple(entries))


def _texts(table: object, key: str) -> Iterator[tuple[KeyPath, str]]:
    value = table.get(key) if isinstance(table, dict) else None
    if isinstance(value, str):
        yield ("guards", key), value
    elif isinstance(value, list):
        yield from ((("guards", key, number), one) for number, one in enumerate(value) if isinstance(one, str))


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise SettingsError(f"{path}: there is no such policy: check the path") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{path}: the policy is not UTF-8 text: save it as UTF-8") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SettingsError(f"{path}: the policy cannot be read: {reason}") from None


def _not_toml(error: tomllib.TOMLDecodeError, text: str) -> Fault:
    words = str(error)
    found = _PLACE.search(words)
    line = int(found.group(1)) if found and found.group(1) else text.count("\n") + 1
    return Fault(line, "", f"is not TOML: {_PLACE.sub('', words)}")
