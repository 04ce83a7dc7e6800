"""Sends a notification to all targets at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from asyncgg.notify.message import Message
from asyncgg.notify.sns import publish_to_sns
from asyncgg.notify.targets import NotificationTarget, Webhook
from asyncgg.notify.webhook import DeliveryError, post_webhook
from asyncgg.transport import ConnectionConfig

TOTAL_SECONDS: Final = 30.0
"""Timeout for all attempts of a target, seconds."""


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
                await post_webhook(target, message, attempt_errors)
            else:
                await publish_to_sns(target, message, connection)
    except DeliveryError as error:
        return str(error)
    except TimeoutError:
        last_error = f"; last error: {attempt_errors[-1]}" if attempt_errors else ""
        return f"timed out after {timeout:g} s{last_error}"
    except Exception as error:  # noqa: BLE001 - must not fail the run; its message may contain a secret
        return f"internal error ({type(error).__name__}); please report it"
    return ""
