"""Runs a fleet scan from the command line, formats its result, and manages the files of scans."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from asyncgg.cli.context import CommandContext
from asyncgg.cli.progress import ProgressDisplay, ProgressView, format_rate, progress_event
from asyncgg.cli.supervisor import Supervision, run_supervised
from asyncgg.engine import StopReason
from asyncgg.errors import UsageError
from asyncgg.formatting import format_count, format_duration
from asyncgg.inventory import MAX_SCAN_AGE, FleetScan, ScanProgress, ScanResult, Snapshot
from asyncgg.inventory.schema import FORMAT
from asyncgg.inventory.scope import checkpoint, reopen_failed
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
    if progress.throttled:
        details.append(f"{progress.throttled:,} throttled")
    return details


def _progress_to_dict(progress: ScanProgress, rate: float) -> dict[str, Any]:
    return progress_event(progress, rate) | {"seconds_left": round(progress.seconds_left, 2)}


SCAN_VIEW: Final = ProgressView(_fraction, _format_label, _format_details, _progress_to_dict)
"""The view of a `ScanProgress`."""


# --- result ---

_STATE_LABELS: Final = {
    RunState.COMPLETE: "complete: every core is listed",
    RunState.PARTIAL: "partial: some cores could not be listed",
    RunState.ABORTED: "aborted",
    RunState.DEADLINE: "stopped at the deadline",
    RunState.INTERRUPTED: "interrupted",
}


def format_scan(scan: ScanResult) -> list[str]:
    """The result as lines of text."""
    counts = scan.counts
    reason = f": {scan.reason}" if scan.reason and not scan.finished else ""
    cores = [f"{counts.cores:,} known, {counts.listed:,} listed"]
    for number, label in (
        (counts.vanished, "vanished during the scan"),
        (counts.denied, "denied"),
        (counts.failed, "failed"),
        (counts.waiting, "not listed yet"),
    ):
        if number:
            cores.append(f"{number:,} {label}")
    lines = [f"{_STATE_LABELS[scan.state]}{reason}", f"  cores      {', '.join(cores)}"]
    things = [format_count(counts.associations, "association")]
    if counts.duplicates:
        things.append(f"{counts.duplicates:,} listed more than once")
    if counts.invalid_names:
        things.append(f"{counts.invalid_names:,} invalid names ignored")
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


# --- files of `asyncgg inventory` ---


@contextmanager
def working_snapshot(out: Path, *, replace: bool, is_export: bool, max_age: float) -> Generator[Path, None, None]:
    """The snapshot to scan into for `out`, locked until the block ends.

    A replacement or an export is scanned into a file next to `out`; a scan left there is resumed
    unless it is older than `max_age` seconds. Raises `UsageError` if `out` may not be replaced.
    """
    path = _working_path(out, replace=replace, is_export=is_export)
    if path == out:
        yield path  # the scan locks it
        return
    with FORMAT.lock(out):
        _reuse_or_discard(path, max_age)
        yield path


def promote(path: Path, out: Path, *, is_export: bool) -> None:
    """Move the complete snapshot `path` to `out`, or delete it after an export.

    Raises `SnapshotError` if another program has one of the two open, `UsageError` if the move
    fails; running the command again repeats it.
    """
    try:
        if is_export:
            path.unlink()
        elif path != out:
            for file in (path, out):
                checkpoint(file)
            path.replace(out)
    except OSError as error:
        raise UsageError(f"{out}: cannot be replaced by {path}: {error.strerror}") from None


def _working_path(out: Path, *, replace: bool, is_export: bool) -> Path:
    if is_export:
        if out.is_file() and not replace:
            raise UsageError(f"{out} already exists; pass --replace, or choose another --out")
        return out.with_name(f"{out.name}.scan")
    if not out.is_file() or not out.stat().st_size:
        return out
    with Snapshot(out) as snapshot:  # raises if this is not a snapshot: other files are never replaced
        finished = snapshot.finished
    if finished and not replace:
        raise UsageError(f"{out} already contains a complete scan; choose another file or pass --replace")
    return out.with_name(f"{out.name}.new") if finished else out


def _reuse_or_discard(path: Path, max_age: float) -> None:
    """Reopen the complete snapshot `path` to scan failed cores again; delete an old one."""
    if not path.is_file() or not path.stat().st_size:
        return
    with Snapshot(path) as snapshot:
        finished, age = snapshot.finished, time.time() - snapshot.started_at
    if finished and age <= max_age:
        reopen_failed(path)
    elif finished:
        path.unlink()
