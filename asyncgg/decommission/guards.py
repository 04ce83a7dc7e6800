"""Decides which devices are refused, and why."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final

from asyncgg.decommission.model import CertificateFacts, DeviceFacts, RefusalReason

_PROTECTED_VALUE: Final = "never"
_PROTECTED_KEY: Final = "decommission"
"""The attribute `decommission=never` protects a thing."""
_RESTORABLE: Final = frozenset({"ACTIVE", "INACTIVE"})
_PENDING_TRANSFER: Final = "PENDING_TRANSFER"
"""[service model: CertificateStatus]"""

_CLAIM_TOPICS: Final = ("$aws/provisioning-templates/", "$aws/certificates/create")
"""Topics of fleet provisioning by claim [AWS IoT Core developer guide, Provisioning by claim]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardOptions:
    """What the operator allows."""

    account: str = ""
    """The account of the credentials; empty if it is unknown."""
    now: float = 0.0
    """Unix time."""
    connected_within: float = 86_400.0
    """Seconds; a device that was connected more recently is refused. 0: connectivity is ignored."""
    allow_unknown_connectivity: bool = False
    """Whether a device of which the fleet index has no connectivity is allowed."""
    allow_shared: frozenset[str] = frozenset()
    """Ids of certificates that other things may use, too."""
    is_protected: Callable[[str], bool] = lambda name: False
    """Whether a name is in the protect list."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a device is refused."""

    reason: RefusalReason
    detail: str = ""


def refuse(
    devices: Mapping[str, DeviceFacts], certificates: Mapping[str, CertificateFacts], options: GuardOptions
) -> dict[str, Refusal]:
    """The refused devices of `devices`.

    A certificate counts as shared if any of its things is not in `devices` or is refused itself. So
    a refusal can lead to others, until none is added.
    """
    refused = {
        name: refusal for name, facts in devices.items() if (refusal := _refuse_device(facts, certificates, options))
    }
    while True:
        allowed = devices.keys() - refused.keys()
        added = {
            name: Refusal(RefusalReason.SHARED, f"{certificate}: {', '.join(others[:3])}")
            for name in sorted(allowed)
            for certificate in devices[name].certificates
            if (others := _others(certificates[certificate], allowed, options))
        }
        if not added:
            return refused
        refused |= added


def _others(facts: CertificateFacts, allowed: Collection[str], options: GuardOptions) -> list[str]:
    return [] if facts.id in options.allow_shared else sorted(set(facts.things) - set(allowed))


def _refuse_device(
    facts: DeviceFacts, certificates: Mapping[str, CertificateFacts], options: GuardOptions
) -> Refusal | None:
    if facts.unanswered:
        return Refusal(RefusalReason.UNANSWERED, facts.unanswered)
    if not facts.exists:
        return Refusal(RefusalReason.NOT_FOUND)
    if facts.is_core:
        return Refusal(RefusalReason.CORE_DEVICE)
    if options.is_protected(facts.name) or facts.attributes.get(_PROTECTED_KEY) == _PROTECTED_VALUE:
        return Refusal(RefusalReason.PROTECTED)
    earliest = options.now - options.connected_within
    if options.connected_within and facts.connected_at is not None and facts.connected_at > earliest:
        return Refusal(RefusalReason.CONNECTED)
    if options.connected_within and not facts.connectivity_known and not options.allow_unknown_connectivity:
        return Refusal(RefusalReason.CONNECTIVITY, "not in the fleet index, or without connectivity")
    if facts.other_principals:
        return Refusal(RefusalReason.PRINCIPAL, facts.other_principals[0])
    for id_ in facts.certificates:
        if id_ not in certificates:
            return Refusal(RefusalReason.UNANSWERED, f"certificate {id_}")
        account = options.account or account_of(facts.arn)
        if reason := certificate_problem(certificates[id_], facts.name, account):
            return Refusal(reason, id_)
    return None


def account_of(arn: str) -> str:
    """The account in the ARN of a thing, which belongs to the account of the caller; empty if it has none."""
    parts = arn.split(":")
    return parts[4] if len(parts) > 4 else ""


def certificate_problem(facts: CertificateFacts, thing: str, account: str) -> RefusalReason | None:
    """Why this certificate of `thing` must not be changed; None if it may."""
    if facts.status == _PENDING_TRANSFER:
        return RefusalReason.TRANSFER
    if facts.owner and account and facts.owner != account:
        return RefusalReason.FOREIGN
    if facts.status not in _RESTORABLE:
        return RefusalReason.STATUS
    if facts.is_claim:
        return RefusalReason.CLAIM
    if thing not in facts.things:
        return RefusalReason.CHANGED  # the two lists contradict each other
    return None


def allows_claim(document: str) -> bool:
    """Whether a policy document names topics of fleet provisioning by claim."""
    try:
        text = json.dumps(json.loads(document))
    except (ValueError, RecursionError):
        text = document
    return any(topic in text for topic in _CLAIM_TOPICS)
