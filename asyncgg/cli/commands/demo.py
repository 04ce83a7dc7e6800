"""The `asyncgg demo` command."""

from __future__ import annotations

import contextlib
import shlex
import signal
import tempfile
import urllib.request
from pathlib import Path
from typing import Any, Final

from asyncgg.cli.console import Console
from asyncgg.cli.context import CommandContext
from asyncgg.cli.local_simulator import isolated_aws_environment, simulator_process
from asyncgg.cli.options import OUTPUT, PATH, Option, extract_settings, make_command
from asyncgg.cli.signals import raise_on_signal
from asyncgg.formatting import CommandLine
from asyncgg.models import RunState
from asyncgg.report.summary import next_commands

_EPILOG = """
\b
Examples:
  asyncgg demo
  asyncgg demo --keep-running --journal demo.journal
"""

_FLEET: Final = {
    "cores": "250",
    "things": "100",
    "rate": "30",
    "burst": "10",
    "latency-ms": "80",
    "fault": "entry=0.2%",
    "missing-things": "40",
    "missing-cores": "1",
    "seed": "7",
}
_MANIFEST: Final = "demo-fleet.csv"


@make_command(
    Option("--journal", "PATH", "where to write the journal", "Output", type=PATH),
    Option("--keep-running", help="keep the simulator running afterwards, until Ctrl-C"),
    OUTPUT,
    epilog=_EPILOG,
)
def command(*, journal: Path | None, keep_running: bool, **arguments: Any) -> int:
    """Run the real pipeline against a simulated fleet of 25,000 things.

    Needs no AWS account; the AWS configuration of this machine is not read.
    """
    from asyncgg.cli.supervisor import write_summary
    from asyncgg.cli.workflow import disassociate
    from asyncgg.runs import default_journal
    from asyncgg.settings import build_settings

    with (
        raise_on_signal(),
        tempfile.TemporaryDirectory(prefix="asyncgg-demo-") as folder,
        simulator_process(_FLEET) as url,
    ):
        manifest = Path(folder) / _MANIFEST
        _download(f"{url}/_sim/manifest.csv", manifest)
        own = {"endpoint_url": url, "region": "us-east-1", "journal": journal or default_journal()}
        context = CommandContext.create(build_settings({}, extract_settings(arguments) | own), arguments)
        with isolated_aws_environment():
            outcome = disassociate(str(manifest), None, context, yes=True)
        assert outcome is not None
        result, summary = outcome
        code = write_summary(context.console, result, summary, suggest_next=False)
        expected = result.state is RunState.PARTIAL
        if expected:
            context.console.print(*_next_steps(summary.journal))
        if keep_running:
            _wait_for_interrupt(context.console, url, next_commands(summary))
    return 0 if expected else code


def _next_steps(journal: str) -> list[str]:
    journal = shlex.quote(journal)
    return [
        "The failures are intended: one core of this fleet does not exist, and 40 things are not associated.",
        "Try next, with the journal of this run:",
        CommandLine(f"  asyncgg status {journal}"),
        CommandLine(f"  asyncgg report {journal} --failures failures.csv"),
        CommandLine(f"  asyncgg report {journal} --html report.html"),
    ]


def _download(url: str, path: Path) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=10) as response:
        path.write_bytes(response.read())


def _wait_for_interrupt(console: Console, url: str, commands: list[str]) -> None:
    console.print(
        f"The simulator keeps running at {url} until Ctrl-C.",
        "In another terminal, with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY set to any value:",
        *(CommandLine(f"  {command}") for command in commands),
    )
    with contextlib.suppress(KeyboardInterrupt):
        signal.pause()
