"""Tests of targets files."""

from __future__ import annotations

from pathlib import Path

import pytest

from asyncgg.errors import SettingsError, UsageError
from asyncgg.fleet.targets import load_targets

TWO = """[defaults]
quota-share = 0.5

[[target]]
name = "prod-eu"
account = "111122223333"
region = "eu-west-1"
role-arn = "arn:aws:iam::111122223333:role/remove"
external-id = "x-1"
session-name = "retire"
source-profile = "hub"
tags = ["prod"]

[[target]]
name = "dev"
region = "us-east-1"
profile = "dev"
quota-share = 1.0
max-things = 10
"""
ACCOUNTS = """accounts:
- account_id: '123123123123'
  name: account one
  regions: [us-east-1, us-west-2]
  role: arn:aws:iam::123123123123:role/Custodian
  external_id: abc
  vars: {charge: xyz}
  tags: [type:prod]
- account_id: '123123123124'
  name: two
  regions: [us-east-1]
  profile: two
"""


def write(tmp_path: Path, text: str, name: str = "targets.toml") -> Path:
    """A targets file."""
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_load_targets_own_values_override_the_defaults(tmp_path: Path) -> None:
    """Each target has its settings, those of [defaults], and those of the command line in front."""
    prod, dev = load_targets(write(tmp_path, TWO))
    settings = prod.settings({"quota": 30.0, "profile": "other"}, {"rate": 5.0})
    assert (settings.quota_share, settings.quota, settings.rate, settings.expect_account) == (0.5, 30, 5, prod.account)
    assert (settings.role_arn, settings.external_id) == ("arn:aws:iam::111122223333:role/remove", "x-1")
    assert (settings.role_session_name, settings.profile, settings.region) == ("retire", "hub", "eu-west-1")
    settings = dev.settings({}, {})
    assert (settings.quota_share, settings.max_things, settings.expect_account) == (1.0, 10, None)


def test_load_targets_selects_by_tag(tmp_path: Path) -> None:
    """Only targets with all of the tags; a tag that no target has is an error that names the known ones."""
    path = write(tmp_path, TWO)
    assert [target.name for target in load_targets(path, ["prod"])] == ["prod-eu"]
    with pytest.raises(UsageError, match="known tags: prod"):
        load_targets(path, ["test"])


def test_load_targets_reads_an_accounts_file(tmp_path: Path) -> None:
    """An account of c7n-org is a target for each of its Regions."""
    first, second, third = load_targets(write(tmp_path, ACCOUNTS, "accounts.yml"))
    assert [first.name, second.name, third.name] == ["account-one-us-east-1", "account-one-us-west-2", "two-us-east-1"]
    assert (second.account, second.region, second.tags) == ("123123123123", "us-west-2", frozenset({"type:prod"}))
    assert second.settings({}, {}).role_arn == "arn:aws:iam::123123123123:role/Custodian"
    assert third.settings({}, {}).profile == "two"


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("quota = 1\n", 1, "unknown key 'quota'"),
        ('[[target]]\nname = "a"\n', 2, "needs 'region'"),
        ('[[target]]\nname = "a/b"\nregion = "r"\n', 2, "invalid name"),
        ('[[target]]\nname = "a"\nregion = "r"\naccount = 12\n', 4, "12 digits in quotes"),
        ('[[target]]\nname = "a"\nregion = "r"\n\njurnal = "x"\n', 5, "no key 'jurnal'"),
        ('[[target]]\nname = "a"\nregion = "r"\njournal = "x"\n', 4, "no key 'journal'"),
        ('[[target]]\nname = "a"\nregion = "r"\nexternal-id = "x"\n', 4, "goes with role-arn"),
        ('[[target]]\nname = "a"\nregion = "r"\nquota = -1\n', 2, "greater than 0"),
        ('[[target]]\nname = "a"\nregion = "r"\n[[target]]\nname = "A"\nregion = "s"\n', 5, "is already at"),
        ('[[target]]\nname = "a"\nregion = "r"\n[[target]]\nname = "b"\nregion = "r"\n', 5, "one quota"),
        ('[defaults]\nname = "a"\n[[target]]\nregion = "r"\n', 2, "belongs to a"),
    ],
)
def test_load_targets_error_names_file_and_line(tmp_path: Path, text: str, line: int, message: str) -> None:
    """What is wrong, in which line."""
    path = write(tmp_path, text)
    with pytest.raises(SettingsError, match=message) as caught:
        load_targets(path)
    assert str(caught.value).startswith(f"{path}:{line}: ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("accounts: [\n", "invalid YAML"),
        ("accounts: []\n", "no accounts"),
        ("- a\n", "no accounts"),
        ("accounts:\n- {account_id: '123123123123', name: a, regions: [all]}\n", ":2: list the Regions"),
        ("accounts:\n- {account_id: '123123123123', name: a, regions: [r], role: [a, b]}\n", ":2: a chain"),
    ],
)
def test_load_targets_refuses_an_invalid_accounts_file(tmp_path: Path, text: str, message: str) -> None:
    """The message has the line of the account."""
    with pytest.raises(SettingsError, match=message):
        load_targets(write(tmp_path, text, "accounts.yaml"))
