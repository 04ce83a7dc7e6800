"""Tests of manifests in S3, with moto and, for rare failures, a scripted server."""

from __future__ import annotations

import gzip
import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
import pytest

from asyncgg.errors import CredentialsError, ManifestError, UsageError
from asyncgg.manifest import open_manifest
from asyncgg.manifest.s3 import S3Downloader
from tests.support.manifest import read_all
from tests.support.moto_server import moto_server

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

CSV = b"core,thing\n" + b"".join(b"c,t%d\n" % at for at in range(150_000))
ONE_PAIR = [("a", "b")]


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Fixed credentials, no configuration of the machine, no metadata service."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    missing = str(tmp_path_factory.mktemp("aws") / "none")
    values = {"ACCESS_KEY_ID": "AKIATEST", "SECRET_ACCESS_KEY": "secret", "EC2_METADATA_DISABLED": "true"}
    values |= {"CONFIG_FILE": missing, "SHARED_CREDENTIALS_FILE": missing, "DEFAULT_REGION": "eu-central-1"}
    for name, value in values.items():
        monkeypatch.setenv(f"AWS_{name}", value)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """A moto server with one bucket."""
    with moto_server() as url, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations of boto3
        client = boto3.client(
            "s3",
            endpoint_url=url,
            region_name="us-east-1",
            aws_access_key_id="AKIATEST",
            aws_secret_access_key="secret",
        )
        client.create_bucket(Bucket="fleet")
        table = io.BytesIO()
        pq.write_table(pa.table({"core": ["a"], "thing": ["b"]}), table)
        objects = {
            "big.csv": CSV,
            "ä b/x.csv.gz": gzip.compress(b"core,thing\na,b\n", mtime=0),
            "x.parquet": table.getvalue(),
        }
        for key, body in {**objects, "empty.csv": b""}.items():
            client.put_object(Bucket="fleet", Key=key, Body=body)
        client.close()
        yield url


def read_manifest(endpoint: str, spec: str) -> Any:
    """Read a manifest in S3."""
    return read_all(open_manifest(spec, s3=S3Downloader(endpoint_url=endpoint)).chunks())


def test_s3_manifest_is_read_like_a_file(endpoint: str) -> None:
    """CSV of several chunks, gzip under a key with blanks, and Parquet give their pairs."""
    good, bad = read_manifest(endpoint, "s3://fleet/big.csv")
    assert (len(good), good[-1], bad) == (150_000, ("c", "t149999"), [])
    assert read_manifest(endpoint, "s3://fleet/ä b/x.csv.gz") == (ONE_PAIR, [])
    assert read_manifest(endpoint, "s3://fleet/x.parquet") == (ONE_PAIR, [])


async def test_s3_manifest_opens_in_a_running_loop(endpoint: str) -> None:
    """Opening in a thread that runs an event loop blocks the loop, but works."""
    assert read_manifest(endpoint, "s3://fleet/x.parquet") == (ONE_PAIR, [])


def test_s3_manifest_defaults_to_the_environment(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an opener the endpoint, Region and credentials of the environment are used."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
    assert read_all(open_manifest("s3://fleet/x.parquet").chunks()) == (ONE_PAIR, [])


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("s3://fleet/none.csv", "s3://fleet/none.csv: no such object; check the key"),
        ("s3://nobucket/x.csv", "s3://nobucket/x.csv: no such bucket `nobucket`; check the name"),
        ("s3://fleet/empty.csv", "s3://fleet/empty.csv has no associations; write one row per association"),
        ("s3://no bucket/x.csv", "s3://no bucket/x.csv: download failed: "),
        ("s3://fleet/folder/", "s3://fleet/folder/: unknown format"),
    ],
)
def test_s3_manifest_missing_object_raises(endpoint: str, spec: str, message: str) -> None:
    """A missing object is a `ManifestError` of one line."""
    with pytest.raises(ManifestError) as caught:
        read_manifest(endpoint, spec)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_s3_manifest_without_credentials_raises(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says how to get credentials."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(CredentialsError, match="no AWS credentials: none found; run `aws sso login`"):
        read_manifest(endpoint, "s3://fleet/x.csv")


def test_s3_downloader_unknown_profile_raises() -> None:
    """The error names the profile."""
    with pytest.raises(UsageError, match="no AWS profile 'unknown' in the AWS configuration"):
        S3Downloader(profile="unknown").open("fleet", "x.csv")


@contextmanager
def scripted_server(*replies: tuple[int, bytes, int]) -> Iterator[tuple[str, list[str]]]:
    """A server that returns (status, body, announced length) in turn; and the requested paths."""
    requested_paths: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body, length = replies[min(len(requested_paths), len(replies) - 1)]
            requested_paths.append(self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - name of the base class
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", requested_paths
        finally:
            server.shutdown()
            thread.join()


def error_body(code: str) -> bytes:
    """The body of an S3 error."""
    return f"<Error><Code>{code}</Code><Message>no\nway</Message></Error>".encode()


@pytest.mark.parametrize(
    ("status", "code", "kind", "message"),
    [
        (403, "AccessDenied", CredentialsError, r"access denied \(AccessDenied\); s3:GetObject"),
        (403, "InvalidAccessKeyId", CredentialsError, r"access denied \(InvalidAccessKeyId\)"),
        (400, "ExpiredToken", CredentialsError, r"access denied \(ExpiredToken\)"),
        (403, "InvalidObjectState", ManifestError, "download failed: InvalidObjectState: no$"),
    ],
)
def test_s3_manifest_error_response_raises(status: int, code: str, kind: type[Exception], message: str) -> None:
    """An S3 error raises the error type of its code, in one line."""
    body = error_body(code)
    with scripted_server((status, body, len(body))) as (url, _), pytest.raises(kind, match=message):
        read_manifest(url, "s3://fleet/x.csv")


def test_s3_manifest_truncated_body_is_downloaded_again() -> None:
    """A connection lost in the body is retried; no part of the first body remains."""
    data = b"core,thing\na,b\n"
    with scripted_server((200, b"core,thing\nx,y\nz", 90), (200, data, len(data))) as (url, paths):
        assert read_manifest(url, "s3://fleet/x.csv") == (ONE_PAIR, [])
    assert paths == ["/fleet/x.csv"] * 2


def test_s3_manifest_body_that_is_always_truncated_raises() -> None:
    """An object that is never complete is not read in part."""
    with (
        scripted_server((200, b"core,thing\na,b\n", 90)) as (url, paths),
        pytest.raises(ManifestError, match=r"^s3://fleet/x\.csv: download failed: "),
    ):
        read_manifest(url, "s3://fleet/x.csv")
    assert len(paths) == 3
