"""Commands whose requests a proxy answers with pages of its own, over HTTP."""

from __future__ import annotations

import pytest

from tests.integration.cli.conftest import StartSimulator
from tests.support.command_line import CommandRunner

RUN_OPTIONS = ("--rate", "500", "--yes", "--quiet", "--json", "--stall-timeout", "200ms")
READ_OPTIONS = ("--rate", "500", "--quiet", "--json", "--stall-timeout", "200ms")
PAGE = "no request accepted"


@pytest.mark.parametrize("transport", ["native", "sdk"])
@pytest.mark.parametrize("page", ["page:302", "page-empty:403"])
def test_disassociate_page_leaves_things_pending(
    cli: CommandRunner, serve: StartSimulator, page: str, transport: str
) -> None:
    """Exit code 4, nothing failed, the status named; resume completes the run."""
    simulator = serve(fault=(page,))
    result = cli("disassociate", "fleet.csv", *RUN_OPTIONS, "--transport", transport, "--journal", "run.journal")
    assert result.code == 4, result.err
    things = result.json["things"]
    assert (things["total"], things["pending"], things["failed"]) == (12, 12, 0)
    assert f"HTTP {page.rpartition(':')[2]} " in result.out
    assert "(text/html), not from the service; check proxy and endpoint" in result.out
    simulator.service.set_faults([])
    assert cli("resume", "run.journal", "--yes", "--quiet").code == 0


def test_verify_undo_and_scans_take_a_page_for_no_result(cli: CommandRunner, serve: StartSimulator) -> None:
    """No command takes the page of a proxy for a missing thing, a denied core or a failure."""
    simulator = serve()
    assert cli("disassociate", "fleet.csv", *RUN_OPTIONS, "--journal", "run.journal").code == 0
    simulator.service.set_faults(["page:403"])
    verified = cli("verify", "run.journal", *READ_OPTIONS)
    assert (verified.code, PAGE in verified.out + verified.err) == (4, True), verified.out + verified.err
    assert (verified.json["things"]["confirmed"], verified.json["things"]["unchecked"]) == (0, 12)
    assert verified.json["cores"] == verified.json["cores"] | {"denied": 0, "failed": 0, "vanished": 0}
    undone = cli("undo", "run.journal", *RUN_OPTIONS, "--assume-associated", "--journal", "undo.journal")
    assert (undone.code, PAGE in undone.out + undone.err) == (4, True), undone.out + undone.err
    assert (undone.json["things"]["failed"], undone.json["things"]["pending"]) == (0, 12)
    scanned = cli("inventory", "--out", "fleet.db", *READ_OPTIONS)
    assert (scanned.code, PAGE in scanned.out + scanned.err) == (4, True), scanned.out + scanned.err
    looked_up = cli("where", "thing-1-1", *READ_OPTIONS)
    assert (looked_up.code, PAGE in looked_up.out + looked_up.err) == (4, True), looked_up.out + looked_up.err
