"""Tests of the prompt for an MFA code, on a pseudo-terminal and without one."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.cli.conftest import StartSimulator
from tests.support.command_line import isolated_environment, open_terminal, start_process
from tests.support.moto_server import moto_server

RUN = ("disassociate", "fleet.csv", "--yes", "--journal", "run.journal", "--rate", "500", "--profile", "operator")
PROMPT = "Enter MFA code for arn:aws:iam::123456789012:mfa/me: "
CONFIG = (
    "[profile base]\naws_access_key_id = AKIABASE\naws_secret_access_key = hunter2\n"
    "[profile operator]\nrole_arn = arn:aws:iam::123456789012:role/operator\nsource_profile = base\n"
    "mfa_serial = arn:aws:iam::123456789012:mfa/me\n"
)


@pytest.fixture(scope="module")
def sts() -> Iterator[str]:
    """The URL of a simulated STS."""
    with moto_server() as url:
        yield url


@pytest.fixture
def environment(serve: StartSimulator, sts: str, tmp_path: Path) -> dict[str, str]:
    """A profile that needs a code, and a simulator."""
    simulator = serve()
    config = tmp_path / "config"
    config.write_text(CONFIG)
    env = isolated_environment(AWS_CONFIG_FILE=str(config), AWS_ENDPOINT_URL=simulator.url, AWS_ENDPOINT_URL_STS=sts)
    return {name: value for name, value in env.items() if "ACCESS_KEY" not in name}


def test_mfa_code_is_asked_once(environment: dict[str, str]) -> None:
    """One code serves the check of the account and the run, and is not shown."""
    with open_terminal(*RUN, "--expect-account", "123456789012", cwd=Path(), env=environment) as screen:
        screen.read_until(PROMPT)
        screen.type("123456\n")
        assert screen.read_to_end() == 0, screen.screen
    assert screen.screen.count("MFA code") == 1
    assert "123456\n" not in screen.screen
    assert "complete: every thing is disassociated" in screen.screen


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_mfa_prompt_signal_exits_130(environment: dict[str, str], number: signal.Signals) -> None:
    """A signal ends the prompt; no journal is left."""
    with open_terminal(*RUN, cwd=Path(), env=environment) as screen:
        screen.read_until(PROMPT)
        if number is signal.SIGINT:
            screen.type("\x03")
        else:
            screen.process.send_signal(number)
        assert screen.read_to_end() == 130, screen.screen
    assert "interrupted; nothing was sent" in screen.screen
    assert not list(Path().glob("run.journal*"))


def test_mfa_prompt_deadline_exits_10(environment: dict[str, str]) -> None:
    """The deadline ends the prompt, before the check of the account too."""
    with open_terminal(
        *RUN, "--deadline", "0.5", "--expect-account", "123456789012", cwd=Path(), env=environment
    ) as screen:
        assert screen.read_to_end() == 10, screen.screen
    assert "no AWS credentials within 0.5 s (--deadline)" in screen.screen
    assert "Traceback" not in screen.screen


def test_mfa_without_terminal_exits_5(environment: dict[str, str]) -> None:
    """The error is one line."""
    process = start_process(*RUN, "--quiet", cwd=Path(), env=environment, start_new_session=True)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 5, err
    message = "there is no terminal to ask on; run the command on one"
    assert err.splitlines() == [
        f"error: no AWS credentials of profile 'operator': {PROMPT}{message}",
        "nothing was sent",
    ]
