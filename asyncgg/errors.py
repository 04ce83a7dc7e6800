"""Rule: every error asyncgg raises is declared here, split by whose fault it is: the caller's, the service's, ours.

A message is one or two lines: what happened, where (file and line), what to do. No message holds a secret.
`exit_code` is what the command line ends with (a contract, see docs/design.md).
"""

from __future__ import annotations

import re
from typing import Final

__all__ = [
    "AsyncggError",
    "CredentialsError",
    "GuardError",
    "InternalError",
    "JournalError",
    "JournalWriteError",
    "ManifestError",
    "ServiceError",
    "SettingsError",
    "SnapshotError",
    "SnapshotWriteError",
    "StateWriteError",
    "UsageError",
    "redact_secrets",
]

# AWS answers a wrong signature with the whole canonical request it expected, the session token's header among it.
_SESSION_TOKEN: Final = re.compile(r"(x-amz-security-token\s*[:=]\s*)[^\s&;,'\"\\]+", re.IGNORECASE)


def redact_secrets(text: str) -> str:
    """`text`, which a service said, without a session token."""
    return _SESSION_TOKEN.sub(r"\1***", text) if "-token" in text.lower() else text


class AsyncggError(Exception):
    """The root of all errors raised by asyncgg."""

    exit_code = 1


# --- the caller's: what was asked cannot be done as it was asked ---


class UsageError(AsyncggError):
    """What was asked is wrong or incomplete; nothing was sent."""

    exit_code = 2


class SettingsError(UsageError):
    """A setting has an unknown name or an impossible value; the message names it and where it stands."""


class ManifestError(UsageError):
    """The manifest cannot be read, has no usable rows, or has bad rows and nobody allowed skipping them."""


class JournalError(UsageError):
    """The journal cannot be used: missing, foreign, broken, newer than this program, read-only, or in use."""


class SnapshotError(UsageError):
    """The inventory snapshot cannot be used: missing, foreign, broken, too old, unfinished, or of another fleet."""


class GuardError(AsyncggError):
    """A guard the caller set (`max_things`, `expect_account`, ...) stopped the run before its first request."""

    exit_code = 4


class CredentialsError(AsyncggError):
    """There are no credentials, they are not accepted, or they could not be refreshed."""

    exit_code = 5


# --- the service's ---


class ServiceError(AsyncggError):
    """AWS could not be asked, or answered something that is not in its service model."""

    exit_code = 1


# --- ours, or the machine's under us ---


class InternalError(AsyncggError):
    """A fault of asyncgg itself; please report it."""


class JournalWriteError(AsyncggError):
    """The journal could not be written (full disk, failing disk): nothing further is sent, the journal is resumable."""


class SnapshotWriteError(AsyncggError):
    """The snapshot could not be written (full disk, failing disk): nothing further is asked, the sweep is resumable."""


class StateWriteError(AsyncggError):
    """What a clean-up keeps of a night could not be written (full disk, failing disk)."""
