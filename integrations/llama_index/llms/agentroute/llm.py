"""RoutedLLM: a LlamaIndex LLM whose every call is routed, with failover, to one of several targets."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import aclosing, closing
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from llama_index.core.base.llms.generic_utils import (
    astream_chat_response_to_completion_response,
    chat_response_to_completion_response,
    prompt_to_messages,
    stream_chat_response_to_completion_response,
)
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    CompletionResponse,
    CompletionResponseAsyncGen,
    CompletionResponseGen,
    LLMMetadata,
    MessageRole,
    ToolCallBlock,
)
from llama_index.core.bridge.pydantic import ConfigDict, Field
from llama_index.core.llms import LLM
from llama_index.core.llms.callbacks import llm_chat_callback, llm_completion_callback
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.llms.utils import parse_partial_json
from llama_index.core.prompts import BasePromptTemplate
from llama_index.core.tools import BaseTool

from agentroute import Budget, ConfigError, Constraints, Router, StepContext, StreamInterrupted
from agentroute.call import Call
from agentroute.decisions import Strategy
from agentroute.ledger import Ledger
from agentroute.ledger.notices import OnNotice
from agentroute.routing.policies import read_constraints

from .answers import read_answer
from .attempts import AsyncLLMPerformer, Attempts, LLMPerformer, Piece
from .context import PromptMessages, decided, prompt_kind
from .events import astream_with_events, stream_with_events, told_to_listeners
from .listening import calling_agent, listen, told_of_failure
from .messages import tool_calls_of
from .options import BoundTools, Options, resolved_choice
from .pool import native, pool_metadata

__all__ = ["RoutedLLM"]

_OF_THE_ROUTER = ("strategy", "ledger", "baseline", "deadline_s", "budget", "on_notice")


class RoutedLLM(FunctionCallingLLM):
    """An LLM that sends each call to the cheapest of its targets that will do it right.

    Args:
        targets: a list of ready LlamaIndex LLMs, agentroute Targets, `"provider/model"` texts and `native(...)`, or a
            dict of names to any of these, in which a tier's name (`budget`, ...) sets the tier.
        strategy, ledger, baseline, deadline_s, budget, on_notice: settings of the router that is made of `targets`.
        router: a Router of your own instead, which may hold ready LLMs too (`native(llm)`).
        temperature, max_tokens, additional_kwargs: hold for every target.
        target_kwargs: further arguments for one target, by its name.
        constraints: fields of Constraints (`max_tier`, `strategy`, ...) for every call.
        listens: whether LlamaIndex's instrumentation is listened to for the names of agents and for tools that raise.

    Agents of LlamaIndex's workflows are told apart by their names. `for_agent(name)` gives a handle for one on the same
    router, with constraints of its own, or for what is no such agent.
    `decision_of` reads the decision behind an answer. `agentroute={"max_tier": "mid"}` are the constraints of one call.
    Raises ConfigError for a wrong setting, and what `Router.complete` raises for a call.
    """

    model_config = ConfigDict(extra="forbid")

    router: Router = Field(exclude=True)
    temperature: float | None = None
    max_tokens: int | None = None
    additional_kwargs: Mapping[str, Any] = Field(default_factory=dict)
    target_kwargs: Mapping[str, Mapping[str, Any]] = Field(default_factory=dict)
    agent: str | None = None
    role: str | None = None
    conversation_id: str | None = None
    constraints: Mapping[str, Any] = Field(default_factory=dict)
    listens: bool = True

    def __init__(
        self,
        *,
        router: Router | None = None,
        targets: Any = None,
        strategy: Strategy | None = None,
        ledger: Ledger | str | Path | None = None,
        baseline: str | None = None,
        deadline_s: float | None = None,
        budget: Budget | Mapping[str, Any] | float | None = None,
        on_notice: OnNotice | None = None,
        **settings: Any,
    ) -> None:
        for name in settings:
            if name not in type(self).model_fields:
                raise ConfigError(_no_setting(name))
        options = {
            "strategy": strategy,
            "ledger": ledger,
            "baseline": baseline,
            "deadline_s": deadline_s,
            "budget": budget,
            "on_notice": on_notice,
        }
        router = Router.given(router, targets, native, LLM, options)
        super().__init__(**{"router": router, **settings})
        for name in self.target_kwargs:
            router.pool[name]
        if self.listens:
            listen()
        read_constraints(self.constraints, router.pool)

    @property
    def models(self) -> Mapping[str, LLM]:
        """The LlamaIndex LLM behind each native target, by the target's name."""
        return self.router.models

    def for_agent(
        self,
        name: str | None = None,
        role: str | None = None,
        *,
        conversation_id: str | None = None,
        **constraints: Any,
    ) -> RoutedLLM:
        """A handle on the same router for one agent: its name, its role (default: its name), its constraints.

        `constraints` are fields of Constraints (`target`, `tier`, `max_tier`, `strategy`, ...), over those of this
        handle. Raises ConfigError for another one, and for a target or a provider that is not there.
        """
        merged = {**self.constraints, **constraints}
        read_constraints(merged, self.router.pool)
        given = {"agent": name, "role": role, "conversation_id": conversation_id}
        known = {field: value for field, value in given.items() if value is not None}
        return self.model_copy(update={**known, "constraints": merged})

    def bind(self, agent: str | None = None, role: str | None = None, **given: Any) -> RoutedLLM:
        """`for_agent` under its first name, kept for the programs that call it."""
        return self.for_agent(agent, role, **given)

    @classmethod
    def class_name(cls) -> str:
        return "agentroute_llm"

    @property
    def metadata(self) -> LLMMetadata:
        return pool_metadata(self.router.pool, self.models, self.max_tokens)

    # -- the eight calls -----------------------------------------------------------------------------------------

    @llm_chat_callback()
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        return self._chat(messages, kwargs)

    @llm_chat_callback()
    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        return await self._achat(messages, kwargs)

    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        return stream_with_events(llm_chat_callback, self, messages, kwargs, lambda: self._stream(messages, kwargs))

    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseAsyncGen:
        return await astream_with_events(
            llm_chat_callback, self, messages, kwargs, lambda: self._astream(messages, kwargs)
        )

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        return chat_response_to_completion_response(self._chat(prompt_to_messages(prompt), kwargs))

    @llm_completion_callback()
    async def acomplete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        return chat_response_to_completion_response(await self._achat(prompt_to_messages(prompt), kwargs))

    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
        return stream_with_events(
            llm_completion_callback,
            self,
            prompt,
            kwargs,
            lambda: _completions(self._stream(prompt_to_messages(prompt), kwargs)),
        )

    async def astream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseAsyncGen:
        return await astream_with_events(
            llm_completion_callback,
            self,
            prompt,
            kwargs,
            lambda: _acompletions(self._astream(prompt_to_messages(prompt), kwargs)),
        )

    # -- one call ------------------------------------------------------------------------------------------------

    def _chat(self, messages: Sequence[ChatMessage], kwargs: Mapping[str, Any]) -> ChatResponse:
        attempts, call = self._open(messages, kwargs, stream=False)
        with closing(call.run(LLMPerformer(attempts))) as pieces:
            found = [piece for piece in pieces if piece is not None]
        call.answered(lambda: read_answer(found[-1].response))
        return decided(found[-1].response, call.decision)

    async def _achat(self, messages: Sequence[ChatMessage], kwargs: Mapping[str, Any]) -> ChatResponse:
        attempts, call = self._open(messages, kwargs, stream=False)
        async with aclosing(call.arun(AsyncLLMPerformer(attempts))) as pieces:
            found = [piece async for piece in pieces if piece is not None]
        call.answered(lambda: read_answer(found[-1].response))
        return decided(found[-1].response, call.decision)

    def _stream(self, messages: Sequence[ChatMessage], kwargs: Mapping[str, Any]) -> ChatResponseGen:
        attempts, call = self._open(messages, kwargs, stream=True)
        return self._chunks(attempts, call)

    def _chunks(self, attempts: Attempts, call: Call) -> ChatResponseGen:
        arrived = _Arrived()
        try:
            with closing(call.run(LLMPerformer(attempts))) as pieces:
                for piece in pieces:
                    yield from arrived.take(piece)
        except StreamInterrupted as error:
            arrived.attach_to(error)
            raise
        call.answered(lambda: read_answer(arrived.last()))
        yield decided(arrived.last(), call.decision)

    def _astream(self, messages: Sequence[ChatMessage], kwargs: Mapping[str, Any]) -> ChatResponseAsyncGen:
        attempts, call = self._open(messages, kwargs, stream=True)
        return self._achunks(attempts, call)

    async def _achunks(self, attempts: Attempts, call: Call) -> ChatResponseAsyncGen:
        arrived = _Arrived()
        try:
            async with aclosing(call.arun(AsyncLLMPerformer(attempts))) as pieces:
                async for piece in pieces:
                    for chunk in arrived.take(piece):
                        yield chunk
        except StreamInterrupted as error:
            arrived.attach_to(error)
            raise
        call.answered(lambda: read_answer(arrived.last()))
        yield decided(arrived.last(), call.decision)

    def _open(
        self, messages: Sequence[ChatMessage], kwargs: Mapping[str, Any], *, stream: bool
    ) -> tuple[Attempts, Call]:
        defaults = {"temperature": self.temperature, "max_tokens": self.max_tokens}
        known = {name: value for name, value in defaults.items() if value is not None}
        options = Options.of({**known, **self.additional_kwargs, **kwargs})
        attempts = Attempts(self.router, messages, options, self.target_kwargs, self.callback_manager)
        request = options.request(messages, attempts.origin)
        kind = messages.kind if isinstance(messages, PromptMessages) else None
        agent = self.agent or (calling_agent() if self.listens else None)
        call = self.router.prepare(
            request,
            context=StepContext(
                conversation_id=self.conversation_id,
                agent=agent,
                role=self.role or agent,
                node=options.output_name or kind,
                failed=told_of_failure(messages),
            ),
            constraints=Constraints.of(options.constraints, self.constraints),
            stream=stream,
        )
        call.on_notice = told_to_listeners
        return attempts, call

    def _get_messages(self, prompt: BasePromptTemplate, **prompt_args: Any) -> list[ChatMessage]:
        return PromptMessages(super()._get_messages(prompt, **prompt_args), prompt_kind(prompt))

    # -- tools ---------------------------------------------------------------------------------------------------

    def _prepare_chat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        verbose: bool = False,
        allow_parallel_tool_calls: bool = False,
        tool_required: bool = False,
        tool_choice: str | dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        if isinstance(user_msg, str):
            user_msg = ChatMessage(role=MessageRole.USER, content=user_msg)
        messages = [*(chat_history or ()), *([user_msg] if user_msg else ())]
        if not tools:
            return {"messages": messages, **kwargs}
        return {
            "messages": messages,
            "tools": BoundTools(tools),
            "tool_choice": resolved_choice(tool_choice, tool_required),
            "parallel_tool_calls": allow_parallel_tool_calls,
            **kwargs,
        }

    def _validate_chat_with_tools_response(
        self,
        response: ChatResponse,
        tools: Sequence[BaseTool],
        allow_parallel_tool_calls: bool = False,
        **kwargs: Any,
    ) -> ChatResponse:
        """The answer with its first call alone, where only one is allowed: not every model heeds what it is told."""
        calls = [block for block in response.message.blocks if isinstance(block, ToolCallBlock)]
        if allow_parallel_tool_calls or len(calls) < 2:
            return response
        blocks = [block for block in response.message.blocks if not isinstance(block, ToolCallBlock)]
        message = response.message.model_copy(update={"blocks": [*blocks, calls[0]]})
        return response.model_copy(update={"message": message})

    def get_tool_calls_from_response(
        self, response: ChatResponse, error_on_no_tool_call: bool = True, **kwargs: Any
    ) -> list[ToolSelection]:
        """The calls of an answer or of a chunk, whose arguments may be half there. Raises ValueError where there are
        none, unless told not to."""
        blocks = [block for block in response.message.blocks if isinstance(block, ToolCallBlock)]
        calls: list[tuple[str, str, Any]] = [(b.tool_call_id or "", b.tool_name, b.tool_kwargs) for b in blocks]
        calls = calls or list(tool_calls_of(response.message.additional_kwargs))
        if not calls and error_on_no_tool_call:
            raise ValueError("Expected at least one tool call, but got 0 tool calls.")
        return [
            ToolSelection(tool_id=call_id, tool_name=name, tool_kwargs=_arguments(arguments))
            for call_id, name, arguments in calls
        ]

    # -- copies --------------------------------------------------------------------------------------------------

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> RoutedLLM:
        """A copy on the same router, models and callbacks: those hold connections, locks and counts."""
        memo = {} if memo is None else memo
        for shared in (self.router, self.callback_manager):
            memo[id(shared)] = shared
        return super().__deepcopy__(memo)

    def __getstate__(self) -> dict[str, Any]:
        """Raises ConfigError if LlamaIndex would leave out the router, because one of its models cannot be pickled."""
        state = super().__getstate__()
        if "router" not in state["__dict__"]:
            raise ConfigError(
                "this RoutedLLM cannot be pickled: its router holds what cannot (locks, open clients); "
                "give targets of our own, with api_key='env:NAME'"
            )
        return state


class _Arrived:
    """The chunks of a stream. One that brings nothing new is held, for the last one is to carry the decision."""

    def __init__(self) -> None:
        self._latest: ChatResponse | None = None
        self._held: ChatResponse | None = None

    def take(self, piece: Piece | None) -> Generator[ChatResponse, None, None]:
        if piece is None:
            return
        held, self._held = self._held, None
        if held is not None:
            yield held
        self._latest = piece.response
        if piece.content:
            yield piece.response
        else:
            self._held = piece.response

    def last(self) -> ChatResponse:
        if self._held is not None:
            return self._held
        assert self._latest is not None
        told = {key: value for key, value in self._latest.additional_kwargs.items() if key != "thinking_delta"}
        return self._latest.model_copy(update={"delta": "", "additional_kwargs": told})

    def attach_to(self, error: StreamInterrupted) -> None:
        if error.partial is None and self._latest is not None:
            error.partial = read_answer(self._latest)


def _no_setting(name: str) -> str:
    if name == "models":
        return "`models` is no setting; give ready LLMs in `targets`, or Router(targets=[native(llm), ...])"
    known = [*RoutedLLM.model_fields, "targets", *_OF_THE_ROUTER]
    near = get_close_matches(name, known, n=1)
    remedy = f"did you mean {near[0]!r}?" if near else "arguments of one target go into `target_kwargs`"
    return f"RoutedLLM has no setting {name!r}; {remedy}"


def _completions(chunks: ChatResponseGen) -> CompletionResponseGen:
    with closing(chunks):
        yield from stream_chat_response_to_completion_response(chunks)


async def _acompletions(chunks: ChatResponseAsyncGen) -> CompletionResponseAsyncGen:
    async with aclosing(chunks):
        async for chunk in astream_chat_response_to_completion_response(chunks):
            yield chunk


def _arguments(given: Any) -> Any:
    if not isinstance(given, str):
        return given
    try:
        return parse_partial_json(given)
    except (ValueError, RecursionError):
        return {}
