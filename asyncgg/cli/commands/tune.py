"""The `asyncgg tune` command."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

from asyncgg.cli.console import Console
from asyncgg.cli.options import CONFIG, CONNECTION, OUTPUT, PATH, YES, Option, duration, make_command
from asyncgg.errors import UsageError

_EPILOG = """
\b
Examples:
  asyncgg tune --quota 30 --burst 30 --latency 80ms --jitter 40ms
  asyncgg tune --service greengrass.toml --rates 10,20,30 --write asyncgg.toml
  asyncgg tune --live --max-rate 60 --duration 90s --region eu-west-1
  asyncgg tune --replay RUN.journal --out settings.csv

By default, tune sends nothing: it tries settings on a virtual clock, then the best few in real time against
a simulator on this machine. --live measures the service itself, with ListCoreDevices and nothing else.
--replay takes latencies and throttles from a journal.
"""

_SERVICE: Final = "Service (offline)"
_SWEEP: Final = "Settings to try"
_LIVE: Final = "Live"
_RESULT: Final = "Output"

_SERVICE_OPTIONS: Final = (
    Option("--quota", "RATE", "requests per second that the service accepts [default: 30]", _SERVICE),
    Option("--burst", "BURST", "requests that it accepts at once [default: one second of the quota]", _SERVICE),
    Option("--latency", "DURATION", "minimum latency of a request [default: 80ms]", _SERVICE),
    Option("--jitter", "DURATION", "mean of an exponential addition to the latency [default: 40ms]", _SERVICE),
    Option("--background-rate", "RATE", "requests per second of other clients [default: 0]", _SERVICE),
    Option("--retry-after", "DURATION", "Retry-After on throttles [default: none]", _SERVICE),
    Option("--errors", "PERCENT", "requests that fail with HTTP 500 [default: 0]", _SERVICE),
    Option(
        "--service",
        "FILE",
        "the service as TOML: the same names, and [[step]] tables with `at` for changes",
        _SERVICE,
        type=PATH,
    ),
)
_SWEEP_OPTIONS: Final = (
    Option("--rates", "LIST", "such as 10,20,30 [default: around the quota]", _SWEEP),
    Option("--bursts", "LIST", "such as auto,10 [default: auto, half and nine tenths of the service's]", _SWEEP),
    Option("--concurrencies", "LIST", "such as 4,16,64 [default: around quota times latency]", _SWEEP),
    Option("--per-cores", "LIST", "such as 1,4 [default: 4]", _SWEEP),
    Option(
        "--batches",
        "COUNT",
        "requests per trial [default: 15 s of the quota; a replay: as in the run]",
        _SWEEP,
        type=int,
    ),
    Option("--cores", "COUNT", "core devices per trial [default: 50; a replay: as in the run]", _SWEEP, type=int),
    Option("--seed", "NUMBER", "random seed [default: 0]", _SWEEP, type=int),
    Option("--jobs", "COUNT", "processes [default: one per processor]", _SWEEP, type=click.IntRange(min=1)),
    Option("--no-confirm", help="do not run the best few in real time", panel=_SWEEP),
)
_LIVE_OPTIONS: Final = (
    Option("--live", help="measure the quota of the service itself; only reads", panel=_LIVE),
    Option(
        "--max-rate", "RATE", "maximum requests per second [default: twice the documented quota]", _LIVE, type=float
    ),
    Option("--duration", "DURATION", "maximum duration [default: 90s]", _LIVE, callback=duration),
    YES,
)
_RESULT_OPTIONS: Final = (
    Option("--write", "FILE", "write the recommended settings to this settings file", _RESULT, type=PATH),
    Option("--replace", help="with --write: change an existing file; its other lines stay", panel=_RESULT),
    Option("--out", "FILE", "every trial as CSV; with --live every request", _RESULT, type=PATH),
    Option(
        "--plot",
        "FILE",
        "a page or picture: .html, .svg or .png (extra `plots`)",
        _RESULT,
        type=PATH,
    ),
)

_OFFLINE_ONLY: Final = [str(option.name) for option in (*_SERVICE_OPTIONS, *_SWEEP_OPTIONS)]


@make_command(
    Option("--replay", "JOURNAL", "try other settings for a past run", "Replay", type=PATH),
    _SERVICE_OPTIONS,
    _SWEEP_OPTIONS,
    _LIVE_OPTIONS,
    _RESULT_OPTIONS,
    CONNECTION,
    OUTPUT,
    CONFIG,
    epilog=_EPILOG,
)
def command(*, replay: Path | None, **arguments: Any) -> int:
    """Find rate, burst and concurrency for a quota, by trials, a measurement, or a past run."""
    console = Console(as_json=arguments["json"], quiet=arguments["quiet"], log_json=arguments["log_format"] == "json")
    if arguments["live"]:
        if replay is not None:
            raise UsageError("give only one of --live and --replay")
        _reject_options(arguments, _OFFLINE_ONLY, "cannot be used with --live")
    else:
        _reject_options(arguments, ["max_rate", "duration", "yes"], "requires --live")
    if arguments["replace"] and not arguments["write"]:
        raise UsageError("--replace requires --write")
    if arguments["live"]:
        from asyncgg.cli.commands.tune_live import measure_quota

        return measure_quota(arguments)
    from asyncgg.cli.commands.tune_simulated import replay_journal, tune_simulated

    if replay is not None:
        names = ["service", "latency", "jitter", "background_rate", "errors", "retry_after"]
        _reject_options(arguments, names, "cannot be used with --replay")
        return replay_journal(replay, arguments, console)
    return tune_simulated(arguments, console)


def _reject_options(arguments: dict[str, Any], names: list[str], problem: str) -> None:
    for name in names:
        if arguments[name] not in (None, False):
            raise UsageError(f"--{name.replace('_', '-')} {problem}")
