"""Writes what a journal of a decommission has: the result, its steps and its pages."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from asyncgg.formatting import format_count


def show_decommission(
    path: Path, outcomes: Path | None, arguments: Mapping[str, Any], pages: Mapping[str, Path | None] | None = None
) -> int:
    """Write the result of a journal, its steps to `outcomes`, and a page for each template with a path."""
    from asyncgg.cli.console import Console
    from asyncgg.decommission.journal import DecommissionJournal
    from asyncgg.decommission.report import OUTCOME_COLUMNS, format_summary_lines, outcome_rows, summarize_saved
    from asyncgg.files import atomic_write_text

    console = Console(as_json=arguments["json"])
    with DecommissionJournal(path, read_only=True) as book:
        summary = summarize_saved(book)
        if outcomes is not None:
            from asyncgg.tables import Column, write_table

            count = write_table(outcomes, dict.fromkeys(OUTCOME_COLUMNS, Column.TEXT), outcome_rows(book), path)
            console.print(f"{outcomes}: {format_count(count, 'row')}")
        for template, page_path in (pages or {}).items():
            if page_path is not None:
                from asyncgg.decommission.page import load_decommission_page
                from asyncgg.report.html import render

                page = load_decommission_page(book, generated_at=time.time())
                with atomic_write_text(page_path, path) as file:
                    file.write(render(template, report=page))
                console.print(f"{page_path}: written")
        console.write_result(summary, format_summary_lines(summary))
    return 0
