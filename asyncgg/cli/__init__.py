"""The command line of asyncgg."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `asyncgg` with `arguments`, those of the process by default, and return the exit code."""
    from asyncgg.cli.app import run

    return run(arguments)
