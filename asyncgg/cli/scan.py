"""Runs a fleet scan from the command line, and formats its result."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from asyncgg.cli.context import CommandContext
from asyncgg.cli.progress import ProgressDisplay, ProgressView, format_rate, progress_event
from asyncgg.cli.supervisor import Supervision, run_supervised
from asyncgg.engine import StopReason
from asyncgg.formatting import format_count, format_counts, format_duration
from asyncgg.inventory import MAX_SCAN_AGE, FleetScan, ScanProgress, ScanResult
from asyncgg.models import RunState
from asyncgg.runs import verify_account
from asyncgg.runs.scan import scan_with_settings
from asyncgg.transport import CoreFilter, Endpoint


def scan_interactively(
    path: Path,
    context: CommandContext,
    endpoint: Endpoint,
    *,
    filters: CoreFilter | None = None,
    cores: Sequence[str] | None = None,
    max_age: float = MAX_SCAN_AGE,
) -> ScanResult:
    """Scan into the snapshot at `path`, after checking the account.

    Raises as `run_supervised`, `verify_account` and `scan_with_settings`; an aborted scan can be
    resumed.
    """
    display = ProgressDisplay(context.console, view=SCAN_VIEW)

    async def work(supervision: Supervision) -> ScanResult:
        def watch(scan: FleetScan) -> None:
            supervision.stop = lambda reason: scan.stop(StopReason(RunState.INTERRUPTED, reason))
            display.watch(scan)

        account, _ = await verify_account(endpoint, context.settings)
        return await scan_with_settings(
            path,
            context.settings,
            endpoint,
            account=account,
            listeners=[display.listen],
            on_scan=watch,
            filters=filters,
            cores=cores,
            max_age=max_age,
        )

    message = "aborted by a second signal; run the same command again to resume the scan"
    return run_supervised(work, display, abort_message=message)


# --- progress ---


def _fraction(progress: ScanProgress) -> tuple[int, int]:
    return progress.sent, progress.sent + progress.requests_left


def _format_label(progress: ScanProgress) -> str:
    return f"{progress.finished:,}/{progress.cores:,}{'+' if progress.open_ended else ''} cores"


def _format_details(progress: ScanProgress, rate: float) -> list[str]:
    details = [format_count(progress.associations, "association"), format_count(progress.sent, "request")]
    if progress.requests_left:
        details.append(format_rate(progress, rate))
        if progress.open_ended:  # more cores may be listed yet
            details.append(f"at least {format_count(progress.requests_left, 'request')} left")
        else:
            requests = format_count(progress.requests_left, "request")
            details.append(f"about {requests}, {format_duration(progress.seconds_left)} left")
    elif progress.seconds:
        details.append(f"{progress.sent / progress.seconds:.1f} requests/s")
    return details + format_counts((progress.throttled, "throttled"))


def _progress_to_dict(progress: ScanProgress, rate: float) -> dict[str, Any]:
    return progress_event(progress, rate) | {"seconds_left": round(progress.seconds_left, 2)}


SCAN_VIEW: Final = ProgressView(_fraction, _format_label, _format_details, _progress_to_dict)
"""The view of a `ScanProgress`."""


def _format_verify_details(progress: ScanProgress, rate: float) -> list[str]:
    found = f"{format_count(progress.associations, 'client device')} found"
    return [found, *_format_details(progress, rate)[1:]]


VERIFY_VIEW: Final = ProgressView(
    _fraction, lambda progress: f"{_format_label(progress)} listed", _format_verify_details, _progress_to_dict
)
"""The view of the `ScanProgress` of a verification, which compares what it found at the end."""


# --- result ---

_STATE_LABELS: Final = {
    RunState.COMPLETE: "complete: every core is listed",
    RunState.PARTIAL: "partial: some cores could not be listed",
    RunState.ABORTED: "aborted",
    RunState.DEADLINE: "stopped",
    RunState.INTERRUPTED: "interrupted",
}


def format_scan(scan: ScanResult) -> list[str]:
    """The result as lines of text."""
    counts = scan.counts
    reason = f": {scan.reason}" if scan.reason and not scan.finished else ""
    cores = [f"{counts.cores:,} known, {counts.listed:,} listed"]
    cores += format_counts(
        (counts.vanished, "vanished during the scan"),
        (counts.denied, "denied"),
        (counts.failed, "failed"),
        (counts.waiting, "not listed yet"),
    )
    lines = [f"{_STATE_LABELS[scan.state]}{reason}", f"  cores      {', '.join(cores)}"]
    things = [format_count(counts.associations, "association")]
    things += format_counts(
        (counts.duplicates, "listed more than once"), (counts.invalid_names, "invalid names ignored")
    )
    lines.append(f"  things     {', '.join(things)}")
    lines.append(
        f"  requests   {scan.sent:,} sent ({scan.minimum:,} pages), {scan.throttled:,} throttled,"
        f" {scan.retried:,} retried"
    )
    rate = f", {scan.sent / scan.seconds:.1f} requests/s" if scan.seconds >= 1 else ""
    lines.append(f"  time       {format_duration(scan.seconds)}{rate}")
    return lines


def scan_to_dict(scan: ScanResult) -> dict[str, Any]:
    """The result as members of a JSON object."""
    counts = scan.counts
    return {
        "state": scan.state.value,
        "reason": scan.reason,
        "cores": {
            "total": counts.cores,
            "listed": counts.listed,
            "vanished": counts.vanished,
            "denied": counts.denied,
            "failed": counts.failed,
            "waiting": counts.waiting,
        },
        "associations": counts.associations,
        "duplicates": counts.duplicates,
        "invalid_names": counts.invalid_names,
        "failed_share": round(scan.failed_share, 6),
        "requests": {"sent": scan.sent, "minimum": scan.minimum, "throttled": scan.throttled, "retried": scan.retried},
        "seconds": round(scan.seconds, 3),
    }
