"""Rule: how a journal says which operation its run is about is known here."""

from __future__ import annotations

from pathlib import Path

from asyncgg.errors import JournalError
from asyncgg.models import Operation

__all__ = ["parse_operation"]


def parse_operation(value: str, path: Path) -> Operation:
    """The operation that `value`, the journal's own word for it, names; none at all means disassociation.

    Raises `JournalError` for one this program does not know.
    """
    try:
        return Operation(value or Operation.DISASSOCIATE)
    except ValueError:
        raise JournalError(f"journal {path}: its operation {value!r} is unknown; upgrade asyncgg") from None
