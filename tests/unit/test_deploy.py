"""The files under deploy/, the Dockerfile and the workflows are accepted by the validators of their formats."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hcl2
import kubernetes_validate
import pytest
import yaml
from cfnlint.api import ManualArgs, lint_file
from cfnlint.decode import cfn_yaml

from asyncgg.fleet.targets import load_targets
from asyncgg.report.summary import EXIT_CODES
from tests.test_docs import options

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
TEMPLATES = [path for path in sorted(DEPLOY.rglob("*.yaml")) if "AWSTemplateFormatVersion" in path.read_text("utf-8")]
QUOTE = '"'
WORKFLOWS = [*sorted((ROOT / ".github" / "workflows").glob("*.yml")), *sorted(DEPLOY.glob("github-actions/*.yml"))]
WITHOUT_RESOURCE = {"ecr:GetAuthorizationToken", "greengrass:ListCoreDevices"}
"""Actions to which AWS gives no resource, so that a policy can only name `*`."""


def relative(path: Path) -> str:
    """The path from the repository's root."""
    return path.relative_to(ROOT).as_posix()


def run_tool(name: str, *arguments: str | Path) -> str:
    """Run a validator of the test environment and return its complaints."""
    # Next to the interpreter, or in the environment of its packages.
    folders = (Path(sys.executable).parent, Path(yaml.__file__).parents[4] / "bin")
    program = shutil.which(name, path=os.pathsep.join(map(str, folders))) or shutil.which(name)
    assert program is not None, f"{name} is not installed: pip install --group deploy"
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr or f"exit code {done.returncode}"


def check_command(words: list[str]) -> None:
    """Fail unless the program has this command and these options."""
    command = " ".join(words[: 2 if words[0] == "fleet" else 1])
    unknown = {word.split("=")[0] for word in words if word.startswith("--")} - options(command)
    assert not unknown, f"{command}: {unknown}"


def kubernetes_objects(name: str = "cronjob") -> dict[str, Any]:
    """The objects of a manifest, by default that of the CronJob, by kind."""
    text = (DEPLOY / "kubernetes" / f"{name}.yaml").read_text("utf-8")
    return {document["kind"]: document for document in yaml.safe_load_all(text)}


def test_dockerfile_passes_hadolint() -> None:
    """The linter of Dockerfiles has nothing to say."""
    assert run_tool("hadolint", "--no-color", ROOT / "Dockerfile") == ""


def test_image_is_pinned_and_without_root() -> None:
    """Every base has a tag and a digest, the user is a number, and what is written to is a volume."""
    text = (ROOT / "Dockerfile").read_text("utf-8")
    bases = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    assert len(bases) == 2
    assert all(re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+@sha256:[0-9a-f]{64}", base) for base in bases)
    assert re.findall(r"^USER (.*)", text, re.MULTILINE) == ["10001:10001"]
    assert 'VOLUME ["/work", "/tmp"]' in text
    assert "HEALTHCHECK" in text


def test_workflows_pass_the_linter() -> None:
    """The linter of workflows accepts those of the repository and the one to copy."""
    assert len(WORKFLOWS) >= 3
    assert run_tool("jactionlint", "--profile", "correctness", "--no-color", *WORKFLOWS) == ""


def test_release_makes_bills_of_materials() -> None:
    """The release workflow has one of the packages, and one that is attached to the image."""
    steps = [
        step
        for job in yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text("utf-8"))["jobs"].values()
        for step in job["steps"]
    ]
    assert any("cyclonedx-py requirements requirements.lock" in step.get("run", "") for step in steps)
    assert [step["with"]["sbom"] for step in steps if "build-push-action" in step.get("uses", "")] == [True]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_units_pass_verification(tmp_path: Path) -> None:
    """systemd accepts the units, with a program that exists here, and rates their exposure as low."""
    for path in (DEPLOY / "systemd").iterdir():
        text = re.sub(r"^ExecStart=/\S+", "ExecStart=/bin/true", path.read_text("utf-8"), flags=re.MULTILINE)
        (tmp_path / path.name).write_text(text, "utf-8")
    units = [tmp_path / "asyncgg-cleanup.service", tmp_path / "asyncgg-cleanup.timer"]
    # Without --recursive-errors an unknown key is only a warning.
    verify = ("systemd-analyze", "verify", "--man=no", "--recursive-errors=no")
    assert run_tool(*verify, *units, tmp_path / "asyncgg-failed@x.service") == ""
    assert run_tool("systemd-analyze", "security", "--offline=yes", "--no-pager", "--threshold=20", units[0]) == ""


def test_systemd_service_runs_a_command_that_exists() -> None:
    """The service's command has only options of the program."""
    text = (DEPLOY / "systemd" / "asyncgg-cleanup.service").read_text("utf-8")
    command = re.search(r"^ExecStart=\S+ (.*)", text, re.MULTILINE)
    assert command is not None
    check_command(shlex.split(command[1]))


@pytest.mark.parametrize("path", TEMPLATES, ids=relative)
def test_template_passes_cfn_lint(path: Path) -> None:
    """cfn-lint has no error and no warning, in a commercial Region and in one of another partition."""
    assert lint_file(path, config=ManualArgs(regions=["eu-west-1", "us-gov-west-1"])) == []


def statements(value: Any) -> Iterator[dict[str, Any]]:
    """Every statement of a policy within a template."""
    if isinstance(value, dict):
        if "Effect" in value:
            yield value
        for child in value.values():
            yield from statements(child)
    elif isinstance(value, list):
        for child in value:
            yield from statements(child)


@pytest.mark.parametrize("path", TEMPLATES, ids=relative)
def test_template_has_no_wildcard_where_a_resource_can_be_named(path: Path) -> None:
    """Actions are named, and `*` is the resource only of actions that have none."""
    found = list(statements(cfn_yaml.load(str(path))))
    assert found
    for statement in found:
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        assert not [action for action in actions if "*" in action]
        if "Principal" not in statement and statement["Resource"] == "*":
            assert set(actions) <= WITHOUT_RESOURCE


def test_fargate_task_runs_a_command_that_exists() -> None:
    """The task's command has only options of the program; the container is read-only and without root."""
    resources = cfn_yaml.load(str(DEPLOY / "cloudformation" / "nightly-list.yaml"))["Resources"]
    (container,) = resources["TaskDefinition"]["Properties"]["ContainerDefinitions"]
    check_command([word for word in container["Command"] if isinstance(word, str)])
    assert container["ReadonlyRootFilesystem"] is True
    assert container["User"] == "10001:10001"


@pytest.mark.parametrize(("name", "kind"), [("cronjob", "CronJob"), ("campaign", "Job")])
def test_kubernetes_objects_match_their_schemas(name: str, kind: str) -> None:
    """Each object of the manifest is valid, and has no key that Kubernetes does not know."""
    objects = kubernetes_objects(name)
    assert set(objects) == {"ServiceAccount", "ConfigMap", kind}
    for document in objects.values():
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)


def test_kubernetes_job_runs_a_command_that_exists() -> None:
    """The container's arguments are a command of the program, and every exit code but 130 ends the job."""
    job = kubernetes_objects()["CronJob"]["spec"]["jobTemplate"]["spec"]
    check_command(job["template"]["spec"]["containers"][0]["args"])
    _, by_exit_code = job["podFailurePolicy"]["rules"]
    final = {1, 2, 5, *EXIT_CODES.values()} - {0, 130}
    assert set(by_exit_code["onExitCodes"]["values"]) == final


def test_kubernetes_policy_is_valid(tmp_path: Path) -> None:
    """The policy of the ConfigMap passes the program's own check."""
    policy = tmp_path / "cleanup.toml"
    policy.write_text(kubernetes_objects()["ConfigMap"]["data"]["cleanup.toml"], "utf-8")
    command = [sys.executable, "-m", "asyncgg", "cleanup", str(policy), "--check"]
    assert subprocess.run(command, cwd=tmp_path, check=False, capture_output=True).returncode == 0


def test_kubernetes_campaign_runs_each_shard_once(tmp_path: Path) -> None:
    """The arguments exist, there is a pod for each shard, the targets are valid, and no code of an error is retried."""
    objects = kubernetes_objects("campaign")
    job = objects["Job"]["spec"]
    arguments = job["template"]["spec"]["containers"][0]["args"]
    check_command(arguments)
    shards = arguments[arguments.index("--shard") + 1]
    assert shards == f"$(JOB_COMPLETION_INDEX)/{job['completions']}"
    _, by_exit_code = job["podFailurePolicy"]["rules"]
    assert set(by_exit_code["onExitCodes"]["values"]) == {1, 2, *EXIT_CODES.values(), 5} - {0, 10, 130}
    path = tmp_path / "targets.toml"
    path.write_text(objects["ConfigMap"]["data"]["targets.toml"], "utf-8")
    assert len(load_targets(path)) == 2


def test_state_machine_runs_each_shard_with_options_that_exist() -> None:
    """The command of the tasks of `campaign.yaml`, with the number of the shard."""
    resources = cfn_yaml.load(str(DEPLOY / "cloudformation" / "campaign.yaml"))["Resources"]
    (shards,) = resources["Campaign"]["Properties"]["Definition"]["States"].values()
    task = shards["ItemProcessor"]["States"]["Run"]["Parameters"]
    command = task["Overrides"]["ContainerOverrides"][0]["Command.$"]
    words = re.findall(r"'([^']*)'", command)
    check_command(words)
    assert "'--shard', States.Format('{}/{}', $.index, $.shards)" in command
    (container,) = resources["TaskDefinition"]["Properties"]["ContainerDefinitions"]
    assert container["ReadonlyRootFilesystem"] is True


def test_workflow_runs_a_command_that_exists() -> None:
    """The workflow to copy calls the program with options that it has."""
    workflow = yaml.safe_load((DEPLOY / "github-actions" / "asyncgg-cleanup.yml").read_text("utf-8"))
    runs = [step["run"] for step in workflow["jobs"]["cleanup"]["steps"] if "asyncgg cleanup" in step.get("run", "")]
    assert len(runs) == 1
    check_command(shlex.split(runs[0].split("asyncgg ", 1)[1]))


def test_terraform_module_parses_and_names_what_it_declares() -> None:
    """Each file is HCL; every variable is declared and used, and every reference has its resource or data source."""
    declared: set[str] = set()
    text = ""
    for path in sorted((DEPLOY / "terraform").glob("*.tf")):
        text += path.read_text("utf-8")
        with path.open(encoding="utf-8") as file:
            document = hcl2.load(file)
        declared |= {f"var.{name.strip(QUOTE)}" for block in document.get("variable", []) for name in block}
        for kind, prefix in (("resource", ""), ("data", "data.")):
            for block in document.get(kind, []):
                for resource, body in block.items():
                    declared |= {f"{prefix}{resource.strip(QUOTE)}.{name.strip(QUOTE)}" for name in body}
    used = set(re.findall(r"(?<![\w.])(?:data\.)?aws_\w+\.\w+|(?<![\w.])var\.\w+", text))
    assert len(used) > 25
    assert used <= declared
    assert {name for name in declared if name.startswith("var.")} <= used


def test_terraform_policies_have_no_wildcard_where_a_resource_can_be_named() -> None:
    """`*` is the resource only of actions that have none; the actions are those of the CloudFormation template."""
    text = (DEPLOY / "terraform" / "iam.tf").read_text("utf-8")
    wild = re.findall(r'actions\s*= \[([^\]]*)\]\s*resources\s*= \["\*"\]', text)
    assert wild == ['"ecr:GetAuthorizationToken"']
    actions = set(re.findall(r'"([a-z0-9]+:[A-Z]\w+)"', text)) - {
        "aws:SourceAccount",
        "aws:SourceArn",
        "iam:PassedToService",
    }
    template = (DEPLOY / "cloudformation" / "nightly-list.yaml").read_text("utf-8")
    assert [action for action in actions if action not in template] == []


def test_terraform_task_runs_a_command_that_exists() -> None:
    """The task's command has only options of the program."""
    command = re.search(r"command = \[(.*?)\n    \]", (DEPLOY / "terraform" / "main.tf").read_text("utf-8"), re.DOTALL)
    assert command is not None
    check_command(re.findall(r'"([^"]*)"', command[1]))
