"""Reads the targets of a campaign from a targets file, or from the accounts file of c7n-org."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from asyncgg.errors import SettingsError, UsageError
from asyncgg.files import read_text, read_toml
from asyncgg.fleet.folder import TARGET_NAME
from asyncgg.settings import Settings, build_settings

_SPECIAL_KEYS: Final = {"name", "account", "tags", "session-name", "source-profile"}
_FORBIDDEN: Final = frozenset(
    {"journal", "state", "state_interval", "state_lease", "snapshot", "expect_account", "role_session_name"}
    | {"skip_bad_rows", "allow_empty", "quiet", "log_format", "verbose", "log_file", "log_requests"}
    | {"metrics_file", "metrics_push", "metrics_port", "otel"}
)
"""Settings that are those of the whole campaign, or that no campaign has."""
_YAML_SUFFIXES: Final = frozenset({".yml", ".yaml"})
_CAMPAIGN_ONLY: Final = _FORBIDDEN - {"expect_account", "role_session_name"}


@dataclass(frozen=True, slots=True)
class FleetTarget:
    """One account and Region of a campaign, and how to get there."""

    name: str
    account: str
    """The expected AWS account; empty if it is not checked."""
    region: str
    values: Mapping[str, Any]
    """Further settings, by name."""
    tags: frozenset[str] = frozenset()
    location: str = field(default="", compare=False)
    """File and line, for messages."""

    def settings(self, base: Mapping[str, Any], overrides: Mapping[str, Any]) -> Settings:
        """The settings of a run in this target: `overrides` before its own values before `base`.

        Raises `SettingsError` for an invalid value.
        """
        own = dict(self.values) | {"region": self.region} | ({"expect_account": self.account} if self.account else {})
        shared = {name: value for name, value in base.items() if name not in _CAMPAIGN_ONLY}
        if {"profile", "role_arn"} & own.keys():  # else a profile of the environment would be the source of the role
            shared.pop("profile", None)
        return build_settings({**shared, **own}, overrides, source=f"{self.location}: target {self.name}")


def load_targets(path: Path, tags: Sequence[str] = ()) -> list[FleetTarget]:
    """The targets of a TOML file, or of a YAML file of c7n-org, that have all of the `tags`.

    Raises `SettingsError` for an invalid file, and `UsageError` if no target has the tags.
    """
    targets = _from_accounts_file(path) if path.suffix.lower() in _YAML_SUFFIXES else _from_toml(path)
    _check_unique(targets)
    for target in targets:
        target.settings({}, {})
    selected = [target for target in targets if target.tags.issuperset(tags)]
    if not selected:
        known = ", ".join(sorted({tag for target in targets for tag in target.tags})) or "none"
        raise UsageError(f"{path}: no target has the tags {', '.join(tags)}; known tags: {known}")
    return selected


def _check_unique(targets: Iterable[FleetTarget]) -> None:
    names: dict[str, FleetTarget] = {}
    quotas: dict[tuple[object, ...], FleetTarget] = {}
    for target in targets:
        if (other := names.setdefault(target.name.lower(), target)) is not target:
            raise SettingsError(f"{target.location}: the name {target.name} is already at {other.location}")
        identity = target.account or (target.values.get("profile"), target.values.get("role_arn"))
        other = quotas.setdefault((identity, target.region, target.values.get("endpoint_url")), target)
        if other is not target:
            raise SettingsError(
                f"{target.location}: {target.name} and {other.name} are the same account and Region, so they have one"
                " quota; keep one of them"
            )


# --- targets.toml ---


def _from_toml(path: Path) -> list[FleetTarget]:
    document, lines = read_toml(path, "targets file"), _TomlLines(path)
    if unknown := sorted(document.keys() - {"defaults", "target"}):
        raise SettingsError(f"{lines.find(unknown[0])}: unknown key {unknown[0]!r}; known: defaults, target")
    defaults, tables = document.get("defaults", {}), document.get("target", [])
    if not isinstance(defaults, dict):
        raise SettingsError(f"{lines.find('defaults')}: defaults must be a table: [defaults]")
    if not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
        raise SettingsError(f"{path}: no targets; write one [[target]] table for each account and Region")
    if wrong := sorted(defaults.keys() & {"name", "account"}):
        raise SettingsError(f"{lines.find(wrong[0])}: {wrong[0]} belongs to a [[target]], not to [defaults]")
    return [
        _parse_target(defaults | table, lambda key, number=number: lines.find(key, number))
        for number, table in enumerate(tables, 1)
    ]


class _TomlLines:
    """The lines of a targets file, because tomllib gives none."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines = read_text(path, "targets file").splitlines()

    def find(self, key: str, target: int = 0) -> str:
        """`FILE:LINE` of a key in the target of this number, else in [defaults], else of the target."""
        section, header = -1, 1
        matches: dict[int, int] = {}
        for number, line in enumerate(self._lines, 1):
            text = line.strip()
            if re.match(r"\[\[\s*target\s*\]\]", text):
                section = max(section, 0) + 1
                header = number if section == target else header
            elif re.match(r"\[\s*defaults\s*\]", text):
                section = 0 if section < 1 else section
            elif re.match(rf"[\"']?{re.escape(key)}[\"']?\s*=", text):
                matches.setdefault(section, number)
        number = matches.get(target, matches.get(0, matches.get(-1, header)))
        return f"{self._path}:{number}"


def _parse_target(table: Mapping[str, Any], locate: Any) -> FleetTarget:
    for key in ("name", "region"):
        if not isinstance(table.get(key), str):
            raise SettingsError(f"{locate('name')}: the target needs {key!r}, as text in quotes")
    if not TARGET_NAME.fullmatch(table["name"]):
        raise SettingsError(
            f"{locate('name')}: invalid name {table['name']!r}; use up to 64 letters, digits, dots, hyphens and"
            " underscores: it names files"
        )
    account = table.get("account", "")
    if not isinstance(account, str) or not re.fullmatch(r"(\d{12})?", account):
        raise SettingsError(f"{locate('account')}: account {account!r} must be 12 digits in quotes")
    tags = table.get("tags", [])
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise SettingsError(f"{locate('tags')}: tags must be a list of text")
    values = {_setting_name(key): table[key] for key in table if key not in {"name", "account", "region", "tags"}}
    for key in table:
        name = _setting_name(key)
        if key not in _SPECIAL_KEYS and (name in _FORBIDDEN or name not in Settings.model_fields):
            known = sorted(_SPECIAL_KEYS | {n.replace("_", "-") for n in Settings.model_fields if n not in _FORBIDDEN})
            raise SettingsError(f"{locate(key)}: a target has no key {key!r}; known: {', '.join(known)}")
    if "source-profile" in table and ("role_arn" not in values or "profile" in table):
        raise SettingsError(f"{locate('source-profile')}: source-profile goes with role-arn, and without profile")
    for key in ("external-id", "session-name"):
        if key in table and "role_arn" not in values:
            raise SettingsError(f"{locate(key)}: {key} goes with role-arn")
    return FleetTarget(table["name"], account, table["region"], values, frozenset(tags), locate("name"))


def _setting_name(key: str) -> str:
    return {"session-name": "role_session_name", "source-profile": "profile"}.get(key, key.replace("-", "_"))


# --- accounts.yml of c7n-org ---


def _from_accounts_file(path: Path) -> list[FleetTarget]:
    try:
        import yaml
    except ImportError:
        raise UsageError(f"{path}: an accounts file requires PyYAML; install asyncgg[fleet]") from None
    try:
        root = yaml.compose(read_text(path, "accounts file"), Loader=yaml.SafeLoader)
        document = yaml.safe_load(read_text(path, "accounts file"))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or "syntax error"
        raise SettingsError(f"{path}{f':{mark.line + 1}' if mark else ''}: invalid YAML: {problem}") from None
    except (ValueError, RecursionError):  # a date without such a day, thousands of brackets
        raise SettingsError(f"{path}: invalid YAML: nested too deeply, or an impossible value") from None
    accounts = document.get("accounts") if isinstance(document, dict) else None
    if not isinstance(accounts, list) or not accounts or not all(isinstance(item, dict) for item in accounts):
        raise SettingsError(f"{path}: no accounts; an accounts file has a list `accounts`")
    nodes = next(value for key, value in root.value if key.value == "accounts").value
    targets = []
    for account, node in zip(accounts, nodes, strict=True):
        targets += _parse_account(account, f"{path}:{node.start_mark.line + 1}")
    return targets


def _parse_account(account: Mapping[str, Any], location: str) -> list[FleetTarget]:
    """The targets of one account, one for each Region; c7n-org's `vars` and `display_name` are not used."""
    roles = account.get("role", [])
    roles = [roles] if isinstance(roles, str) else roles
    regions = account.get("regions", [])
    if not isinstance(roles, list) or len(roles) > 1:
        raise SettingsError(f"{location}: a chain of roles is not supported; put its first role into an AWS profile")
    if not isinstance(regions, list) or not regions or "all" in regions:
        raise SettingsError(f"{location}: list the Regions of the account in `regions`")
    values = {
        "role-arn": roles[0] if roles else None,
        "external-id": account.get("external_id"),
        "source-profile" if roles else "profile": account.get("profile"),
    }
    entry = {key: value for key, value in values.items() if value is not None}
    entry |= {"account": str(account.get("account_id", "")).zfill(12), "tags": account.get("tags", [])}
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", str(account.get("name", account.get("account_id")))).strip("-")
    return [
        _parse_target(entry | {"name": f"{name}-{region}", "region": region}, lambda _key: location)
        for region in regions
    ]
