"""Rule: how often one operation of AWS IoT is called, and called again, lives here; what it is called with does not.

AWS IoT throttles with HTTP 400 [service model: ThrottlingException, httpStatusCode 400]. Each operation has a quota of
its own, and so a limiter. Retries have one owner: this file.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol

from botocore import exceptions as aws

from asyncgg.classify import ReplyVerdict, classify
from asyncgg.cleanup.rules import Api
from asyncgg.errors import AsyncggError
from asyncgg.formatting import sanitize
from asyncgg.models import ErrorResponse
from asyncgg.ratelimit import AdaptiveRate, TokenBucket
from asyncgg.retry_policy import RetryPolicy
from asyncgg.transport.responses import parse_retry_after

__all__ = ["RateLimitedOperation", "RegistryCallError", "RenewableCredentials"]

_MAX_PAUSE: Final = 60.0
_MAX_REFUSALS: Final = 3
"""Refusals before any answer after which an operation is not called any more: no permission, a wrong endpoint."""
_FAILURE_THRESHOLD: Final = 5
"""Calls in a row that got no answer in all their attempts, after which an operation is not called any more."""
_MAX_RENEWALS: Final = 2
"""Renewals of the credentials for one call."""


class RegistryCallError(Exception):
    """The call has no answer; the message says why, the code is the service's, empty where it gave none."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class RenewableCredentials(Protocol):
    """What renews the credentials that calls are signed with; `asyncgg.transport.credentials.CredentialSource` does."""

    generation: int

    def mark_rejected(self, generation: int) -> None:
        """The service did not accept the credentials of this generation."""
        ...

    async def renew(self) -> None:
        """Get others. Raises `CredentialsError`."""
        ...


class RateLimitedOperation:
    """Calls one operation, within its quota. `rate`: requests a second; `timeout`: seconds for a whole call."""

    def __init__(
        self,
        api: Api,
        rate: float,
        *,
        retry: RetryPolicy,
        credentials: RenewableCredentials | None,
        timeout: float = 60.0,
    ) -> None:
        self._api = api
        self._policy = AdaptiveRate(rate, documented=rate)
        self._bucket = TokenBucket(self._policy.rate, self._policy.burst)
        self._clock = asyncio.get_running_loop().time
        self._retry = retry
        self._credentials = credentials
        self._timeout = timeout
        self._has_succeeded = False
        self._refusals = self._consecutive_failures = 0
        self._circuit_open_reason = ""
        self.sent = 0
        """Requests sent."""
        self.throttled = 0
        """Requests refused for being too many."""

    async def call(self, send: Callable[[], Awaitable[Mapping[str, Any]]]) -> Mapping[str, Any]:
        """The answer to `send`, which is called again after what passes.

        Raises:
            NotAnsweredError: it was refused, or did not succeed in time.
            CredentialsError: the credentials are not accepted, and there are no others.
        """
        attempts = renewals = 0
        while True:
            if self._circuit_open_reason:
                raise RegistryCallError(self._circuit_open_reason)
            await self._bucket.acquire()
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
            retryable = outcome.verdict in _RETRYABLE
            if not retryable or self._retry.exhausted(attempts):
                self._record_failure(outcome, retryable=retryable)
                raise RegistryCallError(f"{self._api}: {outcome.message}", outcome.code)
            await asyncio.sleep(self._retry.delay(attempts, outcome.retry_after))

    async def _attempt(self, send: Callable[[], Awaitable[Mapping[str, Any]]]) -> Mapping[str, Any] | _Failure:
        started = self._clock()
        self.sent += 1
        try:
            async with asyncio.timeout(self._timeout):
                response = await send()
        except aws.ClientError as error:
            return self._handle_error(error, started)
        except AsyncggError:
            raise
        except Exception as error:  # noqa: BLE001 - botocore's parsers raise anything at an answer that is not AWS's
            return _Failure(ReplyVerdict.LOST, "", f"no readable answer ({sanitize(error) or type(error).__name__})")
        self._has_succeeded = True
        self._consecutive_failures = 0
        self._record_accepted(started)
        return response

    def _handle_error(self, error: aws.ClientError, started: float) -> _Failure:
        error_fields = error.response.get("Error", {})
        meta = error.response.get("ResponseMetadata", {})
        headers = {str(name).lower(): str(value) for name, value in meta.get("HTTPHeaders", {}).items()}
        code, status = str(error_fields.get("Code", "")), int(meta.get("HTTPStatusCode", 0))
        retry_after = parse_retry_after(headers, time.time())
        verdict = classify(
            ErrorResponse(status, code, str(error_fields.get("Message", "")), retry_after=retry_after), "", ()
        )
        message = sanitize(f"{code}: {error_fields.get('Message', '')}").rstrip(".")
        if verdict is ReplyVerdict.THROTTLED:
            self.throttled += 1
            self._policy.on_throttled(started, self._clock(), retry_after)
            if retry_after:
                self._bucket.pause_until(self._clock() + min(retry_after, _MAX_PAUSE))
            self._apply_rate()
        else:
            self._record_accepted(started)
        # Not the classification's word: there 404 and 403 speak of a core.
        if status == 404 and code == "ResourceNotFoundException":
            self._has_succeeded = True
        elif verdict not in _AUTH_ERRORS | _RETRYABLE:
            self._record_refusal(message, denied=status in {401, 403})
        return _Failure(verdict, code, message, retry_after)

    def _record_failure(self, outcome: _Failure, *, retryable: bool) -> None:
        """When a call has failed for good: with many in a row, the others would only wait for the same."""
        self._consecutive_failures = self._consecutive_failures + 1 if retryable else 0
        if self._consecutive_failures >= _FAILURE_THRESHOLD:
            self._circuit_open_reason = (
                f"{self._api} is not asked any more, {_FAILURE_THRESHOLD} calls in a row failed: {outcome.message}"
            )

    def _record_refusal(self, message: str, *, denied: bool) -> None:
        self._refusals += 1
        if not self._has_succeeded and self._refusals >= _MAX_REFUSALS:
            advice = f"allow iot:{self._api}, or leave the rule out" if denied else "is this the endpoint of AWS IoT?"
            self._circuit_open_reason = f"{self._api} is {'denied' if denied else 'refused'}: {message}; {advice}"

    def _record_accepted(self, started: float) -> None:
        self._policy.on_accepted(started, self._clock())
        self._apply_rate()

    def _apply_rate(self) -> None:
        if (self._policy.rate, self._policy.burst) != (self._bucket.rate, self._bucket.burst):
            self._bucket.set_rate(self._policy.rate, self._policy.burst)


_RETRYABLE: Final = frozenset(
    {ReplyVerdict.THROTTLED, ReplyVerdict.TRANSIENT, ReplyVerdict.LOST, ReplyVerdict.NOT_SENT}
)
_AUTH_ERRORS: Final = frozenset({ReplyVerdict.CREDENTIALS_EXPIRED, ReplyVerdict.CREDENTIALS_REJECTED})


class _Failure:
    """One request without an answer that could be used."""

    __slots__ = ("code", "message", "retry_after", "verdict")

    def __init__(self, verdict: ReplyVerdict, code: str, message: str, retry_after: float | None = None) -> None:
        self.verdict = verdict
        self.code = code
        self.message = message
        self.retry_after = retry_after
