"""Tests of the simulator with boto3 as its client."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from asyncgg.simulator import Simulator
from tests.support.simulator import SECRET_KEY, fast_config, threaded_simulator

Connect = Callable[..., Any]


@pytest.fixture(scope="module")
def session() -> Any:
    """A shared session, because loading service models is slow."""
    return boto3.Session(aws_access_key_id="AKIDEXAMPLE", aws_secret_access_key=SECRET_KEY, region_name="eu-west-1")


@pytest.fixture
def connect(session: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connect]:
    """A factory of clients, by default without retries, that are closed after the test."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    clients: list[Any] = []

    def make(sim: Simulator, service: str = "greengrassv2", attempts: int = 1, mode: str = "standard") -> Any:
        retries: Any = {"total_max_attempts": attempts, "mode": mode}
        config = Config(retries=retries, connect_timeout=2, read_timeout=5)
        clients.append(session.client(service, endpoint_url=sim.url, config=config))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


def test_all_operations_with_verified_signatures(connect: Connect) -> None:
    """Associate, disassociate, both lists and STS work, also with a colon in a name."""
    with threaded_simulator(fast_config(secret_key=SECRET_KEY, max_clock_skew=300.0)) as sim:
        client = connect(sim)
        cores = client.list_core_devices()["coreDevices"]
        assert [core["coreDeviceThingName"] for core in cores] == ["core-1", "core-2", "core:3"]
        assert isinstance(cores[0]["lastStatusUpdateTimestamp"], datetime)
        entries = [{"thingName": "n"}, {"thingName": "m"}]
        response = client.batch_associate_client_device_with_core_device(coreDeviceThingName="core:3", entries=entries)
        assert response["errorEntries"] == []
        listed = client.list_client_devices_associated_with_core_device(coreDeviceThingName="core:3")
        devices = listed["associatedClientDevices"]
        assert [device["thingName"] for device in devices] == ["m", "n"]
        assert isinstance(devices[0]["associationTimestamp"], datetime)
        ended = client.batch_disassociate_client_device_from_core_device(
            coreDeviceThingName="core:3", entries=[*entries, {"thingName": "x"}]
        )
        assert [(e["thingName"], e["code"]) for e in ended["errorEntries"]] == [("x", "ResourceNotFoundException")]
        assert sim.service.fleet.things["core:3"] == {}
        identity = connect(sim, "sts").get_caller_identity()
        assert identity["Account"] == "123456789012"


def test_paginators_list_whole_fleet(connect: Connect) -> None:
    """The paginators of boto3 list a large fleet with and without filters."""
    config = fast_config(cores=230, things=1, size_skew=0.0, seed=2)
    with threaded_simulator(config, fleet_spec=None) as sim:
        client, fleet = connect(sim), sim.service.fleet
        core_names = [
            core for page in client.get_paginator("list_core_devices").paginate() for core in page["coreDevices"]
        ]
        assert [core["coreDeviceThingName"] for core in core_names] == sorted(fleet.cores)
        filters = {"status": "UNHEALTHY", "thingGroupArn": "arn:aws:iot:eu-west-1:123456789012:thinggroup/site-1"}
        pages = client.get_paginator("list_core_devices").paginate(**filters, PaginationConfig={"PageSize": 1})
        paged_names = {core["coreDeviceThingName"] for page in pages for core in page["coreDevices"]}
        assert paged_names == {
            name for name, core in fleet.cores.items() if core.status == "UNHEALTHY" and "site-1" in core.groups
        }
        assert paged_names
        core = next(iter(fleet.cores))
        for number in range(250):
            fleet.associate(core, f"more-{number}", 0.0)
        pages = client.get_paginator("list_client_devices_associated_with_core_device").paginate(
            coreDeviceThingName=core
        )
        sizes = [len(page["associatedClientDevices"]) for page in pages]
        assert sizes == [100, 100, 51]


def disassociate(client: Any, core: str, *things: str) -> Any:
    """Call the batch disassociate operation."""
    return client.batch_disassociate_client_device_from_core_device(
        coreDeviceThingName=core, entries=[{"thingName": thing} for thing in things]
    )


def test_errors_have_exception_class_and_members(connect: Connect) -> None:
    """Each modelled error has its exception class and all members."""
    faults = ("deny@core-2", "500#3", "expired-token#7")
    with threaded_simulator(fast_config(fault=faults)) as sim:
        client = connect(sim)
        with pytest.raises(client.exceptions.ResourceNotFoundException) as not_found:
            disassociate(client, "missing", "a")
        assert not_found.value.response["resourceId"] == "missing"
        assert not_found.value.response["resourceType"]
        with pytest.raises(client.exceptions.AccessDeniedException):
            disassociate(client, "core-2", "d")
        with pytest.raises(client.exceptions.InternalServerException):
            disassociate(client, "core-1", "a")
        with pytest.raises(client.exceptions.ValidationException) as invalid:
            disassociate(client, "core-1", *(f"t{number}" for number in range(101)))
        assert invalid.value.response["reason"] == "FIELD_VALIDATION_FAILED"
        assert [field["name"] for field in invalid.value.response["fields"]] == ["entries"]
        with pytest.raises(client.exceptions.ValidationException):
            disassociate(client, "core-1", "x" * 129)
        with pytest.raises(client.exceptions.ValidationException):
            client.batch_disassociate_client_device_from_core_device(coreDeviceThingName="core-1")
        with pytest.raises(ClientError) as expired:
            disassociate(client, "core-1", "a")
        assert expired.value.response["Error"]["Code"] == "ExpiredTokenException"
        assert expired.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
        assert expired.value.response["ResponseMetadata"]["RequestId"]


def test_throttling_without_retries_raises_and_changes_nothing(connect: Connect) -> None:
    """The exception has quota code, service code and Retry-After."""
    with threaded_simulator(fast_config(rate=0.1, burst=1.0, retry_after="auto")) as sim:
        client = connect(sim)
        disassociate(client, "core-1", "a")
        with pytest.raises(client.exceptions.ThrottlingException) as throttled:
            disassociate(client, "core-1", "b")
        response = throttled.value.response
        assert (response["quotaCode"], response["serviceCode"]) == ("L-7A577824", "greengrass")
        assert 8 <= int(response["ResponseMetadata"]["HTTPHeaders"]["retry-after"]) <= 10
        assert list(sim.service.fleet.things["core-1"]) == ["b", "c"]


@pytest.mark.parametrize("mode", ["legacy", "standard"])
def test_throttling_and_faults_with_retries_succeeds(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """boto3 retries a throttle, a 500 and a reset, and the simulator counts every attempt."""
    monkeypatch.setattr("time.sleep", lambda _seconds: None)  # botocore's backoff
    with threaded_simulator(fast_config(fault=("429#1", "500#2", "reset-before#3"))) as sim:
        assert disassociate(connect(sim, attempts=5, mode=mode), "core-1", "a")["errorEntries"] == []
        assert sim.service.counters.admitted == 4
        assert sim.service.counters.disassociated == 1


def test_wrong_secret_is_rejected(connect: Connect) -> None:
    """A simulator with another secret key rejects requests of boto3."""
    with (
        threaded_simulator(fast_config(secret_key="another")) as sim,
        pytest.raises(ClientError, match="InvalidSignature"),
    ):
        connect(sim).list_core_devices()
