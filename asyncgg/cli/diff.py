"""Rule: `asyncgg diff`: its options, and how the difference is told; it is found by `asyncgg.inventory.difference`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from asyncgg.cli.options import Opt, with_options
from asyncgg.cli.output import Output
from asyncgg.cli.signals import interrupting
from asyncgg.errors import UsageError

if TYPE_CHECKING:
    from asyncgg.inventory.difference import SnapshotDiff
    from asyncgg.inventory.values import AssociationRecord

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

_SHOWN: Final = 20
_TOLD: Final = 1000
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
    anyway: Annotated[
        bool,
        typer.Option(
            "--anyway",
            help="compare snapshots of different accounts, Regions or filters all the same",
            rich_help_panel="What",
            show_default=False,
        ),
    ] = False,
    **given: Any,
) -> int:
    """Tell what appeared and what vanished between two snapshots: cores and associations."""
    from dataclasses import asdict

    from asyncgg.inventory import Snapshot
    from asyncgg.inventory.difference import SnapshotDiff, incompatibilities
    from asyncgg.inventory.export import write_list
    from asyncgg.manifest.writing import format_timestamp

    output = Output(as_json=bool(given["json"]))
    with interrupting():
        with Snapshot(old) as one, Snapshot(new) as other:
            warnings = incompatibilities(one, other)
            if other.started_at < one.started_at:
                warnings.append("the first one is the later one")
            times = {"old": format_timestamp(one.started_at), "new": format_timestamp(other.started_at)}
        if warnings and not anyway:
            raise UsageError(f"{old} and {new} cannot be compared: {'; '.join(warnings)}; give two others, or --anyway")
        output.say(*(f"warning: {warning}" for warning in warnings))
        with SnapshotDiff(old, new) as difference:
            counts = asdict(difference.counts())
            if out is not None:
                if out.exists() and out.samefile(old):
                    raise UsageError(f"{out}: that would overwrite the snapshot; give another file")
                rows = write_list(out, new, ("core", "thing", "change", "associated_at"), _rows(difference))
                output.say(f"{out}: {rows:,} associations")
            document = {
                "schema": "asyncgg.diff/1",
                "old": {"snapshot": str(old), "begun": times["old"]},
                "new": {"snapshot": str(new), "begun": times["new"]},
                "counts": counts,
                "warnings": warnings,
                "cores_appeared": list(islice(difference.cores_appeared(), _TOLD)),
                "cores_vanished": list(islice(difference.cores_vanished(), _TOLD)),
                "appeared": [_told(pair) for pair in islice(difference.appeared(), _TOLD)],
                "vanished": [_told(pair) for pair in islice(difference.vanished(), _TOLD)],
                "not_compared": list(islice(difference.not_compared(), _TOLD)),
                "truncated": any(count > _TOLD for count in counts.values()),
            }
            output.result(document, [] if output.as_json else list(_lines(difference, counts)))
    return 0


def _rows(difference: SnapshotDiff) -> Iterator[tuple[str, str, str, str]]:
    from asyncgg.manifest.writing import format_timestamp

    for change, pairs in (("appeared", difference.appeared()), ("vanished", difference.vanished())):
        for core, thing, at in pairs:
            yield core, thing, change, format_timestamp(at)


def _told(pair: AssociationRecord) -> dict[str, Any]:
    from asyncgg.manifest.writing import format_timestamp

    return {"core": pair.core, "thing": pair.thing, "associated_at": format_timestamp(pair.associated_at) or None}


def _lines(difference: SnapshotDiff, counts: dict[str, int]) -> Iterator[str]:
    pairs = {"appeared": difference.appeared, "vanished": difference.vanished}
    for word, sign in (("appeared", "+"), ("vanished", "-")):
        cores = difference.cores_appeared if word == "appeared" else difference.cores_vanished
        yield f"{counts[f'cores_{word}']:,} cores {word}"
        yield from _some(sign, cores(), counts[f"cores_{word}"])
        yield f"{counts[word]:,} associations {word}"
        yield from _some(sign, (f"{pair.core},{pair.thing}" for pair in pairs[word]()), counts[word])
    if counts["not_compared"]:
        yield f"{counts['not_compared']:,} cores not compared: one of the sweeps does not know all they hold"
        yield from _some("?", difference.not_compared(), counts["not_compared"])


def _some(sign: str, names: Iterable[str], count: int) -> Iterator[str]:
    for name in islice(names, _SHOWN):
        yield f"  {sign} {name}"
    if count > _SHOWN:
        yield f"  ... and {count - _SHOWN:,} more (--out FILE lists associations)"
