"""Shares objects, such as credentials, among all parts of one command or call."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

T = TypeVar("T")

_shared: ContextVar[dict[Hashable, Any] | None] = ContextVar("asyncgg_shared", default=None)


@contextmanager
def sharing() -> Iterator[None]:
    """Share within the block; a block within another one shares with it."""
    shared = _shared.get()
    token = _shared.set({} if shared is None else shared)
    try:
        yield
    finally:
        _shared.reset(token)


def share(key: Hashable, create: Callable[[], T]) -> T:
    """Return the object of `key`; outside of `sharing` a new one."""
    shared = _shared.get()
    if shared is None:
        return create()
    if key not in shared:
        shared[key] = create()
    value: T = shared[key]
    return value
