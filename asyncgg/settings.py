"""The settings of a run and the sources they are read from."""

# Precedence: command line (or keyword arguments), ASYNCGG_* variables, asyncgg.toml, defaults.

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

FILE_NAME: Final = "asyncgg.toml"
_ENV_PREFIX: Final = "ASYNCGG_"
_CONFIG_VARIABLE: Final = "ASYNCGG_CONFIG"
_RESERVED_PREFIX: Final = "ASYNCGG_TEST_"

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION: Final = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+\Z")
_DURATION_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


def parse_duration(value: object) -> float:
    """Seconds of `90`, `"90s"` or `"1h30m"` (ms, s, m, h, d). Raises `ValueError`."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        seconds = float(value)
    else:
        text = str(value).replace(" ", "").lower()
        if re.fullmatch(r"\d+(?:\.\d+)?", text):
            seconds = float(text)
        elif _DURATION.match(text):
            seconds = sum(float(number) * _UNITS[unit] for number, unit in _DURATION_PART.findall(text))
        else:
            raise ValueError("must be a duration such as 90s, 15m, 2h or 1h30m")
    if not math.isfinite(seconds):
        raise ValueError("must be finite")
    if seconds <= 0:
        raise ValueError("must be greater than 0")
    return seconds


def _parse_auto(value: object) -> object:
    return None if isinstance(value, str) and value.strip().lower() == "auto" else value


Duration = Annotated[float, BeforeValidator(parse_duration)]
AutoFloat = Annotated[float | None, BeforeValidator(_parse_auto)]


class Settings(BaseSettings):
    """The settings of a run. Times are seconds; None is `auto` for rate, burst and quota."""

    model_config = SettingsConfigDict(env_prefix=_ENV_PREFIX, extra="forbid", frozen=True, validate_default=True)

    profile: str | None = Field(default=None, description="AWS profile")
    region: str | None = Field(default=None, description="AWS Region")
    endpoint_url: str | None = Field(default=None, description="custom endpoint; no other endpoint is called")

    rate: AutoFloat = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="maximum requests per second; auto: start at the quota and adapt to throttling",
    )
    burst: AutoFloat = Field(
        default=None,
        ge=1,
        allow_inf_nan=False,
        description="maximum requests that start at once; auto: derived from the rate",
    )
    quota: AutoFloat = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="quota of the account in the Region, in requests per second; auto: the documented quota",
    )
    quota_share: float = Field(default=1.0, gt=0, le=1, description="maximum fraction of the quota to use")
    concurrency: int = Field(default=64, ge=1, le=10_000, description="maximum requests in flight")
    per_core: int = Field(default=4, ge=1, le=10_000, description="maximum requests in flight per core")
    max_attempts: int = Field(
        default=10,
        ge=1,
        le=1_000,
        description="attempts per thing before it fails; throttled attempts do not count",
    )
    max_attempts_unknown: int = Field(
        default=3, ge=1, le=1_000, description="attempts for unrecognised per-thing error codes"
    )
    connect_timeout: Duration = Field(default=5.0, description="TCP connect timeout")
    request_timeout: Duration = Field(default=60.0, description="total request timeout; the request is retried")
    transport: Literal["native", "sdk"] = Field(
        default="native",
        description="native: signed and sent by asyncgg; sdk: sent by the aiobotocore client",
    )
    stall_timeout: Duration = Field(
        default=300.0,
        description="stop the run after this time without an accepted request",
    )

    journal: Path | None = Field(
        default=None, description="journal of the run; the default name contains the date and time"
    )
    max_things: int | None = Field(
        default=None, ge=1, description="stop before the first request if there are more things"
    )
    expect_account: str | None = Field(
        default=None, description="stop before the first request unless the AWS account has this ID"
    )
    protect: Path | None = Field(
        default=None, description="names or globs of things and cores that must not be changed"
    )
    skip_bad_rows: bool = Field(default=False, description="skip invalid rows of the manifest")
    allow_empty: bool = Field(default=False, description="accept a manifest or list that is empty: a run of 0 things")
    abort_at: float | None = Field(
        default=None, gt=0, le=100, description="stop when this percentage of finished things has failed"
    )
    abort_after: int = Field(default=100, ge=1, description="minimum finished things before --abort-at applies")
    deadline: Duration | None = Field(default=None, description="stop after this time; the run is resumable")
    absent: Literal["ok", "fail"] = Field(
        default="ok", description="a thing that is not found: ok, already disassociated; fail, a failure"
    )
    missing_cores: Literal["ok", "fail"] | None = Field(
        default=None,
        description="the same for the things of a core that does not exist: by default ok after a scan, else fail",
    )

    quiet: bool = Field(default=False, description="do not show progress")
    log_format: Literal["text", "json"] = Field(
        default="text", description="format of progress and log lines when there is no terminal"
    )

    codes: dict[str, str] = Field(
        default_factory=dict, description="action per error code of a thing: retry, fail or gone (gone counts as done)"
    )

    @field_validator("expect_account")
    @classmethod
    def _validate_account(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"\d{12}", value):
            raise ValueError("must be an AWS account ID (12 digits)")
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
        """Disable all other sources: `load_settings` passes the values in order of precedence."""
        return (init_settings,)


def load_settings(arguments: Mapping[str, Any] | None = None, *, config: Path | None = None) -> Settings:
    """Load settings from `arguments` (None means not set), the environment and a TOML file.

    The file is `config`, else the file named by ASYNCGG_CONFIG, else ./asyncgg.toml if it exists.

    Raises:
        SettingsError: a name is unknown or a value is invalid; the message names its source.
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
    """The `stored` settings of a run with `arguments` on top; environment and file are not read.

    Raises:
        SettingsError: a value is invalid.
    """
    explicit = {key: value for key, value in (arguments or {}).items() if value is not None}
    origins = dict.fromkeys(stored, "journal") | {key: _option_name(key) for key in explicit}
    recognized = {key: value for key, value in stored.items() if key in Settings.model_fields}
    return _build({**recognized, **explicit}, origins)


def _build(values: Mapping[str, Any], origins: Mapping[str, str]) -> Settings:
    # Checked here because pydantic would accept RATE as a second spelling of rate.
    if unknown := [key for key in values if key not in Settings.model_fields]:
        raise SettingsError("\n".join(f"{_display_name((key,), origins)}: unknown setting" for key in unknown))
    try:
        return Settings(**values)
    except SettingsError as error:  # raised by `CodeTable`, which does not know the source
        raise SettingsError(f"{origins.get('codes', 'settings')}: {error}") from None
    except ValidationError as error:
        raise SettingsError(
            "\n".join(_format_error(item, origins) for item in error.errors(include_url=False))
        ) from None


def _format_error(item: Any, origins: Mapping[str, str]) -> str:
    name = _display_name(item["loc"], origins)
    message = str(item["msg"]).removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    return f"{name}: {item['input']!r} {message}" if message.startswith("must ") else f"{name}: {message}"


def _display_name(location: tuple[int | str, ...], origins: Mapping[str, str]) -> str:
    """The setting as the user wrote it: an option, a variable, or a file and key."""
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
            raise SettingsError(f"{path}: settings file not found") from None
        return {}, str(path)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not valid UTF-8"
        raise SettingsError(f"{path}: cannot read the file: {reason}") from None
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path}: {error}") from None
    normalized: dict[str, Any] = {}
    for key, value in values.items():
        name = key.replace("-", "_")
        if name in normalized:
            raise SettingsError(f"{path}: {name}: duplicate key")
        normalized[name] = value
    return normalized, str(path)


def _from_environment() -> dict[str, Any]:
    setting_names = set(Settings.model_fields)
    for name in os.environ:
        upper = name.upper()
        if not upper.startswith(_ENV_PREFIX) or upper == _CONFIG_VARIABLE or upper.startswith(_RESERVED_PREFIX):
            continue
        if upper.removeprefix(_ENV_PREFIX).lower() not in setting_names:
            raise SettingsError(f"{name}: unknown setting")
    try:
        return EnvSettingsSource(Settings, env_prefix=_ENV_PREFIX, env_ignore_empty=True)()
    except SourceError as error:
        raise SettingsError(f"{_ENV_PREFIX}CODES: {error.__cause__ or error}") from None
