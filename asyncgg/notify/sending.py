"""Rule: all targets are told at the same time, within one bound, and no failure leaves here but as a line of text."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from asyncgg.notify.message import Message
from asyncgg.notify.sns import tell_topic
from asyncgg.notify.targets import Target, Webhook
from asyncgg.notify.webhook import NotToldError, tell_webhook
from asyncgg.transport import Connection

__all__ = ["TOTAL_SECONDS", "notify"]

TOTAL_SECONDS: Final = 30.0
"""After so many seconds whoever was not told is given up."""


async def notify(
    targets: Sequence[Target],
    message: Message,
    *,
    connection: Connection | None = None,
    seconds: float = TOTAL_SECONDS,
) -> list[str]:
    """Tell all `targets`; what went wrong, a line for each that was not told. Raises nothing but cancellation.

    `connection` says whose credentials SNS is asked with.
    """
    told = await asyncio.gather(*(_tell(target, message, connection or Connection(), seconds) for target in targets))
    return [f"{target.shown} was not told: {fault}" for target, fault in zip(targets, told, strict=True) if fault]


async def _tell(target: Target, message: Message, connection: Connection, seconds: float) -> str:
    """What went wrong; empty when nothing did."""
    said: list[str] = []
    try:
        async with asyncio.timeout(seconds):
            if isinstance(target, Webhook):
                await tell_webhook(target, message, said)
            else:
                await tell_topic(target, message, connection)
    except NotToldError as error:
        return str(error)
    except TimeoutError:
        last = f"; the last try: {said[-1]}" if said else ""
        return f"gave up after {seconds:g} s{last}"
    except Exception as error:  # noqa: BLE001 - whatever it is, it must not fail the run; its words may hold a secret
        return f"a fault of asyncgg ({type(error).__name__})"
    return ""
