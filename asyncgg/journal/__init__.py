"""Rule: the durable queue of a run: one SQLite file, one writer (tables: `schema`, promises: `writer`)."""

from asyncgg.journal.importer import Importer, ImportSummary
from asyncgg.journal.lock import FileLock, is_locked
from asyncgg.journal.operation import parse_operation
from asyncgg.journal.reader import JournalReader, OutcomeRow, SentRequest
from asyncgg.journal.removed import Certainty, ThingEffect, iter_effects, last_request_at
from asyncgg.journal.store import JournalCounts, JournalStore, RecordedReply
from asyncgg.journal.writer import JournalWriter

__all__ = [
    "RecordedReply",
    "ThingEffect",
    "JournalCounts",
    "ImportSummary",
    "Importer",
    "JournalWriter",
    "JournalReader",
    "OutcomeRow",
    "FileLock",
    "SentRequest",
    "JournalStore",
    "Certainty",
    "iter_effects",
    "last_request_at",
    "parse_operation",
    "is_locked",
]
