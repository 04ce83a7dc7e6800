"""Rule: what `--things`, `--cores` and `--core` set in motion lives here: a sweep where one is needed, the look-up.

The snapshot is kept, whatever comes after: it says what was associated before, and a second start need not sweep.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from asyncgg.cli.console import Console
from asyncgg.cli.scan import scan_interactively, scan_to_dict
from asyncgg.cli.supervisor import NotStartedError, run_async
from asyncgg.engine import RunResult
from asyncgg.errors import AsyncggError, JournalError, SettingsError, SnapshotError, SnapshotWriteError, UsageError
from asyncgg.formatting import format_duration
from asyncgg.inventory import MAX_SCAN_AGE, ScanResult
from asyncgg.manifest import load_protect_list
from asyncgg.manifest.name_lists import read_names
from asyncgg.manifest.sources import display_path
from asyncgg.runs import JournalBuilder, Plan, default_journal, exit_code, quota_rate, verify_account
from asyncgg.runs.execute import connection_from_settings
from asyncgg.runs.lookup import LookupRequest, LookupTargets, origin_if_finished, prepare_from_snapshot
from asyncgg.settings import Settings, parse_duration
from asyncgg.transport import Endpoint

__all__ = ["LookupArguments", "LookupSource", "ScanIncompleteError", "parse_lookup", "prepare_lookup"]

_LOOKUP_SOURCES: Final = ("things", "cores", "core")
_LOOKUP_ONLY: Final = ("inventory", "max_age", "allow_unlisted")
_MANIFEST_ONLY: Final = ("format", "rejects")


class ScanIncompleteError(AsyncggError):
    """The sweep ended before it was over, so nothing was done with it; it can be gone on with."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True, kw_only=True)
class LookupArguments:
    """What is to be found, as a person typed it."""

    things: str | None = None
    cores: str | None = None
    core: tuple[str, ...] = ()
    inventory: Path | None = None
    max_age: float = MAX_SCAN_AGE
    allow_incomplete: bool = False

    @property
    def reads_stdin(self) -> bool:
        """Whether the list is standard input."""
        return "-" in (self.things, self.cores)

    def build_request(self, inventory: Path) -> LookupRequest:
        """The same with its list read, to be looked up in `inventory`. Raises `UsageError`."""
        return LookupRequest(self._load_targets(), inventory, self.max_age, self.allow_incomplete)

    def _load_targets(self) -> LookupTargets:
        if self.things:
            return LookupTargets.from_names(
                "thing", read_names(self.things, "thing", reject_pairs=True), f"things of {display_path(self.things)}"
            )
        names = read_names(self.cores, "core", reject_pairs=True) if self.cores else []
        core_label = f"core {self.core[0]}" if len(self.core) == 1 else f"{len(self.core)} named cores"
        labels = ([f"cores of {display_path(self.cores)}"] if self.cores else []) + ([core_label] if self.core else [])
        return LookupTargets.from_names("core", [*names, *self.core], " and ".join(labels))


def parse_lookup(manifest: str | None, arguments: Mapping[str, Any]) -> LookupArguments | None:
    """What is to be found, None when it is a manifest. Raises `UsageError` unless it is said in exactly one way."""
    sources = [bool(manifest), bool(arguments["things"]), bool(arguments["cores"] or arguments["core"])]
    if sum(sources) != 1:
        problem = "nothing says what is to go" if not any(sources) else "what is to go is said in more than one way"
        raise UsageError(f"{problem}: give one of MANIFEST, --things FILE, --cores FILE (and --core NAME); see --help")
    inapplicable = _LOOKUP_ONLY if manifest else _MANIFEST_ONLY
    if rejected := [f"--{name.replace('_', '-')}" for name in inapplicable if arguments[name]]:
        allowed_with = " and ".join(f"--{name}" for name in _LOOKUP_SOURCES) if manifest else "a manifest"
        raise UsageError(f"{rejected[0]} goes with {allowed_with} only; leave it out")
    if manifest:
        return None
    return LookupArguments(
        things=arguments["things"],
        cores=arguments["cores"],
        core=tuple(arguments["core"]),
        inventory=arguments["inventory"],
        max_age=_parse_max_age(arguments["max_age"]),
        allow_incomplete=bool(arguments["allow_unlisted"]),
    )


class LookupSource:
    """Finds what is asked for, once. Raises `JournalError` or `SnapshotError` when a file is in the way."""

    def __init__(
        self, lookup: LookupArguments, settings: Settings, console: Console, *, account_required: bool
    ) -> None:
        self._lookup = lookup
        self._settings = settings
        self._console = console
        self._account_required = account_required
        self._scanned = False
        self.journal, self.inventory = _default_paths(lookup, settings)

    @property
    def reuse_hint(self) -> str:
        """How the snapshot may be used when nothing came of this start; empty when it made none."""
        return f"the sweep is kept; to use it: --inventory {shlex.quote(str(self.inventory))}" if self._scanned else ""

    def prepare(self, endpoint: Endpoint) -> tuple[JournalBuilder, Plan]:
        """Sweep if need be, then look up.

        Raises `ScanIncompleteError` when the sweep was stopped, what `scan_interactively` and `prepare_from_snapshot` raise otherwise.
        """
        request = self._lookup.build_request(self.inventory)
        if self._settings.protect:
            load_protect_list(str(self._settings.protect))  # a fault in it is told before the sweep, not after
        if origin_if_finished(self.inventory) is not None:
            return prepare_lookup(
                request, self.journal, self._settings, endpoint, account_required=self._account_required
            )
        scan = self._scan(request, endpoint)
        if not scan.finished:
            code = exit_code(RunResult(scan.state, scan.reason, scan.is_auth_error))
            state = f"{scan.state}: {scan.reason}" if scan.reason else scan.state.value
            raise ScanIncompleteError(f"the sweep is not over ({state}); {self._resume_hint}", code)
        self._scanned = True
        return prepare_from_snapshot(request, self.journal, self._settings, endpoint, just_scanned=True)

    @property
    def _resume_hint(self) -> str:
        quoted_path = shlex.quote(str(self.inventory))
        return f"nothing was sent but its questions; to go on with it: --inventory {quoted_path}"

    def _scan(self, request: LookupRequest, endpoint: Endpoint) -> ScanResult:
        cores = request.targets.names if request.targets.kind == "core" else None
        self._log_scan_start(endpoint, cores)
        try:
            scan = scan_interactively(
                self.inventory, self._settings, self._console, endpoint, cores=cores, max_age=request.max_age
            )
        except NotStartedError:
            raise
        except KeyboardInterrupt:
            raise ScanIncompleteError(f"the sweep was cut off; {self._resume_hint}", 130) from None
        except SnapshotWriteError as error:
            error.add_note(self._resume_hint)
            raise
        if scan.finished and not self._console.quiet:
            counts = scan.counts
            self._console.log_event(
                {"event": "swept", "inventory": str(self.inventory), **scan_to_dict(scan)},
                f"swept {counts.cores:,} cores with {counts.associations:,} associations: {scan.sent:,} requests,"
                f" {format_duration(scan.seconds)}",
            )
        return scan

    def _log_scan_start(self, endpoint: Endpoint, cores: tuple[str, ...] | None) -> None:
        if self._console.quiet:
            return
        rate = quota_rate(self._settings, endpoint.region)
        scope = "every core" if cores is None else "these cores" if len(cores) > 1 else "this core"
        self._console.log_event(
            {"event": "sweep", "inventory": str(self.inventory), "endpoint": endpoint.url, "rate": rate},
            f"listing the client devices of {scope} into {self.inventory}, {rate:g} requests a second at most",
        )


def prepare_lookup(
    request: LookupRequest, journal: Path, settings: Settings, endpoint: Endpoint | None, *, account_required: bool
) -> tuple[JournalBuilder, Plan]:
    """Look up in a snapshot that is there already; errors as of `prepare_from_snapshot` and `verify_account`."""
    origin, account = origin_if_finished(request.inventory), ""
    if origin is not None and origin.account and endpoint is not None:
        account_check = verify_account(
            connection_from_settings(settings), endpoint, settings, required=account_required
        )
        identity, _ = run_async(account_check)
        account = identity.account if identity else ""
    return prepare_from_snapshot(request, journal, settings, endpoint, just_scanned=False, account=account)


def _default_paths(lookup: LookupArguments, settings: Settings) -> tuple[Path, Path]:
    """The journal, and the snapshot: the given one, else one beside the journal."""
    journal = settings.journal or default_journal()
    if journal.exists():
        raise JournalError(f"journal {journal}: a file is there already; resume or retry it, or give another --journal")
    if lookup.inventory is not None:
        if lookup.inventory.resolve() == journal.resolve():
            raise UsageError(f"{journal}: --inventory and --journal are the same file; give each its own")
        return journal, lookup.inventory
    stem, number = journal.stem, 1
    while settings.journal is None and (journal.exists() or _default_snapshot(journal).exists()):
        number += 1
        journal = journal.with_name(f"{stem}-{number}.journal")
    snapshot = _default_snapshot(journal)
    if origin_if_finished(snapshot) is not None:
        quoted_path = shlex.quote(str(snapshot))
        raise SnapshotError(
            f"snapshot {snapshot}: it is there already; to use it: --inventory {quoted_path}; or delete it"
        )
    return journal, snapshot


def _default_snapshot(journal: Path) -> Path:
    return journal.with_name(f"{journal.stem}.fleet.db")


def _parse_max_age(text: str | None) -> float:
    try:
        return MAX_SCAN_AGE if text is None else parse_duration(text)
    except ValueError as error:
        raise SettingsError(f"--max-age: {text!r} {error}") from None
