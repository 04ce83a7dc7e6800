"""The journal of a decommission: what a later start asks about again."""

from __future__ import annotations

from pathlib import Path

import pytest

from asyncgg.decommission.guards import Refusal
from asyncgg.decommission.journal import DecommissionJournal
from asyncgg.decommission.model import CertificateFacts, DeviceFacts, DeviceStep, RefusalReason, Stage, StepState
from asyncgg.errors import JournalError

pytestmark = [pytest.mark.asyncio]


async def test_forget_unchanged_keeps_what_was_refused_or_changed(tmp_path: Path) -> None:
    """A certificate that was changed keeps its status from before, also for another device that shares it."""
    certificates = {"changed": "ab", "refused": "c", "old": "d", "both": "cd"}
    with DecommissionJournal.create(tmp_path / "j", "abcde") as journal:
        for id_, things in certificates.items():
            facts = CertificateFacts(id_, f"arn:{id_}", "ACTIVE", "1", "PEM", "", 0.0, tuple(things), ())
            await journal.put_certificates({id_: facts})
        for name in "abcd":
            own = tuple(id_ for id_, things in certificates.items() if name in things)
            await journal.put_facts(DeviceFacts(name, thing_id=name, certificates=own))
        await journal.put_refusals(Stage.QUARANTINE, {"c": Refusal(RefusalReason.CORE_DEVICE)})
        await journal.record(DeviceStep(Stage.QUARANTINE, "changed", "UpdateCertificate", StepState.INTENT))

        await journal.forget_unchanged(Stage.QUARANTINE)
        assert journal.devices().keys() == {"a", "b", "c"}
        assert journal.certificates().keys() == {"changed", "refused", "both"}
        assert journal.names() == list("abcde")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("stage", "unknown"),
        ("quarantined_at", "x"),
        ("quarantined_at", "NaN"),
        ("created", "1e400"),
        ("asked_at", "1e300"),
        ("options", ""),
        ("options", "[1]"),
        ("settings", "[" * 100_000),
    ],
)
async def test_impossible_value_is_an_error_of_the_file(tmp_path: Path, name: str, value: str) -> None:
    """Every command reads the header, so a value that was edited by hand ends it before the first request."""
    with DecommissionJournal.create(tmp_path / "j", "a", stage=Stage.QUARANTINE) as journal:
        assert journal.meta()["stage"] == Stage.QUARANTINE
        await journal.put_meta(**{name: value})
        with pytest.raises(JournalError, match="j is corrupt: "):
            journal.meta()
