"""Rule: every setting of a run is declared here once: name, type, bounds, default, meaning; and where it may come from.

Precedence: command line (or keyword arguments), then ASYNCGG_* variables, then asyncgg.toml, then the defaults.
A name nobody knows is an error and not ignored: a misspelt guard would be no guard.
"""

from __future__ import annotations

import math
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from pydantic_settings.exceptions import SettingsError as SourceError

from asyncgg.classify import CodeTable
from asyncgg.errors import SettingsError

__all__ = ["FILE_NAME", "Settings", "build_settings", "load_settings", "parse_duration"]

FILE_NAME: Final = "asyncgg.toml"
_ENV_PREFIX: Final = "ASYNCGG_"
_CONFIG_VARIABLE: Final = "ASYNCGG_CONFIG"
_RESERVED_PREFIX: Final = "ASYNCGG_TEST_"

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION: Final = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+\Z")
_DURATION_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


def parse_duration(value: object) -> float:
    """Seconds from `90`, `"90s"`, `"1.5h"` or `"1h30m"`; units ms, s, m, h, d. Raises `ValueError`."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        seconds = float(value)
    else:
        text = str(value).replace(" ", "").lower()
        if re.fullmatch(r"\d+(?:\.\d+)?", text):
            seconds = float(text)
        elif _DURATION.match(text):
            seconds = sum(float(number) * _UNITS[unit] for number, unit in _DURATION_PART.findall(text))
        else:
            raise ValueError("is no duration; write it like 90s, 15m, 2h or 1h30m")
    if not math.isfinite(seconds):
        raise ValueError("must come to an end")
    if seconds <= 0:
        raise ValueError("must be longer than nothing")
    return seconds


def _parse_auto(value: object) -> object:
    return None if isinstance(value, str) and value.strip().lower() == "auto" else value


Duration = Annotated[float, BeforeValidator(parse_duration)]
AutoFloat = Annotated[float | None, BeforeValidator(_parse_auto)]


class Settings(BaseSettings):
    """The settings of a run. Times in seconds; `None` for `rate` and `burst` is `auto`."""

    model_config = SettingsConfigDict(env_prefix=_ENV_PREFIX, extra="forbid", frozen=True, validate_default=True)

    profile: str | None = Field(default=None, description="AWS profile")
    region: str | None = Field(default=None, description="AWS Region")
    endpoint_url: str | None = Field(
        default=None, description="endpoint instead of AWS's own; nothing is called elsewhere"
    )

    rate: AutoFloat = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="requests per second at most; auto: begin at the quota, then follow the service",
    )
    burst: AutoFloat = Field(
        default=None,
        ge=1,
        allow_inf_nan=False,
        description="requests that may start at once; auto: small, follows the rate",
    )
    quota: AutoFloat = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="requests per second that the account has in the Region; auto: what AWS documents",
    )
    quota_share: float = Field(
        default=1.0, gt=0, le=1, description="part of the quota to use at most, the rest is left to others"
    )
    concurrency: int = Field(default=64, ge=1, le=10_000, description="requests in flight at most")
    per_core: int = Field(default=4, ge=1, le=10_000, description="requests in flight at most for one core")
    max_attempts: int = Field(
        default=10,
        ge=1,
        le=1_000,
        description="requests that carry a thing before it fails; throttled ones do not count",
    )
    max_attempts_unknown: int = Field(
        default=3, ge=1, le=1_000, description="the same for a per-thing error code nobody knows"
    )
    connect_timeout: Duration = Field(default=5.0, description="until a connection stands")
    request_timeout: Duration = Field(default=60.0, description="for a whole request; cut after it, and sent again")
    transport: Literal["native", "sdk"] = Field(
        default="native",
        description="native: signed and sent by asyncgg; sdk: sent by the aiobotocore client",
    )
    stall_timeout: Duration = Field(
        default=300.0, description="without an accepted request before a throttled or unanswered run stops itself"
    )

    journal: Path | None = Field(default=None, description="the run's journal; named by date and time unless given")
    max_things: int | None = Field(default=None, ge=1, description="stop before the first request if there are more")
    expect_account: str | None = Field(
        default=None, description="stop before the first request if it is another AWS account"
    )
    protect: Path | None = Field(default=None, description="names or globs of things and cores that are never touched")
    skip_bad_rows: bool = Field(default=False, description="go on with the good rows of a manifest that has bad ones")
    abort_at: float | None = Field(
        default=None, gt=0, le=100, description="stop when so many percent of the finished things failed"
    )
    abort_after: int = Field(default=100, ge=1, description="finished things before --abort-at applies")
    deadline: Duration | None = Field(default=None, description="stop after so long; resumable")

    quiet: bool = Field(default=False, description="no progress")
    log_format: Literal["text", "json"] = Field(default="text", description="progress and log lines without a terminal")

    codes: dict[str, str] = Field(
        default_factory=dict, description="per-thing error codes: retry, fail or gone (gone counts as done)"
    )

    @field_validator("expect_account")
    @classmethod
    def _validate_account(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"\d{12}", value):
            raise ValueError("is no AWS account id (12 digits)")
        return value

    @field_validator("profile", "region", "endpoint_url")
    @classmethod
    def _blank_to_none(cls, value: str | None) -> str | None:
        return value or None

    @model_validator(mode="after")
    def _validate_codes(self) -> Self:
        CodeTable(self.codes)
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Values arrive through `load_settings`, which has ordered them; nothing else is looked up."""
        return (init_settings,)


def load_settings(arguments: Mapping[str, Any] | None = None, *, config: Path | None = None) -> Settings:
    """The settings from `given` (command line or keywords; None means not given), the environment and the file.

    The file is `config`, else the one ASYNCGG_CONFIG names, else asyncgg.toml in the current directory if it is there.

    Raises:
        SettingsError: an unknown name or an impossible value, with where it stands.
    """
    explicit = {key: value for key, value in (arguments or {}).items() if value is not None}
    path = config or (Path(os.environ[_CONFIG_VARIABLE]) if os.environ.get(_CONFIG_VARIABLE) else None)
    file_values, file_name = _from_file(path)
    variables = _from_environment()
    origins = dict.fromkeys(file_values, file_name)
    origins |= {key: _ENV_PREFIX + key.upper() for key in variables}
    origins |= {key: _option_name(key) for key in explicit}
    return _build({**file_values, **variables, **explicit}, origins)


def build_settings(stored: Mapping[str, Any], arguments: Mapping[str, Any] | None = None) -> Settings:
    """The settings a run was started with, overruled by what is `given` now; environment and file do not count again.

    Raises:
        SettingsError: an impossible value.
    """
    explicit = {key: value for key, value in (arguments or {}).items() if value is not None}
    origins = dict.fromkeys(stored, "the journal") | {key: _option_name(key) for key in explicit}
    recognized = {key: value for key, value in stored.items() if key in Settings.model_fields}
    return _build({**recognized, **explicit}, origins)


def _build(values: Mapping[str, Any], origins: Mapping[str, str]) -> Settings:
    # Before pydantic sees them: it would take RATE for a second rate, and then choose one of the two.
    if unknown := [key for key in values if key not in Settings.model_fields]:
        raise SettingsError("\n".join(f"{_display_name((key,), origins)}: there is no such setting" for key in unknown))
    try:
        return Settings(**values)
    except SettingsError as error:  # the table of codes speaks for itself, but not of where it stands
        raise SettingsError(f"{origins.get('codes', 'settings')}: {error}") from None
    except ValidationError as error:
        raise SettingsError(
            "\n".join(_format_error(item, origins) for item in error.errors(include_url=False))
        ) from None


def _format_error(item: Any, origins: Mapping[str, str]) -> str:
    name = _display_name(item["loc"], origins)
    message = str(item["msg"]).removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    return f"{name}: {item['input']!r} {message}" if message.startswith(("is ", "must ")) else f"{name}: {message}"


def _display_name(location: tuple[int | str, ...], origins: Mapping[str, str]) -> str:
    """A setting as the person knows it who gave it: an option, a variable, or a file and a key."""
    origin = origins.get(str(location[0]), "settings") if location else "settings"
    return origin if origin.startswith(("--", _ENV_PREFIX)) else f"{origin}: {'.'.join(map(str, location))}"


def _option_name(key: str) -> str:
    return "--" + key.replace("_", "-")


def _from_file(path: Path | None) -> tuple[dict[str, Any], str]:
    explicit = path is not None
    path = path or Path(FILE_NAME)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        if explicit:
            raise SettingsError(f"{path}: there is no such settings file") from None
        return {}, str(path)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise SettingsError(f"{path}: it cannot be read: {reason}") from None
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path}: {error}") from None
    normalized: dict[str, Any] = {}
    for key, value in values.items():
        name = key.replace("-", "_")
        if name in normalized:
            raise SettingsError(f"{path}: {name}: it is given twice")
        normalized[name] = value
    return normalized, str(path)


def _from_environment() -> dict[str, Any]:
    setting_names = set(Settings.model_fields)
    for name in os.environ:
        upper = name.upper()
        if not upper.startswith(_ENV_PREFIX) or upper == _CONFIG_VARIABLE or upper.startswith(_RESERVED_PREFIX):
            continue
        if upper.removeprefix(_ENV_PREFIX).lower() not in setting_names:
            raise SettingsError(f"{name}: there is no such setting")
    try:
        return EnvSettingsSource(Settings, env_prefix=_ENV_PREFIX, env_ignore_empty=True)()
    except SourceError as error:
        raise SettingsError(f"{_ENV_PREFIX}CODES: {error.__cause__ or error}") from None
