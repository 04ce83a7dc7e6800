"""The `asyncgg resume` command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from asyncgg.cli.options import CONNECTION, JOURNAL_ARGUMENT, LIMITS, NOTIFY, OUTPUT, YES, make_command

_EPILOG = """
\b
Examples:
  asyncgg resume asyncgg-20260131-120000.journal
  asyncgg resume asyncgg-20260131-120000.journal --yes --rate 10 --json
"""


@make_command(JOURNAL_ARGUMENT, YES, CONNECTION, LIMITS, NOTIFY, OUTPUT, epilog=_EPILOG)
def command(journal: Path, **arguments: Any) -> int:
    """Continue a stopped run: send everything that is pending.

    Settings, account, Region and endpoint are those of the run unless an option overrides them.
    """
    from asyncgg.cli.workflow import restart_run
    from asyncgg.runs import RunMode

    return restart_run(journal, RunMode.RESUME, arguments)
