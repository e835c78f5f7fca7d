"""RoutedChatModel: a LangChain chat model whose every call is routed, with failover, to one of several targets."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator, Mapping, Sequence
from contextlib import aclosing, closing
from dataclasses import dataclass
from difflib import get_close_matches
from operator import itemgetter
from pathlib import Path
from typing import Any, cast
from uuid import UUID

from langchain_core.callbacks import (
    AsyncCallbackManager,
    AsyncCallbackManagerForChainRun,
    AsyncCallbackManagerForLLMRun,
    BaseRunManager,
    CallbackManager,
    CallbackManagerForChainRun,
    CallbackManagerForLLMRun,
    Callbacks,
)
from langchain_core.callbacks.manager import ahandle_event, handle_event
from langchain_core.language_models import BaseChatModel, LangSmithParams, LanguageModelInput
from langchain_core.language_models.chat_model_stream import AsyncChatModelStream, ChatModelStream
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.utils import count_tokens_approximately
from langchain_core.outputs import ChatGeneration, ChatResult, LLMResult
from langchain_core.runnables import (
    Runnable,
    RunnableConfig,
    RunnableLambda,
    RunnableMap,
    RunnablePassthrough,
    ensure_config,
)
from langchain_core.runnables.config import merge_configs
from langchain_core.tools import BaseTool
from pydantic import ConfigDict, Field, PrivateAttr, SecretStr

from agentroute import Budget, ConfigError, Constraints, Router, StreamInterrupted
from agentroute.call import Call
from agentroute.decisions import Strategy
from agentroute.ledger import Ledger
from agentroute.ledger.notices import OnNotice

from .answers import Answer, Chunks, Events, Whole
from .attempts import AsyncModelPerformer, Attempts, ModelPerformer, OnPartial
from .context import DECISION_EVENT, NOTICE_EVENT, constraints_of, context_of, decision_of
from .event_streams import feed, feed_async
from .messages import origin_of
from .model_errors import model_error
from .options import Options
from .pool import native, pool_profile, with_key
from .structured import Method, Structured, replay, wire_parser
from .tool_sources import KnownTools

__all__ = ["RoutedChatModel", "decision_of"]

_NAME = "RoutedChatModel"
_CHARACTERS_PER_TOKEN = 4

_OF_THE_ROUTER = ("strategy", "ledger", "baseline", "deadline_s", "budget", "on_notice")
_CUSTOM = ("on_custom_event", "ignore_custom_event")


class RoutedChatModel(BaseChatModel):
    """A chat model that sends each call to the cheapest of its targets that will do it right.

    Args:
        targets: a list of ready LangChain chat models, agentroute Targets, `"provider/model"` texts and `native(...)`,
            or a dict of names to any of these, in which a tier's name (`budget`, ...) sets the tier.
        strategy, ledger, baseline, deadline_s, budget, on_notice: settings of the router that is made of `targets`.
        router: a Router of your own instead, which may hold ready models too (`native(model)`).
        temperature, max_tokens, stop: hold for every target.
        target_kwargs: further arguments for one target, by its name.
        timeout: seconds for a whole call, fallbacks included.
        max_retries: how many further attempts a call may make, at any target; no SDK below retries by itself.
        api_key: for targets of ours that have none, if all of them are of one provider.

    The answer's `response_metadata["agentroute"]` is the decision; `decision_of` reads it. The constraints of one call
    are `config={"configurable": {"agentroute": {"target": ..., "max_tier": ..., "strategy": ...}}}`.
    Raises ConfigError for a wrong setting, and, for a call, what `Router.complete` raises, as a
    member of LangChain's ModelError family too.
    """

    model_config = ConfigDict(extra="forbid")

    router: Router = Field(exclude=True)
    temperature: float | None = None
    max_tokens: int | None = None
    timeout: float | None = None
    max_retries: int | None = None
    stop: list[str] | None = None
    streaming: bool | None = None
    target_kwargs: Mapping[str, Mapping[str, Any]] = Field(default_factory=dict)
    on_partial: OnPartial = "raise"
    _known_tools: KnownTools = PrivateAttr(default_factory=KnownTools)

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
        api_key: str | SecretStr | None = None,
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
        router = Router.given(router, with_key(targets, api_key), native, BaseChatModel, options)
        super().__init__(**{"router": router, **settings})
        self.constraints()
        for name in self.target_kwargs:
            router.pool[name]
        if self.profile is None:
            self.profile = pool_profile(router.pool, self.models)

    def constraints(self) -> Mapping[str, Any]:
        """What `timeout` and `max_retries` mean for a call. Raises ConfigError for a wrong value."""
        attempts = None if self.max_retries is None else self.max_retries + 1
        known = {"deadline_s": self.timeout, "max_attempts": attempts}
        given = {name: value for name, value in known.items() if value is not None}
        Constraints.of(given)
        return given

    @property
    def models(self) -> Mapping[str, BaseChatModel]:
        """The LangChain model behind each native target, by the target's name."""
        return self.router.models

    @property
    def known_tools(self) -> KnownTools:
        """The sets of tools it was bound to last, converted."""
        return self._known_tools

    # -- one call ------------------------------------------------------------------------------------------------

    def invoke(
        self,
        input: LanguageModelInput,  # noqa: A002
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AIMessage:
        return cast("AIMessage", next(self._open(input, config, stop, kwargs).run(Whole())))

    async def ainvoke(
        self,
        input: LanguageModelInput,  # noqa: A002
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AIMessage:
        async with aclosing(self._open(input, config, stop, kwargs).arun(Whole())) as answer:
            return cast("AIMessage", await anext(answer))

    def stream(
        self,
        input: LanguageModelInput,  # noqa: A002
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> Iterator[AIMessageChunk]:
        if self._streaming_disabled(**kwargs):
            yield cast("AIMessageChunk", self.invoke(input, config, stop=stop, **kwargs))
        else:
            yield from self._open(input, config, stop, kwargs).run(Chunks())

    async def astream(
        self,
        input: LanguageModelInput,  # noqa: A002
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[AIMessageChunk]:
        if self._streaming_disabled(**kwargs):
            yield cast("AIMessageChunk", await self.ainvoke(input, config, stop=stop, **kwargs))
            return
        async with aclosing(self._open(input, config, stop, kwargs).arun(Chunks())) as chunks:
            async for chunk in chunks:
                yield chunk

    def _chat_model_stream_v3(
        self,
        input: LanguageModelInput,  # noqa: A002
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> ChatModelStream:
        stream = ChatModelStream()
        return feed(stream, self._open(input, config, stop, kwargs).run(Events(stream)))

    async def _achat_model_stream_v3(
        self,
        input: LanguageModelInput,  # noqa: A002
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AsyncChatModelStream:
        stream = AsyncChatModelStream()
        return feed_async(stream, self._open(input, config, stop, kwargs).arun(Events(stream)))

    def _open(
        self, given: LanguageModelInput, config: RunnableConfig | None, stop: list[str] | None, kwargs: dict[str, Any]
    ) -> _Opened:
        config = ensure_config(config)
        run_id, run_name = config.pop("run_id", None), config.pop("run_name", None)
        if self.tags or self.metadata or self.callbacks:
            own = RunnableConfig(tags=self.tags or [], metadata=self.metadata or {}, callbacks=self.callbacks)
            config = merge_configs(own, config)
        messages = self._convert_input(given).to_messages()
        defaults = {"temperature": self.temperature, "max_tokens": self.max_tokens}
        arguments = {**{name: value for name, value in defaults.items() if value is not None}, **kwargs}
        if self.streaming is not None:
            arguments.setdefault("stream", self.streaming)
        # A run named like the graph's node would pass for the node itself in LangGraph's message stream.
        node = (config.get("metadata") or {}).get("langgraph_node")
        settings = {"output_version": self.output_version, "cache": self.cache}
        attempts = Attempts(
            router=self.router,
            messages=messages,
            options=Options.of(arguments, stop=stop if stop is not None else self.stop),
            config=config,
            target_kwargs=self.target_kwargs,
            rate_limiter=self.rate_limiter,
            settings={name: value for name, value in settings.items() if value is not None},
            constraints=self.constraints(),
            on_partial=self.on_partial,
        )
        return _Opened(attempts, run_id, run_name if run_name and run_name != node else _NAME, self.verbose)

    # -- what goes through `invoke` ------------------------------------------------------------------------------

    def generate(
        self,
        messages: list[list[BaseMessage]],
        stop: list[str] | None = None,
        callbacks: Callbacks = None,
        *,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        run_name: str | None = None,
        run_id: UUID | None = None,
        **kwargs: Any,
    ) -> LLMResult:
        """Each conversation is routed by itself."""
        configs = _configs(len(messages), callbacks, tags, metadata, run_name, run_id)
        answers = [self.invoke(m, c, stop=stop, **kwargs) for m, c in zip(messages, configs, strict=True)]
        return LLMResult(generations=[[ChatGeneration(message=answer)] for answer in answers])

    async def agenerate(
        self,
        messages: list[list[BaseMessage]],
        stop: list[str] | None = None,
        callbacks: Callbacks = None,
        *,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        run_name: str | None = None,
        run_id: UUID | None = None,
        **kwargs: Any,
    ) -> LLMResult:
        """Each conversation is routed by itself, one after the other (`abatch` is the way to run them at once)."""
        configs = _configs(len(messages), callbacks, tags, metadata, run_name, run_id)
        answers = [await self.ainvoke(m, c, stop=stop, **kwargs) for m, c in zip(messages, configs, strict=True)]
        return LLMResult(generations=[[ChatGeneration(message=answer)] for answer in answers])

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self.invoke(messages, stop=stop, **kwargs))])

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=await self.ainvoke(messages, stop=stop, **kwargs))])

    # -- bindings ------------------------------------------------------------------------------------------------

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: Any = None,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Tools for the next calls. Each target is bound to them in its own way, when it is chosen.

        `tool_choice` is `auto`, `any`, `none`, the name of a tool, or any provider's own form of these.
        """
        given = self.known_tools.of(tools, strict=strict)
        bound = {"tool_choice": tool_choice, "strict": strict, **kwargs}
        bound = {name: value for name, value in bound.items() if value is not None}
        return self.bind(tools=given.formatted, agentroute_tools=given, **bound)

    def with_structured_output(
        self,
        schema: dict[str, Any] | type,
        *,
        method: Method | None = None,
        include_raw: bool = False,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, Any]:
        """Answers of this schema. `method` None is the default of whichever target is chosen."""
        given = {name: value for name, value in kwargs.items() if value is not None}
        structured = Structured(schema, method, given)
        traced = {"kwargs": {"method": method, **given}, "schema": schema}
        llm = self.bind(agentroute_structured=structured, ls_structured_output_format=traced)
        parser: Runnable[BaseMessage, Any] = RunnableLambda(_Parser(self.models, structured), name="StructuredOutput")
        if not include_raw:
            return llm | parser
        parsed = RunnablePassthrough.assign(parsed=itemgetter("raw") | parser, parsing_error=lambda _: None)
        failed = RunnablePassthrough.assign(parsed=lambda _: None)
        return RunnableMap(raw=llm) | parsed.with_fallbacks([failed], exception_key="parsing_error")

    # -- what LangChain asks about a model -----------------------------------------------------------------------

    @property
    def _llm_type(self) -> str:
        return "agentroute"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"targets": [target.name for target in self.router.pool]}

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        name = kwargs.get("model") or "agentroute"
        params = LangSmithParams(ls_provider="agentroute", ls_model_name=name, ls_model_type="chat")
        if self.temperature is not None:
            params["ls_temperature"] = self.temperature
        if self.max_tokens is not None:
            params["ls_max_tokens"] = self.max_tokens
        if stop or self.stop:
            params["ls_stop"] = stop or self.stop
        return params

    def get_num_tokens_from_messages(self, messages: list[BaseMessage], tools: Sequence[Any] | None = None) -> int:
        """An estimate: which tokenizer will read the messages is not known before they are routed."""
        return count_tokens_approximately(messages)

    def get_num_tokens(self, text: str) -> int:
        """An estimate, as for messages."""
        return -(-len(text) // _CHARACTERS_PER_TOKEN)


@dataclass(frozen=True, slots=True, repr=False)
class _Opened:
    """One call that has been read and not yet routed."""

    attempts: Attempts
    run_id: UUID | None
    name: str
    verbose: bool

    @property
    def inputs(self) -> dict[str, Any]:
        return {"messages": self.attempts.messages}

    def manager(self) -> CallbackManager:
        return CallbackManager.configure(**self._callbacks())

    def async_manager(self) -> AsyncCallbackManager:
        return AsyncCallbackManager.configure(**self._callbacks())

    def _callbacks(self) -> dict[str, Any]:
        config = self.attempts.config
        return {
            "inheritable_callbacks": config.get("callbacks"),
            "inheritable_tags": config.get("tags"),
            "inheritable_metadata": config.get("metadata"),
            "verbose": self.verbose,
        }

    def run(self, answer: Answer) -> Generator[Any, None, None]:
        """What the caller reads: the answer as it comes, and what ends it. One chain run is around it all."""
        run = self.manager().on_chain_start(None, self.inputs, self.run_id, name=self.name)
        call: Call | None = None
        try:
            call = self.prepare(stream=answer.shape != "message")
            _tell(run, call)
            with closing(call.run(ModelPerformer(self.attempts, run, answer.shape))) as payloads:
                for payload in payloads:
                    if (shown := answer.take(payload)) is not None:
                        yield shown
            last = answer.last(call.decision)
            call.answered(answer.whole)
            _tell(run, call)
        except GeneratorExit:
            _tell(run, call)
            run.on_chain_end(answer.so_far() if run.handlers else None)
            raise
        except BaseException as error:
            raised = _raised(error, answer)
            _tell(run, call)
            run.on_chain_error(raised)
            if raised is error:
                raise
            raise raised  # noqa: B904 - it names its cause itself
        run.on_chain_end(answer.so_far() if run.handlers else None)
        yield last

    async def arun(self, answer: Answer) -> AsyncGenerator[Any, None]:
        """`run` on an event loop."""
        run = await self.async_manager().on_chain_start(None, self.inputs, self.run_id, name=self.name)
        call: Call | None = None
        try:
            call = self.prepare(stream=answer.shape != "message")
            await _atell(run, call)
            async with aclosing(call.arun(AsyncModelPerformer(self.attempts, run, answer.shape))) as payloads:
                async for payload in payloads:
                    if (shown := answer.take(payload)) is not None:
                        yield shown
            last = answer.last(call.decision)
            call.answered(answer.whole)
            await _atell(run, call)
        except GeneratorExit:
            await _atell(run, call)
            await run.on_chain_end(answer.so_far() if run.handlers else None)
            raise
        except BaseException as error:
            raised = _raised(error, answer)
            await _atell(run, call)
            await run.on_chain_error(raised)
            if raised is error:
                raise
            raise raised  # noqa: B904 - it names its cause itself
        await run.on_chain_end(answer.so_far() if run.handlers else None)
        yield last

    def prepare(self, *, stream: bool) -> Call:
        attempts = self.attempts
        return attempts.router.prepare(
            attempts.options.request(attempts.messages, attempts.router.pool),
            context=context_of(attempts.config, attempts.messages),
            constraints=constraints_of(attempts.config, attempts.constraints),
            stream=stream,
        )


@dataclass(frozen=True, slots=True)
class _Parser:
    """Reads a structured answer the way the target that gave it would."""

    models: Mapping[str, BaseChatModel]
    structured: Structured

    def __call__(self, message: BaseMessage) -> Any:
        model = self.models.get(origin_of(message) or "")
        parser = wire_parser(self.structured) if model is None else replay(self.structured, model)[1]
        return parser.invoke(message)


def _raised(error: BaseException, answer: Answer) -> BaseException:
    if isinstance(error, StreamInterrupted) and error.partial is None:
        error.partial = answer.partial()
    return model_error(error)


def _no_setting(name: str) -> str:
    if name == "models":
        return "`models` is no setting; give ready models in `targets`, or Router(targets=[native(model), ...])"
    known = [*RoutedChatModel.model_fields, "targets", *_OF_THE_ROUTER]
    near = get_close_matches(name, known, n=1)
    remedy = f"did you mean {near[0]!r}?" if near else "arguments of one target go into `target_kwargs`"
    return f"RoutedChatModel has no setting {name!r}; {remedy}"


def _listened_to(run: BaseRunManager) -> bool:
    return any(not handler.ignore_custom_event for handler in run.handlers)


def _tell(run: CallbackManagerForChainRun, call: Call | None) -> None:
    if call is not None and _listened_to(run):
        handle_event(run.handlers, *_CUSTOM, DECISION_EVENT, call.decision.to_dict(), **_of(run))
        for notice in call.notices:
            handle_event(run.handlers, *_CUSTOM, NOTICE_EVENT, notice.to_dict(), **_of(run))


async def _atell(run: AsyncCallbackManagerForChainRun, call: Call | None) -> None:
    if call is not None and _listened_to(run):
        await ahandle_event(run.handlers, *_CUSTOM, DECISION_EVENT, call.decision.to_dict(), **_of(run))
        for notice in call.notices:
            await ahandle_event(run.handlers, *_CUSTOM, NOTICE_EVENT, notice.to_dict(), **_of(run))


def _of(run: BaseRunManager) -> dict[str, Any]:
    return {"run_id": run.run_id, "tags": run.tags, "metadata": run.metadata}


def _configs(
    count: int,
    callbacks: Callbacks,
    tags: list[str] | None,
    metadata: dict[str, Any] | None,
    run_name: str | None,
    run_id: UUID | None,
) -> list[RunnableConfig]:
    given = {"callbacks": callbacks, "tags": tags, "metadata": metadata, "run_name": run_name}
    config = cast("RunnableConfig", {name: value for name, value in given.items() if value is not None})
    first = config if run_id is None else RunnableConfig(**config, run_id=run_id)
    return [first, *[config] * (count - 1)][:count]
