"""Rule: every option of every command is declared here once; the help of a setting is the setting's own description.

Options that are settings reach `asyncgg.settings` as text, None when they are absent: one place checks values, and
what the command line does not say is left to the environment, the file and the defaults.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from asyncgg.settings import Settings

__all__ = [
    "CONFIG",
    "CONNECTION",
    "GUARDS",
    "JOURNAL",
    "LIMITS",
    "LOOKUP_OPTIONS",
    "MANIFEST",
    "NOTIFY",
    "OUTPUT",
    "YES",
    "JournalPath",
    "ManifestSpec",
    "Opt",
    "extract_settings",
    "with_options",
]

_UNIT: Final = {"DURATION": " s"}

ManifestSpec = Annotated[
    str | None,
    typer.Argument(
        metavar="MANIFEST",
        help="columns core,thing: .csv, .jsonl (also .gz), .parquet, s3://bucket/key, or - for standard input",
        show_default=False,
    ),
]
JournalPath = Annotated[Path, typer.Argument(metavar="JOURNAL", help="the run's journal", show_default=False)]


@dataclass(frozen=True, slots=True)
class Opt:
    """One option: its name as in Python, what it takes (empty for a switch), its help and its place in the help."""

    name: str
    takes: str = ""
    help: str = ""
    panel: str = ""
    kind: Any = None
    """The type, when it is not the text of a setting."""

    @property
    def flag(self) -> str:
        """As it is typed; a name that is a word of Python ends in `_`."""
        return "--" + self.name.rstrip("_").replace("_", "-")

    def parameter(self) -> inspect.Parameter:
        """What Typer is to see."""
        kind = self.kind or (str if self.takes else bool)
        option = typer.Option(
            self.flag, metavar=self.takes or None, help=self.help, rich_help_panel=self.panel, show_default=False
        )
        default: Any = None
        if getattr(kind, "__origin__", None) is list:
            default = []
            annotation: Any = Annotated[kind, option]
        else:
            annotation = Annotated[kind | None, option]
        return inspect.Parameter(self.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _setting(name: str, takes: str, panel: str) -> Opt:
    field = Settings.model_fields[name]
    text = field.description or ""
    if takes and field.default is not None:
        text += (
            f" ({field.default:g}{_UNIT.get(takes, '')})" if isinstance(field.default, float) else f" ({field.default})"
        )
    return Opt(name, takes, text, panel)


def _settings(panel: str, **takes: str) -> tuple[Opt, ...]:
    return tuple(_setting(name, what, panel) for name, what in takes.items())


CONNECTION: Final = _settings(
    "Connection",
    profile="NAME",
    region="REGION",
    endpoint_url="URL",
    expect_account="ID",
    connect_timeout="DURATION",
    request_timeout="DURATION",
    transport="native|sdk",
)
LIMITS: Final = (
    *_settings(
        "Speed and limits",
        rate="auto|R",
        burst="auto|B",
        quota="auto|Q",
        quota_share="F",
        concurrency="K",
        per_core="K",
        max_attempts="N",
        max_attempts_unknown="N",
        stall_timeout="DURATION",
        deadline="DURATION",
    ),
    *_settings("Safety", abort_at="PERCENT", abort_after="N"),
)
YES: Final = Opt("yes", help="do not ask for a confirmation", panel="Safety")
GUARDS: Final = (
    YES,
    Opt("dry_run", help="stop after the plan; nothing is sent, no journal is kept", panel="Safety"),
    *_settings("Safety", max_things="N", protect="FILE"),
)
MANIFEST: Final = (
    Opt("format", "FORMAT", "csv, jsonl or parquet, whatever the manifest's name says", "Manifest"),
    *_settings("Manifest", skip_bad_rows=""),
    Opt("rejects", "FILE", "write the bad rows here, as CSV", "Manifest", Path),
)
_NAME_LIST_FORMATS: Final = "one a line, or a CSV with such a column; - for standard input"
LOOKUP_OPTIONS: Final = (
    Opt(
        "things",
        "FILE",
        f"every association of these things, whichever the cores: {_NAME_LIST_FORMATS}",
        "Instead of a manifest",
    ),
    Opt("cores", "FILE", f"all client devices of these cores: {_NAME_LIST_FORMATS}", "Instead of a manifest"),
    Opt("core", "NAME", "all client devices of this core; repeatable", "Instead of a manifest", list[str]),
    Opt(
        "inventory",
        "FILE",
        "look there instead of sweeping; one that is missing or unfinished is swept first",
        "Instead of a manifest",
        Path,
    ),
    Opt("max_age", "DURATION", "refuse an inventory begun longer ago (24h)", "Instead of a manifest"),
    Opt(
        "allow_unlisted",
        help="go on though cores could not be listed; what was not seen of them stays",
        panel="Instead of a manifest",
    ),
)
NOTIFY: Final = (
    Opt(
        "notify",
        "URL|ARN",
        "tell a webhook (or env:NAME, which holds its URL) or an SNS topic how it ended; repeatable",
        "Output",
        list[str],
    ),
)
JOURNAL: Final = _settings("Output", journal="PATH")
OUTPUT: Final = (
    Opt("json", help="standard output is one JSON object, the summary, and nothing else", panel="Output"),
    *_settings("Output", quiet="", log_format="text|json"),
    Opt("debug", help="show a traceback with an error", panel="Output"),
)
CONFIG: Final = Opt("config", "FILE", "settings file instead of asyncgg.toml", "Output", Path)


def with_options(*groups: Iterable[Opt]) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Give a command, besides its own parameters, these options; they arrive in its `**given`."""
    parameters = [option.parameter() for group in groups for option in group]

    def decorate(command: Callable[..., int]) -> Callable[..., int]:
        signature = inspect.signature(command, eval_str=True)
        own = [one for one in signature.parameters.values() if one.kind is not inspect.Parameter.VAR_KEYWORD]
        every = [*own, *parameters]
        command.__signature__ = signature.replace(parameters=every)  # type: ignore[attr-defined]  # Typer reads it
        command.__annotations__ = {one.name: one.annotation for one in every} | {"return": int}
        return command

    return decorate


def extract_settings(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the given options that are settings; None where an option is absent."""
    return {name: value for name, value in arguments.items() if name in Settings.model_fields}
