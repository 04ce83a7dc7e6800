"""Rule: the way from a manifest to a prepared journal lives here; it runs in the main thread, so Ctrl-C ends it."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import BinaryIO, Final

from asyncgg.cli.console import Console
from asyncgg.errors import UsageError
from asyncgg.manifest import RejectsWriter, load_protect_list, open_manifest
from asyncgg.runs import JournalBuilder, Plan
from asyncgg.runs.prepare import s3_opener
from asyncgg.settings import Settings
from asyncgg.transport import Endpoint

__all__ = ["build_from_manifest"]

_PROGRESS_INTERVAL: Final = 1.0
"""Seconds before a long import says how far it is, and between its words."""


def build_from_manifest(
    spec: str,
    journal: Path,
    settings: Settings,
    endpoint: Endpoint | None,
    console: Console,
    *,
    format: str | None = None,  # noqa: A002 - named as the option is
    rejects: Path | None = None,
    stdin: BinaryIO | None = None,
) -> tuple[JournalBuilder, Plan]:
    """Read the manifest into a new journal; on any error, Ctrl-C included, no journal is left.

    Raises:
        ManifestError, GuardError: as `JournalBuilder.finish`.
        JournalError: the journal is there already or cannot be made.
        UsageError: the protect list or the file for rejects cannot be used.
    """
    protect = load_protect_list(str(settings.protect)) if settings.protect else None
    if rejects is not None and rejects.resolve() == journal.resolve():
        raise UsageError(f"{rejects}: --rejects and --journal are the same file; give each its own")
    with contextlib.ExitStack() as stack:
        s3 = s3_opener(settings, endpoint) if spec.startswith("s3://") else None
        manifest = stack.enter_context(open_manifest(spec, format=format, stdin=stdin, s3=s3))
        inputs = [spec, *([str(settings.protect)] if settings.protect else [])]
        writer = stack.enter_context(RejectsWriter(rejects, inputs=inputs)) if rejects else None
        preparation = JournalBuilder(journal, settings, source=manifest.name, protect=protect, rejects=writer)
        try:
            last_logged_at = time.monotonic()
            rows = 0
            for chunk in manifest.chunks():
                preparation.add(chunk)
                rows += len(chunk.good) + len(chunk.bad)
                if not console.quiet and time.monotonic() - last_logged_at >= _PROGRESS_INTERVAL:
                    last_logged_at = time.monotonic()
                    event = {"event": "reading", "manifest": manifest.name, "rows": rows}
                    console.log_event(event, f"reading {manifest.name}: {rows:,} rows")
            return preparation, preparation.finish(endpoint)
        except BaseException:
            preparation.discard()
            raise
