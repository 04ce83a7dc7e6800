"""Rule: what an exception means for standard error and the exit code is decided here, once for all commands."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Callable
from functools import wraps
from typing import Any, Final, cast

import typer

from asyncgg.errors import AsyncggError

__all__ = [
    "EXIT_INTERRUPTED",
    "InterruptedRunError",
    "flush_standard_output",
    "preserve_interrupt",
    "print_error",
    "run_with_exit_code",
]

EXIT_INTERRUPTED: Final = 130

# Typer moved these classes from click into itself; their common child is public in both.
_CLICK_USAGE_ERROR: Final = cast("type[Exception]", typer.BadParameter.__base__)
_CLICK_ERROR: Final = cast("type[Exception]", _CLICK_USAGE_ERROR.__base__)


class InterruptedRunError(Exception):
    """KeyboardInterrupt on its way through Typer, which would take its words from it."""


def preserve_interrupt(command: Callable[..., int]) -> Callable[..., int]:
    """`command`, with its KeyboardInterrupt made into an `InterruptedRunError`."""

    @wraps(command)
    def wrapper(*args: Any, **kwargs: Any) -> int:
        try:
            return command(*args, **kwargs)
        except KeyboardInterrupt as error:
            raise InterruptedRunError(str(error) or "interrupted") from None

    return wrapper


def run_with_exit_code(command: Callable[[], Any], *, debug: bool = False) -> int:
    """Run `command`; its exit code, or the one of what it raises, told on standard error in a line or two."""
    try:
        code = command()
    except AsyncggError as error:
        _print_traceback(debug)
        print_error("\n".join([str(error), *getattr(error, "__notes__", ())]))
        return error.exit_code
    except _CLICK_ERROR as error:
        _print_traceback(debug)
        return _print_usage_error(error)
    except (InterruptedRunError, KeyboardInterrupt, typer.Abort) as error:
        print_error(str(error) or "interrupted")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        return _silence_stdout()
    except OSError as error:
        _print_traceback(debug)
        print_error(f"the system reports: {error}")
        return 1
    except Exception as error:  # noqa: BLE001 - the last resort: one line instead of a traceback
        _print_traceback(debug)
        message = " ".join(str(error).split()) or "without a message"
        debug_hint = "" if debug else " (--debug shows where)"
        print_error(f"{type(error).__name__}: {message}; this is a fault of asyncgg, please report it{debug_hint}")
        return 1
    return code if isinstance(code, int) else 0


def print_error(message: str) -> None:
    """Write an error to standard error; a closed one is no reason to fail."""
    with contextlib.suppress(OSError, ValueError, AttributeError):  # None when it was closed before the start
        sys.stderr.write(f"error: {message}\n")
        sys.stderr.flush()


def flush_standard_output(code: int) -> int:
    """Flush what is left before Python does, so that a reader who went away does not change the exit code."""
    try:
        sys.stdout.flush()
    except (BrokenPipeError, ValueError, AttributeError):  # None when it was closed before the start
        _silence_stdout()
    except OSError as error:  # a full disk
        if code == 0:  # else it has been told, or something that matters more
            print_error(f"standard output cannot be written: {error.strerror}")
        _silence_stdout()
        code = code or 1
    _flush_standard_error()
    return code


def _flush_standard_error() -> None:
    """Python would exit with 120 when what is left there cannot be written."""
    try:
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def _print_usage_error(error: Any) -> int:
    context = getattr(error, "ctx", None)
    path = getattr(context, "command_path", "asyncgg")
    message = " ".join(str(error.format_message()).split()).rstrip(".")
    print_error(f"{message}; see {path} --help")
    return 2


def _silence_stdout() -> int:
    """Whoever read our standard output left; send what Python still wants to flush to nowhere."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1


def _print_traceback(debug: bool) -> None:
    if debug:
        traceback.print_exc()
