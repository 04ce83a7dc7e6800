"""Rule: the policy's file lives here: what it means, how every fault is named, what is doubted, the examples."""

from __future__ import annotations

from pathlib import Path

import pytest

from asyncgg.cleanup import Policy, check_policy, load_policy
from asyncgg.cleanup.rules import (
    AllOf,
    AnyOf,
    AssociatedBefore,
    Not,
    NotIn,
    Pattern,
    ThingGroup,
    ThingMissing,
    ThingName,
)
from asyncgg.errors import SettingsError
from asyncgg.models import CoreDevice
from asyncgg.settings import load_settings

EXAMPLES = Path(__file__).parents[4] / "examples"
GUARD = "[guards]\nmax-things = 5\n"


def write_policy(tmp_path: Path, text: str) -> Path:
    """The policy's file."""
    path = tmp_path / "nightly.toml"
    path.write_text(text, encoding="utf-8")
    return path


def error_lines(tmp_path: Path, text: str) -> list[str]:
    """What is wrong with a policy, without the file's name."""
    return [fault.format("")[1:] for fault in check_policy(write_policy(tmp_path, text)).errors]


def warning_lines(tmp_path: Path, rule: str) -> list[str]:
    """The keys and lines that are doubted in a policy of one bounded rule."""
    checked = check_policy(write_policy(tmp_path, f"{GUARD}[[rule]]\n{rule}\n"))
    assert checked.errors == ()
    return [warning.format("")[1:] for warning in checked.warnings]


def test_a_whole_policy(tmp_path: Path) -> None:
    """Keys become values, durations seconds, tables of conditions trees, and paths start at the policy's folder."""
    (tmp_path / "never.txt").write_text("gateway-*\n")
    policy = load_policy(
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


def test_every_fault_is_named_at_once(tmp_path: Path) -> None:
    """All faults of a file come in one pass, by line, each with its key; what is near is suggested."""
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
    ("rule", "fault"),
    [
        ("thing-missing = false", "thing-missing: must be true; for things that exist, write not = { thing-missing"),
        ("thing-group = 'a b'", "thing-group: invalid thing group name 'a b': "),
        ("thing-group = 1", "thing-group: 1 must be the name of a thing group, in quotes"),
        ("thing-group = { name = 'g', recursiv = true }", "thing-group.recursiv: unknown key; did you mean"),
        ("thing-group = { name = 'g', recursive = 1 }", "thing-group.recursive: must be true or false"),
        ("thing-type = ''", "thing-type: invalid thing type name '': "),
        ("thing-attribute = 'x'", "thing-attribute: must be a table of equals, exists, glob, name"),
        ("thing-attribute = { equals = 'x' }", "thing-attribute: name is missing"),
        ("thing-attribute = { name = 'x' }", "thing-attribute: must have exactly one of equals, glob, exists"),
        ("thing-attribute = { name = 'x', equals = 1 }", "thing-attribute.equals: 1 must be text, in quotes"),
        ("thing-attribute = { name = 'x', exists = 'no' }", "thing-attribute.exists: 'no' must be true or false"),
        (
            "thing-attribute = { name = 'x y', exists = true }",
            "thing-attribute.name: 'x y' must be the name of an attribute",
        ),
        ("name = '*'", "name: '*' would select everything"),
        ("name = { regex = '.*' }", "name.regex: '.*' would select everything"),
        ("name = { regex = '(' }", "name.regex: '(' must be a regular expression: missing )"),
        ("name = { regex = 'a', glob = 'b' }", "name: must have exactly one of glob, regex"),
        ("name = 'a b'", "name: 'a b' cannot match a name"),
        ("name = ['a']", "name: ['a'] must be text, in quotes"),
        ("associated-before = '0d'", "associated-before: '0d' "),
        ("associated-before = 10:00:00", "associated-before: datetime.time(10, 0) "),
        ("core-status = 'healthy'", "core-status: 'healthy' must be one of: HEALTHY, UNHEALTHY"),
        ("core-status = ['HEALTHY']", "core-status: ['HEALTHY'] must be one of: HEALTHY, UNHEALTHY"),
        ("core-offline-for = true", "core-offline-for: True "),
        ("index-query = ' '", "index-query: ' ' must be a fleet indexing query, in quotes"),
        ("index-query = '*'", "index-query: '*' would select everything"),
        ("not-in = 's3://bucket'", "not-in: 's3://bucket' must name an object: write s3://bucket/key"),
        ("not-in = { file = '', allow-empty = 1 }", "not-in.allow-empty: must be true or false"),
        ("all = { name = 'x' }", "all: must be a list of tables"),
        ("all = ['x']", "all[1]: must be a table of conditions"),
        (
            "any = [{ all = [{ not = { nam = 'x' } }] }]",
            "any[1].all[1].not.nam: unknown key; did you mean name?",
        ),
        ("id = ''\nname = 'x'", "id: '' must be 1 to 64 of"),
        ("", "rule[1]: has no condition and would select everything"),
    ],
)
def test_a_faulty_rule_is_named(tmp_path: Path, rule: str, fault: str) -> None:
    """Each way to write a rule wrongly is one fault, with the key it is about."""
    (only,) = error_lines(tmp_path, f"{GUARD}[[rule]]\n{rule}\n")
    assert fault in only


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("name = 'x'\n", "no [[rule]]: a policy must have at least one rule"),
        ("rule = []\n", "1: rule: must have at least one rule"),
        ("rule = { name = 'x' }\n", "1: rule: must be written [[rule]], once per rule"),
        ("guards = 5\n[[rule]]\nname = 'x'\n", "1: guards: 5 must be a table"),
        ("name = '../x'\n[[rule]]\nname = 'x'\n", "1: name: '../x' must be 1 to 64 of a-z A-Z 0-9 . _ -"),
        ("a = 1\nb = = 2\n", "2: invalid TOML: Invalid value"),
        ("a = [\n", "2: invalid TOML: "),
        ("a = " + "[" * 5000, "nested too deeply"),
        ("[rule" + ".not" * 5000 + "]\nname = 'x'", "1: rule: must be written [[rule]]"),
        ("[[rule]]\n[rule" + ".not" * 5000 + "]\nname = 'x'", f"2: rule[1]{'.not' * 59}: is nested too deeply"),
        (
            "[guards.ramp]\nbase-per-minute = 9\nincrease-after = 1\nmaximum-per-minute = 5\n[[rule]]\nname = 'x'\n",
            "4: guards.ramp.maximum-per-minute: must be at least base-per-minute",
        ),
    ],
)
def test_a_faulty_file_is_named(tmp_path: Path, text: str, fault: str) -> None:
    """A policy that selects everything, is none, or is no TOML is refused with one fault."""
    (only,) = error_lines(tmp_path, text)
    assert only.lstrip(" ").startswith(fault)


def test_loading_refuses_in_one_line_each(tmp_path: Path) -> None:
    """To load a faulty policy is an error with a line for each fault; so are files that cannot be read."""
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


CONNECTIVITY = "3: rule[1]: selects on connectivity alone"


@pytest.mark.parametrize(
    ("rule", "doubted"),
    [
        ("index-query = 'connectivity.connected:false'", True),
        ("index-query = 'connectivity.connected:false'\nname = 'a*'\nassociated-before = '9d'\nthing-type = 't'", True),
        ("index-query = 'connectivity.connected:false AND thingTypeName:t'", True),
        ("any = [{ index-query = 'connectivity.connected:false' }, { thing-missing = true }]", True),
        ("not = { index-query = 'connectivity.connected:true' }", True),
        ("index-query = 'connectivity.connected:false'\ncore-offline-for = '9d'", False),
        ("index-query = 'connectivity.connected:false'\nnot-in = 's3://a/b'", False),
        ("index-query = 'connectivity.connected:false AND attributes.retired:true'", False),
        ("index-query = 'attributes.note:\"connectivity.connected:false\"'", False),
        ("any = [{ name = 'a*' }, { index-query = 'connectivity.connected:false' }]", False),
    ],
)
def test_connectivity_alone_is_doubted(tmp_path: Path, rule: str, doubted: bool) -> None:
    """A rule that can select on not being connected alone, whatever narrows its scope, is warned of."""
    assert any(one.startswith(CONNECTIVITY) for one in warning_lines(tmp_path, rule)) is doubted


def test_other_doubts(tmp_path: Path) -> None:
    """Warned of: an index asked under `not`, no bound at all, a list of what must stay that is not there."""
    (negated,) = warning_lines(tmp_path, "not = { index-query = 'x:1' }")
    assert negated.startswith("3: rule[1]: index-query under `not` selects things")
    (missing,) = warning_lines(tmp_path, "not-in = 's3://b/k'\nany = [\n{ not-in = { file = 'keep.txt' } }]")
    assert missing.startswith(f"6: rule[1].any[1].not-in.file: {tmp_path}/keep.txt not found")
    unbounded = check_policy(write_policy(tmp_path, "[[rule]]\nname = 'x'\n")).warnings
    assert [warning.key for warning in unbounded] == ["guards"]


@pytest.mark.parametrize("name", ["nightly-cleanup", "careful-with-quotas"])
def test_the_examples_are_sound(name: str) -> None:
    """The annotated policies have neither faults nor doubts."""
    checked = check_policy(EXAMPLES / f"{name}.toml")
    assert (checked.errors, checked.warnings) == ((), ())
    assert isinstance(checked.policy, Policy)


def test_the_examples_settings_are_sound() -> None:
    """The annotated settings of a decommissioning are settings."""
    assert load_settings(config=EXAMPLES / "decommission.toml").max_things == 25_000
