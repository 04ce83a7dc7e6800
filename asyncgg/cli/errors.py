"""Turns exceptions into messages on standard error and exit codes."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any, Final, TextIO

import click

from asyncgg.cli.wrapping import terminal_width, wrap_lines
from asyncgg.errors import AsyncggError, UsageError

EXIT_INTERRUPTED: Final = 130
_PATH_ERRORS: Final = frozenset({errno.EACCES, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOTDIR})
"""Of a path that the user gave; checks of whether a file exists raise them."""


def run_with_exit_code(command: Callable[[], Any], *, debug: bool = False) -> int:
    """Run `command`, print what it raises, and return the exit code."""
    try:
        code = command()
    except AsyncggError as error:
        _print_traceback(debug)
        print_error("\n".join([str(error), *getattr(error, "__notes__", ())]))
        return error.exit_code
    except click.exceptions.Exit as request:
        return request.exit_code
    except click.ClickException as error:
        _print_traceback(debug)
        return _print_usage_error(error)
    except KeyboardInterrupt as error:
        print_error(str(error) or "interrupted")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        _silence(sys.stdout)
        return 1
    except OSError as error:
        _print_traceback(debug)
        if error.errno in _PATH_ERRORS and error.filename:
            print_error(f"{error.filename}: {error.strerror}; check the path")
            return UsageError.exit_code
        print_error(f"system error: {error}")
        return 1
    except Exception as error:  # noqa: BLE001 - the last resort: one line instead of a traceback
        _print_traceback(debug)
        message = " ".join(str(error).split()) or "no message"
        debug_hint = "" if debug else " (pass --debug for a traceback)"
        print_error(f"{type(error).__name__}: {message}; internal error; please report it{debug_hint}")
        return 1
    return code if isinstance(code, int) else 0


def print_error(message: str) -> None:
    """Write an error to standard error, ignoring a closed one."""
    with contextlib.suppress(OSError, ValueError, AttributeError):  # None if it was closed before the start
        lines = wrap_lines(f"error: {message}".split("\n"), terminal_width(sys.stderr))
        sys.stderr.write("".join(f"{line}\n" for line in lines))
        sys.stderr.flush()


def flush_standard_output(code: int) -> int:
    """Flush both streams, so that a closed pipe does not change the exit code; return it."""
    try:
        sys.stdout.flush()
    except (BrokenPipeError, ValueError, AttributeError):  # None if it was closed before the start
        _silence(sys.stdout)
    except OSError as error:  # a full disk
        if code == 0:  # else another error was printed
            print_error(f"cannot write to standard output: {error.strerror}")
        _silence(sys.stdout)
        code = code or 1
    try:
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):  # Python exits with 120 if the rest cannot be written
        _silence(sys.stderr)
    return code


def _print_usage_error(error: click.ClickException) -> int:
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "asyncgg"
    if isinstance(error, click.BadParameter) and isinstance(error.param, click.Option) and error.message:
        message = f"{error.param.opts[0]}: {error.message}"
    else:
        message = error.format_message()
    message = " ".join(message.split()).rstrip(".")
    print_error(f"{message}; see {path} --help")
    return 2


def _silence(stream: TextIO) -> None:
    """Redirect what is left to write to /dev/null."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _print_traceback(debug: bool) -> None:
    if debug:
        traceback.print_exc()
