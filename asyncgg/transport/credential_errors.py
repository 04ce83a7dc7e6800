"""Describes what is wrong with the source of the credentials, without their values."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from aiobotocore.session import AioSession
from botocore import exceptions as aws
from botocore.credentials import ReadOnlyCredentials

from asyncgg.errors import CredentialsError, CredentialsUnreachableError
from asyncgg.formatting import format_timestamp, sanitize
from asyncgg.transport.aws_settings import file_of

_NO_HINT: Final = "correct it, or choose another --profile"
_SSO_ERRORS: Final = (aws.SSOError, aws.TokenRetrievalError)
_MEMBERS: Final = frozenset({"AccessKeyId", "SecretAccessKey", "Token", "SessionToken", "Expiration"})
_KEY_VARIABLES: Final = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN")
_KEY_SETTINGS: Final = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token", "aws_security_token")
_CHARACTERS: Final = {"\r": "a carriage return", "\n": "a line feed", "\t": "a tab", " ": "a blank"}
_CONTAINER_VARIABLES: Final = ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI")


@dataclass(slots=True)
class CredentialOrigin:
    """Where the credentials of `profile` come from. `method`: the provider of botocore."""

    profile: str | None
    method: str = ""

    @property
    def profile_hint(self) -> str:
        """The profile, for use after a noun."""
        return "" if self.profile is None else f" of profile {self.profile!r}"

    @property
    def login_hint(self) -> str:
        """What to do if there are no credentials, or rejected ones."""
        profile = "" if self.profile is None else f" --profile {self.profile}"
        command = "aws login" if self.method == "login" else "aws sso login"
        return f"run `{command}{profile}`, choose another --profile, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"

    @property
    def missing(self) -> str:
        """The message if no provider has credentials."""
        return f"none found; {self.login_hint}"

    @property
    def name(self) -> str:
        """What provides the credentials."""
        container = next((name for name in _CONTAINER_VARIABLES if name in os.environ), _CONTAINER_VARIABLES[0])
        names = {
            "": "the AWS configuration",
            "env": "the variables AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN",
            "assume-role": "the role",
            "assume-role-with-web-identity": "the web identity role",
            "sso": "the SSO session",
            "login": "the login session",
            "shared-credentials-file": "the credentials file",
            "config-file": "the configuration file",
            "custom-process": "credential_process",
            "container-role": f"the container credentials ({container})",
            "iam-role": "the instance metadata service",
        }
        return names.get(self.method, self.method)

    def translate(self, error: Exception, timeout: float) -> Exception:
        """The `CredentialsError` for what a provider raised; `UsageError` stays."""
        if isinstance(error, aws.HTTPClientError | aws.ConnectionError):
            return CredentialsUnreachableError(f"{self.name}: connection failed ({sanitize(error)})")
        if isinstance(error, TimeoutError):
            return CredentialsUnreachableError(f"{self.name}: timed out after {timeout:g} s")
        if isinstance(error, aws.ClientError):
            return self._translate_client_error(error)
        if isinstance(error, _SSO_ERRORS):
            return CredentialsError(f"{self.name} is missing or expired; {self.login_hint}")
        if isinstance(error, aws.CredentialRetrievalError) and self.method == "container-role":
            return CredentialsUnreachableError(f"{self.name}: {sanitize(error)}")
        if isinstance(error, aws.PartialCredentialsError):
            return CredentialsError(f"{self.name}: incomplete: {sanitize(error)}")
        return CredentialsError(f"{self.name}: {self._reason(error)}; {_NO_HINT}")

    def _translate_client_error(self, error: aws.ClientError) -> CredentialsError:
        details = error.response.get("Error", {})
        code, status = details.get("Code", "?"), error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        reason = sanitize(f"{self.name}: {error.operation_name} failed: {code}: {details.get('Message', '')}")
        if status >= 500 or "Throttl" in code:
            return CredentialsUnreachableError(reason)
        return CredentialsError(f"{reason}; {self.login_hint if self.method == 'sso' else _NO_HINT}")

    def _reason(self, error: Exception) -> str:
        # Messages of exceptions other than botocore's can quote secrets.
        output = "printed" if self.method == "custom-process" else "returned"
        if isinstance(error, OSError) and error.strerror:
            return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
        if isinstance(error, aws.BotoCoreError):
            return sanitize(error)
        if isinstance(error, KeyError) and error.args[0] in _MEMBERS:
            return f"its JSON has no {error.args[0]}"
        if type(error) is ValueError and self.method == "container-role":
            return "its URL is not allowed, or the authorization token has a line break"
        if type(error) is ValueError and self.method == "custom-process":
            return "its command line has a quotation mark that is not closed"
        reasons = (
            (json.JSONDecodeError, f"it {output} no JSON"),
            (UnicodeDecodeError, f"it {output} no UTF-8 text"),
            (RuntimeError, "its credentials expired"),
            (TypeError, "its JSON has another form, or its Expiration has no time zone"),
            (AttributeError, "its JSON is not an object"),
            ((ValueError, OverflowError), "its Expiration is not a date"),
        )
        return next((reason for types, reason in reasons if isinstance(error, types)), "its answer cannot be used")


def expired_at(expires: float, origin: CredentialOrigin) -> CredentialsError:
    """The error for credentials that expired at `expires`."""
    hint = origin.login_hint if origin.method in {"sso", "login"} else "renew them, or choose another --profile"
    return CredentialsError(f"{origin.name}: the credentials expired at {format_timestamp(expires)}; {hint}")


def check_keys(keys: ReadOnlyCredentials, origin: CredentialOrigin) -> None:
    """Raise `CredentialsError` if keys from `origin` have a character that no key has."""
    named = {"access key id": keys.access_key, "secret access key": keys.secret_key, "session token": keys.token}
    for name, value in named.items():
        _check_key(f"the {name} of {origin.name}", value)


def check_configured_keys(session: AioSession, profile: str | None) -> None:
    """Raise `CredentialsError` for unusable keys in variables and files, source profiles included."""
    if profile is None and os.environ.get("AWS_ACCESS_KEY_ID"):  # they take precedence over files
        _check_variables()
        return
    for name, section in _profile_chain(session, profile):
        if section.get("credential_source") == "Environment":
            _check_variables()
        for key in _KEY_SETTINGS:
            if key in section:
                _check_key(f"{key} in {file_of(session, key, name)}", section[key])


def _check_variables() -> None:
    for variable in _KEY_VARIABLES:
        _check_key(variable, os.environ.get(variable))


def _profile_chain(session: AioSession, profile: str | None) -> Iterator[tuple[str, Mapping[str, Any]]]:
    profiles: Mapping[str, Mapping[str, Any]] = session.full_config.get("profiles", {})
    name, visited = profile or session.get_config_variable("profile") or "default", set[str]()
    while name not in visited and name in profiles:
        visited.add(name)
        yield name, profiles[name]
        name = profiles[name].get("source_profile", "")


def _check_key(name: str, value: object) -> None:
    if not isinstance(value, str):
        return
    character = next((c for c in value if not "!" <= c <= "~"), None)
    if character is not None:
        description = _CHARACTERS.get(character, f"the character U+{ord(character):04X}")
        where = "ends with" if value.endswith(character) else "starts with" if value[0] == character else "contains"
        raise CredentialsError(f"{name} {where} {description}; copy the value again without it")
