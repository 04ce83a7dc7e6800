"""The loader of policy files, which reports every error in one pass and offline."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from asyncgg.cleanup.policy.diagnostics import Diagnostic, Diagnostics, unknown_key_message
from asyncgg.cleanup.policy.lint import lint_policy
from asyncgg.cleanup.policy.model import (
    IotLimits,
    NotifyConfig,
    Policy,
    PolicyName,
    RampConfig,
    SafetyLimits,
    Sources,
    StateConfig,
)
from asyncgg.cleanup.policy.parser import parse_rules
from asyncgg.cleanup.policy.toml_lines import KeyPath, key_lines
from asyncgg.errors import SettingsError, UsageError
from asyncgg.files import parse_toml, quotes_hint, read_text
from asyncgg.manifest import ProtectList, load_protect_list

_TABLES: Final[Mapping[str, type[Any]]] = {
    "sources": Sources,
    "guards": SafetyLimits,
    "state": StateConfig,
    "notify": NotifyConfig,
    "iot": IotLimits,
}
_TOP_LEVEL_KEYS: Final = ("name", *_TABLES, "rule")
_TOML_POSITION: Final = re.compile(r"\s*\(at (?:line (\d+), column \d+|end of document)\)$")


@dataclass(frozen=True, slots=True)
class PolicyCheck:
    """The result of checking a policy file."""

    policy: Policy | None
    """None if there are errors."""
    errors: tuple[Diagnostic, ...]
    """All errors, by line."""
    warnings: tuple[Diagnostic, ...]


def load_policy(path: Path) -> tuple[Policy, tuple[Diagnostic, ...]]:
    """The policy in a file, and its warnings.

    Raises `SettingsError` if the file cannot be read, or has errors: one line for each.
    """
    check = check_policy(path)
    if check.policy is None:
        raise SettingsError("\n".join(error.format(str(path)) for error in check.errors))
    return check.policy, check.warnings


def check_policy(path: Path) -> PolicyCheck:
    """The policy in a file, or every error in the file and its protect lists.

    Raises `SettingsError` if the file cannot be read.
    """
    text = read_text(path, "policy")
    try:
        values = parse_toml(text)
    except tomllib.TOMLDecodeError as error:
        return PolicyCheck(None, (_toml_diagnostic(error, text),), ())
    diagnostics = Diagnostics(key_lines(text))
    for key in values.keys() - set(_TOP_LEVEL_KEYS):
        diagnostics.add_error((key,), unknown_key_message(key, _TOP_LEVEL_KEYS))
    name = _validate(PolicyName, values.get("name", path.stem), ("name",), diagnostics)
    tables = {key: _validate(kind, values.get(key, {}), (key,), diagnostics) for key, kind in _TABLES.items()}
    rules = parse_rules(values.get("rule"), diagnostics)
    protect = _load_protect_list(values.get("guards"), path, diagnostics)
    policy = None
    if not diagnostics.errors:
        policy = Policy(path=path, name=name, rules=rules, protect=protect, **tables)
        _check_whole_policy(policy, values, diagnostics)
    return PolicyCheck(
        None if diagnostics.errors else policy, tuple(sorted(diagnostics.errors)), tuple(sorted(diagnostics.warnings))
    )


def _check_whole_policy(policy: Policy, values: Any, diagnostics: Diagnostics) -> None:
    ramp = policy.guards.ramp
    if ramp and ramp.maximum_per_minute is not None and ramp.maximum_per_minute < ramp.base_per_minute:
        diagnostics.add_error(("guards", "ramp", "maximum-per-minute"), "must be at least base-per-minute")
    for path, message in lint_policy(policy):
        diagnostics.add_warning(path, message)
    for keep_list in policy.keep_lists:
        file = policy.local_path(keep_list.file)
        if file is not None and not file.is_file():
            diagnostics.add_warning(
                _locate(values, keep_list.file, diagnostics), f"{file} not found; a run needs this file"
            )


def _locate(values: Any, file: str, diagnostics: Diagnostics) -> KeyPath:
    """The first `not-in` with this file."""
    for path in diagnostics.lines:
        if path[-1] == "not-in" or path[-2:] == ("not-in", "file"):
            value = values
            for part in path:
                value = value[part]
            if value == file:
                return path
    return ("rule",)


_adapter = cache(TypeAdapter)  # creating one takes 5 ms


def _validate(kind: Any, value: object, path: KeyPath, diagnostics: Diagnostics) -> Any:
    try:
        return _adapter(kind).validate_python(value)
    except ValidationError as error:
        known_keys: dict[KeyPath, tuple[str, ...]] = {(): _toml_keys(kind), ("ramp",): _toml_keys(RampConfig)}
        diagnostics.add_validation_errors(path, error.errors(include_url=False), known_keys)
        return None


def _toml_keys(kind: Any) -> tuple[str, ...]:
    return tuple(config_field.name.replace("_", "-") for config_field in fields(kind)) if isinstance(kind, type) else ()


def _load_protect_list(guards: object, policy: Path, diagnostics: Diagnostics) -> ProtectList:
    # Reads the raw values, so that other errors in `[guards]` do not hide errors of protect lists.
    entries: list[str] = []
    for path, file in _iter_strings(guards, "protect"):
        try:
            entries += load_protect_list(str(policy.parent / file)).entries
        except UsageError as error:
            diagnostics.add_error(path, str(error))
    for path, entry in _iter_strings(guards, "protect-names"):
        try:
            entries += ProtectList((entry,)).entries
        except UsageError as error:
            diagnostics.add_error(path, str(error))
    return ProtectList(tuple(entries))


def _iter_strings(table: object, key: str) -> Iterator[tuple[KeyPath, str]]:
    value = table.get(key) if isinstance(table, dict) else None
    if isinstance(value, str):
        yield ("guards", key), value
    elif isinstance(value, list):
        yield from ((("guards", key, number), text) for number, text in enumerate(value) if isinstance(text, str))


def _toml_diagnostic(error: tomllib.TOMLDecodeError, text: str) -> Diagnostic:
    message = str(error)
    match = _TOML_POSITION.search(message)
    line = int(match.group(1)) if match and match.group(1) else text.count("\n") + 1
    return Diagnostic(line, "", f"invalid TOML: {_TOML_POSITION.sub('', message)}{quotes_hint(text)}")
