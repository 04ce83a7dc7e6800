"""The AWS IoT operations of a decommission, each within its own quota."""

# This module loads aiobotocore: import it only where calls are made. Fields and errors are those of
# the service model iot/2015-05-28. A list counts only with all of its pages.

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import Any, Final

from asyncgg.aws_calls.client import RateLimitedClient, open_json_client
from asyncgg.aws_calls.operation import AwsCallError, RenewableCredentials, request_id
from asyncgg.decommission.quotas import GET_CORE_DEVICE
from asyncgg.decommission.shadow_service import ShadowService, open_shadow_service
from asyncgg.transport.config import ConnectionConfig, other_service_endpoint, resolve_endpoint
from asyncgg.transport.session import SERVICE

DELETED: Final = "deleted"
"""The status of a certificate that does not exist."""
_PAGE_SIZE: Final = 250  # [service model: RegistryMaxResults, PageSize]
_CERTIFICATE_ARN: Final = ":cert/"
_NOT_REPEATABLE: Final = frozenset({"DeleteThing"})
"""Never repeated unseen: a second DeleteThing can meet a new thing of the same name."""
_EXPECTED_CODES: Final[Mapping[str, frozenset[str]]] = {
    "UpdateCertificate": frozenset({"CertificateStateException"}),
    "DeleteThing": frozenset({"InvalidRequestException", "VersionConflictException"}),
    "DeleteCertificate": frozenset({"CertificateStateException", "DeleteConflictException"}),
}
"""Errors about the state of one thing or certificate. DeleteThing of an attached thing is an invalid request."""


class IotControlPlane:
    """Calls through open clients. Needs a running loop. Every method raises `AwsCallError`."""

    def __init__(
        self,
        client: Any,
        greengrass: Any,
        rates: Mapping[str, float],
        *,
        credentials: RenewableCredentials | None = None,
        timeout: float = 60.0,
        shadows: ShadowService | None = None,
    ) -> None:
        self.rates: Final = rates
        """Requests per second by operation."""
        self._iot = RateLimitedClient(
            client,
            {name: rate for name, rate in rates.items() if name != GET_CORE_DEVICE},
            denied_advice="allow iot:{}",
            credentials=credentials,
            timeout=timeout,
            expected_codes=_EXPECTED_CODES,
            not_repeatable=_NOT_REPEATABLE,
        )
        self._greengrass = RateLimitedClient(
            greengrass,
            {GET_CORE_DEVICE: rates[GET_CORE_DEVICE]},
            denied_advice="allow greengrass:{}",
            credentials=credentials,
            timeout=timeout,
        )
        self.operations: Final = {**self._iot.operations, **self._greengrass.operations}
        self.shadows = shadows
        """None unless they were asked for."""

    # --- questions ---

    async def describe_thing(self, name: str) -> Mapping[str, Any] | None:
        """Describe a thing; None if AWS IoT says that it does not exist."""
        response = await self._iot.find("DescribeThing", thingName=name)
        if response is not None and (response.get("thingName") != name or not response.get("thingId")):
            raise AwsCallError(f"DescribeThing: the response does not describe {name}")
        return response

    async def fleet_has(self, count: int) -> bool:
        """Whether the account has at least `count` things in the Region."""
        found = 0
        async with aclosing(self._iot.pages("ListThings", maxResults=_PAGE_SIZE)) as pages:
            async for page in pages:
                found += len(page.get("things", []))
                if found >= count:
                    return True
        return found >= count

    async def list_principals(self, thing: str) -> list[str]:
        """Get the ARNs of the principals of a thing."""
        return await self._iot.items("ListThingPrincipals", "principals", thingName=thing, maxResults=_PAGE_SIZE)

    async def list_things(self, certificate_arn: str) -> list[str]:
        """Get every thing that a certificate is attached to."""
        return await self._iot.items("ListPrincipalThings", "things", principal=certificate_arn, maxResults=_PAGE_SIZE)

    async def list_groups(self, thing: str) -> list[str]:
        """Get the thing groups of a thing."""
        groups = await self._iot.items("ListThingGroupsForThing", "thingGroups", thingName=thing, maxResults=_PAGE_SIZE)
        return [str(group["groupName"]) for group in groups]

    async def list_policies(self, target: str) -> list[str]:
        """Get the names of the policies attached to a certificate."""
        policies = await self._iot.items(
            "ListAttachedPolicies",
            "policies",
            target=target,
            pageSize=_PAGE_SIZE,
            cursor="marker",
            next_cursor="nextMarker",
        )
        return [str(policy["policyName"]) for policy in policies]

    async def is_core_device(self, thing: str) -> bool:
        """Whether Greengrass has a core device of this name; only its own 404 means no."""
        return await self._greengrass.find(GET_CORE_DEVICE, coreDeviceThingName=thing) is not None

    async def connectivity(self, thing: str) -> tuple[float | None, bool]:
        """When the connection to AWS IoT Core last changed (infinity: connected), and whether that is known.

        It is unknown without an index of things, for a thing that is not in it (yet), and if the index has
        no connectivity. The index may lack the time of a thing that has been disconnected for about an hour
        [API reference, ThingConnectivity], so that one is asked for. A thing that was never connected has none.
        """
        query = f"thingName:{thing.replace(':', chr(92) + ':')}"
        response = await self._iot.find("SearchIndex", queryString=query)
        found = [item for item in (response or {}).get("things", []) if item.get("thingName") == thing]
        connectivity = found[0].get("connectivity") if found else None
        if connectivity is None:
            return None, False
        if connectivity.get("connected"):
            return float("inf"), True
        if timestamp := connectivity.get("timestamp"):
            return timestamp / 1000, True  # [service model: milliseconds]
        response = await self._iot.find("GetThingConnectivityData", thingName=thing)
        if response is None or response.get("thingName") != thing:
            return None, False
        if response.get("connected"):
            return float("inf"), True
        return unix_time(response.get("timestamp")), True

    async def describe_certificate(self, id_: str) -> Mapping[str, Any] | None:
        """Describe a certificate; None if it does not exist."""
        response = await self._iot.find("DescribeCertificate", certificateId=id_)
        if response is None:
            return None
        description = response.get("certificateDescription") or {}
        if description.get("certificateId") != id_ or not description.get("status"):
            raise AwsCallError(f"DescribeCertificate: the response does not describe {id_}")
        result: Mapping[str, Any] = description
        return result

    async def certificate_state(self, id_: str) -> tuple[str, float]:
        """The status of a certificate, `DELETED` if it does not exist, and when it was last changed, as Unix time."""
        description = await self.describe_certificate(id_)
        return (str(description["status"]), modified_at(description)) if description else (DELETED, 0.0)

    async def ca_auto_registers(self, ca_id: str) -> bool:
        """Whether a CA registers certificates that it signed when they connect; only DISABLE means no."""
        response = await self._iot.call("DescribeCACertificate", certificateId=ca_id)
        return bool((response.get("certificateDescription") or {}).get("autoRegistrationStatus") != "DISABLE")

    async def policy_document(self, name: str) -> str:
        """Get the document of a policy."""
        response = await self._iot.call("GetPolicy", policyName=name)
        return str(response.get("policyDocument", ""))

    # --- writes; each returns the id of the request ---

    async def set_status(self, id_: str, status: str) -> str:
        """Set the status of a certificate; the same status again changes nothing."""
        return request_id(await self._iot.call("UpdateCertificate", certificateId=id_, newStatus=status))

    async def delete_thing(self, name: str, version: int) -> str:
        """Delete a thing of this version. It also succeeds for a thing that does not exist."""
        return request_id(await self._iot.call("DeleteThing", thingName=name, expectedVersion=version))

    # What follows finds nothing at its second attempt if the response to the first was lost.

    async def detach(self, thing: str, principal: str) -> str:
        """Detach a certificate from a thing; AWS IoT does that some seconds later."""
        return request_id(await self._iot.find("DetachThingPrincipal", thingName=thing, principal=principal))

    async def detach_policy(self, policy: str, target: str) -> str:
        """Detach a policy from a certificate."""
        return request_id(await self._iot.find("DetachPolicy", policyName=policy, target=target))

    async def delete_certificate(self, id_: str) -> str:
        """Delete an inactive certificate that has no thing and no policy."""
        return request_id(await self._iot.find("DeleteCertificate", certificateId=id_))


def certificate_id(arn: str) -> str:
    """Get the id in the ARN of a certificate."""
    return arn.rpartition("/")[2]


def is_certificate(arn: str) -> bool:
    """Whether a principal is a certificate; others are Amazon Cognito identities."""
    return _CERTIFICATE_ARN in arn


def modified_at(description: Mapping[str, Any]) -> float:
    """When a certificate was last changed, as Unix time."""
    return unix_time(description.get("lastModifiedDate")) or 0.0


def unix_time(value: Any) -> float | None:
    """A time that the AWS SDK parsed; None if the answer has none."""
    return float(value.timestamp()) if hasattr(value, "timestamp") else None


@asynccontextmanager
async def open_control_plane(
    connection: ConnectionConfig, rates: Mapping[str, float], *, with_shadows: bool = False
) -> AsyncIterator[IotControlPlane]:
    """Open the clients of AWS IoT, of Greengrass and perhaps of the shadows for the block.

    Raises `UsageError` as `resolve_endpoint`, and `CredentialsError` if no credentials were found.
    """
    async with AsyncExitStack() as stack:
        url, endpoint = other_service_endpoint(connection, "iot"), resolve_endpoint(connection)
        client, credentials = await stack.enter_async_context(open_json_client("iot", connection, url))
        greengrass, _ = await stack.enter_async_context(
            open_json_client(SERVICE, connection, endpoint.url if endpoint.custom else None)
        )
        shadows = await stack.enter_async_context(open_shadow_service(connection, client)) if with_shadows else None
        yield IotControlPlane(
            client,
            greengrass,
            rates,
            credentials=credentials,
            timeout=connection.request_timeout,
            shadows=shadows,
        )
