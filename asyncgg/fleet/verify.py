"""Verifies all lanes of a campaign."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from asyncgg.errors import AsyncggError
from asyncgg.fleet.campaign import CampaignLane
from asyncgg.fleet.results import first_exit_code
from asyncgg.runs import Verification, verify
from asyncgg.runs.verify_report import format_verification, verification_to_dict
from asyncgg.sharing import sharing

SCHEMA: Final = "asyncgg.campaign-verify/1"

LaneVerification = tuple[str, Verification | AsyncggError]
"""The name of a lane, and its verification or the reason why it has none."""


async def verify_lanes(
    lanes: Sequence[CampaignLane], overrides: Mapping[str, Any], wait: float
) -> list[LaneVerification]:
    """Verify the lanes side by side, as `asyncgg.verify`; an error ends its own lane only."""

    async def verify_lane(lane: CampaignLane) -> LaneVerification:
        try:
            return lane.name, await verify(lane.journal, wait=wait, **overrides)
        except AsyncggError as error:
            return lane.name, error

    with sharing():
        return list(await asyncio.gather(*map(verify_lane, lanes)))


def verifications_to_dict(results: Sequence[LaneVerification]) -> dict[str, Any]:
    """All verifications as `asyncgg.campaign-verify/1`."""
    targets: list[dict[str, Any]] = [
        {"name": name, "exit": result.exit_code}
        | ({"reason": str(result)} if isinstance(result, AsyncggError) else verification_to_dict(result))
        for name, result in results
    ]
    return {"schema": SCHEMA, "exit": first_exit_code(target["exit"] for target in targets), "targets": targets}


def format_verifications(results: Sequence[LaneVerification]) -> list[str]:
    """All verifications as text, with the first lines of each."""
    lines = []
    for name, result in results:
        text = [f"error: {result}"] if isinstance(result, AsyncggError) else format_verification(result)[:2]
        lines += [f"{name}: {text[0]}", *text[1:]]
    return lines
