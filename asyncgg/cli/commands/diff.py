"""The `asyncgg diff` command."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from asyncgg.cli.console import Console
from asyncgg.cli.options import DEBUG, JSON, PATH, Argument, Option, make_command
from asyncgg.cli.signals import raise_on_signal
from asyncgg.errors import UsageError
from asyncgg.formatting import format_count, format_timestamp
from asyncgg.tables import Column, write_table

if TYPE_CHECKING:
    from asyncgg.inventory.diff import SnapshotDiff
    from asyncgg.inventory.models import AssociationRecord

_EPILOG = """
\b
Examples:
  asyncgg diff monday.db tuesday.db
  asyncgg diff monday.db tuesday.db --out changes.csv --json

Cores that one of the scans could not list completely are not compared. The list has the columns
core,thing,change,associated_at.
"""

_COLUMNS: Final = {
    "core": Column.NAME,
    "thing": Column.NAME,
    "change": Column.NAME,
    "associated_at": Column.TIME,
}
_MAX_TEXT_ITEMS: Final = 20
_MAX_JSON_ITEMS: Final = 1000
"""Items of each list in the JSON object; --out lists all."""


@make_command(
    Argument("old", "OLD", "the earlier snapshot", type=PATH),
    Argument("new", "NEW", "the later snapshot", type=PATH),
    Option(
        "--out",
        "FILE",
        "list every association that appeared or vanished: .csv or .jsonl, also .gz, or .parquet",
        "Output",
        type=PATH,
    ),
    Option("--force", help="compare snapshots of different accounts, Regions or filters", panel="Scope"),
    JSON,
    DEBUG,
    epilog=_EPILOG,
)
def command(old: Path, new: Path, *, out: Path | None, force: bool, **arguments: Any) -> int:
    """Show the cores and associations that appeared or vanished between two snapshots."""
    from asyncgg.inventory import Snapshot
    from asyncgg.inventory.diff import SnapshotDiff, incompatibilities

    console = Console(as_json=arguments["json"])
    with raise_on_signal():
        with Snapshot(old) as old_snapshot, Snapshot(new) as new_snapshot:
            warnings = incompatibilities(old_snapshot, new_snapshot)
            if new_snapshot.started_at < old_snapshot.started_at:
                warnings.append("OLD is later than NEW")
            times = {"old": format_timestamp(old_snapshot.started_at), "new": format_timestamp(new_snapshot.started_at)}
        if warnings and not force:
            raise UsageError(f"cannot compare {old} and {new}: {'; '.join(warnings)}; pass --force to compare anyway")
        console.print(*(f"warning: {warning}" for warning in warnings))
        with SnapshotDiff(old, new) as diff:
            counts = asdict(diff.counts())
            if out is not None:
                rows = write_table(out, _COLUMNS, _rows(diff), new, "snapshot")
                console.print(f"{out}: {format_count(rows, 'association')}")
            document = {
                "schema": "asyncgg.diff/1",
                "old": {"snapshot": str(old), "started_at": times["old"]},
                "new": {"snapshot": str(new), "started_at": times["new"]},
                "counts": counts,
                "warnings": warnings,
                "cores_appeared": list(islice(diff.cores_appeared(), _MAX_JSON_ITEMS)),
                "cores_vanished": list(islice(diff.cores_vanished(), _MAX_JSON_ITEMS)),
                "appeared": _associations_to_dicts(diff.appeared()),
                "vanished": _associations_to_dicts(diff.vanished()),
                "not_compared": list(islice(diff.not_compared(), _MAX_JSON_ITEMS)),
                "truncated": any(count > _MAX_JSON_ITEMS for count in counts.values()),
            }
            console.write_result(document, [] if console.as_json else list(_format_diff(diff, counts)))
    return 0


def _rows(diff: SnapshotDiff) -> Iterator[tuple[str, str, str, float | None]]:
    for change, pairs in (("appeared", diff.appeared()), ("vanished", diff.vanished())):
        for core, thing, associated_at in pairs:
            yield core, thing, change, associated_at


def _associations_to_dicts(associations: Iterable[AssociationRecord]) -> list[dict[str, Any]]:
    return [
        {"core": core, "thing": thing, "associated_at": format_timestamp(associated_at) or None}
        for core, thing, associated_at in islice(associations, _MAX_JSON_ITEMS)
    ]


def _format_diff(diff: SnapshotDiff, counts: dict[str, int]) -> Iterator[str]:
    pairs = {"appeared": diff.appeared, "vanished": diff.vanished}
    for change, sign in (("appeared", "+"), ("vanished", "-")):
        cores = diff.cores_appeared if change == "appeared" else diff.cores_vanished
        yield f"{counts[f'cores_{change}']:,} cores {change}"
        yield from _format_items(sign, cores(), counts[f"cores_{change}"])
        yield f"{format_count(counts[change], 'association')} {change}"
        yield from _format_items(sign, (f"{pair.core},{pair.thing}" for pair in pairs[change]()), counts[change])
    if counts["not_compared"]:
        skipped = format_count(counts["not_compared"], "core")
        yield f"{skipped} not compared: one of the scans could not list them completely"
        yield from _format_items("?", diff.not_compared(), counts["not_compared"])


def _format_items(sign: str, items: Iterable[str], count: int) -> Iterator[str]:
    for item in islice(items, _MAX_TEXT_ITEMS):
        yield f"  {sign} {item}"
    if count > _MAX_TEXT_ITEMS:
        yield f"  ... and {count - _MAX_TEXT_ITEMS:,} more (--out FILE lists associations)"
