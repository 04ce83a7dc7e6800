"""Builds the journal of a run from the chunks of a manifest."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from asyncgg.errors import GuardError, ManifestError
from asyncgg.formatting import format_count
from asyncgg.inventory import SnapshotCounts
from asyncgg.journal import Importer, ImportSummary
from asyncgg.manifest import BadRow, Chunk, ProtectList, RejectsWriter, S3Opener, load_protect_list
from asyncgg.models import Operation, RunState
from asyncgg.runs.connection import identity_from_settings
from asyncgg.runs.plan import Plan, quota_burst, quota_rate, seconds_at_quota
from asyncgg.runs.provenance import PROVENANCE_KEY
from asyncgg.settings import OUTPUT_SETTINGS, Settings
from asyncgg.transport import Endpoint
from asyncgg.transport.config import configured_endpoint
from asyncgg.transport.session import new_session

AWAITS_SNAPSHOT: Final = "awaits_snapshot"
"""Key in the meta table of a journal whose cores are to be listed before its run."""
_MAX_LISTED: Final = 10
"""Maximum bad rows in a message or a plan."""


def default_journal() -> Path:
    """A new file name in the current directory: asyncgg-DATE-TIME-ID.journal, as `default_stem`."""
    return Path(f"{default_stem('asyncgg')}.journal")


def default_stem(prefix: str) -> str:
    """A new name: PREFIX-DATE-TIME-ID, in UTC. The random ID separates runs that start in the same second."""
    return f"{prefix}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(3)}"


def default_snapshot(journal: Path) -> Path:
    """The snapshot that a lookup makes next to its journal."""
    return journal.with_name(f"{journal.stem}.fleet.db")


class JournalBuilder(AbstractContextManager["JournalBuilder"]):
    """Builds a journal: `add` chunks, then `finish`, or `discard`. Blocking.

    The context manager discards the journal on an exception. Raises `JournalError` if the journal
    cannot be created at `path`, and `UsageError` if the protect list of `settings` cannot be used.
    """

    def __init__(
        self,
        path: Path | None,
        settings: Settings,
        *,
        source: str,
        rejects: RejectsWriter | None = None,
        operation: Operation = Operation.DISASSOCIATE,
        extra_meta: Mapping[str, str] | None = None,
        allow_empty: bool = False,
    ) -> None:
        """`path`: None for a default name. `extra_meta`: further entries of the meta table.

        `allow_empty`: a run of 0 things is valid; also by `settings.allow_empty`.
        """
        self.settings = settings
        self._source = source
        self._protect = load_protect_list(str(settings.protect)) if settings.protect else ProtectList()
        self._rejects = rejects
        self._operation = operation
        self._extra_meta = extra_meta or {}
        self._allow_empty = allow_empty or settings.allow_empty
        self._importer = Importer(path or default_journal())
        self.path = self._importer.path
        self._bad_rows: list[BadRow] = []
        self._rejected = 0
        self.header_rows = 0
        """Rows, also of lists of names, left out because they repeat the header."""
        self.left_out: dict[str, tuple[int, tuple[str, ...]]] = {}
        """What the source asked for and the run does not have: number and examples by label."""
        self._protected = 0
        self._import_summary: ImportSummary | None = None

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self.discard()

    def add(self, chunk: Chunk) -> None:
        """Add the rows of a chunk, without protected ones."""
        self.header_rows += len(chunk.headers)
        unprotected = self._protect.without_protected(chunk.good)
        self._protected += len(chunk.good) - len(unprotected)
        self._importer.add(unprotected)
        if chunk.bad:
            self._rejected += len(chunk.bad)
            self._bad_rows.extend(chunk.bad[: _MAX_LISTED - len(self._bad_rows)])
            if self._rejects is not None:
                self._rejects.write(chunk.bad)

    def add_with_reasons(self, rows: Sequence[tuple[str, str, str]], *, protected: int = 0) -> None:
        """Add (core, thing, reason) rows; `protected` is how many things the caller left out."""
        self._importer.add_with_reasons(rows)
        self._protected += protected

    def finish(self, target: Endpoint | None) -> Plan:
        """Complete the journal and return the plan. The account is not verified yet.

        Raises:
            ManifestError: bad rows without `skip_bad_rows`, or no associations.
            GuardError: more things than `max_things`.
        """
        with self:
            self._check_bad_rows()
            self._import_summary = self._importer.finish(self._meta(target), commit=False)
            self._check_limits(self._import_summary)
            if not self.needs_snapshot:
                self._importer.commit()
        return self.plan(target)

    @property
    def needs_snapshot(self) -> bool:
        """Whether the finished journal still needs `commit_with_snapshot`."""
        things = self._import_summary.total if self._import_summary else 0
        return self.settings.snapshot and bool(things) and not self._has_provenance

    @property
    def snapshot_path(self) -> Path:
        """The snapshot of the cores, listed before the run."""
        return default_snapshot(self.path)

    def cores(self) -> list[str]:
        """The cores of a finished journal that needs a snapshot."""
        return self._importer.cores()

    def commit_before_snapshot(self) -> None:
        """Complete the journal; its cores are listed when it is run, see `make_prior_snapshot`."""
        with self:
            self._importer.commit({AWAITS_SNAPSHOT: "1"})

    def commit_with_snapshot(self, counts: SnapshotCounts) -> None:
        """Complete the journal after the scan of its cores into `snapshot_path`.

        Raises `GuardError` if cores could not be listed.
        """
        with self:
            if incomplete := counts.denied + counts.failed:
                raise GuardError(
                    f"{format_count(incomplete, 'core')} could not be listed, so undo would not be possible;"
                    " nothing was sent; run the command again, or without --snapshot"
                )
            path = str(self.snapshot_path.absolute()).encode("utf-8", "backslashreplace").decode()
            self._importer.commit({"snapshot": path, "created": f"{time.time():.3f}"})

    @property
    def _has_provenance(self) -> bool:
        return PROVENANCE_KEY in self._extra_meta

    def discard(self) -> None:
        """Remove the journal, unless a run has sent something from it."""
        self._importer.discard()

    def plan(self, target: Endpoint | None) -> Plan:
        """The plan of the finished journal."""
        summary = self._import_summary
        assert summary is not None
        rate = quota_rate(self.settings, target.region if target else None)
        burst = quota_burst(self.settings, rate)
        listing = summary.minimum if self.needs_snapshot else 0
        return Plan(
            source=self._source,
            operation=self._operation,
            things=summary.total,
            cores=summary.cores,
            requests=summary.minimum,
            largest_core=summary.largest_core,
            rejected=self._rejected,
            duplicates=summary.duplicates,
            protected=self._protected,
            header_rows=self.header_rows,
            bad_rows=tuple(self._bad_rows),
            rate=rate,
            burst=burst,
            concurrency=self.settings.concurrency,
            per_core=self.settings.per_core,
            seconds=seconds_at_quota(summary.minimum + listing, rate, burst),
            undoable=self._has_provenance or bool(listing),
            snapshot_requests=listing,
            target=target,
        )

    def _meta(self, target: Endpoint | None) -> dict[str, str]:
        meta = {
            "run": f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{secrets.token_hex(3)}",
            "created": f"{time.time():.3f}",
            "source": self._source.encode("utf-8", "backslashreplace").decode(),  # a file name can be invalid UTF-8
            "state": RunState.PLANNED.value,
            "settings": json.dumps(self.settings.model_dump(mode="json", exclude={"journal", *OUTPUT_SETTINGS})),
            "rejected": str(self._rejected),
            "protected": str(self._protected),
            "header_rows": str(self.header_rows),
            "left_out": json.dumps(self.left_out),
        }
        if self._operation is not Operation.DISASSOCIATE:
            meta["operation"] = self._operation.value
        if target is not None:
            meta |= {"region": target.region, "endpoint": target.url, "custom": json.dumps(target.custom)}
        return {**meta, **self._extra_meta}

    def _check_bad_rows(self) -> None:
        if self._rejected and not self.settings.skip_bad_rows:
            omitted = self._rejected - len(self._bad_rows)
            lines = [str(row) for row in self._bad_rows] + ([f"... and {omitted} more"] if omitted else [])
            bad_rows = format_count(self._rejected, "bad row")
            message = f"{self._source}: {bad_rows}, nothing was sent; correct the rows, or use --skip-bad-rows"
            raise ManifestError("\n".join([message, *lines]))

    def _check_limits(self, summary: ImportSummary) -> None:
        if not summary.total and (self._rejected or not self._allow_empty):
            empty = "no valid rows" if self._rejected else "the list is empty; if that is expected, use --allow-empty"
            reason = f"{self._protected} protected" if self._protected else empty
            raise ManifestError(f"{self._source}: no associations to {self._operation}: {reason}")
        limit = self.settings.max_things
        if limit is not None and summary.total > limit:
            things = format_count(summary.total, "thing")
            raise GuardError(f"{self._source}: {things}, --max-things allows {limit:,}; nothing was sent")


def s3_opener(settings: Settings, target: Endpoint | None) -> S3Opener:
    """Open S3 objects with the profile of the run; with a custom endpoint only from there."""
    from asyncgg.manifest.s3 import S3Downloader  # loads the S3 client

    endpoint = None
    if target is not None and target.custom:
        session = new_session(identity_from_settings(settings))
        endpoint = configured_endpoint(session, "s3", service_specific_only=True)[1] or target.url
    return S3Downloader(identity_from_settings(settings), target.region if target else settings.region, endpoint)
