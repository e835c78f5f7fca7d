"""Performs attempts through the handler of an agent's middleware: the agent binds and calls the model it is handed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, cast

from langchain.agents.middleware import ModelRequest, ModelResponse
from langchain_core.callbacks import BaseCallbackManager, Callbacks
from langchain_core.messages import AIMessage, BaseMessage, SystemMessage

from agentroute import Pool, ProviderError
from agentroute.failover.effects import Done, Item, Sent, Try
from agentroute.native.errors import cut_short
from agentroute.native.limits import within
from agentroute.providers import PROVIDERS

from .bound_wire import BoundWireModel
from .chat_model import RoutedChatModel
from .conversation import prepared, unmarked
from .messages import done_of, finish_of, has_content
from .native_errors import provider_error
from .options import Options, native_choice, normal_choice
from .pool import pool_profile
from .shown import Seen

__all__ = ["AsyncHandler", "AsyncHandlerPerformer", "HandledStep", "Handler", "HandlerPerformer", "answer_of"]

Request: TypeAlias = ModelRequest[Any]
Response: TypeAlias = ModelResponse[Any]
Handler: TypeAlias = Callable[[Request], Response]
AsyncHandler: TypeAlias = Callable[[Request], Awaitable[Response]]


@dataclass(slots=True, repr=False)
class HandledStep:
    """What every attempt of one model call of an agent has in common. `attempts` counts them.

    `model` holds the targets and what is set for all of them, `settings` the call's own arguments on top of that.
    """

    model: RoutedChatModel
    request: Request
    settings: Mapping[str, Any]
    attempts: int = 0

    def open_attempt(self, attempt: Try, *, asynchronous: bool) -> _Handled:
        """The request to hand on for this attempt. The agent's own is not changed."""
        self.attempts += 1
        target = attempt.target
        runs = _Runs()
        shown = {"agentroute_target": target.name, "agentroute_attempt": self.attempts}
        routed, own = self.model, self.model.target_kwargs.get(target.name, {})
        common = {"output_version": routed.output_version, "cache": routed.cache}
        common = {name: value for name, value in common.items() if value is not None}
        tools = self.request.tools if target.provider == "anthropic" else unmarked(self.request.tools)
        model = routed.models.get(target.name)
        if model is None:
            router = routed.router
            wire = BoundWireModel.of(
                attempt,
                performer=None if asynchronous else router.performer,
                async_performer=router.async_performer if asynchronous else None,
                profile=pool_profile(Pool([target]), {}),
                metadata=shown,
                callbacks=[runs],
                **common,
            )
            handed = self.request.override(model=wire, tools=tools, model_settings=dict(self.settings))
            return _Handled(
                handed, cast("BoundWireModel", wire).configured_for(router.pool, own, routed.known_tools), runs
            )
        settings, warnings = Options(rest=self.settings).for_native(model, target, own)
        system = self.request.system_message
        given: list[BaseMessage] = [*([] if system is None else [system]), *self.request.messages]
        read, pool = attempt.request.messages, routed.router.pool
        call = prepared(model, given, settings, target=target, pool=pool, tools=tools, read=read)
        update = {
            **common,
            "metadata": {**(model.metadata or {}), **shown},
            "callbacks": _beside(model.callbacks, runs),
        }
        handed = self.request.override(
            model=call.model.model_copy(update=update),
            messages=cast("Any", call.messages if system is None else call.messages[1:]),
            system_message=None if system is None else cast("SystemMessage", call.messages[0]),
            tools=tools,
            tool_choice=native_choice(normal_choice(self.request.tool_choice), target.provider),
            model_settings=call.kwargs,
        )
        return _Handled(handed, None, runs, (*warnings, *call.warnings))


@dataclass(slots=True, repr=False)
class _Handled:
    """One attempt: the request that is handed on, and what became of it."""

    request: Request
    wire: BoundWireModel | None
    runs: _Runs
    warnings: tuple[str, ...] = ()

    def failure(self, error: Exception, target: str) -> ProviderError | None:
        """What the error says of the target; nothing, where the model had answered and a middleware failed after it."""
        return None if self.runs.answered else provider_error(error, target)

    def ended(
        self, attempt: Try, response: Response | None, failure: ProviderError | None, *, keep: bool
    ) -> Iterator[Sent | Item | Done]:
        """What an attempt reports. `keep` holds to an answer of which text has been shown."""
        if self.wire is not None:
            yield from self.wire.sent
        message = None if response is None else answer_of(response)
        if message is not None:
            failure = self._unfinished(attempt, message)
        if failure is not None:
            if keep and self.runs.chunks:
                shown = self.runs.partial()
                yield Item(shown, is_content=True, usage=self._done(shown).usage)
            raise failure
        done = self._done(message)
        yield Item(response, message is not None and has_content(message), done.usage)
        yield done

    def _unfinished(self, attempt: Try, message: AIMessage) -> ProviderError | None:
        """As for a model that is called directly: half a tool call must not pass for a whole one."""
        known = self.wire is None and self.runs.answered and attempt.target.provider in PROVIDERS
        if not known or finish_of(message.response_metadata):
            return None
        return cut_short(attempt.target)

    def _done(self, message: AIMessage | None) -> Done:
        if self.wire is not None and (self.runs.answered or self.runs.chunks):
            done = self.wire.done
            return replace(done, warnings=(*done.warnings, *self.wire.warnings))
        if message is None or not (self.runs.answered or self.runs.chunks):
            # A fallback of its own, another model, an answer it made up: what it cost is not this target's.
            told_of = "the answer is not this target's: a middleware nearer to the model gave another"
            return Done(warnings=(*self.warnings, told_of))
        done = done_of(message.usage_metadata, message.response_metadata)
        return replace(done, warnings=(*done.warnings, *self.warnings))


class HandlerPerformer:
    """Performs attempts by calling the handler. A native model keeps to its own time limits."""

    def __init__(self, step: HandledStep, handler: Handler) -> None:
        self._step = step
        self._handler = handler

    def perform(self, attempt: Try) -> Iterator[Sent | Item | Done]:
        a = self._step.open_attempt(attempt, asynchronous=False)
        response: Response | None = None
        failure: ProviderError | None = None
        routed = self._step.model
        try:
            if routed.rate_limiter is not None:
                routed.rate_limiter.acquire(blocking=True)
            response = self._handler(a.request)
        except Exception as error:
            failure = a.failure(error, attempt.target.name)
            if failure is None:
                raise
        finally:
            if a.wire is not None:
                a.wire.close()
        yield from a.ended(attempt, response, failure, keep=routed.on_partial == "raise")


class AsyncHandlerPerformer:
    """The same on an event loop, where a native model is held to the time limits of the attempt too."""

    def __init__(self, step: HandledStep, handler: AsyncHandler) -> None:
        self._step = step
        self._handler = handler

    async def perform(self, attempt: Try) -> AsyncIterator[Sent | Item | Done]:
        a = self._step.open_attempt(attempt, asynchronous=True)
        response: Response | None = None
        failure: ProviderError | None = None
        routed = self._step.model
        try:
            if routed.rate_limiter is not None:
                await routed.rate_limiter.aacquire(blocking=True)
            answer = self._handler(a.request)
            if a.wire is None:
                answer = within(attempt, "whole_answer", routed.router.clock, answer)
            response = await answer
        except Exception as error:
            failure = a.failure(error, attempt.target.name)
            if failure is None:
                raise
        finally:
            if a.wire is not None:
                await a.wire.aclose()
        for reported in a.ended(attempt, response, failure, keep=routed.on_partial == "raise"):
            yield reported


class _Runs(Seen):
    """Notes, beside the text that was shown, whether the model itself answered."""

    def __init__(self) -> None:
        super().__init__()
        self.answered = False

    def on_chat_model_start(self, *_: Any, **__: Any) -> None:
        self.answered = False

    def on_llm_end(self, *_: Any, **__: Any) -> None:
        self.answered = True


def answer_of(response: Response) -> AIMessage | None:
    """The model's own message; the tool messages of a structured answer come after it."""
    return next((message for message in reversed(response.result) if isinstance(message, AIMessage)), None)


def _beside(callbacks: Callbacks, runs: _Runs) -> Callbacks:
    if isinstance(callbacks, BaseCallbackManager):
        both = callbacks.copy()
        both.add_handler(runs, inherit=False)
        return both
    return [*(callbacks or ()), runs]
