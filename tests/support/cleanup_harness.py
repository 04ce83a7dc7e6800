"""Complete policy runs in this process: a fleet, its registry, and the expected result."""

# The facts give the expected result of each association without using any rule.

from __future__ import annotations

import asyncio
import csv
import gzip
import inspect
import json
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from asyncgg.cleanup.context import merge_limits, policy_digest, read_keep_lists
from asyncgg.cleanup.policy.loader import load_policy
from asyncgg.cleanup.report import CleanupReport
from asyncgg.cleanup.rules.base import QueryFailed, ThingDescription
from asyncgg.cleanup.runner import PolicyRunner
from asyncgg.engine import StopReason
from asyncgg.errors import CredentialsError
from asyncgg.journal import JournalReader
from asyncgg.models import Reply, RunState
from asyncgg.run_directory import RunDirectory
from asyncgg.settings import Settings
from asyncgg.simulator import FleetSpec, Service, SimulatorConfig
from asyncgg.simulator.fleet import Core
from asyncgg.transport import CallerIdentity, Endpoint
from asyncgg.transport.base import MAX_PAGE_SIZE, CoreFilter
from tests.support.in_process import InProcessTransport
from tests.support.scan import InProcessListing

Pair = tuple[str, str]
DAY = 86_400.0
ENDPOINT = Endpoint("eu-west-1", "http://direct", True, "aws", "test")
SETTINGS = Settings(rate=10_000.0, burst=1_000.0, max_attempts=3, max_attempts_unknown=1)
RULES = """
[[rule]]
id = "orphan"
thing-missing = true
associated-before = "7d"

[[rule]]
id = "retired"
thing-group = "retired"

[[rule]]
id = "unlisted"
name = "tmp-*"
not-in = "keep.txt"

[sources]
name = "core-*"
"""
GUARDS = """
[guards]
protect-names = ["precious-*", "core:core-protected"]
"""


@dataclass(frozen=True)
class AssociationFact:
    """One association with its properties, and whether it must be removed."""

    core: str
    thing: str
    is_expected: bool
    registered: bool = True
    retired: bool = False
    age: float = 30 * DAY


def example_facts(cores: int = 4, things: int = 30) -> list[AssociationFact]:
    """A fleet in which the things of a core take all cases in turn."""
    result = []
    for core in [*(f"core-{number}" for number in range(cores)), "core-protected", "other-1"]:
        is_in_scope = core.startswith("core-") and core != "core-protected"
        for number in range(things):
            name = f"{core}-{number:03}"
            result.append(
                {
                    0: AssociationFact(core, f"{name}-orphan", is_in_scope, registered=False),
                    1: AssociationFact(core, f"{name}-young", False, registered=False, age=DAY),
                    2: AssociationFact(core, f"{name}-retired", is_in_scope, retired=True),
                    3: AssociationFact(core, f"precious-{name}-orphan", False, registered=False),
                    4: AssociationFact(core, f"precious-{name}-retired", False, retired=True),
                    5: AssociationFact(core, f"tmp-{name}", is_in_scope),
                    6: AssociationFact(core, f"tmp-keep-{name}", False),
                }.get(number % 10, AssociationFact(core, f"{name}-fine", False))
            )
    return result


@dataclass
class RecordingTransport(InProcessListing):
    """Calls the service in this process and reports each step to the harness."""

    harness: Any = None

    async def send(self, core: str, things: Sequence[str]) -> Reply:
        """Send one request and record what the service removed, for a parent process."""
        await self.harness.step("send")
        before = set(self.service.fleet.things.get(core, ()))
        reply = await InProcessTransport(self.service, now=time.time).send(core, things)
        removed = before - set(self.service.fleet.things.get(core, ()))
        self.harness.record_sent("".join(f"{core} {thing} {thing in removed:d}\n" for thing in things).encode())
        await self.harness.step("sent")
        return reply

    async def list_cores(self, token: str, filters: CoreFilter, limit: int = MAX_PAGE_SIZE) -> Any:
        """Return a page of cores."""
        await self.harness.step("read")
        return await super().list_cores(token, filters, limit)

    async def list_client_devices(self, core: str, token: str) -> Any:
        """Return a page of client devices."""
        await self.harness.step("read")
        return await super().list_client_devices(core, token)


@dataclass
class FactRegistry:
    """An AWS IoT registry with the facts of the harness."""

    harness: Any
    fails: Callable[[str], bool] = lambda subject: False
    is_registered: Callable[[str], bool] = lambda subject: True
    expired: bool = False

    async def describe_thing(self, thing: str) -> ThingDescription | QueryFailed:
        """Look up one thing."""
        await self.harness.step("look-up")
        if self.expired:
            raise CredentialsError("log in again")
        if self.fails(thing):
            return QueryFailed("it cannot be reached")
        return ThingDescription(self.is_registered(thing) and thing not in self.harness.unregistered)

    async def list_group(self, group: str, recursive: bool) -> frozenset[str] | QueryFailed:
        """List one group."""
        await self.harness.step("look-up")
        return QueryFailed("it cannot be reached") if self.fails(group) else frozenset(self.harness.retired)

    async def search_index(self, query: str) -> frozenset[str] | QueryFailed:
        """Not used."""
        raise NotImplementedError


@dataclass
class CleanupHarness:
    """A fleet, its registry, and a policy with its state in `folder`."""

    folder: Path
    facts: list[AssociationFact] = field(default_factory=example_facts)
    rules: str = RULES
    guards: str = GUARDS
    state: str = "[state]\nresume-unfinished = true\n"
    step_hooks: dict[tuple[str, int], Callable[[], Any]] = field(default_factory=dict)
    """Actions at the n-th step of a kind: read, look-up, send, sent."""

    def __post_init__(self) -> None:
        """Create service, policy and list."""
        now = time.time()
        names = list(dict.fromkeys(fact.core for fact in self.facts))
        things: dict[str, dict[str, float]] = {name: {} for name in names}
        for fact in self.facts:
            things[fact.core][fact.thing] = now - fact.age
        plan = FleetSpec(tuple(Core(name, last_status_update=now) for name in names), things)
        self.service = Service(SimulatorConfig(rate=float("inf"), latency_ms=0.0), fleet_spec=plan, now=now)
        self.unregistered = {fact.thing for fact in self.facts if not fact.registered}
        self.retired = {fact.thing for fact in self.facts if fact.retired}
        self.expected: set[Pair] = {(fact.core, fact.thing) for fact in self.facts if fact.is_expected}
        self.all_pairs: set[Pair] = {(fact.core, fact.thing) for fact in self.facts}
        self.sent_log = bytearray()
        self.record_sent: Callable[[bytes], Any] = self.sent_log.extend
        keep_list = ["something", *(fact.thing for fact in self.facts if "keep" in fact.thing)]
        (self.folder / "keep.txt").write_text("\n".join(keep_list) + "\n")
        self.write_policy()
        self.steps: Counter[str] = Counter()
        self.registry = FactRegistry(self)
        self.warnings: list[str] = []
        self.events: list[Any] = []
        self.runner: PolicyRunner | None = None

    def write_policy(self, extra: str = "") -> None:
        """Write the policy, with `extra` before `[state]`."""
        (self.folder / "nightly.toml").write_text(f"{self.rules}\n{self.guards}\n{extra}\n{self.state}")

    async def run(
        self, *, dry_run: bool = False, endpoint: Endpoint = ENDPOINT, account: str = "", **settings: Any
    ) -> CleanupReport:
        """Run the policy once."""
        settings_used = SETTINGS.model_copy(update=settings)
        policy = merge_limits(load_policy(self.folder / "nightly.toml")[0], settings_used)
        lists = read_keep_lists(policy)
        self.steps.clear()
        self.warnings.clear()
        self.runner = PolicyRunner(
            policy,
            settings_used,
            endpoint,
            digest=policy_digest(policy, lists),
            lists=lists,
            account=CallerIdentity(account, "arn", "sts") if account else None,
            transport=RecordingTransport(self.service, harness=self, on_refresh=self.refresh),
            registry=self.registry,
            listeners=[self.events.append],
            on_warning=self.warnings.append,
        )
        return await self.runner.run(dry_run=dry_run)

    def run_sync(self, **options: Any) -> CleanupReport:
        """As `run`, without a running loop."""
        return asyncio.run(self.run(**options))

    async def refresh(self) -> None:
        """Fail to renew credentials."""
        raise CredentialsError("log in again")

    def run_forked(
        self, kind: str, number: int, action: Callable[[], Any], **options: Any
    ) -> tuple[int, str, list[str]] | None:
        """Run once in a child process, and call `action` there at the n-th step of a kind.

        Returns exit code, reason and warnings; None if the child was killed.
        """
        read_fd, write_fd = os.pipe()
        child = os.fork()
        if not child:
            try:
                self.record_sent = partial(os.write, write_fd)  # the disk may be full
                self.step_hooks = {(kind, number): action}
                report = self.run_sync(**options)
                self.record_sent(json.dumps([report.exit, report.reason, report.warnings]).encode())
            finally:
                os._exit(0)
        os.close(write_fd)
        with os.fdopen(read_fd, "rb") as pipe:
            *sent, last = pipe.read().decode().split("\n")
        os.waitpid(child, 0)
        for line in sent:
            core, thing, _ = line.split()
            self.service.fleet.disassociate(core, thing)
            self.record_sent(f"{line}\n".encode())
        if not last:
            return None
        code, reason, warnings = json.loads(last)
        return code, reason, warnings

    def run_killed(self, kind: str, number: int, **options: Any) -> bool:
        """As `run_forked`, with kill -9 as action; whether the step was reached."""
        return self.run_forked(kind, number, lambda: os.kill(os.getpid(), signal.SIGKILL), **options) is None

    def stop(self) -> None:
        """Stop as the first signal does."""
        assert self.runner is not None
        self.runner.stop(StopReason(RunState.INTERRUPTED, "stopped by Ctrl-C"))

    async def step(self, kind: str) -> None:
        """Call the hook before a step, or for `sent` after one."""
        self.steps[kind] += 1
        if (action := self.step_hooks.get((kind, self.steps[kind]))) is not None:
            done = action()
            if inspect.isawaitable(done):
                await done

    # --- results ---

    def sent(self) -> list[tuple[str, str, bool]]:
        """Core and thing of everything sent, and whether it was associated."""
        rows = [line.split() for line in self.sent_log.decode().splitlines()]
        return [(core, thing, was == "1") for core, thing, was in rows]

    @property
    def removed(self) -> set[Pair]:
        """Associations that no longer exist."""
        things = self.service.fleet.things
        return self.all_pairs - {(core, thing) for core, names in things.items() for thing in names}

    def run_directories(self) -> list[RunDirectory]:
        """The folders of all runs."""
        return [RunDirectory(path) for path in sorted((self.folder / "nightly.state").glob("2*"))]


def read_decisions(run_directory: RunDirectory) -> dict[Pair, tuple[str, str]]:
    """Disposition and reason of each association; each has one decision."""
    with gzip.open(run_directory.decisions, "rt", newline="") as file:
        rows = list(csv.DictReader(file))
    result = {(row["core"], row["thing"]): (row["verdict"], row["reason"]) for row in rows}
    assert len(result) == len(rows)
    return result


def read_reasons(run_directory: RunDirectory) -> dict[Pair, str]:
    """The reason of each thing in the journal."""
    with JournalReader(run_directory.journal) as reader:
        return {(row.core, row.thing): row.reason for row in reader.outcomes()}
