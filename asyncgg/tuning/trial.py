"""Rule: one point is tried out here: the real engine, lane, limiter, policy and journal on the virtual clock.

Left out are the network (a scripted service answers), the disk's syncs, and signals. What a request costs the machine
takes no virtual time: a rate that the machine itself cannot reach looks reachable here.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from asyncgg.engine import Engine, Lane
from asyncgg.journal import JournalStore, JournalWriter
from asyncgg.models import RunState
from asyncgg.ratelimit import DOCUMENTED_QUOTA
from asyncgg.runs.execute import engine_options
from asyncgg.runs.pace import rate_policy
from asyncgg.settings import build_settings
from asyncgg.testing import FakeService, Scenario, run_virtual
from asyncgg.tuning.journal import TrialJournals
from asyncgg.tuning.models import Configuration, Trial, Workload
from asyncgg.tuning.settings_file import to_settings

__all__ = ["TrialSetup", "run_trial"]


@dataclass(frozen=True, slots=True)
class TrialSetup:
    """What all trials of a sweep have in common."""

    scenario: Scenario
    workload: Workload
    documented: float = DOCUMENTED_QUOTA
    """Where the rate policy begins: the quota that AWS documents for the Region, not the described one."""


def run_trial(config: Configuration, setup: TrialSetup, journals: TrialJournals, seed: int = 0) -> Trial:
    """Run the whole work at this point, with the dice of this seed; the same seed gives the same trial."""
    with journals.open_journal() as journal:
        return run_virtual(_run(config, setup, journal, seed))


async def _run(config: Configuration, setup: TrialSetup, journal: JournalWriter, seed: int) -> Trial:
    await journal.submit(JournalStore.begin_resume)
    service = FakeService(setup.scenario, seed=seed, record_log=False)
    settings = build_settings({"quota": setup.documented}, to_settings(config))
    options = engine_options(settings)
    engine = Engine(journal, Lane(service, rate_policy(settings, None), retry=options.retry), options)
    clock = asyncio.get_running_loop().time
    started_at = clock()
    result = await engine.run()
    return Trial(
        config,
        clock() - started_at,
        service.sent,
        service.throttled,
        service.max_in_flight,
        result.state in {RunState.COMPLETE, RunState.PARTIAL},
    )
