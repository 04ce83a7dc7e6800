"""Creates the journal of a run from a manifest, or from a lookup in a snapshot."""

from __future__ import annotations

import contextlib
import os
import shlex
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from asyncgg.cli.context import CommandContext
from asyncgg.cli.errors import EXIT_INTERRUPTED
from asyncgg.cli.scan import scan_interactively, scan_to_dict
from asyncgg.cli.supervisor import NotStartedError, run_async
from asyncgg.errors import AsyncggError, JournalError, SnapshotError, SnapshotWriteError, UsageError
from asyncgg.formatting import format_count, format_duration
from asyncgg.inventory import MAX_SCAN_AGE, ScanResult
from asyncgg.manifest import RejectsWriter, load_protect_list, open_manifest
from asyncgg.manifest.name_lists import NameList, read_names
from asyncgg.manifest.sources import display_path
from asyncgg.runs import JournalBuilder, Plan, default_journal, exit_code, quota_rate, verify_account
from asyncgg.runs.lookup import (
    LookupRequest,
    LookupTargets,
    origin_if_finished,
    prepare_from_snapshot,
    prepare_without_targets,
)
from asyncgg.runs.prepare import default_snapshot, s3_opener
from asyncgg.transport import Endpoint

_LOOKUP_ONLY: Final = ("inventory", "max_age", "allow_incomplete")
_MANIFEST_ONLY: Final = ("format", "rejects")
_PROGRESS_INTERVAL: Final = 1.0
"""Seconds until an import first reports its progress, and between reports."""


def build_from_manifest(
    spec: str,
    journal: Path | None,
    context: CommandContext,
    endpoint: Endpoint | None,
    *,
    format: str | None = None,  # noqa: A002 - named as the option is
    rejects: Path | None = None,
) -> tuple[JournalBuilder, Plan]:
    """Read the manifest into a new journal; on any error, Ctrl-C included, no journal is left.

    Raises:
        ManifestError, GuardError: as `JournalBuilder.finish`.
        JournalError: the journal exists, or cannot be created.
        UsageError: the protect list or the file for rejects cannot be used.
    """
    settings, console = context.settings, context.console
    with contextlib.ExitStack() as stack:
        s3 = s3_opener(settings, endpoint) if spec.startswith("s3://") else None
        manifest = stack.enter_context(open_manifest(spec, format=format, s3=s3))
        writer = stack.enter_context(RejectsWriter(rejects)) if rejects else None
        builder = JournalBuilder(journal, settings, source=manifest.name, rejects=writer)
        try:
            last_logged_at = time.monotonic()
            rows = 0
            for chunk in manifest.chunks(allow_empty=settings.allow_empty):
                builder.add(chunk)
                rows += len(chunk.good) + len(chunk.bad)
                if not console.quiet and time.monotonic() - last_logged_at >= _PROGRESS_INTERVAL:
                    last_logged_at = time.monotonic()
                    event = {"event": "reading", "manifest": manifest.name, "rows": rows}
                    console.log_event(event, f"reading {manifest.name}: {format_count(rows, 'row')}")
            return builder, builder.finish(endpoint)
        except BaseException:
            builder.discard()
            raise


class ScanIncompleteError(AsyncggError):
    """The scan did not complete, so no run was started. It can be resumed."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True, kw_only=True)
class LookupArguments:
    """What to look up, as given on the command line."""

    things: str | None = None
    cores: str | None = None
    core: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    """Things that the program itself selected, instead of a list."""
    inventory: Path | None = None
    max_age: float = MAX_SCAN_AGE
    allow_incomplete: bool = False

    @property
    def reads_stdin(self) -> bool:
        """Whether a list is read from standard input."""
        return "-" in (self.things, self.cores)

    @property
    def source(self) -> str:
        """The name of the lists, as the journal of the run has it."""
        lists = (("things", self.things), ("cores", self.cores))
        core_label = f"core {self.core[0]}" if len(self.core) == 1 else f"{len(self.core)} named cores"
        labels = [f"{kind} of {display_path(path)}" for kind, path in lists if path]
        if self.names:
            return f"{len(self.names):,} selected things"
        return " and ".join(labels + ([core_label] if self.core else []))

    def build_request(self, inventory: Path) -> LookupRequest:
        """The request with the lists read, for a lookup in `inventory`. Raises `UsageError`."""
        return LookupRequest(self._load_targets(), inventory, self.max_age, self.allow_incomplete)

    def _load_targets(self) -> LookupTargets:
        if self.names:
            return LookupTargets.from_names("thing", self.names, self.source)
        if self.things:
            names = read_names(self.things, "thing", reject_pairs=True, allow_empty=True)
            return LookupTargets.from_names("thing", names, self.source, header_rows=len(names.headers))
        names = read_names(self.cores, "core", reject_pairs=True, allow_empty=True) if self.cores else NameList()
        return LookupTargets.from_names("core", [*names, *self.core], self.source, header_rows=len(names.headers))


def parse_lookup(manifest: str | None, arguments: Mapping[str, Any]) -> LookupArguments | None:
    """What to look up; None for a manifest. Raises `UsageError` unless one source is given."""
    sources = [bool(manifest), bool(arguments["things"]), bool(arguments["cores"] or arguments["core"])]
    if sum(sources) != 1:
        if any(sources):
            raise UsageError("give only one of MANIFEST, --things, and --cores with --core; see --help")
        raise UsageError("nothing selected: give a manifest, --things, --cores or --core; see --help")
    inapplicable = _LOOKUP_ONLY if manifest else _MANIFEST_ONLY
    if rejected := [f"--{name.replace('_', '-')}" for name in inapplicable if arguments[name]]:
        raise UsageError(f"{rejected[0]} requires {'--things, --cores or --core' if manifest else 'a manifest'}")
    if manifest:
        return None
    values = {name: arguments[name] for name in ("things", "cores", "core", "inventory", "allow_incomplete")}
    return LookupArguments(max_age=arguments["max_age"] or MAX_SCAN_AGE, **values)


class LookupSource:
    """Looks up the associations of one run, in a snapshot that it makes if necessary and keeps.

    Raises `JournalError` or `SnapshotError` if a file is in the way.
    """

    def __init__(self, lookup: LookupArguments, context: CommandContext, *, account_required: bool) -> None:
        self._lookup = lookup
        self._context = context
        self._account_required = account_required
        self._scanned = False
        self._temporary = context.state is not None
        self.journal, self.inventory = _default_paths(lookup, context.settings.journal)

    @property
    def reuse_hint(self) -> str:
        """How to reuse the snapshot; empty if this command made none."""
        return f"Scan saved; reuse it with --inventory {shlex.quote(str(self.inventory))}" if self._scanned else ""

    def prepare(self, endpoint: Endpoint, journal: Path | None) -> tuple[JournalBuilder, Plan]:
        """Scan if necessary, then look up. `journal` is `self.journal`, or that of a dry run.

        Without a writable folder the snapshot of a dry run is next to its temporary journal.

        Raises `ScanIncompleteError` if the scan was stopped, and what `scan_interactively` and
        `prepare_from_snapshot` raise.
        """
        settings, journal = self._context.settings, journal or self.journal
        if journal != self.journal and not (self._lookup.inventory or os.access(self.inventory.parent, os.W_OK)):
            self.inventory, self._temporary = default_snapshot(journal), True
        request = self._lookup.build_request(self.inventory)
        if settings.protect and str(settings.protect) != "-":  # standard input can be read only once
            load_protect_list(str(settings.protect))  # report an invalid list before the scan
        if not request.targets.names or origin_if_finished(self.inventory) is not None:
            return prepare_lookup(request, journal, self._context, endpoint, account_required=self._account_required)
        cores = request.targets.names if request.targets.kind == "core" else None
        _scan(self.inventory, cores, self._context, endpoint, request.max_age, self._resume_hint)
        self._scanned = not self._temporary
        return prepare_from_snapshot(request, journal, settings, endpoint, just_scanned=True)

    @property
    def _resume_hint(self) -> str:
        resume = "" if self._temporary else f" Resume the scan with --inventory {shlex.quote(str(self.inventory))}"
        return f"No changes were made.{resume}"


def scan_before_run(builder: JournalBuilder, context: CommandContext, endpoint: Endpoint) -> None:
    """Make the snapshot that `builder` needs, if any, and complete its journal. Raises as `_scan`."""
    if not builder.needs_snapshot:
        return
    inventory = builder.snapshot_path
    if origin_if_finished(inventory) is not None:
        raise SnapshotError(f"{inventory} already exists; delete it, or choose another --journal")
    hint = "No changes were made."
    if context.state is None:
        hint += " The same command with --journal resumes the scan"
    scan = _scan(inventory, tuple(builder.cores()), context, endpoint, MAX_SCAN_AGE, hint)
    builder.commit_with_snapshot(scan.counts)


def _scan(
    inventory: Path,
    cores: tuple[str, ...] | None,
    context: CommandContext,
    endpoint: Endpoint,
    max_age: float,
    resume_hint: str,
) -> ScanResult:
    """Scan for a run, to the end. Raises `ScanIncompleteError`, and as `scan_interactively`."""
    _log_scan_start(inventory, cores, context, endpoint)
    try:
        scan = scan_interactively(inventory, context, endpoint, cores=cores, max_age=max_age)
    except NotStartedError:
        raise
    except KeyboardInterrupt:
        raise ScanIncompleteError(f"The scan was aborted. {resume_hint}", EXIT_INTERRUPTED) from None
    except SnapshotWriteError as error:
        error.add_note(resume_hint)
        raise
    if not scan.finished:
        state = f"{scan.state}: {scan.reason}" if scan.reason else scan.state.value
        raise ScanIncompleteError(f"The scan did not complete ({state}). {resume_hint}", exit_code(scan))
    if not context.console.quiet:
        counts = scan.counts
        context.console.log_event(
            {"event": "scan-finished", "inventory": str(inventory), **scan_to_dict(scan)},
            f"scanned {format_count(counts.cores, 'core')} with {format_count(counts.associations, 'association')}:"
            f" {format_count(scan.sent, 'request')}, {format_duration(scan.seconds)}",
        )
    return scan


def _log_scan_start(
    inventory: Path, cores: tuple[str, ...] | None, context: CommandContext, endpoint: Endpoint
) -> None:
    if context.console.quiet:
        return
    rate = quota_rate(context.settings, endpoint.region)
    scope = "every core" if cores is None else "these cores" if len(cores) > 1 else "this core"
    context.console.log_event(
        {"event": "scan-started", "inventory": str(inventory), "endpoint": endpoint.url, "rate": rate},
        f"listing the client devices of {scope} into {inventory}{_format_limit(context, rate)}",
    )


def _format_limit(context: CommandContext, rate: float) -> str:
    """The limit of the rate; empty with --explore, which has no known one."""
    return "" if context.settings.explore and context.settings.rate is None else f", at most {rate:g} requests/s"


def prepare_lookup(
    request: LookupRequest, journal: Path, context: CommandContext, endpoint: Endpoint | None, *, account_required: bool
) -> tuple[JournalBuilder, Plan]:
    """Look up in a snapshot that exists, or nothing. Raises as `prepare_from_snapshot` and `verify_account`."""
    settings = context.settings
    if not request.targets.names:
        return prepare_without_targets(request.targets, journal, settings, endpoint)
    origin, account = origin_if_finished(request.inventory), ""
    if origin is not None and origin.account and endpoint is not None:
        identity, _ = run_async(verify_account(endpoint, settings, required=account_required))
        account = identity.account if identity else ""
    return prepare_from_snapshot(request, journal, settings, endpoint, just_scanned=False, account=account)


def _default_paths(lookup: LookupArguments, given: Path | None) -> tuple[Path, Path]:
    """The journal, and the snapshot: the given ones, else a snapshot next to the journal."""
    journal = given or default_journal()
    if journal.exists():
        raise JournalError(f"{journal} already exists; resume or retry it, or choose another --journal")
    if lookup.inventory is not None:
        return journal, lookup.inventory
    snapshot = default_snapshot(journal)
    if origin_if_finished(snapshot) is not None:
        quoted_path = shlex.quote(str(snapshot))
        raise SnapshotError(f"{snapshot} already exists; reuse it with --inventory {quoted_path}, or delete it")
    return journal, snapshot
