"""Verifies a campaign: lists the cores of all of its runs side by side."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from asyncgg.cli.campaign import campaign_context
from asyncgg.cli.fleet_targets import overrides_by_lane, run_group, targets_to_dict, write_targets
from asyncgg.cli.options import extract_settings
from asyncgg.cli.signals import raise_on_signal
from asyncgg.errors import UsageError
from asyncgg.fleet.campaign import Campaign
from asyncgg.fleet.folder import new_folder
from asyncgg.fleet.group import TargetResult
from asyncgg.fleet.verify import LaneVerification, format_verifications, merge_mismatches
from asyncgg.runs import Verification
from asyncgg.runs.verify_report import verification_to_dict
from asyncgg.settings import METRICS_SETTINGS

SCHEMA: Final = "asyncgg.campaign-verify/1"


def verify_campaign(
    folder: Path, arguments: Mapping[str, Any], *, wait: float, failures: Path | None, out: Path | None
) -> int:
    """Verify the runs of all lanes side by side, and return the exit code.

    `failures`: a CSV for the mismatches of all targets. `out`: a folder for the listings. Raises
    KeyboardInterrupt after a second signal, and `UsageError` for metrics.
    """
    if wrong := sorted(METRICS_SETTINGS & extract_settings(arguments).keys()):
        raise UsageError(
            f"--{wrong[0].replace('_', '-')} is not available to verify a campaign; give the journal of one target"
        )
    console = campaign_context(arguments).console
    with ExitStack() as stack:
        stack.enter_context(raise_on_signal())
        campaign = stack.enter_context(Campaign.load(folder).with_journals())
        if out is not None:
            stack.enter_context(new_folder(out))
        parts = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="asyncgg-verify-")))
        overrides = overrides_by_lane(campaign, arguments)
        lanes = {lane.name: lane for lane in campaign.lanes if lane.name in overrides}
        verification = LaneVerification(
            lanes=lanes, overrides=overrides, wait=wait, out=out, failures=parts if failures is not None else None
        )
        results = run_group(lanes, verification.run, console, abort_message="aborted by a second signal")
        document = targets_to_dict(SCHEMA, campaign.lanes, results, _verification_details)
        lines = format_verifications(results)
        if failures is not None:
            count = merge_mismatches(failures, parts, lanes)
            lines.append(f"{failures}: {count:,} differences")
    return write_targets(console, document, lines)


def _verification_details(result: TargetResult[Verification]) -> dict[str, Any]:
    return verification_to_dict(result.value) if result.value else {}
