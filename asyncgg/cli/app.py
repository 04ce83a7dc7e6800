"""The `asyncgg` command group and its entry point."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, Final

import click

from asyncgg import __version__
from asyncgg.cli.errors import flush_standard_output, run_with_exit_code
from asyncgg.cli.options import ARGUMENTS
from asyncgg.sharing import sharing

COMMANDS: Final = {
    "demo": "Run the real pipeline against a simulated fleet; no AWS account needed.",
    "plan": "Show things, cores, requests and time of a run; send nothing.",
    "disassociate": "Disassociate what a manifest, things or cores select.",
    "cleanup": "Disassociate what the rules of a policy select.",
    "decommission": "Quarantine devices: deactivate their certificates too; delete them later.",
    "inventory": "List every core device and its client devices into a snapshot.",
    "where": "Show which cores hold the given things, and since when.",
    "diff": "Show what appeared and vanished between two snapshots.",
    "fleet": "Run many accounts and Regions side by side, as one campaign.",
    "resume": "Continue a stopped run.",
    "retry": "Try the failed things of a run again.",
    "verify": "List a run's cores again and compare them with its journal.",
    "undo": "Associate again what a run disassociated.",
    "status": "Show counts, rate and time left of a run.",
    "watch": "Show a run in a second terminal until it ends.",
    "runs": "List the runs of a folder.",
    "report": "Show a run's summary; write lists as CSV, JSONL or HTML.",
    "tune": "Find the rate, burst and concurrency that suit a quota.",
    "doctor": "Check credentials, permissions, quota and this machine.",
    "iam-policy": "Print the IAM policy that the given commands need.",
    "simulator": "Serve a simulated Greengrass V2 for tests.",
}
"""Every command with its one line of help, in the order of the help."""

_SHARED_MODULE: Final = {"resume": "restart", "retry": "restart"}
"""The module of two commands; the others have one of their own."""

_EPILOG: Final = """
\b
Examples:
  asyncgg demo
  asyncgg plan fleet.csv
  asyncgg disassociate fleet.csv --max-things 5000
  asyncgg retry RUN.journal
  asyncgg report RUN.journal --failures failures.csv

\b
Exit codes: 0 all done, 1 internal error, 2 usage or manifest, 3 some things
failed, 4 stopped by a guard, 5 credentials or permission, 10 deadline,
130 interrupted.

\b
Completion for bash (also zsh_source, fish_source):
  eval "$(_ASYNCGG_COMPLETE=bash_source asyncgg)"
"""
_COMPLETION_VARIABLE: Final = "_ASYNCGG_COMPLETE"


class _LazyGroup(click.Group):
    """A group that imports a command only when it is called, so that help is fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context | None, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        name = _SHARED_MODULE.get(cmd_name, cmd_name.replace("-", "_"))
        module = import_module(f"asyncgg.cli.commands.{name}")
        command: click.Command = getattr(module, cmd_name if cmd_name in _SHARED_MODULE else "command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    "asyncgg",
    cls=_LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=_EPILOG,
)
@click.version_option(__version__, message="%(prog)s %(version)s")
@click.pass_context
def root_command(context: click.Context) -> None:
    """Disassociate AWS IoT Greengrass V2 client devices at the rate of the quota."""
    if context.invoked_subcommand is None:
        sys.stderr.write(context.get_help() + "\n")
        context.exit(2)


def run(arguments: Sequence[str] | None) -> int:
    """Parse the arguments, run the command and return its exit code."""
    _occupy_standard_descriptors()
    argv = list(sys.argv[1:] if arguments is None else arguments)
    return flush_standard_output(run_with_exit_code(lambda: _invoke(argv), debug="--debug" in argv))


def _occupy_standard_descriptors() -> None:
    """Open the null device on closed ones of the descriptors 0 to 2: files must not get them, and libuv aborts."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)


def _invoke(argv: list[str]) -> Any:
    if instruction := os.environ.get(_COMPLETION_VARIABLE):
        from click.shell_completion import shell_complete

        return shell_complete(root_command, {}, "asyncgg", _COMPLETION_VARIABLE, instruction)
    # Not `main`: it turns KeyboardInterrupt into Abort, which drops the message.
    with sharing(), root_command.make_context("asyncgg", list(argv)) as context:
        context.meta[ARGUMENTS] = argv
        return root_command.invoke(context)
