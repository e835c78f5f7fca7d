"""A target of our own transport, seen as a LangChain chat model, so that its attempts are traced like any other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LangSmithParams
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import PrivateAttr

from agentroute.events import Event, fold
from agentroute.failover.effects import AsyncPerformer, Done, Item, Performer, Sent, Try

from .messages import ChunkWriter, write_message

__all__ = ["WireChatModel"]

_SERIALIZED: dict[str, Any] = {
    "lc": 1,
    "type": "not_implemented",
    "id": ["langchain_agentroute", "wire_model", "WireChatModel"],
    "name": "WireChatModel",
}


class WireChatModel(BaseChatModel):
    """One attempt at one wire target. Made for the attempt, called once, and not for use by itself.

    What is sent is the attempt's own canonical request; the LangChain messages and arguments it is called with are what
    traces show. `done` holds the provider's count so far, and its finish reason at the end.
    """

    target_name: str
    provider: str
    model: str
    _attempt: Try = PrivateAttr()
    _performer: Performer | None = PrivateAttr(default=None)
    _async_performer: AsyncPerformer | None = PrivateAttr(default=None)
    _items: Iterator[Sent | Item | Done] | AsyncIterator[Sent | Item | Done] | None = PrivateAttr(default=None)
    _done: Done = PrivateAttr(default=Done())
    _sent: tuple[Sent, ...] = PrivateAttr(default=())

    @classmethod
    def of(
        cls,
        attempt: Try,
        *,
        performer: Performer | None = None,
        async_performer: AsyncPerformer | None = None,
        **settings: Any,
    ) -> WireChatModel:
        target = attempt.target
        made = cls(target_name=target.name, provider=target.provider, model=target.model, **settings)
        made._attempt = attempt
        made._performer = performer
        made._async_performer = async_performer
        return made

    @property
    def done(self) -> Done:
        return self._done

    @property
    def sent(self) -> tuple[Sent, ...]:
        return self._sent

    @cached_property
    def _serialized(self) -> dict[str, Any]:
        """What traces say it is made of: nothing of it can be made again, and a repr for each attempt is dear."""
        return _SERIALIZED

    @property
    def _llm_type(self) -> str:
        return "agentroute-wire"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        known = {"model": self.model, "provider": self.provider, "target": self.target_name}
        settings = dict(self._attempt.target.settings)
        return {**known, "settings": settings} if settings else known

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = LangSmithParams(ls_provider=self.provider, ls_model_name=self.model, ls_model_type="chat")
        sampling = self._attempt.request.sampling
        if sampling.temperature is not None:
            params["ls_temperature"] = sampling.temperature
        if sampling.max_output_tokens is not None:
            params["ls_max_tokens"] = sampling.max_output_tokens
        if stop:
            params["ls_stop"] = stop
        return params

    def _read(self, messages: list[BaseMessage], stop: list[str] | None, kwargs: Mapping[str, Any]) -> None:
        """What a call makes of the attempt's request. Here nothing: it was read before it was routed."""

    # -- plain ---------------------------------------------------------------------------------------------------

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        self._read(messages, stop, kwargs)
        return self._result(list(self._perform(stream=False)))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        self._read(messages, stop, kwargs)
        return self._result([event async for event in self._aperform(stream=False)])

    def _result(self, events: list[Event]) -> ChatResult:
        message = write_message(fold(events), blocks=self.output_version == "v1")
        return ChatResult(generations=[ChatGeneration(message=message)])

    # -- streamed ------------------------------------------------------------------------------------------------

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        self._read(messages, stop, kwargs)
        writer = self._writer(run_manager)
        for event in self._perform(stream=True):
            if (message := writer.write(event)) is not None:
                yield ChatGenerationChunk(message=message)
        yield ChatGenerationChunk(message=writer.last())

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        self._read(messages, stop, kwargs)
        writer = self._writer(run_manager)
        async for event in self._aperform(stream=True):
            if (message := writer.write(event)) is not None:
                yield ChatGenerationChunk(message=message)
        yield ChatGenerationChunk(message=writer.last())

    def _writer(self, run_manager: object) -> ChunkWriter:
        """LangChain hands a run manager to a stream of events alone, and those are of standard blocks always."""
        return ChunkWriter(blocks=self.output_version == "v1" or run_manager is not None)

    # -- the transport below -------------------------------------------------------------------------------------

    def _perform(self, *, stream: bool) -> Iterator[Event]:
        assert self._performer is not None
        self._items = items = self._performer.perform(replace(self._attempt, stream=stream))
        for item in items:
            if isinstance(item, Done):
                self._done = item
                return
            if isinstance(item, Sent):
                self._sent = (item,)
                continue
            if item.usage is not None:
                self._done = Done(item.usage)
            yield item.payload

    async def _aperform(self, *, stream: bool) -> AsyncIterator[Event]:
        assert self._async_performer is not None
        self._items = items = self._async_performer.perform(replace(self._attempt, stream=stream))
        async for item in items:
            if isinstance(item, Done):
                self._done = item
                return
            if isinstance(item, Sent):
                self._sent = (item,)
                continue
            if item.usage is not None:
                self._done = Done(item.usage)
            yield item.payload

    def close(self) -> None:
        """Closes the connection of an attempt that was given up."""
        close = getattr(self._items, "close", None)
        if close is not None:
            close()

    async def aclose(self) -> None:
        """`close` on an event loop: LangChain leaves the inner generators of an abandoned stream to the collector."""
        close = getattr(self._items, "aclose", None)
        if close is not None:
            await close()
