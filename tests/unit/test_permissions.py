"""Tests of asyncgg.permissions and `asyncgg iam-policy`, with the validator of CloudFormation."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from botocore.session import Session
from cfnlint.api import ManualArgs, lint

from asyncgg.cli import main
from asyncgg.cli.app import COMMANDS
from asyncgg.decommission.quotas import DEFAULT_QUOTAS
from asyncgg.permissions import COMMAND_ACTIONS, LOCAL_COMMANDS, OPTION_ACTIONS, PolicyScope, iam_policy

ROOT = Path(__file__).parents[2]
NARROW = PolicyScope(
    "eu-west-1",
    "111122223333",
    cores=("berlin-*", "lyon-1"),
    things=("model7-*",),
    s3_objects=("s3://lists/keep.txt",),
    state="s3://state/nightly/",
    topics=("arn:aws:sns:eu-west-1:111122223333:asyncgg",),
    roles=("arn:aws:iam::111122223333:role/remove-devices",),
)
OF_OPTIONS = [actions for by_command in OPTION_ACTIONS.values() for actions in by_command.values()]
ALL_ACTIONS = list(dict.fromkeys(action for actions in (*COMMAND_ACTIONS.values(), *OF_OPTIONS) for action in actions))
IOT_ACTIONS = ["iot:DescribeThing", "iot:DescribeThingGroup", "iot:ListThingsInThingGroup", "iot:SearchIndex"]


def complaints(policy: dict[str, Any]) -> list[str]:
    """What cfn-lint, which has the actions and resources of each service, says of the policy."""
    resource = {"Type": "AWS::IAM::ManagedPolicy", "Properties": {"PolicyDocument": policy}}
    template = {"AWSTemplateFormatVersion": "2010-09-09", "Resources": {"Policy": resource}}
    matches = lint(json.dumps(template), config=ManualArgs(regions=["eu-west-1"], include_checks=["I"]))
    return [match.message for match in matches if match.rule.id not in {"I3042"}]  # fixed partition and Region


@pytest.mark.parametrize("scope", [PolicyScope(), NARROW], ids=["everything", "narrow"])
def test_iam_policy_is_accepted_by_cfn_lint(scope: PolicyScope) -> None:
    """Every action exists, and every resource has the form of its service."""
    policy = iam_policy(ALL_ACTIONS + IOT_ACTIONS, scope)
    assert complaints(policy) == []
    assert {action for statement in policy["Statement"] for action in statement["Action"]} >= set(ALL_ACTIONS)


def test_cfn_lint_finds_wrong_actions_and_resources() -> None:
    """The validator is not blind."""
    wrong_action = iam_policy(["greengrass:DisassociateEverything"], PolicyScope())
    assert complaints(wrong_action)
    wrong_resource = iam_policy(["iot:DescribeThing"], PolicyScope())
    wrong_resource["Statement"][0]["Resource"] = ["arn:aws:greengrass:eu-west-1:111122223333:coreDevices:x"]
    assert complaints(wrong_resource)


def test_iam_policy_narrow_scope_has_no_wildcard_where_a_resource_can_be_named() -> None:
    """`*` remains only for actions without a resource, restricted to the Region."""
    for statement in iam_policy(ALL_ACTIONS, NARROW)["Statement"]:
        if statement["Resource"] == ["*"]:
            assert set(statement["Action"]) == {
                "greengrass:ListCoreDevices",
                "servicequotas:GetServiceQuota",
                "servicequotas:ListServiceQuotas",
                "iot:DescribeEndpoint",
                "iot:ListAttachedPolicies",
                "iot:ListThings",
            }
            assert statement["Condition"] == {"StringEquals": {"aws:RequestedRegion": "eu-west-1"}}
        else:
            assert all("*:*" not in resource for resource in statement["Resource"])


def deployed(text: str) -> set[tuple[str, str, bool]]:
    """Action, resource and whether a condition restricts them, of the role that runs asyncgg."""
    parameters = {
        "${AWS::Partition}": "aws",
        "${AWS::Region}:${AWS::AccountId}": "eu-west-1:111122223333",
        "${CoreNames}": "berlin-*",
        "${ListBucket}/${ListKey}": "lists/retired.csv",
        "${ListBucket}": "lists",
        "${Bucket}": "lists",
        "${StatePrefix}": "nightly",
        "${local.arn}": "arn:aws",
        "${local.region}:${local.account}": "eu-west-1:111122223333",
        "${var.core_names}": "berlin-*",
        "${var.list_bucket}/${var.list_key}": "lists/retired.csv",
        "${var.list_bucket}": "lists",
        "${var.state_prefix}": "nightly",
    }
    for parameter, value in parameters.items():
        text = text.replace(parameter, value)
    return {
        (action, resource.strip('"'), "Condition:" in rest)
        for actions, resource, rest in re.findall(
            r"(?:Action:|actions +=)((?:.|\n)*?)\n *(?:Resource:(?: !Sub)?|resources +=) *\[?([^\s\]]+)\]?((?:\n.*)?)",
            text,
        )
        for action in re.findall(r"(?:greengrass|s3|iot|servicequotas):\w+", actions)
    }


@pytest.mark.parametrize(
    ("file", "command", "reads_list", "has_state"),
    [
        ("cloudformation/nightly-list.yaml", "disassociate", True, True),
        ("terraform/iam.tf", "disassociate", True, True),
        ("kubernetes/role.yaml", "cleanup", False, True),
        ("github-actions/role.yaml", "cleanup", False, False),
    ],
)
def test_deployed_roles_are_what_iam_policy_prints(file: str, command: str, reads_list: bool, has_state: bool) -> None:
    """Each role under deploy/ allows exactly what the program says it needs."""
    scope = PolicyScope(
        "eu-west-1",
        "111122223333",
        cores=("berlin-*",),
        s3_objects=("s3://lists/retired.csv",) if reads_list else (),
        state="s3://lists/nightly" if has_state else "",
    )
    printed = {
        (action, resource, "Condition" in statement)
        for statement in iam_policy(COMMAND_ACTIONS[command], scope)["Statement"]
        for action in statement["Action"]
        for resource in statement["Resource"]
    }
    assert deployed((ROOT / "deploy" / file).read_text(encoding="utf-8")) == printed


def test_permissions_page_agrees_with_the_program() -> None:
    """The table of the reference has the actions of each command."""
    text = (ROOT / "docs" / "reference" / "permissions.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| (`[^|]+) \| ([^|]+) \|$", text, re.MULTILINE))
    options = {
        f"{command} --{option}": actions
        for option, by_command in OPTION_ACTIONS.items()
        if option not in {"cores", "things"}
        for command, actions in by_command.items()
    }
    for command, actions in {**COMMAND_ACTIONS, **options}.items():
        cell = next(cell for names, cell in rows.items() if re.search(rf"`{command}(?:`| MANIFEST| --live)", names))
        named = set(re.findall(r"`(\w+:\w+)`", cell))
        assert named == set(actions), command


def test_iam_policy_command_prints_the_policy_of_a_cleanup(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the actions of its rules and its lists in S3."""
    policy = tmp_path / "nightly.toml"
    policy.write_text("[[rule]]\nid = 'a'\nall = [{thing-missing = true}, {not-in = 's3://lists/keep.txt'}]\n")
    assert main(["iam-policy", "cleanup", "--policy", str(policy), "--region", "cn-north-1"]) == 0
    document = json.loads(capsys.readouterr().out)
    by_action = {action: statement["Resource"] for statement in document["Statement"] for action in statement["Action"]}
    assert by_action["iot:DescribeThing"] == ["arn:aws-cn:iot:cn-north-1:*:thing/*"]
    assert by_action["s3:GetObject"] == ["arn:aws-cn:s3:::lists/keep.txt"]
    assert by_action["greengrass:BatchDisassociateClientDeviceFromCoreDevice"] == [
        "arn:aws-cn:greengrass:cn-north-1:*:coreDevices:*"
    ]


def test_iam_policy_command_reads_cores_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A list as for `disassociate --cores`, next to a pattern; a name twice is one resource."""
    (tmp_path / "cores.txt").write_text("core\nlyon-1\nlyon-2\n")
    files = ["--cores", str(tmp_path / "cores.txt"), "--cores", "lyon-1", "--cores", "berlin-*"]
    assert main(["iam-policy", "verify", *files]) == 0
    (statement,) = json.loads(capsys.readouterr().out)["Statement"]
    names = ["lyon-1", "lyon-2", "berlin-*"]
    assert statement["Resource"] == [f"arn:aws:greengrass:*:*:coreDevices:{name}" for name in names]


def printed_actions(capsys: pytest.CaptureFixture[str], *words: str) -> set[str]:
    """The actions that `iam-policy` with these words allows."""
    assert main(["iam-policy", *words]) == 0
    document = json.loads(capsys.readouterr().out)
    return {action for statement in document["Statement"] for action in statement["Action"]}


def test_each_stage_of_a_decommission_has_its_own_policy(capsys: pytest.CaptureFixture[str]) -> None:
    """The right to quarantine is no right to delete, and the plan writes nothing."""
    reading = re.compile(r"\w+:(Describe|List|Get|Search)")
    plan = printed_actions(capsys, "decommission", "plan")
    quarantine = printed_actions(capsys, "decommission", "quarantine", "--option", "max-percent")
    release = printed_actions(capsys, "decommission", "release")
    delete = printed_actions(capsys, "decommission", "delete")
    assert {action for action in plan if not reading.match(action)} == set()
    writes = {"iot:UpdateCertificate", "greengrass:BatchDisassociateClientDeviceFromCoreDevice"}
    assert {action for action in quarantine if not reading.match(action)} == writes
    assert not [action for action in quarantine | release if re.search("Delete|Detach", action)]
    assert {action for action in delete if not reading.match(action)} == {"iot:DetachThingPrincipal", "iot:DeleteThing"}
    with_certificates = printed_actions(capsys, "decommission", "delete", "--option", "delete-certificates")
    assert with_certificates - delete == {"iot:DetachPolicy", "iot:DeleteCertificate"}


def test_stages_of_a_decommission_allow_every_operation_that_the_program_calls() -> None:
    """An operation with a quota is sent by some stage."""
    shadows = ["DescribeEndpoint", "ListNamedShadowsForThing", "GetThingShadow", "DeleteThingShadow"]
    called = {f"iot:{operation}" for operation in (*DEFAULT_QUOTAS, *shadows)}
    actions = {
        action
        for command, of_command in (
            *COMMAND_ACTIONS.items(),
            *(pair for by in OPTION_ACTIONS.values() for pair in by.items()),
        )
        if command.startswith("decommission")
        for action in of_command
    }
    assert {action for action in actions if action.startswith("iot:")} == called


@pytest.mark.parametrize(
    ("prefix", "services"), [("greengrass", ("greengrassv2",)), ("iot", ("iot", "iot-data"))], ids=["greengrass", "iot"]
)
def test_actions_are_operations_of_the_service(prefix: str, services: tuple[str, ...]) -> None:
    """The SDK has an operation of each name; S3 is left out, whose actions have other names."""
    operations = {name for service in services for name in Session().get_service_model(service).operation_names}
    names = {action.partition(":")[2] for action in ALL_ACTIONS + IOT_ACTIONS if action.startswith(f"{prefix}:")}
    assert names
    assert names <= operations


def test_every_command_is_known_to_iam_policy() -> None:
    """A new command must say what it needs."""
    known = {name.partition(" ")[0] for name in (*COMMAND_ACTIONS, *LOCAL_COMMANDS)}
    assert known | {"iam-policy"} == set(COMMANDS)


def test_iam_policy_of_reading_commands_does_not_write_the_state(capsys: pytest.CaptureFixture[str]) -> None:
    """`status` and others read a state; with a command that writes, all actions are needed."""
    state = ["--state", "s3://bucket/nightly"]
    assert printed_actions(capsys, "status", "runs", *state) == {"s3:GetObject", "s3:ListBucket"}
    assert {"s3:PutObject", "s3:DeleteObject"} < printed_actions(capsys, "status", "verify", *state)


def test_iam_policy_with_a_role_allows_to_assume_it_only(capsys: pytest.CaptureFixture[str]) -> None:
    """The rights on devices belong to the role itself."""
    assert printed_actions(capsys, "--role-arn", "arn:aws:iam::111122223333:role/x") == {"sts:AssumeRole"}


def test_iam_policy_too_large_for_iam_is_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The policy is still printed."""
    (tmp_path / "cores.txt").write_text("".join(f"core-{number}\n" for number in range(200)))
    assert main(["iam-policy", "--cores", str(tmp_path / "cores.txt")]) == 0
    captured = capsys.readouterr()
    assert len(json.loads(captured.out)["Statement"][0]["Resource"]) == 200
    assert captured.err.startswith("warning: ")


@pytest.mark.parametrize(
    "words",
    [
        ["plan", "status"],
        ["verify", "--option", "things"],
        ["decommission"],
        ["decommission", "fly"],
        ["disassociate", "disassociat"],
        ["--role-arn", "remove-devices"],
        ["--region", "Ireland"],
        ["--account", "1"],
        ["--cores", "a b"],
        ["--cores", "missing.txt"],
        ["--read", "lists/keep.txt"],
        ["--state", "s3://bucket"],
        ["--notify", "https://example.com"],
    ],
    ids=" ".join,
)
def test_iam_policy_invalid_argument_exits_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """One line on standard error, and no policy."""
    assert main(["iam-policy", *words]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
