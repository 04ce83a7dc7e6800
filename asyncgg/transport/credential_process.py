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
            # `close` kills the process, and closes its pipes, which its children may hold open: no loop can be
            # closed before that.
            self._process._transport.close()  # type: ignore[attr-defined]  # there is no public way
            await self._process.wait()
            raise


async def _start(*command: str, **options: Any) -> CancellableProcess:
    return CancellableProcess(await asyncio.create_subprocess_exec(*command, **options))


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
