"""Rule: one whole run, from a source of associations to a summary: prepared, planned, guarded, executed.

The command line and the library are two faces of what is here; neither knows more than the other.
"""

from asyncgg.runs.account import recorded_account, verify_account
from asyncgg.runs.api import Run, disassociate, disassociate_sync, resume, retry
from asyncgg.runs.execute import RunMode, execute, exit_code
from asyncgg.runs.found_run import disassociate_cores, disassociate_things
from asyncgg.runs.plan import Plan, quota_rate, seconds_at_quota
from asyncgg.runs.prepare import JournalBuilder, default_journal
from asyncgg.runs.undo_run import undo
from asyncgg.runs.verify_report import Verification
from asyncgg.runs.verify_run import verify

__all__ = [
    "JournalBuilder",
    "Plan",
    "Run",
    "RunMode",
    "Verification",
    "default_journal",
    "disassociate",
    "disassociate_cores",
    "disassociate_sync",
    "disassociate_things",
    "execute",
    "exit_code",
    "quota_rate",
    "recorded_account",
    "resume",
    "retry",
    "seconds_at_quota",
    "undo",
    "verify",
    "verify_account",
]
