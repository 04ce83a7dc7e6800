"""The `asyncgg runs` command."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from asyncgg.cli.console import Console
from asyncgg.cli.options import DEBUG, JSON, PATH, Argument, make_command
from asyncgg.cli.signals import raise_on_signal
from asyncgg.report.run_list import format_run_list, list_runs, run_list_to_dict

_EPILOG = """
\b
Examples:
  asyncgg runs
  asyncgg runs /var/lib/asyncgg --json

Lists the journals in the folder and in the folders directly in it, such as the runs of a policy in its state
folder. Other files with the suffix of a journal are counted.
"""


@make_command(
    Argument("folder", "FOLDER", "folder of the journals [default: the current one]", type=PATH, required=False),
    JSON,
    DEBUG,
    epilog=_EPILOG,
)
def command(folder: Path | None, **arguments: Any) -> int:
    """List runs with verdict, size, duration and age, the newest first."""
    folder = folder or Path()
    with raise_on_signal():
        found = list_runs(folder)
        Console(as_json=arguments["json"]).write_result(
            run_list_to_dict(found, folder), format_run_list(found, folder, time.time())
        )
    return 0
