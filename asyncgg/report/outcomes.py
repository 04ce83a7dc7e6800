"""Writes lists of outcomes as CSV or JSONL."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any, Final

from asyncgg.errors import UsageError
from asyncgg.files import atomic_write_text
from asyncgg.formatting import format_timestamp
from asyncgg.journal import OutcomeRow
from asyncgg.models import Operation, ThingState

COLUMNS: Final = ("core", "thing", "outcome", "code", "message", "attempts", "at", "request_id", "reason")
"""`core` and `thing` come first, so that a list is a manifest; only clean-ups have a `reason`."""

_OUTCOMES: Final = {
    ThingState.PENDING: "pending",
    ThingState.CLAIMED: "pending",
    ThingState.FAILED: "failed",
    ThingState.ALREADY: "already",
}
_FORMULA_PREFIXES: Final = ("=", "+", "-", "@", "\t", "\r")
_SUFFIXES: Final = (".csv", ".jsonl", ".ndjson")


def format_from_suffix(path: Path) -> str:
    """Get `csv` or `jsonl` from the suffix of the name; raises `UsageError` for other suffixes."""
    name = path.name.lower().removesuffix(".gz")
    for suffix in _SUFFIXES:
        if name.endswith(suffix):
            return "csv" if suffix == ".csv" else "jsonl"
    raise UsageError(f"{path}: unknown suffix; use .csv or .jsonl, optionally followed by .gz")


def write_outcomes(
    path: Path, rows: Iterable[OutcomeRow], journal: Path, operation: Operation = Operation.DISASSOCIATE
) -> int:
    """Write `rows` of `journal` to `path`; returns their number. Raises `UsageError`."""
    write = _write_csv if format_from_suffix(path) == "csv" else _write_jsonl
    with atomic_write_text(path, journal) as file:
        return write(file, rows, operation.past_participle)


def _values(row: OutcomeRow, done_label: str) -> tuple[Any, ...]:
    return (
        row.core,
        row.thing,
        _OUTCOMES.get(row.state, done_label),
        row.code,
        row.message,
        row.attempts,
        format_timestamp(row.answered_at),
        row.aws_request_id,
        row.reason,
    )


def _write_csv(file: IO[str], rows: Iterable[OutcomeRow], done_label: str) -> int:
    writer = csv.writer(file, lineterminator="\n")
    quoting_writer = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)  # the other one ignores a lone \\r
    writer.writerow(COLUMNS)
    count = 0
    for row in rows:
        core, thing, outcome, code, message, *rest, reason = _values(row, done_label)
        cells = (core, thing, outcome, _escape_formula(code), _escape_formula(message), *rest, _escape_formula(reason))
        (quoting_writer if "\r" in code + message + reason else writer).writerow(cells)
        count += 1
    return count


def _write_jsonl(file: IO[str], rows: Iterable[OutcomeRow], done_label: str) -> int:
    count = 0
    for row in rows:
        file.write(json.dumps(dict(zip(COLUMNS, _values(row, done_label), strict=True)), ensure_ascii=False) + "\n")
        count += 1
    return count


def _escape_formula(cell: str) -> str:
    """Put an apostrophe before a text that a spreadsheet would run as a formula."""
    # Names need none: they have only letters, digits, `:`, `_` and `-`.
    return f"'{cell}" if cell.startswith(_FORMULA_PREFIXES) else cell
