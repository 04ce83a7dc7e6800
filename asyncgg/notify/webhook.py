"""Posts a notification to a webhook and retries while that can help."""

from __future__ import annotations

import asyncio
from typing import Final

import aiohttp
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt

from asyncgg.notify.message import Message
from asyncgg.notify.targets import Webhook
from asyncgg.retry_policy import equal_jitter
from asyncgg.transport.responses import parse_retry_after

_ATTEMPTS: Final = 5
_ATTEMPT_SECONDS: Final = 10.0
_BACKOFF: Final = equal_jitter(0.5, 8.0)
_RETRYABLE_STATUSES: Final = frozenset({408, 425, 429})


class DeliveryError(Exception):
    """The target did not accept the message; the text contains no secret."""


class RetryableDeliveryError(DeliveryError):
    """Another attempt can help."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


async def post_webhook(target: Webhook, message: Message, attempt_errors: list[str]) -> None:
    """Post `message`; `attempt_errors` gets the error of each attempt. Raises `DeliveryError`."""
    body = message.to_json().encode()
    retrying = AsyncRetrying(
        retry=retry_if_exception_type(RetryableDeliveryError),
        stop=stop_after_attempt(_ATTEMPTS),
        wait=_wait,
        sleep=asyncio.sleep,
        reraise=True,
    )
    async with aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=_ATTEMPT_SECONDS), trust_env=True, cookie_jar=aiohttp.DummyCookieJar()
    ) as session:
        async for attempt in retrying:
            with attempt:
                try:
                    await _post(session, target, body)
                except DeliveryError as error:
                    attempt_errors.append(str(error))
                    raise


async def _post(session: aiohttp.ClientSession, target: Webhook, body: bytes) -> None:
    # A redirect is not followed, because the headers are secrets.
    headers = {"Content-Type": "application/json", "User-Agent": "asyncgg", **target.headers}
    try:
        async with session.post(target.url, data=body, headers=headers, allow_redirects=False) as response:
            status = response.status
            response_headers = {name.lower(): value for name, value in response.headers.items()}
    except aiohttp.ClientSSLError:
        raise DeliveryError("the TLS certificate is not trusted") from None
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        # Messages of aiohttp can contain the URL.
        raise RetryableDeliveryError(f"connection failed ({_kind(error)})") from None
    if 200 <= status < 300:
        return
    if status >= 500 or status in _RETRYABLE_STATUSES:
        raise RetryableDeliveryError(f"HTTP {status}", parse_retry_after(response_headers, 0.0))
    raise DeliveryError(f"HTTP {status}")


def _kind(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no response within {_ATTEMPT_SECONDS:g} s"
    reason = getattr(error, "strerror", None)
    return str(reason) if reason else type(error).__name__


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    retry_after = error.retry_after if isinstance(error, RetryableDeliveryError) else None
    return _BACKOFF(state) if retry_after is None else retry_after
