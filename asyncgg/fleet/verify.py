"""Verifies all lanes of a campaign."""

from __future__ import annotations

import asyncio
import csv
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from asyncgg.files import atomic_write_text
from asyncgg.fleet.campaign import CampaignLane
from asyncgg.fleet.group import ActiveTargets, TargetResult
from asyncgg.fleet.scan import snapshot_path
from asyncgg.report.verification import MISMATCH_COLUMNS
from asyncgg.runs import Verification
from asyncgg.runs.verifier import load_context, verify_with_context
from asyncgg.runs.verify_report import format_verification


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneVerification:
    """Verifies lanes as `asyncgg.verify` does."""

    lanes: Mapping[str, CampaignLane]
    overrides: Mapping[str, Mapping[str, Any]]
    """Settings that replace those of the journals, by lane."""
    wait: float = 0.0
    out: Path | None = None
    """A folder that keeps the listings as snapshots."""
    failures: Path | None = None
    """A folder for the mismatches of each lane."""

    async def run(self, active: ActiveTargets, name: str) -> TargetResult[Verification]:
        """Verify one lane. Raises as `load_context` and `verify_with_context`."""
        context = await asyncio.to_thread(load_context, self.lanes[name].journal, self.overrides[name])
        account = await active.accounts.verify(
            name, context.target, context.settings, expected_from_journal=context.account
        )
        verification = await verify_with_context(
            context,
            account=account,
            wait=self.wait,
            out=None if self.out is None else snapshot_path(self.out, name),
            failures=None if self.failures is None else mismatches_path(self.failures, name),
            on_start=partial(active.attach, name),
        )
        return TargetResult(name, verification.state.value, verification.exit_code, verification.reason, verification)


def mismatches_path(folder: Path, name: str) -> Path:
    """Where the mismatches of a lane are."""
    return folder / f"{name}.csv"


def merge_mismatches(path: Path, folder: Path, names: Iterable[str]) -> int:
    """Write the mismatches of all lanes with their targets as a manifest of a campaign; returns their number.

    Raises `UsageError`.
    """
    count = 0
    with atomic_write_text(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow((*MISMATCH_COLUMNS, "target"))
        for name in names:
            with suppress(FileNotFoundError), mismatches_path(folder, name).open(newline="", encoding="utf-8") as part:
                rows = csv.reader(part)
                next(rows)
                for row in rows:
                    writer.writerow((*row, name))
                    count += 1
    return count


def format_verifications(results: Sequence[TargetResult[Verification]]) -> list[str]:
    """All verifications as text, with the first lines of each."""
    lines = []
    for result in results:
        text = format_verification(result.value)[:2] if result.value else [f"error: {result.reason}"]
        lines += [f"{result.name}: {text[0]}", *text[1:]]
    return lines
