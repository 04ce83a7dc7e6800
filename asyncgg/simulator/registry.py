"""The state of simulated AWS IoT: things, certificates, policies, shadows and what is attached."""

# [B]: botocore service model iot/2015-05-28, documentation of the operation. [DG]: AWS IoT Core
# developer guide. Where AWS documents nothing, the comment says "assumed".

from __future__ import annotations

import copy
import hashlib
import json
import random
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Final

from asyncgg.errors import UsageError
from asyncgg.simulator.wire import ApiError

REGION: Final = "us-east-1"
"""Region in ARNs; requests for every Region get this one."""
_POLICY: Final = (
    '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["iot:Connect","greengrass:Discover"],'
    '"Resource":"*"}]}'
)


@dataclass(slots=True)
class ThingRecord:
    """A thing; `principals` has ids of certificates, or of Amazon Cognito identities."""

    thing_id: str = ""
    version: int = 1
    type: str = ""
    attributes: dict[str, str] = field(default_factory=dict)
    groups: list[str] = field(default_factory=list)
    billing_group: str = ""
    principals: list[str] = field(default_factory=list)
    indexed: bool = True
    """Whether the fleet index has the thing."""
    connectivity: dict[str, Any] | None = field(default_factory=lambda: {"connected": False})
    """`connected` and, in milliseconds, `timestamp`, as in the fleet index; None: not indexed."""


@dataclass(slots=True)
class CertificateRecord:
    """A certificate; `owner` is empty for the account of the simulator."""

    status: str = "ACTIVE"
    owner: str = ""
    ca_id: str = ""
    policies: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Registry:
    """Things and certificates of one account. Times are in seconds since 1970."""

    account: str
    detach_delay: float = 0.0
    """Seconds until a detach is visible; DeleteThing is refused for as long again."""
    rng: random.Random = field(default_factory=lambda: random.Random(0))
    things: dict[str, ThingRecord] = field(default_factory=dict)
    certificates: dict[str, CertificateRecord] = field(default_factory=dict)
    policies: dict[str, str] = field(default_factory=dict)
    """Documents by name."""
    cas: dict[str, str] = field(default_factory=dict)
    """CA certificates by id: ENABLE or DISABLE for auto-registration."""
    shadows: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By thing and name of the shadow, which is empty for the classic one: its document."""
    index: bool = True
    """Whether the fleet index is on."""
    modified: dict[str, float] = field(default_factory=dict)
    """When certificates were changed."""
    _detached: dict[tuple[str, str], float] = field(default_factory=dict)
    _holders: dict[str, dict[str, None]] = field(default_factory=dict)
    _shadow_versions: dict[tuple[str, str], int] = field(default_factory=dict)

    @classmethod
    def of_fleet(cls, fleet: Mapping[str, Mapping[str, float]], account: str, detach_delay: float) -> Registry:
        """Things for all cores and client devices, with a certificate each and two policies."""
        registry = cls(account, detach_delay)
        registry.policies = {"core-policy": _POLICY, "device-policy": _POLICY}
        names = dict.fromkeys(name for devices in fleet.values() for name in devices)
        for name in [*fleet, *(name for name in names if name not in fleet)]:
            certificate = certificate_id_of(name)
            policy = "core-policy" if name in fleet else "device-policy"
            registry.certificates[certificate] = CertificateRecord(policies=[policy])
            registry.things[name] = ThingRecord(registry._new_id(), principals=[certificate])
            if name in fleet:  # client devices connect to their core, not to AWS IoT Core
                registry.things[name].connectivity = {"connected": True}
            registry._holders[certificate] = {name: None}
        return registry

    # --- state ---

    def to_dict(self) -> dict[str, Any]:
        """The state as JSON; the same state gives the same JSON."""
        return {
            "things": {name: asdict(thing) for name, thing in sorted(self.things.items())},
            "certificates": {id_: asdict(record) for id_, record in sorted(self.certificates.items())},
            "policies": dict(sorted(self.policies.items())),
            "cas": dict(sorted(self.cas.items())),
            "shadows": dict(sorted(self.shadows.items())),
            "index": self.index,
        }

    def patch(self, document: Mapping[str, Any]) -> None:
        """Change the state: members replace those in `to_dict`, null removes. Raises `UsageError`."""
        records: dict[str, tuple[dict[str, Any], type[Any] | None]] = {
            "things": (self.things, ThingRecord),
            "certificates": (self.certificates, CertificateRecord),
            "policies": (self.policies, None),
            "cas": (self.cas, None),
            "shadows": (self.shadows, None),
        }
        for key, entries in document.items():
            if key == "index":
                self.index = bool(entries)
            elif key not in records or not isinstance(entries, dict):
                raise UsageError(f"{key}: expected an object under one of: {', '.join(records)}")
            else:
                _merge(key, *records[key], entries)
        for thing in self.things.values():
            thing.thing_id = thing.thing_id or self._new_id()
        self._holders.clear()
        for name, thing in self.things.items():
            for principal in thing.principals:
                self._holders.setdefault(principal, {})[name] = None

    def arn(self, kind: str, name: str) -> str:
        """The ARN of a resource."""
        return f"arn:aws:iot:{REGION}:{self.account}:{kind}/{name}"

    def principal_arn(self, principal: str) -> str:
        """The ARN of a certificate; another principal is its id."""
        return self.arn("cert", principal) if principal in self.certificates else principal

    # --- questions ---

    def thing(self, name: str) -> ThingRecord:
        """A thing. Raises `ApiError` (404)."""
        if name not in self.things:
            raise not_found(f"Thing {name} not found")
        return self.things[name]

    def certificate(self, id_: str) -> CertificateRecord:
        """A certificate. Raises `ApiError` (404)."""
        if id_ not in self.certificates:
            raise not_found(f"Certificate {id_} not found")
        return self.certificates[id_]

    def check_principal(self, principal: str) -> None:
        """Raise `ApiError` unless a principal is a certificate that exists or an Amazon Cognito identity."""
        if not principal:
            raise ApiError(400, "InvalidRequestException", "The principal is missing")
        if ":" not in principal:
            self.certificate(principal)

    def policy(self, name: str) -> str:
        """The document of a policy. Raises `ApiError` (404)."""
        if name not in self.policies:
            raise not_found(f"Policy {name} not found")
        return self.policies[name]

    def principals(self, thing: str, now: float) -> list[str]:
        """The principals that a list shows: a detach is not visible at once.

        "This call is asynchronous. It might take several seconds for the detachment to propagate."
        [B DetachThingPrincipal]
        """
        return sorted({*self.thing(thing).principals, *self._late(thing, self.detach_delay, now)})

    def holders(self, principal: str, now: float) -> list[str]:
        """The things that a list shows for a principal; several may share one.

        The default attachment is NON_EXCLUSIVE_THING [B AttachThingPrincipal].
        """
        late = {
            thing
            for (thing, detached), at in self._detached.items()
            if detached == principal and now < at + self.detach_delay and thing in self.things
        }
        return sorted({*self._holders.get(principal, {}), *late})

    # --- changes ---

    def create_thing(self, name: str, type_: str, attributes: Mapping[str, str], billing_group: str) -> ThingRecord:
        """Create a thing with a new id. Raises `ApiError` (409) if another one has the name.

        The id of a thing that is created again is a new one (assumed; observed in moto).
        """
        existing = self.things.get(name)
        new = ThingRecord("", type=type_, attributes=dict(attributes), billing_group=billing_group)
        if existing is not None:  # [B CreateThing: the same configuration again is no error]
            if (existing.type, existing.attributes, existing.billing_group) != (type_, new.attributes, billing_group):
                raise ApiError(
                    409, "ResourceAlreadyExistsException", f"Thing {name} already exists with other settings"
                )
            return existing
        self.things[name] = replace(new, thing_id=self._new_id())
        return self.things[name]

    def update_thing(self, name: str, attributes: Mapping[str, str]) -> None:
        """Set attributes; an empty value removes one. The version grows [B UpdateThing]."""
        thing = self.thing(name)
        merged = thing.attributes | dict(attributes)
        thing.attributes = {key: value for key, value in merged.items() if value}
        thing.version += 1

    def delete_thing(self, name: str, expected_version: int | None, now: float) -> None:
        """Delete a thing. Raises `ApiError`.

        "Returns successfully with no error if [...] you specify a thing that doesn't exist"; another
        version gives VersionConflictException [B DeleteThing]. "Cannot delete. Thing X is still attached
        to one or more principals" is an InvalidRequestException with HTTP 400, also for some seconds
        after the list of principals is empty [aws-connected-device-framework issue 76;
        aws-greengrass-nucleus pull request 319]. Shadows stay [aws-iot-device-sdk-js issue 68].
        """
        thing = self.things.get(name)
        if thing is None:
            return
        if expected_version is not None and expected_version != thing.version:
            raise ApiError(409, "VersionConflictException", f"The version for thing {name} does not match.")
        if thing.principals or self._late(name, 2 * self.detach_delay, now):
            message = f"Cannot delete. Thing {name} is still attached to one or more principals"
            raise ApiError(400, "InvalidRequestException", message)
        del self.things[name]

    def attach(self, thing: str, principal: str) -> None:
        """Attach a principal. Raises `ApiError` (404)."""
        record = self.thing(thing)
        self.check_principal(principal)
        self._detached.pop((thing, principal), None)
        if principal not in record.principals:
            record.principals.append(principal)
        self._holders.setdefault(principal, {})[thing] = None

    def detach(self, thing: str, principal: str, now: float) -> None:
        """Detach a principal. Raises `ApiError` (404) if it is not attached (assumed, as moto)."""
        record = self.thing(thing)
        if principal not in record.principals:
            raise not_found(f"Principal is not attached to thing {thing}")
        record.principals.remove(principal)
        self._holders.get(principal, {}).pop(thing, None)
        for pair in [pair for pair, at in self._detached.items() if at + 2 * self.detach_delay <= now]:
            del self._detached[pair]
        self._detached[thing, principal] = now

    def set_status(self, id_: str, status: str, now: float) -> None:
        """Change the status of a certificate. Raises `ApiError`.

        The same status again is no error [B UpdateCertificate]. A revoked certificate keeps its status
        [DG: Revoke a client certificate]; one in transfer answers CertificateStateException, HTTP 406
        [B, CertificateStatus and UpdateCertificate].
        """
        certificate = self.certificate(id_)
        if status not in ("ACTIVE", "INACTIVE", "REVOKED"):
            raise ApiError(400, "InvalidRequestException", f"newStatus {status!r} is not allowed")
        if certificate.status == "PENDING_TRANSFER" or (certificate.status == "REVOKED" and status != "REVOKED"):
            raise ApiError(406, "CertificateStateException", f"The certificate is {certificate.status}")
        if certificate.status != status:
            certificate.status = status
            self.modified[id_] = now

    def delete_certificate(self, id_: str, now: float, *, force: bool) -> None:
        """Delete a certificate. Raises `ApiError`.

        An ACTIVE one answers CertificateStateException (406), an attached one DeleteConflictException
        (409); `force` skips the check of policies only [B DeleteCertificate].
        """
        certificate = self.certificate(id_)
        if certificate.status == "ACTIVE":
            raise ApiError(406, "CertificateStateException", "The certificate must be deactivated before deletion")
        if self.holders(id_, now) or (certificate.policies and not force):
            raise ApiError(409, "DeleteConflictException", "The certificate is attached to a thing or a policy")
        del self.certificates[id_]

    def set_shadow(self, thing: str, name: str, document: Mapping[str, Any]) -> dict[str, Any]:
        """Replace a shadow; its version grows, also after a deletion."""
        version = self._shadow_versions.get((thing, name), 0) + 1
        self._shadow_versions[thing, name] = version
        shadow = {**document, "version": version}
        self.shadows.setdefault(thing, {})[name] = shadow
        return shadow

    def delete_shadow(self, thing: str, name: str) -> None:
        """Delete a shadow, if it exists."""
        self.shadows.get(thing, {}).pop(name, None)
        if not self.shadows.get(thing):
            self.shadows.pop(thing, None)

    def _late(self, thing: str, delay: float, now: float) -> list[str]:
        """Principals that were detached less than `delay` seconds ago."""
        return [
            principal for (name, principal), at in self._detached.items() if name == thing and at <= now < at + delay
        ]

    def _new_id(self) -> str:
        return str(uuid.UUID(int=self.rng.getrandbits(128), version=4))


def certificate_id_of(name: str) -> str:
    """The id of the certificate that the simulator makes for a thing."""
    return hashlib.sha256(name.encode()).hexdigest()


def not_found(message: str) -> ApiError:
    """The error for a resource that does not exist."""
    return ApiError(404, "ResourceNotFoundException", message)


def _merge(key: str, records: dict[str, Any], record_type: type[Any] | None, entries: Mapping[str, Any]) -> None:
    for name, values in entries.items():
        if values is None:
            records.pop(name, None)
        elif record_type is None:
            records[name] = values if key != "policies" or isinstance(values, str) else json.dumps(values)
        else:
            known = {item.name for item in fields(record_type)}
            if not isinstance(values, dict) or not values.keys() <= known:
                raise UsageError(f"{key}.{name}: expected an object with members of {', '.join(sorted(known))}")
            for member, value in values.items():
                expected = type(getattr(record_type(), member))
                if not isinstance(value, expected) and not (member == "connectivity" and value is None):
                    raise UsageError(f"{key}.{name}.{member}: {value!r} is no {expected.__name__}")
            records[name] = replace(records.get(name) or record_type(), **copy.deepcopy(values))
