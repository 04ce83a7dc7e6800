"""Rule: `asyncgg report`: what a journal says, on the screen and in files; the journal itself is only read."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from asyncgg.cli.console import Console
from asyncgg.cli.options import JournalPath, Opt, with_options
from asyncgg.cli.signals import raise_on_signal
from asyncgg.errors import UsageError
from asyncgg.files import atomic_write_text
from asyncgg.journal import JournalReader, last_request_at
from asyncgg.models import ThingState
from asyncgg.report import format_summary, summary_to_dict
from asyncgg.report.html import render_html
from asyncgg.report.outcomes import format_from_suffix, write_outcomes
from asyncgg.report.verification import format_verification_record, load_verification_record

__all__ = ["EXAMPLES", "command"]

EXAMPLES = """
\b
Examples:
  asyncgg report asyncgg-20260131-120000.journal
  asyncgg report asyncgg-20260131-120000.journal --failures failures.csv
  asyncgg report asyncgg-20260131-120000.journal --outcomes all.jsonl.gz --html report.html

\b
Lists have the columns core,thing,outcome,code,message,attempts,at,request_id,reason: a list of
failures is itself a manifest. In CSV a code, message or reason that a spreadsheet could take for
a formula begins with '.
"""

_OPTIONS = (
    Opt("json", help="standard output is one JSON object, the summary, and nothing else", panel="Output"),
    Opt("debug", help="show a traceback with an error", panel="Output"),
)


@with_options(_OPTIONS)
def command(
    journal: JournalPath,
    *,
    failures: Annotated[
        Path | None, typer.Option("--failures", metavar="FILE", help="list what failed: .csv or .jsonl, also .gz")
    ] = None,
    outcomes: Annotated[
        Path | None, typer.Option("--outcomes", metavar="FILE", help="list every thing: .csv or .jsonl, also .gz")
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="one page for people, complete in itself")
    ] = None,
    **arguments: Any,
) -> int:
    """Summary, failures by code, and lists as CSV, JSONL or HTML; works while the run is going."""
    console = Console(as_json=bool(arguments["json"]))
    lists = [path for path in (failures, outcomes) if path is not None]
    for path in lists:
        format_from_suffix(path)
    output_paths = [*lists, *([html] if html else [])]
    if len({path.resolve() for path in output_paths}) < len(output_paths):
        raise UsageError("two of the files to write are the same one; give each its own")
    with raise_on_signal(), JournalReader(journal) as reader:
        meta, summary = reader.meta(), reader.summary()
        reason = "" if reader.is_running() else meta.get("reason", "")
        record = load_verification_record(journal, summary.run, last_request_at(reader))
        verification = "" if record is None else format_verification_record(record)
        if failures is not None:
            count = write_outcomes(failures, reader.outcomes(ThingState.FAILED), journal)
            console.print(f"{failures}: {count:,} failed things")
        if outcomes is not None:
            count = write_outcomes(outcomes, reader.outcomes(), journal, summary.operation)
            console.print(f"{outcomes}: {count:,} things")
        if html is not None:
            failed = reader.outcomes(ThingState.FAILED)
            page = render_html(
                summary, meta, failed, generated_at=time.time(), reason=reason, verification=verification
            )
            with atomic_write_text(html, journal) as file:
                file.write(page)
            console.print(f"{html}: written")
        document, lines = summary_to_dict(summary, reason=reason), format_summary(summary, reason=reason)
        if record is not None:
            document["verified"] = record
            lines.append(f"  verified   {verification}")
        console.write_result(document, lines)
    return 0
