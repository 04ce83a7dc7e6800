"""The `asyncgg report` command."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from asyncgg.cli.campaign_view import report_campaign
from asyncgg.cli.console import Console
from asyncgg.cli.decommission_show import show_decommission
from asyncgg.cli.options import DEBUG, JOURNAL_OR_STATE, JSON, PATH, READ_STATE, RUN_OF_STATE, Option, make_command
from asyncgg.cli.signals import raise_on_signal
from asyncgg.cli.state import open_journal
from asyncgg.decommission.journal import is_decommission
from asyncgg.errors import UsageError
from asyncgg.files import atomic_write_text
from asyncgg.fleet.folder import is_campaign
from asyncgg.formatting import format_count
from asyncgg.journal import JournalReader, last_request_at
from asyncgg.models import Summary, ThingState
from asyncgg.report import format_summary, summary_to_dict
from asyncgg.report.outcomes import write_outcomes
from asyncgg.report.summary import format_commands, next_commands
from asyncgg.report.undo_marks import read_undo_marks
from asyncgg.report.verification import format_verification_record, load_verification_record
from asyncgg.tables import require_table_format

_EPILOG = """
\b
Examples:
  asyncgg report RUN.journal
  asyncgg report RUN.journal --failures failures.csv
  asyncgg report RUN.journal --outcomes all.jsonl.gz --html report.html
  asyncgg report nightly.state/20260131T020000Z --html report.html

A run of a policy is given by its directory or its report.json: its page has the decisions, limits and trend.
The page of a campaign has its targets, that of a decommission its devices.

Lists have the columns core,thing,outcome,code,message,attempts,at,request_id,reason. A list of failures can
be used as a manifest. In CSV, a code, message or reason that a spreadsheet could take for a formula is
prefixed with '.
"""


@make_command(
    JOURNAL_OR_STATE,
    READ_STATE,
    RUN_OF_STATE,
    Option("--failures", "FILE", "list the failed things: .csv or .jsonl, also .gz, or .parquet", "Output", type=PATH),
    Option("--outcomes", "FILE", "list all things: .csv or .jsonl, also .gz, or .parquet", "Output", type=PATH),
    Option("--html", "FILE", "write a self-contained HTML page with charts", "Output", type=PATH),
    Option("--markdown", "FILE", "write a short report for a ticket", "Output", type=PATH),
    JSON,
    DEBUG,
    epilog=_EPILOG,
)
def command(
    journal: Path | None,
    *,
    run: str | None,
    failures: Path | None,
    outcomes: Path | None,
    html: Path | None,
    markdown: Path | None,
    **arguments: Any,
) -> int:
    """Show a run's summary, and write lists as CSV, JSONL or Parquet, and pages; also during the run."""
    lists = [path for path in (failures, outcomes) if path is not None]
    for path in lists:
        require_table_format(path)
    output_paths = [*lists, *(path for path in (html, markdown) if path)]
    if journal is not None and is_campaign(journal):
        return report_campaign(
            journal, {"failures": failures, "outcomes": outcomes, "html": html, "markdown": markdown}, arguments
        )
    if journal is not None and is_decommission(journal):
        if failures is not None:
            raise UsageError(f"{journal} is of a decommission: give --outcomes, which has failed and refused devices")
        pages = {"decommission.html": html, "decommission.md": markdown}
        return show_decommission(journal, outcomes, arguments, pages)
    console = Console(as_json=arguments["json"])
    if (
        journal is not None
        and not arguments["state"]
        and _write_cleanup_page(journal, html, console, other=output_paths)
    ):
        return 0
    with raise_on_signal(), open_journal(journal, run, arguments) as opened, JournalReader(opened.path) as reader:
        journal = opened.path
        meta, summary = reader.meta(), opened.show(reader.summary())
        reason = "" if reader.is_running() or opened.is_leased else meta.get("reason", "")
        record = load_verification_record(journal, summary.run, last_request_at(reader))
        if failures is not None:
            count = write_outcomes(failures, reader.outcomes(ThingState.FAILED), journal)
            console.print(f"{failures}: {format_count(count, 'failed thing')}")
        if outcomes is not None:
            count = write_outcomes(outcomes, reader.outcomes(), journal, summary.operation)
            console.print(f"{outcomes}: {format_count(count, 'thing')}")
        _write_pages(reader, summary, {"run.html": html, "run.md": markdown}, lists, console)
        undos = read_undo_marks(reader)
        commands = next_commands(summary, undone=bool(undos))
        document = summary_to_dict(summary, reason=reason) | {"next": commands} | opened.to_dict()
        lines = format_summary(summary, reason=reason)
        if record is not None:
            verified_at = datetime.fromisoformat(record["finished_at"]).timestamp()
            is_stale = any(mark.started_at > verified_at for mark in undos)
            document["verified"] = {**record, "before_undo": is_stale}
            lines.append(f"  verified   {'before the undo: ' if is_stale else ''}{format_verification_record(record)}")
        if undos:
            document["undone"] = [mark.to_dict() for mark in undos]
            lines += [f"  undone     {mark}" for mark in undos]
        if copy := opened.describe_copy(time.time()):
            lines.append(f"  saved      {copy}")
        console.write_result(document, lines + format_commands(commands))
    return 0


def _write_cleanup_page(path: Path, html: Path | None, console: Console, *, other: Sequence[Path]) -> bool:
    """Write the page of a policy run, if `path` is one; returns whether it is. Raises `UsageError`."""
    if not (path.is_dir() or path.name == "report.json"):
        return False
    from asyncgg.cleanup.page import find_run_directory, render_cleanup_page
    from asyncgg.report.svg import is_available

    run_dir = find_run_directory(path)
    if run_dir is None:
        return False
    if html is None or len(other) > 1:
        raise UsageError(f"{path}: the report of a policy run requires --html, without other files")
    page = render_cleanup_page(run_dir, generated_at=time.time(), draw=is_available())
    with atomic_write_text(html, run_dir.journal) as file:
        file.write(page)
    console.write_result(run_dir.load_report(), [f"{html}: written"])
    return True


def _write_pages(
    reader: JournalReader, summary: Summary, pages: Mapping[str, Path | None], lists: Sequence[Path], console: Console
) -> None:
    """Write a page for each template with a path; it links the lists of the same command."""
    if not any(pages.values()):
        return
    from asyncgg.report.html import render
    from asyncgg.report.run_report import load_run_report
    from asyncgg.report.svg import is_available

    report = load_run_report(reader, summary, generated_at=time.time(), draw=bool(pages["run.html"]) and is_available())
    for template, path in pages.items():
        if path is not None:
            exports = tuple(os.path.relpath(item.resolve(), path.resolve().parent) for item in lists)
            with atomic_write_text(path, reader.path) as file:
                file.write(render(template, report=replace(report, exports=exports)))
            console.print(f"{path}: written")
