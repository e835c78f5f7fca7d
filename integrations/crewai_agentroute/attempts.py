"""Performs attempts: our own transport for wire targets, a CrewAI LLM's `call` and `acall` for native ones."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from crewai.hooks.llm_hooks import model_call_hooks_dispatched
from crewai.llms import retry
from crewai.llms.base_llm import BaseLLM, call_stop_override, call_stream_override
from crewai.types.usage_metrics import UsageMetrics

from agentroute import BadResponse, ProviderError, Router, Target
from agentroute.events import TextDelta, ToolCallStarted
from agentroute.failover.effects import Done, Item, Sent, Try
from agentroute.messages import Usage

from .errors import native_error
from .events import Announcer
from .pool import NativeReport, current_report, without_clients
from .requests import Asked, for_native, for_wire

__all__ = ["AsyncLLMPerformer", "Attempts", "LLMPerformer", "NativeAnswer"]


@dataclass(frozen=True, slots=True)
class NativeAnswer:
    """What a native LLM returned: a text, tool calls in its SDK's form, or an instance of the response model."""

    value: Any


@dataclass(frozen=True, slots=True)
class Attempts:
    """What every attempt of one call has in common. `stop` and `stream` are those of the call, `settings` what the
    handle sets for every target."""

    router: Router
    asked: Asked
    announcer: Announcer
    stop: list[str]
    stream: bool | None
    settings: Mapping[str, Any]

    def wire(self, attempt: Try) -> Try:
        self.announcer.started(attempt.target.model)
        return replace(attempt, request=for_wire(attempt.request, attempt.target))

    def native(self, target: Target) -> BaseLLM | None:
        llm: BaseLLM | None = self.router.models.get(target.name)
        return llm if llm is None or not self.settings else llm.model_copy(update=self.settings)

    def arguments(self, messages: list[dict[str, Any]]) -> dict[str, Any]:
        """Functions are not given: what has an effect is not tried twice, so the answer's calls are made afterwards."""
        asked = self.asked
        return {
            "messages": messages,
            "tools": asked.tools,
            "callbacks": asked.callbacks,
            "from_task": asked.from_task,
            "from_agent": asked.from_agent,
            "response_model": asked.response_model,
        }

    @contextmanager
    def around(self, llm: BaseLLM, stream: bool | None) -> Iterator[NativeReport]:
        """CrewAI's overrides of this call hold for the native LLM too, its retries and hooks do not."""
        report = NativeReport()
        with ExitStack() as stack:
            stack.callback(current_report.reset, current_report.set(report))
            stack.callback(_retrying.reset, _retrying.set(True))
            stack.enter_context(model_call_hooks_dispatched())
            stack.enter_context(call_stop_override(llm, [*dict.fromkeys([*llm.stop, *self.stop])]))
            if stream is not None:
                stack.enter_context(call_stream_override(llm, stream))
            yield report


_retrying = retry._active_llm_rate_limit_retry
"""Set while CrewAI's own retry is at work, so that calls below it do not retry too: here the chain is that retry."""


class _Wire:
    """One attempt at a wire target. An answer without text and calls is none: CrewAI would run the whole task again.

    A plain answer is held back until it is complete, so that an empty one has shown nothing.
    """

    def __init__(self, attempt: Try, attempts: Attempts) -> None:
        self._target = attempt.target.name
        self._stream = attempt.stream
        self._attempts = attempts
        self._held: list[Sent | Item | Done] = []
        self._text: list[str] = []
        self._calls = False

    def take(self, item: Sent | Item | Done) -> Iterator[Sent | Item | Done]:
        if isinstance(item, Item):
            if isinstance(item.payload, TextDelta):
                self._text.append(item.payload.text)
            elif isinstance(item.payload, ToolCallStarted):
                self._calls = True
        self._held.append(item)
        if isinstance(item, Done) and not self._calls and not cut("".join(self._text), self._attempts.stop):
            yield from (Item(None, False, each.usage) for each in self._held if isinstance(each, Item) and each.usage)
            raise _empty(self._target)
        if self._stream or isinstance(item, Done):
            yield from self._held
            self._held.clear()


def cut(text: str, stop: list[str]) -> str:
    """The text before the first stop sequence in it, as CrewAI's own LLMs cut it."""
    places = [place for word in stop if (place := text.find(word)) >= 0]
    return text[: min(places)].strip() if places else text


def _empty(target: str) -> BadResponse:
    return BadResponse(f"target {target!r}: the answer is empty", target=target)


class LLMPerformer:
    """Performs attempts synchronously."""

    def __init__(self, attempts: Attempts) -> None:
        self._attempts = attempts

    def perform(self, attempt: Try) -> Iterator[Sent | Item | Done]:
        llm = self._attempts.native(attempt.target)
        if llm is not None:
            yield from self._native(llm, attempt)
            return
        wire = _Wire(attempt, self._attempts)
        items = self._attempts.router.performer.perform(self._attempts.wire(attempt))
        try:
            for item in items:
                yield from wire.take(item)
        finally:
            items.close()

    def _native(self, llm: BaseLLM, attempt: Try) -> Iterator[Item | Done]:
        target = attempt.target.name
        self._attempts.announcer.given_over(f"next: {target}")
        messages, changes = for_native(self._attempts.asked.messages, attempt.request.messages, attempt.target)
        value, failure = None, None
        with self._attempts.around(llm, self._attempts.stream) as report:
            try:
                value = llm.call(**self._attempts.arguments(messages))
            except Exception as error:
                failure = native_error(error, target)
                if failure is None:
                    raise
        yield from _outcome(value, failure, report, target, changes)


class AsyncLLMPerformer:
    """The same on an event loop."""

    def __init__(self, attempts: Attempts) -> None:
        self._attempts = attempts

    async def perform(self, attempt: Try) -> AsyncIterator[Sent | Item | Done]:
        llm = self._attempts.native(attempt.target)
        if llm is not None:
            async for outcome in self._native(llm, attempt):
                yield outcome
            return
        wire = _Wire(attempt, self._attempts)
        items = self._attempts.router.async_performer.perform(self._attempts.wire(attempt))
        try:
            async for item in items:
                for taken in wire.take(item):
                    yield taken
        finally:
            await items.aclose()

    async def _native(self, llm: BaseLLM, attempt: Try) -> AsyncIterator[Item | Done]:
        """Each call has an asynchronous client of its own: CrewAI calls on event loops that it makes for a moment."""
        target = attempt.target.name
        self._attempts.announcer.given_over(f"next: {target}")
        messages, changes = for_native(self._attempts.asked.messages, attempt.request.messages, attempt.target)
        llm = llm.model_copy()
        without_clients(llm)
        value, failure = None, None
        # CrewAI's OpenAI client asks for no schema in an asynchronous stream.
        stream = self._attempts.stream if self._attempts.asked.response_model is None else False
        try:
            with self._attempts.around(llm, stream) as report:
                try:
                    value = await llm.acall(**self._attempts.arguments(messages))
                except Exception as error:
                    failure = native_error(error, target)
                    if failure is None:
                        raise
        finally:
            client: Any = getattr(llm, "_async_client", None)
            if hasattr(client, "close"):
                await client.close()
        for outcome in _outcome(value, failure, report, target, changes):
            yield outcome


def _outcome(
    value: Any, failure: ProviderError | None, report: NativeReport, target: str, changes: tuple[str, ...]
) -> Iterator[Item | Done]:
    usage = _usage(report)
    if failure is None and value in (None, "", []):
        failure = _empty(target)
    if failure is not None:
        # What has been shown rules out another model's answer, just as text that was handed on does.
        if usage is not None or report.shown:
            yield Item(None, report.shown, usage)
        raise failure
    yield Item(NativeAnswer(value), is_content=True, usage=usage)
    yield Done(usage, warnings=changes)


def _usage(report: NativeReport) -> Usage | None:
    """What the LLM counted, summed where it made several requests; None where it told no number."""
    total = UsageMetrics()
    for counted in report.usage:
        metrics = UsageMetrics.from_provider_dict(counted)
        if metrics is not None:
            total.add_usage_metrics(metrics)
    if not total.total_tokens:
        return None
    return Usage(
        total.prompt_tokens,
        total.completion_tokens,
        total.cached_prompt_tokens or None,
        total.cache_creation_tokens or None,
        total.reasoning_tokens or None,
    )
