"""Rule: what Ctrl-C, SIGTERM and a closed terminal do is decided here.

While a manifest is read they interrupt it. While a run is going the first one lets what is in flight end, the second
one cuts it off. Where a loop runs without either they cancel its task: an exception amid a loop's own code would break
the loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Final

__all__ = ["Terminated", "cancelling", "interrupting", "stopping"]

_NAMES: Final = {"SIGINT": "Ctrl-C", "SIGTERM": "SIGTERM", "SIGHUP": "the terminal closing"}


_PATIENT: Final = 2
"""Signals that only cancel; one more gives up on a loop that does not come to its end."""


class Terminated(KeyboardInterrupt):
    """SIGTERM, where it must end the main thread's work as Ctrl-C does."""


def _signals() -> list[signal.Signals]:
    if threading.current_thread() is not threading.main_thread():
        return []  # only the main thread may handle them
    found = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
    # nohup ignores SIGHUP on purpose. An ignored SIGINT only says that a script started us in the background.
    return [one for one in found if one.name != "SIGHUP" or signal.getsignal(one) is not signal.SIG_IGN]


@contextlib.contextmanager
def interrupting() -> Iterator[None]:
    """Within the block these signals raise KeyboardInterrupt in the main thread; what was set before comes back."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            signal.default_int_handler(number, frame)
        raise Terminated

    with _handled(interrupt):
        yield


@contextlib.contextmanager
def cancelling(cancel: Callable[[], object]) -> Iterator[None]:
    """Within the block these signals call `cancel` from the main thread, between any two of its instructions, and raise
    nothing; from the third one on they raise KeyboardInterrupt.
    """
    seen = 0

    def arrived(number: int, frame: FrameType | None) -> None:
        nonlocal seen
        seen += 1
        if seen > _PATIENT:
            raise KeyboardInterrupt
        cancel()

    with _handled(arrived):
        yield


@contextlib.contextmanager
def _handled(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Within the block `handler` gets these signals; what was set before comes back."""
    before = {one: signal.getsignal(one) for one in _signals()}
    try:
        for one in before:
            signal.signal(one, handler)
        yield
    finally:
        for one, old in before.items():
            signal.signal(one, old if old is not None else signal.SIG_DFL)


@contextlib.contextmanager
def stopping(first: Callable[[str], None], again: Callable[[], object]) -> Iterator[None]:
    """Within the block the first signal calls `first` with its cause, each later one calls `again`."""
    loop = asyncio.get_running_loop()
    seen = 0

    def arrived(name: str) -> None:
        nonlocal seen
        seen += 1
        if seen == 1:
            first(f"stopped by {_NAMES[name]}")
        else:
            again()

    handlers = {one: signal.getsignal(one) for one in _signals()}
    for one in handlers:
        loop.add_signal_handler(one, arrived, one.name)
    try:
        yield
    finally:
        for one, handler in handlers.items():
            loop.remove_signal_handler(one)
            if handler is not None:
                signal.signal(one, handler)
