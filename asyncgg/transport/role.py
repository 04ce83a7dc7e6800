"""A role to assume, as a profile that no configuration file has."""

from __future__ import annotations

import os
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, Final

from asyncgg.errors import UsageError

_INHERITED: Final = frozenset(
    {"region", "endpoint_url", "services", "ca_bundle", "use_fips_endpoint", "use_dualstack_endpoint"}
    | {"sts_regional_endpoints", "ignore_configured_endpoint_urls", "s3"}
)
"""Keys of the source profile that do not concern its credentials."""


@dataclass(frozen=True, slots=True)
class AssumedRole:
    """A role that is assumed with the credentials of `source_profile`, else of the environment."""

    arn: str
    external_id: str | None
    session_name: str
    source_profile: str | None

    @property
    def profile_name(self) -> str:
        """The name of its profile, also in messages."""
        return f"role {self.arn}"

    def configure(self, profiles: MutableMapping[str, Any]) -> None:
        """Add the profile of the role to these. Raises `UsageError` if the source is unknown.

        [AWS SDKs reference guide: assume role credential provider]
        """
        source = self.source_profile or os.environ.get("AWS_PROFILE")
        if source is None and "default" in profiles and not os.environ.get("AWS_ACCESS_KEY_ID"):
            source = "default"
        if source is not None and source not in profiles:
            known = ", ".join(sorted(profiles)) or "none"
            raise UsageError(f"{self.arn}: no AWS profile {source!r} in the AWS configuration; known: {known}")
        profile = {key: value for key, value in profiles.get(source or "", {}).items() if key in _INHERITED}
        profile |= {"role_arn": self.arn, "role_session_name": self.session_name}
        profile |= {"source_profile": source} if source else {"credential_source": _credential_source(os.environ)}
        profiles[self.profile_name] = profile | ({"external_id": self.external_id} if self.external_id else {})


AwsIdentity = str | AssumedRole | None
"""Whose credentials are used: a profile, a role, or None for those of the environment."""


def profile_name(identity: AwsIdentity) -> str | None:
    """The name of the profile of `identity`."""
    return identity.profile_name if isinstance(identity, AssumedRole) else identity


def _credential_source(environment: Mapping[str, str]) -> str:
    """Where the credentials of this process come from, in the words of an AWS profile."""
    if environment.get("AWS_ACCESS_KEY_ID"):
        return "Environment"
    in_container = any(name.startswith("AWS_CONTAINER_CREDENTIALS_") for name in environment)
    return "EcsContainer" if in_container else "Ec2InstanceMetadata"
