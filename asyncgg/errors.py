"""The exceptions that asyncgg raises, each with the exit code of the command line."""

# A message has one or two lines: what happened, where (file and line), what to do.

from __future__ import annotations

import re
from typing import Final

# For a wrong signature AWS returns the canonical request, which contains the session token.
_SESSION_TOKEN: Final = re.compile(r"(x-amz-security-token\s*[:=]\s*)[^\s&;,'\"\\]+", re.IGNORECASE)


def redact_secrets(text: str) -> str:
    """`text` of a service, without session tokens."""
    return _SESSION_TOKEN.sub(r"\1***", text) if "-token" in text.lower() else text


class AsyncggError(Exception):
    """Base class of all errors raised by asyncgg."""

    exit_code = 1


# --- errors of the caller ---


class UsageError(AsyncggError):
    """The request is invalid or incomplete; nothing was sent."""

    exit_code = 2


class SettingsError(UsageError):
    """A setting has an unknown name or an invalid value; the message names its source."""


class ManifestError(UsageError):
    """The manifest cannot be read, has no valid rows, or has invalid rows."""


class JournalError(UsageError):
    """The journal is missing, corrupt, of another format, read-only, or in use."""


class SnapshotError(UsageError):
    """The snapshot is missing, corrupt, too old, unfinished, or of another fleet."""


class GuardError(AsyncggError):
    """A guard (`max_things`, `expect_account`, ...) stopped the run before its first request."""

    exit_code = 4


class LeaseHeldError(GuardError):
    """Another process holds the lease of a state and renews it; nothing was sent."""


class UnfinishedRunError(GuardError):
    """The newest run of a state has pending things, which a new run would leave; resume it first."""


class DeadlineError(AsyncggError):
    """The deadline was reached before the first request."""

    exit_code = 10


class CredentialsError(AsyncggError):
    """Credentials are missing, rejected, or cannot be refreshed."""

    exit_code = 5


class CredentialsUnreachableError(CredentialsError):
    """The source of the credentials is temporarily unreachable."""


# --- errors of the service ---


class ServiceError(AsyncggError):
    """AWS did not respond, or the response is not in the service model."""


# --- internal errors and errors of the machine ---


class InternalError(AsyncggError):
    """An internal error of asyncgg; please report it."""


class JournalWriteError(AsyncggError):
    """The journal cannot be written. No further request is sent; the run is resumable."""


class SnapshotWriteError(AsyncggError):
    """The snapshot cannot be written. No further request is sent; the scan is resumable."""


class StateWriteError(AsyncggError):
    """The state of a policy, or a saved state, cannot be written (disk full, or store unreachable)."""


class LeaseLostError(AsyncggError):
    """Another process has taken the lease of a state. No further request is sent."""

    exit_code = 4
