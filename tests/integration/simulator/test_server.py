"""Tests of asyncgg.simulator.server over HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from asyncgg.errors import UsageError
from asyncgg.simulator import Simulator
from tests.support.simulator import SECRET_KEY, SMALL_FLEET, batch_request, fast_config


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """A client with a timeout of 5 s, so that a test fails instead of hanging."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
        yield session


async def send(http: aiohttp.ClientSession, sim: Simulator, core: str, *things: str, timeout: float = 5.0) -> Any:
    """Send a signed disassociate request and return status and body."""
    request = batch_request(core, things, endpoint=sim.url)
    async with http.post(
        sim.url + request.target,
        data=request.body,
        headers=dict(request.headers),
        timeout=aiohttp.ClientTimeout(total=timeout),
    ) as response:
        return response.status, await response.read()


async def counters(http: aiohttp.ClientSession, sim: Simulator) -> Any:
    """Get /_sim/counters."""
    async with http.get(f"{sim.url}/_sim/counters") as response:
        return await response.json()


async def wait_for_in_flight(sim: Simulator, number: int) -> None:
    """Wait until exactly `number` requests are in flight."""
    async with asyncio.timeout(5):
        while sim.service.counters.in_flight != number:  # noqa: ASYNC110 - the server has no event to wait for
            await asyncio.sleep(0.002)


async def post(http: aiohttp.ClientSession, sim: Simulator, path: str, value: Any) -> int:
    """Post to a path under /_sim and return the status."""
    async with http.post(f"{sim.url}/_sim/{path}", data=json.dumps(value)) as response:
        return response.status


async def test_signed_request_over_http_is_accepted(http: aiohttp.ClientSession) -> None:
    """A request signed for this endpoint is accepted by a simulator that verifies signatures."""
    async with Simulator(fast_config(secret_key=SECRET_KEY, max_clock_skew=300.0), fleet_spec=SMALL_FLEET) as sim:
        status, body = await send(http, sim, "core-1", "a", "x")
        assert status == 200
        assert [entry["thingName"] for entry in json.loads(body)["errorEntries"]] == ["x"]


@pytest.mark.parametrize(("fault", "remaining"), [("reset-before", 3), ("reset-after", 2)])
async def test_reset_fault_resets_connection(http: aiohttp.ClientSession, fault: str, remaining: int) -> None:
    """The change is applied or not depending on the fault, and the next request succeeds."""
    async with Simulator(fast_config(fault=(f"{fault}#1",)), fleet_spec=SMALL_FLEET) as sim:
        with pytest.raises((ConnectionResetError, aiohttp.ClientOSError)):
            await send(http, sim, "core-1", "a")
        assert len(sim.service.fleet.things["core-1"]) == remaining
        assert (await send(http, sim, "core-1", "b"))[0] == 200


async def test_half_fault_truncates_body(http: aiohttp.ClientSession) -> None:
    """The body is shorter than its stated length, and the change is applied."""
    async with Simulator(fast_config(fault=("half",)), fleet_spec=SMALL_FLEET) as sim:
        with pytest.raises(aiohttp.ClientPayloadError):
            await send(http, sim, "core-1", "a", "x")
        assert "a" not in sim.service.fleet.things["core-1"]


async def test_garbage_fault_returns_200_with_html(http: aiohttp.ClientSession) -> None:
    """The status is 200, but the body is not JSON."""
    async with Simulator(fast_config(fault=("garbage",)), fleet_spec=SMALL_FLEET) as sim:
        status, body = await send(http, sim, "core-1", "a")
        assert status == 200
        assert body.startswith(b"<html>")


async def test_hang_fault_holds_until_client_disconnects(http: aiohttp.ClientSession) -> None:
    """Other requests are served meanwhile, and the hang ends when the client disconnects."""
    async with Simulator(fast_config(fault=("hang-after#1",)), fleet_spec=SMALL_FLEET) as sim:
        with pytest.raises(TimeoutError):
            await send(http, sim, "core-1", "a", timeout=0.1)
        assert (await send(http, sim, "core-1", "b"))[0] == 200
        await wait_for_in_flight(sim, 0)
        assert not sim._hanging
        assert list(sim.service.fleet.things["core-1"]) == ["c"]


async def test_hang_fault_resets_after_hang_seconds(http: aiohttp.ClientSession) -> None:
    """The connection is reset after the maximum time."""
    async with Simulator(fast_config(fault=("hang",), hang_seconds=0.05), fleet_spec=SMALL_FLEET) as sim:
        with pytest.raises((ConnectionResetError, aiohttp.ClientOSError)):
            await send(http, sim, "core-1", "a")


async def test_stop_ends_hanging_requests(http: aiohttp.ClientSession) -> None:
    """The server stops at once, and hanging clients get an error."""
    async with Simulator(fast_config(fault=("hang",)), fleet_spec=SMALL_FLEET) as sim:
        waiting = [asyncio.create_task(send(http, sim, "core-1", "a")) for _ in range(3)]
        await wait_for_in_flight(sim, 3)
        started_at = asyncio.get_running_loop().time()
        await sim.stop()
        assert asyncio.get_running_loop().time() - started_at < 2.0
        results = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(result, aiohttp.ClientError | OSError) for result in results)


async def test_cancelled_requests_are_counted_and_released(http: aiohttp.ClientSession) -> None:
    """Fifty cancelled requests are counted, and the server keeps serving."""
    async with Simulator(fast_config(latency_ms=50.0), fleet_spec=SMALL_FLEET) as sim:
        tasks = [asyncio.create_task(send(http, sim, "core-1", f"x{n}")) for n in range(50)]
        await wait_for_in_flight(sim, 50)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert (await send(http, sim, "core-1", "a"))[0] == 200
        counts = await counters(http, sim)
        assert (counts["total"], counts["admitted"]) == (51, 51)
        assert counts["max_in_flight"] >= 50
        assert counts["max_in_flight_per_core"] >= 50
        assert sim.service.counters.in_flight == 0


async def test_malformed_http_does_not_stop_server(http: aiohttp.ClientSession) -> None:
    """The server survives a client without HTTP and one that disconnects within a request."""
    async with Simulator(fast_config(), fleet_spec=SMALL_FLEET) as sim:
        port = int(sim.url.rpartition(":")[2])
        for garbage in (
            b"\x16\x03\x01\x00\xff",
            b"POST /greengrass/v2/coreDevices HTTP/1.1\r\nContent-Length: 99\r\n\r\n{",
        ):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(garbage)
            await writer.drain()
            writer.close()
        assert (await send(http, sim, "core-1", "a"))[0] == 200


async def test_control_api_changes_faults_and_quota(http: aiohttp.ClientSession) -> None:
    """Faults and quota can change while serving, and reset restores the initial settings."""
    async with Simulator(fast_config(rate=1000.0, burst=100.0), fleet_spec=SMALL_FLEET) as sim:
        assert await post(http, sim, "faults", {"faults": ["500"]}) == 200
        assert (await send(http, sim, "core-1", "a"))[0] == 500
        assert await post(http, sim, "faults", {"faults": []}) == 200
        assert await post(http, sim, "quota", {"rate": 0.001, "burst": 1}) == 200
        assert [(await send(http, sim, "core-1", thing))[0] for thing in "ab"] == [200, 429]
        counts = await counters(http, sim)
        assert counts["quota"] == {"rate": 0.001, "burst": 1.0}
        assert await post(http, sim, "quota", {"rate": "inf"}) == 200
        assert (await send(http, sim, "core-1", "c"))[0] == 200
        assert await post(http, sim, "reset", {}) == 200
        counts = await counters(http, sim)
        assert (counts["total"], counts["quota"]["rate"]) == (0, 1000.0)
        assert len(sim.service.fleet) == 4


async def test_control_api_shows_state_log_and_config(http: aiohttp.ClientSession) -> None:
    """State, things, log, settings and manifest need no signature and are not counted."""
    async with Simulator(fast_config(), fleet_spec=SMALL_FLEET) as sim:
        await send(http, sim, "core-1", "a", "b")
        await send(http, sim, "core-1", "a")
        responses: dict[str, Any] = {}
        for path in ("", "/state", "/things", "/requests?last=1", "/requests", "/config"):
            async with http.get(f"{sim.url}/_sim{path}") as response:
                responses[path] = await response.json()
        assert "GET /_sim/state" in responses[""]
        assert responses["/state"] == {"core-1": ["c"], "core-2": ["d"], "core:3": []}
        assert responses["/things"]["carried_more_than_once"] == {"core-1": {"a": 2}}
        assert responses["/requests?last=1"] == responses["/requests"][1:]
        assert [row["entries"] for row in responses["/requests"]] == [2, 1]
        assert responses["/config"]["rate"] == "inf"
        async with http.get(f"{sim.url}/_sim/manifest.csv") as response:
            assert response.content_type == "text/csv"
            assert await response.text() == "core,thing\ncore-1,a\ncore-1,b\ncore-1,c\ncore-2,d\n"
        assert (await counters(http, sim))["total"] == 2


async def test_record_appends_json_lines(http: aiohttp.ClientSession, tmp_path: Path) -> None:
    """Each request adds one line to the record file, also after a second start."""
    path = tmp_path / "requests.jsonl"
    for _ in range(2):
        async with Simulator(fast_config(record=str(path)), fleet_spec=SMALL_FLEET) as sim:
            await send(http, sim, "core-1", "a")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(row["core"], row["status"]) for row in rows] == [("core-1", 200)] * 2


async def test_start_without_port_or_record_file_raises() -> None:
    """A port in use, an unwritable record file and a foreign address are usage errors."""
    async with Simulator(fast_config()) as sim:
        port = int(sim.url.rpartition(":")[2])
        with pytest.raises(UsageError, match=f"port {port} .*in use.*--port 0"):
            await Simulator(fast_config(), port=port).start()
    with pytest.raises(UsageError, match="record"):
        await Simulator(fast_config(record="/missing/directory/file")).start()
    with pytest.raises(UsageError, match=r"cannot listen on 192\.0\.2\.1"):
        await Simulator(fast_config(), host="192.0.2.1").start()
