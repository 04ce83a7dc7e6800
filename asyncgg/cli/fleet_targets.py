"""The targets of a `fleet` command, and the work in all of them until it ends."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

from asyncgg.cli.campaign import campaign_overrides
from asyncgg.cli.console import Console
from asyncgg.cli.context import CommandContext
from asyncgg.cli.options import extract_settings
from asyncgg.cli.signals import stop_on_signal
from asyncgg.cli.supervisor import StoppedTwiceError, run_async
from asyncgg.engine import StopReason
from asyncgg.errors import UsageError
from asyncgg.file_limit import fit_concurrency
from asyncgg.fleet.campaign import Campaign, CampaignLane
from asyncgg.fleet.group import ActiveTargets, T, TargetResult, TargetWork, run_targets
from asyncgg.fleet.results import first_exit_code, state_of_code
from asyncgg.fleet.targets import FleetTarget, load_targets
from asyncgg.formatting import format_count
from asyncgg.manifest.sources import open_source
from asyncgg.models import RunState
from asyncgg.settings import OUTPUT_SETTINGS, Settings, load_settings

_STATE_OPTIONS: Final = ("state", "state_interval", "state_lease")
_CAMPAIGN_OPTIONS: Final = frozenset({"max_things", "skip_bad_rows", *_STATE_OPTIONS}) | OUTPUT_SETTINGS
_CONNECTION: Final = frozenset(
    {"profile", "role_arn", "external_id", "role_session_name", "endpoint_url", "quota", "rate", "burst", "quota_share"}
)
"""What a later command takes from a targets file."""
_PROGRESS_INTERVAL: Final = 5.0
_COPY_SIZE: Final = 1 << 16

TargetSettings = Mapping[str, tuple[FleetTarget, Settings]]
"""The targets by name, with their settings."""


def load_fleet(arguments: Mapping[str, Any]) -> tuple[CommandContext, TargetSettings]:
    """The targets that `--targets` and `--tag` select. Raises as `load_targets`."""
    options = extract_settings(arguments)
    own = {name: options.get(name) for name in (*_STATE_OPTIONS, *OUTPUT_SETTINGS)}
    base = load_settings(own, config=arguments["config"])
    context = CommandContext.create(base, arguments)
    overrides = {name: value for name, value in options.items() if name not in _CAMPAIGN_OPTIONS}
    values = base.model_dump(exclude_unset=True, exclude=set(OUTPUT_SETTINGS))
    with _targets_file(arguments["targets"], base) as path:
        targets = load_targets(path, arguments["tag"])
    return context, _fit_open_files({target.name: (target, target.settings(values, overrides)) for target in targets})


@contextmanager
def _targets_file(location: str, settings: Settings) -> Iterator[Path]:
    """The path of the targets file; of s3://bucket/key that of a copy within the block. Raises `ManifestError`."""
    if not location.startswith("s3://"):
        yield Path(location)
        return
    from asyncgg.runs.prepare import s3_opener  # loads the S3 client

    with tempfile.TemporaryDirectory(prefix="asyncgg-targets-") as folder:
        path = Path(folder) / location.rpartition("/")[2]
        with closing(open_source(location, None, s3_opener(settings, None))) as source, path.open("wb") as file:
            source.open_text(expect_gzip=False)
            while block := source.read(_COPY_SIZE):
                file.write(block)
        yield path


def _fit_open_files(targets: TargetSettings) -> TargetSettings:
    """The settings with a concurrency for which the limit on open files suffices in all lanes together."""
    total = sum(settings.concurrency for _, settings in targets.values())
    share = fit_concurrency(total) / total
    return {
        name: (target, settings.model_copy(update={"concurrency": max(1, int(settings.concurrency * share))}))
        for name, (target, settings) in targets.items()
    }


def overrides_by_lane(campaign: Campaign, arguments: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What replaces the settings of the journals, by the lanes to work on.

    With a targets file these are the lanes of its targets, reached as it says. Raises `UsageError`
    if none of its targets is in the campaign, or one has another account or Region there.
    """
    overrides = campaign_overrides(arguments)
    if arguments.get("targets") is None:
        return {lane.name: dict(overrides) for lane in campaign.lanes}
    with _targets_file(str(arguments["targets"]), load_settings()) as path:
        targets = {target.name: target for target in load_targets(path, arguments["tag"])}
    found: dict[str, dict[str, Any]] = {}
    for lane in campaign.lanes:
        if (target := targets.get(lane.name)) is None:
            continue
        if (lane.account and target.account not in {"", lane.account}) or target.region != lane.region:
            raise UsageError(
                f"{target.location}: {target.name} is another account or Region than in {campaign.folder}"
                f" ({lane.account or 'not checked'}, {lane.region})"
            )
        connection = {name: value for name, value in target.values.items() if name in _CONNECTION}
        found[lane.name] = connection | overrides
    if not found:
        raise UsageError(f"{arguments['targets']}: none of its targets is in {campaign.folder}")
    return found


def run_group(
    names: Iterable[str],
    work: TargetWork[T],
    console: Console,
    *,
    abort_message: str,
    quiet: bool = False,
    **options: Any,
) -> list[TargetResult[T]]:
    """Do the work in these targets with these `options`, as `run_targets`; unless `quiet` show each result.

    The first signal stops all targets. Raises `StoppedTwiceError` with `abort_message` on the second one.
    """

    def show(result: TargetResult[T]) -> None:
        if not (console.quiet or quiet):
            console.log_event({"event": "target-ended", **result.to_dict()}, format_target(result))

    async def supervise() -> list[TargetResult[T]]:
        active = ActiveTargets()
        running = run_targets(active, list(names), work, on_result=show, **options)
        task = asyncio.create_task(running, name="asyncgg-targets")

        def stop(reason: str) -> None:
            active.stop(StopReason(RunState.INTERRUPTED, reason))
            console.log_event({"event": "hint"}, "Press Ctrl-C again to abort in-flight requests")

        with stop_on_signal(stop, task.cancel):
            while not task.done():
                await asyncio.wait((task,), timeout=_PROGRESS_INTERVAL)
                if not task.done() and not console.quiet:
                    _show_progress(active.progress().values(), console)
        if task.cancelled():
            raise StoppedTwiceError(abort_message)
        return task.result()

    return run_async(supervise())


def _show_progress(active: Collection[Any], console: Console) -> None:
    sent = sum(progress.sent for progress in active)
    event = {"event": "progress", "targets": len(active), "sent": sent}
    console.log_event(event, f"{format_count(len(active), 'target')} running, {sent:,} requests sent")


def format_target(result: TargetResult[Any]) -> str:
    """How a target ended, as one line."""
    return f"{result.name}: {result.state} (exit {result.exit}){f': {result.reason}' if result.reason else ''}"


def targets_to_dict(
    schema: str,
    targets: Iterable[FleetTarget | CampaignLane],
    results: Sequence[TargetResult[T]],
    details: Callable[[TargetResult[T]], Mapping[str, Any]],
) -> dict[str, Any]:
    """The results in the form of `asyncgg.campaign/1`, with the `details` of each target."""
    code = first_exit_code(result.exit for result in results)
    places = {target.name: {"account": target.account or None, "region": target.region} for target in targets}
    return {
        "schema": schema,
        "state": state_of_code(code).value,
        "exit": code,
        "targets": [{**result.to_dict(), **places[result.name], **details(result)} for result in results],
    }


def write_targets(console: Console, document: Mapping[str, Any], lines: list[str]) -> int:
    """Write what `targets_to_dict` returned, and return its exit code."""
    console.write_result(document, lines, always_print=True)
    code: int = document["exit"]
    return code
