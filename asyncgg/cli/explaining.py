"""Rule: `cleanup --explain`: what a policy says of one thing, by the last snapshot; nothing is changed by it."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from pathlib import Path

from asyncgg.cleanup import Candidate, Explanation, Policy, RegistryCache, decide_chunks, explain
from asyncgg.cleanup.beginning import load_keep_lists, merge_limits
from asyncgg.cleanup.nights import latest_snapshot
from asyncgg.cli.night import checked
from asyncgg.cli.output import Output
from asyncgg.cli.running import run_loop
from asyncgg.cli.signals import interrupting
from asyncgg.errors import UsageError
from asyncgg.inventory import Snapshot
from asyncgg.manifest.writing import format_timestamp
from asyncgg.runs.execute import connection_from_settings
from asyncgg.settings import Settings
from asyncgg.transport import resolve_endpoint

__all__ = ["explain_thing"]

_NOWHERE = 3


def explain_thing(path: Path, thing: str, settings: Settings, output: Output, *, inventory: Path | None) -> int:
    """Write what becomes of each association of `thing`, and why; the exit code: 3 when it has none.

    Raises `UsageError` when there is no snapshot to look at, and what asking raises.
    """
    policy = merge_limits(checked(path, output), settings)
    source = inventory or latest_snapshot(policy.state_dir)
    if source is None:
        raise UsageError(
            f"{policy.state_dir}: no night has left a snapshot yet: give --inventory fleet.db, or start a --dry-run"
        )
    with interrupting(), Snapshot(source) as snapshot:
        if not snapshot.finished:
            output.say(f"warning: snapshot {source}: its sweep is not finished, the thing may be on other cores, too")
        found = list(snapshot.pairs_of_things([thing]))
        names = {pair.core for pair in found}
        devices = {core.device.name: core.device for core in snapshot.cores() if core.device.name in names}
        taken = format_timestamp(snapshot.started_at)
        candidates = [Candidate(devices[core], name, since) for core, name, since in found]
        explanations = run_loop(_explained(policy, candidates, settings)) if candidates else []
    lines = [f"by {source}, taken {taken}:"]
    for explanation in explanations:
        lines += explanation.lines()
    if not explanations:
        lines.append(f"{thing} is on no core")
    output.result(
        {
            "schema": "asyncgg.explain/1",
            "policy": policy.name,
            "thing": thing,
            "snapshot": str(source),
            "taken": taken,
            "associations": [explanation.to_dict() for explanation in explanations],
        },
        lines,
    )
    return 0 if explanations else _NOWHERE


async def _explained(policy: Policy, candidates: list[Candidate], settings: Settings) -> list[Explanation]:
    connection, now = connection_from_settings(settings), time.time()
    lists = load_keep_lists(policy, settings, resolve_endpoint(connection))
    async with AsyncExitStack() as stack:
        registry = None
        if policy.required_apis:
            from asyncgg.cleanup.iot_open import open_registry

            registry = await stack.enter_async_context(open_registry(connection, policy.iot))
        questions = RegistryCache(registry, lists=lists)
        async for _ in decide_chunks(policy, [candidates], questions, now):
            pass  # for its questions
        return [explain(policy, candidate, questions.facts, now) for candidate in candidates]
