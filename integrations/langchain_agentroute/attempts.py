"""Performs attempts on LangChain models through their public API: one LLM run for each attempt."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import aclosing, closing
from dataclasses import dataclass, field, replace
from typing import Any, cast

from langchain_core.callbacks import (
    AsyncCallbackManager,
    AsyncCallbackManagerForChainRun,
    BaseCallbackHandler,
    CallbackManager,
    CallbackManagerForChainRun,
)
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import add_ai_message_chunks, add_usage
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.rate_limiters import BaseRateLimiter
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import patch_config

from agentroute import BadResponse, ProviderError, Router, Target
from agentroute.effects import Done, Item, Sent, Try
from agentroute.providers import PROVIDERS

from .messages import done_of, finish_of, has_content, origin_of, portable
from .native_errors import provider_error
from .options import Options
from .wire_model import WireChatModel

__all__ = ["AsyncModelPerformer", "ModelPerformer", "Step"]


@dataclass(slots=True)
class Step:
    """What every attempt of one call has in common. `attempts` counts them."""

    router: Router
    models: Mapping[str, BaseChatModel]
    messages: list[BaseMessage]
    options: Options
    config: RunnableConfig
    target_kwargs: Mapping[str, Mapping[str, Any]]
    rate_limiter: BaseRateLimiter | None
    settings: Mapping[str, Any]
    attempts: int = 0

    def begin(self, attempt: Try, callbacks: CallbackManager | AsyncCallbackManager) -> _Attempt:
        """The model to call for this attempt, and what with."""
        self.attempts += 1
        target = attempt.target
        seen = _Seen()
        callbacks.add_handler(seen, inherit=False)
        config = patch_config(self.config, callbacks=callbacks)
        config["metadata"] = {
            **(self.config.get("metadata") or {}),
            "agentroute_target": target.name,
            "agentroute_attempt": self.attempts,
        }
        own = self.target_kwargs.get(target.name, {})
        model = self.models.get(target.name)
        if model is not None:
            kwargs, warnings = self.options.for_native(model, target, own)
            if self.settings:
                model = model.model_copy(update=self.settings)
            return _Attempt(model, self._messages_for(target), kwargs, config, seen, tuple(warnings))
        request, warnings = self.options.for_wire(attempt.request, target, own)
        asynchronous = isinstance(callbacks, AsyncCallbackManager)
        wire = WireChatModel.of(
            replace(attempt, request=request),
            performer=None if asynchronous else self.router.performer,
            async_performer=self.router.async_performer if asynchronous else None,
            **self.settings,
        )
        return _Attempt(wire, self.messages, self.options.for_trace(), config, seen, tuple(warnings))

    def _messages_for(self, target: Target) -> list[BaseMessage]:
        """The conversation for a native model: what another family of models wrote, as text and tool calls only."""
        return [
            portable(message) if isinstance(message, AIMessage) and self._foreign(message, target) else message
            for message in self.messages
        ]

    def _foreign(self, message: AIMessage, target: Target) -> bool:
        name = origin_of(message)
        if name is None:
            # Not ours: all there is to go by is the provider its own integration noted, if it did.
            provider = message.response_metadata.get("model_provider")
            return provider is not None and provider != self.models[target.name]._get_ls_params().get("ls_provider")
        origin = self.router.pool.get(name)
        return origin is None or (origin.provider, origin.dialect) != (target.provider, target.dialect)


@dataclass(slots=True)
class _Attempt:
    """One attempt as it goes: the call's arguments, then what the model reports."""

    model: BaseChatModel
    messages: list[BaseMessage]
    kwargs: dict[str, Any]
    config: RunnableConfig
    seen: _Seen
    warnings: tuple[str, ...]
    reported: AIMessageChunk = field(default_factory=lambda: AIMessageChunk(content=""))

    def item(self, message: AIMessage) -> Item:
        if message.usage_metadata:
            self.reported.usage_metadata = add_usage(self.reported.usage_metadata, message.usage_metadata)
        self.reported.response_metadata |= message.response_metadata
        return Item(message, has_content(message), self.done().usage)

    def unfinished(self, target: Target) -> ProviderError | None:
        """What is wrong with an answer that ended without saying why: LangChain makes half a tool call a whole one.

        Only known providers are held to it; others may never say.
        """
        if isinstance(self.model, WireChatModel) or target.provider not in PROVIDERS or finish_of(self.reported):
            return None
        return BadResponse(f"target {target.name!r}: the answer ended without a finish reason", target=target.name)

    def sent(self) -> tuple[Sent, ...]:
        """What our own transport had to change of the request, if anything."""
        return self.model.sent if isinstance(self.model, WireChatModel) else ()

    def done(self) -> Done:
        done = self.model.done if isinstance(self.model, WireChatModel) else done_of(self.reported)
        return replace(done, warnings=(*done.warnings, *self.warnings))


class ModelPerformer:
    """Performs attempts synchronously, as children of one chain run."""

    def __init__(self, step: Step, run: CallbackManagerForChainRun) -> None:
        self._step = step
        self._run = run

    def perform(self, attempt: Try) -> Iterator[Sent | Item | Done]:
        a = self._step.begin(attempt, self._run.get_child())
        whole: Item | None = None
        failure: ProviderError | None = None
        try:
            if self._step.rate_limiter is not None:
                self._step.rate_limiter.acquire(blocking=True)
            if attempt.stream:
                # Typed as an Iterator, and a generator in every model that streams or falls back to invoke.
                with closing(cast("Any", a.model.stream(a.messages, a.config, **a.kwargs))) as chunks:
                    for chunk in chunks:
                        yield a.item(chunk)
            else:
                whole = a.item(a.model.invoke(a.messages, a.config, **a.kwargs))
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
            if not attempt.stream and a.seen.chunks:
                yield a.item(a.seen.partial())
            raise failure
        if whole is not None:
            yield whole
        yield a.done()


class AsyncModelPerformer:
    """The same on an event loop."""

    def __init__(self, step: Step, run: AsyncCallbackManagerForChainRun) -> None:
        self._step = step
        self._run = run

    async def perform(self, attempt: Try) -> AsyncIterator[Sent | Item | Done]:
        a = self._step.begin(attempt, self._run.get_child())
        whole: Item | None = None
        failure: ProviderError | None = None
        try:
            if self._step.rate_limiter is not None:
                await self._step.rate_limiter.aacquire(blocking=True)
            if attempt.stream:
                async with aclosing(cast("Any", a.model.astream(a.messages, a.config, **a.kwargs))) as chunks:
                    async for chunk in chunks:
                        yield a.item(chunk)
            else:
                whole = a.item(await a.model.ainvoke(a.messages, a.config, **a.kwargs))
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
            if not attempt.stream and a.seen.chunks:
                yield a.item(a.seen.partial())
            raise failure
        if whole is not None:
            yield whole
        yield a.done()


class _Seen(BaseCallbackHandler):
    """Notes what callbacks have shown of an answer that is invoked, not streamed.

    LangGraph's `stream_mode="messages"` turns `invoke` into streaming underneath; text it has shown rules out another
    model just as text that was yielded does.
    """

    run_inline = True

    def __init__(self) -> None:
        self.chunks: list[AIMessageChunk] = []

    def on_llm_new_token(self, token: Any, *, chunk: Any = None, **_: Any) -> None:
        if isinstance(chunk, ChatGenerationChunk) and isinstance(chunk.message, AIMessageChunk):
            if self.chunks or has_content(chunk.message):
                self.chunks.append(chunk.message)
        elif token:
            self.chunks.append(AIMessageChunk(content=token))

    def on_stream_event(self, event: Any, **_: Any) -> None:
        if event.get("event") == "content-block-delta":
            self.chunks.append(AIMessageChunk(content=str(event.get("delta", {}).get("text", ""))))

    def partial(self) -> AIMessageChunk:
        return add_ai_message_chunks(self.chunks[0], *self.chunks[1:])
