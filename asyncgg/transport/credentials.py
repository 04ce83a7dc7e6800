"""Rule: the credentials a transport signs with live here: where they come from, their renewal, and why there are none.

What botocore gets stands between it and the real credentials, so a renewal reaches a living client and its open
connections stay. No secret ever enters a message, a log line or a repr.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from aiobotocore.credentials import AioCredentials
from botocore import exceptions as aws
from botocore.credentials import ReadOnlyCredentials

from asyncgg.errors import CredentialsError, UsageError
from asyncgg.transport.failures import sanitize
from asyncgg.transport.session import new_session

__all__ = ["CredentialSource", "SourceUnreachableError"]

_LOAD_TIMEOUT: Final = 60.0
"""Seconds for getting credentials from their source, instance metadata and AssumeRole included."""

_SSO_ERRORS: Final = (aws.SSOError, aws.TokenRetrievalError)


class SourceUnreachableError(Exception):
    """The source of the credentials could not be asked this time; nothing is known to be wrong with them."""


class CredentialSource:
    """The credentials of one profile in one Region, in generations: each renewal reads their source from scratch."""

    def __init__(self, profile: str | None, region: str) -> None:
        self._profile = profile
        self._region = region
        self._credentials: Any = None
        self._last_frozen: ReadOnlyCredentials | None = None
        self._rejected_generations: set[int] = set()
        self._renewal_lock = asyncio.Lock()
        self.generation = 0
        """Grows by one with each renewal."""

    def __repr__(self) -> str:
        return f"CredentialSource(profile={self._profile!r}, region={self._region!r})"

    # --- what the transport asks ---

    async def open(self) -> None:
        """Get the first credentials. Raises CredentialsError when there are none or their source cannot be reached."""
        try:
            self._credentials, self._last_frozen = await self._load()
        except SourceUnreachableError as error:
            raise CredentialsError(f"no AWS credentials: {error}; {self._fix_hint}") from None

    def mark_rejected(self, generation: int) -> None:
        """Remember that the service did not accept the credentials of this generation."""
        self._rejected_generations.add(generation)

    async def renew(self) -> None:
        """Read the source from scratch; who waits for a renewal under way shares its result.

        Raises:
            CredentialsError: there are none, or still the ones that were refused.
        """
        initial_generation = self.generation
        async with self._renewal_lock:
            if self.generation != initial_generation:
                return
            try:
                credentials, frozen = await self._load()
            except (SourceUnreachableError, UsageError) as error:
                raise CredentialsError(f"the AWS credentials could not be renewed: {error}; {self._fix_hint}") from None
            if frozen == self._last_frozen and self.generation in self._rejected_generations:
                raise CredentialsError(
                    f"the AWS service does not accept the credentials any more, and their source{self._profile_hint} "
                    f"still gives the same ones; {self._fix_hint}"
                )
            self._credentials, self._last_frozen = credentials, frozen
            self.generation += 1

    async def load_credentials(self) -> AioCredentials:
        """Be botocore's credential provider."""
        return _SourceCredentials(self)

    async def get_frozen_credentials(self) -> ReadOnlyCredentials:
        """The credentials to sign with now; those with an end are renewed before it by botocore itself."""
        try:
            self._last_frozen = await self._credentials.get_frozen_credentials()
        except Exception as error:  # noqa: BLE001 - providers raise anything
            raise self._translate_error(error) from None
        return self._last_frozen

    # --- within ---

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
            return SourceUnreachableError(f"their source could not be reached ({sanitize(error)})")
        if isinstance(error, TimeoutError):
            return SourceUnreachableError(f"their source did not answer within {_LOAD_TIMEOUT:g} s")
        if isinstance(error, aws.ClientError):
            return self._translate_client_error(error)
        if isinstance(error, _SSO_ERRORS):
            return CredentialsError(
                f"no AWS credentials: the SSO session{self._profile_hint} is missing or has ended; {self._login_hint}"
            )
        if isinstance(error, aws.PartialCredentialsError):
            return CredentialsError(f"the AWS credentials{self._profile_hint} are incomplete: {sanitize(error)}")
        # Others (a broken file of keys, say) may quote what they read, so only botocore's own words are repeated.
        reason = sanitize(error) if isinstance(error, aws.BotoCoreError) else _safe_reason(error)
        return CredentialsError(f"no AWS credentials{self._profile_hint}: {reason}; {self._fix_hint}")

    def _translate_client_error(self, error: aws.ClientError) -> Exception:
        details = error.response.get("Error", {})
        reason = sanitize(
            f"{error.operation_name} was refused: {details.get('Code', '?')}: {details.get('Message', '')}"
        )
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
    """What botocore signs with: always those the source holds at that moment."""

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
