"""Confirmations typed by a person, Ctrl-C, and the display: a real process on a terminal of its own."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.conftest import Serve
from tests.cli.support import environment, fleet, terminal

RUN = ("disassociate", "fleet.csv", "--journal", "run.journal", "--rate", "500")


def test_the_number_typed_confirms(serve: Serve) -> None:
    """Whoever types the number of things gets the run, with a live display and the summary."""
    simulator = serve()
    with terminal(*RUN, cwd=Path(), env=environment(AWS_ENDPOINT_URL=simulator.url)) as screen:
        screen.read_until("Type 12 to disassociate them: ")
        assert simulator.service.counters.requests.total() == 0
        screen.type("12\n")
        assert screen.end() == 0
    assert "12/12 things" in screen.text
    assert "complete: every thing is disassociated" in screen.text
    assert "\x1b[" in screen.text


def test_another_answer_sends_nothing(serve: Serve) -> None:
    """`y` is no number: exit 2, nothing sent, no journal left."""
    simulator = serve()
    with terminal(*RUN, cwd=Path(), env=environment(AWS_ENDPOINT_URL=simulator.url)) as screen:
        screen.read_until("Type 12 to disassociate them: ")
        screen.type("y\n")
        assert screen.end() == 2
    assert "not confirmed, nothing was sent" in screen.text
    assert simulator.service.counters.requests.total() == 0
    assert not list(Path().glob("run.journal*"))


def test_ctrl_c_instead_of_an_answer_is_130(serve: Serve) -> None:
    """Ctrl-C at the question: exit 130, nothing sent, no journal left."""
    simulator = serve()
    with terminal(*RUN, cwd=Path(), env=environment(AWS_ENDPOINT_URL=simulator.url)) as screen:
        screen.read_until("Type 12 to disassociate them: ")
        screen.type("\x03")
        assert screen.end() == 130
    assert "interrupted; nothing was sent" in screen.text
    assert "Traceback" not in screen.text
    assert not list(Path().glob("run.journal*"))


def test_a_manifest_on_standard_input_is_confirmed_on_the_terminal(serve: Serve) -> None:
    """With `-` the answer is typed on /dev/tty. This one is dumb: it gets lines without any escape sequence."""
    simulator = serve()
    run = ("disassociate", "-", "--journal", "run.journal", "--rate", "500", "--json")
    env = environment(AWS_ENDPOINT_URL=simulator.url, TERM="dumb")
    with terminal(*run, cwd=Path(), env=env, stdin=Path("fleet.csv")) as screen:
        screen.read_until("Type 12 to disassociate them: ")
        screen.type("12\n")
        assert screen.end() == 0
    assert json.loads(screen.text.splitlines()[-1])["things"]["disassociated"] == 12
    assert "12/12 things (100 %)" in screen.text
    assert "\x1b" not in screen.text


def test_ctrl_c_in_the_midst_ends_in_order(serve: Serve) -> None:
    """Ctrl-C once: what is in flight ends, exit 130, the summary says how to resume."""
    simulator = serve(fleet(60, 1))
    run = ("disassociate", "fleet.csv", "--journal", "run.journal", "--rate", "20", "--yes")
    with terminal(*run, cwd=Path(), env=environment(AWS_ENDPOINT_URL=simulator.url, COLUMNS="80")) as screen:
        screen.read_until("of 20.0 requests/s")
        screen.type("\x03")
        assert screen.end() == 130
    assert "a second signal cuts off what is in flight" in screen.text
    assert "interrupted: stopped by Ctrl-C" in screen.text
    assert "asyncgg resume run.journal" in screen.text
    left = sum(map(len, simulator.service.fleet.things.values()))
    assert f"{60 - left} of 60 disassociated, 0 failed, {left} pending" in screen.text
