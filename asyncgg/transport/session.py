"""Rule: the making of aiobotocore sessions lives here: the user's AWS configuration is read and its faults are named.

No request is sent here.
"""

from __future__ import annotations

import ssl
from functools import cache
from pathlib import Path
from typing import Any, Final

from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession
from botocore import exceptions as aws
from botocore.loaders import Loader, create_loader

from asyncgg.errors import UsageError
from asyncgg.transport.failures import sanitize

__all__ = ["SERVICE", "check_ca_bundle", "client_config", "new_session"]

SERVICE: Final = "greengrassv2"


def new_session(profile: str | None, region: str | None = None) -> AioSession:
    """A session of the profile (None: as the environment says), its configuration read anew from the files.

    Raises:
        UsageError: the profile is unknown or a configuration file cannot be read.
    """
    session = AioSession(profile=profile)
    if region is not None:
        # Credentials that need calls of their own (AssumeRole, SSO) are asked for in the same Region.
        session.set_config_variable("region", region)
    try:
        session.get_scoped_config()
    except aws.ProfileNotFound as error:
        profiles = ", ".join(sorted(_profiles(session))) or "none"
        raise UsageError(
            f"no AWS profile {error.kwargs['profile']!r} in the AWS configuration; known: {profiles}"
        ) from None
    except aws.BotoCoreError as error:
        raise UsageError(f"the AWS configuration cannot be read: {sanitize(error)}") from None
    except OSError as error:
        raise UsageError(f"the AWS configuration cannot be read: {error.filename}: {error.strerror}") from None
    session.register_component("data_loader", _loader(session.get_config_variable("data_path")))
    return session


@cache
def _loader(data_path: str | None) -> Loader:
    """The models of AWS's services, read once: sessions are made anew at each refresh, in the midst of a run."""
    return create_loader(data_path)


def _profiles(session: AioSession) -> list[str]:
    return list(session.full_config.get("profiles", {}))


def check_ca_bundle(session: AioSession) -> None:
    """Raise UsageError when the CA bundle that the user configured cannot be used; without one, do nothing."""
    bundle = session.get_config_variable("ca_bundle")
    if not isinstance(bundle, str) or not bundle:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(
            **({"capath": bundle} if Path(bundle).is_dir() else {"cafile": bundle})
        )
    except OSError as error:  # ssl.SSLError is one
        reason = "holds no certificates" if isinstance(error, ssl.SSLError) else error.strerror
        raise UsageError(f"the CA bundle {bundle} (AWS_CA_BUNDLE or ca_bundle) cannot be used: {reason}") from None


def client_config(*, attempts: int = 1, **settings: Any) -> AioConfig:
    """A client's configuration; one attempt a call unless told, because retries have one owner, and not botocore."""
    from asyncgg import __version__  # here, for the package may still be in the middle of its own import

    return AioConfig(
        retries={"total_max_attempts": attempts, "mode": "standard"},
        user_agent_extra=f"asyncgg/{__version__}",
        **settings,
    )
