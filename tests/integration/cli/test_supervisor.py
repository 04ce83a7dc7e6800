"""Rule: signals that come while no run is going, in a loop of the command line or at its question, in this process."""

from __future__ import annotations

import asyncio
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
    """Signals to ourselves."""
    for one in signals:
        os.kill(os.getpid(), one)


def test_a_signal_while_the_loop_is_closed_breaks_nothing() -> None:
    """What the work came to counts, however often somebody presses Ctrl-C while its loop tidies up."""
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
def test_a_signal_cancels_the_work(number: signal.Signals) -> None:
    """It ends in order, and what called it sees a KeyboardInterrupt; what was set before is back."""
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


def test_work_that_does_not_end_is_given_up() -> None:
    """Who swallows two cancellations is cut off by the third signal."""

    async def work() -> None:
        for _ in range(3):
            raise_signals(signal.SIGINT)
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                continue

    with raise_on_signal(), pytest.raises(KeyboardInterrupt):
        run_async(work())


def test_a_signal_at_the_question_is_never_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends the question also when it interrupts no read, since it came just before one."""
    read_fd, write_fd = os.pipe()
    finished = threading.Event()
    missed: list[int] = []

    def press() -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        finished.wait(0.05)
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)  # the main thread runs its handler, not its end
        if not finished.wait(2):
            missed.append(os.write(write_fd, b"12\n"))

    presser = threading.Thread(target=press)
    with os.fdopen(read_fd) as stdin, raise_on_signal():
        monkeypatch.setattr(sys, "stdin", stdin)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            presser.start()
            with pytest.raises(KeyboardInterrupt):
                Console().confirm_count(12, "disassociate them", stdin_in_use=False)
        finally:
            finished.set()
            presser.join()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
            os.close(write_fd)
    assert not missed
