"""Rule: the durable queue of a run: one SQLite file, one writer (tables: `schema`, promises: `writer`)."""

from asyncgg.journal.importer import Imported, Importer
from asyncgg.journal.lock import RunLock, running
from asyncgg.journal.operation import operation_of
from asyncgg.journal.reader import JournalReader, OutcomeRow, SentRequest
from asyncgg.journal.removed import Change, Sureness, changes, last_request_at
from asyncgg.journal.store import Answer, Counts, Store
from asyncgg.journal.writer import Journal

__all__ = [
    "Answer",
    "Change",
    "Counts",
    "Imported",
    "Importer",
    "Journal",
    "JournalReader",
    "OutcomeRow",
    "RunLock",
    "SentRequest",
    "Store",
    "Sureness",
    "changes",
    "last_request_at",
    "operation_of",
    "running",
]
