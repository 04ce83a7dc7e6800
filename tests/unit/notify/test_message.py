"""Rule: what is told, and to whom, without any network."""

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


def test_the_object() -> None:
    """The JSON object has its schema, the event, one line of text, the summary, the host and the policy."""
    message = Message(NotificationEvent.END, "done", {"schema": "asyncgg.summary/1"}, host="box", policy="nightly")
    assert json.loads(message.to_json()) == {
        "schema": "asyncgg.notification/1",
        "event": "end",
        "text": "done",
        "summary": {"schema": "asyncgg.summary/1"},
        "host": "box",
        "policy": "nightly",
    }


def test_bytes_that_are_no_text() -> None:
    """A journal whose name is no UTF-8 is no reason not to tell."""
    message = Message(NotificationEvent.END, "käse; journal odd\udcff.journal", {"journal": "odd\udcff.journal"})
    assert json.loads(message.to_json().encode())["text"] == "käse; journal odd?.journal"


@pytest.mark.parametrize(
    ("state", "credentials", "occasion"),
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
def test_occasions(state: RunState, credentials: bool, occasion: NotificationEvent) -> None:
    """Every way a run can stand is one of the three occasions."""
    assert event_for_state(state, is_auth_error=credentials) is occasion


def test_the_line() -> None:
    """One line says which run, how it ended and why, its figures and its journal."""
    summary = Summary("r", "j", RunState.ABORTED, 2_000, 1_200, 10, 790)
    assert format_text(summary, reason="too many\nfailures", policy="nightly") == (
        "asyncgg nightly: aborted (too many failures): 1,200 of 2,000 things disassociated, 10 failed, 790 pending;"
        " journal j"
    )
    undo = Summary("r", "j", RunState.COMPLETE, 2, 2, 0, 0, operation=Operation.ASSOCIATE)
    assert format_text(undo) == "asyncgg associate: complete: 2 of 2 things associated, 0 failed; journal j"


def test_targets() -> None:
    """An ARN is a topic in its Region, a URL a webhook, and a variable may hold the URL."""
    assert parse_target(ARN) == SnsTopic(ARN)
    assert SnsTopic(ARN).region == "eu-central-1"
    assert parse_target("https://h.example/x") == Webhook("https://h.example/x")
    assert parse_target("env:HOOK", environment={"HOOK": SECRET}) == Webhook(SECRET)


def test_secrets_are_not_shown() -> None:
    """Neither the text nor the repr of a webhook holds more of its URL than scheme and host, or a header's value."""
    target = Webhook(SECRET, {"Authorization": "Bearer secret"})
    assert target.display_name == "webhook https://hooks.example:8443"
    assert "secret" not in repr(target)
    assert "pw" not in repr(target)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("arn:aws:sns:eu-central-1:12:fleet", "no SNS topic's ARN"),
        ("arn:aws:sqs:eu-central-1:123456789012:fleet", "no SNS topic's ARN"),
        ("env:HOOK", "the environment variable HOOK is not set"),
        ("env:1", "env:NAME"),
        ("ftp://secret.example", "no target"),
        ("https://", "no target"),
        ("https://h:secret", "no target"),
        ("https://h.example/a secret", "no target"),
        ("secret", "no target"),
        ("", "no target"),
    ],
)
def test_targets_that_are_none(text: str, words: str) -> None:
    """What is no target is refused on one line that does not repeat it, since it may hold a secret."""
    with pytest.raises(UsageError) as caught:
        parse_target(text, environment={})
    assert words in str(caught.value)
    assert "secret" not in str(caught.value).replace("may hold a secret", "").replace("a secret is written", "")
    assert "\n" not in str(caught.value)


def test_headers_come_from_variables() -> None:
    """A header's value is in the variable it names; one that cannot be sent is refused without its value."""
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
