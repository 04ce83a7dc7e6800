"""Rule: `asyncgg verify`: its options; one start of it is `asyncgg.cli.verifying`, imported when called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from asyncgg.cli.commands.inventory import READ_OPTIONS
from asyncgg.cli.options import CONNECTION, OUTPUT, JournalPath, with_options
from asyncgg.errors import SettingsError
from asyncgg.report.verification import require_csv_suffix
from asyncgg.settings import parse_duration

__all__ = ["EXAMPLES", "command"]

EXAMPLES = """
\b
Examples:
  asyncgg verify asyncgg-20260131-120000.journal
  asyncgg verify asyncgg-20260131-120000.journal --wait 2m --failures left.csv
  asyncgg verify asyncgg-20260131-120000.journal --out after.db --json

\b
Lists the client devices of every core that the run touched, and holds what the journal calls done against
that. What failed or was never sent is told beside it and fails nothing. The result is kept in
JOURNAL.verified.json, and `report` shows it.
Exit codes: 0 all as the journal says, 3 some is not, 4 some cores could not be listed.
"""


@with_options(CONNECTION, READ_OPTIONS, OUTPUT)
def command(
    journal: JournalPath,
    *,
    wait: Annotated[
        str | None,
        typer.Option(
            "--wait",
            metavar="DURATION",
            help="look again at cores in doubt for so long: changes may take time to show",
            rich_help_panel="What",
        ),
    ] = None,
    failures: Annotated[
        Path | None,
        typer.Option(
            "--failures",
            metavar="FILE",
            help="list what is not as it should be: .csv (also .gz), a manifest",
            rich_help_panel="Output",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="SNAPSHOT", help="keep the listing as a snapshot", rich_help_panel="Output"),
    ] = None,
    **arguments: Any,
) -> int:
    """List the cores of a run again: is everything gone that it disassociated?

    Settings, account, Region and endpoint are those of the run unless an option says otherwise.
    """
    from asyncgg.cli.verifying import verify

    if failures is not None:
        require_csv_suffix(failures)
    return verify(journal, arguments, wait=_parse_wait(wait), failures=failures, out=out)


def _parse_wait(wait: str | None) -> float:
    if wait is None:
        return 0.0
    try:
        return parse_duration(wait)
    except ValueError as error:
        raise SettingsError(f"--wait: {wait!r} {error}") from None
