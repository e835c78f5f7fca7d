"""Streams with LlamaIndex's own events around them, that end when they are closed."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from typing import Any, TypeVar

__all__ = ["astream_with_events", "stream_with_events"]

Chunk = TypeVar("Chunk")


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
