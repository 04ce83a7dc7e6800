"""The journal of a decommission: facts, refusals, and each write before and after it is sent."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, astuple
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self

from asyncgg.decommission.guards import Refusal
from asyncgg.decommission.model import CertificateFacts, DeviceFacts, DeviceStep, RefusalReason, Stage, Steps, StepState
from asyncgg.errors import JournalError, JournalWriteError
from asyncgg.storage import MetaStore, SqliteFormat, SqliteWriter, remove_file

DECOMMISSION_FORMAT: Final = SqliteFormat(
    label="decommission journal",
    version=1,
    older_advice="Finish it with the version that started it.",
    error=JournalError,
    write_error=JournalWriteError,
    probes=("SELECT name FROM device LIMIT 1", "SELECT subject FROM step LIMIT 1"),
    # FULL: an intent is on the disk before its request is sent.
    pragmas=("journal_mode = WAL", "synchronous = FULL"),
)
_TIMES: Final = ("created", "asked_at", "quarantined_at")
_OBJECTS: Final = ("settings", "options")
"""Entries of the header that are JSON objects."""
_SCHEMA: Final = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE device (
  name TEXT PRIMARY KEY, position INTEGER NOT NULL, facts TEXT
) WITHOUT ROWID;
CREATE TABLE refusal (
  stage TEXT NOT NULL, name TEXT NOT NULL, reason TEXT NOT NULL, detail TEXT NOT NULL, PRIMARY KEY (stage, name)
) WITHOUT ROWID;
CREATE TABLE certificate (id TEXT PRIMARY KEY, facts TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE step (
  stage TEXT NOT NULL, subject TEXT NOT NULL, action TEXT NOT NULL, state TEXT NOT NULL,
  code TEXT NOT NULL, message TEXT NOT NULL, request_id TEXT NOT NULL, detail TEXT NOT NULL, at REAL NOT NULL,
  PRIMARY KEY (stage, subject, action)
) WITHOUT ROWID;
"""


def is_decommission(path: Path) -> bool:
    """Whether the file at `path` is the journal of a decommission."""
    return DECOMMISSION_FORMAT.is_marked(path)


class DecommissionJournal:
    """One file, one writer. Every method raises `JournalError` or `JournalWriteError`."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = path
        self._writer: SqliteWriter[sqlite3.Connection] | None = None
        if read_only:
            self._connection = DECOMMISSION_FORMAT.open(path, read_only=True)
        else:
            self._writer = SqliteWriter(DECOMMISSION_FORMAT, path, lambda connection: connection)
            self._connection = self._writer.store

    @classmethod
    def create(cls, path: Path, names: Iterable[str], **meta: object) -> Self:
        """A new journal of these devices. Raises `JournalError` if the file exists."""
        try:
            path.touch(mode=0o600, exist_ok=False)
        except FileExistsError:
            raise JournalError(f"{path} already exists; continue it with resume, or choose another --journal") from None
        except OSError as error:
            raise JournalError(f"{path}: cannot create the journal: {error.strerror}") from None
        try:
            with DECOMMISSION_FORMAT.translate_errors(path, writing=True):
                connection = DECOMMISSION_FORMAT.connect(path)
                DECOMMISSION_FORMAT.set_up(connection)
                connection.executescript(_SCHEMA)
                rows = [(name, number) for number, name in enumerate(names)]
                connection.execute("BEGIN")
                connection.executemany("INSERT INTO device (name, position) VALUES (?, ?)", rows)
                MetaStore(connection).put(**meta)
                DECOMMISSION_FORMAT.mark(connection)
                connection.execute(f"PRAGMA user_version = {DECOMMISSION_FORMAT.version}")
                connection.execute("COMMIT")
                connection.close()
        except BaseException:
            remove_file(path)
            raise
        return cls(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, after a commit that is in progress, and release its lock."""
        (self._writer or self._connection).close()

    # --- reading ---

    def _rows(self, query: str, *values: object) -> list[Any]:
        with DECOMMISSION_FORMAT.translate_errors(self.path):
            return self._connection.execute(query, values).fetchall()

    def meta(self) -> dict[str, str]:
        """The header and the settings. Raises `JournalError` for a value that cannot be one."""
        meta = dict(self._rows("SELECT key, value FROM meta"))
        with DECOMMISSION_FORMAT.translate_errors(self.path):
            Stage(meta["stage"])
            for name in _TIMES:
                datetime.fromtimestamp(float(meta.get(name, 0)), UTC)
            for name in _OBJECTS:
                dict(json.loads(meta.get(name, "{}")))
        return meta

    def names(self) -> list[str]:
        """All devices, in the order of the list."""
        return [name for (name,) in self._rows("SELECT name FROM device ORDER BY position")]

    def devices(self) -> dict[str, DeviceFacts]:
        """The devices whose facts are known, in the order of the list."""
        rows = self._rows("SELECT name, facts FROM device WHERE facts IS NOT NULL ORDER BY position")
        with DECOMMISSION_FORMAT.translate_errors(self.path):
            return {name: DeviceFacts(**_tuples(json.loads(facts))) for name, facts in rows}

    def certificates(self) -> dict[str, CertificateFacts]:
        """The certificates of all devices, by id, as they were before the first write."""
        rows = self._rows("SELECT id, facts FROM certificate")
        with DECOMMISSION_FORMAT.translate_errors(self.path):
            return {id_: CertificateFacts(**_tuples(json.loads(facts))) for id_, facts in rows}

    def refusals(self, stage: str) -> dict[str, Refusal]:
        """The devices that a stage refused."""
        rows = self._rows("SELECT name, reason, detail FROM refusal WHERE stage = ?", stage)
        with DECOMMISSION_FORMAT.translate_errors(self.path):
            return {name: Refusal(RefusalReason(reason), detail) for name, reason, detail in rows}

    def allowed(self, stage: str, names: Iterable[str]) -> list[str]:
        """Those of `names` that a stage did not refuse."""
        refused = self.refusals(stage)
        return [name for name in names if name not in refused]

    def steps(self) -> Steps:
        """Every recorded write."""
        query = "SELECT stage, subject, action, state, code, message, request_id, detail FROM step"
        steps = (
            DeviceStep(stage, subject, action, StepState(state), *rest)
            for stage, subject, action, state, *rest in self._rows(query)
        )
        with DECOMMISSION_FORMAT.translate_errors(self.path):
            return Steps(((step.stage, step.subject, step.action), step) for step in steps)

    # --- writing ---

    async def put_meta(self, **values: object) -> None:
        """Set entries of the header."""
        await self._write(("INSERT OR REPLACE INTO meta VALUES (?, ?)", [(key, str(values[key])) for key in values]))

    async def put_facts(self, *devices: DeviceFacts) -> None:
        """Save the facts of devices."""
        rows = [(json.dumps(asdict(device)), device.name) for device in devices]
        await self._write(("UPDATE device SET facts = ? WHERE name = ?", rows))

    async def put_certificates(self, certificates: Mapping[str, CertificateFacts]) -> None:
        """Save certificates; one that is there keeps its first status."""
        rows = [(id_, json.dumps(asdict(facts))) for id_, facts in certificates.items()]
        await self._write(("INSERT OR IGNORE INTO certificate VALUES (?, ?)", rows))

    async def forget_unchanged(self, stage: str) -> None:
        """Forget what is known about devices that a stage neither refused nor changed, to ask about them again."""
        devices, refused = self.devices(), self.refusals(stage)
        changed = {subject for step_stage, subject, _ in self.steps() if step_stage == stage}
        forgotten = {
            name
            for name, facts in devices.items()
            if name not in refused and name not in changed and not changed & set(facts.certificates)
        }
        kept = {id_ for name in devices.keys() - forgotten for id_ in devices[name].certificates}
        certificates = {id_ for name in forgotten for id_ in devices[name].certificates} - kept
        await self._write(
            ("UPDATE device SET facts = NULL WHERE name = ?", [(name,) for name in forgotten]),
            ("DELETE FROM certificate WHERE id = ?", [(id_,) for id_ in certificates]),
        )

    async def put_refusals(self, stage: str, refusals: Mapping[str, Refusal]) -> None:
        """Save the devices that a stage refuses."""
        rows = [(stage, name, refusal.reason, refusal.detail) for name, refusal in refusals.items()]
        await self._write(("INSERT OR REPLACE INTO refusal VALUES (?, ?, ?, ?)", rows))

    async def clear_refusals(self, stage: str) -> None:
        """Forget the refused devices of a stage, before it asks again."""
        await self._write(("DELETE FROM refusal WHERE stage = ?", [(stage,)]))

    async def record(self, *steps: DeviceStep) -> None:
        """Save steps; they are on the disk when this returns."""
        rows = [(*astuple(step), time.time()) for step in steps]
        await self._write(("INSERT OR REPLACE INTO step VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows))

    async def _write(self, *statements: tuple[str, Sequence[tuple[object, ...]]]) -> None:
        """Execute each statement for all of its rows, in one transaction, and wait for the commit."""
        assert self._writer is not None, "opened for reading"

        def execute(connection: sqlite3.Connection) -> None:
            for statement, rows in statements:
                connection.executemany(statement, rows)

        await self._writer.submit(execute)


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
