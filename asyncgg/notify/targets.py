"""Parses and displays notification targets."""

# The URL and the headers of a webhook are secrets: messages show only scheme and host.

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from asyncgg.errors import UsageError

TOPIC_ARN: Final = re.compile(r"arn:[a-z0-9-]+:sns:([a-z0-9-]+):\d{12}:[a-zA-Z0-9_-]{1,256}(?:\.fifo)?\Z")
ENV_REFERENCE: Final = re.compile(r"env:([A-Za-z_][A-Za-z0-9_]*)\Z")
_APPRISE_SCHEME: Final = re.compile(r"([a-z][a-z0-9]{1,30})://")
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")


@dataclass(frozen=True, slots=True)
class Webhook:
    """A URL that accepts a POST of JSON."""

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def display_name(self) -> str:
        """The name in messages: scheme and host."""
        parts = urlsplit(self.url)
        port = f":{parts.port}" if parts.port else ""
        return f"webhook {parts.scheme}://{parts.hostname}{port}"


@dataclass(frozen=True, slots=True)
class SnsTopic:
    """An SNS topic."""

    arn: str

    @property
    def region(self) -> str:
        """The Region of the topic."""
        return self.arn.split(":")[3]

    @property
    def display_name(self) -> str:
        """The name in messages."""
        return f"topic {self.arn}"


@dataclass(frozen=True, slots=True)
class AppriseTarget:
    """A URL of the library Apprise, such as slack://... or mailtos://...; everything after the scheme is secret."""

    url: str = field(repr=False)

    @property
    def display_name(self) -> str:
        """The name in messages: the scheme."""
        return f"{self.url.partition('://')[0]}://..."


NotificationTarget = Webhook | SnsTopic | AppriseTarget


def parse_target(
    text: str, headers: Mapping[str, str] | None = None, environment: Mapping[str, str] | None = None
) -> NotificationTarget:
    """Parse the ARN of an SNS topic, an http(s) URL, one of Apprise, or `env:NAME` for a URL in a variable.

    `headers` (see `resolve_headers`) are for a webhook. Raises `UsageError`, whose message does not
    contain secrets, also if the extra `notify` is not installed for a URL of Apprise.
    """
    if text.startswith("arn:"):
        if not TOPIC_ARN.match(text):
            raise UsageError(f"notify: invalid ARN {text[:200]!a}; expected arn:aws:sns:REGION:ACCOUNT:NAME")
        return SnsTopic(text)
    url = _from_environment(text, environment) if text.startswith("env:") else text
    scheme = _APPRISE_SCHEME.match(url)
    if scheme is not None and scheme[1] not in {"http", "https"}:
        _check_apprise_url(url, scheme[1])
        return AppriseTarget(url)
    if not is_url(url):
        subject = text if text.startswith("env:") else "not shown, may contain a secret"
        raise UsageError(
            f"notify: invalid target ({subject}); use https://..., slack://..., env:NAME or the ARN of an SNS topic"
        )
    return Webhook(url, headers or {})


def _check_apprise_url(url: str, scheme: str) -> None:
    try:
        import apprise
    except ImportError:
        raise UsageError(f"notify: {scheme}://... requires the extra `notify`: pip install 'asyncgg[notify]'") from None
    if apprise.Apprise.instantiate(url, suppress_exceptions=True) is None:
        raise UsageError(f"notify: Apprise does not accept this {scheme}:// URL; see the documentation of Apprise")


def resolve_headers(references: Mapping[str, str], environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Replace each reference `env:NAME` by the value of the variable.

    Raises `UsageError` for a header that cannot be sent or a variable that is not set.
    """
    headers = {}
    for name, reference in references.items():
        if not _HEADER_NAME.match(name):
            raise UsageError(f"notify: invalid HTTP header name {name[:100]!a}")
        value = _from_environment(reference, environment)
        if not value.isprintable():
            raise UsageError(
                f"notify: the value of {reference} for the header {name} must be one line of printable characters"
            )
        headers[name] = value
    return headers


def _from_environment(reference: str, environment: Mapping[str, str] | None) -> str:
    match = ENV_REFERENCE.match(reference)
    if match is None:
        raise UsageError("notify: a secret must be given as env:NAME, the name of an environment variable")
    value = (os.environ if environment is None else environment).get(match[1], "").strip()
    if not value:
        raise UsageError(f"notify: the environment variable {match[1]} is not set")
    return value


def is_url(text: str) -> bool:
    """Whether `text` is a complete http(s) URL."""
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname) and text.isprintable() and " " not in text
