"""Reads MFA codes from the terminal."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from asyncgg.errors import CredentialsError

try:
    import termios
except ImportError:  # Windows
    termios = None  # type: ignore[assignment]


class MfaCodeRequiredError(Exception):
    """A role needs a code of an MFA device; `prompt` asks for it."""

    def __init__(self, prompt: str) -> None:
        super().__init__(prompt)
        self.prompt = prompt


def prompter(codes: dict[str, str]) -> Callable[[str], str]:
    """Return a prompter for botocore that has the `codes` by prompt.

    botocore calls it in the event loop, so it does not wait: it raises `MfaCodeRequiredError`.
    """

    def answer(prompt: str) -> str:
        if prompt not in codes:
            raise MfaCodeRequiredError(prompt)
        return codes[prompt]

    return answer


async def read_mfa_code(prompt: str) -> str:
    """Ask for a code on the terminal, without echo. Can be cancelled.

    Raises:
        CredentialsError: there is no terminal, or nothing was entered.
    """
    no_terminal = CredentialsError(f"{prompt.strip(': ')}: there is no terminal to ask on; run the command on one")
    if termios is None:
        raise no_terminal
    try:
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
    except OSError:
        raise no_terminal from None
    try:
        if os.tcgetpgrp(terminal) != os.getpgrp():  # in the background, where the terminal would stop the process
            raise no_terminal
        settings = termios.tcgetattr(terminal)
        silent = [*settings[:3], settings[3] & ~termios.ECHO, *settings[4:]]
        termios.tcsetattr(terminal, termios.TCSADRAIN, silent)
        try:
            os.write(terminal, prompt.encode())
            line = await _read_line(terminal)
        finally:
            termios.tcsetattr(terminal, termios.TCSADRAIN, settings)
            os.write(terminal, b"\n")
    finally:
        os.close(terminal)
    code = line.decode(errors="replace").strip()
    if not code:
        raise CredentialsError(f"{prompt.strip(': ')}: nothing was entered")
    return code


async def _read_line(terminal: int) -> bytes:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(terminal, ready.set)  # a terminal is ready as soon as there is a whole line
    try:
        await ready.wait()
        return os.read(terminal, 1024)
    finally:
        loop.remove_reader(terminal)
