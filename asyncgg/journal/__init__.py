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
from asyncgg.journal.retry_wait import RetryWait
from asyncgg.journal.schema import parse_operation
from asyncgg.journal.statistics import (
    CoreOutcomes,
    FailureGroup,
    FinishedThings,
    RunStart,
    failure_groups,
    finished_things,
    run_starts,
    worst_cores,
)
from asyncgg.journal.store import JournalStore, RecordedReply
from asyncgg.journal.writer import JournalWriter, mark_possibly_sent, write_meta

__all__ = [
    "Certainty",
    "CoreOutcomes",
    "FailureGroup",
    "FinishedThings",
    "ImportSummary",
    "Importer",
    "JournalCounts",
    "JournalReader",
    "JournalStore",
    "JournalWriter",
    "OutcomeRow",
    "RateDecision",
    "RecordedReply",
    "RetryWait",
    "RunStart",
    "SentRequest",
    "ThingEffect",
    "failure_groups",
    "finished_things",
    "iter_effects",
    "last_request_at",
    "mark_possibly_sent",
    "parse_operation",
    "run_starts",
    "worst_cores",
    "write_meta",
]
