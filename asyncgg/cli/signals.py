"""Turns Ctrl-C, SIGTERM and SIGHUP into exceptions, cancellation or a graceful stop."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Final

_NAMES: Final = {"SIGINT": "Ctrl-C", "SIGTERM": "SIGTERM", "SIGHUP": "the terminal closing"}
_MAX_SOFT_SIGNALS: Final = 2
"""Signals that only cancel; the next one raises, in case the loop does not end."""


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP, raised in the main thread like Ctrl-C."""


def _available_signals() -> list[signal.Signals]:
    if threading.current_thread() is not threading.main_thread():
        return []  # only the main thread can handle signals
    available = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
    # nohup ignores SIGHUP on purpose. SIGINT is also ignored in background jobs of scripts.
    return [signum for signum in available if signum.name != "SIGHUP" or signal.getsignal(signum) is not signal.SIG_IGN]


@contextlib.contextmanager
def raise_on_signal() -> Iterator[None]:
    """Raise KeyboardInterrupt in the main thread on a signal during the block."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            signal.default_int_handler(number, frame)
        raise Terminated

    with _install(interrupt):
        yield


@contextlib.contextmanager
def cancel_on_signal(cancel: Callable[[], object]) -> Iterator[None]:
    """Call `cancel` on a signal during the block; from the third signal on raise KeyboardInterrupt.

    `cancel` runs in the main thread, between any two instructions.
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
    """Handle the signals with `handler` during the block, then restore the previous handlers."""
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
    """Call `on_first` with a reason on the first signal during the block, then `on_repeat`."""
    loop = asyncio.get_running_loop()
    count = 0

    def handle_signal(number: int, frame: FrameType | None) -> None:
        nonlocal count
        count += 1
        if count == 1:
            loop.call_soon_threadsafe(on_first, f"stopped by {_NAMES[signal.Signals(number).name]}")
        else:
            loop.call_soon_threadsafe(on_repeat)

    with _install(handle_signal):
        yield
