"""Rule: `asyncgg retry`: its options and its mode; the rest is `asyncgg.cli.restart`, imported when called."""

from __future__ import annotations

from typing import Any

from asyncgg.cli.options import CONNECTION, LIMITS, NOTIFY, OUTPUT, YES, JournalPath, with_options

__all__ = ["EXAMPLES", "command"]

EXAMPLES = """
\b
Examples:
  asyncgg retry asyncgg-20260131-120000.journal
  asyncgg retry asyncgg-20260131-120000.journal --yes --rate 10 --json
"""


@with_options((YES,), CONNECTION, LIMITS, NOTIFY, OUTPUT)
def command(
    journal: JournalPath,
    **arguments: Any,
) -> int:
    """Try again what failed, and nothing else, in a new pass of the same journal.

    Settings, account, Region and endpoint are the run's own unless an option says otherwise.
    """
    from asyncgg.cli.restart import restart_run
    from asyncgg.runs import RunMode

    return restart_run(journal, RunMode.RETRY, arguments)
