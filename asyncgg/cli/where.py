"""Rule: `asyncgg where`: its options, the look-up in a snapshot or in a sweep made for it, how the answer is told."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asyncgg.cli.inventory import READING
from asyncgg.cli.options import CONFIG, CONNECTION, OUTPUT, given_settings, with_options
from asyncgg.cli.output import Output
from asyncgg.errors import UsageError
from asyncgg.settings import load_settings

if TYPE_CHECKING:
    from asyncgg.inventory import ScanResult, Snapshot
    from asyncgg.settings import Settings

__all__ = ["EXAMPLES", "command"]

EXAMPLES = """
\b
Examples:
  asyncgg where sensor-17 --inventory fleet.db
  asyncgg where sensor-17 sensor-18
  asyncgg where --things old.txt --inventory fleet.db --json

\b
AWS has no look-up from a thing to its cores. With --inventory the answer comes from a snapshot and costs
nothing; without it the whole Region is swept first. Exit code 3: some thing is on no core.
"""


@with_options(CONNECTION, READING, OUTPUT, (CONFIG,))
def command(
    thing: Annotated[
        list[str] | None, typer.Argument(metavar="THING", help="names of things", show_default=False)
    ] = None,
    *,
    things: Annotated[
        str | None,
        typer.Option(
            "--things",
            metavar="FILE",
            help="more names: one a line, or a CSV with a column thing; - for standard input",
            rich_help_panel="What",
        ),
    ] = None,
    inventory: Annotated[
        Path | None,
        typer.Option(
            "--inventory", metavar="FILE", help="look here instead of sweeping the Region", rich_help_panel="What"
        ),
    ] = None,
    **given: Any,
) -> int:
    """Tell which cores hold these things, and since when."""
    from asyncgg.cli.signals import interrupting
    from asyncgg.engine import RunResult
    from asyncgg.inventory import Snapshot
    from asyncgg.runs import exit_code

    settings = load_settings(given_settings(given), config=given["config"])
    output = Output(as_json=bool(given["json"]), quiet=settings.quiet, log_json=settings.log_format == "json")
    names = _names(thing or [], things)
    with interrupting():
        if inventory is not None:
            with Snapshot(inventory) as snapshot:
                snapshot.require_finished()
                return _answer(output, snapshot, names, None, str(inventory))
        with tempfile.TemporaryDirectory(prefix="asyncgg-where-") as folder:
            path = Path(folder) / "fleet.db"
            swept = _sweep(path, settings, output)
            if not swept.finished:
                output.say(f"the sweep is unfinished, so there is no answer: {swept.state}: {swept.reason}")
                return exit_code(RunResult(swept.state, swept.reason, swept.is_auth_error))
            with Snapshot(path) as snapshot:
                return _answer(output, snapshot, names, swept, None)


def _names(given: list[str], file: str | None) -> list[str]:
    from asyncgg.manifest.names import read_names
    from asyncgg.model import invalid_name_reason

    for name in given:
        if fault := invalid_name_reason(name):
            raise UsageError(f"{name[:200]!a} is no thing's name: it {fault}")
    names = list(dict.fromkeys([*given, *(read_names(file, "thing") if file else [])]))
    if not names:
        raise UsageError("no thing is named: give names, or --things FILE")
    return names


def _sweep(path: Path, settings: Settings, output: Output) -> ScanResult:
    from asyncgg.cli.sweeping import sweep_now
    from asyncgg.runs import quota_rate
    from asyncgg.runs.execute import connection_from_settings
    from asyncgg.transport import resolve_endpoint

    target = resolve_endpoint(connection_from_settings(settings))
    rate = quota_rate(settings, target.region)
    output.tell(
        {"event": "sweep", "region": target.region, "endpoint": target.url, "rate": rate},
        f"no --inventory: sweeping {target.region} ({target.url}), which takes a request for every core at"
        f" least, {rate:g} a second at most: {60 * rate:,.0f} cores a minute",
    )
    return sweep_now(path, settings, output, target)


def _answer(
    output: Output, snapshot: Snapshot, names: list[str], swept: ScanResult | None, inventory: str | None
) -> int:
    from asyncgg.cli.sweeping import swept_object
    from asyncgg.manifest.writing import format_timestamp
    from asyncgg.report.summary import format_duration

    found = snapshot.find_things(names)
    missing = [name for name, pairs in found.items() if not pairs]
    counts = snapshot.counts()
    unknown = counts.denied + counts.failed
    code = 3 if missing else 0
    lines = []
    for name, pairs in found.items():
        lines += [
            f"{name}  {pair.core}  since {format_timestamp(pair.associated_at) or 'an unknown time'}" for pair in pairs
        ]
        if not pairs:
            lines.append(f"{name}  on no core")
    age = max(0.0, time.time() - snapshot.started_at)
    notes = [f"{len(names) - len(missing):,} of {len(names):,} things found, as of {format_duration(age)} ago"]
    if unknown:
        notes.append(f"{unknown:,} cores are not known: denied or failed in the sweep; what they hold is not seen")
    if snapshot.coverage_note:
        notes.append(f"{snapshot.path} holds {snapshot.coverage_note}; what others hold is not seen")
    output.say(*notes)
    document = {
        "schema": "asyncgg.where/1",
        "inventory": inventory,
        "begun": format_timestamp(snapshot.started_at),
        "ended": format_timestamp(snapshot.ended_at) or None,
        "things": {
            name: [{"core": pair.core, "associated_at": format_timestamp(pair.associated_at) or None} for pair in pairs]
            for name, pairs in found.items()
        },
        "found": len(names) - len(missing),
        "missing": missing,
        "cores_unknown": unknown,
        "partial": snapshot.coverage_note or None,
        "sweep": None if swept is None else swept_object(swept),
        "exit": code,
    }
    output.result(document, lines)
    return code
