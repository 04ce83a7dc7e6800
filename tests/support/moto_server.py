"""Rule: the one server of AWS services that tests share (moto) lives here; what is put into it is each test's own.

Use it as a fixture: `from tests.support.moto_server import moto_url` in a conftest.py. It lives as long as the test session, so
names of things, topics and buckets are to be of one test each.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from moto.server import ThreadedMotoServer

__all__ = ["moto_url"]


@pytest.fixture(scope="session")
def moto_url() -> Iterator[str]:
    """The address of moto's server: IoT, SNS, S3, STS and more, an implementation not our own."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for each request, otherwise
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()
