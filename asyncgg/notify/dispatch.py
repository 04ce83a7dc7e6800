"""Rule: all targets are told at the same time, within one bound, and no failure leaves here but as a line of text."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from asyncgg.notify.message import Message
from asyncgg.notify.sns import publish_to_sns
from asyncgg.notify.targets import NotificationTarget, Webhook
from asyncgg.notify.webhook import DeliveryError, post_webhook
from asyncgg.transport import ConnectionConfig

__all__ = ["TOTAL_SECONDS", "notify"]

TOTAL_SECONDS: Final = 30.0
"""After so many seconds whoever was not told is given up."""


async def notify(
    targets: Sequence[NotificationTarget],
    message: Message,
    *,
    connection: ConnectionConfig | None = None,
    timeout: float = TOTAL_SECONDS,
) -> list[str]:
    """Tell all `targets`; what went wrong, a line for each that was not told. Raises nothing but cancellation.

    `connection` says whose credentials SNS is asked with.
    """
    errors = await asyncio.gather(
        *(_deliver(target, message, connection or ConnectionConfig(), timeout) for target in targets)
    )
    return [
        f"{target.display_name} was not told: {error}" for target, error in zip(targets, errors, strict=True) if error
    ]


async def _deliver(target: NotificationTarget, message: Message, connection: ConnectionConfig, timeout: float) -> str:
    """What went wrong; empty when nothing did."""
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
        last_error = f"; the last try: {attempt_errors[-1]}" if attempt_errors else ""
        return f"gave up after {timeout:g} s{last_error}"
    except Exception as error:  # noqa: BLE001 - whatever it is, it must not fail the run; its words may hold a secret
        return f"a fault of asyncgg ({type(error).__name__})"
    return ""
