"""The stores that the tests of states use."""

from __future__ import annotations

import secrets
import warnings
from pathlib import Path

import boto3
import pytest

from asyncgg.transport import ConnectionConfig
from tests.support.command_line import isolated_environment
from tests.support.moto_server import moto_url

__all__ = ["moto_url"]

CONNECTION = ConnectionConfig(request_timeout=1.0)


@pytest.fixture(params=["folder", "s3"])
def location(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A location of an empty state in each kind of store."""
    for name, value in isolated_environment().items():
        monkeypatch.setenv(name, value)
    if request.param == "folder":
        return str(tmp_path / "share" / "state")
    url = request.getfixturevalue("moto_url")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", url)
    bucket = f"state-{secrets.token_hex(6)}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations of boto3
        client = boto3.client("s3", endpoint_url=url, region_name="us-east-1")
        client.create_bucket(Bucket=bucket)
    return f"s3://{bucket}/runs/nightly"
