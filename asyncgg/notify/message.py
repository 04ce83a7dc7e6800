"""The content of a notification: event, text and JSON object."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Final

from asyncgg.formatting import format_counts
from asyncgg.models import RunState, Summary

SCHEMA: Final = "asyncgg.notification/1"


class NotificationEvent(StrEnum):
    """The reason for a notification; the values are part of the JSON contract."""

    END = "end"
    """The run ended or reached its deadline, with or without failed things."""
    FAILURE = "failure"
    """The run stopped for credentials, an error or an interruption."""
    GUARD = "guard"
    """A guard stopped the run or prevented its start."""


@dataclass(frozen=True, slots=True)
class Message:
    """One notification."""

    event: NotificationEvent
    text: str
    """One line for people."""
    summary: Mapping[str, Any] = field(default_factory=dict)
    """The JSON summary of the run; empty if it never started."""
    host: str = ""
    policy: str | None = None
    """The name of the clean-up policy, if any."""

    def to_dict(self) -> dict[str, Any]:
        """Convert to an object of the schema `asyncgg.notification/1`."""
        return {"schema": SCHEMA, **asdict(self)}

    def to_json(self) -> str:
        """Convert to JSON in valid UTF-8; the file name of a journal can contain other bytes."""
        return json.dumps(self.to_dict(), ensure_ascii=False).encode("utf-8", "replace").decode()


def event_for_state(state: RunState, *, is_auth_error: bool = False) -> NotificationEvent:
    """Get the event for `state`; `is_auth_error`: credentials or permissions ended the run."""
    if is_auth_error or state in {RunState.INTERRUPTED, RunState.RUNNING, RunState.PLANNED}:
        return NotificationEvent.FAILURE
    return NotificationEvent.GUARD if state is RunState.ABORTED else NotificationEvent.END


def format_text(summary: Summary, *, reason: str = "", policy: str | None = None) -> str:
    """Describe the end of a run in one line."""
    progress = f"{summary.disassociated:,} of {summary.total:,} things {summary.operation.past_participle}"
    counts = [progress, *format_counts((summary.already, "already")), f"{summary.failed:,} failed"]
    counts += format_counts((summary.pending, "pending"))
    reason_suffix = f" ({' '.join(reason.split())})" if reason else ""
    state = f"{summary.state}{reason_suffix}"
    return f"asyncgg {policy or summary.operation}: {state}: {', '.join(counts)}; journal {summary.journal}"
