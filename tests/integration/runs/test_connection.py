"""Tests of asyncgg.runs.connection: whether an unknown account stops a command."""

from __future__ import annotations

from typing import Any

import pytest

from asyncgg.errors import AsyncggError, CredentialsError, GuardError, ServiceError, UsageError
from asyncgg.runs import verify_account
from asyncgg.settings import build_settings
from asyncgg.transport import CallerIdentity, Endpoint

ACCOUNT = "123456789012"
IDENTITY = CallerIdentity(ACCOUNT, "arn", "https://sts.example")
AT_AWS = Endpoint("eu-west-1", "https://greengrass.example", False, "aws", "aws")
CUSTOM = Endpoint("eu-west-1", "http://127.0.0.1:1", True, "aws", "endpoint_url")
UNREACHABLE = ServiceError("STS failed")
REJECTED = CredentialsError("rejected")
UNUSABLE = UsageError("invalid AWS setting")


@pytest.mark.parametrize(
    ("endpoint", "settings", "required", "failure", "expected"),
    [
        (AT_AWS, {}, True, UNREACHABLE, GuardError),
        (AT_AWS, {"allow_unknown_account": True}, True, UNREACHABLE, None),
        (AT_AWS, {}, False, UNREACHABLE, None),
        (AT_AWS, {"expect_account": ACCOUNT}, True, UNREACHABLE, GuardError),
        (AT_AWS, {"expect_account": ACCOUNT, "allow_unknown_account": True}, True, UNREACHABLE, GuardError),
        (AT_AWS, {"expect_account": ACCOUNT}, False, UNREACHABLE, GuardError),
        (AT_AWS, {}, True, REJECTED, CredentialsError),
        (AT_AWS, {"allow_unknown_account": True}, True, REJECTED, CredentialsError),
        (AT_AWS, {"expect_account": ACCOUNT}, True, REJECTED, CredentialsError),
        (AT_AWS, {}, False, REJECTED, None),
        (CUSTOM, {}, True, UNREACHABLE, None),
        (CUSTOM, {}, True, REJECTED, CredentialsError),
        (CUSTOM, {}, False, REJECTED, None),
        (CUSTOM, {"expect_account": ACCOUNT}, True, UNREACHABLE, GuardError),
        (CUSTOM, {"expect_account": ACCOUNT}, True, REJECTED, CredentialsError),
        (AT_AWS, {"allow_unknown_account": True}, False, UNUSABLE, UsageError),
        (CUSTOM, {"expect_account": ACCOUNT}, True, UNUSABLE, UsageError),
    ],
)
async def test_verify_account_failure(
    monkeypatch: pytest.MonkeyPatch,
    endpoint: Endpoint,
    settings: dict[str, Any],
    required: bool,
    failure: AsyncggError,
    expected: type[AsyncggError] | None,
) -> None:
    """At AWS an unknown account stops a run unless it is allowed; at a custom endpoint it is only reported."""

    async def fail(*_: object, **__: object) -> CallerIdentity:
        raise failure

    monkeypatch.setattr("asyncgg.runs.connection.get_caller_identity", fail)
    call = verify_account(endpoint, build_settings({}, settings), required=required)
    if expected is None:
        assert await call == (None, str(failure))
        return
    with pytest.raises(expected, match=str(failure)) as caught:
        await call
    if expected is GuardError and "expect_account" not in settings:
        assert "--allow-unknown-account" in str(caught.value)


@pytest.mark.parametrize("endpoint", [AT_AWS, CUSTOM])
async def test_verify_account_checks_the_answer_at_every_endpoint(
    monkeypatch: pytest.MonkeyPatch, endpoint: Endpoint
) -> None:
    """The account is asked for and compared, with `allow_unknown_account` too."""

    async def answer(*_: object, **__: object) -> CallerIdentity:
        return IDENTITY

    monkeypatch.setattr("asyncgg.runs.connection.get_caller_identity", answer)
    settings = build_settings({}, {"allow_unknown_account": True})
    assert await verify_account(endpoint, settings) == (IDENTITY, "")
    with pytest.raises(GuardError, match="started in account 999999999999"):
        await verify_account(endpoint, settings, expected_from_journal="999999999999")
    with pytest.raises(GuardError, match="not 999999999999"):
        await verify_account(endpoint, build_settings({}, {"expect_account": "999999999999"}))
