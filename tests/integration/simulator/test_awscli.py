"""Rule: the AWS CLI talks to the simulator as it would to AWS.

aws greengrassv2 ... --endpoint-url URL
"""

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
    """Skip where there is no AWS CLI that starts; one that was named must start."""
    if CONFIGURED_CLI is None and (
        CLI_PATH is None or subprocess.run([CLI_PATH, "--version"], capture_output=True, check=False).returncode
    ):
        pytest.skip("no AWS CLI: put `aws` on the PATH or its path into ASYNCGG_TEST_AWSCLI")


def run_aws(url: str, home: Path, *arguments: str, attempts: int = 1) -> subprocess.CompletedProcess[str]:
    """One AWS CLI command, cut off from the settings and credentials of this machine."""
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
    """The JSON of a command that succeeded."""
    assert completed.returncode == 0, completed.stderr
    return json.loads(completed.stdout)


def test_a_session_at_the_command_line(tmp_path: Path) -> None:
    """Who am I, which cores, associate, disassociate, list: every answer is understood, every signature verified."""
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
        ended = parse_output(run_aws(sim.url, tmp_path, "greengrassv2", disassociate, *core, *entries, "thingName=x"))
        assert [entry["thingName"] for entry in ended["errorEntries"]] == ["x"]
        assert sim.service.fleet.things["core:3"] == {}


@pytest.mark.parametrize(
    ("settings", "core", "word"),
    [
        ({}, "nowhere", "ResourceNotFoundException"),
        ({"fault": ("429",)}, "core-1", "ThrottlingException"),
    ],
)
def test_errors_at_the_command_line(tmp_path: Path, settings: dict[str, Any], core: str, word: str) -> None:
    """The CLI ends with an error that names the service's code."""
    with threaded_simulator(fast_config(**settings)) as sim:
        done = run_aws(
            sim.url,
            tmp_path,
            "greengrassv2",
            "list-client-devices-associated-with-core-device",
            "--core-device-thing-name",
            core,
        )
    assert done.returncode != 0
    assert word in done.stderr
