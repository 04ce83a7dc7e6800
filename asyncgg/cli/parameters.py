"""The click classes of options, arguments and commands, and how a command is made of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any, Final

import click
from click.shell_completion import CompletionItem

from asyncgg.cli.completion import complete_metavar

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

    def invoke(self, ctx: click.Context) -> Any:
        """Call the function. Raises `UsageError` if two parameters name the same file to write."""
        from asyncgg.cli.output_files import require_distinct_files

        require_distinct_files(ctx.params)
        return super().invoke(ctx)

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
