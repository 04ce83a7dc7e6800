"""Tests of `asyncgg watch`, with a second process played by a writer of the journal."""

from __future__ import annotations

import asyncio
import io
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from asyncgg.batching import Claim
from asyncgg.decommission.journal import DecommissionJournal
from asyncgg.journal import JournalStore, JournalWriter, RecordedReply, RetryWait, write_meta
from asyncgg.models import RunState
from tests.support.command_line import CommandRunner
from tests.support.journal import ALL_DISASSOCIATED, all_failed, create_journal, make_pairs
from tests.unit.decommission.test_page import load_page

Step = Callable[[], None]
_CONTROL = re.compile(r"\x1b\[[\d;?]*[A-Za-z]|\r")


class ScriptedRun:
    """A run that takes one step at each pause of the watcher."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path = path
        self.steps: list[Step] = []
        self.pauses: list[float] = []
        self.writer: JournalWriter | None = None
        create_journal(path, make_pairs(2, 150), {"run": "r", "state": "interrupted", "settings": "{}"})
        monkeypatch.setattr("asyncgg.cli.commands.watch.time.sleep", self._pause)

    def _pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.steps.pop(0)()

    def start(self) -> None:
        """Start the run and send the things of one core: one batch is accepted, one fails."""
        self.writer = JournalWriter(self.path, threaded=False)

        def send(store: JournalStore) -> None:
            now = time.time()
            store.put(state=RunState.RUNNING, seconds_at=now)
            store.record_rate(now, 12.5, "throttled")
            queue = next(iter(store.pending_cores()))
            first, second = (store.claim(Claim(queue, queue.first, queue.last, limit), now) for limit in (100, 50))
            store.record_batch(first, ALL_DISASSOCIATED, RecordedReply(now, "accepted", 200, "", "aws-1", now))
            store.record_batch(second, all_failed(second), RecordedReply(now, "throttled", 429, "", "aws-2", now))

        self._change(send)

    def wait_for_retry(self) -> None:
        """Record that the last things wait."""
        wait = RetryWait(time.time(), 18, 1, "ConflictException", 7, 10, 30.0, 30.0, 45.0)
        self._change(lambda store: store.record_retry_wait(wait))

    def finish(self) -> None:
        """End the run."""
        self._change(lambda store: store.put(state=RunState.PARTIAL))
        assert self.writer is not None
        self.writer.close()

    def _change(self, work: Callable[[JournalStore], None]) -> None:
        async def change() -> None:
            assert self.writer is not None
            await self.writer.submit(work)

        asyncio.run(change())


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ScriptedRun:
    """A stopped run of 300 things."""
    return ScriptedRun(tmp_path / "run.journal", monkeypatch)


class FakeTerminal(io.StringIO):
    """A terminal in memory."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        """Always a terminal."""
        return True


def test_watch_waits_for_the_run_and_ends_with_it(cli: CommandRunner, run: ScriptedRun) -> None:
    """Without a terminal: lines while it is stopped, runs and waits, then the summary with the next commands."""
    run.steps = [run.start, run.wait_for_retry, run.finish]
    result = cli("watch", "run.journal")
    assert result.code == 0
    stopped, sending, waiting, *summary = result.out.splitlines()
    assert stopped == "0/300 things (0 %), 0 failed, interrupted, waiting for resume or retry"
    assert sending.startswith("150/300 things (50 %), 50 failed, 2.0 requests/s (limit 12.5), 1 throttled, ")
    assert "30.0 s left, 18 things on 1 core: ConflictException, attempt 7 of 10, next in 30 s" in waiting
    assert summary[0] == "completed with failures"
    assert "  asyncgg resume run.journal" in summary
    assert result.err == ""
    assert all(pause >= 2.0 for pause in run.pauses)


def test_watch_complete_run_ends_at_once(cli: CommandRunner, run: ScriptedRun) -> None:
    """Nothing can start again."""
    asyncio.run(write_meta(run.path, state=RunState.COMPLETE))
    result = cli("watch", "run.journal")
    assert result.code == 0
    assert result.out.startswith("complete")
    assert run.pauses == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_watch_signal_ends_it_silently(cli: CommandRunner, run: ScriptedRun, number: int) -> None:
    """Ctrl-C is how a display ends: exit code 0, no summary, no error."""
    run.steps = [lambda: os.kill(os.getpid(), number)]
    result = cli("watch", "run.journal")
    assert (result.code, result.err) == (0, "")
    assert len(result.out.splitlines()) == 1


def test_watch_follows_a_decommission(cli: CommandRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stopped stage is waited for, a running one is shown until it ends; the result is that of status."""
    path = tmp_path / "model-7.journal"
    load_page(path)
    journals: list[DecommissionJournal] = []

    def pause(_: float) -> None:
        if journals:
            journals.pop().close()
            steps.append("closed")
        else:
            journals.append(DecommissionJournal(path))
            steps.append("opened")

    steps: list[str] = []
    monkeypatch.setattr("asyncgg.cli.commands.watch.time.sleep", pause)
    result = cli("watch", "model-7.journal")
    assert (result.code, result.err, steps) == (0, "", ["opened", "closed"])
    stopped, running, *summary = result.out.splitlines()
    assert stopped == "quarantine: 1/4 devices done, 1 refused, 1 failed, waiting for resume"
    assert running == "quarantine: 1/4 devices done, 1 refused, 1 failed, running"
    assert summary == cli("status", "model-7.journal").out.splitlines()


def test_watch_missing_journal_exits_2(cli: CommandRunner) -> None:
    """A wrong name does not wait for ever."""
    result = cli("watch", "none.journal")
    assert (result.code, result.out) == (2, "")
    assert "none.journal: no such file" in result.err


@pytest.mark.parametrize(("columns", "layout"), [(80, ("150/300 things (50 %)", "▁| last 45 s")), (20, ("50 %",))])
def test_watch_terminal_draws_a_pane(
    cli: CommandRunner, run: ScriptedRun, monkeypatch: pytest.MonkeyPatch, columns: int, layout: tuple[str, ...]
) -> None:
    """Every figure is there, no word is broken, no line is longer, and the pane is gone at the end."""
    screen = FakeTerminal()
    monkeypatch.setattr(sys, "stdout", screen)
    for name, value in {"COLUMNS": str(columns), "LINES": "40", "TERM": "xterm", "NO_COLOR": "1"}.items():
        monkeypatch.setenv(name, value)
    frames: list[str] = []

    def keep(step: Step) -> Step:
        def keep_and_step() -> None:
            frames.append(screen.getvalue())
            step()

        return keep_and_step

    run.steps = [keep(run.start), keep(run.wait_for_retry), keep(run.finish)]
    assert cli("watch", "run.journal").code == 0
    assert "Ctrl-C ends this display" in _plain(frames[0])
    pane = frames[2].removeprefix(frames[1])
    for text in (
        *layout,
        "50 failed",
        "limit 12.5",
        "quota 30",
        "12.5 requests/s for 0 s (throttled)",
        "AccessDenied 50",
        "core-000 50",
        "attempt 7 of 10",
    ):
        assert text in _plain(pane)
    assert max(map(len, _CONTROL.sub("", pane).splitlines())) <= columns
    assert "completed with failures" in _plain(screen.getvalue().removeprefix(frames[2]))


def _plain(screen: str) -> str:
    """The words of a screen, wherever its lines end."""
    return " ".join(_CONTROL.sub("", screen).split())


def test_watch_log_of_a_stopped_run_does_not_grow(cli: CommandRunner, run: ScriptedRun) -> None:
    """While a stopped run waits, its line is written once."""
    run.steps = [lambda: None, lambda: None, run.start, run.finish]
    result = cli("watch", "run.journal")
    assert sum("waiting for resume" in line for line in result.out.splitlines()) == 1


@pytest.mark.parametrize(("arguments", "code"), [(("iam-policy",), 0), (("watch", "run.journal"), 2)])
def test_closed_standard_output_is_no_internal_error(tmp_path: Path, arguments: tuple[str, ...], code: int) -> None:
    """Python has no sys.stdout if a shell started the command with `>&-`."""
    create_journal(tmp_path / "run.journal", make_pairs(1, 1), {"run": "r", "state": "interrupted", "settings": "{}"})
    script = '"$0" -m asyncgg "$@" >&-'
    command = ["sh", "-c", script, sys.executable, *arguments]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False)
    assert (result.returncode, "internal error" in result.stderr) == (code, False)
