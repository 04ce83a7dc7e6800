"""Rule: `asyncgg tune`: its options, and which of its three ways was asked for; the ways are files beside."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from asyncgg.cli.console import Console
from asyncgg.cli.options import CONFIG, CONNECTION, OUTPUT, YES, Opt, with_options
from asyncgg.errors import UsageError

__all__ = ["EXAMPLES", "command"]

EXAMPLES = """
\b
Examples:
  asyncgg tune --quota 30 --burst 30 --latency 80ms --jitter 40ms --plot tune.png
  asyncgg tune --service greengrass.toml --rates 10,20,30 --concurrencies 4,16 --write asyncgg.toml
  asyncgg tune --live --max-rate 60 --duration 90s --region eu-west-1
  asyncgg tune --replay asyncgg-20260131-120000.journal --out settings.csv

\b
The default sends nothing: it tries settings out on a virtual clock, then the best few in real time against a
simulator on this machine. --live asks the service itself, with ListCoreDevices and nothing else. --replay
takes the service's latencies and throttles from what a journal recorded.
"""

_SERVICE: Final = "Service (offline)"
_SWEEP: Final = "Settings to try"
_LIVE: Final = "Live"
_RESULT: Final = "Output"

_SERVICE_OPTIONS: Final = (
    Opt("quota", "R", "requests per second it accepts (30)", _SERVICE),
    Opt("burst", "B", "requests it accepts at once (a second's worth of the quota)", _SERVICE),
    Opt("latency", "DURATION", "of a request, at least (80ms)", _SERVICE),
    Opt("jitter", "DURATION", "mean of an exponential time on top of it (40ms)", _SERVICE),
    Opt("background_rate", "R", "requests per second that somebody else sends (0)", _SERVICE),
    Opt("retry_after", "DURATION", "what throttles say of when to come again (nothing)", _SERVICE),
    Opt("errors", "PERCENT", "requests that fail with a 500 (0)", _SERVICE),
    Opt(
        "service", "FILE", "all this as TOML: the same names, and [[step]] tables with `at` for changes", _SERVICE, Path
    ),
)
_SWEEP_OPTIONS: Final = (
    Opt("rates", "LIST", "such as 10,20,30 (around the quota)", _SWEEP),
    Opt("bursts", "LIST", "such as auto,10 (auto, half and nine tenths of the service's)", _SWEEP),
    Opt("concurrencies", "LIST", "such as 4,16,64 (around quota times latency)", _SWEEP),
    Opt("per_cores", "LIST", "such as 1,4 (4)", _SWEEP),
    Opt(
        "batches",
        "N",
        "requests of one trial (a quarter of a minute of the quota; a replay: the run's own)",
        _SWEEP,
        int,
    ),
    Opt("cores", "N", "core devices they are spread over (50; a replay: the run's own)", _SWEEP, int),
    Opt("seed", "N", "other dice (0)", _SWEEP, int),
    Opt("jobs", "N", "processes (one for each processor)", _SWEEP, int),
    Opt("no_confirm", help="do not try the best few in real time as well", panel=_SWEEP),
)
_LIVE_OPTIONS: Final = (
    Opt("live", help="measure the quota of the service itself, by reading only", panel=_LIVE),
    Opt("max_rate", "R", "requests per second never to exceed (twice the documented quota)", _LIVE),
    Opt("duration", "DURATION", "never longer than this (90s)", _LIVE),
    YES,
)
_RESULT_OPTIONS: Final = (
    Opt("write", "FILE", "put the recommended settings into this asyncgg.toml", _RESULT, Path),
    Opt("replace", help="with --write: change a file that is there already; its other lines stay", panel=_RESULT),
    Opt("out", "FILE", "every trial as CSV; with --live every request", _RESULT, Path),
    Opt("plot", "FILE", "a chart of the trials: .svg or .png (needs the extra `plots`)", _RESULT, Path),
)

_OFFLINE_ONLY: Final = [option.name for option in (*_SERVICE_OPTIONS, *_SWEEP_OPTIONS) if option.name != "service"]


@with_options(_SERVICE_OPTIONS, _SWEEP_OPTIONS, _LIVE_OPTIONS, _RESULT_OPTIONS, CONNECTION, OUTPUT, (CONFIG,))
def command(
    *,
    replay: Annotated[
        Path | None,
        typer.Option(
            "--replay",
            metavar="JOURNAL",
            help="what a past run would have taken with other settings",
            rich_help_panel="Replay",
            show_default=False,
        ),
    ] = None,
    **arguments: Any,
) -> int:
    """Which rate, burst and concurrency suit a quota: tried out, measured, or read off a journal."""
    console = Console(
        as_json=bool(arguments["json"]), quiet=bool(arguments["quiet"]), log_json=arguments["log_format"] == "json"
    )
    if arguments["live"]:
        _reject_options(arguments, [*_OFFLINE_ONLY, "service", "write", "replace", "plot"], "--live")
        if replay is not None:
            raise UsageError("--live and --replay are two ways; give one")
        from asyncgg.cli.commands.tune_live import measure_quota

        return measure_quota(arguments, console)
    _reject_options(arguments, ["max_rate", "duration", "yes"], "--live", only_with=True)
    if arguments["jobs"] is not None and arguments["jobs"] < 1:
        raise UsageError(f"--jobs: 1 process or more, not {arguments['jobs']}")
    if arguments["replace"] and not arguments["write"]:
        raise UsageError("--replace goes with --write FILE only; leave it out")
    from asyncgg.cli.commands.tune_simulated import replay_journal, tune_simulated

    if replay is not None:
        _reject_options(arguments, ["service", "latency", "jitter", "background_rate", "errors", "retry_after"], "--replay")
        return replay_journal(replay, arguments, console)
    return tune_simulated(arguments, console)


def _reject_options(arguments: dict[str, Any], names: list[str], mode: str, *, only_with: bool = False) -> None:
    for name in names:
        if arguments[name] not in (None, False):
            problem = f"goes with {mode} only" if only_with else f"does not go with {mode}"
            raise UsageError(f"--{name.replace('_', '-')} {problem}; leave it out")
