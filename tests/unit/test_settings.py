"""Sources of settings, their precedence, and the errors for invalid names and values."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncgg.cli.options import CONNECTION, GUARDS, JOURNAL, LIMITS, MANIFEST, OUTPUT, STATE, TELEMETRY
from asyncgg.errors import SettingsError
from asyncgg.files import SETTINGS_FILE
from asyncgg.formatting import parse_duration
from asyncgg.settings import Settings, build_settings, load_settings

DEFAULTS = Settings.model_validate({})


@pytest.fixture(autouse=True)
def empty_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in an empty directory without ASYNCGG_* variables."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.upper().startswith("ASYNCGG_"):
            monkeypatch.delenv(name)


def error_message(values: dict[str, Any] | None = None, config: Path | None = None) -> str:
    """The message of the error that `load_settings` raises."""
    with pytest.raises(SettingsError) as caught:
        load_settings(values, config=config)
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_load_settings_without_sources_returns_defaults() -> None:
    """Without sources all settings have their defaults."""
    settings = load_settings()
    assert settings == DEFAULTS
    assert (settings.rate, settings.burst, settings.quota_share) == (None, None, 1.0)
    assert (settings.max_things, settings.deadline, settings.codes) == (None, None, {})


SOURCES = ["default", "file", "variable", "keyword"]


@pytest.mark.parametrize("present", [SOURCES[:n] for n in range(1, 5)] + [["file", "keyword"], ["variable"]])
def test_load_settings_uses_the_source_with_the_highest_precedence(
    present: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A keyword overrides a variable, which overrides the file."""
    if "file" in present:
        Path(SETTINGS_FILE).write_text('per_core = 11\nregion = "of-file"\n')
    if "variable" in present:
        monkeypatch.setenv("ASYNCGG_PER_CORE", "12")
        monkeypatch.setenv("ASYNCGG_PROFILE", "of-variable")
    settings = load_settings({"per_core": 13, "rate": None} if "keyword" in present else None)
    assert settings.per_core == {"default": 4, "file": 11, "variable": 12, "keyword": 13}[present[-1]]
    assert settings.region == ("of-file" if "file" in present else None)
    assert settings.profile == ("of-variable" if "variable" in present else None)


def test_load_settings_auto_overrides_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """`auto` from a source of higher precedence overrides a number."""
    Path(SETTINGS_FILE).write_text("rate = 3\n")
    assert load_settings().rate == 3.0
    monkeypatch.setenv("ASYNCGG_RATE", "auto")
    assert load_settings().rate is None
    assert load_settings({"rate": 5.0}).rate == 5.0


@pytest.mark.parametrize("empty", ["", None])
def test_load_settings_ignores_an_empty_variable(empty: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty variable counts as not set, as scripts expect."""
    monkeypatch.setenv("ASYNCGG_RATE", empty or "")
    monkeypatch.setenv("ASYNCGG_CONFIG", "")
    Path(SETTINGS_FILE).write_text("rate = 3\n")
    assert load_settings().rate == 3.0


def test_load_settings_reads_only_the_first_file_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The `config` argument comes before ASYNCGG_CONFIG, which comes before asyncgg.toml."""
    for name, rate in ((SETTINGS_FILE, 1), ("named.toml", 2), ("given.toml", 3)):
        Path(name).write_text(f"rate = {rate}\nburst = {rate}\n" if name == SETTINGS_FILE else f"rate = {rate}\n")
    assert load_settings().rate == 1.0
    monkeypatch.setenv("ASYNCGG_CONFIG", "named.toml")
    assert (load_settings().rate, load_settings().burst) == (2.0, None)
    assert load_settings(config=tmp_path / "given.toml").rate == 3.0


def test_load_settings_accepts_dashes_in_keys() -> None:
    """Keys of a file can use dashes; the same key in both spellings is an error."""
    Path(SETTINGS_FILE).write_text("per-core = 3\nskip-bad-rows = true\n")
    assert (load_settings().per_core, load_settings().skip_bad_rows) == (3, True)
    Path(SETTINGS_FILE).write_text("per-core = 3\nper_core = 4\n")
    assert error_message() == "asyncgg.toml: per_core: duplicate key"


def test_load_settings_ignores_test_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """ASYNCGG_TEST_* variables are not reported as unknown settings."""
    monkeypatch.setenv("ASYNCGG_TEST_ANYTHING", "1")
    assert load_settings() == DEFAULTS


QUOTES_HINT = '; write the account in quotes: "012345678901"'

WRONG_VALUES: list[tuple[str, Any, str]] = [
    ("rate", "0", "'0' must be greater than 0"),
    ("rate", "abc", "'abc' must be a number"),
    ("rate", "nan", "'nan' must be a finite number"),
    ("rate", "inf", "'inf' must be a finite number"),
    ("burst", "0.5", "'0.5' must be at least 1"),
    ("quota_share", "1.1", "'1.1' must be at most 1"),
    ("quota_share", "0", "'0' must be greater than 0"),
    ("concurrency", "0", "'0' must be at least 1"),
    ("concurrency", "1.5", "'1.5' must be a whole number"),
    ("per_core", "-1", "'-1' must be at least 1"),
    ("max_attempts", "0", "'0' must be at least 1"),
    ("max_things", "0", "'0' must be at least 1"),
    ("abort_at", "101", "'101' must be at most 100"),
    ("abort_at", "0", "'0' must be greater than 0"),
    ("deadline", "soon", "'soon' must be a duration such as 90s, 15m, 2h or 1h30m"),
    ("request_timeout", "0s", "'0s' must be greater than 0"),
    ("stall_timeout", "9" * 400, f"'{'9' * 400}' must be finite"),
    ("expect_account", "12345", "'12345' must be an AWS account ID (12 digits)"),
    ("skip_bad_rows", "perhaps", "'perhaps' must be true or false"),
    ("log_format", "xml", "'xml' must be one of: text, json, emf"),
]


@pytest.mark.parametrize(("key", "value", "message"), WRONG_VALUES)
def test_load_settings_invalid_value_names_its_source(
    key: str, value: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names the option, the variable, or the file and key."""
    assert error_message({key: value}) == f"--{key.replace('_', '-')}: {message}"
    Path("s.toml").write_text(f"{key} = {json.dumps(value)}\n")
    assert error_message(config=Path("s.toml")) == f"s.toml: {key}: {message}"
    monkeypatch.setenv(f"ASYNCGG_{key.upper()}", value)
    assert error_message() == f"ASYNCGG_{key.upper()}: {message}"


def test_load_settings_reports_all_invalid_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """One error lists every invalid value with its source."""
    Path(SETTINGS_FILE).write_text('region = 5\nlog_format = "xml"\n')
    monkeypatch.setenv("ASYNCGG_PER_CORE", "0")
    assert error_message({"rate": -1, "log_format": "text"}).splitlines() == [
        "asyncgg.toml: region: 5 must be text, in quotes",
        "--rate: -1 must be greater than 0",
        "ASYNCGG_PER_CORE: '0' must be at least 1",
    ]


@pytest.mark.parametrize("key", ["ratee", "max-thing", "RATE", "journal_path", "codes_"])
def test_load_settings_unknown_name_is_an_error(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown name is an error in every source, so that a misspelt guard is not ignored."""
    Path("s.toml").write_text(f"{key} = 1\n")
    assert error_message(config=Path("s.toml")) == f"s.toml: {key.replace('-', '_')}: unknown setting"
    assert error_message({key: 1}) == f"--{key.replace('_', '-')}: unknown setting"
    if key != "RATE":  # variable names are in capitals
        monkeypatch.setenv(f"ASYNCGG_{key.upper()}", "1")
        assert error_message() == f"ASYNCGG_{key.upper()}: unknown setting"


def test_load_settings_accepts_lower_case_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables in lower case count, and unknown ones are errors."""
    monkeypatch.setenv("asyncgg_rate", "7")
    assert load_settings().rate == 7.0
    monkeypatch.setenv("asyncgg_ratee", "7")
    assert error_message() == "asyncgg_ratee: unknown setting"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"rate = ", "invalid TOML: Invalid value (at end of document)"),
        (b"rate = 1\nrate = 2\n", "invalid TOML: Cannot overwrite a value (at line 2, column 9)"),
        (b"\xff\xfe", "invalid UTF-8; save the settings file as UTF-8"),
        (b"[asyncgg]\nrate = 5\n", "asyncgg: unknown setting"),
        (b"[rate]\nx = 1\n", "rate: must be a number"),
        (b"expect_account = 123456789012\n", "expect_account: 123456789012 must be text, in quotes"),
        (b"\xef\xbb\xbfprofile = true\n", "profile: True must be text, in quotes"),
        (b"protect = ['a']\n", "protect: must be text, in quotes"),
        (b"journal = 5\n", "journal: 5 must be text, in quotes"),
        (b"codes = 'X=retry'\n", "codes: must be a table of codes and actions"),
        (b"[codes]\nX = 1\n", "codes.X: 1 must be text, in quotes"),
        (
            b"rate = 3\nexpect-account = 012345678901\n",
            f"invalid TOML: Expected newline or end of document after a statement (at line 2, column 19){QUOTES_HINT}",
        ),
        (b"deadline = true\n", "deadline: True must be a duration such as 90s, 15m, 2h or 1h30m"),
    ],
)
def test_load_settings_invalid_file_names_the_file(content: bytes, message: str) -> None:
    """The message for an invalid file names the file and the position in it."""
    Path(SETTINGS_FILE).write_bytes(content)
    assert error_message() == f"asyncgg.toml: {message}"


def test_load_settings_missing_named_file_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file named explicitly must exist and be a file."""
    monkeypatch.setenv("ASYNCGG_CONFIG", "none.toml")
    assert error_message() == "none.toml: settings file not found; check the path"
    assert error_message(config=Path()) == ".: cannot read the settings file: Is a directory"


def test_load_settings_codes_variable_replaces_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """Codes come from a table of the file or as JSON from a variable, which replaces the table."""
    Path(SETTINGS_FILE).write_text('[codes]\nDeviceBusy = "retry"\nAlreadyGone = "gone"\n')
    assert load_settings().codes == {"DeviceBusy": "retry", "AlreadyGone": "gone"}
    monkeypatch.setenv("ASYNCGG_CODES", '{"Hopeless": "fail"}')
    assert load_settings().codes == {"Hopeless": "fail"}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ('{"DeviceBusy": "later"}', "codes.DeviceBusy: 'later' must be one of: retry, fail, gone"),
        ('{"--": "fail"}', "codes: '--' is not an error code"),
    ],
)
def test_load_settings_invalid_code_names_code_and_source(
    table: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names the code and the source of the table."""
    ((code, action),) = json.loads(table).items()
    Path(SETTINGS_FILE).write_text(f'[codes]\n"{code}" = "{action}"\n')
    assert error_message() == f"asyncgg.toml: {message}"
    monkeypatch.setenv("ASYNCGG_CODES", table)
    assert error_message() == f"ASYNCGG_CODES: {message}"


@pytest.mark.parametrize("text", ["{bad", "gone", '["x"]', "X=retry", "{'X': 'retry'}", '"X"'])
def test_load_settings_codes_variable_that_is_not_an_object(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that does not hold a JSON object is an error that shows what to write."""
    monkeypatch.setenv("ASYNCGG_CODES", text)
    assert error_message() == 'ASYNCGG_CODES: must be a JSON object such as {"Busy": "retry"}'


def test_load_settings_skips_a_byte_order_mark() -> None:
    """Editors of Windows write one."""
    Path(SETTINGS_FILE).write_bytes(b"\xef\xbb\xbfrate = 5\r\n")
    assert load_settings().rate == 5


def test_build_settings_uses_stored_values_and_arguments_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stored settings ignore environment and file; arguments override them."""
    Path(SETTINGS_FILE).write_text("rate = 1\nper_core = 9\n")
    monkeypatch.setenv("ASYNCGG_RATE", "2")
    monkeypatch.setenv("ASYNCGG_NONSENSE", "2")
    original = Settings.model_validate({"rate": 5.0, "codes": {"A": "gone"}, "deadline": "2h"})
    stored = json.loads(original.model_dump_json())
    assert build_settings(stored) == original
    restored = build_settings(stored, {"burst": 3, "deadline": "1h", "rate": None})
    assert (restored.rate, restored.burst, restored.deadline, restored.per_core) == (5.0, 3.0, 3600.0, 4)
    assert restored.codes == {"A": "gone"}


def test_build_settings_validates_stored_values() -> None:
    """Unknown stored settings are ignored; invalid values are errors."""
    assert build_settings({"rate": 5.0, "abolished": 1}).rate == 5.0
    for stored, arguments, message in (
        ({"rate": -1}, None, "journal: rate: -1 must be greater than 0"),
        ({"codes": {"A": "b"}}, None, "journal: codes.A: 'b' must be one of: retry, fail, gone"),
        ({"rate": 5.0}, {"rate": -1}, "--rate: -1 must be greater than 0"),
        ({}, {"ratee": 1}, "--ratee: unknown setting"),
    ):
        with pytest.raises(SettingsError) as caught:
            build_settings(stored, arguments)
        assert str(caught.value) == message


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        (90, 90.0),
        (0.5, 0.5),
        ("90", 90.0),
        ("90s", 90.0),
        ("500ms", 0.5),
        ("1.5h", 5400.0),
        ("1h30m", 5400.0),
        ("2 h", 7200.0),
        ("1H", 3600.0),
        ("1d2h3m4s5ms", 93_784.005),
    ],
)
def test_parse_duration_returns_seconds(written: object, seconds: float) -> None:
    """A duration is a number of seconds or a sum of amounts with units."""
    assert parse_duration(written) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "written", ["", "m", "1h30", "-5s", "1e3", "soon", "1h-30m", "5 years", 0, -1, "0s", True, None, float("inf")]
)
def test_parse_duration_invalid_value_raises(written: object) -> None:
    """A value that is not a positive finite duration raises ValueError."""
    with pytest.raises(ValueError, match="must be "):
        parse_duration(written)


@given(
    parts=st.lists(st.tuples(st.integers(0, 999), st.sampled_from(["ms", "s", "m", "h", "d"])), min_size=1, max_size=5)
)
def test_parse_duration_adds_its_parts(parts: list[tuple[int, str]]) -> None:
    """A duration of several parts is their sum."""
    units = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400}
    seconds = sum(number * units[unit] for number, unit in parts)
    text = "".join(f"{number}{unit}" for number, unit in parts)
    if seconds:
        assert parse_duration(text) == pytest.approx(seconds)
    else:
        with pytest.raises(ValueError, match="greater than 0"):
            parse_duration(text)


@pytest.mark.parametrize("key", ["profile", "region", "endpoint_url"])
def test_load_settings_blank_text_is_none(key: str) -> None:
    """An empty profile, Region or endpoint counts as not set."""
    assert getattr(load_settings({key: ""}), key) is None


def test_settings_have_options_that_name_the_defaults() -> None:
    """Each setting but `codes` has an option with a help, which ends with the setting's default."""
    options = {
        option.name: option
        for option in (*CONNECTION, *GUARDS, *JOURNAL, *LIMITS, *MANIFEST, *OUTPUT, *STATE, *TELEMETRY)
    }
    defaults = {name: field.default for name, field in Settings.model_fields.items() if name != "codes"}
    assert defaults.keys() <= options.keys()
    for name, default in defaults.items():
        text = options[name].help or ""
        if default is None or default is False:
            assert text
            assert not text.endswith("]") or text.endswith(
                (" [default: auto]", " + 30s]", "a scan: ok]", "and time]")
            ), name
        else:
            written = f"{default:g}" if isinstance(default, float) else str(default)
            unit = "s" if options[name].metavar == "DURATION" else ""
            assert text.endswith(f" [default: {written}{unit}]"), name
