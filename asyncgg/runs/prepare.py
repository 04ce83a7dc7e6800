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
from asyncgg.manifest import BadRow, Chunk, Protect, RejectsWriter
from asyncgg.model import Operation, RunState
from asyncgg.runs.plan import Plan, quota_burst, quota_rate, seconds_at_quota
from asyncgg.settings import Settings
from asyncgg.transport import Endpoint

__all__ = ["Preparation", "default_journal"]

_SHOWN: Final = 10
"""Bad rows that a message or a plan names."""


def default_journal(now: float | None = None) -> Path:
    """A free name in the current directory: asyncgg-DATE-TIME.journal, in UTC."""
    stem = time.strftime("asyncgg-%Y%m%d-%H%M%S", time.gmtime(now))
    path, number = Path(f"{stem}.journal"), 1
    while path.exists():
        number += 1
        path = Path(f"{stem}-{number}.journal")
    return path


class Preparation:
    """A journal in the making: `add` chunks, then `finish`, or `discard` it. Blocking.

    Raises `JournalError` when the journal cannot be made at `path`.
    """

    def __init__(
        self,
        path: Path,
        settings: Settings,
        *,
        source: str,
        protect: Protect | None = None,
        rejects: RejectsWriter | None = None,
        operation: Operation = Operation.DISASSOCIATE,
        facts: Mapping[str, str] | None = None,
    ) -> None:
        """`facts` go into the journal's meta table beside our own: where the associations are known from, say."""
        self.path = path
        self._settings = settings
        self._source = source
        self._protect = protect or Protect()
        self._rejects = rejects
        self._operation = operation
        self._facts = facts or {}
        self._importer = Importer(path)
        self._bad: list[BadRow] = []
        self._rejected = 0
        self._protected = 0
        self._imported: ImportSummary | None = None

    def add(self, chunk: Chunk) -> None:
        """Take in a manifest's chunk."""
        good = chunk.good
        if self._protect.entries:
            kept = [pair for pair in good if self._protect.blocks(*pair) is None]
            self._protected += len(good) - len(kept)
            good = kept
        self._importer.add(good)
        if chunk.bad:
            self._rejected += len(chunk.bad)
            self._bad.extend(chunk.bad[: _SHOWN - len(self._bad)])
            if self._rejects is not None:
                self._rejects.write(chunk.bad)

    def add_chosen(self, chosen: Sequence[tuple[str, str, str]], *, protected: int = 0) -> None:
        """Take in (core, thing, reason) that something chose, having left out `protected` things itself."""
        self._importer.add_with_reasons(chosen)
        self._protected += protected

    def finish(self, target: Endpoint | None) -> Plan:
        """Complete the journal, not yet guarded by an account; returns the plan.

        Raises:
            ManifestError: bad rows without `skip_bad_rows`, or nothing left to do.
            GuardError: more things than `max_things`.
        """
        try:
            self._refuse_bad_rows()
            self._imported = self._importer.finish(self._meta(target))
            self._refuse_amounts(self._imported)
        except BaseException:
            self.discard()
            raise
        return self.plan(target)

    def discard(self) -> None:
        """Remove the journal, unless another start of it has sent something meanwhile."""
        self._importer.discard()

    def plan(self, target: Endpoint | None) -> Plan:
        """The plan of the finished journal."""
        imported = self._imported
        assert imported is not None
        rate = quota_rate(self._settings, target.region if target else None)
        burst = quota_burst(self._settings, rate)
        return Plan(
            source=self._source,
            operation=self._operation,
            things=imported.total,
            cores=imported.cores,
            requests=imported.minimum,
            largest_core=imported.largest_core,
            rejected=self._rejected,
            duplicates=imported.duplicates,
            protected=self._protected,
            bad_rows=tuple(self._bad),
            rate=rate,
            burst=burst,
            concurrency=self._settings.concurrency,
            per_core=self._settings.per_core,
            seconds=seconds_at_quota(imported.minimum, rate, burst),
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
        return {**meta, **self._facts}

    def _refuse_bad_rows(self) -> None:
        if self._rejected and not self._settings.skip_bad_rows:
            more = self._rejected - len(self._bad)
            lines = [str(row) for row in self._bad] + ([f"... and {more} more"] if more else [])
            what = "1 bad row" if self._rejected == 1 else f"{self._rejected} bad rows"
            raise ManifestError(
                f"{self._source}: {what}, nothing was sent; correct them, or go on without them: --skip-bad-rows\n"
                + "\n".join(lines)
            )

    def _refuse_amounts(self, imported: ImportSummary) -> None:
        if not imported.total:
            why = f"{self._protected} are protected" if self._protected else "no row is good"
            raise ManifestError(f"{self._source}: no associations are left to {self._operation} ({why})")
        limit = self._settings.max_things
        if limit is not None and imported.total > limit:
            raise GuardError(f"{self._source}: {imported.total} things, --max-things allows {limit}; nothing was sent")
