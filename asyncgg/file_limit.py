"""Fits the number of connections to the limit on open files."""

from __future__ import annotations

from typing import Final

try:
    import resource
except ImportError:  # Windows has no such limit
    resource = None  # type: ignore[assignment]

RESERVED_FILES: Final = 40
"""Files other than connections: journal, snapshot, lists, event loop, DNS lookups."""


def fit_concurrency(concurrency: int) -> int:
    """Raise the soft limit as far as `concurrency` requires; returns the concurrency that fits."""
    if resource is None:
        return concurrency
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    required = concurrency + RESERVED_FILES
    if soft == resource.RLIM_INFINITY or soft >= required:
        return concurrency
    raised = required if hard == resource.RLIM_INFINITY else min(required, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
    except (OSError, ValueError):  # macOS has a lower limit that is not reported
        raised = soft
    return max(1, min(concurrency, raised - RESERVED_FILES))
