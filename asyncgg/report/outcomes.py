"""Writes lists of outcomes as CSV, JSONL or Parquet."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from asyncgg.errors import UsageError
from asyncgg.formatting import sanitize
from asyncgg.journal import OutcomeRow
from asyncgg.models import Operation, ThingState
from asyncgg.tables import Column, require_table_format, write_table

COLUMNS: Final = {
    "core": Column.NAME,
    "thing": Column.NAME,
    "outcome": Column.NAME,
    "code": Column.TEXT,
    "message": Column.TEXT,
    "attempts": Column.COUNT,
    "at": Column.TIME,
    "request_id": Column.NAME,
    "reason": Column.TEXT,
}
"""`core` and `thing` come first, so that a list is a manifest; only clean-ups have a `reason`."""

_OUTCOMES: Final = {
    ThingState.PENDING: "pending",
    ThingState.CLAIMED: "pending",
    ThingState.FAILED: "failed",
    ThingState.ALREADY: "already",
}


def write_outcomes(
    path: Path, rows: Iterable[OutcomeRow], journal: Path, operation: Operation = Operation.DISASSOCIATE
) -> int:
    """Write `rows` of `journal` to `path`; returns their number. Raises `UsageError`."""
    return write_table(path, COLUMNS, (_cells(row, operation) for row in rows), journal)


def write_target_outcomes(path: Path, rows: Iterable[tuple[str, OutcomeRow, Operation]]) -> int:
    """Write the rows of several targets, each with its target, to `path`; returns their number.

    The list is a manifest of a campaign. Raises `UsageError`.
    """
    file_format = require_table_format(path)
    if file_format == "parquet":
        raise UsageError(f"{path}: the list of a campaign is .csv or .jsonl, also .gz")
    if file_format == "csv":  # a manifest of a campaign has one line for each row
        rows = ((target, _in_one_line(row), operation) for target, row, operation in rows)
    cells = ((*_cells(row, operation), target) for target, row, operation in rows)
    return write_table(path, {**COLUMNS, "target": Column.NAME}, cells)


def _in_one_line(row: OutcomeRow) -> OutcomeRow:
    return replace(row, code=sanitize(row.code), message=sanitize(row.message), reason=sanitize(row.reason))


def _cells(row: OutcomeRow, operation: Operation) -> tuple[Any, ...]:
    outcome = _OUTCOMES.get(row.state, operation.past_participle)
    return (
        *(row.core, row.thing, outcome, row.code, row.message),
        *(row.attempts, row.answered_at, row.aws_request_id, row.reason),
    )
