"""The data model of a clean-up policy: tables, keys, types, bounds and defaults."""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, Strict, StrictBool, with_config
from pydantic_core import PydanticCustomError

from asyncgg.cleanup.rules.base import Api, Condition
from asyncgg.cleanup.rules.conditions import NotIn
from asyncgg.cleanup.rules.expression import AnyOf, Rule, iter_conditions
from asyncgg.manifest import ProtectList
from asyncgg.models import CoreDevice
from asyncgg.notify.targets import ENV_REFERENCE, TOPIC_ARN, is_url
from asyncgg.settings import Duration

# A TOML key is the name of its field with `-` for `_`.
_MODEL_CONFIG: Final = ConfigDict(
    extra="forbid", alias_generator=lambda name: name.replace("_", "-"), validate_by_name=False
)
_GROUP_ARN: Final = re.compile(r"arn:[a-z0-9-]+:iot:[a-z0-9-]+:\d{12}:thinggroup/[a-zA-Z0-9:_-]{1,128}\Z")


def _pattern_validator(pattern: re.Pattern[str], message: str, *, secret: bool = False) -> AfterValidator:
    def check(value: str) -> str:
        if not pattern.match(value):
            raise _secret_error(message) if secret else ValueError(message)
        return value

    return AfterValidator(check)


def _secret_error(message: str) -> PydanticCustomError:
    """An error that does not quote the value: URL and headers of a webhook are secrets."""
    return PydanticCustomError("secret", message)


def _validate_url(value: str) -> str:
    if not is_url(value):
        raise _secret_error("invalid URL: write https://...")
    return value


def _validate_url_or_env(value: str) -> str:
    return value if ENV_REFERENCE.match(value) else _validate_url(value)


def _as_tuple(value: object) -> object:
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value


Number = Annotated[float, Strict(), Field(gt=0, allow_inf_nan=False)]
Percent = Annotated[Number, Field(le=100)]
Share = Annotated[Number, Field(le=1)]
Count = Annotated[int, Strict(), Field(ge=1)]
AccountId = Annotated[str, _pattern_validator(re.compile(r"\d{12}\Z"), "must be an AWS account id (12 digits)")]
PolicyName = Annotated[
    str,
    _pattern_validator(
        re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z"),
        "must be 1 to 64 of a-z A-Z 0-9 . _ - and start with a letter or digit",
    ),
]
EventName = Literal["end", "failure", "guard"]


@with_config(_MODEL_CONFIG)
@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """`[sources]`: restricts the core devices that are examined."""

    thing_group: Annotated[str, _pattern_validator(_GROUP_ARN, "must be the ARN of a thing group")] | None = None
    """ARN of the thing group of the cores [ListCoreDevices: thingGroupArn]."""
    status: Literal["HEALTHY", "UNHEALTHY"] | None = None
    runtime: Literal["aws_nucleus_classic", "aws_nucleus_lite"] | None = None
    """[Greengrass V2 service model: CoreDeviceRuntime]"""
    name: str | None = None
    """Glob of the core's name, applied by asyncgg: the service has no such filter."""

    def matches(self, core: CoreDevice) -> bool:
        """Whether the core is examined; the thing group is left to the service."""
        return (
            (self.name is None or fnmatch.fnmatchcase(core.name, self.name))
            and (self.status is None or core.status == self.status)
            and (self.runtime is None or core.runtime == self.runtime)
        )


@with_config(_MODEL_CONFIG)
@dataclass(frozen=True, slots=True, kw_only=True)
class RampConfig:
    """`[guards.ramp]`: growing things per minute [cf. AWS IoT Jobs: ExponentialRolloutRate]."""

    base_per_minute: Number
    factor: Annotated[Number, Field(gt=1, le=10)] = 2.0
    """Growth of the rate at each increase."""
    increase_after: Count
    """Finished things between two increases."""
    maximum_per_minute: Number | None = None


@with_config(_MODEL_CONFIG)
@dataclass(frozen=True, slots=True, kw_only=True)
class SafetyLimits:
    """`[guards]`: limits that stop or slow down a clean-up. Times in seconds."""

    max_things: Count | None = None
    """Maximum things of one run."""
    max_percent: Percent | None = None
    """Maximum percentage of the examined associations."""
    max_percent_per_core: Percent | None = None
    """Maximum percentage of the associations of any one core."""
    protect: Annotated[tuple[str, ...], BeforeValidator(_as_tuple)] = ()
    """Protect list files, relative to the policy's folder."""
    protect_names: Annotated[tuple[str, ...], BeforeValidator(_as_tuple)] = ()
    """Entries of a protect list."""
    expect_account: AccountId | None = None
    abort_at: Percent | None = None
    """Stop when this percentage of the finished things failed."""
    abort_after: Count = 100
    """Minimum finished things before `abort-at` applies."""
    absent: Literal["ok", "fail"] | None = None
    """As in `Settings`; None means that of the settings, here and for `missing_cores`."""
    missing_cores: Literal["ok", "fail"] | None = None
    continue_when_denied: StrictBool = False
    """Do not stop when access is denied for core after core."""
    canary: Count | None = None
    """Things that are removed first, and verified by listing before the rest is removed."""
    deadline: Duration | None = None
    quota_share: Share = 1.0
    max_failed_share: Annotated[float, Strict(), Field(ge=0, lt=1)] = 0.01
    """Maximum part of the cores that could not be listed."""
    ramp: RampConfig | None = None


@with_config(_MODEL_CONFIG)
@dataclass(frozen=True, slots=True, kw_only=True)
class StateConfig:
    """`[state]`: where runs are kept, and how many."""

    folder: str | None = None
    """Relative to the policy's folder; default: NAME.state."""
    keep_runs: Count = 30
    """Runs whose journals and snapshots are kept."""
    resume_unfinished: StrictBool = False
    """Complete the last run first if it was interrupted."""


@with_config(_MODEL_CONFIG)
@dataclass(frozen=True, slots=True, kw_only=True)
class NotifyConfig:
    """`[notify]`: notification targets. `env:NAME` as URL names a variable that contains it."""

    webhook: Annotated[
        tuple[Annotated[str, AfterValidator(_validate_url_or_env)], ...], BeforeValidator(_as_tuple)
    ] = ()
    webhook_headers: dict[
        str,
        Annotated[
            str,
            _pattern_validator(ENV_REFERENCE, "must be env:NAME, the variable that contains the header", secret=True),
        ],
    ] = field(default_factory=dict)
    sns: Annotated[
        tuple[Annotated[str, _pattern_validator(TOPIC_ARN, "must be the ARN of an SNS topic")], ...],
        BeforeValidator(_as_tuple),
    ] = ()
    apprise: Annotated[
        tuple[
            Annotated[
                str,
                _pattern_validator(ENV_REFERENCE, "must be env:NAME, a variable with the URL", secret=True),
            ],
            ...,
        ],
        BeforeValidator(_as_tuple),
    ] = ()
    on: Annotated[tuple[EventName, ...], BeforeValidator(_as_tuple)] = ("end", "failure", "guard")


@with_config(_MODEL_CONFIG)
@dataclass(frozen=True, slots=True, kw_only=True)
class IotLimits:
    """`[iot]`: the AWS IoT quotas of the account, in requests per second, and the part to use.

    Defaults and adjustable: [AWS General Reference, AWS IoT Core endpoints and quotas].
    """

    endpoint_url: Annotated[str, AfterValidator(_validate_url)] | None = None
    quota_share: Share = 0.5
    describe_thing: Annotated[Number, Field(le=100_000)] = 350.0
    search_index: Annotated[Number, Field(le=100_000)] = 15.0
    list_things_in_thing_group: Annotated[Number, Field(le=100_000)] = 25.0
    concurrency: Annotated[Count, Field(le=1000)] = 32
    """Maximum lookups in flight."""

    def rate(self, api: Api) -> float:
        """The requests per second of one operation that a clean-up may use."""
        quota = {
            Api.DESCRIBE_THING: self.describe_thing,
            Api.SEARCH_INDEX: self.search_index,
            Api.LIST_THINGS_IN_THING_GROUP: self.list_things_in_thing_group,
        }
        return quota[api] * self.quota_share


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A valid policy."""

    path: Path
    name: str
    rules: tuple[Rule, ...]
    """At least one; a thing is selected if any rule says yes."""
    protect: ProtectList
    """The entries of `protect` and `protect-names`."""
    sources: Sources = field(default_factory=Sources)
    guards: SafetyLimits = field(default_factory=SafetyLimits)
    state: StateConfig = field(default_factory=StateConfig)
    notify: NotifyConfig = field(default_factory=NotifyConfig)
    iot: IotLimits = field(default_factory=IotLimits)

    @property
    def tree(self) -> AnyOf:
        """All rules as one expression."""
        return AnyOf(self.rules)

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """Every condition of every rule."""
        return tuple(iter_conditions(self.tree))

    @property
    def required_apis(self) -> tuple[Api, ...]:
        """The distinct AWS IoT operations that the rules may need."""
        return tuple(
            dict.fromkeys(condition.required_api for condition in self.conditions if condition.required_api is not None)
        )

    @property
    def iot_actions(self) -> tuple[str, ...]:
        """The IAM actions of AWS IoT that the rules need."""
        actions = {
            Api.DESCRIBE_THING: ("iot:DescribeThing",),
            Api.SEARCH_INDEX: ("iot:SearchIndex",),
            Api.LIST_THINGS_IN_THING_GROUP: ("iot:DescribeThingGroup", "iot:ListThingsInThingGroup"),
        }
        return tuple(dict.fromkeys(action for api in self.required_apis for action in actions[api]))

    @property
    def s3_objects(self) -> tuple[str, ...]:
        """The `not-in` lists in S3, as s3://bucket/key."""
        return tuple(keep_list.file for keep_list in self.keep_lists if keep_list.file.startswith("s3://"))

    @property
    def permissions(self) -> tuple[str, ...]:
        """The IAM actions that the rules need in addition to those for Greengrass."""
        return tuple(dict.fromkeys([*self.iot_actions, *(f"s3:GetObject on {url}" for url in self.s3_objects)]))

    @property
    def keep_lists(self) -> tuple[NotIn, ...]:
        """The `not-in` conditions of all rules."""
        return tuple(condition for condition in self.conditions if isinstance(condition, NotIn))

    def local_path(self, file: str) -> Path | None:
        """The path of a `not-in` list, relative to the policy's folder; None if the list is in S3."""
        return None if file.startswith("s3://") else self.path.parent / file

    @property
    def state_dir(self) -> Path:
        """The folder of the policy's runs."""
        return self.path.parent / (self.state.folder or f"{self.name}.state")
