"""The outcome of a check, and how an answer of AWS becomes one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from botocore.exceptions import ClientError

from asyncgg.errors import AsyncggError
from asyncgg.formatting import sanitize
from asyncgg.transport.session import describe_client_error

EXIT_CONFIGURATION: Final = 2
EXIT_CREDENTIALS: Final = 5
_DENIED: Final = (401, 403)


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


async def check_call(
    action: str, call: Callable[[], Awaitable[object]], grant: str = "", *, required: bool = True
) -> CheckOutcome:
    """Call a read-only operation once; a subject that does not exist is an answer, too."""
    try:
        await call()
    except ClientError as error:
        if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") in _DENIED:
            detail = describe_client_error("denied", error)
            step = f"grant {grant or action}"
            return CheckOutcome(action, CheckStatus.FAILED, detail, step, EXIT_CREDENTIALS if required else 0)
        if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == 404:
            return ok(action, "allowed")
        return CheckOutcome(
            action, CheckStatus.WARNING, describe_client_error("not checked", error), "run the check again"
        )
    except AsyncggError:
        raise
    except Exception as error:  # noqa: BLE001 - botocore raises anything for a connection that fails
        return CheckOutcome(
            action, CheckStatus.FAILED, sanitize(error), "check endpoint, proxy and network", EXIT_CONFIGURATION
        )
    return ok(action, "allowed")


def ok(check: str, detail: str) -> CheckOutcome:
    """A check that found nothing wrong."""
    return CheckOutcome(check, CheckStatus.OK, detail)


def failed(check: str, error: AsyncggError, next_step: str, code: int) -> CheckOutcome:
    """A check that `error` ended."""
    return CheckOutcome(check, CheckStatus.FAILED, sanitize(error), next_step, code)
