"""The quotas of the AWS IoT operations that a decommission calls, and the time that they cost."""

# Defaults of Service Quotas for us-east-1, all adjustable [AWS General Reference, AWS IoT Core
# endpoints and quotas; a public export of the adjustable defaults]. Public lists disagree on some
# (`ListThingPrincipals` 10 or 20), so they are read from Service Quotas where that is permitted, and each
# can be set with --iot-quota.

from __future__ import annotations

from collections import Counter
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
        "GetThingConnectivityData": 10.0,  # assumed: no public list has it
        "UpdateCertificate": 10.0,
        "DetachThingPrincipal": 100.0,
        "DeleteThing": 100.0,
        "DescribeCACertificate": 10.0,
        "DetachPolicy": 15.0,
        "DeleteCertificate": 10.0,
    }
)
"""Requests per second of an account and Region."""
GET_CORE_DEVICE: Final = "GetCoreDevice"
"""The only operation of AWS IoT Greengrass; its quota is one of the settings."""
MAX_QUOTA: Final = 100_000.0
_MAX_RAISE: Final = 5.0
"""The highest multiple of a quota that is advised."""


def parse_quotas(entries: Iterable[str], applied: Mapping[str, float] = MappingProxyType({})) -> dict[str, float]:
    """The quotas: the defaults, replaced by the `applied` ones, and by those of `OPERATION=RATE` entries.

    Raises `UsageError`.
    """
    quotas = {**DEFAULT_QUOTAS, **applied}
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
    """Requests of a stage by operation, the operations that decide its time, and this time in seconds."""

    requests: Mapping[str, int]
    slowest: tuple[str, ...]
    seconds: float


def stage_cost(requests: Mapping[str, int], rates: Mapping[str, float]) -> StageCost:
    """The cost when every operation runs at its own rate, all at the same time."""
    seconds = {name: count / rates[name] for name, count in requests.items() if count}
    longest = max(seconds.values(), default=0.0)
    slowest = tuple(name for name in seconds if seconds[name] >= 0.99 * longest)
    return StageCost(requests, slowest, round(longest, 1))


@dataclass(frozen=True, slots=True)
class QuotaAdvice:
    """Quotas to raise, and the seconds of the stage before and after."""

    quotas: Mapping[str, float]
    """Requests per second by operation."""
    seconds_before: float
    seconds_after: float


def advise(cost: StageCost, rates: Mapping[str, float], share: float = 1.0) -> QuotaAdvice | None:
    """The quotas to raise until another operation decides the time, but to the fivefold at most; None for no requests.

    The quotas of the slowest operations must be raised together: the slowest one left decides. `rates`
    are this `share` of the quotas.
    """
    if not cost.slowest:
        return None
    before = cost.requests[cost.slowest[0]] / rates[cost.slowest[0]]
    others = (count / rates[name] for name, count in cost.requests.items() if name not in cost.slowest)
    after = max(before / _MAX_RAISE, *others, 0.0)
    quotas = {name: round(cost.requests[name] / after / share, 1) for name in cost.slowest}
    return QuotaAdvice(quotas, cost.seconds, round(after, 1))


def plan_requests(devices: int, certificates: int) -> dict[str, int]:
    """The requests of the questions, for lists of one page."""
    return {
        "DescribeThing": devices,
        GET_CORE_DEVICE: devices,
        "ListThingPrincipals": devices,
        "ListThingGroupsForThing": devices,
        "SearchIndex": devices,
        "GetThingConnectivityData": devices,
        "ListAttachedPolicies": certificates,
        "ListPrincipalThings": certificates,
        "DescribeCertificate": certificates,
    }


def quarantine_requests(devices: int, certificates: int) -> dict[str, int]:
    """The requests of the quarantine after its questions, without those to Greengrass."""
    return {
        "DescribeThing": devices,
        "ListPrincipalThings": certificates,
        "UpdateCertificate": certificates,
        "DescribeCertificate": certificates,
    }


def delete_requests(devices: int, certificates: int) -> dict[str, int]:
    """The requests of the deletion with its questions, if certificates are kept."""
    requests = Counter(plan_requests(devices, certificates))
    requests.update(
        {
            "DescribeThing": 3 * devices,
            "ListThingPrincipals": 2 * devices,
            "DescribeCertificate": certificates,
            "DetachThingPrincipal": certificates,
            "DeleteThing": devices,
        }
    )
    return dict(requests)
