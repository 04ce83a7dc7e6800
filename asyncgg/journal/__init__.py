"""Rule: the durable queue of a run: one SQLite file, one writer (tables: `schema`, promises: `writer`)."""

from asyncgg.journal.effects import Certainty, ThingEffect, iter_effects, last_request_at
from asyncgg.journal.importer import Importer, ImportSummary
from asyncgg.journal.lock import FileLock, is_locked
from asyncgg.journal.operation import parse_operation
from asyncgg.journal.reader import JournalReader, OutcomeRow, SentRequest
from asyncgg.journal.store import JournalCounts, JournalStore, RecordedReply
from asyncgg.journal.writer import JournalWriter

__all__ = [
    "Certainty",
    "FileLock",
    "ImportSummary",
    "Importer",
    "JournalCounts",
    "JournalReader",
    "JournalStore",
    "JournalWriter",
    "OutcomeRow",
    "RecordedReply",
    "SentRequest",
    "ThingEffect",
    "is_locked",
    "iter_effects",
    "last_request_at",
    "parse_operation",
]
