"""Test of `asyncgg decommission` with kill -9 at some writes: a fleet with every kind of refused certificate."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from benchmarks.decommission_kills import KillScenario
from tests.support.programs import Program, program_environment


class ForkedScenario(KillScenario):
    """Starts programs from a process that has imported asyncgg."""

    async def execute(self, command: Sequence[str], variables: Mapping[str, str]) -> tuple[int, str, str]:
        """See `KillScenario.execute`."""
        variables = program_environment(self.folder) | dict(variables)
        program = await asyncio.to_thread(Program, *command, home=self.folder, env=variables)
        self.pid = program.process.pid
        result = await asyncio.to_thread(program.wait)
        return result.code, result.out, result.err


async def test_release_follows_a_killed_quarantine(tmp_path: Path) -> None:
    """A core disassociated its devices, and the program was killed before the reply: release restores them, too."""
    result = await ForkedScenario(tmp_path, "release", devices=8, every=8, resumes=False).run()
    assert result.kills >= 1
    assert (result.lost, result.others_changed) == (0, 0)


@pytest.mark.parametrize(("last_stage", "every"), [("release", 6), ("delete", 16)])
async def test_killed_stages_resume(tmp_path: Path, last_stage: str, every: int) -> None:
    """Exactly the allowed devices are quarantined, then released to the byte or deleted; no recorded write repeats."""
    result = await ForkedScenario(tmp_path, last_stage, devices=8, every=every).run()
    assert result.kills >= 2
    assert (result.lost, result.others_changed, result.repeated) == (0, 0, 0)
