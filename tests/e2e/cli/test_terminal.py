"""Tests of the prompt, Ctrl-C and the display, on a pseudo-terminal."""

from __future__ import annotations

import json
from pathlib import Path

from tests.integration.cli.conftest import StartSimulator
from tests.support.command_line import isolated_environment, open_terminal, small_fleet

RUN = ("disassociate", "fleet.csv", "--journal", "run.journal", "--rate", "500")


def test_prompt_count_confirms(serve: StartSimulator) -> None:
    """The typed number starts the run, with live display and summary."""
    simulator = serve()
    with open_terminal(*RUN, cwd=Path(), env=isolated_environment(AWS_ENDPOINT_URL=simulator.url)) as screen:
        screen.read_until("Type 12 to disassociate them: ")
        assert simulator.service.counters.requests.total() == 0
        screen.type("12\n")
        assert screen.read_to_end() == 0
    assert "12/12 things" in screen.screen
    assert "complete: every thing is disassociated" in screen.screen
    assert "\x1b[" in screen.screen


def test_prompt_other_answer_exits_2(serve: StartSimulator) -> None:
    """`y`, three times: exit 2, nothing sent, no journal."""
    simulator = serve()
    with open_terminal(*RUN, cwd=Path(), env=isolated_environment(AWS_ENDPOINT_URL=simulator.url)) as screen:
        screen.read_until("Type 12 to disassociate them: ")
        for _ in range(2):
            screen.type("y\n")
            screen.read_until("This is not 12; press Ctrl-C to cancel")
            screen.screen = ""
        screen.type("y\n")
        assert screen.read_to_end() == 2
    assert "not confirmed, nothing was sent" in screen.screen
    assert simulator.service.counters.requests.total() == 0
    assert not list(Path().glob("run.journal*"))


def test_prompt_ctrl_c_exits_130(serve: StartSimulator) -> None:
    """Nothing is sent and no journal is left."""
    simulator = serve()
    with open_terminal(*RUN, cwd=Path(), env=isolated_environment(AWS_ENDPOINT_URL=simulator.url)) as screen:
        screen.read_until("Type 12 to disassociate them: ")
        screen.type("\x03")
        assert screen.read_to_end() == 130
    assert "interrupted; nothing was sent" in screen.screen
    assert "Traceback" not in screen.screen
    assert not list(Path().glob("run.journal*"))


def test_prompt_uses_the_terminal_when_stdin_is_the_manifest(serve: StartSimulator) -> None:
    """With `-` the answer is read from /dev/tty; a dumb terminal gets no escapes."""
    simulator = serve()
    run = ("disassociate", "-", "--journal", "run.journal", "--rate", "500", "--json")
    env = isolated_environment(AWS_ENDPOINT_URL=simulator.url, TERM="dumb")
    with open_terminal(*run, cwd=Path(), env=env, stdin=Path("fleet.csv")) as screen:
        screen.read_until("Type 12 to disassociate them: ")
        screen.type("12\n")
        assert screen.read_to_end() == 0
    assert json.loads(screen.screen.splitlines()[-1])["things"]["disassociated"] == 12
    assert "12/12 things (100 %)" in screen.screen
    assert "\x1b" not in screen.screen


def test_ctrl_c_during_a_run_exits_130(serve: StartSimulator) -> None:
    """In-flight requests end, and the summary shows how to resume."""
    simulator = serve(small_fleet(60, 1))
    run = ("disassociate", "fleet.csv", "--journal", "run.journal", "--rate", "20", "--yes")
    with open_terminal(
        *run, cwd=Path(), env=isolated_environment(AWS_ENDPOINT_URL=simulator.url, COLUMNS="80")
    ) as screen:
        screen.read_until("requests/s (limit 20)")
        screen.type("\x03")
        assert screen.read_to_end() == 130
    assert "Press Ctrl-C again" in screen.screen
    assert "interrupted: stopped by Ctrl-C" in screen.screen
    assert "asyncgg resume run.journal" in screen.screen
    remaining = sum(map(len, simulator.service.fleet.things.values()))
    assert f"{60 - remaining} of 60 disassociated, 0 failed, {remaining} pending" in screen.screen
