"""Rule: `cleanup --explain`: what a policy says of one thing, by the last snapshot; nothing is changed by it."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from pathlib import Path

from asyncgg.cleanup import Candidate, Explanation, Policy, RegistryCache, decide_chunks, explain
from asyncgg.cleanup.context import load_keep_lists, merge_limits
from asyncgg.cleanup.state import latest_snapshot
from asyncgg.cli.cleanup_run import load_checked_policy
from asyncgg.cli.console import Console
from asyncgg.cli.signals import raise_on_signal
from asyncgg.cli.supervisor import run_async
from asyncgg.errors import UsageError
from asyncgg.formatting import format_timestamp
from asyncgg.inventory import Snapshot
from asyncgg.runs.execute import connection_from_settings
from asyncgg.settings import Settings
from asyncgg.transport import resolve_endpoint

__all__ = ["explain_thing"]

_EXIT_NOT_FOUND = 3


def explain_thing(path: Path, thing: str, settings: Settings, console: Console, *, inventory: Path | None) -> int:
    """Write what becomes of each association of `thing`, and why; the exit code: 3 when it has none.

    Raises `UsageError` when there is no snapshot to look at, and what asking raises.
    """
    policy = merge_limits(load_checked_policy(path, console), settings)
    snapshot_path = inventory or latest_snapshot(policy.state_dir)
    if snapshot_path is None:
        raise UsageError(
            f"{policy.state_dir}: no night has left a snapshot yet: give --inventory fleet.db, or start a --dry-run"
        )
    with raise_on_signal(), Snapshot(snapshot_path) as snapshot:
        if not snapshot.finished:
            console.print(
                f"warning: snapshot {snapshot_path}: its sweep is not finished, the thing may be on other cores, too"
            )
        associations = list(snapshot.pairs_of_things([thing]))
        names = {association.core for association in associations}
        devices = {core.device.name: core.device for core in snapshot.cores() if core.device.name in names}
        taken_at = format_timestamp(snapshot.started_at)
        candidates = [Candidate(devices[core], name, associated_at) for core, name, associated_at in associations]
        explanations = run_async(_explain_candidates(policy, candidates, settings)) if candidates else []
    lines = [f"by {snapshot_path}, taken {taken_at}:"]
    for explanation in explanations:
        lines += explanation.lines()
    if not explanations:
        lines.append(f"{thing} is on no core")
    console.write_result(
        {
            "schema": "asyncgg.explain/1",
            "policy": policy.name,
            "thing": thing,
            "snapshot": str(snapshot_path),
            "taken": taken_at,
            "associations": [explanation.to_dict() for explanation in explanations],
        },
        lines,
    )
    return 0 if explanations else _EXIT_NOT_FOUND


async def _explain_candidates(policy: Policy, candidates: list[Candidate], settings: Settings) -> list[Explanation]:
    connection, now = connection_from_settings(settings), time.time()
    keep_lists = load_keep_lists(policy, settings, resolve_endpoint(connection))
    async with AsyncExitStack() as stack:
        registry = None
        if policy.required_apis:
            from asyncgg.cleanup.registry import open_registry

            registry = await stack.enter_async_context(open_registry(connection, policy.iot))
        registry_cache = RegistryCache(registry, lists=keep_lists)
        async for _ in decide_chunks(policy, [candidates], registry_cache, now):
            pass  # for its questions
        return [explain(policy, candidate, registry_cache.facts, now) for candidate in candidates]
