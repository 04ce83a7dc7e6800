"""Rule: what is told lives here: the occasion, one line for people, one object for programs; pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from asyncgg.model import RunState, Summary

__all__ = ["SCHEMA", "Message", "Occasion", "occasion_of", "text_of"]

SCHEMA: Final = "asyncgg.notification/1"


class Occasion(StrEnum):
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

    occasion: Occasion
    text: str
    """One line for a person."""
    summary: Mapping[str, Any] = field(default_factory=dict)
    """The JSON summary of the run; empty when it never began."""
    host: str = ""
    policy: str | None = None
    """The name of the clean-up policy, None for a run without one."""

    def document(self) -> dict[str, Any]:
        """The message as `asyncgg.notification/1`."""
        return {
            "schema": SCHEMA,
            "event": self.occasion.value,
            "text": self.text,
            "summary": dict(self.summary),
            "host": self.host,
            "policy": self.policy,
        }

    def body(self) -> str:
        """The document as JSON that is UTF-8 in any case; a journal's name may hold bytes that are not."""
        return json.dumps(self.document(), ensure_ascii=False).encode("utf-8", "replace").decode()


def occasion_of(state: RunState, *, credentials: bool = False) -> Occasion:
    """What kind of end `state` is; `credentials`: whether credentials or permissions brought it."""
    if credentials or state in {RunState.INTERRUPTED, RunState.RUNNING, RunState.PLANNED}:
        return Occasion.FAILURE
    return Occasion.GUARD if state is RunState.ABORTED else Occasion.END


def text_of(summary: Summary, *, reason: str = "", policy: str | None = None) -> str:
    """How a run ended, in one line."""
    done = f"{summary.disassociated:,} of {summary.total:,} things {summary.operation.past_participle}"
    counts = [done, f"{summary.failed:,} failed"] + ([f"{summary.pending:,} pending"] if summary.pending else [])
    why = f" ({' '.join(reason.split())})" if reason else ""
    return (
        f"asyncgg {policy or summary.operation}: {summary.state}{why}: {', '.join(counts)}; journal {summary.journal}"
    )
