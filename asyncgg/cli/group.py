"""Rule: how help looks, and the loading of a command when it is called, live here. Plain text: fast, and for any width.

Typer's own look draws boxes and needs Rich before the first word; ours groups options by their panel.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from asyncgg.cli.errors import preserve_interrupt

__all__ = ["Command", "LazyGroup"]


class Command(TyperCommand):
    """A command whose help lists its options by their panel."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments, then the options of each panel in the order of their first option."""
        panels: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                default = "Arguments" if parameter.param_type_name == "argument" else "Other"
                panels.setdefault(getattr(parameter, "rich_help_panel", None) or default, []).append(record)
        for panel, records in panels.items():
            with formatter.section(panel):
                formatter.write_dl(records, col_max=28)


class LazyGroup(TyperGroup):
    """A group that knows its commands by name and help, and imports one when it is asked for."""

    def announce(self, commands: Mapping[str, str]) -> None:
        """Name the commands there are."""
        self.commands = {name: TyperCommand(name, help=text) for name, text in commands.items()}

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command itself, from the file of its name."""
        if cmd_name not in self.commands:
            return None
        module = import_module(f"asyncgg.cli.commands.{cmd_name}")
        app = typer.Typer(rich_markup_mode=None, add_completion=False)
        app.command(
            cmd_name,
            cls=Command,
            epilog=module.EXAMPLES,
            context_settings={"help_option_names": ["-h", "--help"]},
        )(preserve_interrupt(module.command))
        return typer.main.get_command(app)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the names and their help, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, stub.help or "") for name, stub in self.commands.items()])
