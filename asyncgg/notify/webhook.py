"""Rule: the telling of a webhook lives here: one POST of JSON, tried again while that may help.

TLS is verified as for AWS itself, proxies are the environment's, and no redirect is followed: the headers are secrets.
"""

from __future__ import annotations

import asyncio
from typing import Final

import aiohttp
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt

from asyncgg.backoff import equal_jitter
from asyncgg.notify.message import Message
from asyncgg.notify.targets import Webhook
from asyncgg.transport.answer import read_retry_after

__all__ = ["NotToldError", "tell_webhook"]

_ATTEMPTS: Final = 5
_ATTEMPT_SECONDS: Final = 10.0
_WAIT: Final = equal_jitter(0.5, 8.0)
_PASSING: Final = frozenset({408, 425, 429})


class NotToldError(Exception):
    """The target did not take the message; the text says why, without a secret."""


class _PassingError(NotToldError):
    """The same, and another try may help."""

    def __init__(self, words: str, retry_after: float | None = None) -> None:
        super().__init__(words)
        self.retry_after = retry_after


async def tell_webhook(target: Webhook, message: Message, said: list[str]) -> None:
    """Post `message`; what each try came to is added to `said`. Raises `NotToldError`."""
    body = message.body().encode()
    trying = AsyncRetrying(
        retry=retry_if_exception_type(_PassingError),
        stop=stop_after_attempt(_ATTEMPTS),
        wait=_wait,
        sleep=asyncio.sleep,
        reraise=True,
    )
    async with aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=_ATTEMPT_SECONDS), trust_env=True, cookie_jar=aiohttp.DummyCookieJar()
    ) as session:
        async for attempt in trying:
            with attempt:
                try:
                    await _post(session, target, body)
                except NotToldError as error:
                    said.append(str(error))
                    raise


async def _post(session: aiohttp.ClientSession, target: Webhook, body: bytes) -> None:
    headers = {"Content-Type": "application/json", "User-Agent": "asyncgg", **target.headers}
    try:
        async with session.post(target.url, data=body, headers=headers, allow_redirects=False) as answer:
            status = answer.status
            told = {name.lower(): value for name, value in answer.headers.items()}
    except aiohttp.ClientSSLError:
        raise NotToldError("its TLS certificate is not trusted") from None
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        # The kind only: aiohttp's words may quote the URL.
        raise _PassingError(f"it cannot be reached ({_kind(error)})") from None
    if 200 <= status < 300:
        return
    if status >= 500 or status in _PASSING:
        raise _PassingError(f"it answers HTTP {status}", read_retry_after(told, 0.0))
    raise NotToldError(f"it answers HTTP {status}")


def _kind(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {_ATTEMPT_SECONDS:g} s"
    reason = getattr(error, "strerror", None)
    return str(reason) if reason else type(error).__name__


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after if isinstance(error, _PassingError) else None
    return _WAIT(state) if asked is None else asked
