"""Rule: `asyncgg demo`: the real run against a simulator of its own; the user's AWS configuration is never looked at.

The simulator is a process of its own, as the service is a machine of its own, and it always ends with the demo.
"""

from __future__ import annotations

import contextlib
import shlex
import signal
import tempfile
import urllib.request
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from asyncgg.cli.console import Console
from asyncgg.cli.local_simulator import isolated_aws_environment, simulator_process
from asyncgg.cli.options import OUTPUT, extract_settings, with_options
from asyncgg.cli.signals import raise_on_signal
from asyncgg.models import RunState
from asyncgg.report.summary import next_commands
from asyncgg.settings import build_settings

__all__ = ["EXAMPLES", "command"]

EXAMPLES = """
\b
Examples:
  asyncgg demo
  asyncgg demo --keep --journal demo.journal
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


@with_options(OUTPUT)
def command(
    *,
    journal: Annotated[
        Path | None, typer.Option("--journal", metavar="PATH", help="where to leave the journal", show_default=False)
    ] = None,
    keep_running: Annotated[
        bool, typer.Option("--keep", help="keep the simulator running afterwards, until Ctrl-C", show_default=False)
    ] = False,
    **arguments: Any,
) -> int:
    """Watch it work: a simulated fleet of 25,000 things, the real pipeline, no AWS account."""
    from asyncgg.cli.order import DisassociateRequest, disassociate
    from asyncgg.cli.supervisor import write_summary
    from asyncgg.runs import default_journal

    console = Console(
        as_json=bool(arguments["json"]), quiet=bool(arguments["quiet"]), log_json=arguments["log_format"] == "json"
    )
    with (
        raise_on_signal(),
        tempfile.TemporaryDirectory(prefix="asyncgg-demo-") as folder,
        simulator_process(_FLEET) as url,
    ):
        manifest = Path(folder) / _MANIFEST
        _download(f"{url}/_sim/manifest.csv", manifest)
        path = journal or default_journal()
        overrides = extract_settings(arguments) | {"endpoint_url": url, "region": "us-east-1", "journal": path}
        with isolated_aws_environment():
            outcome = disassociate(
                DisassociateRequest(manifest=str(manifest), yes=True), build_settings({}, overrides), console
            )
        assert outcome is not None
        result, summary = outcome
        code = write_summary(console, result, summary, suggest_next=False)
        expected = result.state is RunState.PARTIAL
        if expected:
            console.print(*_next_steps(summary.journal))
        if keep_running:
            _wait_for_interrupt(console, url, next_commands(summary))
    return 0 if expected else code


def _next_steps(journal: str) -> list[str]:
    journal = shlex.quote(journal)
    return [
        "The failures are staged: 40 things and one core of this fleet do not exist.",
        "Next, on the journal it left:",
        f"  asyncgg status {journal}",
        f"  asyncgg report {journal} --failures failures.csv",
        f"  asyncgg report {journal} --html report.html",
    ]


def _download(url: str, path: Path) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=10) as response:
        path.write_bytes(response.read())


def _wait_for_interrupt(console: Console, url: str, commands: list[str]) -> None:
    console.print(
        f"The simulator goes on at {url} until Ctrl-C.",
        "In another terminal, with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY set to anything:",
        *(f"  {command}" for command in commands),
    )
    with contextlib.suppress(KeyboardInterrupt):
        signal.pause()
