"""Runs `credential_process` so that the end of a command or a timeout also ends the process."""

from __future__ import annotations

import asyncio
from typing import Any

from aiobotocore.credentials import AioAssumeRoleProvider, AioProcessProvider


class CancellableProcess:
    """What the process provider uses of a process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @property
    def returncode(self) -> int | None:
        """The exit code."""
        return self._process.returncode

    async def communicate(self) -> tuple[bytes, bytes]:
        """Read both streams to their end; cancellation kills the process."""
        try:
            return await self._process.communicate()
        except BaseException:
            await _kill(self._process)
            raise


async def _kill(process: asyncio.subprocess.Process) -> None:
    # `close` kills the process, and closes its pipes, which its children may hold open: no loop can be closed
    # before that.
    process._transport.close()  # type: ignore[attr-defined]  # there is no public way
    await process.wait()


async def _start(*command: str, **options: Any) -> CancellableProcess:
    creation = asyncio.create_task(asyncio.create_subprocess_exec(*command, **options))
    try:
        return CancellableProcess(await asyncio.shield(creation))
    except asyncio.CancelledError:  # a creation that is cancelled itself can wait forever for its pipes
        await _kill(await creation)
        raise


def make_cancellable(provider: object) -> None:
    """Let a provider of credentials start processes that end when their task is cancelled."""
    if isinstance(provider, AioProcessProvider):
        provider._popen = _start
    if isinstance(provider, AioAssumeRoleProvider) and provider._profile_provider_builder is not None:
        builder = provider._profile_provider_builder
        create = builder._create_process_provider

        def create_cancellable(profile: str) -> AioProcessProvider:
            process_provider = create(profile)
            process_provider._popen = _start
            return process_provider

        builder._create_process_provider = create_cancellable
