"""The outcome of a check, and how an answer of AWS becomes one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus

from botocore.exceptions import ClientError

from asyncgg.errors import AsyncggError, CredentialsError, UsageError
from asyncgg.formatting import sanitize
from asyncgg.transport.session import describe_client_error


class CheckStatus(StrEnum):
    """The result of a check."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class CheckOutcome:
    """One check, in one line."""

    check: str
    status: CheckStatus
    detail: str
    next_step: str = ""
    """What to do, unless the status is `ok`."""
    exit_code: int = 0
    """The exit code of a failed check."""


def exit_code(results: Sequence[CheckOutcome]) -> int:
    """The exit code of all checks: 5 before 2 before 0."""
    return max((result.exit_code for result in results), default=0)


async def check_call(action: str, call: Callable[[], Awaitable[object]], grant: str = "") -> CheckOutcome:
    """Call a read-only operation once; a subject that does not exist is an answer, too."""
    try:
        await call()
    except ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            denied = CredentialsError(describe_client_error("denied", error))
            return failed(action, denied, f"grant {grant or action}")
        if status != HTTPStatus.NOT_FOUND:
            return warning(action, describe_client_error("not checked", error), "run the check again")
    except AsyncggError:
        raise
    except Exception as error:  # noqa: BLE001 - botocore raises anything for a connection that fails
        return failed(action, UsageError(str(error)), "check endpoint, proxy and network")
    return ok(action, "allowed")


def ok(check: str, detail: str) -> CheckOutcome:
    """A check that found nothing wrong."""
    return CheckOutcome(check, CheckStatus.OK, detail)


def warning(check: str, detail: str, next_step: str) -> CheckOutcome:
    """A check that found what can be wrong."""
    return CheckOutcome(check, CheckStatus.WARNING, detail, next_step)


def failed(check: str, error: AsyncggError, next_step: str) -> CheckOutcome:
    """A check that `error` ended, which has the exit code."""
    return CheckOutcome(check, CheckStatus.FAILED, sanitize(error), next_step, error.exit_code)
