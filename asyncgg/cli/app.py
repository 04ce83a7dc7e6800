"""Rule: the list of commands lives here, and how one is found and run; what it does lives in the file of its name.

A command's file is imported when that command is called: `asyncgg --help` does not wait for aiobotocore.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, Any, Final

import typer

from asyncgg.cli.errors import flush_standard_output, run_with_exit_code
from asyncgg.cli.group import LazyGroup

__all__ = ["COMMANDS", "build_cli", "run"]

COMMANDS: Final = {
    "demo": "Watch it work: a simulated fleet, the real pipeline, no AWS account.",
    "plan": "What would be done: things, cores, requests, time. Sends nothing.",
    "disassociate": "Plan, confirm, run: disassociate what a manifest, things or cores stand for.",
    "cleanup": "What a policy's rules select, every night; --check reads one.",
    "inventory": "Sweep the Region: every core device and its client devices, into a snapshot.",
    "where": "Which cores hold these things, and since when.",
    "diff": "What appeared and what vanished between two snapshots.",
    "resume": "Go on where a stopped run was.",
    "retry": "Only what failed, in a new pass of the same journal.",
    "verify": "List a run's cores again: is everything gone that it disassociated?",
    "undo": "Associate again what a run is known to have disassociated.",
    "status": "Counts, rate, time left; works while a run is going.",
    "report": "The summary, failures by code, and lists as CSV, JSONL or HTML.",
    "tune": "Which rate, burst and concurrency suit a quota: tried out, measured, or read off a journal.",
    "simulator": "Greengrass V2 on this machine, for tests.",
}
"""Every command with its one line of help, in the order of the help."""

_EPILOG: Final = """
\b
Examples:
  asyncgg demo
  asyncgg plan fleet.csv
  asyncgg disassociate fleet.csv --max-things 5000
  asyncgg retry asyncgg-20260131-120000.journal
  asyncgg report asyncgg-20260131-120000.journal --failures failures.csv

\b
Exit codes: 0 all done, 1 a fault of ours, 2 usage or manifest, 3 some things failed,
4 a guard stopped it, 5 credentials or permission, 10 deadline, 130 interrupted.
"""

_app = typer.Typer(
    name="asyncgg",
    cls=LazyGroup,
    rich_markup_mode=None,
    invoke_without_command=True,
    add_completion=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=_EPILOG,
)


@_app.callback()
def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="print the version", show_default=False)] = False,
) -> int:
    """Disassociate AWS IoT Greengrass V2 client devices from their core devices, at the quota's limit."""
    if version:
        from asyncgg import __version__

        sys.stdout.write(f"asyncgg {__version__}\n")
        raise typer.Exit(0)
    if context.invoked_subcommand is None:
        sys.stderr.write(context.get_help() + "\n")
        raise typer.Exit(2)
    return 0


def build_cli() -> Any:
    """The command group, made of `COMMANDS`."""
    group = typer.main.get_command(_app)
    assert isinstance(group, LazyGroup)
    group.announce(COMMANDS)
    return group


def run(arguments: Sequence[str] | None) -> int:
    """Parse and run; the exit code."""
    argv = list(sys.argv[1:] if arguments is None else arguments)
    code = run_with_exit_code(
        lambda: build_cli().main(args=argv, prog_name="asyncgg", standalone_mode=False), debug="--debug" in argv
    )
    return flush_standard_output(code)
