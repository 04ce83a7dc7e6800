"""Rule: telling those named by `--notify` how a command ended; whatever comes of that, the exit code stays."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from asyncgg.cli.console import Console
from asyncgg.cli.supervisor import run_async
from asyncgg.engine import RunResult
from asyncgg.errors import AsyncggError, GuardError
from asyncgg.models import Summary
from asyncgg.notify import Message, NotificationEvent, event_for_state, format_text, notify, parse_target
from asyncgg.report import summary_to_dict
from asyncgg.runs import exit_code
from asyncgg.runs.execute import connection_from_settings
from asyncgg.settings import Settings

__all__ = ["NotifyOnExit"]


class NotifyOnExit:
    """A block around a command: when it is left, the targets `wanted` are told what `ended` was given, or the error.

    Nobody is told of a dry run, or of an interruption before the first request. Raises `UsageError` at once for what is
    no target.
    """

    def __init__(self, specs: Sequence[str], settings: Settings, console: Console) -> None:
        self._targets = [parse_target(spec) for spec in specs]
        self._settings = settings
        self._console = console
        self._message: Message | None = None

    def __enter__(self) -> Self:
        return self

    def record_result(self, result: RunResult, summary: Summary) -> tuple[RunResult, Summary]:
        """Note how the run ended; gives it back."""
        if self._targets:
            document = summary_to_dict(
                replace(summary, state=result.state), exit_code=exit_code(result), reason=result.reason
            )
            event = event_for_state(result.state, is_auth_error=result.is_auth_error)
            text = format_text(replace(summary, state=result.state), reason=result.reason)
            self._message = _build_message(event, text, document)
        return result, summary

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._targets and isinstance(error, Exception):
            event = NotificationEvent.GUARD if isinstance(error, GuardError) else NotificationEvent.FAILURE
            self._message = _build_message(
                event, f"asyncgg: {_describe_error(error)}", {"exit": getattr(error, "exit_code", 1)}
            )
        if self._message is None:
            return
        try:
            delivery_errors = run_async(
                notify(self._targets, self._message, connection=connection_from_settings(self._settings))
            )
        except KeyboardInterrupt:
            delivery_errors = ["interrupted while telling"]
        for delivery_error in delivery_errors:
            self._console.log_event({"event": "not-told", "reason": delivery_error}, delivery_error)


def _describe_error(error: Exception) -> str:
    """One line; of what is not ours only the kind, for nobody knows what else its words hold."""
    if isinstance(error, AsyncggError):
        return str(error).split("\n", 1)[0]
    return f"the system reports: {error.strerror}" if isinstance(error, OSError) else f"a fault: {type(error).__name__}"


def _build_message(event: NotificationEvent, text: str, document: dict[str, Any]) -> Message:
    return Message(event, text, document, socket.gethostname())
