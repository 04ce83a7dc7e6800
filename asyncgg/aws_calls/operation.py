"""One AWS operation, called within its own quota, with retries and a limit on failures."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from botocore import exceptions as aws

from asyncgg.classify import ReplyVerdict, classify
from asyncgg.errors import AsyncggError, CredentialsUnreachableError
from asyncgg.formatting import sanitize
from asyncgg.models import ErrorResponse
from asyncgg.ratelimit import AdaptiveRate, Limiter
from asyncgg.ratelimit.quota import default_burst
from asyncgg.retry_policy import RetryPolicy
from asyncgg.transport.responses import HttpResponse, describe_response, names_error_type, parse_retry_after

_MAX_PAUSE: Final = 60.0
_MIN_BURST: Final = 1.9
"""Requests: makes up for a timer that is late by nearly a whole interval; still, two never start at once."""
_MAX_REFUSALS: Final = 3
"""Refused calls, with none answered, after which an operation is no longer called."""
_FAILURE_THRESHOLD: Final = 5
"""Calls in a row that used up their attempts, after which an operation is no longer called."""
_MAX_RENEWALS: Final = 2
"""Renewals of the credentials per call."""
_NOT_FOUND: Final = "ResourceNotFoundException"


class AwsCallError(Exception):
    """The call failed; `code` is the error code of the service or empty.

    `possibly_applied`: whether the service may have done what was requested.
    """

    def __init__(self, message: str, code: str = "", *, possibly_applied: bool = False) -> None:
        super().__init__(message)
        self.code, self.possibly_applied = code, possibly_applied

    @property
    def is_not_found(self) -> bool:
        """Whether the service says that what the call is about does not exist."""
        return self.code == _NOT_FOUND


def request_id(response: Mapping[str, Any] | None) -> str:
    """The id of the request; empty without a response."""
    return str((response or {}).get("ResponseMetadata", {}).get("RequestId", ""))


class RenewableCredentials(Protocol):
    """The renewal of the credentials that sign calls; `CredentialSource` implements it."""

    generation: int

    def mark_rejected(self, generation: int) -> None:
        """Note that the service rejected the credentials of this generation."""

    async def renew(self) -> None:
        """Get new credentials. Raises `CredentialsError`."""

    async def get_frozen_credentials(self) -> object:
        """Wait until there are credentials that have not expired. Raises `CredentialsError`."""


class RateLimitedOperation:
    """Calls one operation. `rate`: quota in requests per second; `timeout`: seconds per attempt.

    `denied_advice` says what to do when access is denied. `expected_codes` are errors that say something
    about one thing, so that many of them do not mean that all calls are refused. A call that is not
    `repeatable` is sent again only if the service did not do it.
    """

    def __init__(
        self,
        api: str,
        rate: float,
        *,
        retry: RetryPolicy,
        credentials: RenewableCredentials | None,
        timeout: float,
        denied_advice: str,
        expected_codes: frozenset[str] = frozenset(),
        repeatable: bool = True,
    ) -> None:
        self._api = api
        self._denied_advice = denied_advice
        burst = max(_MIN_BURST, default_burst(rate))
        self._limiter = Limiter(AdaptiveRate(rate, documented=rate, burst=burst), max_pause=_MAX_PAUSE)
        self._clock = asyncio.get_running_loop().time
        self._retry = retry
        self._credentials = credentials
        self._timeout = timeout
        self._expected_codes = expected_codes | {_NOT_FOUND}
        self._repeatable = repeatable
        self._has_succeeded = False
        self._refusals = self._consecutive_failures = 0
        self._circuit_open_reason = ""
        self.sent = 0
        """Requests sent."""
        self.throttled = 0
        """Requests that were throttled."""

    async def call(self, send: Callable[[], Awaitable[Mapping[str, Any]]]) -> Mapping[str, Any]:
        """The response to `send`, which is called again after a transient failure.

        Raises `AwsCallError` if the call was refused or its attempts are used up, and
        `CredentialsError` if the credentials are rejected and there are no others.
        """
        attempts = renewals = 0
        while True:
            if self._circuit_open_reason:
                raise AwsCallError(self._circuit_open_reason)
            await self._limiter.bucket.acquire()
            attempts += 1
            generation = self._credentials.generation if self._credentials else 0
            outcome = await self._attempt(send)
            if not isinstance(outcome, _Failure):
                return outcome
            if outcome.verdict in _AUTH_ERRORS and self._credentials and renewals < _MAX_RENEWALS:
                renewals += 1
                if generation == self._credentials.generation:
                    self._credentials.mark_rejected(generation)
                    await self._credentials.renew()
                continue
            retryable, possibly_applied = outcome.verdict in _RETRYABLE, outcome.verdict in _POSSIBLY_APPLIED
            may_repeat = retryable and (self._repeatable or not possibly_applied)
            if not may_repeat or self._retry.exhausted(attempts):
                self._record_failure(outcome, retryable=retryable)
                message = f"{self._api}: {outcome.message}"
                raise AwsCallError(message, outcome.code, possibly_applied=possibly_applied)
            await asyncio.sleep(self._retry.delay(attempts, outcome.retry_after))

    async def find(self, send: Callable[[], Awaitable[Mapping[str, Any]]]) -> Mapping[str, Any] | None:
        """As `call`; None if the service says that what the call is about does not exist."""
        try:
            return await self.call(send)
        except AwsCallError as error:
            if error.is_not_found:
                return None
            raise

    async def _attempt(self, send: Callable[[], Awaitable[Mapping[str, Any]]]) -> Mapping[str, Any] | _Failure:
        try:
            if self._credentials is not None:  # a wait for new ones is no part of the request
                await self._credentials.get_frozen_credentials()
            started = self._clock()
            self.sent += 1
            async with asyncio.timeout(self._timeout):
                response = await send()
        except aws.ClientError as error:
            return self._handle_error(error, started)
        except CredentialsUnreachableError as error:
            return _Failure(ReplyVerdict.NOT_SENT, "", str(error))
        except AsyncggError:
            raise
        except Exception as error:  # noqa: BLE001 - botocore's parsers raise many types
            return _Failure(ReplyVerdict.LOST, "", f"no valid response ({sanitize(error) or type(error).__name__})")
        self._has_succeeded = True
        self._consecutive_failures = 0
        self._limiter.on_accepted(started)
        return response

    def _handle_error(self, error: aws.ClientError, started: float) -> _Failure:
        error_fields = error.response.get("Error", {})
        meta = error.response.get("ResponseMetadata", {})
        headers = {str(name).lower(): str(value) for name, value in meta.get("HTTPHeaders", {}).items()}
        code, status = str(error_fields.get("Code", "")), int(meta.get("HTTPStatusCode", 0))
        retry_after = parse_retry_after(headers, time.time())
        if not names_error_type(code, status):
            answer = describe_response(HttpResponse(status, headers, b""))
            return _Failure(ReplyVerdict.FOREIGN, "", f"{answer}, not from the service")
        verdict = classify(
            ErrorResponse(status, code, str(error_fields.get("Message", "")), retry_after=retry_after), "", ()
        )
        message = sanitize(f"{code}: {error_fields.get('Message', '')}").rstrip(".")
        if verdict is ReplyVerdict.THROTTLED:
            self.throttled += 1
            self._limiter.on_throttled(started, retry_after)
        else:
            self._limiter.on_accepted(started)
        # The code before the verdict, because `classify` reads 404 and 403 as errors of a core.
        if code in self._expected_codes:
            self._has_succeeded = True
        elif verdict not in _AUTH_ERRORS | _RETRYABLE:
            self._record_refusal(message, denied=status in {401, 403})
        return _Failure(verdict, code, message, retry_after)

    def _record_failure(self, outcome: _Failure, *, retryable: bool) -> None:
        """Count a failed call; after many in a row the others fail at once."""
        self._consecutive_failures = self._consecutive_failures + 1 if retryable else 0
        if self._consecutive_failures >= _FAILURE_THRESHOLD:
            self._circuit_open_reason = (
                f"{self._api} skipped after {_FAILURE_THRESHOLD} failed calls in a row: {outcome.message}"
            )

    def _record_refusal(self, message: str, *, denied: bool) -> None:
        self._refusals += 1
        if not self._has_succeeded and self._refusals >= _MAX_REFUSALS:
            advice = self._denied_advice if denied else "check the AWS IoT endpoint"
            self._circuit_open_reason = f"{self._api} {'denied' if denied else 'rejected'}: {message}; {advice}"


_POSSIBLY_APPLIED: Final = frozenset({ReplyVerdict.TRANSIENT, ReplyVerdict.LOST, ReplyVerdict.FOREIGN})
_RETRYABLE: Final = _POSSIBLY_APPLIED | {ReplyVerdict.THROTTLED, ReplyVerdict.NOT_SENT}
_AUTH_ERRORS: Final = frozenset({ReplyVerdict.CREDENTIALS_EXPIRED, ReplyVerdict.CREDENTIALS_REJECTED})


@dataclass(frozen=True, slots=True)
class _Failure:
    verdict: ReplyVerdict
    code: str
    message: str
    retry_after: float | None = None
