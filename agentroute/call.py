"""One routed call, run at most once, and the streams that give its answer as events."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import Any, Self

from .accounting import Baseline, completed
from .decisions import Decision
from .errors import AgentRouteError, BudgetExceeded, StreamInterrupted
from .events import Event, fold
from .failover.drivers import adrive, drive
from .failover.effects import AsyncPerformer, Clock, Performer
from .failover.flow import Log, Plan, flow
from .failover.stop import Stop
from .ledger.budget import Hold
from .ledger.notices import Notice, OnNotice, tell
from .messages import ChatRequest, ChatResponse
from .targets import Target

__all__ = ["AsyncResponseStream", "Call", "ResponseStream"]

logger = logging.getLogger("agentroute")


class Call:
    """One routed call: decided, and run at most once. `decision` is the plan before, the whole record after.

    Integrations run ready models through the same failover flow with a performer of their own: payloads are then
    whatever that performer yields, untouched. `performer` and `async_performer` give our own transport when it is first
    needed; `reserve` sets aside what the call may cost, when it begins; `ended` is called once with the record, and
    gives it back with what the router knows besides, and what is to be told of it. `heard` is called with the answer,
    if there is a whole one: by itself if the payloads are our events, else when the integration calls `answered`.

    `notices` is what was told once the call has ended; `on_notice` hears of each too.
    """

    def __init__(
        self,
        decision: Decision,
        plan: Plan,
        baseline: Baseline,
        *,
        clock: Clock,
        performer: Callable[[], Performer],
        async_performer: Callable[[], AsyncPerformer],
        ended: Callable[[Decision, Hold | None], tuple[Decision, tuple[Notice, ...]]],
        refused: Callable[[BudgetExceeded, Decision], tuple[Notice, ...]],
        reserve: Callable[[], Hold] | None = None,
        max_cost: Decimal | None = None,
        heard: Callable[[Decision, ChatResponse], None] | None = None,
    ) -> None:
        self.decision = decision
        self._plan = plan
        self._baseline = baseline
        self._clock = clock
        self._performer = performer
        self._async_performer = async_performer
        self.notices: tuple[Notice, ...] = ()
        self.on_notice: OnNotice | None = None
        self._ended = ended
        self._refused = refused
        self._reserve = reserve
        self._max_cost = max_cost
        self._hold: Hold | None = None
        self._heard = heard
        self._events: list[Any] = []
        self._begun = False

    @property
    def request(self) -> ChatRequest:
        return self._plan.request

    @property
    def targets(self) -> tuple[Target, ...]:
        """The targets that may be tried, in order."""
        return self._plan.targets

    def run(self, performer: Performer | None = None, stop: Stop | None = None) -> Generator[Any, None, None]:
        """Performs the call and yields its payloads (our events on our own transport). Raises RuntimeError if it has
        begun already, BudgetExceeded if a budget does not hold it."""
        log = self._begin()
        try:
            payloads = drive(flow(self._plan, log, self._clock), performer or self._performer(), self._clock, stop)
            yield from payloads if self._heard is None else self._kept(payloads)
        except AgentRouteError as error:
            self._finish(log)
            error.decision = self.decision
            # The frames below hold the request: a traceback that shows locals would show the conversation.
            error.__traceback__ = None
            raise
        except (KeyboardInterrupt, asyncio.CancelledError) as error:
            error.__traceback__ = None
            raise
        finally:
            self._finish(log)

    async def arun(
        self, performer: AsyncPerformer | None = None, stop: Stop | None = None
    ) -> AsyncGenerator[Any, None]:
        """`run` on an event loop. Close the iterator (`aclose`) if it is not read to its end."""
        log = self._begin()
        payloads = adrive(flow(self._plan, log, self._clock), performer or self._async_performer(), self._clock, stop)
        try:
            heard = self._heard is not None
            async for payload in payloads:
                if heard:
                    self._events.append(payload)
                yield payload
                del payload  # A cancellation's traceback shows this frame, and may show its locals.
        except AgentRouteError as error:
            self._finish(log)
            error.decision = self.decision
            # The frames below hold the request: a traceback that shows locals would show the conversation.
            error.__traceback__ = None
            raise
        except (KeyboardInterrupt, asyncio.CancelledError) as error:
            error.__traceback__ = None
            raise
        finally:
            try:
                await payloads.aclose()
            finally:
                self._finish(log)

    def _begin(self) -> Log:
        if self._begun:
            raise RuntimeError("this call has begun already; prepare another one")
        self._begun = True
        if self._reserve is not None:
            try:
                self._hold = self._reserve()
            except BudgetExceeded as error:
                error.decision = self.decision
                error.__traceback__ = None
                self._tell(self._refused(error, self.decision))
                raise
        return Log()

    def _finish(self, log: Log) -> None:
        if self.decision.outcome == "planned":
            self.decision = completed(self.decision, log, self._baseline, self._max_cost)
            if self._hold is not None:
                self._hold.settle(self.decision)
            self.decision, notices = self._ended(self.decision, self._hold)
            self._tell(notices)
            if self._events and isinstance(self._events[0], Event):
                self.answered(partial(fold, self._events))
            self._events.clear()

    def _tell(self, notices: tuple[Notice, ...]) -> None:
        self.notices = notices
        if self.on_notice is not None:
            for notice in notices:
                tell(self.on_notice, notice)

    def _kept(self, payloads: Generator[Any, None, None]) -> Generator[Any, None, None]:
        with closing(payloads):
            for payload in payloads:
                self._events.append(payload)
                yield payload
                del payload  # As in `arun`.

    def answered(self, read: Callable[[], ChatResponse | None]) -> None:
        """For integrations whose payloads are not our events: `read` gives the whole answer, and is called if somebody
        wants to hear it. Nothing is raised."""
        heard, self._heard = self._heard, None
        if heard is None or self.decision.outcome != "ok":
            return
        try:
            response = read()
            if response is not None:
                heard(self.decision, response)
        except Exception as error:
            # What went wrong may quote the answer, so its class alone is told.
            logger.warning("the answer of decision %s was not heard: %s", self.decision.id, type(error).__name__)


class ResponseStream:
    """A streamed answer: a context manager that iterates events. `response` and `decision` are whole afterwards."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._events: list[Event] = []
        self._stop = Stop()
        self._source = call.run(stop=self._stop)
        self._in_use = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Event]:
        try:
            while count := self._next():
                yield self._events[count - 1]
        except StreamInterrupted as error:
            error.partial = self.response
            raise

    def _next(self) -> int:
        """How many events there are with the one that came now; 0 at the end. No frame that waits holds an event: a
        traceback that shows locals would show the answer."""
        with self._in_use:
            event = next(self._source, None)
            if event is None:
                return 0
            if self._stop.pressed:
                self._source.close()
                return 0
            self._events.append(event)
            return len(self._events)

    def close(self) -> None:
        """Gives up what was not read: closes the connection and records the decision, where the call had begun.

        Any thread may do it. One that waits for the next event, or is being handed one, gets no more, as at the end of
        a stream, and records the decision then.
        """
        if not self._in_use.acquire(blocking=False):
            self._stop.press()
            if not self._in_use.acquire(blocking=False):
                return
        try:
            self._source.close()
        finally:
            self._in_use.release()

    @property
    def decision(self) -> Decision:
        return self._call.decision

    @property
    def response(self) -> ChatResponse:
        """What has arrived so far; the whole response once the stream has ended."""
        return replace(fold(self._events), decision=self.decision)


class AsyncResponseStream:
    """`ResponseStream` on an event loop."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._events: list[Event] = []
        self._stop = Stop()
        self._source = call.arun(stop=self._stop)
        self._in_use = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def __aiter__(self) -> AsyncIterator[Event]:
        try:
            while count := await self._next():
                yield self._events[count - 1]
        except StreamInterrupted as error:
            error.partial = self.response
            raise

    async def _next(self) -> int:
        if self._in_use:
            raise RuntimeError("another task is reading this stream; let one task read it")
        self._in_use = True
        try:
            event = await anext(self._source, None)
            if event is None:
                return 0
            if self._stop.pressed:
                del event
                await self._source.aclose()
                return 0
            self._events.append(event)
            return len(self._events)
        finally:
            self._in_use = False

    async def aclose(self) -> None:
        """Gives up what was not read: closes the connection and records the decision, where the call had begun.

        Any task of the same event loop may do it. One that waits for the next event gets no more, as at the end of a
        stream, and records the decision then.
        """
        if self._in_use:
            self._stop.press()
        else:
            await self._source.aclose()

    @property
    def decision(self) -> Decision:
        return self._call.decision

    @property
    def response(self) -> ChatResponse:
        """What has arrived so far; the whole response once the stream has ended."""
        return replace(fold(self._events), decision=self.decision)
