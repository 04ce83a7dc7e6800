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

from asyncgg.cli.options import OUTPUT, given_settings, with_options
from asyncgg.cli.output import Output
from asyncgg.cli.signals import interrupting
from asyncgg.cli.simulated import nobody, simulator
from asyncgg.model import RunState
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
    keep: Annotated[
        bool, typer.Option("--keep", help="keep the simulator running afterwards, until Ctrl-C", show_default=False)
    ] = False,
    **given: Any,
) -> int:
    """Watch it work: a simulated fleet of 25,000 things, the real pipeline, no AWS account."""
    from asyncgg.cli.order import Order, disassociate
    from asyncgg.cli.running import finish
    from asyncgg.runs import default_journal

    output = Output(as_json=bool(given["json"]), quiet=bool(given["quiet"]), log_json=given["log_format"] == "json")
    with interrupting(), tempfile.TemporaryDirectory(prefix="asyncgg-demo-") as folder, simulator(_FLEET) as url:
        manifest = Path(folder) / _MANIFEST
        _fetch(f"{url}/_sim/manifest.csv", manifest)
        path = journal or default_journal()
        asked = given_settings(given) | {"endpoint_url": url, "region": "us-east-1", "journal": path}
        with nobody():
            ended = disassociate(Order(manifest=str(manifest), yes=True), build_settings({}, asked), output)
        assert ended is not None
        result, summary = ended
        code = finish(output, result, summary, advise=False)
        expected = result.state is RunState.PARTIAL
        if expected:
            output.say(*_advice(summary.journal))
        if keep:
            _wait(output, url, next_commands(summary))
    return 0 if expected else code


def _advice(journal: str) -> list[str]:
    journal = shlex.quote(journal)
    return [
        "The failures are staged: 40 things and one core of this fleet do not exist.",
        "Next, on the journal it left:",
        f"  asyncgg status {journal}",
        f"  asyncgg report {journal} --failures failures.csv",
        f"  asyncgg report {journal} --html report.html",
    ]


def _fetch(url: str, path: Path) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=10) as answer:
        path.write_bytes(answer.read())


def _wait(output: Output, url: str, commands: list[str]) -> None:
    output.say(
        f"The simulator goes on at {url} until Ctrl-C.",
        "In another terminal, with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY set to anything:",
        *(f"  {command}" for command in commands),
    )
    with contextlib.suppress(KeyboardInterrupt):
        signal.pause()
