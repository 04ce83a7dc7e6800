"""Rule: the telling of webhooks: what is sent, what is tried again, and what comes back when it fails."""

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
MESSAGE = Message(NotificationEvent.END, "done: ü", {"schema": "asyncgg.summary/1"}, "box", "nightly")


@pytest.fixture
def mocked() -> Iterator[aioresponses]:
    """aiohttp without a network."""
    with aioresponses() as mock:
        yield mock


def queue_responses(mocked: aioresponses, *statuses: int, **headers: str) -> None:
    """The answers to the next posts, one each."""
    for status in statuses:
        mocked.post(URL, status=status, headers={"Location": "http://x"} | headers, response_class=MockedResponse)


def post_count(mocked: aioresponses) -> int:
    """How many posts there were."""
    return sum(len(calls) for calls in mocked.requests.values())


async def notify_and_time() -> tuple[list[str], float]:
    """What came of telling the target, and the seconds it took."""
    loop = asyncio.get_running_loop()
    started_at = loop.time()
    return await notify([TARGET], MESSAGE), loop.time() - started_at


@pytest.mark.virtual
@pytest.mark.parametrize("first", [(500,), (503, 429), (408, 502, 504), (500, 500, 500, 500)])
async def test_what_may_pass_is_tried_again(mocked: aioresponses, first: tuple[int, ...]) -> None:
    """Server errors and throttling are tried again, with waits between, until it is taken."""
    queue_responses(mocked, *first, 204)
    errors, seconds = await notify_and_time()
    assert errors == []
    assert post_count(mocked) == len(first) + 1
    assert 0.25 * len(first) <= seconds <= 30


@pytest.mark.virtual
@pytest.mark.parametrize("status", [400, 401, 404, 301, 302])
async def test_a_refusal_is_final(mocked: aioresponses, status: int) -> None:
    """A client error or a redirect is told at once: nothing is sent elsewhere, and never again."""
    queue_responses(mocked, status, 200)
    assert await notify_and_time() == ([f"webhook http://hooks.example was not told: it answers HTTP {status}"], 0.0)
    assert post_count(mocked) == 1


@pytest.mark.virtual
async def test_it_gives_up(mocked: aioresponses) -> None:
    """After five tries, or when the time is over, it is given up, and the last answer is named."""
    queue_responses(mocked, *[500] * 9)
    errors, seconds = await notify_and_time()
    assert errors == ["webhook http://hooks.example was not told: it answers HTTP 500"]
    assert (post_count(mocked), seconds < 30) == (5, True)
    mocked.clear()
    queue_responses(mocked, 503, **{"Retry-After": "3600"})
    errors, seconds = await notify_and_time()
    assert errors == [
        "webhook http://hooks.example was not told: gave up after 30 s; the last try: it answers HTTP 503"
    ]
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
async def test_a_broken_connection_is_tried_again(mocked: aioresponses, error: Exception) -> None:
    """What breaks on the way is tried again, and told without the URL."""
    for _ in range(5):
        mocked.post(URL, exception=error)
    (delivery_error,) = (await notify_and_time())[0]
    assert post_count(mocked) == 5
    assert "it cannot be reached" in delivery_error
    assert "secret" not in delivery_error


@pytest.mark.virtual
async def test_a_fault_of_ours_is_a_line_too(mocked: aioresponses) -> None:
    """Even an error nobody thought of does not leave `notify`, and its words are not shown."""
    mocked.post(URL, exception=RuntimeError("secret"))
    assert (await notify_and_time())[0] == [
        "webhook http://hooks.example was not told: a fault of asyncgg (RuntimeError)"
    ]


# --- real sockets ---


class WebhookReceiver:
    """A webhook's server that keeps what it is sent."""

    def __init__(self) -> None:
        self.received: list[tuple[dict[str, str], Any]] = []
        self.hang = False

    async def handle(self, request: web.Request) -> web.Response:
        """Keep a message."""
        if self.hang:
            await asyncio.Event().wait()
        self.received.append(({name.lower(): value for name, value in request.headers.items()}, await request.json()))
        return web.Response()


@pytest_asyncio.fixture
async def receiver() -> AsyncIterator[tuple[WebhookReceiver, str]]:
    """A receiver and its address."""
    webhook = WebhookReceiver()
    app = web.Application()
    app.router.add_post("/hook", webhook.handle)
    async with TestServer(app) as server:
        yield webhook, str(server.make_url("/hook"))


async def test_what_is_sent(receiver: tuple[WebhookReceiver, str]) -> None:
    """One POST of the object as JSON in UTF-8, with the headers of the target, to each of several targets."""
    webhook, url = receiver
    assert await notify([Webhook(url, {"X-Token": "t"}), Webhook(url)], MESSAGE) == []
    assert [body for _, body in webhook.received] == [MESSAGE.to_dict()] * 2
    assert {headers.get("x-token") for headers, _ in webhook.received} == {"t", None}
    assert {headers["content-type"] for headers, _ in webhook.received} == {"application/json"}
    assert json.loads(json.dumps(webhook.received[0][1]))["text"] == "done: ü"


async def test_the_time_is_bounded(receiver: tuple[WebhookReceiver, str]) -> None:
    """One that never answers, and one that is not there, cost no more than the bound, and spoil nothing for others."""
    webhook, url = receiver
    webhook.hang = True
    loop = asyncio.get_running_loop()
    started_at = loop.time()
    errors = await notify([Webhook(url), Webhook("http://127.0.0.1:1/")], MESSAGE, timeout=0.3)
    assert loop.time() - started_at < 1.5
    assert len(errors) == 2
    assert all("gave up after 0.3 s" in fault for fault in errors)
