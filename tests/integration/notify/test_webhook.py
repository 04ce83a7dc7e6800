"""Tests of asyncgg.notify.delivery and asyncgg.notify.dispatch."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer
from aioresponses import aioresponses

from asyncgg.notify import Message, NotificationEvent, Webhook, notify
from tests.integration.transport.test_contract_mocked import MockedResponse

URL = "http://hooks.example/services/secret?token=secret"
TARGET = Webhook(URL, {"Authorization": "Bearer secret"})
FAILED = "Notification to webhook http://hooks.example failed"
MESSAGE = Message(NotificationEvent.END, "done: ü", {"schema": "asyncgg.summary/1"}, "box", "nightly")


@pytest.fixture
def mocked() -> Iterator[aioresponses]:
    """aiohttp without a network."""
    with aioresponses() as mock:
        yield mock


def queue_responses(mocked: aioresponses, *statuses: int, **headers: str) -> None:
    """Set the responses to the next posts."""
    for status in statuses:
        mocked.post(URL, status=status, headers={"Location": "http://x"} | headers, response_class=MockedResponse)


def post_count(mocked: aioresponses) -> int:
    """Count the posts."""
    return sum(len(calls) for calls in mocked.requests.values())


async def notify_and_time() -> tuple[list[str], float]:
    """Notify the target and return the errors and the seconds it took."""
    loop = asyncio.get_running_loop()
    started_at = loop.time()
    return await notify([TARGET], MESSAGE), loop.time() - started_at


@pytest.mark.virtual
@pytest.mark.parametrize("first", [(500,), (503, 429), (408, 502, 504), (500, 500, 500, 500)])
async def test_notify_retryable_status_retries_until_success(mocked: aioresponses, first: tuple[int, ...]) -> None:
    """Server errors and throttles are retried with waits in between."""
    queue_responses(mocked, *first, 204)
    errors, seconds = await notify_and_time()
    assert errors == []
    assert post_count(mocked) == len(first) + 1
    assert 0.25 * len(first) <= seconds <= 30


@pytest.mark.virtual
@pytest.mark.parametrize("status", [400, 401, 404, 301, 302])
async def test_notify_client_error_or_redirect_fails_at_once(mocked: aioresponses, status: int) -> None:
    """Nothing is sent to another host, and nothing is retried."""
    queue_responses(mocked, status, 200)
    assert await notify_and_time() == ([f"{FAILED}: HTTP {status}"], 0.0)
    assert post_count(mocked) == 1


@pytest.mark.virtual
async def test_notify_persistent_error_stops_after_limits(mocked: aioresponses) -> None:
    """Delivery ends after five attempts or the timeout, and the error names the last one."""
    queue_responses(mocked, *[500] * 9)
    errors, seconds = await notify_and_time()
    assert errors == [f"{FAILED}: HTTP 500"]
    assert (post_count(mocked), seconds < 30) == (5, True)
    mocked.clear()
    queue_responses(mocked, 503, **{"Retry-After": "3600"})
    errors, seconds = await notify_and_time()
    assert errors == [f"{FAILED}: timed out after 30 s; last error: HTTP 503"]
    assert seconds == pytest.approx(30.0)


@pytest.mark.virtual
@pytest.mark.parametrize(
    "error",
    [
        aiohttp.ClientConnectionError(f"cannot reach {URL}"),
        aiohttp.ServerDisconnectedError(),
        TimeoutError(),
        ConnectionResetError(104, "Connection reset by peer"),
    ],
)
async def test_notify_broken_connection_retries_and_hides_url(mocked: aioresponses, error: Exception) -> None:
    """Connection errors are retried, and their message does not contain the URL."""
    for _ in range(5):
        mocked.post(URL, exception=error)
    (delivery_error,) = (await notify_and_time())[0]
    assert post_count(mocked) == 5
    assert "connection failed" in delivery_error
    assert "secret" not in delivery_error


@pytest.mark.virtual
async def test_notify_unexpected_exception_returns_error_without_its_text(mocked: aioresponses) -> None:
    """An unexpected exception is an error line that names only its type."""
    mocked.post(URL, exception=RuntimeError("secret"))
    assert (await notify_and_time())[0] == [f"{FAILED}: internal error (RuntimeError); please report it"]


# --- real sockets ---


class WebhookReceiver:
    """A webhook server that stores the received messages."""

    def __init__(self) -> None:
        self.received: list[tuple[dict[str, str], Any]] = []
        self.hang = False

    async def handle(self, request: web.Request) -> web.Response:
        """Store a message."""
        if self.hang:
            await asyncio.Event().wait()
        self.received.append(({name.lower(): value for name, value in request.headers.items()}, await request.json()))
        return web.Response()


@pytest_asyncio.fixture
async def receiver() -> AsyncIterator[tuple[WebhookReceiver, str]]:
    """Run a receiver and return it with its URL."""
    webhook = WebhookReceiver()
    app = web.Application()
    app.router.add_post("/hook", webhook.handle)
    async with TestServer(app) as server:
        yield webhook, str(server.make_url("/hook"))


async def test_notify_webhooks_posts_json_and_headers(receiver: tuple[WebhookReceiver, str]) -> None:
    """Every target gets one POST of the object as JSON with its own headers."""
    webhook, url = receiver
    assert await notify([Webhook(url, {"X-Token": "t"}), Webhook(url)], MESSAGE) == []
    assert [body for _, body in webhook.received] == [MESSAGE.to_dict()] * 2
    assert {headers.get("x-token") for headers, _ in webhook.received} == {"t", None}
    assert {headers["content-type"] for headers, _ in webhook.received} == {"application/json"}
    assert json.loads(json.dumps(webhook.received[0][1]))["text"] == "done: ü"


async def test_notify_hanging_and_missing_targets_end_at_timeout(receiver: tuple[WebhookReceiver, str]) -> None:
    """A target that never responds and one that does not exist take no longer than the timeout."""
    webhook, url = receiver
    webhook.hang = True
    loop = asyncio.get_running_loop()
    started_at = loop.time()
    errors = await notify([Webhook(url), Webhook("http://127.0.0.1:1/")], MESSAGE, timeout=0.3)
    assert loop.time() - started_at < 1.5
    assert len(errors) == 2
    assert all("timed out after 0.3 s" in error for error in errors)
