"""Delivers a notification to its targets, all at the same time, and retries while that can help."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import aiohttp
from botocore import exceptions as aws
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt

from asyncgg.errors import AsyncggError
from asyncgg.formatting import sanitize
from asyncgg.notify.message import Message, NotificationEvent
from asyncgg.notify.targets import AppriseTarget, NotificationTarget, SnsTopic, Webhook
from asyncgg.retry_policy import equal_jitter
from asyncgg.transport.client import open_service_client
from asyncgg.transport.config import ConnectionConfig, other_service_endpoint
from asyncgg.transport.responses import parse_retry_after
from asyncgg.transport.session import describe_client_error

TOTAL_SECONDS: Final = 30.0
"""Timeout for all attempts of a target, seconds."""
_ATTEMPTS: Final = 5
_SNS_ATTEMPTS: Final = 4
_ATTEMPT_SECONDS: Final = 10.0
_BACKOFF: Final = equal_jitter(0.5, 8.0)
_RETRYABLE_STATUSES: Final = frozenset({408, 425, 429})
_MAX_SUBJECT_LENGTH: Final = 100
"""Maximum length of a subject, which must be one line of ASCII [SNS API reference, Publish]."""


class DeliveryError(Exception):
    """The target did not accept the message; the text contains no secret."""


class RetryableDeliveryError(DeliveryError):
    """Another attempt can help."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


async def notify(
    targets: Sequence[NotificationTarget],
    message: Message,
    *,
    connection: ConnectionConfig | None = None,
    timeout: float = TOTAL_SECONDS,
) -> list[str]:
    """Notify all `targets` and return one line per failure; raises only `asyncio.CancelledError`.

    `timeout` is in seconds per target; `connection` defines the credentials for SNS.
    """
    errors = await asyncio.gather(
        *(_deliver(target, message, connection or ConnectionConfig(), timeout) for target in targets)
    )
    return [
        f"Notification to {target.display_name} failed: {error}"
        for target, error in zip(targets, errors, strict=True)
        if error
    ]


async def _deliver(target: NotificationTarget, message: Message, connection: ConnectionConfig, timeout: float) -> str:
    """Notify `target` and return the error, empty on success."""
    attempt_errors: list[str] = []
    try:
        async with asyncio.timeout(timeout):
            if isinstance(target, Webhook):
                await _post_webhook(target, message, attempt_errors)
            elif isinstance(target, AppriseTarget):
                await _retry(lambda: _send_with_apprise(target, message), attempt_errors)
            else:
                await _publish_to_sns(target, message, connection)
    except DeliveryError as error:
        return str(error)
    except TimeoutError:
        last_error = f"; last error: {attempt_errors[-1]}" if attempt_errors else ""
        return f"timed out after {timeout:g} s{last_error}"
    except Exception as error:  # noqa: BLE001 - must not fail the run; its message may contain a secret
        return f"internal error ({type(error).__name__}); please report it"
    return ""


# --- webhooks ---


async def _retry(attempt: Callable[[], Awaitable[None]], attempt_errors: list[str]) -> None:
    """Try until it succeeds; `attempt_errors` gets the error of each attempt. Raises `DeliveryError`."""
    retrying = AsyncRetrying(
        retry=retry_if_exception_type(RetryableDeliveryError),
        stop=stop_after_attempt(_ATTEMPTS),
        wait=_wait,
        sleep=asyncio.sleep,
        reraise=True,
    )
    async for state in retrying:
        with state:
            try:
                await attempt()
            except DeliveryError as error:
                attempt_errors.append(str(error))
                raise


async def _post_webhook(target: Webhook, message: Message, attempt_errors: list[str]) -> None:
    """Post `message`; as `_retry`."""
    body = message.to_json().encode()
    async with aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=_ATTEMPT_SECONDS), trust_env=True, cookie_jar=aiohttp.DummyCookieJar()
    ) as session:
        await _retry(lambda: _post(session, target, body), attempt_errors)


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


# --- other services, with Apprise ---


async def _send_with_apprise(target: AppriseTarget, message: Message) -> None:
    """Send the text of `message` once. Raises `DeliveryError`."""
    import apprise  # an extra; parse_target has checked it

    logging.getLogger("apprise").setLevel(logging.CRITICAL)  # its messages can contain the URL
    service = apprise.Apprise()
    service.add(target.url)
    kind = apprise.NotifyType.SUCCESS if message.event is NotificationEvent.END else apprise.NotifyType.FAILURE
    if not await service.async_notify(body=message.text, title="asyncgg", notify_type=kind):
        raise RetryableDeliveryError("the service did not accept the message")


# --- SNS, in the Region of the topic ---


async def _publish_to_sns(target: SnsTopic, message: Message, connection: ConnectionConfig) -> None:
    """Publish `message` with the credentials of `connection`'s profile. Raises `DeliveryError`."""
    try:
        endpoint = other_service_endpoint(connection, "sns")
        body = message.to_json()
        subject = " ".join(message.text.encode("ascii", "replace").decode().split())[:_MAX_SUBJECT_LENGTH]
        request = {"TopicArn": target.arn, "Message": body, "Subject": subject}
        if target.arn.endswith(".fifo"):
            digest = hashlib.sha256(body.encode()).hexdigest()
            request |= {"MessageGroupId": "asyncgg", "MessageDeduplicationId": digest}
        async with open_service_client(
            "sns", connection, target.region, endpoint, attempts=_SNS_ATTEMPTS, read_timeout=_ATTEMPT_SECONDS
        ) as (client, _):
            await client.publish(**request)
    except aws.ClientError as error:
        raise DeliveryError(describe_client_error("SNS", error)) from None
    except (aws.BotoCoreError, AsyncggError) as error:
        raise DeliveryError(sanitize(error)) from None
