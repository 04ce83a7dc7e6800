"""Rule: what is told lives here: the occasion, one line for people, one object for programs; pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from asyncgg.models import RunState, Summary

__all__ = ["SCHEMA", "Message", "NotificationEvent", "event_for_state", "format_text"]

SCHEMA: Final = "asyncgg.notification/1"


class NotificationEvent(StrEnum):
    """Why somebody is told; the values are part of the JSON object's contract."""

    END = "end"
    """The run came to its end, or to its deadline, whatever failed in it."""
    FAILURE = "failure"
    """It broke off: credentials, an error, an interruption."""
    GUARD = "guard"
    """A guard stopped it, or kept it from beginning."""

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class Message:
    """One notification."""

    event: NotificationEvent
    text: str
    """One line for a person."""
    summary: Mapping[str, Any] = field(default_factory=dict)
    """The JSON summary of the run; empty when it never began."""
    host: str = ""
    policy: str | None = None
    """The name of the clean-up policy, None for a run without one."""

    def to_dict(self) -> dict[str, Any]:
        """The message as `asyncgg.notification/1`."""
        return {
            "schema": SCHEMA,
            "event": self.event.value,
            "text": self.text,
            "summary": dict(self.summary),
            "host": self.host,
            "policy": self.policy,
        }

    def to_json(self) -> str:
        """The document as JSON that is UTF-8 in any case; a journal's name may hold bytes that are not."""
        return json.dumps(self.to_dict(), ensure_ascii=False).encode("utf-8", "replace").decode()


def event_for_state(state: RunState, *, is_auth_error: bool = False) -> NotificationEvent:
    """What kind of end `state` is; `credentials`: whether credentials or permissions brought it."""
    if is_auth_error or state in {RunState.INTERRUPTED, RunState.RUNNING, RunState.PLANNED}:
        return NotificationEvent.FAILURE
    return NotificationEvent.GUARD if state is RunState.ABORTED else NotificationEvent.END


def format_text(summary: Summary, *, reason: str = "", policy: str | None = None) -> str:
    """How a run ended, in one line."""
    progress = f"{summary.disassociated:,} of {summary.total:,} things {summary.operation.past_participle}"
    counts = [progress, f"{summary.failed:,} failed"] + ([f"{summary.pending:,} pending"] if summary.pending else [])
    reason_suffix = f" ({' '.join(reason.split())})" if reason else ""
    return f"asyncgg {policy or summary.operation}: {summary.state}{reason_suffix}: {', '.join(counts)}; journal {summary.journal}"
