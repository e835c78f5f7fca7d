"""Performs attempts: our own transport for wire targets, a LlamaIndex model's public methods for native ones."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing, closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, ChatResponse
from llama_index.core.callbacks import CallbackManager
from llama_index.core.llms import LLM
from llama_index_instrumentation.dispatcher import active_instrument_tags, instrument_tags

from agentroute import BadResponse, ProviderError, Router, Target
from agentroute.events import Event, fold, is_content
from agentroute.failover.effects import Done, Item, Sent, Try
from agentroute.history import mend
from agentroute.native.errors import cut_short
from agentroute.native.limits import Phase, within

from .answers import StreamWriter, done_of, has_content, write_answer
from .loops import borrowed
from .messages import opaque, portable, write_history
from .native_errors import native_error
from .options import Options
from .pool import close_connections

__all__ = ["AsyncLLMPerformer", "Attempts", "LLMPerformer", "Piece"]


@dataclass(frozen=True, slots=True)
class Piece:
    """A chunk of the answer, or the whole of it. `content`: it brings something new of it."""

    response: ChatResponse
    content: bool


@dataclass(slots=True)
class Attempts:
    """What every attempt of one call has in common. `attempts` counts them."""

    router: Router
    messages: Sequence[ChatMessage]
    options: Options
    target_kwargs: Mapping[str, Mapping[str, Any]]
    callback_manager: CallbackManager
    attempts: int = 0

    def origin(self, name: str) -> str | None:
        target = self.router.pool.get(name)
        return None if target is None else target.origin

    def for_wire(self, attempt: Try) -> Try:
        """The attempt with what its target alone is given."""
        self.attempts += 1
        own = self.target_kwargs.get(attempt.target.name, {})
        return replace(attempt, request=self.options.for_wire(attempt.request, own))

    def open_attempt(self, model: LLM, attempt: Try) -> _Native:
        """The native model's call for this attempt."""
        self.attempts += 1
        target = attempt.target
        call = self.options.for_native(model, self.target_kwargs.get(target.name, {}))
        kwargs = call.kwargs
        if attempt.stream and type(model).__module__ == _OPENAI:
            # Without it OpenAI does not say what a stream has used.
            kwargs.setdefault("stream_options", {"include_usage": True})
        messages = portable(self.messages, target, self.origin)
        mended = mend(attempt.request.messages, target, opaque(self.messages))
        if mended is not None:
            messages = mended.written(messages, write_history)
        if call.tools is None:
            names = ("chat", "stream_chat")
            arguments: dict[str, Any] = {"messages": messages, **kwargs}
        else:
            names = ("chat_with_tools", "stream_chat_with_tools")
            arguments = {"tools": call.tools, "chat_history": messages, **kwargs}
        tags = {"agentroute_target": target.name, "agentroute_attempt": self.attempts}
        changes = () if mended is None else mended.changes
        return _Native(self._counted_once(model), names[attempt.stream], arguments, target, tags, changes)

    def _counted_once(self, model: LLM) -> LLM:
        """The model without the callback handlers that already hear of this call from the RoutedLLM."""
        ours = self.callback_manager.handlers
        theirs = model.callback_manager.handlers
        if not any(handler in ours for handler in theirs):
            return model
        manager = CallbackManager()
        manager.handlers = [handler for handler in theirs if handler not in ours]
        return model.model_copy(update={"callback_manager": manager})


_OPENAI = "llama_index.llms.openai.base"


@dataclass(slots=True)
class _Native:
    """One attempt at a native model as it goes: how it is called, then what it reports."""

    model: LLM
    method: str
    arguments: dict[str, Any]
    target: Target
    tags: dict[str, Any]
    changes: tuple[str, ...]
    done: Done = field(default_factory=Done)
    before: ChatResponse | None = None
    ends_with_a_reason: bool = False

    @contextmanager
    def tagged(self) -> Iterator[None]:
        """Events and spans of the model's own carry these tags, to be told from the RoutedLLM's."""
        with instrument_tags({**active_instrument_tags.get(), **self.tags}):
            yield

    def whole(self, response: ChatResponse) -> Item:
        self.done = done_of(response)
        return Item(Piece(response, content=True), is_content=True, usage=self.done.usage)

    def item(self, chunk: ChatResponse) -> Item:
        done = done_of(chunk)
        self.done = Done(done.usage or self.done.usage, done.finish_reason or self.done.finish_reason)
        content = has_content(chunk, self.before)
        self.before = chunk
        raw = chunk.raw
        self.ends_with_a_reason = hasattr(raw, "choices") or (isinstance(raw, dict) and "choices" in raw)
        return Item(Piece(chunk, content), content, self.done.usage)

    def unfinished(self) -> ProviderError | None:
        """What is wrong with a stream that ended too early: half a tool call would pass for a whole one.

        Only answers of OpenAI's form are held to their finish reason; others may never give one.
        """
        name = self.target.name
        if self.before is None:
            return BadResponse(f"target {name!r}: the answer ended before it began", target=name)
        if self.ends_with_a_reason and self.done.finish_reason is None:
            return cut_short(self.target)
        return None


class _Wire:
    """One attempt at a wire target: its events become pieces."""

    def __init__(self, attempt: Try) -> None:
        self._target = attempt.target
        self._stream = attempt.stream
        self._writer = StreamWriter(attempt.target)
        self._events: list[Event] = []

    def take(self, item: Sent | Item | Done) -> Iterator[Sent | Item | Done]:
        if isinstance(item, Sent):
            yield item
        elif isinstance(item, Done):
            last = self._writer.last() if self._stream else write_answer(fold(self._events), self._target)
            yield Item(Piece(last, content=not self._stream), is_content=not self._stream, usage=item.usage)
            yield item
        elif not self._stream:
            self._events.append(item.payload)
        else:
            chunk = self._writer.write(item.payload)
            if chunk is not None:
                yield Item(Piece(chunk, content=True), is_content(item.payload), item.usage)
            elif item.usage is not None:
                yield Item(None, is_content=False, usage=item.usage)


class LLMPerformer:
    """Performs attempts synchronously."""

    def __init__(self, attempts: Attempts) -> None:
        self._attempts = attempts

    def perform(self, attempt: Try) -> Iterator[Sent | Item | Done]:
        model: LLM | None = self._attempts.router.models.get(attempt.target.name)
        if model is not None:
            yield from self._native(model, attempt)
            return
        wire = _Wire(attempt)
        with closing(self._attempts.router.performer.perform(self._attempts.for_wire(attempt))) as items:
            for item in items:
                yield from wire.take(item)

    def _native(self, model: LLM, attempt: Try) -> Iterator[Item | Done]:
        native = self._attempts.open_attempt(model, attempt)
        failure: ProviderError | None = None
        chunks: Any = None
        try:
            with native.tagged():
                given = getattr(native.model, native.method)(**native.arguments)
            if attempt.stream:
                chunks = given
                while True:
                    with native.tagged():
                        chunk = next(chunks, None)
                    if chunk is None:
                        break
                    yield native.item(chunk)
                failure = native.unfinished()
            else:
                yield native.whole(given)
        except Exception as error:
            failure = native_error(error, attempt.target.name)
            if failure is None:
                raise
        finally:
            if hasattr(chunks, "close"):
                chunks.close()
        if failure is not None:
            raise failure
        yield replace(native.done, warnings=native.changes)


class AsyncLLMPerformer:
    """The same on an event loop, where a native model is held to the time limits of the attempt too."""

    def __init__(self, attempts: Attempts) -> None:
        self._attempts = attempts

    async def perform(self, attempt: Try) -> AsyncIterator[Sent | Item | Done]:
        model: LLM | None = self._attempts.router.models.get(attempt.target.name)
        if model is not None:
            items = self._native(model, attempt)
            async with borrowed(model, partial(close_connections, model)), aclosing(items) as native:
                async for reply in native:
                    yield reply
            return
        wire = _Wire(attempt)
        performer = self._attempts.router.async_performer
        sent = performer.perform(self._attempts.for_wire(attempt))
        async with borrowed(performer, performer.aclose), aclosing(sent) as events:
            async for event in events:
                for item in wire.take(event):
                    yield item

    async def _native(self, model: LLM, attempt: Try) -> AsyncGenerator[Item | Done, None]:
        native = self._attempts.open_attempt(model, attempt)
        clock = self._attempts.router.clock
        failure: ProviderError | None = None
        chunks: Any = None
        try:
            phase: Phase = "first_content" if attempt.stream else "whole_answer"
            with native.tagged():
                answer = getattr(native.model, f"a{native.method}")(**native.arguments)
                given = await within(attempt, phase, clock, answer)
            if attempt.stream:
                chunks = given
                while True:
                    with native.tagged():
                        chunk = await within(attempt, phase, clock, anext(chunks, None))
                    if chunk is None:
                        break
                    item = native.item(chunk)
                    if item.is_content:
                        phase = "between_events"
                    yield item
                failure = native.unfinished()
            else:
                yield native.whole(given)
        except Exception as error:
            failure = native_error(error, attempt.target.name)
            if failure is None:
                raise
        finally:
            if hasattr(chunks, "aclose"):
                await chunks.aclose()
        if failure is not None:
            raise failure
        yield replace(native.done, warnings=native.changes)
