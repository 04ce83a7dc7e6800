"""Rule: rules against moto's AWS IoT, through the real client, live here.

moto knows things, types, attributes, thing groups (members of the group itself only, one page) and a plain SearchIndex
(one page); pages and recursion are in test_iot.py, against a scripted client.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from asyncgg.cleanup import Decision, RegistryCache, decide_chunks, explain
from asyncgg.cleanup.policy.model import IotLimits
from asyncgg.cleanup.registry import IotRegistry, open_registry
from asyncgg.cleanup.rules import (
    AllOf,
    Api,
    IndexQuery,
    Node,
    Not,
    QueryFailed,
    ThingAttribute,
    ThingGroup,
    ThingMissing,
    ThingType,
)
from asyncgg.transport import ConnectionConfig
from tests.support.cleanup_rules import NOW, candidate, make_policy


@pytest.fixture(scope="module")
def fleet(moto_url: str) -> str:
    """moto with pump-1 in Berlin, pump-2 in the group `retired`, and valve-1 without a type; its address."""
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
    """A registry open to moto; Greengrass is elsewhere."""
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
async def test_rules_meet_a_real_client(iot: IotRegistry, rule: Node, selected: set[str]) -> None:
    """Each rule that asks AWS IoT selects what moto holds, and nothing on a group that is not there."""
    result: list[Decision] = [one async for one in decide_chunks(make_policy(rule), [FLEET], RegistryCache(iot), NOW)]
    assert {one.thing for one in result if one.selected} == selected


async def test_an_explanation_shows_every_answer(iot: IotRegistry) -> None:
    """What is asked for one thing is shown as a tree, each answer with what it rests on and where it is from."""
    policy = make_policy(AllOf((ThingMissing(), Not(ThingGroup("retired")))), ThingType("pump"))
    questions = RegistryCache(iot)
    orphan = FLEET[3]
    [_ async for _ in decide_chunks(policy, [[orphan]], questions, NOW)]
    explanation = explain(policy, orphan, questions.facts, NOW)
    assert explanation.lines() == [
        "gone-1 on core-1: selected, r1: thing-missing, not thing-group retired",
        "  yes     rule r1",
        "    yes     all of",
        "      yes     thing-missing: the thing does not exist (AWS IoT, DescribeThing)",
        "      yes     not",
        "        no      thing-group retired: not in the result (1 things) (AWS IoT, ListThingsInThingGroup)",
        "  unknown rule r2",
        "    unknown thing-type pump: the thing does not exist, so its type is unknown (AWS IoT, DescribeThing)",
    ]
    document = explanation.to_dict()
    assert document["schema"] == "asyncgg.explanation/1"
    assert (document["thing"], document["verdict"], document["selected"]) == ("gone-1", "selected", True)
    assert document["rules"][0]["parts"][0]["combine"] == "all"
    assert document["rules"][1]["parts"][0]["source"] == "AWS IoT, DescribeThing"


async def test_another_services_404_is_no_missing_thing(moto_url: str) -> None:
    """A 404 that does not come from AWS IoT's DescribeThing, here of an address under it, says nothing of the thing."""
    limits = IotLimits(endpoint_url=f"{moto_url}/nothing/here")
    async with open_registry(ConnectionConfig(), limits) as registry:
        answer = await registry.describe_thing("pump-1")
    assert isinstance(answer, QueryFailed)
    assert registry.operations[Api.DESCRIBE_THING].sent >= 1
