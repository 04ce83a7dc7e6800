"""The options and arguments of the commands, and the click classes that show them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import click
from click.shell_completion import CompletionItem

from asyncgg.cli.completion import complete_metavar
from asyncgg.formatting import parse_duration

PATH: Final = click.Path(path_type=Path)

SHARED_PANELS: Final = (
    "Safety",
    "Manifest",
    "Connection",
    "Speed and limits",
    "State",
    "Output",
    "Logs and metrics",
    "Other",
)
"""In the order of the help, after the panels of the command itself."""


class Option(click.Option):
    """An option, listed under `panel` in the help; a switch unless `metavar` says what it takes."""

    def __init__(self, flag: str, metavar: str = "", help: str = "", panel: str = "Options", **attributes: Any) -> None:  # noqa: A002 - click's name
        is_switch = not metavar and not attributes.get("count")
        super().__init__(flag.split(", "), metavar=metavar or None, help=help, is_flag=is_switch or None, **attributes)
        self.panel = panel

    def get_help_extra(self, ctx: click.Context) -> Any:
        """What follows the help; not the range of -v, which is no value to type."""
        extra = super().get_help_extra(ctx)
        return {key: value for key, value in extra.items() if key != "range"} if self.count else extra

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """What the value can be."""
        return complete_metavar(self.metavar or "", incomplete) or super().shell_complete(ctx, incomplete)


class Argument(click.Argument):
    """An argument with a line of help."""

    def __init__(self, name: str, metavar: str, description: str, **attributes: Any) -> None:
        many = attributes.get("nargs", 1) != 1
        required = attributes.setdefault("required", not many)
        super().__init__([name], metavar=(metavar if required else f"[{metavar}]") + "..." * many, **attributes)
        self.panel = "Arguments"
        self._record = (metavar, description)

    def get_help_record(self, ctx: click.Context) -> tuple[str, str]:
        """The two columns of the help."""
        return self._record

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """What the argument can be."""
        return complete_metavar(self._record[0], incomplete) or super().shell_complete(ctx, incomplete)


class _Command(click.Command):
    """A command whose help has examples first, then arguments and options by panel, then notes."""

    def __init__(self, name: str, *, examples: str, **attributes: Any) -> None:
        super().__init__(name, **attributes)
        self._examples = examples

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse as click does; an error of its parser also names this command."""
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            error.ctx = error.ctx or ctx
            raise

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the description and the examples."""
        super().format_help_text(ctx, formatter)
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(self._examples)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the panels: those of the command, then the shared ones, in one order for all commands."""
        panels: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                panels.setdefault(getattr(parameter, "panel", "Other"), []).append(record)
        for panel, records in sorted(panels.items(), key=_panel_position):
            with formatter.section(panel):
                formatter.write_dl(records, col_max=28)


def _panel_position(item: tuple[str, object]) -> int:
    return SHARED_PANELS.index(item[0]) if item[0] in SHARED_PANELS else -1


def make_command(
    *parameters: click.Parameter | Iterable[click.Parameter], epilog: str, name: str = ""
) -> Callable[[Callable[..., int]], click.Command]:
    """Make a function the command `name`, by default that of its module, with its docstring as help.

    The first paragraph of `epilog` has the examples, the others are notes.
    """
    examples, _, notes = inspect.cleandoc(epilog).partition("\n\n")
    params: list[click.Parameter] = []
    for group in parameters:
        params += [group] if isinstance(group, click.Parameter) else group

    def decorate(function: Callable[..., int]) -> click.Command:
        return _Command(
            name or function.__module__.rpartition(".")[2],
            callback=function,
            params=params,
            help=inspect.getdoc(function),
            examples=examples,
            epilog=notes,
            context_settings={"help_option_names": ["-h", "--help"]},
        )

    return decorate


class _Group(click.Group):
    """A command that has commands of its own, listed in their order."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the first paragraph of each one's help."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, (own.help or "").split("\n\n")[0]) for name, own in self.commands.items()])


def make_group(name: str, *commands: click.Command, description: str, epilog: str) -> click.Group:
    """The command `name` that has these commands."""
    return _Group(
        name,
        commands=commands,
        help=description,
        no_args_is_help=False,
        epilog=epilog,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def duration(ctx: click.Context, option: click.Parameter, text: str | None) -> float | None:
    """The seconds of a DURATION; the callback of options that are not settings."""
    try:
        return None if text is None else parse_duration(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r} {error}", ctx, option) from None


def duration_or_zero(ctx: click.Context, option: click.Parameter, text: str | None) -> float | None:
    """As `duration`; 0 is allowed."""
    return 0.0 if text is not None and text.strip() in {"0", "0s"} else duration(ctx, option, text)


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
JOURNAL_ARGUMENT: Final = Argument("journal", "JOURNAL", "journal of the run", type=PATH)
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
READ_STATE: Final = Option(
    "--state", "LOCATION", "the newest run of this state, s3://BUCKET/PREFIX or a folder, instead of a journal", "State"
)
RUN_OF_STATE: Final = Option("--run", "NAME", "this run of the state; `asyncgg runs` lists them", "State")
WORK_STATE: Final = (
    READ_STATE,
    *without(STATE, "state"),
    RUN_OF_STATE,
)
"""Of commands that work on a run of a state, and need its lease."""
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
