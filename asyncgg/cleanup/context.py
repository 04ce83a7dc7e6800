"""What one policy run works with: settings, lists, deadline, and how to scan, run and stop."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

from asyncgg.cleanup.policy.model import Policy
from asyncgg.engine import RunResult, StopReason
from asyncgg.errors import ManifestError, SettingsError
from asyncgg.events import Listener
from asyncgg.files import os_errors_as
from asyncgg.inventory import Origin, ScanResult
from asyncgg.manifest import ProtectList, S3Opener, load_protect_list
from asyncgg.manifest.name_lists import read_names
from asyncgg.models import RunState, Summary
from asyncgg.ratelimit import RampPlan
from asyncgg.runs import SendingLease, execute
from asyncgg.runs.prepare import s3_opener
from asyncgg.runs.scan import FullTransport, scan_with_settings
from asyncgg.settings import Settings
from asyncgg.transport import CallerIdentity, CoreFilter, Endpoint

T = TypeVar("T")
NumberT = TypeVar("NumberT", int, float)

MAX_SCAN_AGE = 6 * 3600.0
"""Seconds since its start for which a scan can be resumed and used for decisions."""


# --- stopping ---


class Stoppable(Protocol):
    """A scan or a run: it can be stopped and reports its progress."""

    def stop(self, stop: StopReason) -> None:
        """Start nothing new."""

    def progress(self) -> Any:
        """The current progress."""


class StoppedError(Exception):
    """The current step was stopped, or the deadline passed."""

    def __init__(self, stop: StopReason) -> None:
        super().__init__(stop.message)
        self.stop = stop

    @property
    def result(self) -> RunResult:
        """The stop as the end of a run."""
        return RunResult(self.stop.state, self.stop.message, self.stop.is_auth_error)


class StopController:
    """Stops whatever a policy run is doing. `deadline`: seconds from now. Needs a running loop."""

    def __init__(self, deadline: float | None, on_start: Callable[[Stoppable], None]) -> None:
        self._clock = asyncio.get_running_loop().time
        self._deadline_at = None if deadline is None else self._clock() + deadline
        self._on_start = on_start
        self._stop: StopReason | None = None
        self._active: Stoppable | None = None
        self._task: asyncio.Task[Any] | None = None

    def stop(self, stop: StopReason) -> None:
        """Start nothing new and wait for in-flight requests; the first reason counts."""
        self._stop = self._stop or stop
        if self._task is not None:
            self._task.cancel()
        elif self._active is not None:
            self._active.stop(stop)

    def progress(self) -> Any:
        """The progress of the current scan or run; None before the first one."""
        return None if self._active is None else self._active.progress()

    def attach(self, stoppable: Stoppable) -> None:
        """Stop this scan or run from now on; stop it at once if a stop was requested before."""
        self._active = stoppable
        self._on_start(stoppable)
        if self._stop is not None:
            stoppable.stop(self._stop)

    def with_remaining_deadline(self, settings: Settings) -> Settings:
        """The settings with the remaining time as their deadline."""
        if self._deadline_at is None:
            return settings
        return settings.model_copy(update={"deadline": max(0.001, self._deadline_at - self._clock())})

    async def run_cancellable(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine that cannot be stopped otherwise.

        Raises `StoppedError` if a stop or the deadline cancelled the coroutine.
        """
        task: asyncio.Task[T] = asyncio.create_task(coroutine)
        self._task = task
        if self._stop is not None:
            task.cancel()
        try:
            async with asyncio.timeout_at(self._deadline_at):
                return await task
        except TimeoutError:
            raise StoppedError(StopReason(RunState.DEADLINE, "deadline reached")) from None
        except asyncio.CancelledError:
            if self._stop is None or not task.cancelled():
                raise
            raise StoppedError(self._stop) from None
        finally:
            self._task = None


# --- scanning and running ---


@dataclass(frozen=True, slots=True)
class PolicyContext:
    """The environment of one policy run. `transport` replaces the one made from the settings."""

    settings: Settings
    """As `effective_settings`."""
    endpoint: Endpoint
    account: CallerIdentity | None
    stop_controller: StopController
    listeners: Sequence[Listener] = ()
    on_stage: Callable[[str], None] = lambda message: None
    transport: FullTransport | None = None
    policy: str = ""
    """Name of the policy."""
    lease: SendingLease | None = None

    @property
    def origin(self) -> Origin:
        """Account, Region and endpoint of the fleet."""
        return Origin(self.account.account if self.account else "", self.endpoint.region, self.endpoint.url)

    async def scan(
        self,
        path: Path,
        *,
        filters: CoreFilter | None = None,
        cores: Sequence[str] | None = None,
        is_top_level: bool = True,
    ) -> ScanResult:
        """As `scan_with_settings`; `is_top_level`: the scan is stopped and shown by itself."""
        return await scan_with_settings(
            path,
            self.stop_controller.with_remaining_deadline(self.settings),
            self.endpoint,
            account=self.account,
            filters=filters,
            cores=cores,
            max_age=MAX_SCAN_AGE,
            transport=self.transport,
            listeners=self.listeners,
            on_scan=self.stop_controller.attach if is_top_level else None,
            policy=self.policy,
        )

    async def execute(
        self, journal: Path, *, limit: int | None = None, ramp: RampPlan | None = None
    ) -> tuple[RunResult, Summary]:
        """As `asyncgg.runs.execute`."""
        return await execute(
            journal,
            self.stop_controller.with_remaining_deadline(self.settings),
            region=self.endpoint.region,
            account=self.account,
            transport=self.transport,
            listeners=self.listeners,
            on_engine=self.stop_controller.attach,
            limit=limit,
            ramp=ramp,
            lease=self.lease,
        )


def core_filter(policy: Policy) -> CoreFilter:
    """The part of `[sources]` that the service can filter by."""
    sources = policy.sources
    return CoreFilter(sources.thing_group or "", sources.status or "", sources.runtime or "")


# --- preparing ---


def merge_limits(policy: Policy, settings: Settings) -> Policy:
    """The policy with the limits of the settings applied as well; the stricter limit counts.

    Raises `SettingsError` if policy and settings expect different accounts, and `UsageError` if the
    protect list of the settings cannot be read completely.
    """
    guards = policy.guards
    if settings.expect_account and guards.expect_account not in {None, settings.expect_account}:
        raise SettingsError(
            f"{policy.path}: the policy expects account {guards.expect_account}, the settings {settings.expect_account}"
        )
    settings_are_stricter = settings.abort_at is not None and (
        guards.abort_at is None or settings.abort_at < guards.abort_at
    )
    guards = replace(
        guards,
        expect_account=guards.expect_account or settings.expect_account,
        max_things=_min_or_none(guards.max_things, settings.max_things),
        deadline=_min_or_none(guards.deadline, settings.deadline),
        quota_share=min(guards.quota_share, settings.quota_share),
        abort_at=settings.abort_at if settings_are_stricter else guards.abort_at,
        abort_after=settings.abort_after if settings_are_stricter else guards.abort_after,
    )
    protect = policy.protect
    if settings.protect is not None:
        extra_entries = load_protect_list(str(settings.protect)).entries
        protect = ProtectList(tuple(dict.fromkeys((*protect.entries, *extra_entries))))
    return replace(policy, guards=guards, protect=protect)


def effective_settings(settings: Settings, policy: Policy) -> Settings:
    """The settings of all requests of this policy, without limits that the runner checks."""
    guards = policy.guards
    return settings.model_copy(
        update={
            "quota_share": guards.quota_share,
            "expect_account": guards.expect_account,
            "abort_at": guards.abort_at,
            "abort_after": guards.abort_after,
            "absent": guards.absent or settings.absent,
            "missing_cores": guards.missing_cores or settings.missing_cores,
            "continue_when_denied": guards.continue_when_denied or settings.continue_when_denied,
            "deadline": None,
            "max_things": None,
            "protect": None,
            "journal": None,
        }
    )


def load_keep_lists(policy: Policy, settings: Settings, endpoint: Endpoint) -> dict[str, frozenset[str]]:
    """The `not-in` lists of the policy; blocking. Raises as `read_keep_lists`."""
    needs_s3 = any(keep_list.file.startswith("s3://") for keep_list in policy.keep_lists)
    return read_keep_lists(policy, s3_opener(settings, endpoint) if needs_s3 else None)


def read_keep_lists(policy: Policy, s3: S3Opener | None = None) -> dict[str, frozenset[str]]:
    """Read every list of the policy, by the name the policy gives it. Blocking.

    A thing in a list stays on every core. See `read_names` for the formats. Raises `ManifestError`
    if a list cannot be read completely, has an invalid name, or is empty without `allow-empty`, and
    `CredentialsError` if S3 denied access.
    """
    lists: dict[str, frozenset[str]] = {}
    for keep_list in policy.keep_lists:
        spec = str(policy.local_path(keep_list.file) or keep_list.file)
        if keep_list.file not in lists:
            names = read_names(spec, "thing", allow_empty=True, s3=s3)
            # What repeats the header could be a thing of that name, which is then kept.
            lists[keep_list.file] = frozenset(names).union(names.headers if names else ())
        if not lists[keep_list.file] and not keep_list.allow_empty:
            raise ManifestError(
                f"{spec}: the keep list is empty, so every thing could be removed; add a name, or write"
                " not-in = { file = ..., allow-empty = true }"
            )
    return lists


def policy_digest(policy: Policy, lists: Mapping[str, frozenset[str]]) -> str:
    """A digest of all inputs of the decisions: policy file, protect list, `not-in` lists.

    Raises `SettingsError` if the policy file cannot be read.
    """
    with os_errors_as(SettingsError, f"{policy.path}: cannot read the policy"):
        text = policy.path.read_bytes()
    inputs = [sorted(map(str, policy.protect.entries)), {file: sorted(names) for file, names in lists.items()}]
    return hashlib.sha256(text + b"\0" + json.dumps(inputs, sort_keys=True).encode()).hexdigest()


def _min_or_none(first: NumberT | None, second: NumberT | None) -> NumberT | None:
    return min((value for value in (first, second) if value is not None), default=None)
