"""Rule: what `--things`, `--cores` and `--core` set in motion lives here: a sweep where one is needed, the look-up.

The snapshot is kept, whatever comes after: it says what was associated before, and a second start need not sweep.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from asyncgg.cli.output import Output
from asyncgg.cli.running import NotBegunError, run_loop
from asyncgg.cli.sweeping import sweep_now, swept_object
from asyncgg.engine import RunResult
from asyncgg.errors import AsyncggError, JournalError, SettingsError, SnapshotError, SnapshotWriteError, UsageError
from asyncgg.inventory import MAX_SCAN_AGE, ScanResult
from asyncgg.manifest import load_protect_list
from asyncgg.manifest.names import display_path, read_names
from asyncgg.report.summary import format_duration
from asyncgg.runs import JournalBuilder, Plan, default_journal, exit_code, quota_rate, verify_account
from asyncgg.runs.discovery import LookupRequest, LookupTargets, origin_if_finished, prepare_from_snapshot
from asyncgg.runs.execute import connection_from_settings
from asyncgg.settings import Settings, parse_duration
from asyncgg.transport import Endpoint

__all__ = ["Asked", "Finder", "UnfinishedSweepError", "asked_of", "look_up"]

_OWN: Final = ("things", "cores", "core")
_WITH_OWN: Final = ("inventory", "max_age", "allow_unlisted")
_OF_MANIFESTS: Final = ("format", "rejects")


class UnfinishedSweepError(AsyncggError):
    """The sweep ended before it was over, so nothing was done with it; it can be gone on with."""

    def __init__(self, words: str, exit_code: int) -> None:
        super().__init__(words)
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is to be found, as a person typed it."""

    things: str | None = None
    cores: str | None = None
    core: tuple[str, ...] = ()
    inventory: Path | None = None
    max_age: float = MAX_SCAN_AGE
    allow_unlisted: bool = False

    @property
    def takes_stdin(self) -> bool:
        """Whether the list is standard input."""
        return "-" in (self.things, self.cores)

    def search(self, inventory: Path) -> LookupRequest:
        """The same with its list read, to be looked up in `inventory`. Raises `UsageError`."""
        return LookupRequest(self._wanted(), inventory, self.max_age, self.allow_unlisted)

    def _wanted(self) -> LookupTargets:
        if self.things:
            return LookupTargets.from_names(
                "thing", read_names(self.things, "thing", reject_pairs=True), f"things of {display_path(self.things)}"
            )
        listed = read_names(self.cores, "core", reject_pairs=True) if self.cores else []
        named = f"core {self.core[0]}" if len(self.core) == 1 else f"{len(self.core)} named cores"
        parts = ([f"cores of {display_path(self.cores)}"] if self.cores else []) + ([named] if self.core else [])
        return LookupTargets.from_names("core", [*listed, *self.core], " and ".join(parts))


def asked_of(manifest: str | None, given: Mapping[str, Any]) -> Asked | None:
    """What is to be found, None when it is a manifest. Raises `UsageError` unless it is said in exactly one way."""
    ways = [bool(manifest), bool(given["things"]), bool(given["cores"] or given["core"])]
    if sum(ways) != 1:
        few = "nothing says what is to go" if not any(ways) else "what is to go is said in more than one way"
        raise UsageError(f"{few}: give one of MANIFEST, --things FILE, --cores FILE (and --core NAME); see --help")
    wrong = _WITH_OWN if manifest else _OF_MANIFESTS
    if strange := [f"--{name.replace('_', '-')}" for name in wrong if given[name]]:
        goes = " and ".join(f"--{name}" for name in _OWN) if manifest else "a manifest"
        raise UsageError(f"{strange[0]} goes with {goes} only; leave it out")
    if manifest:
        return None
    return Asked(
        things=given["things"],
        cores=given["cores"],
        core=tuple(given["core"]),
        inventory=given["inventory"],
        max_age=_age(given["max_age"]),
        allow_unlisted=bool(given["allow_unlisted"]),
    )


class Finder:
    """Finds what is asked for, once. Raises `JournalError` or `SnapshotError` when a file is in the way."""

    def __init__(self, asked: Asked, settings: Settings, output: Output, *, must_act: bool) -> None:
        self._asked = asked
        self._settings = settings
        self._output = output
        self._must_act = must_act
        self._swept = False
        self.journal, self.inventory = _places(asked, settings)

    @property
    def hint(self) -> str:
        """How the snapshot may be used when nothing came of this start; empty when it made none."""
        return f"the sweep is kept; to use it: --inventory {shlex.quote(str(self.inventory))}" if self._swept else ""

    def prepare(self, target: Endpoint) -> tuple[JournalBuilder, Plan]:
        """Sweep if need be, then look up.

        Raises `UnfinishedSweepError` when the sweep was stopped, what `sweep_now` and `prepare_found` raise otherwise.
        """
        search = self._asked.search(self.inventory)
        if self._settings.protect:
            load_protect_list(str(self._settings.protect))  # a fault in it is told before the sweep, not after
        if origin_if_finished(self.inventory) is not None:
            return look_up(search, self.journal, self._settings, target, must_act=self._must_act)
        swept = self._sweep(search, target)
        if not swept.finished:
            code = exit_code(RunResult(swept.state, swept.reason, swept.is_auth_error))
            why = f"{swept.state}: {swept.reason}" if swept.reason else swept.state.value
            raise UnfinishedSweepError(f"the sweep is not over ({why}); {self._unfinished}", code)
        self._swept = True
        return prepare_from_snapshot(search, self.journal, self._settings, target, just_scanned=True)

    @property
    def _unfinished(self) -> str:
        where = shlex.quote(str(self.inventory))
        return f"nothing was sent but its questions; to go on with it: --inventory {where}"

    def _sweep(self, search: LookupRequest, target: Endpoint) -> ScanResult:
        cores = search.targets.names if search.targets.kind == "core" else None
        self._tell_begin(target, cores)
        try:
            swept = sweep_now(self.inventory, self._settings, self._output, target, cores=cores, max_age=search.max_age)
        except NotBegunError:
            raise
        except KeyboardInterrupt:
            raise UnfinishedSweepError(f"the sweep was cut off; {self._unfinished}", 130) from None
        except SnapshotWriteError as error:
            error.add_note(self._unfinished)
            raise
        if swept.finished and not self._output.quiet:
            counts = swept.counts
            self._output.tell(
                {"event": "swept", "inventory": str(self.inventory), **swept_object(swept)},
                f"swept {counts.cores:,} cores with {counts.associations:,} associations: {swept.sent:,} requests,"
                f" {format_duration(swept.seconds)}",
            )
        return swept

    def _tell_begin(self, target: Endpoint, cores: tuple[str, ...] | None) -> None:
        if self._output.quiet:
            return
        rate = quota_rate(self._settings, target.region)
        what = "every core" if cores is None else "these cores" if len(cores) > 1 else "this core"
        self._output.tell(
            {"event": "sweep", "inventory": str(self.inventory), "endpoint": target.url, "rate": rate},
            f"listing the client devices of {what} into {self.inventory}, {rate:g} requests a second at most",
        )


def look_up(
    search: LookupRequest, journal: Path, settings: Settings, target: Endpoint | None, *, must_act: bool
) -> tuple[JournalBuilder, Plan]:
    """Look up in a snapshot that is there already; errors as of `prepare_found` and `confirm_account`."""
    origin, account = origin_if_finished(search.inventory), ""
    if origin is not None and origin.account and target is not None:
        asking = verify_account(connection_from_settings(settings), target, settings, required=must_act)
        found, _ = run_loop(asking)
        account = found.account if found else ""
    return prepare_from_snapshot(search, journal, settings, target, just_scanned=False, account=account)


def _places(asked: Asked, settings: Settings) -> tuple[Path, Path]:
    """The journal, and the snapshot: the given one, else one beside the journal."""
    journal = settings.journal or default_journal()
    if journal.exists():
        raise JournalError(f"journal {journal}: a file is there already; resume or retry it, or give another --journal")
    if asked.inventory is not None:
        if asked.inventory.resolve() == journal.resolve():
            raise UsageError(f"{journal}: --inventory and --journal are the same file; give each its own")
        return journal, asked.inventory
    stem, number = journal.stem, 1
    while settings.journal is None and (journal.exists() or _beside(journal).exists()):
        number += 1
        journal = journal.with_name(f"{stem}-{number}.journal")
    beside = _beside(journal)
    if origin_if_finished(beside) is not None:
        where = shlex.quote(str(beside))
        raise SnapshotError(f"snapshot {beside}: it is there already; to use it: --inventory {where}; or delete it")
    return journal, beside


def _beside(journal: Path) -> Path:
    return journal.with_name(f"{journal.stem}.fleet.db")


def _age(text: str | None) -> float:
    try:
        return MAX_SCAN_AGE if text is None else parse_duration(text)
    except ValueError as error:
        raise SettingsError(f"--max-age: {text!r} {error}") from None
