"""The quotas of the AWS IoT operations that a decommission calls, and the time that they cost."""

# Defaults of Service Quotas for us-east-1, all adjustable [AWS General Reference, AWS IoT Core
# endpoints and quotas; a public export of the adjustable defaults]. Public lists disagree on some
# (`ListThingPrincipals` 10 or 20), so each can be set with --iot-quota.

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from asyncgg.errors import UsageError

DEFAULT_QUOTAS: Final[Mapping[str, float]] = MappingProxyType(
    {
        "DescribeThing": 350.0,
        "ListThings": 10.0,
        "ListThingPrincipals": 20.0,
        "ListThingGroupsForThing": 100.0,
        "ListPrincipalThings": 10.0,
        "DescribeCertificate": 10.0,
        "ListAttachedPolicies": 15.0,
        "GetPolicy": 10.0,
        "SearchIndex": 15.0,
        "UpdateCertificate": 10.0,
        "DetachThingPrincipal": 100.0,
        "DeleteThing": 100.0,
        "DescribeCACertificate": 10.0,
        "DetachPolicy": 15.0,
        "DeleteCertificate": 10.0,
    }
)
"""Requests per second of an account and Region."""

MAX_QUOTA: Final = 100_000.0


def parse_quotas(entries: Iterable[str]) -> dict[str, float]:
    """The quotas with those of `OPERATION=RATE` entries. Raises `UsageError`."""
    quotas = dict(DEFAULT_QUOTAS)
    for entry in entries:
        name, _, text = entry.partition("=")
        try:
            rate = float(text)
        except ValueError:
            rate = 0.0
        if name not in quotas or not 0 < rate <= MAX_QUOTA:
            raise UsageError(
                f"--iot-quota {entry!r}: expected OPERATION=RATE, a rate above 0 and one of {', '.join(quotas)}"
            )
        quotas[name] = rate
    return quotas


@dataclass(frozen=True, slots=True)
class StageCost:
    """Requests of a stage by operation, and the operation that decides its time."""

    requests: Mapping[str, int]
    slowest: str
    seconds: float


def stage_cost(requests: Mapping[str, int], quotas: Mapping[str, float]) -> StageCost:
    """The cost when every operation runs at its own quota, all at the same time."""
    slowest = max(requests, key=lambda name: requests[name] / quotas[name])
    return StageCost(requests, slowest, requests[slowest] / quotas[slowest])


def quarantine_requests(devices: int, certificates: int) -> dict[str, int]:
    """The requests of the questions and of the quarantine, for lists of one page."""
    return {
        "DescribeThing": devices,
        "ListThingPrincipals": devices,
        "ListThingGroupsForThing": devices,
        "SearchIndex": devices,
        "ListAttachedPolicies": certificates,
        "ListPrincipalThings": 2 * certificates,
        "DescribeCertificate": 2 * certificates,
        "UpdateCertificate": certificates,
    }
