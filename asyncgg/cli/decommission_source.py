"""Reads which devices to decommission: a list, a finished run, or what a policy selects."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asyncgg.cleanup.select import Disposition
from asyncgg.cli.cleanup_run import dry_run_policy
from asyncgg.cli.context import CommandContext
from asyncgg.errors import GuardError, JournalError, UsageError
from asyncgg.formatting import format_count
from asyncgg.journal import JournalReader, parse_operation
from asyncgg.manifest.name_lists import read_names
from asyncgg.models import Operation, ThingState
from asyncgg.report.undo_marks import read_undo_marks
from asyncgg.runs.lookup import LookupTargets
from asyncgg.transport import Endpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceSource:
    """Where the devices come from, as given on the command line; exactly one of the three."""

    things: str | None = None
    from_run: Path | None = None
    policy: Path | None = None

    @classmethod
    def from_arguments(cls, arguments: Mapping[str, Any]) -> DeviceSource:
        """Raises `UsageError` unless one source is given."""
        given = {name: arguments[name] for name in ("things", "from_run", "policy") if arguments[name] is not None}
        if len(given) != 1:
            problem = "give only one of" if given else "no devices: give"
            raise UsageError(f"{problem} --things FILE, --from-run JOURNAL and --policy FILE")
        return cls(**given)

    @property
    def reads_stdin(self) -> bool:
        """Whether a list is read from standard input."""
        return self.things == "-"

    def read(self, context: CommandContext, connect: Callable[[], tuple[Endpoint, str]]) -> LookupTargets:
        """The devices, each once. `connect` returns endpoint and account.

        Raises `UsageError` for an unusable list or run, `GuardError` for a run in another account, Region or
        endpoint, and what `dry_run_policy` raises.
        """
        if self.from_run is not None:
            names = _things_of_run(self.from_run, *connect(), context)
            source = str(self.from_run)
        elif self.policy is not None:
            names, source = _things_of_policy(self.policy, context), str(self.policy)
        else:
            assert self.things is not None
            names, source = read_names(self.things, "thing", reject_pairs=True), self.things
        if not names:
            raise UsageError(f"{source}: no devices")
        return LookupTargets.from_names("thing", names, source)


def _things_of_run(path: Path, endpoint: Endpoint, account: str, context: CommandContext) -> list[str]:
    """The things that a finished run has disassociated from all of its cores."""
    with JournalReader(path) as reader:
        meta, summary = reader.meta(), reader.summary()
        if parse_operation(meta.get("operation", ""), path) is not Operation.DISASSOCIATE:
            raise UsageError(f"{path}: its run associated things; only what was disassociated can be decommissioned")
        if reader.is_running() or summary.pending:
            raise JournalError(f"{path}: its run is not finished; resume it first")
        if read_undo_marks(reader):
            raise UsageError(f"{path}: its run was undone, at least in part; give a list of the devices with --things")
        expected = {"account": account, "region": endpoint.region, "endpoint": endpoint.url}
        for name, value in expected.items():
            if meta.get(name) and value and meta[name] != value:
                raise GuardError(f"{path}: its run is of {name} {meta[name]}, not {value}; nothing was sent")
        failed = {row.thing for row in reader.outcomes(ThingState.FAILED)}
        names = dict.fromkeys(row.thing for row in reader.outcomes(ThingState.DISASSOCIATED, ThingState.ALREADY))
    if failed and not context.console.quiet:
        text = f"{path}: {format_count(len(failed), 'thing')} with failures left out"
        context.console.log_event({"event": "left-out", "things": len(failed)}, text)
    return [name for name in names if name not in failed]


def _things_of_policy(path: Path, context: CommandContext) -> list[str]:
    """The things of which a policy selects every association."""
    selected: dict[str, bool] = {}
    decisions = dry_run_policy(path, context)
    with gzip.open(decisions, "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            is_selected = row["verdict"] == Disposition.SELECTED
            selected[row["thing"]] = selected.get(row["thing"], True) and is_selected
    return [name for name, is_selected in selected.items() if is_selected]
