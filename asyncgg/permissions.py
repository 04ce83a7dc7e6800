"""The IAM actions that each command needs, and the least policy that allows them."""

# Actions and their resources are those of the Service Authorization Reference of AWS: Greengrass V2,
# IoT, Service Quotas, S3 and SNS.

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

DISASSOCIATE: Final = "greengrass:BatchDisassociateClientDeviceFromCoreDevice"
ASSOCIATE: Final = "greengrass:BatchAssociateClientDeviceWithCoreDevice"
LIST_CORES: Final = "greengrass:ListCoreDevices"
LIST_CLIENT_DEVICES: Final = "greengrass:ListClientDevicesAssociatedWithCoreDevice"
GET_QUOTA: Final = "servicequotas:GetServiceQuota"
PUBLISH: Final = "sns:Publish"
SIMULATE: Final = "iam:SimulatePrincipalPolicy"
LIST_QUOTAS: Final = "servicequotas:ListServiceQuotas"

_SCAN: Final = (LIST_CORES, LIST_CLIENT_DEVICES)
_QUESTIONS: Final = (
    "iot:DescribeThing",
    "iot:ListThingPrincipals",
    "iot:ListThingGroupsForThing",
    "iot:ListPrincipalThings",
    "iot:DescribeCertificate",
    "iot:ListAttachedPolicies",
    "iot:GetPolicy",
    "iot:SearchIndex",
    "iot:GetThingConnectivityData",
    "greengrass:GetCoreDevice",
)
"""What a decommission asks about each device before it changes anything."""
_READ_SHADOWS: Final = ("iot:DescribeEndpoint", "iot:ListNamedShadowsForThing", "iot:GetThingShadow")

COMMAND_ACTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "disassociate": (DISASSOCIATE,),
    "resume": (DISASSOCIATE,),
    "retry": (DISASSOCIATE,),
    "inventory": _SCAN,
    "where": _SCAN,
    "verify": (LIST_CLIENT_DEVICES,),
    "undo": (ASSOCIATE,),
    "cleanup": (*_SCAN, DISASSOCIATE),
    "fleet disassociate": (DISASSOCIATE,),
    "fleet inventory": _SCAN,
    "fleet where": _SCAN,
    "fleet cleanup": (*_SCAN, DISASSOCIATE),
    "fleet verify": (LIST_CLIENT_DEVICES,),
    "fleet undo": (ASSOCIATE,),
    "decommission plan": (*_QUESTIONS, *_SCAN, LIST_QUOTAS),
    "decommission quarantine": (*_QUESTIONS, "iot:UpdateCertificate", *_SCAN, DISASSOCIATE, LIST_QUOTAS),
    "decommission release": (
        "iot:DescribeThing",
        "iot:ListPrincipalThings",
        "iot:DescribeCertificate",
        "iot:UpdateCertificate",
        ASSOCIATE,
        LIST_QUOTAS,
    ),
    "decommission delete": (
        *_QUESTIONS,
        *_SCAN,
        "iot:DescribeCACertificate",
        "iot:DetachThingPrincipal",
        "iot:DeleteThing",
        *_READ_SHADOWS,
        LIST_QUOTAS,
    ),
    "tune": (LIST_CORES, GET_QUOTA),
    "doctor": (*_SCAN, GET_QUOTA),
}
"""The actions of each command that calls AWS; `sts:GetCallerIdentity` needs no permission."""

LOCAL_COMMANDS: Final = frozenset(
    {"plan", "status", "watch", "runs", "report", "diff", "fleet plan", "fleet lanes", "demo", "simulator"}
    | {"decommission status", "decommission report"}
)
"""Commands that need no permission, but for a manifest to read or a state."""

OPTION_ACTIONS: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "cores": {"disassociate": (LIST_CLIENT_DEVICES,), "fleet disassociate": (LIST_CLIENT_DEVICES,)},
    "things": {"disassociate": _SCAN, "fleet disassociate": _SCAN},
    "max-percent": {"decommission plan": ("iot:ListThings",), "decommission quarantine": ("iot:ListThings",)},
    "delete-shadows": {"decommission delete": ("iot:DeleteThingShadow",)},
    "delete-certificates": {"decommission delete": ("iot:DetachPolicy", "iot:DeleteCertificate")},
}
"""The further actions of options, by command; `cores` stands for --core and --snapshot, too."""

_STATE_READERS: Final = frozenset({"status", "watch", "runs", "report"})
_READ_STATE: Final = ("s3:GetObject",)
_KEEP_STATE: Final = ("s3:GetObject", "s3:PutObject", "s3:DeleteObject")


@dataclass(frozen=True, slots=True)
class PolicyScope:
    """What the statements of a policy are narrowed to; `*` is everything."""

    region: str = "*"
    account: str = "*"
    partition: str = "aws"
    cores: Sequence[str] = ("*",)
    """Names of core devices, or patterns with `*` and `?`."""
    things: Sequence[str] = ("*",)
    """Names of things, or patterns."""
    s3_objects: Sequence[str] = ()
    """Manifests and lists to read, s3://bucket/key."""
    state: str = ""
    """The state to keep, s3://bucket/prefix."""
    reads_state_only: bool = False
    """Whether the state is read but not written."""
    topics: Sequence[str] = ()
    """ARNs of SNS topics to notify."""
    roles: Sequence[str] = ()
    """ARNs of roles to assume."""


def command_actions(commands: Iterable[str], options: Iterable[str]) -> list[str]:
    """The actions of the commands with these options. Raises `KeyError` for an option without its command."""
    names = list(commands)
    actions = [action for name in names for action in COMMAND_ACTIONS.get(name, ())]
    for option in options:
        matching = [name for name in names if name in OPTION_ACTIONS[option]]
        if not matching:
            raise KeyError(option)
        actions += [action for name in matching for action in OPTION_ACTIONS[option][name]]
    return actions


def reads_state_only(commands: Iterable[str]) -> bool:
    """Whether none of the commands writes a state."""
    return set(commands) <= _STATE_READERS


def iam_policy(actions: Iterable[str], scope: PolicyScope) -> dict[str, Any]:
    """The policy that allows these actions, with a statement for the actions on the same resources."""
    grouped: dict[tuple[str, ...], list[str]] = {}
    for action in dict.fromkeys(actions):
        grouped.setdefault(_resources(action, scope), []).append(action)
    if scope.s3_objects:
        grouped.setdefault(_object_arns(scope.s3_objects, scope), []).append("s3:GetObject")
    if scope.state:
        state = scope.state.rstrip("/")
        bucket = "/".join(state.split("/")[:3])
        actions_on_state = _READ_STATE if scope.reads_state_only else _KEEP_STATE
        grouped.setdefault(_object_arns([f"{state}/*"], scope), []).extend(actions_on_state)
        # Without it a missing object is a 403.
        grouped.setdefault(_object_arns([bucket], scope), []).append("s3:ListBucket")
    if scope.topics:
        grouped.setdefault(tuple(scope.topics), []).append(PUBLISH)
    if scope.roles:
        grouped.setdefault(tuple(scope.roles), []).append("sts:AssumeRole")
    return {
        "Version": "2012-10-17",
        "Statement": [_statement(names, resources, scope) for resources, names in grouped.items()],
    }


def _statement(actions: Sequence[str], resources: Sequence[str], scope: PolicyScope) -> dict[str, Any]:
    statement: dict[str, Any] = {"Effect": "Allow", "Action": list(dict.fromkeys(actions)), "Resource": list(resources)}
    if tuple(resources) == ("*",) and scope.region != "*":  # only a condition can restrict them
        statement["Condition"] = {"StringEquals": {"aws:RequestedRegion": scope.region}}
    return statement


def _resources(action: str, scope: PolicyScope) -> tuple[str, ...]:
    templates = _RESOURCES.get(action, ())
    names = {"{core}": scope.cores, "{thing}": scope.things}
    resources: list[str] = []
    for template in templates:
        placeholder = next((text for text in names if text in template), None)
        resources += [template.replace(placeholder, name) for name in names[placeholder]] if placeholder else [template]
    prefix = f"{scope.region}:{scope.account}"
    return tuple(f"arn:{scope.partition}:{resource.replace('{}', prefix)}" for resource in resources) or ("*",)


_CORE: Final = ("greengrass:{}:coreDevices:{core}",)
_THING: Final = ("iot:{}:thing/{thing}",)
_CERTIFICATE: Final = ("iot:{}:cert/*",)
_RESOURCES: Final[Mapping[str, tuple[str, ...]]] = {
    DISASSOCIATE: _CORE,
    ASSOCIATE: _CORE,
    LIST_CLIENT_DEVICES: _CORE,
    "greengrass:GetCoreDevice": ("greengrass:{}:coreDevices:{thing}",),  # whether a device is a core
    "iot:DescribeThing": _THING,
    "iot:ListThingPrincipals": _THING,
    "iot:ListThingGroupsForThing": _THING,
    "iot:DeleteThing": _THING,
    "iot:ListNamedShadowsForThing": _THING,
    "iot:GetThingShadow": _THING,
    "iot:DeleteThingShadow": _THING,
    "iot:ListPrincipalThings": _CERTIFICATE,
    "iot:DescribeCertificate": _CERTIFICATE,
    "iot:UpdateCertificate": _CERTIFICATE,
    "iot:DetachThingPrincipal": _CERTIFICATE,
    "iot:DetachPolicy": _CERTIFICATE,
    "iot:DeleteCertificate": _CERTIFICATE,
    "iot:DescribeCACertificate": ("iot:{}:cacert/*",),
    "iot:GetPolicy": ("iot:{}:policy/*",),
    "iot:DescribeThingGroup": ("iot:{}:thinggroup/*",),
    "iot:ListThingsInThingGroup": ("iot:{}:thinggroup/*",),
    "iot:GetThingConnectivityData": _THING,
    "iot:SearchIndex": ("iot:{}:index/AWS_Things",),
}
"""Resources after the partition; `{}` is Region and account. The other actions have none."""


def _object_arns(urls: Iterable[str], scope: PolicyScope) -> tuple[str, ...]:
    return tuple(f"arn:{scope.partition}:s3:::{url.removeprefix('s3://')}" for url in urls)


def partition_of(region: str) -> str:
    """The partition of a Region, by the prefix of its name."""
    prefixes = {"cn-": "aws-cn", "us-gov-": "aws-us-gov", "us-iso": "aws-iso", "eusc-": "aws-eusc"}
    return next((partition for prefix, partition in prefixes.items() if region.startswith(prefix)), "aws")
