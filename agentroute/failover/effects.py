"""What the failover flow may ask of a driver, and what a driver may answer: the whole seam between logic and I/O.

The flow (`flow.py`) is a generator. It yields one of the requests below and is sent one reply; it never sees a
client, a socket or an event loop, and never looks inside a payload.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Protocol, TypeAlias

from agentroute.errors import ProviderError
from agentroute.messages import ChatRequest, FinishReason, Usage
from agentroute.targets import Target

from .stop import Stop

__all__ = [
    "AsyncPerformer",
    "Clock",
    "Done",
    "Effect",
    "Emit",
    "Failed",
    "Flow",
    "Item",
    "Next",
    "Performer",
    "Reply",
    "Sent",
    "SystemClock",
    "Timeouts",
    "Try",
    "Wait",
]


class Clock(Protocol):
    """Time, as it comes in through a constructor: `monotonic` seconds for durations, `now` (UTC) for records."""

    def monotonic(self) -> float: ...
    def now(self) -> datetime: ...
    def sleep(self, seconds: float) -> None: ...
    async def asleep(self, seconds: float) -> None: ...


class SystemClock:
    """The machine's own time."""

    def monotonic(self) -> float:
        return time.monotonic()

    def now(self) -> datetime:
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    async def asleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds allowed for each phase of one attempt. Comments and pings of a stream do not reset a clock.

    `first_content` counts from the request, and so does `whole_answer`, which holds for an answer that is not streamed:
    nothing of it is seen before the model has written it all.

    `reasoning` is how long a model may think in silence: from the request, or from the last event in the middle of an
    answer. If it is larger it holds instead of the others, for a target whose capabilities name reasoning and while a
    thinking block or a reasoning item is open. 300 s: minutes are normal at high effort, and a model that is given up
    while it thinks is paid for nothing.
    """

    connect: float = 5.0
    first_content: float = 60.0
    between_events: float = 60.0
    whole_answer: float = 300.0
    reasoning: float = 300.0

    def for_reasoning(self, *, ready: bool = False) -> Timeouts:
        """The limits for a target that reasons. Of a `ready` model we do not see when it thinks between two events."""
        return replace(
            self,
            first_content=max(self.first_content, self.reasoning),
            whole_answer=max(self.whole_answer, self.reasoning),
            between_events=max(self.between_events, self.reasoning) if ready else self.between_events,
        )


@dataclass(frozen=True, slots=True)
class Try:
    """Begin an attempt: send this request to this target and reply with the first Sent, Item, Done or Failed.

    `deadline` is on the monotonic clock (seconds), None for no limit. `stream` False allows a plain JSON answer.
    `stop` is the call's stop button, if it has one. `before_wait` is awaited, on an event loop, before the performer
    waits for more of an answer: all that it has yielded since the last time came together.
    """

    target: Target
    request: ChatRequest
    stream: bool
    timeouts: Timeouts
    deadline: float | None = None
    stop: Stop | None = None
    before_wait: Callable[[], Awaitable[None]] | None = None


@dataclass(frozen=True, slots=True)
class Next:
    """Reply with what follows in the current attempt."""


@dataclass(frozen=True, slots=True)
class Emit:
    """Hand this payload to the caller; with `and_next`, then reply as to Next."""

    payload: Any
    and_next: bool = False


@dataclass(frozen=True, slots=True)
class Wait:
    """Let this many seconds pass."""

    seconds: float


Effect: TypeAlias = Try | Next | Emit | Wait


@dataclass(frozen=True, slots=True)
class Sent:
    """The request is about to go out. `changes` says in words what had to be repaired or left out for this target."""

    changes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Item:
    """One payload of the answer: our event for a wire target, the framework's own chunk for a native one.

    `usage` is the provider's count so far, where this payload told it: what an attempt cost that breaks off later.
    """

    payload: Any
    is_content: bool
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """The answer is complete. `usage` and `finish_reason` are what the provider said, or None."""

    usage: Usage | None = None
    finish_reason: FinishReason | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Failed:
    """The attempt failed; the error's class decides what follows."""

    error: ProviderError


Reply: TypeAlias = Sent | Item | Done | Failed

Flow: TypeAlias = Generator[Effect, Reply | None, None]
"""Try, Next and Emit with `and_next` are answered with a Reply, the others with None. Any other exception of the
driver's is thrown in."""


class Performer(Protocol):
    """Performs attempts, synchronously. Closing the iterator closes the connection behind it.

    Yields Sent (where the request had to be changed), Items and then one Done; raises a ProviderError where the attempt
    fails. A driver closes the iterator (where it has a `close`, as generators have) as soon as it is done with it, in
    every case.
    """

    def perform(self, attempt: Try) -> Iterator[Sent | Item | Done]: ...


class AsyncPerformer(Protocol):
    """The same on an event loop."""

    def perform(self, attempt: Try) -> AsyncIterator[Sent | Item | Done]: ...
