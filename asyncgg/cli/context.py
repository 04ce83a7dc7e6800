"""The settings and the console that the parts of one command share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import click

from asyncgg.cli.console import Console
from asyncgg.cli.log_output import log_output
from asyncgg.cli.options import extract_settings
from asyncgg.cli.output_files import OUTPUTS, require_distinct_files
from asyncgg.file_limit import fit_concurrency

if TYPE_CHECKING:
    from asyncgg.models import Summary
    from asyncgg.settings import Settings
    from asyncgg.state import StateSession
    from asyncgg.transport import ConnectionConfig, Endpoint


@dataclass(frozen=True, slots=True)
class CommandContext:
    """How one command is configured, and where it writes."""

    settings: Settings
    console: Console
    state: StateSession | None = None
    """Where the run is saved, and whose lease it needs."""

    @classmethod
    def load(cls, arguments: Mapping[str, Any]) -> Self:
        """From the command line, the environment and the settings file. Raises `SettingsError`."""
        from asyncgg.settings import load_settings  # imports pydantic: too slow for --help

        return cls.create(load_settings(extract_settings(arguments), config=arguments["config"]), arguments)

    @classmethod
    def create(cls, settings: Settings, arguments: Mapping[str, Any]) -> Self:
        """With these settings, and `--json` from the command line.

        The limit on open files is raised for the concurrency, else the concurrency is lowered.
        """
        configured = settings.model_dump(include={*OUTPUTS, "journal", "protect"})
        context = click.get_current_context(silent=True)
        given = {name: value for name, value in context.params.items() if value is not None} if context else {}
        require_distinct_files({**configured, **given})
        console = Console(as_json=arguments["json"], quiet=settings.quiet, log_json=settings.log_format != "text")
        if context is not None:
            context.with_resource(log_output(console, settings))
        if (concurrency := fit_concurrency(settings.concurrency)) < settings.concurrency:
            if not settings.quiet:
                console.log_event(
                    {"event": "concurrency-lowered", "concurrency": concurrency},
                    f"the limit on open files lowers --concurrency from {settings.concurrency} to {concurrency};"
                    " raise the limit with `ulimit -n`",
                )
            settings = settings.model_copy(update={"concurrency": concurrency})
        return cls(settings, console)

    def show_saved(self, summary: Summary) -> Summary:
        """The summary with the place where the run is saved, if that is not its local file."""
        if self.state is None:
            return summary
        from asyncgg.state import show_saved

        run = self.state.latest()
        return summary if run is None else show_saved(summary, self.state.location, run)

    @property
    def connection(self) -> ConnectionConfig:
        """How AWS is reached."""
        from asyncgg.runs.connection import connection_from_settings  # imports aiobotocore: too slow for --help

        return connection_from_settings(self.settings)

    def resolve_endpoint(self) -> Endpoint:
        """Where requests go. Raises `UsageError` when the Region is unknown."""
        from asyncgg.transport import resolve_endpoint

        return resolve_endpoint(self.connection)
