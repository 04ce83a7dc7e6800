"""Outcomes read from a journal."""

from __future__ import annotations

import random
from pathlib import Path

from asyncgg.batching import Claim
from asyncgg.journal import Importer, JournalReader, JournalStore, JournalWriter
from asyncgg.models import ThingState
from tests.support.journal import ALL_DISASSOCIATED, RECORDED_REPLY, all_failed, make_pairs


def record_mixed_outcomes(store: JournalStore) -> None:
    """Record one success and one failure per core; the rest stays unsent."""
    for queue in list(store.pending_cores()):
        for limit, results in ((100, ALL_DISASSOCIATED), (37, None)):
            batch = store.claim(Claim(queue, queue.first, queue.last, min(limit, queue.unsent)), 1.0)
            store.record_batch(batch, results or all_failed(batch), RECORDED_REPLY)


async def test_outcomes_are_ordered_and_have_reasons(tmp_path: Path) -> None:
    """All things, and the failed ones, come by core and name, with their states and reasons."""
    pairs = make_pairs(5, 250)
    selected = [(core, thing, f"why {int(thing[-5:]) % 7}" if core != "core-003" else "") for core, thing in pairs]
    random.Random(1).shuffle(selected)
    importer = Importer(tmp_path / "j")
    importer.add_with_reasons(selected[:900])
    importer.add_with_reasons(selected[900:])
    importer.finish({})
    journal = JournalWriter(tmp_path / "j", threaded=False)
    await journal.submit(record_mixed_outcomes)
    journal.close()
    expected = [
        (core, thing, ThingState.DISASSOCIATED if index < 100 else ThingState.FAILED if index < 137 else 0, reason)
        for core, thing, reason in sorted(selected)
        if (index := int(thing[-5:])) is not None
    ]
    with JournalReader(tmp_path / "j") as reader:
        assert [(row.core, row.thing, row.state, row.reason) for row in reader.outcomes()] == expected
        failures = [(row.core, row.thing, row.state, row.reason) for row in reader.outcomes(ThingState.FAILED)]
    assert failures == [row for row in expected if row[2] == ThingState.FAILED]


def test_import_duplicate_with_reasons_keeps_one(tmp_path: Path) -> None:
    """A pair with several reasons, or none, is one thing with one of the reasons."""
    importer = Importer(tmp_path / "j")
    importer.add([("c", "a"), ("c", "b")])
    importer.add_with_reasons([("c", "a", "old"), ("c", "a", ""), ("c", "a", "lost")])
    assert importer.finish({}).duplicates == 3
    with JournalReader(tmp_path / "j") as reader:
        assert [(row.thing, row.reason) for row in reader.outcomes()] == [("a", "lost"), ("b", "")]
