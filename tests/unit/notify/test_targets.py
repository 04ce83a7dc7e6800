"""Tests of asyncgg.notify.targets."""

from __future__ import annotations

import pytest

from asyncgg.errors import UsageError
from asyncgg.notify import SnsTopic, Webhook, parse_target, resolve_headers

ARN = "arn:aws:sns:eu-central-1:123456789012:fleet"
SECRET = "https://user:pw@hooks.example:8443/services/T0/B0/secret?key=secret"


def test_parse_target_valid_text_returns_target() -> None:
    """An ARN is a topic, a URL is a webhook, and a variable can contain the URL."""
    assert parse_target(ARN) == SnsTopic(ARN)
    assert SnsTopic(ARN).region == "eu-central-1"
    assert parse_target("https://h.example/x") == Webhook("https://h.example/x")
    assert parse_target("env:HOOK", environment={"HOOK": SECRET}) == Webhook(SECRET)


def test_webhook_repr_and_display_name_hide_secrets() -> None:
    """The display name shows scheme and host; the repr shows neither URL nor headers."""
    target = Webhook(SECRET, {"Authorization": "Bearer secret"})
    assert target.display_name == "webhook https://hooks.example:8443"
    assert "secret" not in repr(target)
    assert "pw" not in repr(target)


@pytest.mark.parametrize(
    ("text", "message_part"),
    [
        ("arn:aws:sns:eu-central-1:12:fleet", "invalid ARN"),
        ("arn:aws:sqs:eu-central-1:123456789012:fleet", "invalid ARN"),
        ("env:HOOK", "the environment variable HOOK is not set"),
        ("env:1", "env:NAME"),
        ("ftp://secret.example", "Apprise does not accept this ftp:// URL"),
        ("https://", "invalid target"),
        ("https://h:secret", "invalid target"),
        ("https://h.example/a secret", "invalid target"),
        ("secret", "invalid target"),
        ("", "invalid target"),
    ],
)
def test_parse_target_invalid_text_raises_without_secret(text: str, message_part: str) -> None:
    """The message is one line without the text, which can contain a secret."""
    with pytest.raises(UsageError) as caught:
        parse_target(text, environment={})
    assert message_part in str(caught.value)
    assert "secret" not in str(caught.value).replace("may contain a secret", "").replace("a secret must be given", "")
    assert "\n" not in str(caught.value)


def test_resolve_headers_reads_variables_and_hides_values() -> None:
    """Values come from variables; the error for an unusable value does not contain it."""
    named = {"Authorization": "env:TOKEN"}
    assert resolve_headers(named, {"TOKEN": "Bearer x"}) == {"Authorization": "Bearer x"}
    for bad, environment in (
        ({"Authorization": "Bearer secret"}, {}),
        (named, {}),
        (named, {"TOKEN": "secret\r\nHost: x"}),
        ({"A b": "env:TOKEN"}, {"TOKEN": "secret"}),
    ):
        with pytest.raises(UsageError) as caught:
            resolve_headers(bad, environment)
        assert "Bearer" not in str(caught.value)
        assert "Host" not in str(caught.value)
