"""The `asyncgg resume` and `asyncgg retry` commands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from asyncgg.cli.options import (
    CONNECTION,
    JOURNAL_OR_STATE,
    LANES,
    LIMITS,
    NOTIFY,
    RUN_OUTPUT,
    STATE,
    YES,
    make_command,
)
from asyncgg.errors import UsageError

_EPILOG = """
\b
Examples:
  asyncgg {0} RUN.journal
  asyncgg {0} RUN.journal --yes --rate 10 --json
  asyncgg {0} CAMPAIGN --yes
  asyncgg {0} --state s3://bucket/runs --yes
"""
_PARAMETERS = (JOURNAL_OR_STATE, YES, *LANES, *CONNECTION, *LIMITS, *STATE, NOTIFY, *RUN_OUTPUT)


@make_command(_PARAMETERS, name="resume", epilog=_EPILOG.format("resume"))
def resume(journal: Path | None, **arguments: Any) -> int:
    """Continue a stopped run: send everything that is pending.

    Settings, account, Region and endpoint are those of the run unless an option overrides them.
    """
    return _restart(journal, "resume", arguments)


@make_command(_PARAMETERS, name="retry", epilog=_EPILOG.format("retry"))
def retry(journal: Path | None, **arguments: Any) -> int:
    """Try the failed things of a run again, in a new pass of its journal.

    Settings, account, Region and endpoint are those of the run unless an option overrides them.
    """
    return _restart(journal, "retry", arguments)


def _restart(journal: Path | None, mode: str, arguments: dict[str, Any]) -> int:
    from asyncgg.cli.campaign import restart_campaign
    from asyncgg.cli.restart import restart_run
    from asyncgg.decommission.journal import is_decommission
    from asyncgg.fleet.folder import is_campaign
    from asyncgg.runs import RunMode

    if journal is not None and is_campaign(journal):
        return restart_campaign(journal, RunMode(mode), arguments)
    if any(arguments[option.name or ""] for option in LANES):
        raise UsageError("--processes, --shard, --dask and --abort-targets are options of a campaign; give its folder")
    if journal is not None and is_decommission(journal):
        from asyncgg.cli.decommission import DecommissionSession

        with DecommissionSession.open(journal, arguments) as (session, book):
            return session.resume(book)
    return restart_run(journal, RunMode(mode), arguments)
