"""Tests of asyncgg.notify.message and asyncgg.notify.targets."""

from __future__ import annotations

import json

import pytest

from asyncgg.errors import UsageError
from asyncgg.models import Operation, RunState, Summary
from asyncgg.notify import (
    Message,
    NotificationEvent,
    SnsTopic,
    Webhook,
    event_for_state,
    format_text,
    parse_target,
    resolve_headers,
)

ARN = "arn:aws:sns:eu-central-1:123456789012:fleet"
SECRET = "https://user:pw@hooks.example:8443/services/T0/B0/secret?key=secret"


def test_to_json_has_all_fields() -> None:
    """The JSON object has schema, event, text, summary, host and policy."""
    message = Message(NotificationEvent.END, "done", {"schema": "asyncgg.summary/1"}, host="box", policy="nightly")
    assert json.loads(message.to_json()) == {
        "schema": "asyncgg.notification/1",
        "event": "end",
        "text": "done",
        "summary": {"schema": "asyncgg.summary/1"},
        "host": "box",
        "policy": "nightly",
    }


def test_to_json_with_invalid_utf8_replaces_bytes() -> None:
    """A file name that is not UTF-8 does not prevent the notification."""
    message = Message(NotificationEvent.END, "käse; journal odd\udcff.journal", {"journal": "odd\udcff.journal"})
    assert json.loads(message.to_json().encode())["text"] == "käse; journal odd?.journal"


@pytest.mark.parametrize(
    ("state", "is_auth_error", "event"),
    [
        (RunState.COMPLETE, False, NotificationEvent.END),
        (RunState.PARTIAL, False, NotificationEvent.END),
        (RunState.DEADLINE, False, NotificationEvent.END),
        (RunState.ABORTED, False, NotificationEvent.GUARD),
        (RunState.ABORTED, True, NotificationEvent.FAILURE),
        (RunState.INTERRUPTED, False, NotificationEvent.FAILURE),
        (RunState.RUNNING, False, NotificationEvent.FAILURE),
        (RunState.PLANNED, False, NotificationEvent.FAILURE),
    ],
)
def test_event_for_state(state: RunState, is_auth_error: bool, event: NotificationEvent) -> None:
    """Every state of a run maps to one of the three events."""
    assert event_for_state(state, is_auth_error=is_auth_error) is event


def test_format_text_has_state_reason_counts_and_journal() -> None:
    """One line contains the policy or operation, state, reason, counts and journal."""
    summary = Summary("r", "j", RunState.ABORTED, 2_000, 1_200, 10, 790)
    assert format_text(summary, reason="too many\nfailures", policy="nightly") == (
        "asyncgg nightly: aborted (too many failures): 1,200 of 2,000 things disassociated, 10 failed, 790 pending;"
        " journal j"
    )
    undo = Summary("r", "j", RunState.COMPLETE, 2, 2, 0, 0, operation=Operation.ASSOCIATE)
    assert format_text(undo) == "asyncgg associate: complete: 2 of 2 things associated, 0 failed; journal j"


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
        ("ftp://secret.example", "invalid target"),
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
