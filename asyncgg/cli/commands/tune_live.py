"""Rule: `asyncgg tune --live`: said what it costs, asked, measured, told. Only ListCoreDevices is ever sent."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from asyncgg.classify import ReplyVerdict, classify
from asyncgg.cli import confirm
from asyncgg.cli.console import Console
from asyncgg.cli.options import extract_settings
from asyncgg.cli.progress import ProgressDisplay, ProgressView
from asyncgg.cli.signals import raise_on_signal, stop_on_signal
from asyncgg.cli.supervisor import run_async
from asyncgg.errors import SettingsError
from asyncgg.files import atomic_write_text
from asyncgg.formatting import format_duration
from asyncgg.ratelimit import documented_quota
from asyncgg.runs import verify_account
from asyncgg.runs.execute import connection_from_settings
from asyncgg.settings import Settings, load_settings, parse_duration
from asyncgg.transport import CoreFilter, Endpoint, ListingTransport, Page, open_transport, resolve_endpoint
from asyncgg.tuning.grid import parse_numbers
from asyncgg.tuning.probe import ProbeResult, QuotaProbe, max_requests
from asyncgg.tuning.probe_report import ProbeReport, format_probe, probe_to_dict, write_requests
from asyncgg.tuning.probe_sender import ProbeOutcome, ProbeReply
from asyncgg.tuning.service_quotas import applied_quota

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["make_probe", "measure_quota"]

_DEFAULT_DURATION: Final = 90.0
_DEFAULT_RATE_FACTOR: Final = 2.0
_NO_FILTER: Final = CoreFilter()


def measure_quota(arguments: Mapping[str, Any], console: Console) -> int:
    """`asyncgg tune --live`. Exit code 0, or 130 when a signal ended it, with what was known by then."""
    settings = load_settings(
        extract_settings({name: value for name, value in arguments.items() if name != "burst"}),
        config=arguments["config"],
    )
    if not arguments["yes"]:
        confirm.require_terminal(stdin_in_use=False)
    endpoint = resolve_endpoint(connection_from_settings(settings))
    documented = documented_quota(endpoint.region)
    max_rate = _parse_max_rate(arguments["max_rate"]) or _DEFAULT_RATE_FACTOR * documented
    seconds = _parse_seconds(arguments["duration"])
    with raise_on_signal():
        _print_intro(console, endpoint, max_rate, seconds, quiet=bool(console.quiet and arguments["yes"]))
        if not arguments["yes"]:
            confirm.confirm_count(
                console, max_requests(max_rate, seconds), "send up to so many requests", stdin_in_use=False
            )
    start = _Start(settings, endpoint, max_rate, seconds, console)
    report = run_async(start.run())
    if arguments["out"]:
        with atomic_write_text(arguments["out"], arguments["out"].parent, "folder") as file:
            write_requests(file, report.result)
    console.write_result(probe_to_dict(report), format_probe(report))
    return 130 if start.interrupted else 0


def make_probe(transport: ListingTransport) -> Any:
    """The one question: a page of one core device. What it says of cores is not looked at."""

    async def probe() -> ProbeReply:
        reply = await transport.list_cores("", _NO_FILTER, 1)
        if isinstance(reply, Page):
            return ProbeReply(ProbeOutcome.ACCEPTED)
        if classify(reply, "", ()) is ReplyVerdict.THROTTLED:
            return ProbeReply(ProbeOutcome.THROTTLED, reply)
        return ProbeReply(ProbeOutcome.FAILED, reply)

    return probe


def _print_intro(console: Console, endpoint: Endpoint, max_rate: float, seconds: float, *, quiet: bool) -> None:
    if quiet:
        return
    request_limit = max_requests(max_rate, seconds)
    custom = ", custom: nothing is called elsewhere" if endpoint.custom else ""
    console.log_event(
        {
            "event": "plan",
            "region": endpoint.region,
            "endpoint": endpoint.url,
            "max_rate": max_rate,
            "seconds": seconds,
            "max_requests": request_limit,
        },
        f"measure the quota of {endpoint.region} at {endpoint.url}{custom}",
        "  sends      ListCoreDevices with one result a page, and nothing else: nothing is changed",
        f"  pace       stepping up to {max_rate:g} requests/s until the service throttles, then close to what it lets in",
        f"  costs      {format_duration(seconds)} and {request_limit:,} requests at most, about 25 of them throttled",
        "  others     consoles, CI and jobs in this account and Region share the quota: they may be throttled too",
    )


@dataclass(frozen=True, slots=True)
class _ProbeProgress:
    """How a measurement stands."""

    seconds: float
    sent: int
    throttled: int
    pace: float
    step: str
    max_seconds: float


class _Start:
    """One measurement, shown while it goes, stoppable by signals."""

    def __init__(self, settings: Settings, target: Endpoint, up_to: float, seconds: float, output: Console) -> None:
        self._settings = settings
        self._target = target
        self._up_to = up_to
        self._seconds = seconds
        self._display = ProgressDisplay(output, view=ProgressView(_format_line, _progress_to_dict, _render_live))
        self._meter: QuotaProbe | None = None
        self.interrupted = False

    async def run(self) -> ProbeReport:
        task = asyncio.create_task(self._measure(), name="asyncgg-tune")
        async with self._display.running():
            with stop_on_signal(lambda reason: self._stop(task), task.cancel):
                await asyncio.wait((task,))
        if task.cancelled():
            raise KeyboardInterrupt("interrupted")
        return task.result()

    def progress(self) -> _ProbeProgress:
        meter = self._meter
        assert meter is not None
        return _ProbeProgress(meter.seconds, meter.sent, meter.throttled, meter.target_rate, meter.step, self._seconds)

    async def _measure(self) -> ProbeReport:
        connection = connection_from_settings(self._settings)
        await verify_account(connection, self._target, self._settings)
        measured: ProbeResult
        async with open_transport(connection, self._settings.transport) as transport:
            self._meter = QuotaProbe(
                make_probe(transport),
                max_rate=self._up_to,
                seconds=self._seconds,
                concurrency=self._settings.concurrency,
            )
            self._display.watch(self)
            measured = await self._meter.run()
        applied, why = await applied_quota(connection, measured.quota_code)
        return ProbeReport(measured, self._target, documented_quota(self._target.region), applied, why)

    def _stop(self, task: asyncio.Task[Any]) -> None:
        self.interrupted = True
        if self._meter is None:
            task.cancel()
        else:
            self._meter.stop()


def _format_line(progress: _ProbeProgress, rate: float) -> str:
    return (
        f"{progress.step}: {rate:.1f} of {progress.pace:.1f} requests/s, {progress.sent:,} sent,"
        f" {progress.throttled} throttled, {format_duration(max(0.0, progress.max_seconds - progress.seconds))} left at most"
    )


def _progress_to_dict(progress: _ProbeProgress, rate: float) -> dict[str, Any]:
    return {
        "event": "progress",
        "step": progress.step,
        "rate_now": round(rate, 2),
        "target_rate": round(progress.pace, 2),
        "sent": progress.sent,
        "throttled": progress.throttled,
        "seconds": round(progress.seconds, 2),
    }


def _render_live(progress: _ProbeProgress, rate: float) -> RenderableType:
    from rich.text import Text

    return Text(_format_line(progress, rate), no_wrap=True, overflow="ellipsis")


def _parse_max_rate(text: str | None) -> float | None:
    if text is None:
        return None
    values = parse_numbers("--max-rate", text)
    if len(values) != 1 or values[0] is None or values[0] < 1:
        raise SettingsError(f"--max-rate: {text!r} is not a number of 1 or more requests a second")
    return values[0]


def _parse_seconds(text: str | None) -> float:
    try:
        return _DEFAULT_DURATION if text is None else parse_duration(text)
    except ValueError as error:
        raise SettingsError(f"--duration: {text!r} {error}") from None
