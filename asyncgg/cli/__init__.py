"""Rule: the command line, one file per command; this file holds its entry point and imports nothing before it runs."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `asyncgg` with `arguments` (those of the process unless given) and return the exit code of the contract."""
    from asyncgg.cli.app import run

    return run(arguments)
