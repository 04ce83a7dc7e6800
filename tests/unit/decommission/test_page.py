"""Tests of asyncgg.decommission.page and its templates."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from asyncgg.decommission.guards import Refusal
from asyncgg.decommission.journal import DecommissionJournal
from asyncgg.decommission.model import DeviceFacts, DeviceStep, RefusalReason, Stage, StepState
from asyncgg.decommission.page import REFUSAL_TEXTS, DecommissionPage, load_decommission_page
from asyncgg.decommission.report import summarize_saved
from asyncgg.decommission.stages import ASSOCIATIONS, DEVICE
from asyncgg.report.html import render

HOSTILE = "</script><img src=x onerror=alert(1)>\"'`|$x$ &amp; {{ 7 * 7 }}"
CERTIFICATE = "0123456789abcdef"


def load_page(path: Path, text: str = "x") -> DecommissionPage:
    """The page of a quarantine of one done, one refused, one failed and one pending device; texts are `text`."""
    names = ["done", "refused", "failed", "pending"]
    meta = {"stage": Stage.QUARANTINE, "source": text, "created": "1.0", "quarantined_at": "86400.0"}
    with DecommissionJournal.create(path, names, account=text, region=text, endpoint=text, **meta) as book:

        async def fill() -> None:
            await book.put_facts(DeviceFacts("done", certificates=(CERTIFICATE,), thing_type=text, cores=(text,)))
            await book.put_refusals(Stage.QUARANTINE, {"refused": Refusal(RefusalReason.SHARED, text)})
            for subject, action in ((CERTIFICATE, "UpdateCertificate"), ("done", DEVICE), ("done", ASSOCIATIONS)):
                await book.record(DeviceStep(Stage.QUARANTINE, subject, action, StepState.DONE))
            failed = DeviceStep(Stage.QUARANTINE, "failed", DEVICE, StepState.INTENT, "ThrottlingException", text)
            await book.record(failed)

        asyncio.run(fill())
        return load_decommission_page(book, generated_at=2.0)


def test_page_has_each_device_with_its_steps_and_reasons(tmp_path: Path) -> None:
    """Problems come first; the steps of a device are those of its certificates, too."""
    page = load_page(tmp_path / "j")
    assert [(row.name, row.state, row.detail) for row in page.devices] == [
        ("failed", "failed", "ThrottlingException: x"),
        ("refused", "refused", "shared-certificate: x"),
        ("pending", "pending", ""),
        ("done", "done", ""),
    ]
    assert page.devices[-1].steps == "quarantine: UpdateCertificate 01234567, disassociated"
    (refusal,), (failure,) = page.refusals, page.failures
    assert (refusal.label, refusal.devices, refusal.examples) == ("shared-certificate", 1, (("refused", "x"),))
    assert (failure.label, failure.examples) == ("ThrottlingException", (("failed", "x"),))
    assert page.verdict.sentence == "Quarantine: 1 of 4 devices done, 1 refused, 1 failed, 1 pending."
    assert page.delete_from == 172800.0


def test_a_running_stage_suggests_no_command(tmp_path: Path) -> None:
    """Another process has the journal: resume and release would be refused."""
    path = tmp_path / "j"
    load_page(path)
    with DecommissionJournal(path), DecommissionJournal(path, read_only=True) as book:
        summary = summarize_saved(book)
    assert (summary["state"], summary["next"]) == ("running", [])
    with DecommissionJournal(path, read_only=True) as book:
        assert "asyncgg decommission resume" in " ".join(summarize_saved(book)["next"])


def test_every_refusal_is_explained() -> None:
    """The page says what each reason means."""
    assert REFUSAL_TEXTS.keys() == set(RefusalReason)


def test_render_hostile_texts_stay_text(tmp_path: Path) -> None:
    """A text of AWS or of a list makes no element in HTML and no column in Markdown."""
    pages = [load_page(tmp_path / name, text) for name, text in (("a", HOSTILE), ("b", "x"))]
    hostile, plain = (render("decommission.html", report=page) for page in pages)
    tags = re.compile(r"<[a-z/][^>]*")
    assert len(tags.findall(hostile)) == len(tags.findall(plain))
    assert "{{ 7 * 7 }}" in hostile
    columns = re.compile(r"(?<!\\)\|")
    hostile_lines, plain_lines = (render("decommission.md", report=page).splitlines() for page in pages)
    for line, plain_line in zip(hostile_lines, plain_lines, strict=True):
        if plain_line.startswith("|"):
            assert len(columns.findall(line)) == len(columns.findall(plain_line))
