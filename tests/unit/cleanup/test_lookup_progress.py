"""Tests of the progress that is shown while a policy asks AWS IoT."""

from __future__ import annotations

import pytest

from asyncgg.cleanup.lookup_progress import RegistryLookups
from asyncgg.cleanup.registry_cache import RegistryCache
from asyncgg.cli.cleanup_run import _CLEANUP_VIEW


@pytest.mark.virtual
async def test_lookups_report_how_far_they_are() -> None:
    """Things looked up, the rate and the time left at most; without a registry every lookup fails."""
    now = 100.0
    cache = RegistryCache()
    lookups = RegistryLookups(cache, 1200, 175.0, lambda: now)
    assert _CLEANUP_VIEW.fraction(lookups.progress()) == (0, 1200)
    await cache.fetch_things(f"thing-{number}" for number in range(640))
    now = 104.0
    progress = lookups.progress()
    assert (progress.things, progress.sent, progress.seconds) == (640, 640, 4.0)
    assert _CLEANUP_VIEW.format_line(progress, 160.0) == (
        "asking AWS IoT: 640 of up to 1,200 things, 640 failed, 160 lookups/s (limit 175), at most 3.5 s left"
    )
    assert _CLEANUP_VIEW.to_dict(progress, 160.0)["rate_now"] == 160.0
