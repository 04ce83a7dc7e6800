"""Rule: `asyncgg diff`: its options, and how the difference is told; it is found by `asyncgg.inventory.diff`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from asyncgg.cli.console import Console
from asyncgg.cli.options import Opt, with_options
from asyncgg.cli.signals import raise_on_signal
from asyncgg.errors import UsageError

if TYPE_CHECKING:
    from asyncgg.inventory.diff import SnapshotDiff
    from asyncgg.inventory.models import AssociationRecord

__all__ = ["EXAMPLES", "command"]

EXAMPLES = """
\b
Examples:
  asyncgg diff monday.db tuesday.db
  asyncgg diff monday.db tuesday.db --out changes.csv --json

\b
Cores that one of the two sweeps could not list to their end are left out: what they hold is not known.
The list has the columns core,thing,change,associated_at.
"""

_MAX_TEXT_ITEMS: Final = 20
_MAX_JSON_ITEMS: Final = 1000
"""Items of a list in the JSON object; --out has all."""

_OPTIONS = (
    Opt("json", help="standard output is one JSON object and nothing else", panel="Output"),
    Opt("debug", help="show a traceback with an error", panel="Output"),
)


@with_options(_OPTIONS)
def command(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="the earlier snapshot", show_default=False)],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="the later snapshot", show_default=False)],
    *,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="list every association that appeared or vanished: .csv or .jsonl, also .gz",
            rich_help_panel="Output",
        ),
    ] = None,
    force: Annotated[
        bool,
        typer.Option(
            "--anyway",
            help="compare snapshots of different accounts, Regions or filters all the same",
            rich_help_panel="What",
            show_default=False,
        ),
    ] = False,
    **arguments: Any,
) -> int:
    """Tell what appeared and what vanished between two snapshots: cores and associations."""
    from dataclasses import asdict

    from asyncgg.formatting import format_timestamp
    from asyncgg.inventory import Snapshot
    from asyncgg.inventory.diff import SnapshotDiff, incompatibilities
    from asyncgg.inventory.export import write_list

    console = Console(as_json=bool(arguments["json"]))
    with raise_on_signal():
        with Snapshot(old) as old_snapshot, Snapshot(new) as new_snapshot:
            warnings = incompatibilities(old_snapshot, new_snapshot)
            if new_snapshot.started_at < old_snapshot.started_at:
                warnings.append("the first one is the later one")
            times = {"old": format_timestamp(old_snapshot.started_at), "new": format_timestamp(new_snapshot.started_at)}
        if warnings and not force:
            raise UsageError(f"{old} and {new} cannot be compared: {'; '.join(warnings)}; give two others, or --anyway")
        console.print(*(f"warning: {warning}" for warning in warnings))
        with SnapshotDiff(old, new) as diff:
            counts = asdict(diff.counts())
            if out is not None:
                if out.exists() and out.samefile(old):
                    raise UsageError(f"{out}: that would overwrite the snapshot; give another file")
                rows = write_list(out, new, ("core", "thing", "change", "associated_at"), _rows(diff))
                console.print(f"{out}: {rows:,} associations")
            document = {
                "schema": "asyncgg.diff/1",
                "old": {"snapshot": str(old), "begun": times["old"]},
                "new": {"snapshot": str(new), "begun": times["new"]},
                "counts": counts,
                "warnings": warnings,
                "cores_appeared": list(islice(diff.cores_appeared(), _MAX_JSON_ITEMS)),
                "cores_vanished": list(islice(diff.cores_vanished(), _MAX_JSON_ITEMS)),
                "appeared": [
                    _association_to_dict(association) for association in islice(diff.appeared(), _MAX_JSON_ITEMS)
                ],
                "vanished": [
                    _association_to_dict(association) for association in islice(diff.vanished(), _MAX_JSON_ITEMS)
                ],
                "not_compared": list(islice(diff.not_compared(), _MAX_JSON_ITEMS)),
                "truncated": any(count > _MAX_JSON_ITEMS for count in counts.values()),
            }
            console.write_result(document, [] if console.as_json else list(_format_diff(diff, counts)))
    return 0


def _rows(diff: SnapshotDiff) -> Iterator[tuple[str, str, str, str]]:
    from asyncgg.formatting import format_timestamp

    for change, pairs in (("appeared", diff.appeared()), ("vanished", diff.vanished())):
        for core, thing, associated_at in pairs:
            yield core, thing, change, format_timestamp(associated_at)


def _association_to_dict(association: AssociationRecord) -> dict[str, Any]:
    from asyncgg.formatting import format_timestamp

    return {
        "core": association.core,
        "thing": association.thing,
        "associated_at": format_timestamp(association.associated_at) or None,
    }


def _format_diff(diff: SnapshotDiff, counts: dict[str, int]) -> Iterator[str]:
    pairs = {"appeared": diff.appeared, "vanished": diff.vanished}
    for change, sign in (("appeared", "+"), ("vanished", "-")):
        cores = diff.cores_appeared if change == "appeared" else diff.cores_vanished
        yield f"{counts[f'cores_{change}']:,} cores {change}"
        yield from _format_items(sign, cores(), counts[f"cores_{change}"])
        yield f"{counts[change]:,} associations {change}"
        yield from _format_items(sign, (f"{pair.core},{pair.thing}" for pair in pairs[change]()), counts[change])
    if counts["not_compared"]:
        yield f"{counts['not_compared']:,} cores not compared: one of the sweeps does not know all they hold"
        yield from _format_items("?", diff.not_compared(), counts["not_compared"])


def _format_items(sign: str, items: Iterable[str], count: int) -> Iterator[str]:
    for item in islice(items, _MAX_TEXT_ITEMS):
        yield f"  {sign} {item}"
    if count > _MAX_TEXT_ITEMS:
        yield f"  ... and {count - _MAX_TEXT_ITEMS:,} more (--out FILE lists associations)"
