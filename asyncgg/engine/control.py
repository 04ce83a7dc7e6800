"""Rule: whether a run still goes on is known here, once: the reason to stop, the failure, and who is told of events."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from asyncgg.engine.guards import Stop
from asyncgg.events import Event, Listener, Stopping
from asyncgg.model import RunState

__all__ = ["Control"]


class Control:
    """The switch of one start. `on_stop` are called once, when it is thrown."""

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self._listeners = tuple(listeners)
        self.on_stop: list[Callable[[], None]] = []
        self.stop: Stop | None = None
        self.failure: BaseException | None = None

    @property
    def stopping(self) -> bool:
        """Whether nothing new is to be claimed or sent."""
        return self.stop is not None

    @property
    def heard(self) -> bool:
        """Whether anyone listens."""
        return bool(self._listeners)

    def stop_for(self, stop: Stop) -> None:
        """Claim and send nothing new, let what is in flight end; the first reason given counts."""
        if self.stop is None:
            self.stop = stop
            for call in self.on_stop:
                call()
            self.emit(Stopping(stop.reason))

    def fail(self, error: BaseException) -> None:
        """Something of ours broke: stop; the engine raises `error` when what is in flight has ended."""
        self.failure = self.failure or error
        self.stop_for(Stop(RunState.ABORTED, str(error)))

    def emit(self, event: Event) -> None:
        """Tell the listeners; one that raises ends the run."""
        for listener in self._listeners:
            try:
                listener(event)
            except Exception as error:  # noqa: BLE001 - whatever it is, it ends the run, and the engine raises it
                self.fail(error)
