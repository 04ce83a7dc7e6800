"""Tests of roles that no profile of the configuration has."""

from __future__ import annotations

from pathlib import Path

import pytest

from asyncgg.errors import UsageError
from asyncgg.transport.role import AssumedRole
from asyncgg.transport.session import new_session

ARN = "arn:aws:iam::111122223333:role/remove"


@pytest.fixture(autouse=True)
def configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A configuration with one profile."""
    path = tmp_path / "config"
    path.write_text("[profile hub]\nregion = eu-west-1\naws_access_key_id = A\naws_secret_access_key = B\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(path))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID"):
        monkeypatch.delenv(name, raising=False)


def test_role_has_the_source_profile_without_its_keys() -> None:
    """The session is one of the role, with the Region of the source profile."""
    profile = new_session(AssumedRole(ARN, "x", "s", "hub")).get_scoped_config()
    assert profile == {
        "region": "eu-west-1",
        "role_arn": ARN,
        "role_session_name": "s",
        "source_profile": "hub",
        "external_id": "x",
    }


def test_role_of_the_environment_names_its_credential_source(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys in variables, a container, or the instance."""

    def source() -> str:
        return str(new_session(AssumedRole(ARN, None, "s", None)).get_scoped_config()["credential_source"])

    assert source() == "Ec2InstanceMetadata"
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://localhost")
    assert source() == "EcsContainer"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "A")
    assert source() == "Environment"


def test_role_with_an_unknown_source_profile_is_refused() -> None:
    """The message names the profiles that exist."""
    with pytest.raises(UsageError, match=f"{ARN}: no AWS profile 'hubb'.*known: hub"):
        new_session(AssumedRole(ARN, None, "s", "hubb"))
