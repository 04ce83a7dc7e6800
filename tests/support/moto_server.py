"""The moto server, which simulates AWS services for all tests of a session."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from moto.server import ThreadedMotoServer

# Import the fixture in a conftest.py. Tests share the server, so each must use names of its own.
__all__ = ["moto_server", "moto_url"]


@contextmanager
def moto_server() -> Iterator[str]:
    """The URL of a server for the block: IoT, SNS, S3, STS and more, implemented independently of asyncgg."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # otherwise one line per request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()


@pytest.fixture(scope="session")
def moto_url() -> Iterator[str]:
    """The URL of the server of all tests, see `moto_server`."""
    with moto_server() as url:
        yield url
