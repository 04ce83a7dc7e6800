"""Rule: whether a run still goes on is known here, once: the reason to stop, the failure, and who is told of events."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from asyncgg.engine.guards import StopReason
from asyncgg.events import Event, Listener, Stopping
from asyncgg.models import RunState

__all__ = ["RunControl"]


class RunControl:
    """The switch of one start. `on_stop` are called once, when it is thrown."""

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self._listeners = tuple(listeners)
        self.on_stop: list[Callable[[], None]] = []
        self.stop_reason: StopReason | None = None
        self.failure: BaseException | None = None

    @property
    def is_stopping(self) -> bool:
        """Whether nothing new is to be claimed or sent."""
        return self.stop_reason is not None

    @property
    def has_listeners(self) -> bool:
        """Whether anyone listens."""
        return bool(self._listeners)

    def request_stop(self, reason: StopReason) -> None:
        """Claim and send nothing new, let what is in flight end; the first reason given counts."""
        if self.stop_reason is None:
            self.stop_reason = reason
            for callback in self.on_stop:
                callback()
            self.emit(Stopping(reason.message))

    def fail(self, error: BaseException) -> None:
        """Something of ours broke: stop; the engine raises `error` when what is in flight has ended."""
        self.failure = self.failure or error
        self.request_stop(StopReason(RunState.ABORTED, str(error)))

    def emit(self, event: Event) -> None:
        """Tell the listeners; one that raises ends the run."""
        for listener in self._listeners:
            try:
                listener(event)
            except Exception as error:  # noqa: BLE001 - whatever it is, it ends the run, and the engine raises it
                self.fail(error)
