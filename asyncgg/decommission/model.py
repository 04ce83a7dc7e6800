"""What is known about devices and certificates, and what was done to them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Stage(StrEnum):
    """The stages of a decommission; journals and JSON contain the values."""

    QUARANTINE = "quarantine"
    RELEASE = "release"
    DELETE = "delete"


class RefusalReason(StrEnum):
    """Why a device is left unchanged; the values are keys in JSON."""

    NOT_FOUND = "thing-not-found"
    UNANSWERED = "unanswered"
    """A question has no full answer: denied, failed, or half a list."""
    CORE_DEVICE = "core-device"
    PROTECTED = "protected"
    CONNECTED = "connected-recently"
    CONNECTIVITY = "connectivity-unknown"
    """The fleet index is off, does not have the thing, or has no connectivity of it."""
    PRINCIPAL = "other-principal"
    """A principal of the thing is not a certificate, an Amazon Cognito identity for example."""
    SHARED = "shared-certificate"
    CLAIM = "claim-certificate"
    TRANSFER = "pending-transfer"
    FOREIGN = "foreign-certificate"
    STATUS = "certificate-status"
    """Neither ACTIVE nor INACTIVE, so that the status cannot be restored."""
    RECREATED = "recreated"
    """The thing has another id than in the journal."""
    CHANGED = "changed-since"
    """A certificate is not as this decommission left it."""
    ASSOCIATED = "still-associated"
    AUTO_REGISTRATION = "auto-registration"
    """The CA of a certificate would register it again."""


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """A certificate as AWS IoT describes it; times are Unix times."""

    id: str
    arn: str
    status: str
    owner: str
    """The account that owns the certificate."""
    pem: str
    ca_id: str
    modified_at: float
    things: tuple[str, ...]
    """Every thing that the certificate is attached to."""
    policies: tuple[str, ...]
    is_claim: bool = False
    """A policy allows fleet provisioning by claim."""


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """A thing, and what decides whether it may be decommissioned."""

    name: str
    exists: bool = True
    thing_id: str = ""
    """Another thing under the same name has another id."""
    arn: str = ""
    version: int = 0
    thing_type: str = ""
    attributes: dict[str, str] = field(default_factory=dict)
    groups: tuple[str, ...] = ()
    certificates: tuple[str, ...] = ()
    """The ids of its certificates."""
    other_principals: tuple[str, ...] = ()
    cores: tuple[str, ...] = ()
    """The core devices that hold it; only a plan asks."""
    is_core: bool = False
    connected_at: float | None = None
    """When the connection to AWS IoT Core last changed; infinity while it is connected."""
    connectivity_known: bool = True
    unanswered: str = ""
    """The question without an answer, and why."""


class StepState(StrEnum):
    """The state of a recorded write."""

    INTENT = "intent"
    """Possibly sent: what became of it is read from AWS."""
    DONE = "done"


@dataclass(frozen=True, slots=True)
class DeviceStep:
    """A write: what it does, to which certificate or thing, and what became of it."""

    stage: str
    subject: str
    action: str
    """The API operation and, where a thing is detached, the certificate."""
    state: StepState
    code: str = ""
    message: str = ""
    request_id: str = ""
    detail: str = ""
    """What is needed to recognise the result later: the time of last change of a certificate."""

    @property
    def is_done(self) -> bool:
        """Whether it has an outcome."""
        return self.state is StepState.DONE


class Steps(dict[tuple[str, str, str], DeviceStep]):
    """Recorded writes by stage, subject and action."""

    def is_done(self, stage: str, subject: str, action: str) -> bool:
        """Whether a write has an outcome."""
        step = self.get((stage, subject, action))
        return step is not None and step.is_done
