"""Rule: from chunks of a manifest to a journal ready to run: protect, count, refuse bad rows; nothing is sent."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from asyncgg.errors import GuardError, ManifestError
from asyncgg.journal import Importer, ImportSummary
from asyncgg.manifest import BadRow, Chunk, ProtectList, RejectsWriter
from asyncgg.models import Operation, RunState
from asyncgg.runs.plan import Plan, quota_burst, quota_rate, seconds_at_quota
from asyncgg.settings import Settings
from asyncgg.transport import Endpoint

__all__ = ["JournalBuilder", "default_journal"]

_MAX_LISTED: Final = 10
"""Bad rows that a message or a plan names."""


def default_journal(now: float | None = None) -> Path:
    """A free name in the current directory: asyncgg-DATE-TIME.journal, in UTC."""
    stem = time.strftime("asyncgg-%Y%m%d-%H%M%S", time.gmtime(now))
    path, number = Path(f"{stem}.journal"), 1
    while path.exists():
        number += 1
        path = Path(f"{stem}-{number}.journal")
    return path


class JournalBuilder:
    """A journal in the making: `add` chunks, then `finish`, or `discard` it. Blocking.

    Raises `JournalError` when the journal cannot be made at `path`.
    """

    def __init__(
        self,
        path: Path,
        settings: Settings,
        *,
        source: str,
        protect: ProtectList | None = None,
        rejects: RejectsWriter | None = None,
        operation: Operation = Operation.DISASSOCIATE,
        extra_meta: Mapping[str, str] | None = None,
    ) -> None:
        """`facts` go into the journal's meta table beside our own: where the associations are known from, say."""
        self.path = path
        self._settings = settings
        self._source = source
        self._protect = protect or ProtectList()
        self._rejects = rejects
        self._operation = operation
        self._extra_meta = extra_meta or {}
        self._importer = Importer(path)
        self._bad_rows: list[BadRow] = []
        self._rejected = 0
        self._protected = 0
        self._import_summary: ImportSummary | None = None

    def add(self, chunk: Chunk) -> None:
        """Take in a manifest's chunk."""
        pairs = chunk.good
        if self._protect.entries:
            unprotected = [pair for pair in pairs if self._protect.match(*pair) is None]
            self._protected += len(pairs) - len(unprotected)
            pairs = unprotected
        self._importer.add(pairs)
        if chunk.bad:
            self._rejected += len(chunk.bad)
            self._bad_rows.extend(chunk.bad[: _MAX_LISTED - len(self._bad_rows)])
            if self._rejects is not None:
                self._rejects.write(chunk.bad)

    def add_with_reasons(self, rows: Sequence[tuple[str, str, str]], *, protected: int = 0) -> None:
        """Take in (core, thing, reason) that something chose, having left out `protected` things itself."""
        self._importer.add_with_reasons(rows)
        self._protected += protected

    def finish(self, target: Endpoint | None) -> Plan:
        """Complete the journal, not yet guarded by an account; returns the plan.

        Raises:
            ManifestError: bad rows without `skip_bad_rows`, or nothing left to do.
            GuardError: more things than `max_things`.
        """
        try:
            self._check_bad_rows()
            self._import_summary = self._importer.finish(self._meta(target))
            self._check_limits(self._import_summary)
        except BaseException:
            self.discard()
            raise
        return self.plan(target)

    def discard(self) -> None:
        """Remove the journal, unless another start of it has sent something meanwhile."""
        self._importer.discard()

    def plan(self, target: Endpoint | None) -> Plan:
        """The plan of the finished journal."""
        summary = self._import_summary
        assert summary is not None
        rate = quota_rate(self._settings, target.region if target else None)
        burst = quota_burst(self._settings, rate)
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
            bad_rows=tuple(self._bad_rows),
            rate=rate,
            burst=burst,
            concurrency=self._settings.concurrency,
            per_core=self._settings.per_core,
            seconds=seconds_at_quota(summary.minimum, rate, burst),
            target=target,
        )

    def _meta(self, target: Endpoint | None) -> dict[str, str]:
        meta = {
            "run": f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{secrets.token_hex(3)}",
            "created": f"{time.time():.3f}",
            "source": self._source.encode("utf-8", "backslashreplace").decode(),  # a file's name may be no UTF-8
            "state": RunState.PLANNED.value,
            "settings": json.dumps(self._settings.model_dump(mode="json", exclude={"journal"})),
            "rejected": str(self._rejected),
            "protected": str(self._protected),
        }
        if self._operation is not Operation.DISASSOCIATE:
            meta["operation"] = self._operation.value
        if target is not None:
            meta |= {"region": target.region, "endpoint": target.url, "custom": json.dumps(target.custom)}
        return {**meta, **self._extra_meta}

    def _check_bad_rows(self) -> None:
        if self._rejected and not self._settings.skip_bad_rows:
            omitted = self._rejected - len(self._bad_rows)
            lines = [str(row) for row in self._bad_rows] + ([f"... and {omitted} more"] if omitted else [])
            bad_rows = "1 bad row" if self._rejected == 1 else f"{self._rejected} bad rows"
            raise ManifestError(
                f"{self._source}: {bad_rows}, nothing was sent; correct them, or go on without them: --skip-bad-rows\n"
                + "\n".join(lines)
            )

    def _check_limits(self, summary: ImportSummary) -> None:
        if not summary.total:
            reason = f"{self._protected} are protected" if self._protected else "no row is good"
            raise ManifestError(f"{self._source}: no associations are left to {self._operation} ({reason})")
        limit = self._settings.max_things
        if limit is not None and summary.total > limit:
            raise GuardError(f"{self._source}: {summary.total} things, --max-things allows {limit}; nothing was sent")
