"""Loads and renews the credentials that requests are signed with."""

# No secret is part of a message, a log line or a repr.

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from typing import Any, Final

from aiobotocore.credentials import AioAssumeRoleProvider, AioCredentials
from botocore.credentials import ReadOnlyCredentials, RefreshableCredentials

from asyncgg.errors import CredentialsError, CredentialsUnreachableError, DeadlineError, UsageError
from asyncgg.sharing import share
from asyncgg.transport.credential_errors import CredentialOrigin, check_configured_keys, check_keys, expired_at
from asyncgg.transport.credential_process import make_cancellable
from asyncgg.transport.mfa import MfaCodeRequiredError, prompter, read_mfa_code
from asyncgg.transport.role import AwsIdentity, profile_name
from asyncgg.transport.session import new_session

_LOAD_TIMEOUT: Final = 60.0
"""Timeout for loading credentials, including instance metadata and AssumeRole, seconds."""
_RENEW_BEFORE: Final = 900.0
"""Seconds before the expiry from which credentials are renewed in the background."""
_RENEWAL_PAUSE: Final = 60.0
"""Seconds to the next renewal in the background, if one failed or returned the same credentials."""


class CredentialSource:
    """The credentials of one profile; the Region is that of AssumeRole and similar requests.

    Valid credentials are used until they expire: a renewal runs in the background, one at a time.
    botocore gets a proxy of them, so that a renewal does not close the client and its connections.
    `clock` returns seconds since 1970, because providers give the expiry as a date.
    """

    def __init__(self, profile: AwsIdentity, region: str | None, clock: Callable[[], float] = time.time) -> None:
        self._profile = profile
        self._region = region
        self._clock = clock
        self._origin = CredentialOrigin(profile_name(profile))
        self._keys: ReadOnlyCredentials | None = None
        self._expires = self._renew_at = math.inf
        self._renewal: asyncio.Task[None] | None = None
        self._is_rejected = False
        self._first_generation = 0  # the first one with these keys
        self._method = ""  # the provider of these keys
        self._mfa_asked = False
        self.generation = 0
        """Number of renewals."""

    def __repr__(self) -> str:
        return f"CredentialSource(profile={self._profile!r}, region={self._region!r})"

    @property
    def expires_at(self) -> float:
        """When the credentials expire, in seconds since 1970; infinity if they do not."""
        return self._expires

    @property
    def method(self) -> str:
        """The provider of the credentials, as botocore calls it."""
        return self._method

    async def open(self) -> None:
        """Load the first credentials, unless they are there. Raises `CredentialsError`."""
        if self._keys is None:
            try:
                self._set(*await self._load())
            except CredentialsError as error:
                raise type(error)(f"no AWS credentials{self._origin.profile_hint}: {error}") from None

    def mark_rejected(self, generation: int) -> None:
        """Record that the service rejected the credentials of `generation`."""
        self._is_rejected = self._is_rejected or generation >= self._first_generation

    def current(self) -> ReadOnlyCredentials | None:
        """The credentials to sign with; None if they expired. Starts a renewal that is due."""
        now = self._clock()
        if now >= self._renew_at:
            self._start_renewal()
        return self._keys if now < self._expires else None

    async def renew(self) -> None:
        """Load the credentials again; concurrent calls share one renewal.

        Raises:
            CredentialsError: no credentials, or the source still returns the rejected ones.
            CredentialsUnreachableError: the source is temporarily unreachable.
        """
        await asyncio.shield(self._start_renewal())

    async def load_credentials(self) -> AioCredentials:
        """Implement the credential provider of botocore."""
        return _SourceCredentials(self)

    async def get_frozen_credentials(self) -> ReadOnlyCredentials:
        """Get the credentials to sign with; wait for a renewal if they expired."""
        keys = self.current()
        if keys is None:
            await self.renew()
            keys = self._keys
        return keys

    def _start_renewal(self) -> asyncio.Task[None]:
        """The renewal in progress; a command can have several event loops, one after the other."""
        loop = asyncio.get_running_loop()
        if self._renewal is None or self._renewal.done() or self._renewal.get_loop() is not loop:
            self._renewal = loop.create_task(self._renew(), name="asyncgg-credentials")
            self._renewal.add_done_callback(lambda task: task.cancelled() or task.exception())
        return self._renewal

    async def _renew(self) -> None:
        self._renew_at = self._clock() + _RENEWAL_PAUSE
        try:
            keys, expires = await self._load()
        except CredentialsError as error:
            raise type(error)(f"cannot renew the AWS credentials{self._origin.profile_hint}: {error}") from None
        except UsageError as error:  # the configuration changed meanwhile
            raise CredentialsError(f"cannot renew the AWS credentials{self._origin.profile_hint}: {error}") from None
        if keys == self._keys and self._is_rejected:
            raise CredentialsError(
                f"AWS rejected the credentials, and their source{self._origin.profile_hint} still returns the same"
                f" ones; {self._origin.login_hint}"
            )
        self._set(keys, expires)

    def _set(self, keys: ReadOnlyCredentials, expires: float) -> None:
        now, pause = self._clock(), _RENEWAL_PAUSE
        self.generation += self._keys is not None
        if keys != self._keys:
            self._is_rejected, self._first_generation = False, self.generation
            pause = min(pause, (expires - now) / 2)
        self._keys, self._expires, self._method = keys, expires, self._origin.method
        self._renew_at = max(expires - _RENEW_BEFORE, now + pause)

    async def _load(self) -> tuple[ReadOnlyCredentials, float]:
        """The credentials and their expiry. Raises `CredentialsError` and `UsageError`."""
        codes: dict[str, str] = {}
        roles: dict[str, Any] = {}  # of roles that were assumed before the role that needs another code
        while True:
            try:
                async with asyncio.timeout(_LOAD_TIMEOUT):
                    return await self._load_once(codes, roles)
            except MfaCodeRequiredError as required:
                if self._mfa_asked and not codes:
                    raise CredentialsError(
                        f"{self._origin.name} needs another MFA code; run or resume again to enter it"
                    ) from None
                self._mfa_asked = True
                codes[required.prompt] = await read_mfa_code(required.prompt)
            except (CredentialsError, UsageError):
                raise
            except Exception as error:  # noqa: BLE001 - providers raise anything
                raise self._origin.translate(error, _LOAD_TIMEOUT) from None

    async def _load_once(self, codes: dict[str, str], roles: dict[str, Any]) -> tuple[ReadOnlyCredentials, float]:
        self._origin.method = ""
        session = new_session(self._profile, self._region)
        check_configured_keys(session, profile_name(self._profile))
        credentials = None
        for provider in session.get_component("credential_provider").providers:
            self._origin.method = provider.METHOD
            make_cancellable(provider)
            if isinstance(provider, AioAssumeRoleProvider):
                provider.cache, provider._prompter = roles, prompter(codes)
            credentials = await provider.load()
            if credentials is not None:
                break
        if isinstance(credentials, RefreshableCredentials):
            # Otherwise botocore fetches credentials with less than 15 minutes left a second time.
            credentials._advisory_refresh_timeout = credentials._mandatory_refresh_timeout = 0
        try:
            keys = None if credentials is None else await credentials.get_frozen_credentials()
        except RuntimeError:  # new credentials that have expired, or a source of this kind
            if _expiry(credentials) > self._clock():
                raise
            raise expired_at(_expiry(credentials), self._origin) from None
        if keys is None or not keys.access_key or not keys.secret_key:
            # The provider of instance metadata returns nothing if the service does not respond.
            kind = CredentialsUnreachableError if self._method == "iam-role" else CredentialsError
            raise kind(self._origin.missing)
        check_keys(keys, self._origin)
        return keys, _expiry(credentials)


def _expiry(credentials: Any) -> float:
    expiry = getattr(credentials, "_expiry_time", None)
    return math.inf if expiry is None else float(expiry.timestamp())


class _SourceCredentials(AioCredentials):  # type: ignore[misc]  # aiobotocore publishes no types
    """The current credentials of a source, for botocore."""

    def __init__(self, source: CredentialSource) -> None:
        super().__init__("held by", "CredentialSource", method="asyncgg")
        self._source = source

    async def get_frozen_credentials(self) -> ReadOnlyCredentials:
        return await self._source.get_frozen_credentials()

    async def get_account_id(self) -> str | None:
        account: str | None = (await self.get_frozen_credentials()).account_id
        return account


async def open_source(profile: AwsIdentity, region: str | None, deadline: float | None) -> CredentialSource:
    """Get the source of `profile`, with credentials: one for the whole command or call.

    Raises `CredentialsError`, and `DeadlineError` if they are not there within `deadline` seconds.
    """
    source = share((CredentialSource, profile), lambda: CredentialSource(profile, region))
    try:
        async with asyncio.timeout(deadline):
            await source.open()
    except TimeoutError:
        raise DeadlineError(f"no AWS credentials within {deadline:g} s (--deadline)") from None
    return source
