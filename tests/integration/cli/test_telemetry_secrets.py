"""No log, metric, trace or journal contains credentials, whatever the service answers."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from asyncgg.models import ErrorResponse, Reply
from asyncgg.runs import execute
from asyncgg.settings import Settings
from tests.integration.cli.conftest import StartSimulator
from tests.support.command_line import CommandRunner
from tests.support.engine import create_journal

ACCESS_KEY, SECRET_KEY, TOKEN = "AKIARECOGNISABLEKEY1", "recognisable-secret-key", "recognisable-session-token"
OUTPUTS = {
    "log_file": "run.log",
    "log_requests": "requests.jsonl",
    "metrics_file": "run.prom",
}


class TraceCollector(ThreadingHTTPServer):
    """A server that accepts spans by OTLP over HTTP."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _TraceHandler)
        self.bodies: list[bytes] = []

    def spans(self) -> list[Any]:
        """All spans that were received."""
        requests = [ExportTraceServiceRequest.FromString(body) for body in self.bodies]
        scopes = [scope for request in requests for spans in request.resource_spans for scope in spans.scope_spans]
        return [span for scope in scopes for span in scope.spans]


class _TraceHandler(BaseHTTPRequestHandler):
    server: TraceCollector

    def do_POST(self) -> None:
        self.server.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@contextmanager
def trace_collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[TraceCollector]:
    """A running collector, to which the OTEL_* variables point."""
    with TraceCollector() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def read_files(folder: Path) -> dict[str, bytes]:
    """The files of a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_credentials_are_in_no_output(
    cli: CommandRunner, serve: StartSimulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A run with every output on leaves no key and no token; each request is a span."""
    for name, value in (("ACCESS_KEY_ID", ACCESS_KEY), ("SECRET_ACCESS_KEY", SECRET_KEY), ("SESSION_TOKEN", TOKEN)):
        monkeypatch.setenv(f"AWS_{name}", value)
    serve(fault=("500=20%", "expired-token=1", "entry:Odd@thing-1-1"))
    options = [part for name, path in OUTPUTS.items() for part in (f"--{name.replace('_', '-')}", path)]
    with trace_collector(monkeypatch) as collector:
        result = cli("disassociate", "fleet.csv", "--yes", "--rate", 500, "-vv", "--otel", "--json", *options)
    sent = result.json["requests"]["sent"]
    assert sum(span.name == "BatchDisassociateClientDeviceFromCoreDevice" for span in collector.spans()) == sent
    assert sum(span.name == "asyncgg disassociate" for span in collector.spans()) == 1
    files = read_files(tmp_path)
    assert set(OUTPUTS.values()) <= set(files)
    for content in (*files.values(), *collector.bodies, result.out.encode(), result.err.encode()):
        for secret in (ACCESS_KEY, SECRET_KEY, TOKEN):
            assert secret.encode() not in content


class _TellingTransport:
    """A service that repeats the signed request in its error message, as AWS does for a wrong signature."""

    async def send(self, core: str, things: Sequence[str]) -> Reply:
        return ErrorResponse(400, "OddException", f"The canonical request was\nx-amz-security-token:{TOKEN}\n", "id")


async def test_token_in_an_error_message_is_not_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The token of a canonical request is left out of records, request log and journal."""
    journal = create_journal(tmp_path / "run.journal", [("core-1", "a")])
    settings = Settings(rate=100.0, log_requests=tmp_path / "requests.jsonl")
    with caplog.at_level(logging.DEBUG, "asyncgg"):
        await execute(journal, settings, transport=_TellingTransport())
    assert "canonical request" in caplog.text
    assert TOKEN not in caplog.text + "".join(str(vars(record)) for record in caplog.records)
    assert not [name for name, content in read_files(tmp_path).items() if TOKEN.encode() in content]
