"""Streams with LlamaIndex's own events around them, that end when they are closed; and the event of a notice."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from typing import Any, TypeVar

from llama_index_instrumentation import get_dispatcher
from llama_index_instrumentation.base.event import BaseEvent

from agentroute import Notice

__all__ = ["RoutedNoticeEvent", "astream_with_events", "stream_with_events", "told_to_listeners"]

Chunk = TypeVar("Chunk")

_dispatcher = get_dispatcher(__name__)


class RoutedNoticeEvent(BaseEvent):
    """Something that somebody should be told of a routed call: the fields of an agentroute Notice."""

    kind: str
    message: str
    remedy: str
    decision_id: str
    target: str | None = None
    agent: str | None = None
    conversation_id: str | None = None
    usd: str | None = None

    @classmethod
    def class_name(cls) -> str:
        return "RoutedNoticeEvent"


def told_to_listeners(notice: Notice) -> None:
    """Whoever listens to LlamaIndex's instrumentation hears of it."""
    _dispatcher.event(RoutedNoticeEvent(**notice.to_dict()))


def stream_with_events(
    events: Callable[[], Callable[..., Any]],
    llm: Any,
    asked: Any,
    kwargs: Mapping[str, Any],
    begin: Callable[[], Generator[Chunk, None, None]],
) -> Generator[Chunk, None, None]:
    """`begin()`'s stream in the events of `llm_chat_callback` or `llm_completion_callback`.

    Their wrapper leaves an inner generator that is given up to the garbage collector; here it is closed, and with it
    the connection.
    """
    begun: list[Generator[Chunk, None, None]] = []

    def call(_llm: Any, _asked: Any, **_: Any) -> Generator[Chunk, None, None]:
        begun.append(begin())
        return begun[0]

    return _closing(events()(call)(llm, asked, **kwargs), begun[0])


def _closing(
    traced: Generator[Chunk, None, None], source: Generator[Chunk, None, None]
) -> Generator[Chunk, None, None]:
    try:
        yield from traced
    finally:
        source.close()


async def astream_with_events(
    events: Callable[[], Callable[..., Any]],
    llm: Any,
    asked: Any,
    kwargs: Mapping[str, Any],
    begin: Callable[[], AsyncGenerator[Chunk, None]],
) -> AsyncGenerator[Chunk, None]:
    """`stream_with_events` on an event loop."""
    begun: list[AsyncGenerator[Chunk, None]] = []

    async def call(_llm: Any, _asked: Any, **_: Any) -> AsyncGenerator[Chunk, None]:
        begun.append(begin())
        return begun[0]

    return _aclosing(await events()(call)(llm, asked, **kwargs), begun[0])


async def _aclosing(
    traced: AsyncGenerator[Chunk, None], source: AsyncGenerator[Chunk, None]
) -> AsyncGenerator[Chunk, None]:
    try:
        async for chunk in traced:
            yield chunk
    finally:
        await traced.aclose()
        await source.aclose()
