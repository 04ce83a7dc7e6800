"""The end of `credential_process` when its caller is cancelled."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop

from asyncgg.transport.credentials import CredentialSource
from tests.support.credential_providers import ROLE


@pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("profile", ["tested", "role"])
def test_open_cancelled_kills_process(
    home: Path, profile: str, factory: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    """The loop closes at once, although a child of the process holds its pipes."""
    fifo = home / "fifo"  # the child waits for it
    os.mkfifo(fifo)
    (home / "process.sh").write_text(f"echo $$ > {home}/pid; cat {fifo}; true\n")
    (home / "config").write_text(
        f"[profile tested]\ncredential_process = sh {home}/process.sh\n[profile role]\n{ROLE}source_profile = tested\n"
    )
    writer = -1

    async def main() -> asyncio.Task[None]:
        nonlocal writer
        loading = asyncio.create_task(CredentialSource(profile, "eu-west-1").open())
        while writer < 0:
            assert not loading.done()
            try:
                writer = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
            except OSError:  # nothing reads yet
                await asyncio.sleep(0)
        loading.cancel()
        await asyncio.wait([loading])
        return loading

    try:
        with asyncio.Runner(loop_factory=factory) as runner:
            loading = runner.run(main())
        assert loading.cancelled()
        with pytest.raises(ProcessLookupError):
            os.kill(int((home / "pid").read_text()), 0)
    finally:
        os.close(writer)  # ends the child
