"""Loading policies: values, errors of every kind, the examples."""

from __future__ import annotations

from pathlib import Path

import pytest

from asyncgg.cleanup.policy.loader import check_policy, load_policy
from asyncgg.cleanup.policy.model import Policy
from asyncgg.cleanup.rules.conditions import AssociatedBefore, NotIn, Pattern, ThingGroup, ThingMissing, ThingName
from asyncgg.cleanup.rules.expression import AllOf, AnyOf, Not
from asyncgg.errors import SettingsError
from asyncgg.models import CoreDevice
from asyncgg.settings import load_settings
from tests.support.cleanup_rules import error_lines, write_policy

EXAMPLES = Path(__file__).parents[4] / "examples"


def test_load_policy_converts_values(tmp_path: Path) -> None:
    """Durations become seconds, tables become rules, paths are relative to the policy."""
    (tmp_path / "never.txt").write_text("gateway-*\n")
    policy, _ = load_policy(
        write_policy(
            tmp_path,
            """
[sources]
name = "core-*"
status = "HEALTHY"
[guards]
max-percent = 5
deadline = "1h30m"
protect = "never.txt"
protect-names = ["core:core-1"]
ramp = { base-per-minute = 10, increase-after = 100 }
[notify]
webhook = "env:HOOK"
webhook-headers = { Authorization = "env:TOKEN" }
[iot]
quota-share = 0.1
[[rule]]
thing-missing = true
[[rule]]
id = "old"
associated-before = 2026-01-31
any = [{ name = "a*" }, { not = { thing-group = { name = "keep", recursive = false } } }]
not-in = { file = "keep.txt", allow-empty = true }
""",
        )
    )
    assert policy.name == "nightly"
    assert policy.state_dir == tmp_path / "nightly.state"
    assert (policy.guards.max_percent, policy.guards.deadline) == (5, 5400)
    assert policy.guards.ramp is not None
    assert policy.guards.ramp.factor == 2
    assert policy.protect.entries == ("gateway-*", "core:core-1")
    assert policy.notify.webhook == ("env:HOOK",)
    assert policy.iot.rate(policy.required_apis[0]) == pytest.approx(35)
    assert [rule.id for rule in policy.rules] == ["rule 1", "old"]
    assert policy.rules[0].child == ThingMissing()
    assert policy.rules[1].child == AllOf(
        (
            AssociatedBefore(before=1769817600, text="2026-01-31"),
            AnyOf((ThingName(Pattern("a*")), Not(ThingGroup("keep", recursive=False)))),
            NotIn("keep.txt", allow_empty=True),
        )
    )
    assert policy.permissions == ("iot:DescribeThing", "iot:DescribeThingGroup", "iot:ListThingsInThingGroup")
    assert policy.sources.matches(CoreDevice("core-1", "HEALTHY"))
    assert not policy.sources.matches(CoreDevice("core-1"))
    assert not policy.sources.matches(CoreDevice("other", "HEALTHY"))


def test_check_policy_reports_all_errors(tmp_path: Path) -> None:
    """One pass reports all errors by line, each with its key."""
    lines = error_lines(
        tmp_path,
        """nmae = "x"
[sources]
status = "ILL"
thing-group = "arn:aws:iot:x"
[guards]
max-things = "5"
max-percent = nan
protect = "never.txt"
protect-names = ["ok-*", "b d"]
deadline = "soon"
canary = true
expect-account = 123456789012
[guards.ramp]
base-per-minute = 0
[state]
keep-runs = 0
resume-unfinished = "yes"
[notify]
webhook = ["https://x/secret", "secret"]
webhook-headers = { Authorization = "Bearer secret" }
on = "never"
[iot]
endpoint-url = "localhost"
[[rule]]
id = "one"
thing-mising = true
[[rule]]
id = "one"
not = {}
any = []
""",
    )
    expected = [
        "1: nmae: unknown key; did you mean name?",
        "3: sources.status: 'ILL' must be one of: HEALTHY, UNHEALTHY",
        "4: sources.thing-group: 'arn:aws:iot:x' must be the ARN of a thing group",
        "6: guards.max-things: '5' must be a whole number",
        "7: guards.max-percent: nan must be a finite number",
        f"8: guards.protect: {tmp_path}/never.txt: ",
        "9: guards.protect-names[2]: ",
        "10: guards.deadline: 'soon' ",
        "11: guards.canary: True must be a whole number",
        "12: guards.expect-account: 123456789012 must be text, in quotes",
        "13: guards.ramp.increase-after: is missing",
        "14: guards.ramp.base-per-minute: 0 must be greater than 0",
        "16: state.keep-runs: 0 must be at least 1",
        "17: state.resume-unfinished: 'yes' must be true or false",
        "19: notify.webhook[2]: invalid URL: write https://...",
        "20: notify.webhook-headers.Authorization: must be env:NAME, the variable that contains the header",
        "21: notify.on[1]: 'never' must be one of: end, failure, guard",
        "23: iot.endpoint-url: invalid URL: write https://...",
        "26: rule[1].thing-mising: unknown key; did you mean thing-missing?",
        "28: rule[2].id: 'one' is already the id of another rule",
        "29: rule[2].not: has no condition and would select everything",
        "30: rule[2].any: must have at least one table",
    ]
    assert [line[: len(start)] for line, start in zip(lines, expected, strict=True)] == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = 'x'\n", "no [[rule]]: a policy must have at least one rule"),
        ("rule = []\n", "1: rule: must have at least one rule"),
        ("rule = { name = 'x' }\n", "1: rule: must be written [[rule]], once per rule"),
        ("guards = 5\n[[rule]]\nname = 'x'\n", "1: guards: 5 must be a table"),
        ("name = '../x'\n[[rule]]\nname = 'x'\n", "1: name: '../x' must be 1 to 64 of a-z A-Z 0-9 . _ -"),
        ("a = 1\nb = = 2\n", "2: invalid TOML: Invalid value"),
        ("a = [\n", "2: invalid TOML: "),
        (
            "[guards]\nexpect-account = 012345678901\n",
            "2: invalid TOML: Expected newline or end of document after a statement; write the account in quotes: ",
        ),
        ("a = " + "[" * 5000, "1: invalid TOML: nested too deeply"),
        ("a = " + "9" * 5000, "1: invalid TOML: nested too deeply, or a number is too long"),
        ("[rule" + ".not" * 5000 + "]\nname = 'x'", "1: rule: must be written [[rule]]"),
        ("[[rule]]\n[rule" + ".not" * 5000 + "]\nname = 'x'", f"2: rule[1]{'.not' * 59}: is nested too deeply"),
        (
            "[guards.ramp]\nbase-per-minute = 9\nincrease-after = 1\nmaximum-per-minute = 5\n[[rule]]\nname = 'x'\n",
            "4: guards.ramp.maximum-per-minute: must be at least base-per-minute",
        ),
    ],
)
def test_check_policy_invalid_file_has_one_error(tmp_path: Path, text: str, message: str) -> None:
    """An invalid file or table has one error."""
    (line,) = error_lines(tmp_path, text)
    assert line.startswith(message)


def test_load_policy_invalid_raises(tmp_path: Path) -> None:
    """The exception has one line per error; an unreadable file raises, too."""
    path = write_policy(tmp_path, "x = 1\ny = 2\n")
    with pytest.raises(SettingsError) as caught:
        load_policy(path)
    assert [line.split(": ")[:2] for line in str(caught.value).splitlines()] == [
        [str(path), "no [[rule]]"],
        [f"{path}:1", "x"],
        [f"{path}:2", "y"],
    ]
    (tmp_path / "latin.toml").write_bytes(b"name = '\xe4'")
    for name, message in {
        "none.toml": "policy not found",
        "latin.toml": "invalid UTF-8",
        "": "cannot read the policy",
    }.items():
        with pytest.raises(SettingsError, match=message):
            load_policy(tmp_path / name)


@pytest.mark.parametrize("name", ["nightly-cleanup", "careful-with-quotas"])
def test_example_policies_are_valid(name: str) -> None:
    """The example policies have no errors and no warnings."""
    checked = check_policy(EXAMPLES / f"{name}.toml")
    assert (checked.errors, checked.warnings) == ((), ())
    assert isinstance(checked.policy, Policy)


def test_example_settings_are_valid() -> None:
    """The example settings are valid."""
    assert load_settings(config=EXAMPLES / "decommission.toml").max_things == 25_000
