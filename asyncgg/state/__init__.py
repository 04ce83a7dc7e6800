"""Saved states: the runs of a process without a disk, kept in S3 or a folder and run by one process at a time."""

from asyncgg.state.document import LeaseHolder, SavedFile, StateDocument
from asyncgg.state.keeper import StateKeeper
from asyncgg.state.lease import Lease, lease_seconds
from asyncgg.state.restore import read_document, read_state, read_summaries, require_saved_run
from asyncgg.state.saved_runs import require_no_pending_run, saved_path, show_saved
from asyncgg.state.session import StateSession
from asyncgg.state.store import StateStore, StoredDocument, VersionConflictError, open_client, open_store

__all__ = [
    "Lease",
    "LeaseHolder",
    "SavedFile",
    "StateDocument",
    "StateKeeper",
    "StateSession",
    "StateStore",
    "StoredDocument",
    "VersionConflictError",
    "lease_seconds",
    "open_client",
    "open_store",
    "read_document",
    "read_state",
    "read_summaries",
    "require_no_pending_run",
    "require_saved_run",
    "saved_path",
    "show_saved",
]
