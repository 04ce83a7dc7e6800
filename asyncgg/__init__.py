"""Disassociate client devices from Greengrass core devices, as fast as the quota allows."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from asyncgg.engine import RunResult as RunResult  # noqa: I001 - isort would split it into one statement a name
    from asyncgg.errors import (
        AsyncggError as AsyncggError,
        CredentialsError as CredentialsError,
        DeadlineError as DeadlineError,
        GuardError as GuardError,
        InternalError as InternalError,
        JournalError as JournalError,
        JournalWriteError as JournalWriteError,
        LeaseHeldError as LeaseHeldError,
        LeaseLostError as LeaseLostError,
        ManifestError as ManifestError,
        ServiceError as ServiceError,
        SettingsError as SettingsError,
        StateWriteError as StateWriteError,
        UnfinishedRunError as UnfinishedRunError,
        UsageError as UsageError,
    )
    from asyncgg.events import Event as Event, Listener as Listener, Progress as Progress
    from asyncgg.journal import JournalReader as JournalReader
    from asyncgg.manifest import ManifestReader as ManifestReader, open_manifest as open_manifest
    from asyncgg.models import (
        Association as Association,
        Outcome as Outcome,
        RunState as RunState,
        Summary as Summary,
        ThingState as ThingState,
    )
    from asyncgg.runs import (
        Plan as Plan,
        Run as Run,
        Verification as Verification,
        disassociate as disassociate,
        disassociate_cores as disassociate_cores,
        disassociate_sync as disassociate_sync,
        disassociate_things as disassociate_things,
        resume as resume,
        retry as retry,
        undo as undo,
        verify as verify,
    )
    from asyncgg.settings import Settings as Settings, load_settings as load_settings

__version__ = "0.2.0.dev0"

# Imported on first use: the simulator, for one, does not have to load aiobotocore.
_EXPORTS: Final = {
    name: module
    for module, names in {
        "engine": "RunResult",
        "errors": "AsyncggError CredentialsError DeadlineError GuardError InternalError JournalError JournalWriteError"
        " LeaseHeldError LeaseLostError ManifestError ServiceError SettingsError StateWriteError UnfinishedRunError"
        " UsageError",
        "events": "Event Listener Progress",
        "journal": "JournalReader",
        "manifest": "ManifestReader open_manifest",
        "models": "Association Outcome RunState Summary ThingState",
        "runs": "Plan Run Verification disassociate disassociate_cores disassociate_sync disassociate_things"
        " resume retry undo verify",
        "settings": "Settings load_settings",
    }.items()
    for name in names.split()
}
__all__ = sorted(_EXPORTS)


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'asyncgg' has no attribute {name!r}")
    return getattr(import_module(f"asyncgg.{_EXPORTS[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
