"""`asyncgg tune --live`: measures the quota of the service, with ListCoreDevices only."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from asyncgg.cli.commands.tune_simulated import check_output_paths
from asyncgg.cli.console import Console, require_terminal
from asyncgg.cli.context import CommandContext
from asyncgg.cli.errors import EXIT_INTERRUPTED
from asyncgg.cli.progress import ProgressDisplay, ProgressView
from asyncgg.cli.signals import raise_on_signal
from asyncgg.cli.supervisor import Supervision, run_supervised
from asyncgg.errors import SettingsError, UsageError
from asyncgg.files import atomic_write_text
from asyncgg.formatting import format_duration
from asyncgg.ratelimit import documented_quota
from asyncgg.runs import verify_account
from asyncgg.transport import CoreFilter, Endpoint, open_transport
from asyncgg.tuning.probe import QuotaProbe, max_requests
from asyncgg.tuning.probe_report import ProbeReport, format_probe, measured_settings, probe_to_dict, write_requests
from asyncgg.tuning.service_quotas import applied_quota
from asyncgg.tuning.settings_file import render_settings, write_settings

_DEFAULT_DURATION: Final = 90.0
_DEFAULT_RATE_FACTOR: Final = 2.0


def measure_quota(arguments: Mapping[str, Any]) -> int:
    """Measure and write the result; exit code 130 if a signal ended it with a partial result."""
    # --burst describes a simulated service here, it is not the setting.
    context = CommandContext.load({name: value for name, value in arguments.items() if name != "burst"})
    yes, console = arguments["yes"], context.console
    if not yes:
        require_terminal(stdin_in_use=False)
    endpoint = context.resolve_endpoint()
    max_rate, seconds = arguments["max_rate"], arguments["duration"] or _DEFAULT_DURATION
    if max_rate is None:
        max_rate = _DEFAULT_RATE_FACTOR * documented_quota(endpoint.region)
    elif not 1 <= max_rate < math.inf:
        raise SettingsError(f"--max-rate: {max_rate:g} is not a number of 1 or more requests per second")
    check_output_paths(arguments)
    if arguments["plot"] and arguments["plot"].suffix.lower() == ".html":
        raise UsageError(f"{arguments['plot']}: a measurement is a picture; name it .svg or .png")
    with raise_on_signal():
        if not (console.quiet and yes):
            _print_intro(console, endpoint, max_rate, seconds)
        if not yes:
            console.confirm_count(max_requests(max_rate, seconds), "send up to that many requests", stdin_in_use=False)
    report, interrupted = _measure(context, endpoint, max_rate, seconds)
    if arguments["out"]:
        with atomic_write_text(arguments["out"]) as file:
            write_requests(file, report.result)
    if arguments["plot"]:
        from asyncgg.tuning.probe_plot import plot_probe  # loads matplotlib

        plot_probe(report, arguments["plot"])
    lines = [*format_probe(report), *_format_settings(report, arguments)]
    console.write_result(probe_to_dict(report), lines)
    return EXIT_INTERRUPTED if interrupted else 0


def _format_settings(report: ProbeReport, arguments: Mapping[str, Any]) -> list[str]:
    """The settings for the measured rate; writes them to the file of `--write`."""
    settings, path = measured_settings(report), arguments["write"]
    if settings is None:
        return [f"{path}: not written, since no rate was measured"] if path else []
    comment = f"asyncgg tune --live, {time.strftime('%Y-%m-%d', time.gmtime())}, {report.endpoint.region}"
    if path:
        write_settings(path, settings, comment, replace=bool(arguments["replace"]))
    return ["", render_settings(settings, comment).rstrip(), *([f"written to {path}"] if path else [])]


def _measure(context: CommandContext, endpoint: Endpoint, max_rate: float, seconds: float) -> tuple[ProbeReport, bool]:
    """The report, and whether a signal ended the measurement."""
    display, interrupted = ProgressDisplay(context.console, view=_probe_view(seconds)), False

    async def work(supervision: Supervision) -> ProbeReport:
        settings = context.settings
        await verify_account(endpoint, settings)
        async with open_transport(context.connection, settings.transport) as transport:
            # A page of one core device, whose contents are not used.
            send = partial(transport.list_cores, "", CoreFilter(), 1)
            probe = QuotaProbe(send, max_rate=max_rate, seconds=seconds, concurrency=settings.concurrency)

            def stop(reason: str) -> None:
                nonlocal interrupted
                interrupted = True
                probe.stop()

            supervision.stop = stop
            display.watch(probe)
            result = await probe.run()
        applied, reason = await applied_quota(context.connection, result.quota_code)
        return ProbeReport(result, endpoint, documented_quota(endpoint.region), applied, reason)

    return run_supervised(work, display, show_end=False), interrupted


def _print_intro(console: Console, endpoint: Endpoint, max_rate: float, seconds: float) -> None:
    request_limit = max_requests(max_rate, seconds)
    custom = " (custom endpoint)" if endpoint.custom else ""
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
        "  sends      only ListCoreDevices with one result per page; nothing is changed",
        f"  rate       raised up to {max_rate:g} requests/s until the service throttles, then close to what it accepts",
        f"  costs      at most {format_duration(seconds)} and {request_limit:,} requests, about 40 of them throttled",
        "  others     consoles, CI and jobs of this account and Region share the quota and can be throttled, too",
    )


def _probe_view(max_seconds: float) -> ProgressView:
    def format_details(probe: QuotaProbe, rate: float) -> list[str]:
        return [
            f"{rate:.1f} of {probe.target_rate:.1f} requests/s",
            f"{probe.sent:,} sent",
            f"{probe.throttled} throttled",
            f"at most {format_duration(max(0.0, max_seconds - probe.seconds))} left",
        ]

    return ProgressView(
        lambda probe: (probe.seconds, max_seconds), lambda probe: probe.step, format_details, _progress_to_dict
    )


def _progress_to_dict(probe: QuotaProbe, rate: float) -> dict[str, Any]:
    return {
        "event": "progress",
        "step": probe.step,
        "rate_now": round(rate, 2),
        "target_rate": round(probe.target_rate, 2),
        "sent": probe.sent,
        "throttled": probe.throttled,
        "seconds": round(probe.seconds, 2),
    }
