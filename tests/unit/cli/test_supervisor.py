"""Tests of signals in `asyncgg.cli.supervisor` and at the prompt of the console."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import threading
from collections.abc import AsyncGenerator

import pytest

from asyncgg.cli.console import Console
from asyncgg.cli.signals import raise_on_signal
from asyncgg.cli.supervisor import run_async


def raise_signals(*signals: signal.Signals) -> None:
    """Send signals to this process."""
    for one in signals:
        os.kill(os.getpid(), one)


def test_run_async_signal_while_closing_keeps_the_result() -> None:
    """Signals during the cleanup of the loop do not change the result."""
    cleaned_up = []

    async def numbers() -> AsyncGenerator[int, None]:
        try:
            yield 1
        finally:
            raise_signals(signal.SIGINT, signal.SIGTERM)
            await asyncio.sleep(0)
            cleaned_up.append(True)

    async def work() -> int:
        generators.append(numbers())
        return await anext(generators[0]) + 6

    generators: list[AsyncGenerator[int, None]] = []
    with raise_on_signal():
        assert run_async(work()) == 7
    assert cleaned_up == [True]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_run_async_signal_cancels_the_work(number: signal.Signals) -> None:
    """The work is cancelled, the caller gets KeyboardInterrupt, and the handlers are restored."""
    cleaned_up = []

    async def work() -> None:
        try:
            raise_signals(number)
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            cleaned_up.append(True)

    before = signal.getsignal(number)
    with raise_on_signal(), pytest.raises(KeyboardInterrupt):
        run_async(work())
    assert cleaned_up == [True]
    assert signal.getsignal(number) is before


def test_run_async_collects_garbage_less_often_meanwhile() -> None:
    """The thresholds of the collector are higher during the work and restored after it, also after an error."""

    async def work() -> None:
        thresholds.append(gc.get_threshold())
        raise LookupError

    before, thresholds = gc.get_threshold(), list[tuple[int, int, int]]()
    with pytest.raises(LookupError):
        run_async(work())
    assert thresholds[0][0] > 5 * before[0]
    assert gc.get_threshold() == before


def test_run_async_third_signal_raises() -> None:
    """Work that ignores two cancellations is result by the third signal."""

    async def work() -> None:
        for _ in range(3):
            raise_signals(signal.SIGINT)
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                continue

    with raise_on_signal(), pytest.raises(KeyboardInterrupt):
        run_async(work())


def test_confirm_count_signal_before_read_interrupts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C just before a read also ends the prompt."""
    read_fd, write_fd = os.pipe()
    finished = threading.Event()
    missed: list[int] = []

    def press() -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        finished.wait(0.05)
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)  # the main thread runs its handler, not its end
        if not finished.wait(2):
            missed.append(os.write(write_fd, b"12\n"))

    thread = threading.Thread(target=press)
    with os.fdopen(read_fd) as stdin, raise_on_signal():
        monkeypatch.setattr(sys, "stdin", stdin)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            thread.start()
            with pytest.raises(KeyboardInterrupt):
                Console().confirm_count(12, "disassociate them", stdin_in_use=False)
        finally:
            finished.set()
            thread.join()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
            os.close(write_fd)
    assert not missed
