"""Tests of asyncgg.notify.message."""

from __future__ import annotations

import json

import pytest

from asyncgg.models import Operation, RunState, Summary
from asyncgg.notify import Message, NotificationEvent, event_for_state, format_text


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
