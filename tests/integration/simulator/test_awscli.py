"""Tests of the simulator with the AWS CLI as its client."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.simulator import SECRET_KEY, fast_config, threaded_simulator

CONFIGURED_CLI = os.environ.get("ASYNCGG_TEST_AWSCLI") or None
CLI_PATH = CONFIGURED_CLI or shutil.which("aws")


@pytest.fixture(scope="module", autouse=True)
def _installed() -> None:
    """Skip without a working AWS CLI, unless ASYNCGG_TEST_AWSCLI names one."""
    if CONFIGURED_CLI is None and (
        CLI_PATH is None or subprocess.run([CLI_PATH, "--version"], capture_output=True, check=False).returncode
    ):
        pytest.skip("no AWS CLI: put `aws` on the PATH or its path into ASYNCGG_TEST_AWSCLI")


def run_aws(url: str, home: Path, *arguments: str, attempts: int = 1) -> subprocess.CompletedProcess[str]:
    """Run the AWS CLI without the settings and credentials of this machine."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_MAX_ATTEMPTS": str(attempts),
        "AWS_PAGER": "",
        "NO_PROXY": "127.0.0.1",
    }
    command = [str(CLI_PATH), *arguments, "--endpoint-url", url, "--output", "json"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, check=False)


def parse_output(completed: subprocess.CompletedProcess[str]) -> Any:
    """Parse the JSON of a successful command."""
    assert completed.returncode == 0, completed.stderr
    return json.loads(completed.stdout)


def test_aws_cli_operations_with_verified_signatures(tmp_path: Path) -> None:
    """The CLI understands the responses of STS, both lists, associate and disassociate."""
    with threaded_simulator(fast_config(secret_key=SECRET_KEY, max_clock_skew=300.0)) as sim:
        identity = parse_output(run_aws(sim.url, tmp_path, "sts", "get-caller-identity"))
        assert identity["Account"] == "123456789012"
        cores = parse_output(run_aws(sim.url, tmp_path, "greengrassv2", "list-core-devices", "--page-size", "2"))
        assert [core["coreDeviceThingName"] for core in cores["coreDevices"]] == ["core-1", "core-2", "core:3"]
        core = ("--core-device-thing-name", "core:3")
        associate = "batch-associate-client-device-with-core-device"
        entries = ("--entries", "thingName=n", "thingName=m")
        assert parse_output(run_aws(sim.url, tmp_path, "greengrassv2", associate, *core, *entries)) == {
            "errorEntries": []
        }
        listing = "list-client-devices-associated-with-core-device"
        devices = parse_output(run_aws(sim.url, tmp_path, "greengrassv2", listing, *core))["associatedClientDevices"]
        assert [device["thingName"] for device in devices] == ["m", "n"]
        disassociate = "batch-disassociate-client-device-from-core-device"
        response = parse_output(
            run_aws(sim.url, tmp_path, "greengrassv2", disassociate, *core, *entries, "thingName=x")
        )
        assert [entry["thingName"] for entry in response["errorEntries"]] == ["x"]
        assert sim.service.fleet.things["core:3"] == {}


@pytest.mark.parametrize(
    ("settings", "core", "code"),
    [
        ({}, "missing", "ResourceNotFoundException"),
        ({"fault": ("429",)}, "core-1", "ThrottlingException"),
    ],
)
def test_aws_cli_error_names_code(tmp_path: Path, settings: dict[str, Any], core: str, code: str) -> None:
    """The CLI fails with the error code of the service."""
    with threaded_simulator(fast_config(**settings)) as sim:
        completed = run_aws(
            sim.url,
            tmp_path,
            "greengrassv2",
            "list-client-devices-associated-with-core-device",
            "--core-device-thing-name",
            core,
        )
    assert completed.returncode != 0
    assert code in completed.stderr
