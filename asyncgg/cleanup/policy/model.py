"""Rule: what a clean-up policy is lives here, key by key: name, type, bounds, default, meaning; no file is read.

A key's name in the file is the field's with `-` for `_`. Every key is known or it is an error (`policy_file`).
"""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, Strict, StrictBool
from pydantic import with_config as configured

from asyncgg.cleanup.rules import AnyOf, Api, Condition, NotIn, Rule, iter_conditions
from asyncgg.manifest import ProtectList
from asyncgg.models import CoreDevice
from asyncgg.settings import parse_duration

__all__ = ["IotLimits", "NotifyConfig", "Policy", "RampConfig", "SafetyLimits", "Sources", "StateConfig"]

_MODEL_CONFIG: Final = ConfigDict(
    extra="forbid", alias_generator=lambda name: name.replace("_", "-"), validate_by_name=False
)
_GROUP_ARN: Final = re.compile(r"arn:[a-z0-9-]+:iot:[a-z0-9-]+:\d{12}:thinggroup/[a-zA-Z0-9:_-]{1,128}\Z")
_TOPIC_ARN: Final = re.compile(r"arn:[a-z0-9-]+:sns:[a-z0-9-]+:\d{12}:[a-zA-Z0-9_-]{1,256}(?:\.fifo)?\Z")
_ENV_REFERENCE: Final = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*\Z")


def _pattern_validator(pattern: re.Pattern[str], message: str) -> AfterValidator:
    def check(value: str) -> str:
        if not pattern.match(value):
            raise ValueError(message)
        return value

    return AfterValidator(check)


def _validate_url(value: str) -> str:
    # The value is not quoted in the message: a webhook's URL is a secret.
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        raise ValueError("this is no URL") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("this is no URL: write https://...")
    return value


def _validate_url_or_env(value: str) -> str:
    return value if _ENV_REFERENCE.match(value) else _validate_url(value)


def _as_tuple(value: object) -> object:
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value


Duration = Annotated[float, BeforeValidator(parse_duration)]
Number = Annotated[float, Strict(), Field(gt=0, allow_inf_nan=False)]
Percent = Annotated[Number, Field(le=100)]
Share = Annotated[Number, Field(le=1)]
Count = Annotated[int, Strict(), Field(ge=1)]
AccountId = Annotated[str, _pattern_validator(re.compile(r"\d{12}\Z"), "is no AWS account id (12 digits)")]
PolicyName = Annotated[
    str,
    _pattern_validator(
        re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z"), "must be 1 to 64 of a-z A-Z 0-9 . _ -: it names a folder"
    ),
]
EventName = Literal["end", "failure", "guard"]


@configured(_MODEL_CONFIG)
@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """`[sources]`: which core devices are looked at; what is left out does not restrict."""

    thing_group: Annotated[str, _pattern_validator(_GROUP_ARN, "is no thing group's ARN")] | None = None
    """ARN of the thing group the cores are in [ListCoreDevices: thingGroupArn]."""
    status: Literal["HEALTHY", "UNHEALTHY"] | None = None
    runtime: Literal["aws_nucleus_classic", "aws_nucleus_lite"] | None = None
    """[Greengrass V2 service model: CoreDeviceRuntime]"""
    name: str | None = None
    """Glob of the core's name; asyncgg's own, the service has no such filter."""

    def matches(self, core: CoreDevice) -> bool:
        """Whether this core is looked at, by what the listing told of it; the thing group only the service can tell."""
        return (
            (self.name is None or fnmatch.fnmatchcase(core.name, self.name))
            and (self.status is None or core.status == self.status)
            and (self.runtime is None or core.runtime == self.runtime)
        )


@configured(_MODEL_CONFIG)
@dataclass(frozen=True, slots=True, kw_only=True)
class RampConfig:
    """`[guards.ramp]`: things per minute that grow with success [cf. AWS IoT Jobs: ExponentialRolloutRate]."""

    base_per_minute: Number
    factor: Annotated[Number, Field(gt=1, le=10)] = 2.0
    """By which the rate grows each time."""
    increase_after: Count
    """Things done between two increases."""
    maximum_per_minute: Number | None = None


@configured(_MODEL_CONFIG)
@dataclass(frozen=True, slots=True, kw_only=True)
class SafetyLimits:
    """`[guards]`: what stops a clean-up, or slows it down. Times in seconds."""

    max_things: Count | None = None
    """Most things of one run."""
    max_percent: Percent | None = None
    """Most of the associations that were looked at."""
    max_percent_per_core: Percent | None = None
    """Most of any one core's associations."""
    protect: Annotated[tuple[str, ...], BeforeValidator(_as_tuple)] = ()
    """Files of a protect list, each a path from the policy's folder; `protect-names` holds entries themselves."""
    protect_names: Annotated[tuple[str, ...], BeforeValidator(_as_tuple)] = ()
    expect_account: AccountId | None = None
    abort_at: Percent | None = None
    """Stop when so many percent of the finished things failed."""
    abort_after: Count = 100
    """Finished things before `abort-at` applies."""
    canary: Count | None = None
    """Things to begin with, verified by listing before the rest goes."""
    deadline: Duration | None = None
    quota_share: Share = 1.0
    max_failed_share: Annotated[float, Strict(), Field(ge=0, lt=1)] = 0.01
    """Most of a sweep's cores that may not be listed: an incomplete view is not a small fleet."""
    ramp: RampConfig | None = None


@configured(_MODEL_CONFIG)
@dataclass(frozen=True, slots=True, kw_only=True)
class StateConfig:
    """`[state]`: what stays from one night to the next."""

    folder: str | None = None
    """Path from the policy's folder; NAME.state there unless given."""
    keep_runs: Count = 30
    """Runs whose journals and snapshots are kept."""
    resume_unfinished: StrictBool = False
    """Finish the last run first, when it was stopped."""


@configured(_MODEL_CONFIG)
@dataclass(frozen=True, slots=True, kw_only=True)
class NotifyConfig:
    """`[notify]`: who is told. A URL may be written `env:NAME`: the variable holds it then, and no file does."""

    webhook: Annotated[
        tuple[Annotated[str, AfterValidator(_validate_url_or_env)], ...], BeforeValidator(_as_tuple)
    ] = ()
    webhook_headers: dict[
        str,
        Annotated[str, _pattern_validator(_ENV_REFERENCE, "a header is written env:NAME, and the variable holds it")],
    ] = field(default_factory=dict)
    sns: Annotated[
        tuple[Annotated[str, _pattern_validator(_TOPIC_ARN, "is no SNS topic's ARN")], ...], BeforeValidator(_as_tuple)
    ] = ()
    on: Annotated[tuple[EventName, ...], BeforeValidator(_as_tuple)] = ("end", "failure", "guard")


@configured(_MODEL_CONFIG)
@dataclass(frozen=True, slots=True, kw_only=True)
class IotLimits:
    """`[iot]`: the account's quotas of AWS IoT in requests a second, and how much of them a clean-up may use.

    Defaults [AWS General Reference, AWS IoT Core endpoints and quotas]; all of these quotas can be raised.
    """

    endpoint_url: Annotated[str, AfterValidator(_validate_url)] | None = None
    quota_share: Share = 0.5
    describe_thing: Annotated[Number, Field(le=100_000)] = 350.0
    search_index: Annotated[Number, Field(le=100_000)] = 15.0
    list_things_in_thing_group: Annotated[Number, Field(le=100_000)] = 25.0
    concurrency: Annotated[Count, Field(le=1000)] = 32
    """Questions under way at the same time."""

    def rate(self, api: Api) -> float:
        """Requests a second of one operation that a clean-up may use."""
        quota = {
            Api.DESCRIBE_THING: self.describe_thing,
            Api.SEARCH_INDEX: self.search_index,
            Api.LIST_THINGS_IN_THING_GROUP: self.list_things_in_thing_group,
        }
        return quota[api] * self.quota_share


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A whole policy, checked."""

    path: Path
    name: str
    rules: tuple[Rule, ...]
    """At least one; a thing goes when one of them says yes."""
    protect: ProtectList
    """Both lists of the guards, read."""
    sources: Sources = field(default_factory=Sources)
    guards: SafetyLimits = field(default_factory=SafetyLimits)
    state: StateConfig = field(default_factory=StateConfig)
    notify: NotifyConfig = field(default_factory=NotifyConfig)
    iot: IotLimits = field(default_factory=IotLimits)

    @property
    def tree(self) -> AnyOf:
        """All rules as one."""
        return AnyOf(self.rules)

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """Every condition of every rule."""
        return tuple(iter_conditions(self.tree))

    @property
    def required_apis(self) -> tuple[Api, ...]:
        """The operations of AWS IoT that the rules may need, without repetition."""
        return tuple(
            dict.fromkeys(condition.required_api for condition in self.conditions if condition.required_api is not None)
        )

    @property
    def permissions(self) -> tuple[str, ...]:
        """The IAM actions that the rules need, besides those for the cores and the associations."""
        actions = {
            Api.DESCRIBE_THING: ("iot:DescribeThing",),
            Api.SEARCH_INDEX: ("iot:SearchIndex",),
            Api.LIST_THINGS_IN_THING_GROUP: ("iot:DescribeThingGroup", "iot:ListThingsInThingGroup"),
        }
        s3_objects = (
            f"s3:GetObject on {keep_list.file}" for keep_list in self.keep_lists if keep_list.file.startswith("s3://")
        )
        return tuple(
            dict.fromkeys([action for api in self.required_apis for action in actions[api]] + list(s3_objects))
        )

    @property
    def keep_lists(self) -> tuple[NotIn, ...]:
        """The lists of what must stay."""
        return tuple(condition for condition in self.conditions if isinstance(condition, NotIn))

    @property
    def state_dir(self) -> Path:
        """Where the state is kept."""
        return self.path.parent / (self.state.folder or f"{self.name}.state")
