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

__all__ = ["Terminated", "cancel_on_signal", "raise_on_signal", "stop_on_signal"]

_NAMES: Final = {"SIGINT": "Ctrl-C", "SIGTERM": "SIGTERM", "SIGHUP": "the terminal closing"}


_MAX_SOFT_SIGNALS: Final = 2
"""Signals that only cancel; one more gives up on a loop that does not come to its end."""


class Terminated(KeyboardInterrupt):
    """SIGTERM, where it must end the main thread's work as Ctrl-C does."""


def _available_signals() -> list[signal.Signals]:
    if threading.current_thread() is not threading.main_thread():
        return []  # only the main thread may handle them
    available = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
    # nohup ignores SIGHUP on purpose. An ignored SIGINT only says that a script started us in the background.
    return [signum for signum in available if signum.name != "SIGHUP" or signal.getsignal(signum) is not signal.SIG_IGN]


@contextlib.contextmanager
def raise_on_signal() -> Iterator[None]:
    """Within the block these signals raise KeyboardInterrupt in the main thread; what was set before comes back."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            signal.default_int_handler(number, frame)
        raise Terminated

    with _install(interrupt):
        yield


@contextlib.contextmanager
def cancel_on_signal(cancel: Callable[[], object]) -> Iterator[None]:
    """Within the block these signals call `cancel` from the main thread, between any two of its instructions, and raise
    nothing; from the third one on they raise KeyboardInterrupt.
    """
    count = 0

    def handle_signal(number: int, frame: FrameType | None) -> None:
        nonlocal count
        count += 1
        if count > _MAX_SOFT_SIGNALS:
            raise KeyboardInterrupt
        cancel()

    with _install(handle_signal):
        yield


@contextlib.contextmanager
def _install(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Within the block `handler` gets these signals; what was set before comes back."""
    previous = {signum: signal.getsignal(signum) for signum in _available_signals()}
    try:
        for signum in previous:
            signal.signal(signum, handler)
        yield
    finally:
        for signum, previous_handler in previous.items():
            signal.signal(signum, previous_handler if previous_handler is not None else signal.SIG_DFL)


@contextlib.contextmanager
def stop_on_signal(on_first: Callable[[str], None], on_repeat: Callable[[], object]) -> Iterator[None]:
    """Within the block the first signal calls `first` with its cause, each later one calls `again`."""
    loop = asyncio.get_running_loop()
    count = 0

    def handle_signal(name: str) -> None:
        nonlocal count
        count += 1
        if count == 1:
            on_first(f"stopped by {_NAMES[name]}")
        else:
            on_repeat()

    previous = {signum: signal.getsignal(signum) for signum in _available_signals()}
    for signum in previous:
        loop.add_signal_handler(signum, handle_signal, signum.name)
    try:
        yield
    finally:
        for signum, previous_handler in previous.items():
            loop.remove_signal_handler(signum)
            if previous_handler is not None:
                signal.signal(signum, previous_handler)
