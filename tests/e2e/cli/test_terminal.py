"""Confirmations typed by a person, Ctrl-C, and the display: a real process on a terminal of its own."""

from __future__ import annotations

import json
from pathlib import Path

from tests.integration.cli.conftest import StartSimulator
from tests.support.command_line import isolated_environment, open_terminal, small_fleet

RUN = ("disassociate", "fleet.csv", "--journal", "run.journal", "--rate", "500")


def test_the_number_typed_confirms(serve: StartSimulator) -> None:
    """Whoever types the number of things gets the run, with a live display and the summary."""
    simulator = serve()
    with open_terminal(*RUN, cwd=Path(), env=isolated_environment(AWS_ENDPOINT_URL=simulator.url)) as screen:
        screen.read_until("Type 12 to disassociate them: ")
        assert simulator.service.counters.requests.total() == 0
        screen.type("12\n")
        assert screen.read_to_end() == 0
    assert "12/12 things" in screen.screen
    assert "complete: every thing is disassociated" in screen.screen
    assert "\x1b[" in screen.screen


def test_another_answer_sends_nothing(serve: StartSimulator) -> None:
    """`y` is no number: exit 2, nothing sent, no journal left."""
    simulator = serve()
    with open_terminal(*RUN, cwd=Path(), env=isolated_environment(AWS_ENDPOINT_URL=simulator.url)) as screen:
        screen.read_until("Type 12 to disassociate them: ")
        screen.type("y\n")
        assert screen.read_to_end() == 2
    assert "not confirmed, nothing was sent" in screen.screen
    assert simulator.service.counters.requests.total() == 0
    assert not list(Path().glob("run.journal*"))


def test_ctrl_c_instead_of_an_answer_is_130(serve: StartSimulator) -> None:
    """Ctrl-C at the question: exit 130, nothing sent, no journal left."""
    simulator = serve()
    with open_terminal(*RUN, cwd=Path(), env=isolated_environment(AWS_ENDPOINT_URL=simulator.url)) as screen:
        screen.read_until("Type 12 to disassociate them: ")
        screen.type("\x03")
        assert screen.read_to_end() == 130
    assert "interrupted; nothing was sent" in screen.screen
    assert "Traceback" not in screen.screen
    assert not list(Path().glob("run.journal*"))


def test_a_manifest_on_standard_input_is_confirmed_on_the_terminal(serve: StartSimulator) -> None:
    """With `-` the answer is typed on /dev/tty. This one is dumb: it gets lines without any escape sequence."""
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


def test_ctrl_c_in_the_midst_ends_in_order(serve: StartSimulator) -> None:
    """Ctrl-C once: what is in flight ends, exit 130, the summary says how to resume."""
    simulator = serve(small_fleet(60, 1))
    run = ("disassociate", "fleet.csv", "--journal", "run.journal", "--rate", "20", "--yes")
    with open_terminal(
        *run, cwd=Path(), env=isolated_environment(AWS_ENDPOINT_URL=simulator.url, COLUMNS="80")
    ) as screen:
        screen.read_until("of 20.0 requests/s")
        screen.type("\x03")
        assert screen.read_to_end() == 130
    assert "Press Ctrl-C again" in screen.screen
    assert "interrupted: stopped by Ctrl-C" in screen.screen
    assert "asyncgg resume run.journal" in screen.screen
    remaining = sum(map(len, simulator.service.fleet.things.values()))
    assert f"{60 - remaining} of 60 disassociated, 0 failed, {remaining} pending" in screen.screen
