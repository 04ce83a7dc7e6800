"""Runs from a source of associations to a summary: planned, checked, executed, verified, undone."""

from asyncgg.runs.api import (
    disassociate,
    disassociate_cores,
    disassociate_sync,
    disassociate_things,
    resume,
    retry,
    undo,
    verify,
)
from asyncgg.runs.connection import verify_account
from asyncgg.runs.execute import RunMode, SendingLease, execute, exit_code
from asyncgg.runs.plan import Plan, quota_rate, seconds_at_quota
from asyncgg.runs.prepare import JournalBuilder, default_journal
from asyncgg.runs.run import Run
from asyncgg.runs.verify_report import Verification

__all__ = [
    "JournalBuilder",
    "Plan",
    "Run",
    "RunMode",
    "SendingLease",
    "Verification",
    "default_journal",
    "disassociate",
    "disassociate_cores",
    "disassociate_sync",
    "disassociate_things",
    "execute",
    "exit_code",
    "quota_rate",
    "resume",
    "retry",
    "seconds_at_quota",
    "undo",
    "verify",
    "verify_account",
]
