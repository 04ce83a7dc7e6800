"""Rules with AWS IoT lookups against moto, through the real client."""

# moto supports direct members of thing groups and a simple SearchIndex, one page each. Pages and
# nested groups are tested with a scripted client in test_registry_client.py.

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from asyncgg.cleanup.explain import explain
from asyncgg.cleanup.policy.model import IotLimits
from asyncgg.cleanup.registry import IotRegistry, open_registry
from asyncgg.cleanup.registry_cache import RegistryCache
from asyncgg.cleanup.rules.base import Api, QueryFailed
from asyncgg.cleanup.rules.conditions import IndexQuery, ThingAttribute, ThingGroup, ThingMissing, ThingType
from asyncgg.cleanup.rules.expression import AllOf, Node, Not
from asyncgg.cleanup.select import Decision, decide_chunks
from asyncgg.retry_policy import RetryPolicy
from asyncgg.transport import ConnectionConfig
from tests.support.cleanup_rules import NOW, candidate, make_policy


@pytest.fixture(scope="module")
def fleet(moto_url: str) -> str:
    """moto with pump-1 in Berlin, pump-2 in the group `retired`, valve-1 without type; its URL."""
    import boto3

    client: Any = boto3.client(
        "iot", endpoint_url=moto_url, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
    )
    client.create_thing_type(thingTypeName="pump")
    client.create_thing(thingName="pump-1", thingTypeName="pump", attributePayload={"attributes": {"site": "berlin"}})
    client.create_thing(thingName="pump-2", thingTypeName="pump")
    client.create_thing(thingName="valve-1")
    client.create_thing_group(thingGroupName="retired")
    client.add_thing_to_thing_group(thingGroupName="retired", thingName="pump-2")
    client.close()
    return moto_url


@pytest_asyncio.fixture
async def iot(fleet: str) -> AsyncIterator[IotRegistry]:
    """An open registry of moto."""
    connection = ConnectionConfig(endpoint_url="http://127.0.0.1:9")
    async with open_registry(connection, IotLimits(endpoint_url=fleet)) as registry:
        yield registry


FLEET = [candidate(name) for name in ("pump-1", "pump-2", "valve-1", "gone-1")]


@pytest.mark.parametrize(
    ("rule", "selected"),
    [
        (ThingMissing(), {"gone-1"}),
        (Not(ThingMissing()), {"pump-1", "pump-2", "valve-1"}),
        (ThingType("pump"), {"pump-1", "pump-2"}),
        (Not(ThingType("pump")), {"valve-1"}),
        (ThingAttribute("site", equals="berlin"), {"pump-1"}),
        (ThingAttribute("site", exists=False), {"pump-2", "valve-1"}),
        (ThingGroup("retired"), {"pump-2"}),
        (ThingGroup("no-such-group"), set()),
        (Not(ThingGroup("no-such-group")), set()),
        (IndexQuery("thingTypeName:pump"), {"pump-1", "pump-2"}),
        (AllOf((ThingType("pump"), Not(ThingGroup("retired")))), {"pump-1"}),
    ],
)
async def test_rule_selects_things_of_registry(iot: IotRegistry, rule: Node, selected: set[str]) -> None:
    """Each rule with lookups selects the right things, and none for an unknown group."""
    result: list[Decision] = [
        decision async for decision in decide_chunks(make_policy(rule), [FLEET], RegistryCache(iot), NOW)
    ]
    assert {decision.thing for decision in result if decision.selected} == selected


async def test_explanation_shows_every_lookup(iot: IotRegistry) -> None:
    """An explanation has each condition with its result, fact and source."""
    policy = make_policy(AllOf((ThingMissing(), Not(ThingGroup("retired")))), ThingType("pump"))
    cache = RegistryCache(iot)
    orphan = FLEET[3]
    [_ async for _ in decide_chunks(policy, [[orphan]], cache, NOW)]
    explanation = explain(policy, orphan, cache.facts, NOW)
    assert explanation.lines() == [
        "gone-1 on core-1: selected, r1: thing-missing, not thing-group retired",
        "  yes     rule r1",
        "    yes     all of",
        "      yes     thing-missing: the thing does not exist (AWS IoT, DescribeThing)",
        "      yes     not",
        "        no      thing-group retired: not in the result (1 thing) (AWS IoT, ListThingsInThingGroup)",
        "  unknown rule r2",
        "    unknown thing-type pump: the thing does not exist, so its type is unknown (AWS IoT, DescribeThing)",
    ]
    document = explanation.to_dict()
    assert document["schema"] == "asyncgg.explanation/1"
    assert (document["thing"], document["verdict"], document["selected"]) == ("gone-1", "selected", True)
    assert document["rules"][0]["parts"][0]["combine"] == "all"
    assert document["rules"][1]["parts"][0]["source"] == "AWS IoT, DescribeThing"


async def test_foreign_404_is_failed_lookup(moto_url: str) -> None:
    """A 404 that is not of DescribeThing does not mean a missing thing."""
    limits = IotLimits(endpoint_url=f"{moto_url}/nothing/here")
    async with open_registry(ConnectionConfig(), limits) as opened:
        registry = IotRegistry(opened._client, limits, retry=RetryPolicy(max_attempts=1))  # waits for no retry
        result = await registry.describe_thing("pump-1")
    assert isinstance(result, QueryFailed)
    assert registry.operations[Api.DESCRIBE_THING].sent >= 1
