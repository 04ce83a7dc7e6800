"""Rule: how far a sweep of trials is, on standard error: a line in place on a terminal, a few lines elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Final, Self

from asyncgg.cli.console import Console
from asyncgg.formatting import format_duration

__all__ = ["Ticker"]

_EVERY: Final = 5.0
_FRAME: Final = 0.2


class Ticker:
    """Tells how many trials are done; use it as a block."""

    def __init__(self, output: Console) -> None:
        self._output = output
        self._in_place = output.stderr.isatty() and not output.log_json
        self._begun = self._shown = time.monotonic()
        self._wide = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._wide:
            self._output.stderr.write("\r" + " " * self._wide + "\r")

    def show(self, done: int, total: int) -> None:
        """So many of so many are done."""
        now = time.monotonic()
        if self._output.quiet or now - self._shown < (_FRAME if self._in_place else _EVERY):
            return
        self._shown = now
        left = (now - self._begun) / done * (total - done)
        text = f"{done:,} of {total:,} settings tried, {format_duration(left)} left"
        if not self._in_place:
            self._output.log_event(
                {"event": "progress", "done": done, "total": total, "seconds_left": round(left, 1)}, text
            )
            return
        self._output.stderr.write("\r" + text.ljust(self._wide))
        self._output.stderr.flush()
        self._wide = len(text)
