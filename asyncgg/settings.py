"""The settings of a run and the sources they are read from."""

# Precedence: command line (or keyword arguments), ASYNCGG_* variables, asyncgg.toml, defaults.

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from pydantic_settings.exceptions import SettingsError as SourceError

from asyncgg.classify import CodeTable
from asyncgg.errors import SettingsError
from asyncgg.files import CONFIG_VARIABLE, SETTINGS_FILE, read_toml, settings_file
from asyncgg.formatting import parse_duration

_ENV_PREFIX: Final = "ASYNCGG_"
_RESERVED_PREFIX: Final = "ASYNCGG_TEST_"

# By the error types of pydantic; other types keep the message of pydantic or of the validator.
_MESSAGES: Final[Mapping[str, str]] = {
    "missing": "is missing",
    "string_type": "must be text, in quotes",
    "path_type": "must be text, in quotes",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "tuple_type": "must be text or a list of text",
    "dict_type": "must be a table",
    "dataclass_type": "must be a table",
    "dataclass_exact_type": "must be a table",
    "finite_number": "must be a finite number",
    "greater_than": "must be greater than {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than": "must be less than {lt:g}",
    "less_than_equal": "must be at most {le:g}",
}
_MAX_PORT: Final = 65535
_CODES_HINT: Final = 'a JSON object such as {"Busy": "retry"}'


def _parse_auto(value: object) -> object:
    return None if isinstance(value, str) and value.strip().lower() == "auto" else value


OUTPUT_SETTINGS: Final = frozenset(
    {"quiet", "log_format", "verbose", "log_file", "log_requests", "metrics_file", "metrics_push", "metrics_port"}
    | {"otel"}
)
"""Settings of what one start writes besides its journal. A journal does not keep them."""
METRICS_SETTINGS: Final = frozenset({"metrics_file", "metrics_push", "metrics_port"})
"""Those of them that all targets of a campaign share."""


def _parse_listen_address(value: object) -> str:
    """`[ADDRESS:]PORT` with its address; 127.0.0.1 is the default."""
    address, _, port = str(value).rpartition(":")
    if not (port.isascii() and port.isdigit() and int(port) <= _MAX_PORT):
        raise ValueError("must be PORT or ADDRESS:PORT")
    return f"{address or '127.0.0.1'}:{int(port)}"


ListenAddress = Annotated[str, BeforeValidator(_parse_listen_address)]
Duration = Annotated[float, BeforeValidator(parse_duration)]
AutoFloat = Annotated[float | None, BeforeValidator(_parse_auto)]


class Settings(BaseSettings):
    """The settings of a run. Times are seconds; None is `auto` for rate, burst and quota.

    The help of the options of the same names explains them; `codes` has no option.
    """

    model_config = SettingsConfigDict(env_prefix=_ENV_PREFIX, extra="forbid", frozen=True, validate_default=True)

    profile: str | None = None
    role_arn: str | None = None
    external_id: str | None = None
    role_session_name: str = "asyncgg"
    region: str | None = None
    allow_unknown_region: bool = False
    endpoint_url: str | None = None

    rate: AutoFloat = Field(default=None, gt=0, allow_inf_nan=False)
    burst: AutoFloat = Field(default=None, ge=1, allow_inf_nan=False)
    quota: AutoFloat = Field(default=None, gt=0, allow_inf_nan=False)
    explore: bool = False
    quota_share: float = Field(default=1.0, gt=0, le=1)
    concurrency: int = Field(default=64, ge=1, le=10_000)
    per_core: int = Field(default=4, ge=1, le=10_000)
    max_attempts: int = Field(default=10, ge=1, le=1_000)
    max_attempts_unknown: int = Field(default=3, ge=1, le=1_000)
    connect_timeout: Duration = 5.0
    request_timeout: Duration = 60.0
    transport: Literal["native", "sdk"] = "native"
    stall_timeout: Duration = 300.0

    journal: Path | None = None
    state: str | None = None
    state_interval: Duration = 30.0
    state_lease: Duration | None = None
    """None: `request_timeout` and 30 s."""
    max_things: int | None = Field(default=None, ge=1)
    expect_account: str | None = None
    allow_unknown_account: bool = False
    protect: Path | None = None
    skip_bad_rows: bool = False
    allow_empty: bool = False
    snapshot: bool = False
    abort_at: float | None = Field(default=None, gt=0, le=100)
    abort_after: int = Field(default=100, ge=1)
    continue_when_denied: bool = False
    deadline: Duration | None = None
    absent: Literal["ok", "fail"] = "ok"
    missing_cores: Literal["ok", "fail"] | None = None
    """None: `ok` if the associations were listed before the run, else `fail`."""

    quiet: bool = False
    log_format: Literal["text", "json", "emf"] = "text"
    verbose: int | None = Field(default=None, ge=1, le=2)
    log_file: Path | None = None
    log_requests: Path | None = None
    metrics_file: Path | None = None
    metrics_push: str | None = None
    metrics_port: ListenAddress | None = None
    otel: bool = False

    codes: dict[str, str] = Field(
        default_factory=dict, description="action per error code of a thing: retry, fail or gone (gone counts as done)"
    )

    @field_validator("expect_account")
    @classmethod
    def _validate_account(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"\d{12}", value):
            raise ValueError("must be an AWS account ID (12 digits)")
        return value

    @field_validator("metrics_file")
    @classmethod
    def _validate_metrics_file(cls, value: Path | None) -> Path | None:
        if value is not None and value.suffix != ".prom":  # the node exporter reads no others
            raise ValueError("must end in .prom")
        return value

    @field_validator("metrics_push")
    @classmethod
    def _validate_metrics_push(cls, value: str | None) -> str | None:
        if value and not re.match(r"https?://[^/\s]+\S*\Z", value):
            # Without the value, which can contain a password.
            raise PydanticCustomError("url", "must be an http or https URL")
        return value or None

    @field_validator("profile", "role_arn", "external_id", "region", "endpoint_url", "state")
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
    file_values, file_name = _from_file(settings_file(config))
    variables = _from_environment()
    origins = dict.fromkeys(file_values, file_name)
    origins |= {key: _ENV_PREFIX + key.upper() for key in variables}
    origins |= {key: _option_name(key) for key in explicit}
    return _build({**file_values, **variables, **explicit}, origins)


def build_settings(
    stored: Mapping[str, Any], arguments: Mapping[str, Any] | None = None, *, source: str = "journal"
) -> Settings:
    """The `stored` settings of a run with `arguments` on top; environment and file are not read.

    `source` names the stored settings in messages.

    Raises:
        SettingsError: a value is invalid.
    """
    explicit = {key: value for key, value in (arguments or {}).items() if value is not None}
    origins = dict.fromkeys(stored, source) | {key: _option_name(key) for key in explicit}
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


def _format_error(error: ErrorDetails, origins: Mapping[str, str]) -> str:
    name = _display_name(error["loc"], origins)
    if error["loc"] == ("codes",):
        return f"{name}: must be {_CODES_HINT if name.startswith(_ENV_PREFIX) else 'a table of codes and actions'}"
    return f"{name}: {format_validation_error(error)}"


def format_validation_error(error: ErrorDetails) -> str:
    """An error of pydantic as one clause, with the value unless it is a table or list."""
    kind, value = error["type"], error["input"]
    if kind == "missing":
        return _MESSAGES[kind]
    context: Mapping[str, Any] = error.get("ctx", {})
    if kind == "literal_error":
        choices = re.findall(r"'([^']+)'", context["expected"])
        return f"{value!r} must be one of: {', '.join(choices)}"
    if kind == "value_error":
        return f"{value!r} {context['error']}"
    if kind in _MESSAGES:
        message = _MESSAGES[kind].format_map(context)
        return message if isinstance(value, dict | list) else f"{value!r} {message}"
    return error["msg"]


def _display_name(location: tuple[int | str, ...], origins: Mapping[str, str]) -> str:
    """The setting as the user wrote it: an option, a variable, or a file and key."""
    origin = origins.get(str(location[0]), "settings") if location else "settings"
    return origin if origin.startswith(("--", _ENV_PREFIX)) else f"{origin}: {'.'.join(map(str, location))}"


def _option_name(key: str) -> str:
    return "--" + key.replace("_", "-")


def _from_file(path: Path | None) -> tuple[dict[str, Any], str]:
    if path is None:
        return {}, SETTINGS_FILE
    normalized: dict[str, Any] = {}
    for key, value in read_toml(path, "settings file").items():
        name = key.replace("-", "_")
        if name in normalized:
            raise SettingsError(f"{path}: {name}: duplicate key")
        normalized[name] = value
    return normalized, str(path)


def _from_environment() -> dict[str, Any]:
    setting_names = set(Settings.model_fields)
    for name in os.environ:
        upper = name.upper()
        if not upper.startswith(_ENV_PREFIX) or upper == CONFIG_VARIABLE or upper.startswith(_RESERVED_PREFIX):
            continue
        if upper.removeprefix(_ENV_PREFIX).lower() not in setting_names:
            raise SettingsError(f"{name}: unknown setting")
    try:
        return EnvSettingsSource(Settings, env_prefix=_ENV_PREFIX, env_ignore_empty=True)()
    except SourceError:  # the only setting that is not one value
        raise SettingsError(f"{_ENV_PREFIX}CODES: must be {_CODES_HINT}") from None
