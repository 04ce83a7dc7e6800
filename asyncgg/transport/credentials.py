"""Loads and renews the credentials that requests are signed with."""

# No secret is part of a message, a log line or a repr.

from __future__ import annotations

import asyncio
from typing import Any, Final

from aiobotocore.credentials import AioCredentials
from botocore import exceptions as aws
from botocore.credentials import ReadOnlyCredentials

from asyncgg.errors import CredentialsError, UsageError
from asyncgg.formatting import sanitize
from asyncgg.transport.session import new_session

_LOAD_TIMEOUT: Final = 60.0
"""Timeout for loading credentials, including instance metadata and AssumeRole, seconds."""

_SSO_ERRORS: Final = (aws.SSOError, aws.TokenRetrievalError)


class SourceUnreachableError(Exception):
    """The source of the credentials is temporarily unreachable."""


class CredentialSource:
    """The credentials of one profile in one Region.

    botocore gets a proxy of them, so that a renewal does not close the client and its connections.
    """

    def __init__(self, profile: str | None, region: str | None) -> None:
        self._profile = profile
        self._region = region
        self._credentials: Any = None
        self._last_frozen: ReadOnlyCredentials | None = None
        self._rejected_generations: set[int] = set()
        self._renewal_lock = asyncio.Lock()
        self.generation = 0
        """Number of renewals."""

    def __repr__(self) -> str:
        return f"CredentialSource(profile={self._profile!r}, region={self._region!r})"

    async def open(self) -> None:
        """Load the first credentials. Raises `CredentialsError`."""
        try:
            self._credentials, self._last_frozen = await self._load()
        except SourceUnreachableError as error:
            raise CredentialsError(f"no AWS credentials: {error}; {self._fix_hint}") from None

    def mark_rejected(self, generation: int) -> None:
        """Record that the service rejected the credentials of `generation`."""
        self._rejected_generations.add(generation)

    async def renew(self) -> None:
        """Load the credentials again; concurrent calls share one renewal.

        Raises:
            CredentialsError: no credentials, or the source still returns the rejected ones.
        """
        initial_generation = self.generation
        async with self._renewal_lock:
            if self.generation != initial_generation:
                return
            try:
                credentials, frozen = await self._load()
            except (SourceUnreachableError, UsageError) as error:
                raise CredentialsError(f"cannot renew the AWS credentials: {error}; {self._fix_hint}") from None
            if frozen == self._last_frozen and self.generation in self._rejected_generations:
                raise CredentialsError(
                    f"AWS rejected the credentials, and their source{self._profile_hint} still returns the same ones; "
                    f"{self._fix_hint}"
                )
            self._credentials, self._last_frozen = credentials, frozen
            self.generation += 1

    async def load_credentials(self) -> AioCredentials:
        """Implement the credential provider of botocore."""
        return _SourceCredentials(self)

    async def get_frozen_credentials(self) -> ReadOnlyCredentials:
        """Get the credentials to sign with; botocore renews expiring ones in time."""
        try:
            self._last_frozen = await self._credentials.get_frozen_credentials()
        except Exception as error:  # noqa: BLE001 - providers raise anything
            raise self._translate_error(error) from None
        return self._last_frozen

    async def _load(self) -> tuple[Any, ReadOnlyCredentials]:
        session = new_session(self._profile, self._region)
        try:
            async with asyncio.timeout(_LOAD_TIMEOUT):
                credentials = await session.get_credentials()
                frozen = None if credentials is None else await credentials.get_frozen_credentials()
        except Exception as error:  # noqa: BLE001 - providers raise anything
            raise self._translate_error(error) from None
        if frozen is None or not frozen.access_key or not frozen.secret_key:
            raise CredentialsError(f"no AWS credentials{self._profile_hint}: {self._fix_hint}")
        return credentials, frozen

    def _translate_error(self, error: Exception) -> Exception:
        if isinstance(error, aws.HTTPClientError | aws.ConnectionError):
            return SourceUnreachableError(f"connection to their source failed ({sanitize(error)})")
        if isinstance(error, TimeoutError):
            return SourceUnreachableError(f"their source timed out after {_LOAD_TIMEOUT:g} s")
        if isinstance(error, aws.ClientError):
            return self._translate_client_error(error)
        if isinstance(error, _SSO_ERRORS):
            return CredentialsError(
                f"no AWS credentials: the SSO session{self._profile_hint} is missing or expired; {self._login_hint}"
            )
        if isinstance(error, aws.PartialCredentialsError):
            return CredentialsError(f"the AWS credentials{self._profile_hint} are incomplete: {sanitize(error)}")
        # Messages of other exceptions can quote secrets, for example from a malformed credentials
        # file.
        reason = sanitize(error) if isinstance(error, aws.BotoCoreError) else _safe_reason(error)
        return CredentialsError(f"no AWS credentials{self._profile_hint}: {reason}; {self._fix_hint}")

    def _translate_client_error(self, error: aws.ClientError) -> Exception:
        details = error.response.get("Error", {})
        reason = sanitize(f"{error.operation_name} failed: {details.get('Code', '?')}: {details.get('Message', '')}")
        if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) >= 500 or "Throttl" in details.get(
            "Code", ""
        ):
            return SourceUnreachableError(reason)
        return CredentialsError(f"no AWS credentials{self._profile_hint}: {reason}; {self._fix_hint}")

    @property
    def _profile_hint(self) -> str:
        return "" if self._profile is None else f" of profile {self._profile!r}"

    @property
    def _login_hint(self) -> str:
        return "run `aws sso login`" if self._profile is None else f"run `aws sso login --profile {self._profile}`"

    @property
    def _fix_hint(self) -> str:
        return f"{self._login_hint}, choose another --profile, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"


class _SourceCredentials(AioCredentials):  # type: ignore[misc]  # aiobotocore publishes no types
    def __init__(self, source: CredentialSource) -> None:
        super().__init__("held by", "CredentialSource", method="asyncgg")
        self._source = source

    async def get_frozen_credentials(self) -> ReadOnlyCredentials:
        return await self._source.get_frozen_credentials()

    async def get_account_id(self) -> str | None:
        account: str | None = (await self.get_frozen_credentials()).account_id
        return account


def _safe_reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return type(error).__name__
