"""Rule: how outcomes come out of a journal: in order, whatever way each thing went, with why it was chosen."""

from __future__ import annotations

import random
from pathlib import Path

from asyncgg.batching import Claim
from asyncgg.journal import Importer, JournalReader, JournalStore, JournalWriter
from asyncgg.models import ThingState
from tests.support.journal import ALL_DISASSOCIATED, RECORDED_REPLY, all_failed, make_pairs


def record_mixed_outcomes(store: JournalStore) -> None:
    """Of every core one batch done, one failed, one never sent."""
    for work in list(store.pending_cores()):
        for limit, results in ((100, ALL_DISASSOCIATED), (37, None)):
            batch = store.claim(Claim(work, work.first, work.last, min(limit, work.unsent)), 1.0)
            store.record_batch(batch, results or all_failed(batch), RECORDED_REPLY)


async def test_outcomes_come_in_order_with_their_reasons(tmp_path: Path) -> None:
    """All things, and the failed alone, come by core and name, each with its own state and reason, or with none."""
    pairs = make_pairs(5, 250)
    chosen = [(core, thing, f"why {int(thing[-5:]) % 7}" if core != "core-003" else "") for core, thing in pairs]
    random.Random(1).shuffle(chosen)
    importer = Importer(tmp_path / "j")
    importer.add_with_reasons(chosen[:900])
    importer.add_with_reasons(chosen[900:])
    importer.finish({})
    journal = JournalWriter(tmp_path / "j", threaded=False)
    await journal.submit(record_mixed_outcomes)
    journal.close()
    expected = [
        (core, thing, ThingState.DISASSOCIATED if index < 100 else ThingState.FAILED if index < 137 else 0, reason)
        for core, thing, reason in sorted(chosen)
        if (index := int(thing[-5:])) is not None
    ]
    with JournalReader(tmp_path / "j") as reader:
        assert [(row.core, row.thing, row.state, row.reason) for row in reader.outcomes()] == expected
        failures = [(row.core, row.thing, row.state, row.reason) for row in reader.outcomes(ThingState.FAILED)]
    assert failures == [row for row in expected if row[2] == ThingState.FAILED]


def test_a_thing_chosen_twice_keeps_one_reason(tmp_path: Path) -> None:
    """The same pair with two reasons, or with one and none, is one thing with one of the reasons."""
    importer = Importer(tmp_path / "j")
    importer.add([("c", "a"), ("c", "b")])
    importer.add_with_reasons([("c", "a", "old"), ("c", "a", ""), ("c", "a", "lost")])
    assert importer.finish({}).duplicates == 3
    with JournalReader(tmp_path / "j") as reader:
        assert [(row.thing, row.reason) for row in reader.outcomes()] == [("a", "lost"), ("b", "")]
