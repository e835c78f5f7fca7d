"""Performs attempts on LangChain models through their public API: one LLM run for each attempt."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Generator, Iterator, Mapping
from contextlib import aclosing, closing
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias, cast

from langchain_core.callbacks import (
    AsyncCallbackManager,
    AsyncCallbackManagerForChainRun,
    CallbackManager,
    CallbackManagerForChainRun,
)
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, UsageMetadata
from langchain_core.messages.ai import add_usage
from langchain_core.rate_limiters import BaseRateLimiter
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import patch_config

from agentroute import ProviderError, Router, Target
from agentroute.failover.effects import Done, Item, Sent, Try
from agentroute.messages import Usage
from agentroute.native.errors import cut_short
from agentroute.native.limits import Phase, within
from agentroute.providers import PROVIDERS

from .answers import Shape
from .conversation import prepared
from .messages import done_of, finish_of, has_content, read_usage
from .native_errors import provider_error
from .options import Options
from .shown import Seen, shows_content
from .wire_model import WireChatModel

__all__ = ["AsyncModelPerformer", "Attempts", "ModelPerformer", "OnPartial"]

OnPartial: TypeAlias = Literal["raise", "restart"]


@dataclass(slots=True, repr=False)
class Attempts:
    """What every attempt of one call has in common. `attempts` counts them."""

    router: Router
    messages: list[BaseMessage]
    options: Options
    config: RunnableConfig
    target_kwargs: Mapping[str, Mapping[str, Any]]
    rate_limiter: BaseRateLimiter | None
    settings: Mapping[str, Any]
    constraints: Mapping[str, Any]
    on_partial: OnPartial = "raise"
    attempts: int = 0

    def open_attempt(self, attempt: Try, callbacks: CallbackManager | AsyncCallbackManager) -> _Attempt:
        """The model to call for this attempt, and what with."""
        self.attempts += 1
        target = attempt.target
        seen = Seen()
        callbacks.add_handler(seen, inherit=False)
        config = patch_config(self.config, callbacks=callbacks)
        config["metadata"] = {
            **(self.config.get("metadata") or {}),
            "agentroute_target": target.name,
            "agentroute_attempt": self.attempts,
        }
        own = self.target_kwargs.get(target.name, {})
        model: BaseChatModel | None = self.router.models.get(target.name)
        if model is not None:
            kwargs, warnings = self.options.for_native(model, target, own)
            tools = kwargs.get("tools") or ()
            read = attempt.request.messages
            call = prepared(model, self.messages, kwargs, target=target, pool=self.router.pool, tools=tools, read=read)
            model = call.model.model_copy(update=self.settings) if self.settings else call.model
            return _Attempt(model, call.messages, call.kwargs, config, seen, (*warnings, *call.warnings))
        request, warnings = self.options.for_wire(attempt.request, target, own)
        asynchronous = isinstance(callbacks, AsyncCallbackManager)
        wire = WireChatModel.of(
            replace(attempt, request=request),
            performer=None if asynchronous else self.router.performer,
            async_performer=self.router.async_performer if asynchronous else None,
            **self.settings,
        )
        return _Attempt(wire, self.messages, self.options.for_trace(own), config, seen, tuple(warnings))


@dataclass(slots=True, repr=False)
class _Attempt:
    """One attempt as it goes: the call's arguments, then what the model reports."""

    model: BaseChatModel
    messages: list[BaseMessage]
    kwargs: dict[str, Any]
    config: RunnableConfig
    seen: Seen
    warnings: tuple[str, ...]
    usage: UsageMetadata | None = None
    said: dict[str, Any] = field(default_factory=dict)

    def item(self, payload: AIMessage | Mapping[str, Any]) -> Item:
        """A message, a chunk, or an event of LangChain's v3 streaming, and what it reports."""
        if isinstance(payload, AIMessage):
            if payload.usage_metadata:
                self.usage = add_usage(self.usage, payload.usage_metadata) if self.usage else payload.usage_metadata
            if payload.response_metadata:
                self.said |= payload.response_metadata
            return Item(payload, has_content(payload), self._counted(payload.usage_metadata))
        if payload["event"] == "message-finish":
            self.usage = payload.get("usage")
            self.said |= payload.get("metadata") or {}
        return Item(payload, shows_content(payload), self._counted(payload.get("usage")))

    def _counted(self, told: UsageMetadata | None) -> Usage | None:
        """The provider's count so far, where it has told any more of it."""
        if isinstance(self.model, WireChatModel):
            return self.model.done.usage
        return None if told is None else read_usage(self.usage)

    def partial(self) -> Item | None:
        """What callbacks have shown of an answer that was invoked and broke off."""
        if not self.seen.chunks:
            return None
        shown = self.seen.partial()
        # An answer that came and has no end has been counted already.
        self.usage = self.usage or shown.usage_metadata
        return Item(shown, is_content=True, usage=self._counted(self.usage))

    def unfinished(self, target: Target) -> ProviderError | None:
        """What is wrong with an answer that ended without saying why: LangChain makes half a tool call a whole one.

        Only known providers are held to it; others may never say.
        """
        if isinstance(self.model, WireChatModel) or target.provider not in PROVIDERS or finish_of(self.said):
            return None
        return cut_short(target)

    def sent(self) -> tuple[Sent, ...]:
        """What our own transport had to change of the request, if anything."""
        return self.model.sent if isinstance(self.model, WireChatModel) else ()

    def done(self) -> Done:
        done = self.model.done if isinstance(self.model, WireChatModel) else done_of(self.usage, self.said)
        return replace(done, warnings=(*done.warnings, *self.warnings)) if self.warnings else done


class ModelPerformer:
    """Performs attempts synchronously, as children of one chain run.

    A native model keeps to its own time limits: nothing can interrupt it.
    """

    def __init__(self, attempts: Attempts, run: CallbackManagerForChainRun, shape: Shape) -> None:
        self._attempts = attempts
        self._run = run
        self._shape = shape

    def perform(self, attempt: Try) -> Iterator[Sent | Item | Done]:
        a = self._attempts.open_attempt(attempt, self._run.get_child())
        whole: Item | None = None
        failure: ProviderError | None = None
        try:
            if self._attempts.rate_limiter is not None:
                self._attempts.rate_limiter.acquire(blocking=True)
            if self._shape == "message":
                whole = a.item(a.model.invoke(a.messages, a.config, **a.kwargs))
            else:
                with closing(self._payloads(a)) as payloads:
                    for payload in payloads:
                        yield a.item(payload)
            failure = a.unfinished(attempt.target)
        except Exception as error:
            failure = provider_error(error, attempt.target.name)
            if failure is None:
                raise
        finally:
            if isinstance(a.model, WireChatModel):
                a.model.close()
        yield from a.sent()
        if failure is not None:
            shown = a.partial() if self._shape == "message" and self._attempts.on_partial == "raise" else None
            if shown is not None:
                yield shown
            raise failure
        if whole is not None:
            yield whole
        yield a.done()

    def _payloads(self, a: _Attempt) -> Generator[Any, None, None]:
        if self._shape == "events":
            yield from a.model.stream_events(a.messages, a.config, version="v3", **a.kwargs)
            return
        # Typed as an Iterator, and a generator in every model that streams or falls back to invoke.
        with closing(cast("Any", a.model.stream(a.messages, a.config, **a.kwargs))) as chunks:
            yield from chunks


class AsyncModelPerformer:
    """The same on an event loop, where a native model is held to the time limits of the attempt too."""

    def __init__(self, attempts: Attempts, run: AsyncCallbackManagerForChainRun, shape: Shape) -> None:
        self._attempts = attempts
        self._run = run
        self._shape = shape

    async def perform(self, attempt: Try) -> AsyncIterator[Sent | Item | Done]:
        a = self._attempts.open_attempt(attempt, self._run.get_child())
        whole: Item | None = None
        failure: ProviderError | None = None
        try:
            if self._attempts.rate_limiter is not None:
                await self._attempts.rate_limiter.aacquire(blocking=True)
            if self._shape == "message":
                answer = a.model.ainvoke(a.messages, a.config, **a.kwargs)
                answer = await self._within(a, attempt, "whole_answer", answer)
                whole = a.item(answer)
            else:
                phase: Phase = "first_content"
                since = self._attempts.router.clock.monotonic()
                async with aclosing(self._payloads(a)) as payloads:
                    while True:
                        payload = await self._within(a, attempt, phase, anext(payloads, None), since)
                        if payload is None:
                            break
                        item = a.item(payload)
                        yield item
                        if item.is_content:
                            phase, since = "between_events", self._attempts.router.clock.monotonic()
            failure = a.unfinished(attempt.target)
        except Exception as error:
            failure = provider_error(error, attempt.target.name)
            if failure is None:
                raise
        finally:
            if isinstance(a.model, WireChatModel):
                await a.model.aclose()
        for sent in a.sent():
            yield sent
        if failure is not None:
            shown = a.partial() if self._shape == "message" and self._attempts.on_partial == "raise" else None
            if shown is not None:
                yield shown
            raise failure
        if whole is not None:
            yield whole
        yield a.done()

    async def _payloads(self, a: _Attempt) -> AsyncGenerator[Any, None]:
        if self._shape == "events":
            async with await a.model.astream_events(a.messages, a.config, version="v3", **a.kwargs) as events:
                async for event in events:
                    yield event
            return
        async with aclosing(cast("Any", a.model.astream(a.messages, a.config, **a.kwargs))) as chunks:
            async for chunk in chunks:
                yield chunk

    async def _within(
        self, a: _Attempt, attempt: Try, phase: Phase, answer: Awaitable[Any], since: float | None = None
    ) -> Any:
        """Our own transport sees to the limits itself."""
        if isinstance(a.model, WireChatModel):
            return await answer
        return await within(attempt, phase, self._attempts.router.clock, answer, since=since)
