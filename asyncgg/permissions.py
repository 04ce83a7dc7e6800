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

_SCAN: Final = (LIST_CORES, LIST_CLIENT_DEVICES)
COMMAND_ACTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "disassociate": (DISASSOCIATE,),
    "resume": (DISASSOCIATE,),
    "retry": (DISASSOCIATE,),
    "inventory": _SCAN,
    "where": _SCAN,
    "verify": (LIST_CLIENT_DEVICES,),
    "undo": (ASSOCIATE,),
    "cleanup": (*_SCAN, DISASSOCIATE),
    "tune": (LIST_CORES, GET_QUOTA),
    "doctor": (*_SCAN, GET_QUOTA),
}
"""The actions of each command that calls AWS; `sts:GetCallerIdentity` needs no permission."""

LOOKUP_ACTIONS: Final[Mapping[str, tuple[str, ...]]] = {"cores": (LIST_CLIENT_DEVICES,), "things": _SCAN}
"""The further actions of `disassociate` with `--cores` or `--snapshot`, and with `--things`."""

_S3_ACTIONS: Final = ("s3:GetObject", "s3:PutObject", "s3:DeleteObject")


@dataclass(frozen=True, slots=True)
class PolicyScope:
    """What the statements of a policy are narrowed to; `*` is everything."""

    region: str = "*"
    account: str = "*"
    partition: str = "aws"
    cores: Sequence[str] = ("*",)
    """Names of core devices, or patterns with `*` and `?`."""
    s3_objects: Sequence[str] = ()
    """Manifests and lists to read, s3://bucket/key."""
    state: str = ""
    """The state to keep, s3://bucket/prefix."""
    topics: Sequence[str] = ()
    """ARNs of SNS topics to notify."""


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
        grouped.setdefault(_object_arns([f"{state}/*"], scope), []).extend(_S3_ACTIONS)
        grouped.setdefault(_object_arns([bucket], scope), []).append(
            "s3:ListBucket"
        )  # without it a missing object is a 403
    if scope.topics:
        grouped.setdefault(tuple(scope.topics), []).append("sns:Publish")
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
    names = _RESOURCES.get(action, ())
    if action in _ON_CORES:
        names = tuple(f"greengrass:{{}}:coreDevices:{core}" for core in scope.cores)
    return tuple(f"arn:{scope.partition}:{name.format(f'{scope.region}:{scope.account}')}" for name in names) or ("*",)


_ON_CORES: Final = frozenset({DISASSOCIATE, ASSOCIATE, LIST_CLIENT_DEVICES})
_RESOURCES: Final[Mapping[str, tuple[str, ...]]] = {
    "iot:DescribeThing": ("iot:{}:thing/*",),
    "iot:DescribeThingGroup": ("iot:{}:thinggroup/*",),
    "iot:ListThingsInThingGroup": ("iot:{}:thinggroup/*",),
    "iot:SearchIndex": ("iot:{}:index/AWS_Things",),
}
"""Resources of the other actions after the partition; `{}` is Region and account. ListCoreDevices and
GetServiceQuota have none."""


def _object_arns(urls: Iterable[str], scope: PolicyScope) -> tuple[str, ...]:
    return tuple(f"arn:{scope.partition}:s3:::{url.removeprefix('s3://')}" for url in urls)
