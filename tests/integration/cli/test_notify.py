"""Tests of `--notify`: events, messages, and failed deliveries."""

from __future__ import annotations

import json
from pathlib import Path
from unittest.mock import Mock

import pytest

from tests.integration.cli.conftest import StartSimulator, Webhook
from tests.support.command_line import CommandRunner

RUN_OPTIONS = ("--rate", "500", "--yes", "--quiet", "--json")


def test_notify_sends_the_summary(
    cli: CommandRunner, serve: StartSimulator, hook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """disassociate, retry and undo send their summary; the URL can be in a variable."""
    simulator = serve(fault=("entry:AccessDeniedException@thing-2-1",))
    monkeypatch.setenv("HOOK", hook.url)
    options = (*RUN_OPTIONS, "--notify", "env:HOOK")
    first = cli("disassociate", "fleet.csv", *options, "--journal", "run.journal")
    simulator.service.set_faults(())
    second = cli("retry", "run.journal", *options)
    third = cli("undo", "run.journal", *options, "--assume-associated")
    assert [first.code, second.code, third.code] == [3, 0, 0]
    assert [message["event"] for message in hook.received] == ["end"] * 3
    assert [message["summary"] for message in hook.received] == [first.json, second.json, third.json]
    assert hook.received[0]["text"].startswith("asyncgg disassociate: partial: 11 of 12 things disassociated, 1 failed")
    assert hook.received[0]["host"]
    assert hook.received[0]["policy"] is None


def test_notify_unexpected_error_sends_only_its_type(
    cli: CommandRunner, serve: StartSimulator, hook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A system error is sent with its reason, an internal error with its type only."""
    serve()
    options = (*RUN_OPTIONS, "--notify", hook.url)
    for error in (OSError(5, "Input/output error"), RuntimeError("token=secret")):
        monkeypatch.setattr("asyncgg.cli.workflow.plan_confirm_run", Mock(side_effect=error))
        assert cli("disassociate", "fleet.csv", *options).code == 1
    assert [(message["event"], message["text"], message["summary"]) for message in hook.received] == [
        ("failure", "asyncgg: system error: Input/output error", {"exit": 1}),
        ("failure", "asyncgg: internal error: RuntimeError", {"exit": 1}),
    ]


def test_notify_sends_guards_and_failures(cli: CommandRunner, serve: StartSimulator, hook: Webhook) -> None:
    """A guard, an error before the run, and a run without permission have their events."""
    simulator = serve()
    options = (*RUN_OPTIONS, "--notify", hook.url)
    assert cli("disassociate", "fleet.csv", *options, "--max-things", 3).code == 4
    assert cli("disassociate", "none.csv", *options).code == 2
    simulator.service.set_faults(["deny-all"])
    assert cli("disassociate", "fleet.csv", *options).code == 5
    assert [message["event"] for message in hook.received] == ["guard", "failure", "failure"]
    assert hook.received[0]["text"].startswith("asyncgg: fleet.csv: 12 things, --max-things allows 3")
    assert hook.received[0]["summary"] == {"exit": 4}
    assert hook.received[2]["summary"]["state"] == "aborted"


def test_notify_dry_run_sends_nothing(cli: CommandRunner, serve: StartSimulator, hook: Webhook) -> None:
    """A dry run sends no notification."""
    serve()
    assert cli("disassociate", "fleet.csv", "--dry-run", "--notify", hook.url).code == 0
    assert hook.received == []


def test_notify_failed_delivery_keeps_the_exit_code(cli: CommandRunner, serve: StartSimulator, hook: Webhook) -> None:
    """A failed delivery is one line without the URL; the result is that of the run."""
    serve()
    hook.status = 404
    result = cli("disassociate", "fleet.csv", "--rate", "500", "--yes", "--json", "--notify", hook.url)
    assert (result.code, result.json["state"]) == (0, "complete")
    assert f"Notification to webhook http://127.0.0.1:{hook.server.server_port} failed: HTTP 404\n" in result.err
    assert "secret" not in result.err


def test_lost_notification_is_in_the_report(cli: CommandRunner, serve: StartSimulator, hook: Webhook) -> None:
    """The journal keeps why a notification could not be delivered; the next start replaces that."""
    serve(fault=("entry:AccessDeniedException@thing-2-1=1",))
    hook.status = 404
    options = ("--journal", "run.journal", "--rate", "500", "--yes", "--json", "--notify", hook.url)
    assert cli("disassociate", "fleet.csv", *options).code == 3
    (warning,) = cli("report", "run.journal", "--json").json["warnings"]
    assert warning == f"Notification to webhook http://127.0.0.1:{hook.server.server_port} failed: HTTP 404"
    hook.status = 200
    assert cli("retry", "run.journal", *options[2:]).code == 0
    assert cli("report", "run.journal", "--json").json["warnings"] == []


def test_lost_notification_of_a_saved_run_is_in_the_state(
    cli: CommandRunner, serve: StartSimulator, hook: Webhook
) -> None:
    """Targets are notified once, before the last save; this holds for a start that continues, too."""
    serve(fault=("entry:AccessDeniedException@thing-2-1=1",))
    hook.status = 404
    options = ("--state", "saved", "--rate", "500", "--yes", "--json", "--notify", hook.url)
    for command, code in ((("disassociate", "fleet.csv"), 3), (("retry",), 0)):
        result = cli(*command, *options)
        assert result.code == code, result.err
        (warning,) = cli("report", "--state", "saved", "--json").json["warnings"]
        assert warning == f"Notification to webhook http://127.0.0.1:{hook.server.server_port} failed: HTTP 404"
    assert [message["summary"]["exit"] for message in hook.received] == [3, 0]


@pytest.mark.parametrize(("options", "folder"), [((), "nightly.state"), (("--state", "saved"), "saved")])
def test_lost_notification_of_a_cleanup_is_in_its_report(
    options: tuple[str, ...],
    folder: str,
    cli: CommandRunner,
    serve: StartSimulator,
    hook: Webhook,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """report.json in the folder of the run has the warning, too, also that of a state."""
    serve()
    hook.status = 404
    monkeypatch.setenv("HOOK", hook.url)
    Path("nightly.toml").write_text(
        "[[rule]]\nid = 'a'\nname = 'old-*'\n[notify]\nwebhook = 'env:HOOK'\n", encoding="utf-8"
    )
    result = cli("cleanup", "nightly.toml", "--rate", "500", "--json", "--quiet", *options)
    assert result.code == 0, result.err
    contents = [path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()]
    (saved,) = [json.loads(content) for content in contents if b'"asyncgg.cleanup/1"' in content]
    assert saved["warnings"] == result.json["warnings"]
    assert [warning for warning in saved["warnings"] if "HTTP 404" in warning] == saved["warnings"]
    assert len(hook.received) == 1


def test_notify_with_apprise_sends_the_text(cli: CommandRunner, serve: StartSimulator, hook: Webhook) -> None:
    """A URL of Apprise, here that of its JSON service, gets the line for people."""
    serve()
    url = f"json://127.0.0.1:{hook.server.server_port}/secret"
    result = cli("disassociate", "fleet.csv", *RUN_OPTIONS, "--notify", url)
    assert result.code == 0, result.err
    (message,) = hook.received
    assert message["type"] == "success"
    assert message["message"].startswith("asyncgg disassociate: complete: 12 of 12 things disassociated")


def test_notify_with_apprise_failed_delivery_shows_no_secret(
    cli: CommandRunner, serve: StartSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names the service only; the exit code is that of the run."""
    serve()
    monkeypatch.setattr("asyncgg.notify.delivery._ATTEMPTS", 1)
    result = cli(
        "disassociate", "fleet.csv", *RUN_OPTIONS[:-2], "--json", "--notify", "json://user:secret@127.0.0.1:9/x"
    )
    assert result.code == 0
    assert "Notification to json://... failed: the service did not accept the message" in result.err
    assert "secret" not in result.err + result.out


@pytest.mark.parametrize("target", ["slack://x", "nonsense://hidden", "no-target", "arn:aws:sns:x", "env:NOT_SET"])
def test_notify_invalid_target_exits_2(cli: CommandRunner, serve: StartSimulator, target: str) -> None:
    """An invalid target is reported before the run."""
    simulator = serve()
    result = cli("disassociate", "fleet.csv", *RUN_OPTIONS, "--notify", target)
    assert (result.code, result.out) == (2, "")
    assert "notify: " in result.err
    assert "hidden" not in result.err
    assert simulator.service.counters.requests.total() == 0
