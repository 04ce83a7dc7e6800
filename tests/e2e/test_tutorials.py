"""Tests that every command of the tutorials works as shown, on a terminal and against the simulator."""

from __future__ import annotations

import os
import pty
import re
import select
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.programs import ROOT, SimulatorProcess, program_environment

TUTORIALS = sorted(path.stem for path in (ROOT / "docs" / "tutorials").glob("*.md") if path.stem != "index")
TIMEOUT = 180.0
"""Seconds after which a command counts as hanging."""

_BLOCK = re.compile(r"(?:^<!-- (?P<note>.*?) -->\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Step:
    """One command line of a tutorial, and how it ended."""

    line: str
    code: int
    screen: str
    expected: frozenset[int]


def blocks(tutorial: str) -> Iterator[tuple[str, str, str]]:
    """Each code block of a tutorial: the comment above it, its language, its text."""
    page = (ROOT / "docs" / "tutorials" / f"{tutorial}.md").read_text(encoding="utf-8")
    for match in _BLOCK.finditer(page):
        yield match["note"] or "", match["language"], match["text"]


def commands(text: str) -> list[str]:
    """The command lines of a console block."""
    return [line.removeprefix("$ ") for line in text.splitlines() if line.startswith("$ ")]


def run_on_terminal(line: str, folder: Path, env: Mapping[str, str]) -> tuple[int, str]:
    """Run a shell command on a terminal, typing the number that a confirmation asks for; exit code and screen."""
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        ["bash", "-o", "pipefail", "-c", line],
        cwd=folder,
        env=env,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    )
    os.close(terminal)
    screen, answered, end = "", 0, time.monotonic() + TIMEOUT
    try:
        while select.select([controller], [], [], max(0.0, end - time.monotonic()))[0]:
            try:
                chunk = os.read(controller, 65536)
            except OSError:  # the end of a terminal, on Linux
                break
            screen += chunk.decode(errors="replace")
            questions = re.findall(r"Type (\d+) to", screen)
            for number in questions[answered:]:
                os.write(controller, f"{number}\n".encode())
            answered = len(questions)
        else:
            process.kill()
            raise AssertionError(f"{line} did not end within {TIMEOUT:g} s: {screen}")
        return process.wait(10), screen
    finally:
        os.close(controller)


def run_tutorial(tutorial: str, folder: Path) -> list[Step]:
    """Run every command of a tutorial in `folder`, in their order."""
    program = folder / "bin" / "asyncgg"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m asyncgg "$@"\n')
    program.chmod(0o755)
    work = folder / "work"
    work.mkdir()
    simulated = [commands(text) for note, _, text in blocks(tutorial) if note == "simulator"]
    ((line,),) = simulated
    words = shlex.split(line)[2:]
    given = dict(zip(words[::2], words[1::2], strict=True))
    options: dict[str, object] = {key[2:]: value for key, value in given.items() if key not in {"--port", "--fault"}}
    faults = [given["--fault"]] if "--fault" in given else []
    steps = []
    with SimulatorProcess(folder, *faults, **options) as simulator:
        env = program_environment(folder, AWS_ENDPOINT_URL=simulator.url, TERM="xterm", COLUMNS="100")
        del env["ASYNCGG_QUOTA"]  # the pages show the documented quota
        env["PATH"] = f"{program.parent}{os.pathsep}{env['PATH']}"
        for note, language, text in blocks(tutorial):
            kind, _, argument = note.partition(": ")
            if kind == "file":
                (work / argument).write_text(text, encoding="utf-8")
            if language != "console" or kind in {"simulator", "skip"}:
                continue
            expected = frozenset(int(code) for code in argument.split()) if kind == "exit" else frozenset({0})
            for line in commands(text):
                code, screen = run_on_terminal(line, work, env)
                steps.append(Step(line, code, screen, expected))
                if code not in expected:
                    return steps
    return steps


BACKGROUND_RUNS = {f"tutorial {name}": partial(run_tutorial, name) for name in TUTORIALS}


@pytest.mark.parametrize("tutorial", TUTORIALS)
def test_tutorial_commands_succeed(tutorial: str, background_runs: Mapping[str, Any]) -> None:
    """Each command of the tutorial ends with exit code 0, or with one that the page announces."""
    steps = background_runs[f"tutorial {tutorial}"].result()
    assert steps
    for step in steps:
        assert step.code in step.expected, f"$ {step.line}\nexit {step.code}\n{step.screen}"


@pytest.mark.parametrize("tutorial", TUTORIALS)
def test_tutorial_skips_only_what_cannot_run(tutorial: str) -> None:
    """A skipped block sets up the shell; it calls no command of asyncgg."""
    for note, _, text in blocks(tutorial):
        if note.startswith("skip"):
            assert "asyncgg" not in text
