"""asyncgg: disassociate AWS IoT Greengrass V2 client devices from their core devices, at the quota's limit.

Everything named here is the public interface; the command line is made of the same parts. The names are
looked up when first used: a program that needs little of it, the simulator for one, does not wait for aiobotocore.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asyncgg.engine import RunResult
    from asyncgg.errors import (
        AsyncggError,
        CredentialsError,
        GuardError,
        InternalError,
        JournalError,
        JournalWriteError,
        ManifestError,
        ServiceError,
        SettingsError,
        UsageError,
    )
    from asyncgg.events import Event, Listener, Progress
    from asyncgg.journal import JournalReader
    from asyncgg.manifest import ManifestReader, open_manifest
    from asyncgg.models import Association, Outcome, RunState, Summary, ThingState
    from asyncgg.runs import (
        Plan,
        Run,
        Verification,
        disassociate,
        disassociate_cores,
        disassociate_sync,
        disassociate_things,
        resume,
        retry,
        undo,
        verify,
    )
    from asyncgg.settings import Settings, load_settings

__version__ = "0.2.0.dev0"

__all__ = [
    "Association",
    "AsyncggError",
    "CredentialsError",
    "Event",
    "GuardError",
    "InternalError",
    "JournalError",
    "JournalReader",
    "JournalWriteError",
    "Listener",
    "ManifestError",
    "ManifestReader",
    "Outcome",
    "Plan",
    "Progress",
    "Run",
    "RunResult",
    "RunState",
    "ServiceError",
    "Settings",
    "SettingsError",
    "Summary",
    "ThingState",
    "UsageError",
    "Verification",
    "disassociate",
    "disassociate_cores",
    "disassociate_sync",
    "disassociate_things",
    "load_settings",
    "open_manifest",
    "resume",
    "retry",
    "undo",
    "verify",
]

_EXPORTS = {
    "asyncgg.engine": ("RunResult",),
    "asyncgg.errors": (
        "AsyncggError",
        "CredentialsError",
        "GuardError",
        "InternalError",
        "JournalError",
        "JournalWriteError",
        "ManifestError",
        "ServiceError",
        "SettingsError",
        "UsageError",
    ),
    "asyncgg.events": (
        "Event",
        "Listener",
        "Progress",
    ),
    "asyncgg.journal": ("JournalReader",),
    "asyncgg.manifest": (
        "ManifestReader",
        "open_manifest",
    ),
    "asyncgg.models": (
        "Association",
        "Outcome",
        "RunState",
        "Summary",
        "ThingState",
    ),
    "asyncgg.runs": (
        "Plan",
        "Run",
        "Verification",
        "disassociate",
        "disassociate_cores",
        "disassociate_sync",
        "disassociate_things",
        "resume",
        "retry",
        "undo",
        "verify",
    ),
    "asyncgg.settings": (
        "Settings",
        "load_settings",
    ),
}
_MODULE_BY_NAME = {name: home for home, names in _EXPORTS.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_BY_NAME:
        raise AttributeError(f"module 'asyncgg' has no attribute {name!r}")
    return getattr(import_module(_MODULE_BY_NAME[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
