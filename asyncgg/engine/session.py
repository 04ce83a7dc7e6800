"""The part that runs and fleet scans share: requests, events, and when to stop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from enum import Enum, auto
from typing import Any, Final, Generic, NamedTuple, TypeVar

from asyncgg.classify import ReplyVerdict, classify, code_and_message
from asyncgg.engine.guards import AbortRules, StopReason
from asyncgg.engine.lane import Lane
from asyncgg.engine.replies import RequestLabel, describe_failure, sanitize_reply, to_event
from asyncgg.errors import CredentialsError
from asyncgg.events import Event, Listener, RequestFinished, Stopping
from asyncgg.models import ErrorResponse, NoResponse, RunState

_WARMUP_TIMEOUT: Final = 1.0
"""Seconds after which other requests start although the first one has no reply yet. The first
request is sent alone: it detects invalid credentials, and a cold connection would bunch those
behind it."""

_CANCELLED: Final = NoResponse("cancelled", "the run was aborted while this request was in flight", sent=True)

T = TypeVar("T")


class SessionPhase(Enum):
    """Which requests may be sent."""

    COLD = auto()
    """The first one, or one that probes whether an outage is over."""
    WARMING_UP = auto()
    """None: the first request, or the probe, has no reply yet."""
    OPEN = auto()
    """All."""
    CLOSED = auto()
    """None: the work is done or was stopped. Requests in flight still end."""


class Attempt(NamedTuple, Generic[T]):
    """A request and its reply; `T` is the type of a successful reply."""

    reply: T | ErrorResponse | NoResponse
    verdict: ReplyVerdict
    started: float
    """Loop time at which the request was sent."""
    generation: int
    """Generation of the credentials that signed the request."""
    particular: bool
    """Whether a failure is one of this work only: other requests were answered meanwhile."""
    retry_after: float | None


class WorkSession:
    """One start of a run or a scan on `lane`. `deadline`: seconds after which it stops."""

    def __init__(self, lane: Lane, listeners: Sequence[Listener] = (), deadline: float | None = None) -> None:
        self.lane = lane
        self.phase = SessionPhase.COLD
        self.on_change: Callable[[], None] = lambda: None
        """Called when the phase changes, except to `WARMING_UP`."""
        self.stop_reason: StopReason | None = None
        self.failure: BaseException | None = None
        """The first error that broke the session; `stop_reason` is set too."""
        self.last_error = ""
        """Code and message of the last request that failed."""
        self._listeners = tuple(listeners)
        self._listeners_by_type: dict[type[Event], tuple[Listener, ...]] = {}
        self._deadline = deadline
        self._clock = asyncio.get_running_loop().time
        self._sending: asyncio.Task[None] | None = None
        self._warmup_started = 0.0
        self.group: asyncio.TaskGroup

    def has_listeners(self, event_type: type[Event]) -> bool:
        """Whether events of this type have a receiver."""
        return bool(self._listeners_of(event_type))

    def _listeners_of(self, event_type: type[Event]) -> tuple[Listener, ...]:
        listeners = self._listeners_by_type.get(event_type)
        if listeners is None:
            listeners = tuple(
                listener
                for listener in self._listeners
                if event_type in getattr(listener, "event_types", (event_type,))
            )
            self._listeners_by_type[event_type] = listeners
        return listeners

    @property
    def can_send(self) -> bool:
        """Whether a request may be sent as soon as there is a token."""
        return self.phase is SessionPhase.OPEN or self.phase is SessionPhase.COLD

    @property
    def status(self) -> str:
        """Why no requests are sent now; empty if they are."""
        return "stopping" if self.stop_reason else self.lane.status  # the event `Stopping` has the reason

    def emit(self, event: Event) -> None:
        """Pass an event to the listeners. An exception in a listener ends the session."""
        for listener in self._listeners_of(type(event)):
            try:
                listener(event)
            except Exception as error:  # noqa: BLE001 - the owner of the session raises it at the end
                self.fail(error)

    def stop(self, reason: StopReason | None) -> None:
        """Send no further requests, unless `reason` is None. The first reason is kept."""
        if reason is not None and self.stop_reason is None:
            self.stop_reason = reason
            self.close()
            self.emit(Stopping(reason.message))

    def fail(self, error: BaseException) -> None:
        """Stop because of an error; the owner of the session raises `failure` at the end."""
        self.failure = self.failure or error
        self.stop(StopReason(RunState.ABORTED, str(error)))

    def close(self) -> None:
        """Send no further requests."""
        self.phase = SessionPhase.CLOSED
        if self._sending is not None:
            self._sending.cancel()  # it may wait for a token
        self.lane.cancel_refresh()
        self.on_change()

    @asynccontextmanager
    async def run(self, sending: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.TaskGroup]:
        """A task group for the work. Closing the session cancels `sending`."""
        loop = asyncio.get_running_loop()
        deadline: asyncio.TimerHandle | None = None
        if self._deadline is not None:
            deadline = loop.call_later(self._deadline, self.stop, StopReason(RunState.DEADLINE, "deadline reached"))
        emit, self.lane.emit = self.lane.emit, self.emit
        try:
            async with asyncio.TaskGroup() as self.group:
                self._sending = self.group.create_task(sending, name="asyncgg-dispatcher")
                yield self.group
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None  # the others are consequences of the first
        finally:
            self.lane.emit = emit
            if deadline is not None:
                deadline.cancel()

    def start_request(self) -> None:
        """Note that a request is about to be sent."""
        if self.phase is SessionPhase.COLD:
            self.phase = SessionPhase.WARMING_UP
            self._warmup_started = self._clock()
            if not self.lane.outage.active:
                asyncio.get_running_loop().call_later(_WARMUP_TIMEOUT, self._end_warmup)

    async def request(
        self,
        send: Awaitable[T | ErrorResponse | NoResponse],
        core: str,
        things: tuple[str, ...],
        rules: AbortRules,
        failed: Callable[[ReplyVerdict, str, str], Event | None],
        failing_since: float | None,
        label: RequestLabel,
    ) -> Attempt[T]:
        """Await the reply of one request and apply it to the lane and the abort rules.

        `failed` makes an event from verdict, code and message of an error other than a throttle.
        `failing_since`: loop time of the first request for the same work that failed. `label`: what
        `RequestFinished` says about the request.
        """
        started, generation = self._clock(), self.lane.credential_generation
        verdict, message, event, retry_after = ReplyVerdict.LOST, "", None, None
        reply: T | ErrorResponse | NoResponse = _CANCELLED
        try:
            reply, verdict = await send, ReplyVerdict.ACCEPTED
            if isinstance(reply, ErrorResponse | NoResponse):
                reply = sanitize_reply(reply)
                verdict = classify(reply, core, things)
        except CredentialsError as error:
            reply, verdict = NoResponse("credentials", str(error), sent=False), ReplyVerdict.CREDENTIALS_EXPIRED
        finally:
            if self.has_listeners(RequestFinished):
                self.emit(to_event(label, core, len(things), reply, verdict, self._clock() - started))
        if isinstance(reply, ErrorResponse | NoResponse):
            self.last_error = message = describe_failure(reply)
            retry_after = reply.retry_after if isinstance(reply, ErrorResponse) else None
            event = None if verdict is ReplyVerdict.THROTTLED else failed(verdict, *code_and_message(reply))
        self.stop(self.lane.handle_reply(verdict, core, started, message, retry_after))
        if self.lane.outage.active:
            self._require_probe(started)
        else:
            self._end_warmup()
        if event is not None:
            self.emit(event)
        since, now = started if failing_since is None else failing_since, self._clock()
        particular = self.lane.outage.is_particular(since, now)
        self.stop(rules.record_reply(verdict, message, now, particular=particular))
        return Attempt(reply, verdict, started, generation, particular, retry_after)

    async def refresh(self, attempt: Attempt[Any]) -> None:
        """Get new credentials if those of `attempt` have expired; stop if this fails."""
        if attempt.verdict is ReplyVerdict.CREDENTIALS_EXPIRED:
            try:
                await self.lane.refresh(attempt.generation)
            except CredentialsError as error:
                self.stop(StopReason(RunState.ABORTED, str(error), is_auth_error=True))

    def _require_probe(self, started: float) -> None:
        """After a failure of everything, send one request and await its reply before any other."""
        is_probe = self.phase is SessionPhase.WARMING_UP and started >= self._warmup_started
        if is_probe or self.phase is SessionPhase.OPEN:
            self.phase = SessionPhase.COLD
            self.on_change()

    def _end_warmup(self) -> None:
        if self.phase is SessionPhase.WARMING_UP and not self.lane.outage.active:
            self.phase = SessionPhase.OPEN
            self.on_change()
