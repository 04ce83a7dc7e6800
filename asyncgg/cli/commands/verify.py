"""The `asyncgg verify` command."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asyncgg.cli import options
from asyncgg.cli.context import CommandContext
from asyncgg.fleet.folder import is_campaign
from asyncgg.report.verification import require_csv_suffix

if TYPE_CHECKING:
    from asyncgg.cli.supervisor import Supervision
    from asyncgg.runs.verifier import Verifier
    from asyncgg.runs.verify_report import Verification

_EPILOG = """
\b
Examples:
  asyncgg verify RUN.journal
  asyncgg verify RUN.journal --wait 2m --failures left.csv
  asyncgg verify RUN.journal --out after.db --json
  asyncgg verify CAMPAIGN --failures left.csv
  asyncgg verify --state s3://bucket/runs

Things that failed or were not sent are reported, but do not fail the verification. The result is kept in
JOURNAL.verified.json or in the state, and `report` shows it.

\b
Exit codes: 0 the service agrees with the journal, 3 it does not,
4 some cores could not be listed.
"""


@options.make_command(
    options.JOURNAL_OR_STATE,
    options.VERIFY,
    options.CONNECTION,
    options.READ_LIMITS,
    options.WORK_STATE,
    options.RUN_OUTPUT,
    epilog=_EPILOG,
)
def command(
    journal: Path | None,
    *,
    run: str | None,
    wait: float | None,
    failures: Path | None,
    out: Path | None,
    **arguments: Any,
) -> int:
    """List the client devices of all cores of a run and compare them with its journal.

    Settings, account, Region and endpoint are those of the run unless an option overrides them.
    """
    from asyncgg.cli.progress import ProgressDisplay
    from asyncgg.cli.scan import VERIFY_VIEW
    from asyncgg.cli.signals import raise_on_signal
    from asyncgg.cli.state import open_journal
    from asyncgg.cli.supervisor import run_supervised
    from asyncgg.engine import StopReason
    from asyncgg.models import RunState
    from asyncgg.runs import verify_account
    from asyncgg.runs.verifier import load_context, verify_with_context
    from asyncgg.runs.verify_report import format_verification, verification_to_dict

    if failures is not None:
        require_csv_suffix(failures)

    async def work(supervision: Supervision) -> Verification:
        def watch(verifier: Verifier) -> None:
            supervision.stop = lambda reason: verifier.stop(StopReason(RunState.INTERRUPTED, reason))
            if opened.state is not None:
                schedule = asyncio.get_running_loop().call_soon_threadsafe
                opened.state.when_lost(lambda reason: schedule(verifier.stop, StopReason(RunState.ABORTED, reason)))

        account, _ = await verify_account(loaded.target, context.settings, expected_from_journal=loaded.account)
        return await verify_with_context(
            loaded,
            account=account,
            on_start=watch,
            listeners=[display.listen],
            on_scan=display.watch,
            wait=wait or 0.0,
            failures=failures,
            out=out,
        )

    if journal is not None and is_campaign(journal):
        from asyncgg.cli.campaign_verify import verify_campaign

        return verify_campaign(journal, arguments, wait=wait or 0.0, failures=failures, out=out)
    with raise_on_signal(), open_journal(journal, run, arguments, lease=True) as opened:
        loaded = load_context(opened.path, options.extract_settings(arguments))
        loaded = replace(loaded, journal_name=opened.name)
        context = CommandContext.create(loaded.settings, arguments)
        display = ProgressDisplay(context.console, view=VERIFY_VIEW)
        verification = run_supervised(work, display)
    lines = format_verification(verification)
    if failures is not None:
        lines.append(f"  failures   {failures}")
    context.console.write_result(verification_to_dict(verification), lines, always_print=True)
    return verification.exit_code
