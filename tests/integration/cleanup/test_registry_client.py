"""AWS IoT lookups of a scripted client on virtual time: errors, pages, throttles, denials."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from asyncgg.cleanup.policy.model import IotLimits
from asyncgg.cleanup.registry import IotRegistry, iot_endpoint
from asyncgg.cleanup.registry_cache import RegistryCache
from asyncgg.cleanup.rules.base import Api, QueryFailed, ThingDescription
from asyncgg.errors import CredentialsError, CredentialsUnreachableError, UsageError
from asyncgg.retry_policy import RetryPolicy
from asyncgg.transport import ConnectionConfig

Step = Mapping[str, Any] | Exception | Callable[[Mapping[str, Any]], Mapping[str, Any]]


def client_error(status: int, code: str, headers: Mapping[str, str] | None = None) -> ClientError:
    """An error as botocore raises it."""
    meta: Any = {"HTTPStatusCode": status, "HTTPHeaders": dict(headers or {})}
    return ClientError({"Error": {"Code": code, "Message": "no way"}, "ResponseMetadata": meta}, "Operation")


THROTTLED = client_error(400, "ThrottlingException")
MISSING = client_error(404, "ResourceNotFoundException")
DENIED = client_error(403, "AccessDeniedException")
GROUP = {"thingGroupName": "g"}


class ScriptedIotClient:
    """Plays one step per call, repeats the last one, and records time and parameters."""

    def __init__(self, *steps: Step) -> None:
        self.steps = list(steps)
        self.calls: list[tuple[float, dict[str, Any]]] = []

    async def _call(self, **parameters: Any) -> Mapping[str, Any]:
        self.calls.append((asyncio.get_running_loop().time(), parameters))
        step = self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]
        if isinstance(step, Exception):
            raise step
        return step(parameters) if callable(step) else step

    describe_thing = describe_thing_group = list_things_in_thing_group = search_index = _call


def make_registry(
    client: ScriptedIotClient, *, attempts: int = 3, credentials: Any = None, **limits: Any
) -> IotRegistry:
    """A registry with this client."""
    retry = RetryPolicy(max_attempts=attempts)
    return IotRegistry(client, IotLimits(**limits), credentials=credentials, retry=retry)


@pytest.mark.virtual
@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (
            ({"thingName": "t", "thingTypeName": "p", "attributes": {"a": "b"}},),
            ThingDescription(True, "p", {"a": "b"}),
        ),
        (({"thingName": "t"},), ThingDescription(True)),
        ((MISSING,), ThingDescription(False)),
        ((THROTTLED, client_error(503, "ServiceUnavailableException"), MISSING), ThingDescription(False)),
        (
            (client_error(404, "404", {"Content-Type": "text/html"}),),
            QueryFailed("DescribeThing: HTTP 404 Not Found (text/html), not from the service"),
        ),
        ((client_error(403, "403"), MISSING), ThingDescription(False)),
        (
            (client_error(404, "UnknownOperationException"),),
            QueryFailed("DescribeThing: UnknownOperationException: no way"),
        ),
        ((THROTTLED,), QueryFailed("DescribeThing: ThrottlingException: no way")),
        ((DENIED,), QueryFailed("DescribeThing: AccessDeniedException: no way")),
        (({"thingName": "another"},), QueryFailed("DescribeThing: the response does not describe t")),
        (({},), QueryFailed("DescribeThing: the response does not describe t")),
        (({"thingName": "t", "attributes": {"a": 1}},), QueryFailed("DescribeThing: the response does not describe t")),
        ((ValueError("garbage"),), QueryFailed("DescribeThing: no valid response (garbage)")),
        (
            (EndpointConnectionError(endpoint_url="http://x"),),
            QueryFailed('DescribeThing: no valid response (Could not connect to the endpoint URL: "http://x")'),
        ),
    ],
)
async def test_describe_thing_outcomes(steps: tuple[Step, ...], expected: ThingDescription | QueryFailed) -> None:
    """Only ResourceNotFoundException means a missing thing; transient errors are retried."""
    assert await make_registry(ScriptedIotClient(*steps)).describe_thing("t") == expected


@pytest.mark.virtual
async def test_lists_fetch_all_pages() -> None:
    """Groups have pages of 250, queries of 100, until there is no token."""
    client = ScriptedIotClient(
        GROUP, {"things": ["a"], "nextToken": "1"}, {"things": [], "nextToken": "2"}, {"things": ["b", "a"]}
    )
    assert await make_registry(client).list_group("g", recursive=True) == frozenset({"a", "b"})
    page = {"thingGroupName": "g", "recursive": True, "maxResults": 250}
    tokens: list[dict[str, str]] = [{}, {"nextToken": "1"}, {"nextToken": "2"}]
    assert [given for _, given in client.calls[1:]] == [page | token for token in tokens]
    client = ScriptedIotClient({"things": [{"thingName": "a"}], "nextToken": "1"}, {"things": [{"thingName": "b"}]})
    assert await make_registry(client).search_index("q:1") == frozenset({"a", "b"})
    query = {"queryString": "q:1", "maxResults": 100}
    assert [given for _, given in client.calls] == [query, query | {"nextToken": "1"}]


@pytest.mark.virtual
@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        ((MISSING,), "ListThingsInThingGroup: ResourceNotFoundException: no way"),
        ((GROUP | {"status": "BUILDING"},), "the group is being built (BUILDING)"),
        (({"thingGroupName": "h"},), "the response describes another group"),
        ((GROUP, {"things": ["a"], "nextToken": "1"}, DENIED), "ListThingsInThingGroup: AccessDeniedException: no way"),
        ((GROUP, {"things": ["a"], "nextToken": "1"}), "ListThingsInThingGroup: the pages repeat"),
        ((GROUP, {"things": ["a"], "nextToken": 5}), "ListThingsInThingGroup: the pages repeat"),
        ((GROUP, {"things": ["a", 5]}), "the response contains an invalid name"),
        ((GROUP, {"things": "ab"}), "ListThingsInThingGroup: the response has no list"),
    ],
)
async def test_list_group_incomplete_fails(steps: tuple[Step, ...], reason: str) -> None:
    """A group with a failed page or an invalid response is a failed lookup."""
    assert await make_registry(ScriptedIotClient(*steps)).list_group("g", recursive=True) == QueryFailed(
        f"cannot list thing group g: {reason}"
    )


@pytest.mark.virtual
@pytest.mark.parametrize(
    ("response", "reason"),
    [
        ({"things": [{}]}, "the response contains an invalid name"),
        ({"things": [5]}, "the response contains an invalid name"),
        ({"things": [{"thingName": 1}]}, "the response contains an invalid name"),
        ({"things": None}, "SearchIndex: the response has no list"),
    ],
)
async def test_search_index_invalid_response_fails(response: Mapping[str, Any], reason: str) -> None:
    """A document without a valid name fails the whole query."""
    result = await make_registry(ScriptedIotClient(response)).search_index("q")
    assert result == QueryFailed(f"cannot search the index for 'q': {reason}")


@pytest.mark.virtual
async def test_operation_keeps_quota_share() -> None:
    """400 lookups at 20 % of a quota of 100/s take 20 s."""
    client = ScriptedIotClient(lambda given: {"thingName": given["thingName"]})
    registry = make_registry(client, describe_thing=100.0, quota_share=0.2)
    cache = RegistryCache(registry)
    started = asyncio.get_running_loop().time()
    await cache.fetch_things(f"t{number}" for number in range(400))
    assert asyncio.get_running_loop().time() - started == pytest.approx(20, rel=0.02)
    assert cache.statistics().failed == 0


@pytest.mark.virtual
async def test_throttle_delays_retry() -> None:
    """A throttled call waits for Retry-After and succeeds."""
    wait = client_error(400, "ThrottlingException", {"Retry-After": "7"})
    client = ScriptedIotClient(wait, wait, {"thingName": "t"})
    registry = make_registry(client)
    assert await registry.describe_thing("t") == ThingDescription(True)
    times = [at for at, _ in client.calls]
    assert [later - earlier for earlier, later in pairwise(times)] == pytest.approx([7, 7], abs=0.1)
    calls = registry.operations[Api.DESCRIBE_THING]
    assert (calls.sent, calls.throttled) == (3, 2)


@pytest.mark.virtual
async def test_denied_operation_is_not_called_again() -> None:
    """After some denials without success, the operation is not called any more."""
    client = ScriptedIotClient(DENIED)
    warnings: list[str] = []
    cache = RegistryCache(make_registry(client), concurrency=1, on_warning=warnings.append)
    await cache.fetch_things(f"t{number}" for number in range(100))
    assert len(client.calls) == 3
    assert len(warnings) == 2
    assert cache.facts.things["t99"] == QueryFailed(
        "DescribeThing denied: AccessDeniedException: no way; allow iot:DescribeThing or remove the rule"
    )


@pytest.mark.virtual
async def test_wrong_endpoint_is_not_called_again() -> None:
    """After some unknown operation errors, the operation is not called any more."""
    client = ScriptedIotClient(client_error(404, "UnknownOperationException"))
    cache = RegistryCache(make_registry(client), concurrency=1)
    await cache.fetch_things(f"t{number}" for number in range(100))
    assert len(client.calls) == 3
    assert cache.facts.things["t99"] == QueryFailed(
        "DescribeThing rejected: UnknownOperationException: no way; check the AWS IoT endpoint"
    )


@pytest.mark.virtual
async def test_denied_things_do_not_stop_lookups() -> None:
    """Denials of single things do not stop other lookups."""

    def describe(given: Mapping[str, Any]) -> Mapping[str, Any]:
        if given["thingName"] != "t0" and int(given["thingName"][1:]) % 2:
            raise DENIED
        return {"thingName": given["thingName"]}

    cache = RegistryCache(make_registry(ScriptedIotClient(describe)), concurrency=1)
    await cache.fetch_things(f"t{number}" for number in range(20))
    assert cache.statistics().failed == 10


@pytest.mark.virtual
async def test_unreachable_service_is_not_called_again() -> None:
    """After some calls failed in all attempts, the operation is not called any more."""
    down = EndpointConnectionError(endpoint_url="http://x")
    client = ScriptedIotClient({"thingName": "t0"}, down)
    cache = RegistryCache(make_registry(client), concurrency=1)
    await cache.fetch_things(f"t{number}" for number in range(1000))
    assert len(client.calls) == 1 + 5 * 3
    assert cache.statistics().failed == 999
    last = cache.facts.things["t999"]
    assert isinstance(last, QueryFailed)
    assert last.reason.startswith("DescribeThing skipped after 5 failed calls in a row: no valid response")


class RenewableCredentials:
    """Credentials that are accepted after a number of renewals."""

    def __init__(self, good_after: int) -> None:
        self.generation = 0
        self.last_generation = good_after
        self.rejected_generations: list[int] = []
        self.unreachable = 0

    async def get_frozen_credentials(self) -> None:
        """Fail some times after a minute."""
        if self.unreachable:
            self.unreachable -= 1
            await asyncio.sleep(61)
            raise CredentialsUnreachableError("connection failed")

    def mark_rejected(self, generation: int) -> None:
        """Record the generation."""
        self.rejected_generations.append(generation)

    async def renew(self) -> None:
        """The next generation; raises after the last one."""
        await asyncio.sleep(1)
        if self.generation == self.last_generation:
            raise CredentialsError("log in again")
        self.generation += 1


@pytest.mark.virtual
async def test_expired_credentials_are_renewed() -> None:
    """Expired credentials are renewed once; without new ones, an error is raised."""
    expired = client_error(403, "ExpiredTokenException")
    credentials = RenewableCredentials(1)
    client = ScriptedIotClient(expired, {"thingName": "t"})
    assert await make_registry(client, credentials=credentials).describe_thing("t") == ThingDescription(True)
    assert (credentials.generation, credentials.rejected_generations) == (1, [0])
    with pytest.raises(CredentialsError, match="log in again"):
        await make_registry(ScriptedIotClient(expired), credentials=RenewableCredentials(0)).describe_thing("t")


@pytest.mark.virtual
async def test_wait_for_credentials_is_no_request() -> None:
    """A slow and unreachable source of credentials is used again; nothing is sent before it has some."""
    credentials = RenewableCredentials(0)
    credentials.unreachable = 2
    client = ScriptedIotClient({"thingName": "t"})
    started = asyncio.get_running_loop().time()
    assert await make_registry(client, credentials=credentials).describe_thing("t") == ThingDescription(True)
    assert len(client.calls) == 1
    assert client.calls[0][0] - started > 122


@pytest.mark.parametrize(
    ("given", "variables", "limit", "endpoint"),
    [
        (None, {}, None, None),
        (None, {"AWS_ENDPOINT_URL": "http://all"}, None, "http://all"),
        (None, {"AWS_ENDPOINT_URL": "http://all", "AWS_ENDPOINT_URL_IOT": "http://iot"}, None, "http://iot"),
        ("http://gg", {"AWS_ENDPOINT_URL_IOT": "http://iot"}, None, "http://iot"),
        ("http://all", {"AWS_ENDPOINT_URL": "http://all"}, None, "http://all"),  # a journal restores it
        ("http://gg", {"AWS_ENDPOINT_URL_IOT": "http://iot"}, "http://own", "http://own"),
        (None, {"AWS_ENDPOINT_URL_GREENGRASSV2": "http://gg", "AWS_ENDPOINT_URL": "http://all"}, None, "http://all"),
    ],
)
def test_iot_endpoint_precedence(
    monkeypatch: pytest.MonkeyPatch,
    given: str | None,
    variables: dict[str, str],
    limit: str | None,
    endpoint: str | None,
) -> None:
    """The policy endpoint wins over that of AWS IoT, and this over that of all services."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert iot_endpoint(ConnectionConfig(endpoint_url=given), IotLimits(endpoint_url=limit)) == endpoint


@pytest.mark.parametrize(
    ("given", "variables"),
    [
        ("http://gg", {}),
        ("http://gg", {"AWS_ENDPOINT_URL": "http://all"}),
        (None, {"AWS_ENDPOINT_URL_GREENGRASSV2": "http://gg"}),
    ],
)
def test_iot_endpoint_custom_greengrass_only_raises(
    monkeypatch: pytest.MonkeyPatch, given: str | None, variables: dict[str, str]
) -> None:
    """A custom endpoint of Greengrass alone is an error."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match="set AWS_ENDPOINT_URL_IOT or the policy's"):
        iot_endpoint(ConnectionConfig(endpoint_url=given), IotLimits())
