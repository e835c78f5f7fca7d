"""LangChain's v3 event streams, fed by a routed call: nothing happens until they are read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing
from typing import Any

from langchain_core.language_models.chat_model_stream import AsyncChatModelStream, ChatModelStream

__all__ = ["feed", "feed_async"]


def feed(stream: ChatModelStream, events: Generator[Any, None, None]) -> ChatModelStream:
    """The stream, which draws on `events` whenever its reader wants more. They put themselves into it."""

    def pump() -> bool:
        try:
            next(events)
        except StopIteration:
            return False
        except BaseException as error:
            stream.fail(error)
            return False
        return True

    stream.bind_pump(pump)
    return stream


def feed_async(stream: AsyncChatModelStream, events: AsyncGenerator[Any, None]) -> AsyncChatModelStream:
    """`feed` on an event loop, where a task draws on `events` from the first read on; `stream.aclose()` ends it."""

    async def produce() -> None:
        try:
            async with aclosing(events):
                async for _ in events:
                    pass
        except asyncio.CancelledError as error:
            stream.fail(error)
            raise
        except BaseException as error:
            stream.fail(error)

    async def start() -> None:
        # The stream has no other way to be told of its task, and langchain-core's own models do the same.
        if stream._producer_task is None:
            stream._producer_task = asyncio.get_running_loop().create_task(produce())

    stream.set_start(start)
    return stream
