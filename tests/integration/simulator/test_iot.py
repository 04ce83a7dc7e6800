"""The simulated AWS IoT with boto3 as its client, compared with the service models."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.validate import ParamValidator

from asyncgg.errors import UsageError
from asyncgg.simulator.iot_call import IOT_OPERATIONS
from asyncgg.simulator.registry import certificate_id_of
from tests.support.simulator import SECRET_KEY, fast_config, make_service, threaded_simulator

ARN = "arn:aws:iot:us-east-1:123456789012:cert/"
CA = "ca" * 32


class IotClient:
    """Calls operations by name, checks responses with the service model, and can move the clock."""

    def __init__(self, simulator: Any) -> None:
        self.simulator = simulator
        session = boto3.Session(aws_access_key_id="AKID", aws_secret_access_key=SECRET_KEY, region_name="us-east-1")
        config = Config(retries={"total_max_attempts": 1})
        self._clients = [
            session.client(name, endpoint_url=simulator.url, config=config) for name in ("iot", "iot-data")
        ]
        self.called: set[str] = set()

    def __call__(self, operation: str, **arguments: Any) -> dict[str, Any]:
        """The response without its metadata. Raises `ClientError`."""
        for client in self._clients:
            if operation in client.meta.service_model.operation_names:
                method = client.meta.method_to_api_mapping
                name = next(key for key, value in method.items() if value == operation)
                response: dict[str, Any] = getattr(client, name)(**arguments)
                shape = client.meta.service_model.operation_model(operation).output_shape
        del response["ResponseMetadata"]
        self.called.add(operation)
        if shape is not None and "payload" in response:
            response = json.loads(response["payload"].read())
        elif shape is not None:
            errors = ParamValidator().validate(response, shape)
            assert not errors.has_errors(), errors.generate_report()
        return response

    def refused(self, operation: str, **arguments: Any) -> tuple[int, str]:
        """Status and code of the error."""
        with pytest.raises(ClientError) as caught:
            self(operation, **arguments)
        response: Any = caught.value.response
        return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]

    def pass_time(self, seconds: float) -> None:
        """Move the clock of the service."""
        self.simulator._epoch += seconds

    def patch(self, **state: Any) -> None:
        """Change the state of the registry."""
        self.simulator.service.registry.patch(state)


@pytest.fixture
def iot() -> Iterator[IotClient]:
    """A client of the small fleet: things a to d and their cores."""
    config = fast_config(secret_key=SECRET_KEY, detach_delay=5.0, iot_quota=("*=1000",), burst=1000.0, iot_page_size=2)
    with threaded_simulator(config) as simulator:
        yield IotClient(simulator)


def certificate_of(thing: str) -> dict[str, str]:
    """The argument that names the certificate of a thing."""
    return {"certificateId": certificate_id_of(thing)}


def test_every_operation_answers_as_in_the_service_model(iot: IotClient) -> None:
    """Each route and member is that of botocore; a name with a colon works."""
    thing = iot("CreateThing", thingName="x:1", attributePayload={"attributes": {"model": "m"}})
    assert iot("DescribeThing", thingName="x:1")["thingId"] == thing["thingId"]
    iot("UpdateThing", thingName="x:1", attributePayload={"attributes": {"model": "n"}})
    described = iot("DescribeThing", thingName="x:1")
    assert (described["version"], described["attributes"]) == (2, {"model": "n"})
    principal = ARN + certificate_id_of("a")
    iot("AttachThingPrincipal", thingName="x:1", principal=principal)
    assert iot("ListThingPrincipals", thingName="x:1")["principals"] == [principal]
    assert iot("ListPrincipalThings", principal=principal)["things"] == ["a", "x:1"]
    assert iot("SearchIndex", queryString=r"thingName:x\:1")["things"][0]["connectivity"] == {"connected": False}
    assert iot("GetThingConnectivityData", thingName="x:1")["connected"] is False
    iot.patch(things={"x:1": {"connectivity": {"connected": False, "timestamp": 5_000}}})
    assert iot("GetThingConnectivityData", thingName="x:1")["timestamp"].timestamp() == 5
    iot.patch(
        things={"x:1": {"groups": ["g"]}}, cas={CA: "ENABLE"}, certificates={certificate_id_of("a"): {"ca_id": CA}}
    )
    assert iot("ListThingGroupsForThing", thingName="x:1")["thingGroups"][0]["groupName"] == "g"
    certificate = iot("DescribeCertificate", **certificate_of("a"))["certificateDescription"]
    ca = iot("DescribeCACertificate", certificateId=certificate["caCertificateId"])["certificateDescription"]
    assert (certificate["ownedBy"], ca["autoRegistrationStatus"]) == ("123456789012", "ENABLE")
    assert iot("ListAttachedPolicies", target=principal)["policies"][0]["policyName"] == "device-policy"
    assert json.loads(iot("GetPolicy", policyName="device-policy")["policyDocument"])["Statement"]
    iot("AttachPolicy", policyName="core-policy", target=principal)
    iot("DetachPolicy", policyName="core-policy", target=principal)
    iot("UpdateThingShadow", thingName="a", shadowName="s", payload=b'{"state": {"desired": {"on": 1}}}')
    assert iot("ListNamedShadowsForThing", thingName="a")["results"] == ["s"]
    assert iot("GetThingShadow", thingName="a", shadowName="s")["state"] == {"desired": {"on": 1}}
    iot("DeleteThingShadow", thingName="a", shadowName="s")
    assert iot.refused("GetThingShadow", thingName="a", shadowName="s")[0] == 404
    iot("DetachThingPrincipal", thingName="x:1", principal=principal)
    iot("UpdateCertificate", **certificate_of("d"), newStatus="INACTIVE")
    iot("DetachPolicy", policyName="device-policy", target=ARN + certificate_id_of("d"))
    iot("DetachThingPrincipal", thingName="d", principal=ARN + certificate_id_of("d"))
    iot.pass_time(10.0)
    iot("DeleteThing", thingName="x:1")
    iot("DeleteCertificate", **certificate_of("d"))
    iot("ListThings", maxResults=2)
    assert iot.called == IOT_OPERATIONS.keys()


def test_disassociated_things_stay_in_the_registry() -> None:
    """The registry does not depend on associations, also if it is used for the first time after them."""
    service = make_service()
    service.fleet.disassociate("core-1", "a")
    assert "a" in service.registry.things


def test_lists_have_pages(iot: IotClient) -> None:
    """A page has fewer items than asked for; a token of another list is refused."""
    page = iot("ListThings", maxResults=250)
    names = [thing["thingName"] for thing in page["things"]]
    while page.get("nextToken"):
        token = page["nextToken"]
        page = iot("ListThings", nextToken=token)
        names += [thing["thingName"] for thing in page["things"]]
    assert names == ["a", "b", "c", "core-1", "core-2", "core:3", "d"]
    assert iot.refused("ListThingPrincipals", thingName="a", nextToken=token) == (400, "InvalidRequestException")


def test_delete_thing_behaves_as_documented(iot: IotClient) -> None:
    """Attached, detached too recently, another version, and missing."""
    principal = ARN + certificate_id_of("a")
    assert iot.refused("DeleteThing", thingName="a") == (400, "InvalidRequestException")
    iot("DetachThingPrincipal", thingName="a", principal=principal)
    assert iot("ListThingPrincipals", thingName="a")["principals"] == [principal]
    assert iot("ListPrincipalThings", principal=principal)["things"] == ["a"]
    iot.pass_time(6.0)
    assert iot("ListThingPrincipals", thingName="a")["principals"] == []
    assert iot.refused("DeleteThing", thingName="a") == (400, "InvalidRequestException")
    iot.pass_time(5.0)
    assert iot.refused("DeleteThing", thingName="a", expectedVersion=2) == (409, "VersionConflictException")
    before = iot("DescribeThing", thingName="a")["thingId"]
    iot("DeleteThing", thingName="a", expectedVersion=1)
    iot("DeleteThing", thingName="a", expectedVersion=1)  # missing: no error
    assert iot.refused("DescribeThing", thingName="a") == (404, "ResourceNotFoundException")
    assert iot("CreateThing", thingName="a")["thingId"] != before


def test_certificates_behave_as_documented(iot: IotClient) -> None:
    """Revoked and transferred ones keep their status; an active or attached one is not deleted."""
    assert iot.refused("DeleteCertificate", **certificate_of("a")) == (406, "CertificateStateException")
    iot("UpdateCertificate", **certificate_of("a"), newStatus="REVOKED")
    assert iot.refused("UpdateCertificate", **certificate_of("a"), newStatus="ACTIVE") == (
        406,
        "CertificateStateException",
    )
    assert iot.refused("DeleteCertificate", **certificate_of("a")) == (409, "DeleteConflictException")
    iot.patch(certificates={certificate_id_of("b"): {"status": "PENDING_TRANSFER", "owner": "999999999999"}})
    assert iot.refused("UpdateCertificate", **certificate_of("b"), newStatus="INACTIVE")[0] == 406
    assert iot("DescribeCertificate", **certificate_of("b"))["certificateDescription"]["ownedBy"] == "999999999999"


def test_each_operation_has_a_quota() -> None:
    """ThrottlingException is HTTP 400 in the control plane and 429 for shadows; others are not affected."""
    config = fast_config(iot_quota=("UpdateCertificate=1", "GetThingShadow=1"), burst=1.0)
    with threaded_simulator(config) as simulator:
        iot = IotClient(simulator)
        iot("UpdateCertificate", **certificate_of("a"), newStatus="ACTIVE")
        assert iot.refused("UpdateCertificate", **certificate_of("a"), newStatus="ACTIVE") == (
            400,
            "ThrottlingException",
        )
        iot("DescribeCertificate", **certificate_of("a"))
        assert iot.refused("GetThingShadow", thingName="a")[0] == 404
        assert iot.refused("GetThingShadow", thingName="a") == (429, "ThrottlingException")


def test_faults_apply_to_operations(iot: IotClient) -> None:
    """A GLOB is the name of an operation; a reset comes after the change."""
    iot.simulator.service.set_faults(["deny@ListPrincipalThings", "500-after@UpdateCert*=1"])
    principal = ARN + certificate_id_of("a")
    assert iot.refused("ListPrincipalThings", principal=principal) == (403, "AccessDeniedException")
    assert iot.refused("UpdateCertificate", **certificate_of("a"), newStatus="INACTIVE")[0] == 500
    assert iot("DescribeCertificate", **certificate_of("a"))["certificateDescription"]["status"] == "INACTIVE"


@pytest.mark.parametrize(
    "state",
    [
        {"nonsense": {}},
        {"things": []},
        {"things": {"a": {"nonsense": 1}}},
        {"things": {"a": {"principals": "b"}}},
        {"certificates": {"a": {"status": 7}}},
    ],
)
def test_invalid_state_is_refused(state: dict[str, Any]) -> None:
    """A change with a wrong structure changes nothing."""
    registry = make_service().registry
    before = registry.to_dict()
    with pytest.raises(UsageError):
        registry.patch(state)
    assert registry.to_dict() == before
