"""Things, certificates and policies of the simulated AWS IoT."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from asyncgg.simulator.iot_call import IotCall, iot_operation, parse_integer
from asyncgg.simulator.registry import Registry, not_found
from asyncgg.simulator.wire import ApiError

_MAX_SEARCH_RESULTS: Final = 100  # [service model: SearchQueryMaxResults]


@iot_operation("ListThings", "GET /things", 10)
def _list_things(registry: Registry, call: IotCall) -> dict[str, Any]:
    names, following = call.page(sorted(registry.things))
    return {"things": [_thing_to_dict(registry, name) for name in names]} | following


@iot_operation("DescribeThing", "GET /things/{thing}", 350)
def _describe_thing(registry: Registry, call: IotCall) -> dict[str, Any]:
    return _thing_to_dict(registry, call.thing) | {"defaultClientId": call.thing}


@iot_operation("CreateThing", "POST /things/{thing}", 100)
def _create_thing(registry: Registry, call: IotCall) -> dict[str, Any]:
    body = call.body
    thing_type, billing_group = body.get("thingTypeName") or "", body.get("billingGroupName") or ""
    thing = registry.create_thing(call.thing, thing_type, _attributes(body), billing_group)
    return {"thingName": call.thing, "thingArn": registry.arn("thing", call.thing), "thingId": thing.thing_id}


@iot_operation("UpdateThing", "PATCH /things/{thing}", 100)
def _update_thing(registry: Registry, call: IotCall) -> dict[str, Any]:
    registry.update_thing(call.thing, _attributes(call.body))
    return {}


@iot_operation("DeleteThing", "DELETE /things/{thing}", 100)
def _delete_thing(registry: Registry, call: IotCall) -> dict[str, Any]:
    version = call.request.parameters.get("expectedVersion")
    registry.delete_thing(call.thing, None if version is None else parse_integer(version), call.now)
    return {}


@iot_operation("ListThingPrincipals", "GET /things/{thing}/principals", 20)
def _list_thing_principals(registry: Registry, call: IotCall) -> dict[str, Any]:
    principals, following = call.page(registry.principals(call.thing, call.now))
    return {"principals": [registry.principal_arn(principal) for principal in principals]} | following


@iot_operation("AttachThingPrincipal", "PUT /things/{thing}/principals", 100)
def _attach_thing_principal(registry: Registry, call: IotCall) -> dict[str, Any]:
    registry.attach(call.thing, call.principal)
    return {}


@iot_operation("DetachThingPrincipal", "DELETE /things/{thing}/principals", 100)
def _detach_thing_principal(registry: Registry, call: IotCall) -> dict[str, Any]:
    registry.detach(call.thing, call.principal, call.now)
    return {}


@iot_operation("ListThingGroupsForThing", "GET /things/{thing}/thing-groups", 100)
def _list_thing_groups(registry: Registry, call: IotCall) -> dict[str, Any]:
    groups, following = call.page(sorted(registry.thing(call.thing).groups))
    return {
        "thingGroups": [{"groupName": name, "groupArn": registry.arn("thinggroup", name)} for name in groups],
        **following,
    }


@iot_operation("SearchIndex", "POST /indices/search", 15)
def _search_index(registry: Registry, call: IotCall) -> dict[str, Any]:
    """Search names of things joined by OR. Without an index the answer is 404 (assumed)."""
    if not registry.index:
        raise not_found("The index AWS_Things does not exist")
    terms = [
        re.fullmatch(r'\s*thingName:"?([^\s"]+)"?\s*', term) for term in str(call.body.get("queryString")).split(" OR ")
    ]
    if not all(terms):
        raise ApiError(400, "InvalidQueryException", "The simulator searches for thingName only")
    names = dict.fromkeys(term[1].replace("\\", "") for term in terms if term)
    documents = [
        {"thingName": name, "thingId": thing.thing_id, "attributes": thing.attributes}
        | ({"connectivity": _indexed_connectivity(thing.connectivity)} if thing.connectivity is not None else {})
        for name in names
        if (thing := registry.things.get(name)) is not None and thing.indexed
    ]
    return {"things": documents[:_MAX_SEARCH_RESULTS]}


def _indexed_connectivity(connectivity: dict[str, Any]) -> dict[str, Any]:
    """Connectivity in the index: no time of a thing that was disconnected for an hour [ThingConnectivity]."""
    return connectivity if connectivity.get("connected") else {"connected": False}


@iot_operation("GetThingConnectivityData", "POST /things/{thing}/connectivity-data", 10)
def _get_thing_connectivity(registry: Registry, call: IotCall) -> dict[str, Any]:
    """Answer also for a thing that was never connected; without an index the answer is 404 (assumed)."""
    thing = registry.thing(call.thing)
    if not registry.index:
        raise not_found("The index AWS_Things does not exist")
    connectivity = thing.connectivity or {"connected": False}
    seconds = {"timestamp": connectivity["timestamp"] / 1000} if "timestamp" in connectivity else {}
    return {"thingName": call.thing, "connected": connectivity["connected"], **seconds}


def _thing_to_dict(registry: Registry, name: str) -> dict[str, Any]:
    thing = registry.thing(name)
    optional = {"thingTypeName": thing.type, "billingGroupName": thing.billing_group}
    return {
        "thingName": name,
        "thingId": thing.thing_id,
        "thingArn": registry.arn("thing", name),
        "attributes": thing.attributes,
        "version": thing.version,
    } | {key: value for key, value in optional.items() if value}


def _attributes(body: Mapping[str, Any]) -> dict[str, str]:
    return (body.get("attributePayload") or {}).get("attributes") or {}


# --- certificates and policies ---


@iot_operation("ListPrincipalThings", "GET /principals/things", 10)
def _list_principal_things(registry: Registry, call: IotCall) -> dict[str, Any]:
    registry.check_principal(call.principal)
    names, following = call.page(registry.holders(call.principal, call.now))
    return {"things": names} | following


@iot_operation("DescribeCertificate", "GET /certificates/{certificate}", 10)
def _describe_certificate(registry: Registry, call: IotCall) -> dict[str, Any]:
    id_ = call.names["certificate"]
    certificate = registry.certificate(id_)
    description = {
        "certificateArn": registry.arn("cert", id_),
        "certificateId": id_,
        "status": certificate.status,
        "certificatePem": f"-----BEGIN CERTIFICATE-----\n{id_}\n-----END CERTIFICATE-----\n",
        "ownedBy": certificate.owner or registry.account,
        "lastModifiedDate": registry.modified.get(id_, 0.0),
        "certificateMode": "DEFAULT",
    }
    ca = {"caCertificateId": certificate.ca_id} if certificate.ca_id else {}
    return {"certificateDescription": description | ca}


@iot_operation("UpdateCertificate", "PUT /certificates/{certificate}", 10)
def _update_certificate(registry: Registry, call: IotCall) -> dict[str, Any]:
    registry.set_status(call.names["certificate"], call.request.parameters.get("newStatus", ""), call.now)
    return {}


@iot_operation("DeleteCertificate", "DELETE /certificates/{certificate}", 10)
def _delete_certificate(registry: Registry, call: IotCall) -> dict[str, Any]:
    is_forced = call.request.parameters.get("forceDelete") == "true"
    registry.delete_certificate(call.names["certificate"], call.now, force=is_forced)
    return {}


@iot_operation("DescribeCACertificate", "GET /cacertificate/{ca}", 10)
def _describe_ca_certificate(registry: Registry, call: IotCall) -> dict[str, Any]:
    id_ = call.names["ca"]
    if id_ not in registry.cas:
        raise not_found(f"CA certificate {id_} not found")
    return {
        "certificateDescription": {
            "certificateId": id_,
            "certificateArn": registry.arn("cacert", id_),
            "status": "ACTIVE",
            "autoRegistrationStatus": registry.cas[id_],
        }
    }


@iot_operation("ListAttachedPolicies", "POST /attached-policies/{target}", 15)
def _list_attached_policies(registry: Registry, call: IotCall) -> dict[str, Any]:
    policies = sorted(registry.certificate(call.target).policies)
    names, following = call.page(policies, "marker", "pageSize")
    return {"policies": [{"policyName": name, "policyArn": registry.arn("policy", name)} for name in names]} | following


@iot_operation("AttachPolicy", "PUT /target-policies/{policy}", 15)
def _attach_policy(registry: Registry, call: IotCall) -> dict[str, Any]:
    policies, name = registry.certificate(call.target).policies, call.names["policy"]
    registry.policy(name)
    if name not in policies:
        policies.append(name)
    return {}


@iot_operation("DetachPolicy", "POST /target-policies/{policy}", 15)
def _detach_policy(registry: Registry, call: IotCall) -> dict[str, Any]:
    """DetachPolicy declares no 404 [service model]: a policy that is not attached is no error (assumed)."""
    certificate = registry.certificates.get(call.target)
    if certificate is not None and call.names["policy"] in certificate.policies:
        certificate.policies.remove(call.names["policy"])
    return {}


@iot_operation("GetPolicy", "GET /policies/{policy}", 10)
def _get_policy(registry: Registry, call: IotCall) -> dict[str, Any]:
    name = call.names["policy"]
    return {
        "policyName": name,
        "policyArn": registry.arn("policy", name),
        "policyDocument": registry.policy(name),
        "defaultVersionId": "1",
    }
