"""Saves the shadows of things before they are deleted, and deletes the shadows on request."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from asyncgg.decommission.model import DeviceFacts
from asyncgg.decommission.shadow_service import CLASSIC, ShadowService
from asyncgg.decommission.steps import StepRecorder
from asyncgg.errors import JournalWriteError
from asyncgg.files import sync_folder

SAVE: Final = "SaveShadow"
DELETE: Final = "DeleteThingShadow"
_SUFFIX: Final = ".shadows.jsonl"


class ShadowArchive:
    """The file next to a journal with one saved shadow per line; the last line of a shadow counts.

    Raises `JournalWriteError`.
    """

    def __init__(self, journal: Path) -> None:
        self.path = journal.with_name(journal.name + _SUFFIX)
        self._in_use = threading.Lock()

    async def append(self, shadow: dict[str, Any]) -> None:
        """Add a shadow; it is on the disk when this returns."""
        await asyncio.shield(asyncio.to_thread(self._append, json.dumps(shadow) + "\n"))

    def _append(self, line: str) -> None:
        try:
            with self._in_use:
                is_new = not self.path.exists()
                descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
                with os.fdopen(descriptor, "r+b", buffering=0) as file:
                    end = file.seek(0, os.SEEK_END)
                    file.seek(max(0, end - 1))
                    if end and file.read(1) != b"\n":  # a process was killed while it wrote
                        line = "\n" + line
                    if file.write(line.encode()) != len(line.encode()):
                        raise OSError(0, "the disk is full")
                    os.fsync(file.fileno())
                if is_new:
                    sync_folder(self.path.parent)
        except OSError as error:
            raise JournalWriteError(f"{self.path}: a shadow cannot be saved: {error.strerror}") from None


@dataclass(frozen=True, slots=True)
class ShadowOptions:
    """What to do with the shadows of deleted things."""

    service: ShadowService
    archive: ShadowArchive
    delete: bool
    """Delete them after they are saved."""


class ShadowSaver:
    """Saves each shadow of a thing, and deletes it if the options say so."""

    def __init__(self, steps: StepRecorder, options: ShadowOptions) -> None:
        self._steps, self._options = steps, options

    async def process(self, facts: DeviceFacts) -> None:
        """Process the classic and the named shadows of a thing.

        Raises `AwsCallError`, and `JournalWriteError` before anything is deleted.
        """
        earlier = self._steps.earlier_actions(facts.name)
        sent = [action.partition(" ")[2] for action in earlier if action.startswith(DELETE)]
        names = await self._options.service.list_names(facts.name)
        for name in dict.fromkeys([CLASSIC, *names, *sent]):
            await self._process(facts, name)

    async def _process(self, facts: DeviceFacts, name: str) -> None:
        service, steps, thing = self._options.service, self._steps, facts.name
        save, delete = (f"{action} {name}".rstrip() for action in (SAVE, DELETE))
        if steps.is_done(thing, save) and not self._options.delete:
            return
        document = await service.get(thing, name)
        if document is None:
            if steps.step(thing, delete) is not None and not steps.is_done(thing, delete):
                await steps.finish(thing, delete)  # the intent was applied
            return
        shadow = {"thing": thing, "thing_id": facts.thing_id, "shadow": name, "document": document}
        await self._options.archive.append(shadow)
        await steps.finish(thing, save)
        if self._options.delete:
            await steps.apply(thing, delete, lambda: service.delete(thing, name))
