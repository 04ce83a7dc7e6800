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
from tests.transport.test_mocked import Response

URL = "http://hooks.example/services/secret?token=secret"
TARGET = Webhook(URL, {"Authorization": "Bearer secret"})
MESSAGE = Message(NotificationEvent.END, "done: ü", {"schema": "asyncgg.summary/1"}, "box", "nightly")


@pytest.fixture
def mocked() -> Iterator[aioresponses]:
    """aiohttp without a network."""
    with aioresponses() as mock:
        yield mock


def answers(mocked: aioresponses, *statuses: int, **headers: str) -> None:
    """The answers to the next posts, one each."""
    for status in statuses:
        mocked.post(URL, status=status, headers={"Location": "http://x"} | headers, response_class=Response)


def posts(mocked: aioresponses) -> int:
    """How many posts there were."""
    return sum(len(calls) for calls in mocked.requests.values())


async def told() -> tuple[list[str], float]:
    """What came of telling the target, and the seconds it took."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    return await notify([TARGET], MESSAGE), loop.time() - begun


@pytest.mark.virtual
@pytest.mark.parametrize("first", [(500,), (503, 429), (408, 502, 504), (500, 500, 500, 500)])
async def test_what_may_pass_is_tried_again(mocked: aioresponses, first: tuple[int, ...]) -> None:
    """Server errors and throttling are tried again, with waits between, until it is taken."""
    answers(mocked, *first, 204)
    faults, seconds = await told()
    assert faults == []
    assert posts(mocked) == len(first) + 1
    assert 0.25 * len(first) <= seconds <= 30


@pytest.mark.virtual
@pytest.mark.parametrize("status", [400, 401, 404, 301, 302])
async def test_a_refusal_is_final(mocked: aioresponses, status: int) -> None:
    """A client error or a redirect is told at once: nothing is sent elsewhere, and never again."""
    answers(mocked, status, 200)
    assert await told() == ([f"webhook http://hooks.example was not told: it answers HTTP {status}"], 0.0)
    assert posts(mocked) == 1


@pytest.mark.virtual
async def test_it_gives_up(mocked: aioresponses) -> None:
    """After five tries, or when the time is over, it is given up, and the last answer is named."""
    answers(mocked, *[500] * 9)
    faults, seconds = await told()
    assert faults == ["webhook http://hooks.example was not told: it answers HTTP 500"]
    assert (posts(mocked), seconds < 30) == (5, True)
    mocked.clear()
    answers(mocked, 503, **{"Retry-After": "3600"})
    faults, seconds = await told()
    assert faults == [
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
    (fault,) = (await told())[0]
    assert posts(mocked) == 5
    assert "it cannot be reached" in fault
    assert "secret" not in fault


@pytest.mark.virtual
async def test_a_fault_of_ours_is_a_line_too(mocked: aioresponses) -> None:
    """Even an error nobody thought of does not leave `notify`, and its words are not shown."""
    mocked.post(URL, exception=RuntimeError("secret"))
    assert (await told())[0] == ["webhook http://hooks.example was not told: a fault of asyncgg (RuntimeError)"]


# --- real sockets ---


class Receiver:
    """A webhook's server that keeps what it is sent."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], Any]] = []
        self.hang = False

    async def take(self, request: web.Request) -> web.Response:
        """Keep a message."""
        if self.hang:
            await asyncio.Event().wait()
        self.got.append(({name.lower(): value for name, value in request.headers.items()}, await request.json()))
        return web.Response()


@pytest_asyncio.fixture
async def receiver() -> AsyncIterator[tuple[Receiver, str]]:
    """A receiver and its address."""
    kept = Receiver()
    app = web.Application()
    app.router.add_post("/hook", kept.take)
    async with TestServer(app) as server:
        yield kept, str(server.make_url("/hook"))


async def test_what_is_sent(receiver: tuple[Receiver, str]) -> None:
    """One POST of the object as JSON in UTF-8, with the headers of the target, to each of several targets."""
    kept, url = receiver
    assert await notify([Webhook(url, {"X-Token": "t"}), Webhook(url)], MESSAGE) == []
    assert [body for _, body in kept.got] == [MESSAGE.to_dict()] * 2
    assert {headers.get("x-token") for headers, _ in kept.got} == {"t", None}
    assert {headers["content-type"] for headers, _ in kept.got} == {"application/json"}
    assert json.loads(json.dumps(kept.got[0][1]))["text"] == "done: ü"


async def test_the_time_is_bounded(receiver: tuple[Receiver, str]) -> None:
    """One that never answers, and one that is not there, cost no more than the bound, and spoil nothing for others."""
    kept, url = receiver
    kept.hang = True
    loop = asyncio.get_running_loop()
    begun = loop.time()
    faults = await notify([Webhook(url), Webhook("http://127.0.0.1:1/")], MESSAGE, timeout=0.3)
    assert loop.time() - begun < 1.5
    assert len(faults) == 2
    assert all("gave up after 0.3 s" in fault for fault in faults)
