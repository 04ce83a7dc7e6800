"""Tests of `asyncgg doctor` against the simulator and a server of the other services."""

from __future__ import annotations

import http.server
import json
import os
import re
import threading
import time
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qsl

import boto3
import pytest

from asyncgg.doctor import checks
from asyncgg.doctor.simulation import policy_source
from asyncgg.permissions import ASSOCIATE, COMMAND_ACTIONS, DISASSOCIATE, GET_QUOTA, OPTION_ACTIONS
from tests.integration.cli.conftest import StartSimulator
from tests.support.command_line import CommandRunner

POLICY = """
[[rule]]
id = "all"
all = [
  { thing-missing = true },
  { thing-group = "retired" },
  { index-query = "attributes.retired:true" },
  { not-in = "s3://lists/keep.txt" },
]
"""
LIST_CORES = "greengrass:ListCoreDevices"
LIST_DEVICES = "greengrass:ListClientDevicesAssociatedWithCoreDevice"


class OtherServices(http.server.BaseHTTPRequestHandler):
    """AWS IoT, S3 and IAM: denies the paths in `denied`; what is asked for does not exist or is empty.

    An object of S3 is denied by its method and a pattern, an action of IAM by its name.
    """

    denied: ClassVar[set[str]] = set()
    objects: ClassVar[set[str]] = set()

    def _answer(self) -> None:
        request = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        path = self.path.split("?")[0]
        if path.startswith("/fleet"):
            self._answer_s3(path)
            return
        if path.startswith("/iam"):
            self._answer_iam(request)
            return
        status, code = (403, "AccessDeniedException") if path in self.denied else (404, "ResourceNotFoundException")
        body = json.dumps({"__type": code, "message": "no"}).encode() if self.command != "HEAD" else b""
        self.send_response(status)
        self.send_header("x-amzn-ErrorType", code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _answer_s3(self, path: str) -> None:
        if any(fnmatchcase(f"{self.command} {path}", entry) for entry in self.denied):
            self._send(403, "<Error><Code>AccessDenied</Code><Message>no</Message></Error>")
        elif path == "/fleet":
            self._send(200, "<ListBucketResult></ListBucketResult>")
        elif self.command == "PUT":
            exists = path in self.objects
            self.objects.add(path)
            self._send(412, "<Error><Code>PreconditionFailed</Code></Error>") if exists else self._send(200, "")
        elif self.command == "DELETE":
            self.objects.discard(path)
            self._send(204, "")
        else:
            exists = path in self.objects
            self._send(200, "") if exists else self._send(404, "<Error><Code>NoSuchKey</Code></Error>")

    def _answer_iam(self, body: str) -> None:
        fields = dict(parse_qsl(body))
        action = fields["ActionNames.member.1"]
        if "iam:SimulatePrincipalPolicy" in self.denied:
            self._send(403, "<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>")
            return
        decision = "implicitDeny" if action in self.denied else "allowed"
        result = f"<EvalActionName>{action}</EvalActionName><EvalDecision>{decision}</EvalDecision>"
        members = f"<EvaluationResults><member>{result}</member></EvaluationResults>"
        self._send(
            200,
            "<SimulatePrincipalPolicyResponse><SimulatePrincipalPolicyResult>"
            f"{members}</SimulatePrincipalPolicyResult></SimulatePrincipalPolicyResponse>",
        )

    def _send(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    do_GET = do_POST = do_HEAD = do_PUT = do_DELETE = _answer  # noqa: N815 - the names that http.server looks for

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def other_services(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[set[str]]:
    """The denied paths of AWS IoT and S3; the policy is `nightly.toml`."""
    monkeypatch.setattr(OtherServices, "denied", set())
    monkeypatch.setattr(OtherServices, "objects", set())
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), OtherServices)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    for service in ("IOT", "S3"):
        monkeypatch.setenv(f"AWS_ENDPOINT_URL_{service}", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("AWS_ENDPOINT_URL_IAM", f"http://127.0.0.1:{server.server_port}/iam")
    (tmp_path / "nightly.toml").write_text(POLICY)
    yield OtherServices.denied
    server.shutdown()
    thread.join()
    server.server_close()


def failed(document: dict[str, Any]) -> dict[str, str]:
    """The next step of each failed check."""
    return {check["check"]: check["next"] for check in document["checks"] if check["status"] == "failed"}


def test_doctor_healthy_system_exits_0(cli: CommandRunner, serve: StartSimulator, other_services: set[str]) -> None:
    """One line per check; nothing is changed, and each permission costs one request."""
    simulator = serve()
    result = cli("doctor", "--policy", "nightly.toml", "--json")
    assert result.code == 0, result.err
    assert result.json["healthy"] is True
    checks = {check["check"]: check["status"] for check in result.json["checks"]}
    actions = ("iot:DescribeThing", "iot:SearchIndex", "iot:DescribeThingGroup", "iot:ListThingsInThingGroup")
    names = {"credentials", "account", "clock", "journals", LIST_CORES, LIST_DEVICES, *actions, "s3://lists/keep.txt"}
    assert {name: status for name, status in checks.items() if name in names} == dict.fromkeys(names, "ok")
    requests = dict(simulator.service.counters.requests)
    assert requests == {"ListCoreDevices": 1, "ListClientDevicesAssociatedWithCoreDevice": 1}


@pytest.mark.parametrize(
    ("path", "check", "grant"),
    [
        ("/things/asyncgg-doctor", "iot:DescribeThing", "iot:DescribeThing"),
        ("/indices/search", "iot:SearchIndex", "iot:SearchIndex"),
        ("/thing-groups/retired", "iot:DescribeThingGroup", "iot:DescribeThingGroup"),
        ("/thing-groups/retired/things", "iot:ListThingsInThingGroup", "iot:ListThingsInThingGroup"),
        ("/lists/keep.txt", "s3://lists/keep.txt", "s3:GetObject on s3://lists/keep.txt"),
    ],
)
def test_doctor_missing_permission_of_a_policy_is_named(
    path: str, check: str, grant: str, cli: CommandRunner, serve: StartSimulator, other_services: set[str]
) -> None:
    """Exit 5, and only that action is missing."""
    serve()
    other_services.add(path)
    result = cli("doctor", "--policy", "nightly.toml", "--json")
    assert result.code == 5, result.err
    assert failed(result.json) == {check: f"grant {grant}"}


STATE = "s3://fleet/runs"
TOPIC = "arn:aws:sns:eu-central-1:123456789012:fleet"
OBJECTS = "arn:aws:s3:::fleet/runs/*"


@pytest.mark.parametrize(
    ("denied", "action", "resource"),
    [
        ("GET /fleet", "s3:ListBucket", "arn:aws:s3:::fleet"),
        ("PUT /fleet/runs/*", "s3:PutObject", OBJECTS),
        ("GET /fleet/runs/*", "s3:GetObject", OBJECTS),
        ("DELETE /fleet/runs/*", "s3:DeleteObject", OBJECTS),
    ],
)
def test_doctor_missing_permission_of_a_state_is_named(
    denied: str, action: str, resource: str, cli: CommandRunner, serve: StartSimulator, other_services: set[str]
) -> None:
    """Exit 5, and only that action is missing, with its resource; an object that stays is named."""
    serve()
    other_services.add(denied)
    result = cli("doctor", "--state", STATE, "--json")
    assert result.code == 5, result.err
    assert failed(result.json) == {action: f"grant {action} on {resource}"}
    left = [check["detail"] for check in result.json["checks"] if "was left there" in check["detail"]]
    assert len(left) == len(OtherServices.objects) == (action == "s3:DeleteObject")


def test_doctor_without_any_permission_on_a_state_names_each(
    cli: CommandRunner, serve: StartSimulator, other_services: set[str]
) -> None:
    """Reading cannot be tried then: it is named, too, but not as missing."""
    serve()
    other_services |= {"GET /fleet*", "PUT /fleet*", "DELETE /fleet*"}
    result = cli("doctor", "--state", STATE, "--json")
    assert result.code == 5
    assert set(failed(result.json)) == {"s3:ListBucket", "s3:PutObject", "s3:DeleteObject"}
    (reading,) = (check for check in result.json["checks"] if check["check"] == "s3:GetObject")
    assert (reading["status"], reading["next"]) == ("skipped", f"grant s3:GetObject on {OBJECTS}")


def test_doctor_state_leaves_nothing_behind(
    cli: CommandRunner, serve: StartSimulator, moto_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In S3, here that of moto, and in a folder, which is not created; a missing bucket is exit 2."""
    serve()
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", moto_url)
    client = boto3.client("s3", endpoint_url=moto_url, region_name="us-east-1")
    client.create_bucket(Bucket="doctor-state")
    result = cli("doctor", "--state", "s3://doctor-state/runs", "--json")
    assert result.code == 0, result.err
    checks = {check["check"]: check["status"] for check in result.json["checks"]}
    actions = ("s3:ListBucket", "s3:PutObject", "s3:GetObject", "s3:DeleteObject", "state")
    assert {name: checks[name] for name in actions} == dict.fromkeys(actions, "ok")
    assert "Contents" not in client.list_objects_v2(Bucket="doctor-state")
    missing = cli("doctor", "--state", "s3://doctor-missing/runs", "--json")
    assert (missing.code, set(failed(missing.json))) == (2, {"state"})
    assert cli("doctor", "--state", "share/runs").code == 0
    assert not Path("share").exists()
    Path("file").touch()
    assert cli("doctor", "--state", "file/runs").code == 2


@pytest.mark.parametrize(
    ("denied", "code", "status", "step"),
    [
        ("", 0, "ok", None),
        (DISASSOCIATE, 5, "failed", f"grant {DISASSOCIATE} on arn:aws:greengrass:"),
        ("sns:Publish", 0, "warning", f"grant sns:Publish on {TOPIC}"),
        ("iam:SimulatePrincipalPolicy", 0, "skipped", "see asyncgg iam-policy, or grant iam:SimulatePrincipalPolicy"),
    ],
)
def test_doctor_asks_iam_what_cannot_be_tried(
    denied: str,
    code: int,
    status: str,
    step: str | None,
    cli: CommandRunner,
    serve: StartSimulator,
    other_services: set[str],
) -> None:
    """A missing right to change or to notify is named; without the right to simulate both are not checked."""
    serve()
    other_services.add(denied)
    result = cli("doctor", "--notify", TOPIC, "--notify", "https://hooks.example/secret", "--json")
    assert result.code == code, result.err
    subject = f"sns:Publish on {TOPIC}" if denied == "sns:Publish" else DISASSOCIATE
    (check,) = (check for check in result.json["checks"] if check["check"] == subject)
    assert check["status"] == status
    assert check.get("next", "").startswith(step or "")
    webhook = [check["detail"] for check in result.json["checks"] if check["check"] == "notify"]
    assert webhook == ["webhook https://hooks.example: not checked, since a check would send a message"]
    assert "secret" not in result.out + result.err


def test_policy_source_of_a_session_is_its_role() -> None:
    """IAM simulates the policies of users and roles."""
    session = "arn:aws-cn:sts::123456789012:assumed-role/remove-devices/asyncgg"
    assert policy_source(session) == "arn:aws-cn:iam::123456789012:role/remove-devices"
    assert policy_source("arn:aws:iam::123456789012:user/x") == "arn:aws:iam::123456789012:user/x"


def test_doctor_missing_permission_of_service_quotas_is_named(
    cli: CommandRunner, serve: StartSimulator, other_services: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is optional, so the exit code stays 0; the documented quota is used."""
    serve()
    monkeypatch.setenv("AWS_ENDPOINT_URL_SERVICE_QUOTAS", os.environ["AWS_ENDPOINT_URL_IOT"])
    other_services.add("/")
    result = cli("doctor", "--json")
    assert result.code == 0, result.err
    (quota,) = (check for check in result.json["checks"] if check["check"] == "quota")
    assert quota["status"] != "ok"
    assert GET_QUOTA in quota["next"]
    assert "AccessDeniedException" in quota["detail"]


def test_doctor_checks_every_action_that_reads() -> None:
    """The tests of this module deny each action that a command needs and that changes nothing.

    A decommission asks for its own permissions: its plan refuses the devices of a denied question.
    """
    lookups = (actions for option in ("cores", "things") for actions in OPTION_ACTIONS[option].values())
    commands = (actions for name, actions in COMMAND_ACTIONS.items() if not name.startswith("decommission"))
    needed = {action for actions in (*commands, *lookups) for action in actions}
    assert needed == {LIST_CORES, LIST_DEVICES, GET_QUOTA, DISASSOCIATE, ASSOCIATE}


@pytest.mark.parametrize(("number", "action"), [(1, LIST_CORES), (2, LIST_DEVICES)])
def test_doctor_missing_permission_of_greengrass_is_named(
    number: int, action: str, cli: CommandRunner, serve: StartSimulator
) -> None:
    """Exit 5, and only that action is missing."""
    serve(fault=(f"deny#{number}",))
    result = cli("doctor", "--json")
    assert result.code == 5, result.err
    assert failed(result.json) == {action: f"grant {action}"}
    assert f"next: grant {action}" in result.err


@pytest.mark.parametrize(
    ("variables", "code", "check"),
    [
        ({"AWS_REGION": "eu-west-9", "AWS_ENDPOINT_URL": ""}, 2, "endpoint"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, 2, LIST_CORES),
        ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, 5, "credentials"),
        ({"AWS_SECRET_ACCESS_KEY": "secret\r"}, 5, "credentials"),
    ],
    ids=["region", "endpoint", "no credentials", "damaged key"],
)
def test_doctor_unusable_configuration_exits_with_its_code(
    variables: dict[str, str],
    code: int,
    check: str,
    cli: CommandRunner,
    serve: StartSimulator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The failed check is named; the others are shown as far as they are possible."""
    serve()
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    result = cli("doctor", "--json")
    assert (result.code, result.json["exit"]) == (code, code), result.err
    assert check in failed(result.json)
    assert "secret" not in result.out + result.err


def test_doctor_skewed_clock_is_a_warning(
    cli: CommandRunner, serve: StartSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock that is ten minutes ahead is named with the difference; exit 0."""
    serve()
    monkeypatch.setattr(checks, "_now", lambda: time.time() + 600)
    result = cli("doctor", "--json")
    (clock,) = (check for check in result.json["checks"] if check["check"] == "clock")
    assert clock["status"] == "warning"
    assert re.fullmatch(r"(599|600|601) s ahead of the service", clock["detail"])
    assert result.code == 0


def test_doctor_folder_that_cannot_be_written_exits_2(cli: CommandRunner, serve: StartSimulator) -> None:
    """The folder of --journal is checked."""
    serve()
    result = cli("doctor", "--journal", Path("missing") / "run.journal", "--json")
    assert result.code == 2
    assert "journals" in failed(result.json)
