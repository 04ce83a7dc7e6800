"""Rule: where a setting's value comes from, and how a wrong name or value is told with the place it stands in."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncgg.errors import SettingsError
from asyncgg.settings import FILE_NAME, Settings, build_settings, load_settings, parse_duration

DEFAULTS = Settings.model_validate({})


@pytest.fixture(autouse=True)
def nothing_around(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty current directory and no variable of ours."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.upper().startswith("ASYNCGG_"):
            monkeypatch.delenv(name)


def error_message(values: dict[str, Any] | None = None, config: Path | None = None) -> str:
    """The sentence with which settings are refused."""
    with pytest.raises(SettingsError) as caught:
        load_settings(values, config=config)
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_defaults_are_those_of_the_program() -> None:
    """With nothing given the defaults hold: automatic rate and burst, nothing restricted."""
    settings = load_settings()
    assert settings == DEFAULTS
    assert (settings.rate, settings.burst, settings.quota_share) == (None, None, 1.0)
    assert (settings.max_things, settings.deadline, settings.codes) == (None, None, {})


SOURCES = ["default", "file", "variable", "keyword"]


@pytest.mark.parametrize("present", [SOURCES[:n] for n in range(1, 5)] + [["file", "keyword"], ["variable"]])
def test_precedence(present: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the sources that give a value the last in the order file, variable, keyword counts."""
    if "file" in present:
        Path(FILE_NAME).write_text('per_core = 11\nregion = "of-file"\n')
    if "variable" in present:
        monkeypatch.setenv("ASYNCGG_PER_CORE", "12")
        monkeypatch.setenv("ASYNCGG_PROFILE", "of-variable")
    settings = load_settings({"per_core": 13, "rate": None} if "keyword" in present else None)
    assert settings.per_core == {"default": 4, "file": 11, "variable": 12, "keyword": 13}[present[-1]]
    assert settings.region == ("of-file" if "file" in present else None)
    assert settings.profile == ("of-variable" if "variable" in present else None)


def test_auto_overrules_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """`auto` is a value like another: given nearer it overrules a rate given farther away."""
    Path(FILE_NAME).write_text("rate = 3\n")
    assert load_settings().rate == 3.0
    monkeypatch.setenv("ASYNCGG_RATE", "auto")
    assert load_settings().rate is None
    assert load_settings({"rate": 5.0}).rate == 5.0


@pytest.mark.parametrize("empty", ["", None])
def test_an_empty_variable_is_none(empty: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that is set to nothing counts as not set, as scripts expect."""
    monkeypatch.setenv("ASYNCGG_RATE", empty or "")
    monkeypatch.setenv("ASYNCGG_CONFIG", "")
    Path(FILE_NAME).write_text("rate = 3\n")
    assert load_settings().rate == 3.0


def test_which_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file given counts before the one ASYNCGG_CONFIG names, that one before asyncgg.toml; only one is read."""
    for name, rate in ((FILE_NAME, 1), ("named.toml", 2), ("given.toml", 3)):
        Path(name).write_text(f"rate = {rate}\nburst = {rate}\n" if name == FILE_NAME else f"rate = {rate}\n")
    assert load_settings().rate == 1.0
    monkeypatch.setenv("ASYNCGG_CONFIG", "named.toml")
    assert (load_settings().rate, load_settings().burst) == (2.0, None)
    assert load_settings(config=tmp_path / "given.toml").rate == 3.0


def test_both_spellings_in_a_file() -> None:
    """A file's keys may have dashes like the options; the same one in both spellings is refused."""
    Path(FILE_NAME).write_text("per-core = 3\nskip-bad-rows = true\n")
    assert (load_settings().per_core, load_settings().skip_bad_rows) == (3, True)
    Path(FILE_NAME).write_text("per-core = 3\nper_core = 4\n")
    assert error_message() == "asyncgg.toml: per_core: it is given twice"


def test_variables_of_the_tests_are_no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables for the project's own tests do not count as misspelt settings."""
    monkeypatch.setenv("ASYNCGG_TEST_ANYTHING", "1")
    assert load_settings() == DEFAULTS


WRONG_VALUES: list[tuple[str, Any, str]] = [
    ("rate", "0", "input should be greater than 0"),
    ("rate", "abc", "input should be a valid number, unable to parse string as a number"),
    ("rate", "nan", "input should be a finite number"),
    ("rate", "inf", "input should be a finite number"),
    ("burst", "0.5", "input should be greater than or equal to 1"),
    ("quota_share", "1.1", "input should be less than or equal to 1"),
    ("quota_share", "0", "input should be greater than 0"),
    ("concurrency", "0", "input should be greater than or equal to 1"),
    ("concurrency", "1.5", "input should be a valid integer, unable to parse string as an integer"),
    ("per_core", "-1", "input should be greater than or equal to 1"),
    ("max_attempts", "0", "input should be greater than or equal to 1"),
    ("max_things", "0", "input should be greater than or equal to 1"),
    ("abort_at", "101", "input should be less than or equal to 100"),
    ("abort_at", "0", "input should be greater than 0"),
    ("deadline", "soon", "'soon' is no duration; write it like 90s, 15m, 2h or 1h30m"),
    ("request_timeout", "0s", "'0s' must be longer than nothing"),
    ("patience", "9" * 400, f"'{'9' * 400}' must come to an end"),
    ("expect_account", "12345", "'12345' is no AWS account id (12 digits)"),
    ("skip_bad_rows", "perhaps", "input should be a valid boolean, unable to interpret input"),
    ("log_format", "xml", "input should be 'text' or 'json'"),
]


@pytest.mark.parametrize(("key", "value", "sentence"), WRONG_VALUES)
def test_wrong_values(key: str, value: str, sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong value is refused from every source, with the option, the variable or the file and key named."""
    assert error_message({key: value}) == f"--{key.replace('_', '-')}: {sentence}"
    Path("s.toml").write_text(f"{key} = {json.dumps(value)}\n")
    assert error_message(config=Path("s.toml")) == f"s.toml: {key}: {sentence}"
    monkeypatch.setenv(f"ASYNCGG_{key.upper()}", value)
    assert error_message() == f"ASYNCGG_{key.upper()}: {sentence}"


def test_every_wrong_value_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several wrong values are told together, each with its own place."""
    Path(FILE_NAME).write_text('region = 5\nlog_format = "xml"\n')
    monkeypatch.setenv("ASYNCGG_PER_CORE", "0")
    assert error_message({"rate": -1, "log_format": "text"}).splitlines() == [
        "asyncgg.toml: region: input should be a valid string",
        "--rate: input should be greater than 0",
        "ASYNCGG_PER_CORE: input should be greater than or equal to 1",
    ]


@pytest.mark.parametrize("key", ["ratee", "max-thing", "RATE", "journal_path", "codes_"])
def test_unknown_names(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name nobody knows is refused from every source: a misspelt guard would be no guard."""
    Path("s.toml").write_text(f"{key} = 1\n")
    assert error_message(config=Path("s.toml")) == f"s.toml: {key.replace('-', '_')}: there is no such setting"
    assert error_message({key: 1}) == f"--{key.replace('_', '-')}: there is no such setting"
    if key != "RATE":  # a variable's name is in capitals
        monkeypatch.setenv(f"ASYNCGG_{key.upper()}", "1")
        assert error_message() == f"ASYNCGG_{key.upper()}: there is no such setting"


def test_variables_in_any_case(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable in lower case is no other variable: it counts, and misspelt it is refused."""
    monkeypatch.setenv("asyncgg_rate", "7")
    assert load_settings().rate == 7.0
    monkeypatch.setenv("asyncgg_ratee", "7")
    assert error_message() == "asyncgg_ratee: there is no such setting"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"rate = ", "Invalid value (at end of document)"),
        (b"rate = 1\nrate = 2\n", "Cannot overwrite a value (at line 2, column 9)"),
        (b"\xff\xfe", "it cannot be read: it is not UTF-8"),
        (b"[asyncgg]\nrate = 5\n", "asyncgg: there is no such setting"),
        (b"[rate]\nx = 1\n", "rate: input should be a valid number"),
        (b"deadline = true\n", "deadline: True is no duration; write it like 90s, 15m, 2h or 1h30m"),
    ],
)
def test_bad_files(content: bytes, sentence: str) -> None:
    """A file that is no settings file is refused by its name, with the place in it."""
    Path(FILE_NAME).write_bytes(content)
    assert error_message() == f"asyncgg.toml: {sentence}"


def test_a_file_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """asyncgg.toml may be missing, a file that was named may not; a directory is none."""
    monkeypatch.setenv("ASYNCGG_CONFIG", "none.toml")
    assert error_message() == "none.toml: there is no such settings file"
    assert error_message(config=Path()) == ".: it cannot be read: Is a directory"


def test_the_table_of_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's codes come from a table of the file, or as JSON from a variable, which replaces it as a whole."""
    Path(FILE_NAME).write_text('[codes]\nDeviceBusy = "retry"\nAlreadyGone = "gone"\n')
    assert load_settings().codes == {"DeviceBusy": "retry", "AlreadyGone": "gone"}
    monkeypatch.setenv("ASYNCGG_CODES", '{"Hopeless": "fail"}')
    assert load_settings().codes == {"Hopeless": "fail"}


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ('{"DeviceBusy": "later"}', "codes.DeviceBusy: 'later' is not one of retry, fail, gone"),
        ('{"--": "fail"}', "codes: '--' is not an error code"),
    ],
)
def test_a_wrong_code(table: str, sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong entry of the table is told with its code and the place of the table."""
    ((code, word),) = json.loads(table).items()
    Path(FILE_NAME).write_text(f'[codes]\n"{code}" = "{word}"\n')
    assert error_message() == f"asyncgg.toml: {sentence}"
    monkeypatch.setenv("ASYNCGG_CODES", table)
    assert error_message() == f"ASYNCGG_CODES: {sentence}"


@pytest.mark.parametrize("text", ["{bad", "gone", '["x"]'])
def test_codes_that_are_no_table(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that holds no table is refused by its name."""
    monkeypatch.setenv("ASYNCGG_CODES", text)
    assert error_message().startswith("ASYNCGG_CODES: ")


def test_a_journal_brings_its_own_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """A resumed run has the settings it was begun with; environment and file do not change them, what is given does."""
    Path(FILE_NAME).write_text("rate = 1\nper_core = 9\n")
    monkeypatch.setenv("ASYNCGG_RATE", "2")
    monkeypatch.setenv("ASYNCGG_NONSENSE", "2")
    original = Settings.model_validate({"rate": 5.0, "codes": {"A": "gone"}, "deadline": "2h"})
    stored = json.loads(original.model_dump_json())
    assert build_settings(stored) == original
    restored = build_settings(stored, {"burst": 3, "deadline": "1h", "rate": None})
    assert (restored.rate, restored.burst, restored.deadline, restored.per_core) == (5.0, 3.0, 3600.0, 4)
    assert restored.codes == {"A": "gone"}


def test_what_a_journal_holds_is_checked() -> None:
    """A journal's settings of another version are left out if unknown, and refused by place if impossible."""
    assert build_settings({"rate": 5.0, "abolished": 1}).rate == 5.0
    for stored, given_values, sentence in (
        ({"rate": -1}, None, "the journal: rate: input should be greater than 0"),
        ({"codes": {"A": "b"}}, None, "the journal: codes.A: 'b' is not one of retry, fail, gone"),
        ({"rate": 5.0}, {"rate": -1}, "--rate: input should be greater than 0"),
        ({}, {"ratee": 1}, "--ratee: there is no such setting"),
    ):
        with pytest.raises(SettingsError) as caught:
            build_settings(stored, given_values)
        assert str(caught.value) == sentence


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
def test_durations(written: object, seconds: float) -> None:
    """Durations are numbers of seconds or amounts with units."""
    assert parse_duration(written) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "written", ["", "m", "1h30", "-5s", "1e3", "soon", "1h-30m", "5 years", 0, -1, "0s", True, None, float("inf")]
)
def test_no_durations(written: object) -> None:
    """What is no length of time is refused."""
    with pytest.raises(ValueError, match=r"is no duration|must be longer than nothing|must come to an end"):
        parse_duration(written)


@given(
    parts=st.lists(st.tuples(st.integers(0, 999), st.sampled_from(["ms", "s", "m", "h", "d"])), min_size=1, max_size=5)
)
def test_durations_add_up(parts: list[tuple[int, str]]) -> None:
    """A duration of several parts is the sum of them."""
    units = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400}
    seconds = sum(number * units[unit] for number, unit in parts)
    text = "".join(f"{number}{unit}" for number, unit in parts)
    if seconds:
        assert parse_duration(text) == pytest.approx(seconds)
    else:
        with pytest.raises(ValueError, match="longer than nothing"):
            parse_duration(text)


@pytest.mark.parametrize("key", ["profile", "region", "endpoint_url"])
def test_blank_means_not_given(key: str) -> None:
    """An empty profile, Region or endpoint is none at all."""
    assert getattr(load_settings({key: ""}), key) is None


def test_every_setting_says_what_it_means() -> None:
    """Each setting has a description for the help and the documentation."""
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []
