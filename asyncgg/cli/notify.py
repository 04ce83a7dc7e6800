"""Ends a run: notifies the targets of `--notify`, saves its state and writes its summary."""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from asyncgg.cli.context import CommandContext
from asyncgg.cli.supervisor import run_async, write_failed_summary, write_summary
from asyncgg.engine import RunResult
from asyncgg.errors import AsyncggError, CredentialsError, GuardError, StateWriteError
from asyncgg.fleet.results import LaneResult, campaign_state, campaign_to_dict, format_campaign
from asyncgg.journal import write_meta
from asyncgg.models import Summary
from asyncgg.notify import Message, NotificationEvent, event_for_state, format_text, notify, parse_target
from asyncgg.report import summary_to_dict
from asyncgg.runs import exit_code


class NotifyOnExit(AbstractContextManager["NotifyOnExit"]):
    """A context manager that notifies targets of the recorded result or the raised error.

    Dry runs and interruptions before the first request are not notified. A failed notification
    is logged and changes no exit code. Raises `UsageError` for an invalid target.
    """

    def __init__(self, specs: Sequence[str], context: CommandContext) -> None:
        self._targets = [parse_target(spec) for spec in specs]
        self._context = context
        self._message: Message | None = None
        self._journal: Path | None = None
        self._delivered = False

    def record_result(
        self, result: RunResult, summary: Summary, journal: Path | None = None
    ) -> tuple[RunResult, Summary]:
        """Record how the run ended; returns result and summary.

        `journal`: that of a saved run, which its summary names as the state does.
        """
        if self._targets and not self._delivered:
            self._journal = journal or Path(summary.journal)
            final = replace(summary, state=result.state)
            document = summary_to_dict(final, exit_code=exit_code(result), reason=result.reason)
            event = event_for_state(result.state, is_auth_error=result.is_auth_error)
            self._message = _build_message(event, format_text(final, reason=result.reason), document)
        return result, summary

    def record_campaign(self, folder: Path, results: Sequence[LaneResult]) -> None:
        """Record how a campaign ended."""
        document, first_line = campaign_to_dict(folder, results), format_campaign(folder, results)[0]
        event = event_for_state(campaign_state(results), is_auth_error=document["exit"] == CredentialsError.exit_code)
        self._message = _build_message(event, f"asyncgg campaign {folder}: {first_line}", document)

    def __exit__(self, _: object, error: BaseException | None, trace: object) -> None:
        if self._targets and isinstance(error, Exception):
            event = NotificationEvent.GUARD if isinstance(error, GuardError) else NotificationEvent.FAILURE
            self._message = _build_message(
                event, f"asyncgg: {_describe_error(error)}", {"exit": getattr(error, "exit_code", 1)}
            )
        self.deliver()

    def deliver(self) -> None:
        """Notify the targets now, while the journal can still be written, instead of at the exit."""
        if self._message is None:
            return
        message, self._message, self._delivered = self._message, None, True
        try:
            delivery_errors = run_async(notify(self._targets, message, connection=self._context.connection))
        except KeyboardInterrupt:
            delivery_errors = ["notification interrupted"]
        if delivery_errors and self._journal is not None and self._journal.is_file():
            with suppress(AsyncggError):  # the messages are on standard error
                run_async(write_meta(self._journal, lost_notifications=json.dumps(delivery_errors)))
        for delivery_error in delivery_errors:
            self._context.console.log_event({"event": "notify-failed", "reason": delivery_error}, delivery_error)


def finish_run(
    outcome: tuple[RunResult, Summary], journal: Path, saved: ExitStack, context: CommandContext, notifier: NotifyOnExit
) -> int:
    """Write the summary of a run and return the exit code; closing `saved` saves its state, if it has one.

    Notifies before the last save, so that a lost notification is in the saved journal.
    """
    if context.state is not None:
        notifier.record_result(*outcome, journal)
        notifier.deliver()
    try:
        saved.close()
    except StateWriteError as error:
        write_failed_summary(context.console, outcome[1], error)
        raise
    return write_summary(context.console, *notifier.record_result(*outcome))


def _describe_error(error: Exception) -> str:
    """One line. Of an unexpected exception only the type: its message may hold secrets."""
    if isinstance(error, AsyncggError):
        return str(error).split("\n", 1)[0]
    if isinstance(error, OSError):
        return f"system error: {error.strerror}"
    return f"internal error: {type(error).__name__}"


def _build_message(event: NotificationEvent, text: str, document: dict[str, Any]) -> Message:
    return Message(event, text, document, socket.gethostname())
