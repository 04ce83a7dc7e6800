"""The journal: the SQLite file that is the durable queue of one run."""

from asyncgg.journal.importer import Importer, ImportSummary
from asyncgg.journal.queries import JournalCounts
from asyncgg.journal.reader import (
    Certainty,
    JournalReader,
    OutcomeRow,
    RateDecision,
    SentRequest,
    ThingEffect,
    iter_effects,
    last_request_at,
)
from asyncgg.journal.schema import parse_operation
from asyncgg.journal.store import JournalStore, RecordedReply
from asyncgg.journal.writer import JournalWriter, mark_possibly_sent, write_meta

__all__ = [
    "Certainty",
    "ImportSummary",
    "Importer",
    "JournalCounts",
    "JournalReader",
    "JournalStore",
    "JournalWriter",
    "OutcomeRow",
    "RateDecision",
    "RecordedReply",
    "SentRequest",
    "ThingEffect",
    "iter_effects",
    "last_request_at",
    "mark_possibly_sent",
    "parse_operation",
    "write_meta",
]
