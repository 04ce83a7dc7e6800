"""Fixtures of the decommission tests: moto, the command line and a fleet of its own for each test."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest

from asyncgg.simulator import FleetSpec
from tests.integration.cleanup.conftest import no_fsync
from tests.integration.cli.conftest import StartSimulator, aws_environment, cli, serve
from tests.support.command_line import CommandRunner
from tests.support.moto_server import moto_url

__all__ = ["aws_environment", "cli", "moto_url", "no_fsync", "serve"]

_numbers = itertools.count()


@dataclass(slots=True)
class IotFleet:
    """Things in moto, under names that no other test uses, and their cores in the simulator."""

    client: Any
    simulator: Any
    things: list[str]
    certificates: dict[str, tuple[str, str]] = field(default_factory=dict)
    """By thing: id and ARN of its certificate."""

    def statuses(self) -> dict[str, str]:
        """The status of each certificate by id; `deleted` if it is gone."""
        return {id_: self.status(id_) for id_, _ in self.certificates.values()}

    def status(self, id_: str) -> str:
        """The status of a certificate."""
        try:
            return str(self.client.describe_certificate(certificateId=id_)["certificateDescription"]["status"])
        except self.client.exceptions.ResourceNotFoundException:
            return "deleted"

    def associations(self) -> set[tuple[str, str]]:
        """The pairs of core and thing."""
        return {(core, thing) for core in self.simulator.service.fleet.cores for thing in self.devices(core)}

    def devices(self, core: str) -> list[str]:
        """The client devices of a core."""
        return [name for name, _ in self.simulator.service.fleet.page_of_things(core, "", 1000)[0]]


@pytest.fixture
def fleet(moto_url: str, serve: StartSimulator, monkeypatch: pytest.MonkeyPatch, no_fsync: None) -> IotFleet:
    """Six devices on two cores, each with a certificate of its own and one policy for all."""
    prefix = f"d{next(_numbers)}"
    things = [f"{prefix}-{number}" for number in range(6)]
    simulator = serve(FleetSpec.from_things({f"{prefix}-core-1": things[:4], f"{prefix}-core-2": things[3:]}, 1000.0))
    monkeypatch.setenv("AWS_ENDPOINT_URL_IOT", moto_url)
    monkeypatch.setenv("AWS_ENDPOINT_URL_IOT_DATA", moto_url)
    client = boto3.client("iot", region_name="us-east-1", endpoint_url=moto_url)
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "iot:Connect", "Resource": "*"}]}
    client.create_policy(policyName=f"{prefix}-policy", policyDocument=json.dumps(document))
    fleet = IotFleet(client, simulator, things)
    for thing in things:
        client.create_thing(thingName=thing)
        keys = client.create_keys_and_certificate(setAsActive=True)
        client.attach_thing_principal(thingName=thing, principal=keys["certificateArn"])
        client.attach_policy(policyName=f"{prefix}-policy", target=keys["certificateArn"])
        fleet.certificates[thing] = keys["certificateId"], keys["certificateArn"]
    return fleet


@pytest.fixture
def decommission(cli: CommandRunner, tmp_path: Path) -> Callable[..., tuple[int, dict[str, Any]]]:
    """Runs a stage with --yes and --json at a high quota; returns exit code and result."""
    quotas = [f"--iot-quota={name}=2000" for name in QUOTAS]

    def run(action: str, *arguments: object) -> tuple[int, dict[str, Any]]:
        options = [] if action == "plan" else ["--yes"]
        if action in {"plan", "quarantine"}:  # the others have it from the journal
            options += ["--connected-within", "0"]
        result = cli("decommission", action, *arguments, *options, "--json", "--quiet", "--quota", "1000", *quotas)
        return result.code, json.loads(result.out) if result.out else {"error": result.err}

    return run


QUOTAS = (
    "ListThingPrincipals",
    "ListPrincipalThings",
    "DescribeCertificate",
    "UpdateCertificate",
    "ListAttachedPolicies",
    "GetPolicy",
    "DeleteCertificate",
    "DetachPolicy",
)
