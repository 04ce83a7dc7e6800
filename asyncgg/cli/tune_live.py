"""Rule: `asyncgg tune --live`: said what it costs, asked, measured, told. Only ListCoreDevices is ever sent."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from asyncgg.classify import ReplyVerdict, classify
from asyncgg.cli import confirm
from asyncgg.cli.options import given_settings
from asyncgg.cli.output import Output
from asyncgg.cli.progress import Display, Form
from asyncgg.cli.running import run_loop
from asyncgg.cli.signals import interrupting, stopping
from asyncgg.errors import SettingsError
from asyncgg.manifest.writing import atomic_write_text
from asyncgg.ratelimit import documented_quota
from asyncgg.report.summary import format_duration
from asyncgg.runs import verify_account
from asyncgg.runs.execute import connection_from_settings
from asyncgg.settings import Settings, load_settings, parse_duration
from asyncgg.transport import CoreFilter, Endpoint, ListingTransport, Page, open_transport, resolve_endpoint
from asyncgg.tuning.applied import applied_quota
from asyncgg.tuning.asking import ProbeOutcome, ProbeReply
from asyncgg.tuning.found import ProbeReport, format_probe, probe_to_dict, write_requests
from asyncgg.tuning.grid import parse_numbers
from asyncgg.tuning.measure import ProbeResult, QuotaProbe, max_requests

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["asker", "measure"]

_SECONDS: Final = 90.0
_OF_DOCUMENTED: Final = 2.0
_ALL: Final = CoreFilter()


def measure(given: Mapping[str, Any], output: Output) -> int:
    """`asyncgg tune --live`. Exit code 0, or 130 when a signal ended it, with what was known by then."""
    settings = load_settings(
        given_settings({name: value for name, value in given.items() if name != "burst"}), config=given["config"]
    )
    if not given["yes"]:
        confirm.must_be_able_to_ask(stdin_is_taken=False)
    target = resolve_endpoint(connection_from_settings(settings))
    documented = documented_quota(target.region)
    up_to = _up_to(given["up_to"]) or _OF_DOCUMENTED * documented
    seconds = _seconds(given["for_"])
    with interrupting():
        _announce(output, target, up_to, seconds, quiet=bool(output.quiet and given["yes"]))
        if not given["yes"]:
            confirm.ask(output, max_requests(up_to, seconds), "send up to so many requests", stdin_is_taken=False)
    start = _Start(settings, target, up_to, seconds, output)
    found = run_loop(start.run())
    if given["out"]:
        with atomic_write_text(given["out"], given["out"].parent, "folder") as file:
            write_requests(file, found.result)
    output.result(probe_to_dict(found), format_probe(found))
    return 130 if start.interrupted else 0


def asker(reads: ListingTransport) -> Any:
    """The one question: a page of one core device. What it says of cores is not looked at."""

    async def ask() -> ProbeReply:
        reply = await reads.list_cores("", _ALL, 1)
        if isinstance(reply, Page):
            return ProbeReply(ProbeOutcome.ACCEPTED)
        if classify(reply, "", ()) is ReplyVerdict.THROTTLED:
            return ProbeReply(ProbeOutcome.THROTTLED, reply)
        return ProbeReply(ProbeOutcome.FAILED, reply)

    return ask


def _announce(output: Output, target: Endpoint, up_to: float, seconds: float, *, quiet: bool) -> None:
    if quiet:
        return
    most = max_requests(up_to, seconds)
    custom = ", custom: nothing is called elsewhere" if target.custom else ""
    output.tell(
        {
            "event": "plan",
            "region": target.region,
            "endpoint": target.url,
            "up_to": up_to,
            "seconds": seconds,
            "most_requests": most,
        },
        f"measure the quota of {target.region} at {target.url}{custom}",
        "  sends      ListCoreDevices with one result a page, and nothing else: nothing is changed",
        f"  pace       stepping up to {up_to:g} requests/s until the service throttles, then close to what it lets in",
        f"  costs      {format_duration(seconds)} and {most:,} requests at most, about 25 of them throttled",
        "  others     consoles, CI and jobs in this account and Region share the quota: they may be throttled too",
    )


@dataclass(frozen=True, slots=True)
class _Progress:
    """How a measurement stands."""

    seconds: float
    sent: int
    throttled: int
    pace: float
    step: str
    allowed: float


class _Start:
    """One measurement, shown while it goes, stoppable by signals."""

    def __init__(self, settings: Settings, target: Endpoint, up_to: float, seconds: float, output: Output) -> None:
        self._settings = settings
        self._target = target
        self._up_to = up_to
        self._seconds = seconds
        self._display = Display(output, form=Form(_line, _record, _picture))
        self._meter: QuotaProbe | None = None
        self.interrupted = False

    async def run(self) -> ProbeReport:
        task = asyncio.create_task(self._measure(), name="asyncgg-tune")
        async with self._display.shown():
            with stopping(lambda reason: self._stop(task), task.cancel):
                await asyncio.wait((task,))
        if task.cancelled():
            raise KeyboardInterrupt("interrupted")
        return task.result()

    def progress(self) -> _Progress:
        meter = self._meter
        assert meter is not None
        return _Progress(meter.seconds, meter.sent, meter.throttled, meter.target_rate, meter.step, self._seconds)

    async def _measure(self) -> ProbeReport:
        connection = connection_from_settings(self._settings)
        await verify_account(connection, self._target, self._settings)
        measured: ProbeResult
        async with open_transport(connection, self._settings.transport) as transport:
            self._meter = QuotaProbe(
                asker(transport),
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


def _line(progress: _Progress, rate: float) -> str:
    return (
        f"{progress.step}: {rate:.1f} of {progress.pace:.1f} requests/s, {progress.sent:,} sent,"
        f" {progress.throttled} throttled, {format_duration(max(0.0, progress.allowed - progress.seconds))} left at most"
    )


def _record(progress: _Progress, rate: float) -> dict[str, Any]:
    return {
        "event": "progress",
        "step": progress.step,
        "rate_now": round(rate, 2),
        "pace": round(progress.pace, 2),
        "sent": progress.sent,
        "throttled": progress.throttled,
        "seconds": round(progress.seconds, 2),
    }


def _picture(progress: _Progress, rate: float) -> RenderableType:
    from rich.text import Text

    return Text(_line(progress, rate), no_wrap=True, overflow="ellipsis")


def _up_to(text: str | None) -> float | None:
    if text is None:
        return None
    values = parse_numbers("--up-to", text)
    if len(values) != 1 or values[0] is None or values[0] < 1:
        raise SettingsError(f"--up-to: {text!r} is not a number of 1 or more requests a second")
    return values[0]


def _seconds(text: str | None) -> float:
    try:
        return _SECONDS if text is None else parse_duration(text)
    except ValueError as error:
        raise SettingsError(f"--for: {text!r} {error}") from None
