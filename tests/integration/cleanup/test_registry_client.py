"""Rule: asking AWS IoT lives here, against a scripted client on virtual time: its faults, pages, throttles, denials."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from asyncgg.cleanup import IotLimits, RegistryCache
from asyncgg.cleanup.registry import IotRegistry, iot_endpoint
from asyncgg.cleanup.rules import Api, QueryFailed, ThingDescription
from asyncgg.errors import CredentialsError, UsageError
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
    """Plays its steps, one a call, the last for ever, and notes when and with what it was called."""

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
    """A registry that plays this client."""
    retry = RetryPolicy(max_attempts=attempts)
    return IotRegistry(client, IotLimits(**limits), credentials=credentials, retry=retry)


@pytest.mark.virtual
@pytest.mark.parametrize(
    ("steps", "answer"),
    [
        (
            ({"thingName": "t", "thingTypeName": "p", "attributes": {"a": "b"}},),
            ThingDescription(True, "p", {"a": "b"}),
        ),
        (({"thingName": "t"},), ThingDescription(True)),
        ((MISSING,), ThingDescription(False)),
        ((THROTTLED, client_error(503, "ServiceUnavailableException"), MISSING), ThingDescription(False)),
        ((client_error(404, "404"),), QueryFailed("DescribeThing: 404: no way")),
        (
            (client_error(404, "UnknownOperationException"),),
            QueryFailed("DescribeThing: UnknownOperationException: no way"),
        ),
        ((THROTTLED,), QueryFailed("DescribeThing: ThrottlingException: no way")),
        ((DENIED,), QueryFailed("DescribeThing: AccessDeniedException: no way")),
        (({"thingName": "another"},), QueryFailed("DescribeThing: the response does not describe t")),
        (({},), QueryFailed("DescribeThing: the response does not describe t")),
        (({"thingName": "t", "attributes": {"a": 1}},), QueryFailed("DescribeThing: the response does not describe t")),
        ((ValueError("garbage"),), QueryFailed("DescribeThing: no readable answer (garbage)")),
        (
            (EndpointConnectionError(endpoint_url="http://x"),),
            QueryFailed('DescribeThing: no readable answer (Could not connect to the endpoint URL: "http://x")'),
        ),
    ],
)
async def test_only_a_certain_answer_counts(steps: tuple[Step, ...], answer: ThingDescription | QueryFailed) -> None:
    """A thing is missing only when AWS IoT itself says so; what passes is tried again; all else is no answer."""
    assert await make_registry(ScriptedIotClient(*steps)).describe_thing("t") == answer


@pytest.mark.virtual
async def test_pages_are_asked_to_their_end() -> None:
    """A group is listed recursively, 250 a page, a query 100 a page, until no token is left."""
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
        ((GROUP, {"things": ["a"], "nextToken": "1"}), "the pages repeat"),
        ((GROUP, {"things": ["a"], "nextToken": 5}), "the pages repeat"),
        ((GROUP, {"things": ["a", 5]}), "the response contains an invalid name"),
        ((GROUP, {"things": "ab"}), "the response contains an invalid name"),
    ],
)
async def test_half_a_group_is_none(steps: tuple[Step, ...], reason: str) -> None:
    """A group of which one page is missing, or that is not there, has no answer: half of it under `not` deletes."""
    assert await make_registry(ScriptedIotClient(*steps)).list_group("g", recursive=True) == QueryFailed(
        f"cannot list thing group g: {reason}"
    )


@pytest.mark.virtual
@pytest.mark.parametrize(
    "answer", [{"things": [{}]}, {"things": [5]}, {"things": None}, {"things": [{"thingName": 1}]}]
)
async def test_garbage_of_the_index_is_no_answer(answer: Mapping[str, Any]) -> None:
    """A document without a name makes the whole query unanswered."""
    result = await make_registry(ScriptedIotClient(answer)).search_index("q")
    assert result == QueryFailed("cannot search the index for 'q': the response contains an invalid name")


@pytest.mark.virtual
async def test_each_operation_keeps_to_its_share() -> None:
    """400 things at 20 % of a quota of 100/s take 20 s: the limiter is asked before every request."""
    client = ScriptedIotClient(lambda given: {"thingName": given["thingName"]})
    limited = make_registry(client, describe_thing=100.0, quota_share=0.2)
    questions = RegistryCache(limited)
    started = asyncio.get_running_loop().time()
    await questions.fetch_things(f"t{number}" for number in range(400))
    assert asyncio.get_running_loop().time() - started == pytest.approx(20, rel=0.02)
    assert questions.statistics().failed == 0


@pytest.mark.virtual
async def test_throttles_slow_it_down_and_are_waited_out() -> None:
    """A 400 ThrottlingException lowers the rate; what the service asks to wait is waited; the answer comes."""
    wait = client_error(400, "ThrottlingException", {"Retry-After": "7"})
    client = ScriptedIotClient(wait, wait, {"thingName": "t"})
    limited = make_registry(client)
    assert await limited.describe_thing("t") == ThingDescription(True)
    times = [at for at, _ in client.calls]
    assert [later - earlier for earlier, later in pairwise(times)] == pytest.approx([7, 7], abs=0.1)
    calls = limited.operations[Api.DESCRIBE_THING]
    assert (calls.sent, calls.throttled) == (3, 2)


@pytest.mark.virtual
async def test_what_is_denied_for_all_is_not_asked_for_each() -> None:
    """After some denials and no answer the operation is called no more, and people are told what to allow."""
    client = ScriptedIotClient(DENIED)
    warnings: list[str] = []
    questions = RegistryCache(make_registry(client), concurrency=1, on_warning=warnings.append)
    await questions.fetch_things(f"t{number}" for number in range(100))
    assert len(client.calls) == 3
    assert len(warnings) == 2
    assert questions.facts.things["t99"] == QueryFailed(
        "DescribeThing is denied: AccessDeniedException: no way; allow iot:DescribeThing, or leave the rule out"
    )


@pytest.mark.virtual
async def test_a_wrong_endpoint_is_found_out() -> None:
    """Where another service answers that it knows no such operation, not every thing is asked for."""
    client = ScriptedIotClient(client_error(404, "UnknownOperationException"))
    questions = RegistryCache(make_registry(client), concurrency=1)
    await questions.fetch_things(f"t{number}" for number in range(100))
    assert len(client.calls) == 3
    assert questions.facts.things["t99"] == QueryFailed(
        "DescribeThing is refused: UnknownOperationException: no way; is this the endpoint of AWS IoT?"
    )


@pytest.mark.virtual
async def test_a_denial_of_one_thing_is_of_that_one() -> None:
    """Where others are answered, a policy on single things does not end the questions."""

    def answer(given: Mapping[str, Any]) -> Mapping[str, Any]:
        if given["thingName"] != "t0" and int(given["thingName"][1:]) % 2:
            raise DENIED
        return {"thingName": given["thingName"]}

    questions = RegistryCache(make_registry(ScriptedIotClient(answer)), concurrency=1)
    await questions.fetch_things(f"t{number}" for number in range(20))
    assert questions.statistics().failed == 10


@pytest.mark.virtual
async def test_a_service_that_is_down_is_not_waited_for_by_each_thing() -> None:
    """When some things got no answer in all their attempts, the others are not asked: a night has an end."""
    down = EndpointConnectionError(endpoint_url="http://x")
    client = ScriptedIotClient({"thingName": "t0"}, down)
    questions = RegistryCache(make_registry(client), concurrency=1)
    await questions.fetch_things(f"t{number}" for number in range(1000))
    assert len(client.calls) == 1 + 5 * 3
    assert questions.statistics().failed == 999
    last = questions.facts.things["t999"]
    assert isinstance(last, QueryFailed)
    assert last.reason.startswith("DescribeThing is not asked any more, 5 calls in a row failed: no readable answer")


class RenewableCredentials:
    """Credentials that are good after so many renewals."""

    def __init__(self, good_after: int) -> None:
        self.generation = 0
        self.last_generation = good_after
        self.rejected_generations: list[int] = []

    def mark_rejected(self, generation: int) -> None:
        """Note it."""
        self.rejected_generations.append(generation)

    async def renew(self) -> None:
        """One more, or none any more."""
        await asyncio.sleep(1)
        if self.generation == self.last_generation:
            raise CredentialsError("log in again")
        self.generation += 1


@pytest.mark.virtual
async def test_expired_credentials_are_renewed() -> None:
    """An expired token costs one renewal and no answer; when there are no others, that is the end."""
    expired = client_error(403, "ExpiredTokenException")
    credentials = RenewableCredentials(1)
    client = ScriptedIotClient(expired, {"thingName": "t"})
    assert await make_registry(client, credentials=credentials).describe_thing("t") == ThingDescription(True)
    assert (credentials.generation, credentials.rejected_generations) == (1, [0])
    with pytest.raises(CredentialsError, match="log in again"):
        await make_registry(ScriptedIotClient(expired), credentials=RenewableCredentials(0)).describe_thing("t")


@pytest.mark.parametrize(
    ("given", "variables", "limit", "endpoint"),
    [
        (None, {}, None, None),
        (None, {"AWS_ENDPOINT_URL": "http://all"}, None, "http://all"),
        (None, {"AWS_ENDPOINT_URL": "http://all", "AWS_ENDPOINT_URL_IOT": "http://iot"}, None, "http://iot"),
        ("http://gg", {"AWS_ENDPOINT_URL_IOT": "http://iot"}, None, "http://iot"),
        ("http://gg", {"AWS_ENDPOINT_URL_IOT": "http://iot"}, "http://own", "http://own"),
        (None, {"AWS_ENDPOINT_URL_GREENGRASSV2": "http://gg", "AWS_ENDPOINT_URL": "http://all"}, None, "http://all"),
    ],
)
def test_where_iot_is_asked(
    monkeypatch: pytest.MonkeyPatch,
    given: str | None,
    variables: dict[str, str],
    limit: str | None,
    endpoint: str | None,
) -> None:
    """The policy's own endpoint wins, then the one for IoT, then the one for all services."""
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
def test_nothing_is_asked_elsewhere(
    monkeypatch: pytest.MonkeyPatch, given: str | None, variables: dict[str, str]
) -> None:
    """With an endpoint for Greengrass only, the questions to AWS IoT are refused and do not go to AWS."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match="set AWS_ENDPOINT_URL_IOT or the policy's"):
        iot_endpoint(ConnectionConfig(endpoint_url=given), IotLimits())
