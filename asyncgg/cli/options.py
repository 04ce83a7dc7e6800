"""The options that commands share, and the values that they take."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import click

# Commands import these from here, too.
from asyncgg.cli.parameters import SHARED_PANELS as SHARED_PANELS
from asyncgg.cli.parameters import Argument as Argument
from asyncgg.cli.parameters import Option as Option
from asyncgg.cli.parameters import make_command as make_command
from asyncgg.cli.parameters import make_group as make_group
from asyncgg.formatting import CommandLine, hide_userinfo, parse_duration

PATH: Final = click.Path(path_type=Path)
ARGUMENTS: Final = "asyncgg.arguments"
"""The key of the arguments of the command line in the `meta` of a click context."""


def duration(ctx: click.Context, option: click.Parameter, text: str | None) -> float | None:
    """The seconds of a DURATION; the callback of options that are not settings."""
    try:
        return None if text is None else parse_duration(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r} {error}", ctx, option) from None


def duration_or_zero(ctx: click.Context, option: click.Parameter, text: str | None) -> float | None:
    """As `duration`; 0 is allowed."""
    return 0.0 if text is not None and text.strip() in {"0", "0s"} else duration(ctx, option, text)


def repeated_command() -> CommandLine:
    """The command that runs, for a line that suggests to run it again; passwords of URLs are hidden."""
    words = click.get_current_context().meta.get(ARGUMENTS, ())
    return CommandLine(shlex.join(["asyncgg", *(hide_userinfo(word) for word in words)]))


def extract_settings(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the `arguments` that are settings and were given: a switch can be turned on only."""
    from asyncgg.settings import Settings  # imports pydantic: too slow for --help

    return {
        name: value for name, value in arguments.items() if name in Settings.model_fields and value not in (None, False)
    }


def without(options: Iterable[Option], *names: str) -> list[Option]:
    """The `options` but those of these names."""
    return [option for option in options if option.name not in names]


# --- shared options; the value of a setting stays text, which `asyncgg.settings` parses ---


def _settings(panel: str, **options: tuple[str, str]) -> tuple[Option, ...]:
    """The option of each setting, from its metavar and help."""
    return tuple(Option(f"--{name.replace('_', '-')}", *texts, panel) for name, texts in options.items())


MANIFEST_ARGUMENT: Final = Argument(
    "manifest",
    "MANIFEST",
    "columns core,thing: .csv, .jsonl (also .gz), .parquet, s3://bucket/key, or - for standard input",
    required=False,
)
JOURNAL_OR_STATE: Final = Argument(
    "journal", "JOURNAL", "journal of the run, unless --state", type=PATH, required=False
)

CONNECTION: Final = _settings(
    "Connection",
    profile=("NAME", "AWS profile"),
    role_arn=("ARN", "assume this role with the credentials of the profile or of the environment"),
    external_id=("ID", "external ID that the role requires"),
    role_session_name=("NAME", "session name of the role, which CloudTrail shows [default: asyncgg]"),
    region=("REGION", "AWS Region"),
    allow_unknown_region=("", "accept a Region that the AWS SDK does not know"),
    endpoint_url=("URL", "custom endpoint; no other endpoint is called"),
    expect_account=("ID", "stop before the first request unless the AWS account has this ID"),
    allow_unknown_account=("", "continue if STS does not return the AWS account"),
    connect_timeout=("DURATION", "TCP connect timeout [default: 5s]"),
    request_timeout=("DURATION", "total request timeout; the request is retried [default: 60s]"),
    transport=(
        "native|sdk",
        "native: signed and sent by asyncgg; sdk: sent by the aiobotocore client [default: native]",
    ),
)
LIMITS: Final = (
    *_settings(
        "Speed and limits",
        rate=("auto|RATE", "maximum requests per second; auto: the quota, adapted to throttling [default: auto]"),
        burst=("auto|BURST", "maximum requests that start at once; auto: derived from the rate [default: auto]"),
        quota=(
            "auto|QUOTA",
            "quota of the account in the Region, in requests per second; auto: the documented one [default: auto]",
        ),
        explore=("", "look for a higher rate than the quota, up to ten times the quota"),
        quota_share=("FRACTION", "maximum fraction of the quota to use [default: 1]"),
        concurrency=("COUNT", "maximum requests in flight [default: 64]"),
        per_core=("COUNT", "maximum requests in flight per core [default: 4]"),
        max_attempts=("COUNT", "attempts per thing before it fails; throttled attempts do not count [default: 10]"),
        max_attempts_unknown=("COUNT", "attempts for unrecognised per-thing error codes [default: 3]"),
        stall_timeout=("DURATION", "stop the run after this time without an accepted request [default: 300s]"),
        deadline=("DURATION", "stop after this time; the run is resumable"),
    ),
    *_settings(
        "Safety",
        abort_at=("PERCENT", "stop when this percentage of finished things has failed"),
        abort_after=("COUNT", "minimum finished things before --abort-at applies [default: 100]"),
        absent=(
            "ok|fail",
            "a thing that is not found: ok, it is already disassociated; fail, it is a failure [default: ok]",
        ),
        missing_cores=(
            "ok|fail",
            "the same for the things of a core that does not exist [default: fail; after a scan: ok]",
        ),
        continue_when_denied=("", "do not stop when access is denied for core after core; all of them fail"),
    ),
)
READ_LIMITS: Final = without(
    LIMITS, "per_core", "max_attempts_unknown", "abort_at", "abort_after", "absent", "missing_cores"
)
"""The limits of commands that only read."""
YES: Final = Option("--yes", help="do not ask for confirmation", panel="Safety")
GUARDS: Final = (
    YES,
    Option("--dry-run", help="stop after the plan; send nothing and keep no journal", panel="Safety"),
    *_settings(
        "Safety",
        max_things=("COUNT", "stop before the first request if there are more things"),
        protect=("FILE", "names or globs of things and cores that must not be changed"),
    ),
)
MANIFEST: Final = (
    Option("--format", "FORMAT", "csv, jsonl or parquet; overrides the file name", "Manifest"),
    *_settings(
        "Manifest",
        skip_bad_rows=("", "skip invalid rows of the manifest"),
        allow_empty=("", "accept a manifest or list that is empty: a run of 0 things"),
        snapshot=("", "list the cores of the manifest before the run, so that undo is possible"),
    ),
    Option("--rejects", "FILE", "write the bad rows to this CSV file", "Manifest", type=PATH),
)
_INSTEAD: Final = "Instead of a manifest"
_NAME_LIST: Final = "one per line, or a CSV with that column; - for standard input"
LOOKUP: Final = (
    Option("--things", "FILE", f"every association of these things, on all cores: {_NAME_LIST}", _INSTEAD),
    Option("--cores", "FILE", f"all client devices of these cores: {_NAME_LIST}", _INSTEAD),
    Option("--core", "NAME", "all client devices of this core; repeatable", _INSTEAD, multiple=True),
    Option(
        "--inventory", "SNAPSHOT", "use this snapshot; created or completed first if necessary", _INSTEAD, type=PATH
    ),
    Option("--max-age", "DURATION", "refuse a snapshot older than this [default: 24h]", _INSTEAD, callback=duration),
    Option("--allow-incomplete", help="continue even if some cores could not be listed", panel=_INSTEAD),
)
LANES: Final = (
    Option(
        "--processes",
        "COUNT",
        "worker processes that share the targets [default: 1]",
        "Campaign",
        type=click.IntRange(1, 256),
    ),
    Option(
        "--shard",
        "K/N",
        "only each N-th target, from the K-th on, counted from 0; for jobs of several hosts",
        "Campaign",
    ),
    Option(
        "--dask",
        "tcp://HOST:PORT",
        "run the targets on the workers of this Dask scheduler; needs a state that they reach",
        "Campaign",
    ),
    Option(
        "--abort-targets",
        "PERCENT",
        "stop all targets when this percentage of them is broken",
        "Campaign",
        type=click.FloatRange(0, 100, min_open=True),
    ),
)
"""The options of a campaign's runs."""
NOTIFY: Final = Option(
    "--notify",
    "URL|ARN",
    "send the result to a webhook (or env:NAME, a variable with its URL) or an SNS topic; repeatable",
    "Output",
    multiple=True,
)
JOURNAL: Final = _settings("Output", journal=("PATH", "journal of the run [default: a name with date and time]"))
STATE: Final = _settings(
    "State",
    state=("LOCATION", "keep the runs in s3://BUCKET/PREFIX or a folder, and continue an unfinished one from there"),
    state_interval=("DURATION", "time between saves during a run [default: 30s]"),
    state_lease=("DURATION", "time after which another process may take over [default: request timeout + 30s]"),
)
_STATE_OF_RUN: Final = Option(
    "--state", "LOCATION", "the newest run of this state, s3://BUCKET/PREFIX or a folder, instead of a journal", "State"
)
RUN_OF_STATE: Final = Option("--run", "NAME", "this run of the state; `asyncgg runs` lists them", "State")
STATE_CONNECTION: Final = [
    option
    for option in CONNECTION
    if option.name in {"profile", "role_arn", "external_id", "role_session_name", "region", "endpoint_url"}
]
"""How a state is reached."""
READ_STATE: Final = (_STATE_OF_RUN, *STATE_CONNECTION)
"""Of commands that read a run of a state."""
WORK_STATE: Final = (_STATE_OF_RUN, *without(STATE, "state"), RUN_OF_STATE)
"""Of commands that work on a run of a state, and need its lease."""
THING_NAMES: Final = (
    Argument("thing", "THING", "names of things", nargs=-1),
    Option("--things", "FILE", "more names: one per line, or a CSV with a column thing; - for standard input", "Scope"),
)
VERIFY: Final = (
    Option(
        "--wait",
        "DURATION",
        "list cores with differences again for this long: changes can take time to show",
        "Scope",
        callback=duration,
    ),
    Option("--failures", "FILE", "list the differences as a manifest: .csv (also .gz)", "Output", type=PATH),
    Option("--out", "SNAPSHOT", "keep the listing as a snapshot; a folder for a campaign", "Output", type=PATH),
)
UNDO: Final = (
    Option(
        "--only",
        "FILE",
        "restore only these: a manifest (core,thing), or one thing per line; - for standard input",
        "Scope",
    ),
    Option(
        "--inventory",
        "SNAPSHOT",
        "snapshot from before the run: its contents were associated; a folder for a campaign",
        "Scope",
        type=PATH,
    ),
    Option("--assume-associated", help="assume that everything the run disassociated was associated", panel="Scope"),
)
JSON: Final = Option("--json", help="write one JSON object, the result, to standard output", panel="Output")
DEBUG: Final = Option("--debug", help="show a traceback with an error", panel="Output")
OUTPUT: Final = (
    JSON,
    *_settings(
        "Output",
        quiet=("", "do not show progress"),
        log_format=(
            "text|json|emf",
            "format of log lines, and of progress without a terminal; emf: json with metrics [default: text]",
        ),
    ),
    DEBUG,
)
TELEMETRY: Final = (
    Option(
        "-v, --verbose",
        help="log every decision and failure; -vv: also every request",
        panel="Logs and metrics",
        count=True,
        type=click.IntRange(0, 2, clamp=True),
    ),
    *_settings(
        "Logs and metrics",
        log_file=("FILE", "append the log to this file too, as -v; a new file at each 10 MB, five are kept"),
        log_requests=("FILE", "append one JSON object per request to this file"),
        metrics_file=("FILE.prom", "write Prometheus metrics for the textfile collector of the node exporter"),
        metrics_push=("URL", "push Prometheus metrics to this Pushgateway"),
        metrics_port=("[ADDRESS:]PORT", "serve Prometheus metrics while requests are sent, by default at 127.0.0.1"),
        otel=("", "record OpenTelemetry spans; the OTEL_* variables say where they go"),
    ),
)
RUN_OUTPUT: Final = (*OUTPUT, *TELEMETRY)
"""The output of commands that send requests."""
CONFIG: Final = Option("--config", "FILE", "settings file instead of asyncgg.toml", "Output", type=PATH)
