"""One routed call, run at most once, and the streams that give its answer as events."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Self

from .decisions import Decision
from .errors import AgentRouteError, StreamInterrupted
from .events import Event, fold
from .failover.drivers import adrive, drive
from .failover.effects import AsyncPerformer, Performer
from .failover.flow import Log, Plan, flow
from .messages import ChatRequest, ChatResponse
from .routing.economics import step_cost
from .routing.prefix import Prefix
from .targets import Target

if TYPE_CHECKING:
    from .router import Router

__all__ = ["AsyncResponseStream", "Call", "ResponseStream"]

logger = logging.getLogger("agentroute")


class Call:
    """One routed call: decided, and run at most once. `decision` is the plan before, the whole record after.

    `baseline_warm` tokens lie in the baseline's cache, had it served the conversation so far; `baseline_alone` says
    that nobody else did, as far as is known, so that its own bill is the baseline where it serves this step too.

    With a performer of its own, an integration runs native models through the same chain: payloads are then whatever
    its performer yields, untouched.
    """

    def __init__(
        self,
        router: Router,
        request: ChatRequest,
        decision: Decision,
        plan: Plan,
        prefix: Prefix,
        baseline_warm: int,
        *,
        baseline_alone: bool,
    ) -> None:
        self.request = request
        self.decision = decision
        self._router = router
        self._plan = plan
        self._prefix = prefix
        self._baseline_warm = baseline_warm
        self._baseline_alone = baseline_alone
        self._begun = False

    @property
    def targets(self) -> tuple[Target, ...]:
        """The targets that may be tried, in order."""
        return self._plan.targets

    def run(self, performer: Performer | None = None) -> Generator[Any, None, None]:
        """Performs the call and yields its payloads (our events on our own transport). Raises RuntimeError where begun
        already."""
        log = self._begin()
        clock = self._router.clock
        try:
            yield from drive(flow(self._plan, log, clock), performer or self._router.performer, clock)
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

    async def arun(self, performer: AsyncPerformer | None = None) -> AsyncGenerator[Any, None]:
        """`run` on an event loop. Close the iterator (`aclose`) where it is not read to its end."""
        log = self._begin()
        clock = self._router.clock
        payloads = adrive(flow(self._plan, log, clock), performer or self._router.async_performer, clock)
        try:
            async for payload in payloads:
                yield payload
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
        return Log()

    def _finish(self, log: Log) -> None:
        if self.decision.outcome != "planned":
            return
        router, planned, usage, served = self._router, self.decision, log.usage, log.winner
        baseline_cost = planned.baseline_cost
        # A target with several keys is served by a copy that holds one of them.
        if (
            served is not None
            and served.name == router.baseline.name
            and self._baseline_alone
            and log.attempts[-1].cost is not None
        ):
            baseline_cost = log.attempts[-1].cost
        elif usage is not None and usage.input_tokens is not None and usage.output_tokens is not None:
            baseline_cost = step_cost(
                router.baseline, usage.input_tokens, usage.output_tokens, self._baseline_warm
            ).cost
        self.decision = replace(
            planned,
            target=served.name if served is not None else planned.target,
            tier=served.tier if served is not None and served.tier is not None else planned.tier,
            attempts=tuple(log.attempts),
            usage=usage,
            cost=_spent(log),
            baseline_cost=baseline_cost,
            outcome="abandoned" if log.outcome == "planned" else log.outcome,
            warnings=tuple(log.warnings),
        )
        try:
            router.ledger.append(self.decision)
        except Exception:
            logger.exception("the ledger did not take decision %s", self.decision.id)
        if served is None or log.outcome != "ok":
            return
        try:
            router.observe(self._prefix, served.name, usage, planned.estimated_usage)
        except Exception:
            logger.exception("the affinity did not take decision %s", self.decision.id)


class ResponseStream:
    """A streamed answer: a context manager that iterates events. `response` and `decision` are whole afterwards."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._events: list[Event] = []
        self._source = call.run()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Event]:
        try:
            for event in self._source:
                self._events.append(event)
                yield event
        except StreamInterrupted as error:
            error.partial = self.response
            raise

    def close(self) -> None:
        """Gives up what was not read: closes the connection and records the decision, where the call had begun."""
        self._source.close()

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
        self._source = call.arun()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def __aiter__(self) -> AsyncIterator[Event]:
        try:
            async for event in self._source:
                self._events.append(event)
                yield event
        except StreamInterrupted as error:
            error.partial = self.response
            raise

    async def aclose(self) -> None:
        """Gives up what was not read: closes the connection and records the decision, where the call had begun."""
        await self._source.aclose()

    @property
    def decision(self) -> Decision:
        return self._call.decision

    @property
    def response(self) -> ChatResponse:
        """What has arrived so far; the whole response once the stream has ended."""
        return replace(fold(self._events), decision=self.decision)


def _spent(log: Log) -> Decimal | None:
    """The cost of all attempts, or None where one that gave content has no known cost.

    An attempt that failed before its first content is taken to be free; where it may have been billed all the same, its
    record says so (`possible_duplicate_cost`).
    """
    total = Decimal(0)
    for attempt in log.attempts:
        if attempt.cost is not None:
            total += attempt.cost
        elif attempt.outcome != "failed":
            return None
    return total
