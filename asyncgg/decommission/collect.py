"""Asks AWS everything that decides whether devices may be decommissioned."""

from __future__ import annotations

from asyncgg.aws_calls.operation import AwsCallError
from asyncgg.decommission.control_plane import IotControlPlane, certificate_id, is_certificate, modified_at
from asyncgg.decommission.guards import allows_claim
from asyncgg.decommission.model import CertificateFacts, DeviceFacts
from asyncgg.decommission.shared_tasks import SharedTasks


class FactCollector:
    """Collects the facts of devices; each certificate and policy is asked for once."""

    def __init__(self, plane: IotControlPlane, *, with_connectivity: bool) -> None:
        self._plane = plane
        self._with_connectivity = with_connectivity
        self._certificates: SharedTasks[CertificateFacts] = SharedTasks()
        self._documents: SharedTasks[str] = SharedTasks()

    async def collect(self, name: str) -> tuple[DeviceFacts, dict[str, CertificateFacts]]:
        """The facts of a device and of its certificates; a failed question is part of the facts."""
        try:
            return await self._collect(name)
        except AwsCallError as error:
            return DeviceFacts(name, unanswered=str(error)), {}
        except (KeyError, TypeError, ValueError, AttributeError) as error:  # of an answer with another structure
            return DeviceFacts(name, unanswered=f"unreadable answer ({type(error).__name__})"), {}

    async def _collect(self, name: str) -> tuple[DeviceFacts, dict[str, CertificateFacts]]:
        thing = await self._plane.describe_thing(name)
        if thing is None:
            return DeviceFacts(name, exists=False), {}
        is_core = await self._plane.is_core_device(name)
        principals = await self._plane.list_principals(name)
        groups = await self._plane.list_groups(name)
        connected_at, known = None, True
        if self._with_connectivity:
            connected_at, known = await self._plane.connectivity(name)
        arns = sorted({arn for arn in principals if is_certificate(arn)})
        certificates = {certificate_id(arn): await self._certificate(arn) for arn in arns}
        facts = DeviceFacts(
            name,
            thing_id=str(thing["thingId"]),
            arn=str(thing.get("thingArn") or ""),
            version=int(thing.get("version") or 0),
            thing_type=str(thing.get("thingTypeName") or ""),
            attributes=dict(thing.get("attributes") or {}),
            groups=tuple(groups),
            certificates=tuple(certificates),
            other_principals=tuple(arn for arn in principals if not is_certificate(arn)),
            is_core=is_core,
            connected_at=connected_at,
            connectivity_known=known,
        )
        return facts, certificates

    async def _certificate(self, arn: str) -> CertificateFacts:
        return await self._certificates.get(arn, lambda: self._collect_certificate(arn))

    async def _collect_certificate(self, arn: str) -> CertificateFacts:
        id_ = certificate_id(arn)
        things = await self._plane.list_things(arn)
        description = await self._plane.describe_certificate(id_)
        if description is None:
            raise AwsCallError(f"DescribeCertificate: certificate {id_} does not exist")
        policies = await self._plane.list_policies(arn)
        return CertificateFacts(
            id_,
            arn,
            str(description["status"]),
            str(description.get("ownedBy") or ""),
            str(description.get("certificatePem") or ""),
            str(description.get("caCertificateId") or ""),
            modified_at(description),
            tuple(things),
            tuple(policies),
            is_claim=any([await self._allows_claim(policy) for policy in policies]),
        )

    async def _allows_claim(self, policy: str) -> bool:
        return allows_claim(await self._documents.get(policy, lambda: self._plane.policy_document(policy)))
