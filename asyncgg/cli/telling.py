"""Rule: telling those named by `--notify` how a command ended; whatever comes of that, the exit code stays."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from asyncgg.cli.output import Output
from asyncgg.cli.running import run_loop
from asyncgg.engine import RunResult
from asyncgg.errors import AsyncggError, GuardError
from asyncgg.model import Summary
from asyncgg.notify import Message, NotificationEvent, event_for_state, format_text, notify, parse_target
from asyncgg.report import summary_to_dict
from asyncgg.runs import exit_code
from asyncgg.runs.execute import connection_from_settings
from asyncgg.settings import Settings

__all__ = ["Telling"]


class Telling:
    """A block around a command: when it is left, the targets `wanted` are told what `ended` was given, or the error.

    Nobody is told of a dry run, or of an interruption before the first request. Raises `UsageError` at once for what is
    no target.
    """

    def __init__(self, wanted: Sequence[str], settings: Settings, output: Output) -> None:
        self._targets = [parse_target(text) for text in wanted]
        self._settings = settings
        self._output = output
        self._message: Message | None = None

    def __enter__(self) -> Self:
        return self

    def ended(self, result: RunResult, summary: Summary) -> tuple[RunResult, Summary]:
        """Note how the run ended; gives it back."""
        if self._targets:
            document = summary_to_dict(
                replace(summary, state=result.state), exit_code=exit_code(result), reason=result.reason
            )
            occasion = event_for_state(result.state, is_auth_error=result.is_auth_error)
            text = format_text(replace(summary, state=result.state), reason=result.reason)
            self._message = _message(occasion, text, document)
        return result, summary

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._targets and isinstance(error, Exception):
            occasion = NotificationEvent.GUARD if isinstance(error, GuardError) else NotificationEvent.FAILURE
            self._message = _message(occasion, f"asyncgg: {_words(error)}", {"exit": getattr(error, "exit_code", 1)})
        if self._message is None:
            return
        try:
            faults = run_loop(notify(self._targets, self._message, connection=connection_from_settings(self._settings)))
        except KeyboardInterrupt:
            faults = ["interrupted while telling"]
        for fault in faults:
            self._output.tell({"event": "not-told", "reason": fault}, fault)


def _words(error: Exception) -> str:
    """One line; of what is not ours only the kind, for nobody knows what else its words hold."""
    if isinstance(error, AsyncggError):
        return str(error).split("\n", 1)[0]
    return f"the system reports: {error.strerror}" if isinstance(error, OSError) else f"a fault: {type(error).__name__}"


def _message(occasion: NotificationEvent, text: str, document: dict[str, Any]) -> Message:
    return Message(occasion, text, document, socket.gethostname())
