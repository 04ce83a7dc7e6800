"""`asyncgg decommission` against moto and the simulator: quarantine, release, delete, guards."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.integration.decommission.conftest import IotFleet
from tests.support.command_line import CommandRunner

Decommission = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture(autouse=True)
def fast_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at once whether a detach is visible: moto detaches at once."""
    monkeypatch.setattr("asyncgg.decommission.delete._FIRST_LOOK", 0.0)


def write_list(fleet: IotFleet, path: Path, count: int = 4) -> Path:
    """A list of the first things of the fleet."""
    path.write_text("\n".join(fleet.things[:count]) + "\n")
    return path


def test_quarantine_and_release_restore_everything(fleet: IotFleet, decommission: Decommission, tmp_path: Path) -> None:
    """A quarantine changes the listed devices only; release restores certificates and associations.

    The reply to the first disassociation is lost, and the second request finds nothing.
    """
    associations, statuses = fleet.associations(), fleet.statuses()
    fleet.simulator.service.set_faults(["reset-after@BatchDis*=1"])
    listed = write_list(fleet, tmp_path / "things.txt")
    code, result = decommission("quarantine", "--things", listed, "--journal", "j")
    assert code == 0, result
    assert result["schema"] == "asyncgg.decommission/1"
    assert result["devices"] == {"total": 4, "done": 4, "refused": 0, "failed": 0, "pending": 0}
    assert [fleet.status(fleet.certificates[thing][0]) for thing in fleet.things] == ["INACTIVE"] * 4 + ["ACTIVE"] * 2
    assert {thing for _, thing in fleet.associations()} == set(fleet.things[4:])

    Path("j.quarantine-1").rename("elsewhere")  # it has the associations
    assert decommission("release", "j")[0] == 2
    Path("elsewhere").rename("j.quarantine-1")
    code, result = decommission("release", "j")
    assert code == 0, result
    assert fleet.statuses() == statuses
    assert fleet.associations() == associations


def test_delete_removes_things_and_certificates(
    fleet: IotFleet, decommission: Decommission, cli: CommandRunner, tmp_path: Path
) -> None:
    """After a quarantine, delete removes exactly its things; the shared policy stays."""
    listed = write_list(fleet, tmp_path / "things.txt")
    assert decommission("quarantine", "--things", listed, "--journal", "j")[0] == 0
    assert decommission("delete", "j", "--expect-account", "123456789012")[0] == 4  # younger than 24 h
    assert decommission("delete", "j", "--min-age", "0")[0] == 2  # --yes alone
    arguments = ("j", "--min-age", "0", "--delete-certificates", "--expect-account", "123456789012")
    code, result = decommission("delete", *arguments)
    assert (code, result["state"], result["stage"]) == (0, "complete", "delete"), result
    pages = fleet.client.get_paginator("list_things").paginate()  # other tests have things, too
    names = {thing["thingName"] for page in pages for thing in page["things"]}
    assert names & set(fleet.things) == set(fleet.things[4:])
    assert list(fleet.statuses().values()) == ["deleted"] * 4 + ["ACTIVE"] * 2
    fleet.client.get_policy(policyName=f"{fleet.things[0].partition('-')[0]}-policy")
    assert cli("report", "j", "--outcomes", "rows.csv", "--html", "page.html", "--markdown", "page.md").code == 0
    assert "Delete: 4 of 4 devices done." in Path("page.html").read_text()
    assert "## Decommission of devices: Complete" in Path("page.md").read_text()
    assert "would overwrite" in cli("report", "j", "--html", "j").err
    with Path("rows.csv").open() as file:
        steps = {(row["stage"], row["step"].split()[0]) for row in csv.DictReader(file)}
    assert {("quarantine", "UpdateCertificate"), ("delete", "DeleteThing"), ("delete", "DetachPolicy")} <= steps


def test_quarantine_refuses_guarded_devices(fleet: IotFleet, decommission: Decommission, tmp_path: Path) -> None:
    """Shared, claim, transferred, protected, core and missing devices are left unchanged, each with its reason."""
    shared, claim, transferred, protected, fine, other = fleet.things
    fleet.client.attach_thing_principal(thingName=other, principal=fleet.certificates[shared][1])
    document = (
        '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "iot:Publish",'
        ' "Resource": "arn:aws:iot:us-east-1:123456789012:topic/$aws/provisioning-templates/t/provision/*"}]}'
    )
    fleet.client.create_policy(policyName=f"{claim}-policy", policyDocument=document)
    fleet.client.attach_policy(policyName=f"{claim}-policy", target=fleet.certificates[claim][1])
    fleet.client.update_certificate(certificateId=fleet.certificates[transferred][0], newStatus="PENDING_TRANSFER")
    fleet.client.update_thing(thingName=protected, attributePayload={"attributes": {"decommission": "never"}})
    core = f"{fine.partition('-')[0]}-core-1"
    fleet.client.create_thing(thingName=core)
    before = fleet.statuses()
    (tmp_path / "things.txt").write_text("\n".join([shared, claim, transferred, protected, fine, core, "missing"]))
    code, result = decommission("quarantine", "--things", "things.txt", "--journal", "j")
    assert code == 3, result
    assert result["refusals"] == {
        "shared-certificate": 1,
        "claim-certificate": 1,
        "pending-transfer": 1,
        "protected": 1,
        "core-device": 1,
        "thing-not-found": 1,
    }
    assert fleet.statuses() == before | {fleet.certificates[fine][0]: "INACTIVE"}
    assert {thing for _, thing in fleet.associations()} == set(fleet.things) - {fine}


def test_release_leaves_a_certificate_that_was_changed(
    fleet: IotFleet, decommission: Decommission, tmp_path: Path
) -> None:
    """A certificate that was revoked after the quarantine is not activated."""
    listed = write_list(fleet, tmp_path / "things.txt", 2)
    assert decommission("quarantine", "--things", listed, "--journal", "j")[0] == 0
    revoked = fleet.certificates[fleet.things[0]][0]
    fleet.client.update_certificate(certificateId=revoked, newStatus="REVOKED")
    code, result = decommission("release", "j")
    assert (code, result["refusals"]) == (3, {"changed-since": 1})
    assert fleet.status(revoked) == "REVOKED"
    assert fleet.things[0] not in {thing for _, thing in fleet.associations()}


def test_delete_refuses_recreated_and_associated_things(
    fleet: IotFleet, decommission: Decommission, tmp_path: Path
) -> None:
    """A thing with another id and a thing that is associated again are not deleted."""
    listed = write_list(fleet, tmp_path / "things.txt", 2)
    assert decommission("quarantine", "--things", listed, "--journal", "j")[0] == 0
    recreated, associated = fleet.things[:2]
    fleet.client.detach_thing_principal(thingName=recreated, principal=fleet.certificates[recreated][1])
    fleet.client.delete_thing(thingName=recreated)
    fleet.client.create_thing(thingName=recreated)
    fleet.simulator.service.fleet.associate(f"{recreated.partition('-')[0]}-core-1", associated, 0.0)
    code, result = decommission("delete", "j", "--min-age", "0", "--expect-account", "123456789012")
    assert (code, result["refusals"]) == (3, {"recreated": 1, "still-associated": 1})
    assert fleet.client.describe_thing(thingName=recreated)
    assert fleet.client.describe_thing(thingName=associated)
    code, result = decommission("release", "j")  # what the deletion refused
    assert (code, result["devices"]["done"], result["refusals"]) == (3, 1, {"recreated": 1})
    assert fleet.status(fleet.certificates[associated][0]) == "ACTIVE"


def test_plan_changes_nothing(fleet: IotFleet, decommission: Decommission, tmp_path: Path) -> None:
    """A plan counts devices and requests, and leaves no journal."""
    before = fleet.statuses(), fleet.associations()
    listed = write_list(fleet, tmp_path / "things.txt")
    code, result = decommission("plan", "--things", listed, "--outcomes", "devices.csv")
    assert (code, result["stage"], result["state"]) == (0, "plan", "planned")
    assert result["requests"]["UpdateCertificate"] == 4
    assert (result["cores"], result["associations"]) == (2, 5)
    assert set(result["advice"]["delete"]["quotas"]) == set(result["stages"]["delete"]["slowest"])
    assert (fleet.statuses(), fleet.associations()) == before
    assert [path.name for path in tmp_path.iterdir() if "journal" in path.name] == []
    with Path("devices.csv").open() as file:
        rows = {row["device"]: row for row in csv.DictReader(file)}
    prefix = fleet.things[0].partition("-")[0]
    assert rows[fleet.things[3]]["cores"].split() == [f"{prefix}-core-1", f"{prefix}-core-2"]
    assert rows[fleet.things[3]]["certificates"] == f"{fleet.certificates[fleet.things[3]][0]}:ACTIVE"
    code, result = decommission("plan", "--things", listed, "--outcomes", "devices.xls")
    assert (code, "unknown suffix" in result["error"]) == (2, True)  # before the questions
    assert decommission("plan", "--things", listed, "--journal", "kept")[0] == 0
    assert decommission("resume", "kept")[0] == 2
    assert fleet.statuses() == before[0]


def test_shadows_are_saved_before_they_are_deleted(
    fleet: IotFleet, decommission: Decommission, moto_url: str, tmp_path: Path
) -> None:
    """The classic and the named shadows are in a file next to the journal, and gone before the thing."""
    data = boto3.client("iot-data", region_name="us-east-1", endpoint_url=moto_url)
    listed, thing = write_list(fleet, tmp_path / "things.txt", 2), fleet.things[0]
    document = {"state": {"desired": {"mode": "cold"}}}
    for name in ({}, {"shadowName": "config"}):
        data.update_thing_shadow(thingName=thing, payload=json.dumps(document), **name)
    assert decommission("quarantine", "--things", listed, "--journal", "j")[0] == 0
    arguments = ("j", "--min-age", "0", "--delete-shadows", "--expect-account", "123456789012")
    code, result = decommission("delete", *arguments)
    assert (code, result["shadows"]) == (0, {"saved": 2, "deleted": 2}), result
    saved = [json.loads(line) for line in Path("j.shadows.jsonl").read_text().splitlines()]
    assert [(shadow["thing"], shadow["shadow"]) for shadow in saved] == [(thing, ""), (thing, "config")]
    assert [json.loads(shadow["document"])["state"]["desired"] for shadow in saved] == [{"mode": "cold"}] * 2


def test_a_finished_run_selects_the_devices(
    fleet: IotFleet, decommission: Decommission, cli: CommandRunner, tmp_path: Path
) -> None:
    """`--from-run` takes what a run has disassociated, and refuses a run that is not finished or was undone."""
    listed = write_list(fleet, tmp_path / "things.txt", 3)
    run = ("disassociate", "--things", listed, "--quota", "1000", "--yes", "--json", "--journal")
    assert cli(*run, "run.journal").code == 0
    code, result = decommission("quarantine", "--from-run", "run.journal", "--journal", "j")
    assert (code, result["devices"]["done"]) == (0, 3), result
    assert list(fleet.statuses().values()) == ["INACTIVE"] * 3 + ["ACTIVE"] * 3
    assert cli("undo", "run.journal", "--yes", "--journal", "undo.journal").code == 0
    assert decommission("plan", "--from-run", "run.journal")[0] == 2
    assert "associated" in decommission("plan", "--from-run", "undo.journal")[1]["error"]
    assert "not a journal" in decommission("plan", "--from-run", "j")[1]["error"]


def test_a_policy_selects_the_devices(fleet: IotFleet, decommission: Decommission, tmp_path: Path) -> None:
    """`--policy` takes the things of which every association is selected; one on two cores is selected on one only."""
    prefix = fleet.things[0].partition("-")[0]
    policy = f'name = "p"\n[sources]\nname = "{prefix}-core-2"\n[[rule]]\nid = "all"\nname = "{prefix}-*"\n'
    (tmp_path / "policy.toml").write_text(policy)
    code, result = decommission("plan", "--policy", "policy.toml", "--outcomes", "devices.csv")
    assert (code, result.get("devices", {}).get("total")) == (0, 2), result


def test_resume_has_the_options_of_the_start(fleet: IotFleet, decommission: Decommission, tmp_path: Path) -> None:
    """After a deadline, the protect list of the start still counts, and the questions that were open are asked."""
    listed, protected = write_list(fleet, tmp_path / "things.txt"), fleet.things[1]
    (tmp_path / "never.txt").write_text(protected)
    options = ("--things", listed, "--journal", "j", "--protect", "never.txt", "--deadline", "1ms")
    code, result = decommission("quarantine", *options)
    assert (code, result["state"], result["devices"]["pending"]) == (10, "deadline", 4), result
    code, result = decommission("resume", "j")
    assert (code, result["refusals"], result["devices"]["done"]) == (3, {"protected": 1}, 3), result
    assert fleet.status(fleet.certificates[protected][0]) == "ACTIVE"
    assert decommission("resume", "j")[1]["quarantined_at"] == result["quarantined_at"]  # nothing was left to do
