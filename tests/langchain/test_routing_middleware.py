"""RoutingMiddleware in create_agent: chain, record and traces of a RoutedChatModel, beside other middleware."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from copy import deepcopy
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import (
    AgentMiddleware,
    LLMToolSelectorMiddleware,
    ModelFallbackMiddleware,
    ModelRequest,
    ModelResponse,
    ModelRetryMiddleware,
    SummarizationMiddleware,
    ToolRetryMiddleware,
)
from langchain.agents.structured_output import AutoStrategy, ProviderStrategy, ToolStrategy
from langchain_agentroute import RoutedChatModel, RoutingMiddleware, decision_of, native
from langchain_anthropic import ChatAnthropic
from langchain_anthropic.middleware import AnthropicPromptCachingMiddleware
from langchain_core.callbacks import BaseCallbackHandler, UsageMetadataCallbackHandler
from langchain_core.exceptions import ModelError
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.rate_limiters import BaseRateLimiter
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import BaseModel

from agentroute import (
    AllAttemptsFailed,
    Capabilities,
    ChatRequest,
    ConfigError,
    Decision,
    NoCandidateError,
    Router,
    StreamInterrupted,
)
from agentroute.failover.effects import Timeouts
from agentroute.native.targets import wrapped
from agentroute.testing import Fault, ScriptedProvider, ScriptedReply, nth, tool_call

from .pools import POOLS, SMALL, STRONG, Runs, chat_openai, pool
from .standard_server import reply as obliging

pytestmark = pytest.mark.requires("langchain", "langchain_openai", "langchain_anthropic")

ANSWER = "It is 18 degrees in Paris, and the sun shines."
QUESTION: Any = {"messages": [("user", "What is the weather in Paris?")]}
TO_SMALL: Any = {"configurable": {"agentroute": {"strategy": "cheapest"}}}
HOW = ("sync", "async")
FAMILIES = ("wire", "native")


@tool
def weather(city: str) -> str:
    """The weather of a city."""
    return f"{city}: 18 degrees, sunny"


def script(request: ChatRequest) -> ScriptedReply | str:
    if any(message.tool_results for message in request.messages):
        return ANSWER
    if not request.tools:
        return "Hello there."
    return ScriptedReply("Let me look.", tool_calls=(tool_call("weather", city="Paris"),))


def serve(fault: Any = None) -> ScriptedProvider:
    return ScriptedProvider(script, fault=fault, provider="openai", chunk_characters=4)


@pytest.fixture
def provider() -> Iterator[ScriptedProvider]:
    with serve() as running:
        yield running


def claude(provider: ScriptedProvider) -> ChatAnthropic:
    base_url = provider.base_url.removesuffix("/v1")
    return ChatAnthropic(model_name="claude-sonnet-4-6", base_url=base_url, api_key=provider.api_key)


def two(kind: str, openai: ScriptedProvider, anthropic: ScriptedProvider) -> dict[str, Any]:
    """One model of each family: `gpt` and `claude`."""
    if kind == "native":
        return {
            "gpt": native(chat_openai(openai.base_url, STRONG, openai.api_key)),
            "claude": native(claude(anthropic)),
        }
    return {
        "gpt": openai.target(model=STRONG),
        "claude": anthropic.target(model="claude-sonnet-4-6", dialect="anthropic_messages"),
    }


def pinned(target: str) -> Any:
    return {"configurable": {"agentroute": {"target": target}}}


def ran(agent: Any, how: str, routing: RoutingMiddleware, given: Any = None, config: Any = None) -> dict[str, Any]:
    """The agent's final state."""
    given = QUESTION if given is None else given

    async def go() -> Any:
        try:
            return await agent.ainvoke(given, config)
        finally:
            await routing.router.aclose()

    try:
        return agent.invoke(given, config) if how == "sync" else asyncio.run(go())  # type: ignore[no-any-return]
    finally:
        routing.router.close()


def run(agent: Any, how: str, routing: RoutingMiddleware, given: Any = None, config: Any = None) -> list[BaseMessage]:
    return ran(agent, how, routing, given, config)["messages"]  # type: ignore[no-any-return]


def shown_by(
    agent: Any, how: str, routing: RoutingMiddleware, config: Any = None
) -> tuple[list[AIMessageChunk], list[BaseMessage], StreamInterrupted | None]:
    """What `stream_mode="messages"` shows, the state at the end, and what ended it early."""
    seen: list[AIMessageChunk] = []
    state: list[BaseMessage] = []

    def take(mode: str, payload: Any) -> None:
        if mode == "values":
            state[:] = payload["messages"]
        elif isinstance(payload[0], AIMessageChunk):
            seen.append(payload[0])

    async def go() -> None:
        try:
            async for mode, payload in agent.astream(QUESTION, config, stream_mode=["messages", "values"]):
                take(mode, payload)
        finally:
            await routing.router.aclose()

    try:
        if how == "async":
            asyncio.run(go())
        else:
            for mode, payload in agent.stream(QUESTION, config, stream_mode=["messages", "values"]):
                take(mode, payload)
    except StreamInterrupted as error:
        return seen, state, error
    finally:
        routing.router.close()
    return seen, state, None


def answers(messages: list[BaseMessage]) -> list[AIMessage]:
    return [message for message in messages if isinstance(message, AIMessage)]


def decided(message: BaseMessage) -> Decision:
    found = decision_of(message)
    assert found is not None
    return found


def recorded(routing: RoutingMiddleware) -> tuple[Decision, ...]:
    return routing.router.ledger.decisions  # type: ignore[attr-defined,no-any-return]


def ancestors(runs: Runs, run: dict[str, Any]) -> Iterator[dict[str, Any]]:
    while run["parent"] is not None:
        run = runs.parent_of(run)
        yield run


class Around(AgentMiddleware[Any, Any, Any]):
    """Changes each request, plain and asynchronous, and keeps the one it was given."""

    def __init__(self, before: Callable[[ModelRequest[Any]], ModelRequest[Any]] = lambda request: request) -> None:
        self.before = before
        self.requests: list[ModelRequest[Any]] = []

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        self.requests.append(request)
        return handler(self.before(request))

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any]:
        self.requests.append(request)
        return await handler(self.before(request))


def broken(request: ModelRequest[Any]) -> ModelRequest[Any]:
    raise TypeError("unexpected keyword")


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("kind", POOLS)
class TestEachStep:
    def test_is_routed_and_says_so(self, kind: str, how: str, provider: ScriptedProvider) -> None:
        routing = RoutingMiddleware(targets=pool(kind, provider))
        agent = create_agent(routing.model, tools=[weather], middleware=[routing], system_prompt="Be brief.")
        runs, usage = Runs(), UsageMetadataCallbackHandler()
        messages = run(agent, how, routing, config={"callbacks": [runs, usage]})
        assert [type(message) for message in messages] == [HumanMessage, AIMessage, ToolMessage, AIMessage]
        assert messages[-1].text == ANSWER
        bodies = [request.body for request in provider.requests]
        assert [[m["role"] for m in body["messages"]] for body in bodies] == [
            ["system", "user"],
            ["system", "user", "assistant", "tool"],
        ]
        assert all(body["tools"][0]["function"]["name"] == "weather" for body in bodies)
        assert not any(request.stream for request in provider.requests)
        for message, body, llm in zip(answers(messages), bodies, runs.llm, strict=True):
            decision = decided(message)
            assert decision.outcome == "ok"
            assert message.response_metadata["model_name"] == body["model"]
            assert message.usage_metadata is not None
            assert decision.usage is not None
            assert decision.usage.input_tokens == message.usage_metadata["input_tokens"]
            assert llm["metadata"]["ls_model_name"] == body["model"]
            assert llm["metadata"]["agentroute_target"] == decision.attempts[0].target
            assert llm["metadata"]["agentroute_attempt"] == 1
            assert llm["kwargs"]["invocation_params"]["tools"][0]["function"]["name"] == "weather"
            assert "model" in [run["name"] for run in ancestors(runs, llm)]
        counted = sum(entry["total_tokens"] for entry in usage.usage_metadata.values())
        assert counted == sum(message.usage_metadata["total_tokens"] for message in answers(messages))  # type: ignore[index]
        assert [decision.id for decision in recorded(routing)] == [decided(m).id for m in answers(messages)]

    def test_streams_its_tokens_once(self, kind: str, how: str, provider: ScriptedProvider) -> None:
        routing = RoutingMiddleware(targets=pool(kind, provider))
        agent = create_agent(routing.model, tools=[weather], middleware=[routing])
        seen, messages, error = shown_by(agent, how, routing)
        assert error is None
        assert all(request.stream for request in provider.requests)
        texts: dict[str | None, str] = {}
        for chunk in seen:
            texts[chunk.id] = texts.get(chunk.id, "") + str(chunk.text)
        assert list(texts.values()) == ["Let me look.", ANSWER]
        assert len([chunk for chunk in seen if chunk.text]) > 2
        assert [decided(message).outcome for message in answers(messages)] == ["ok", "ok"]

    def test_fails_over_in_one_record(self, kind: str, how: str) -> None:
        with serve(nth(1, Fault.error(429), model=SMALL)) as provider:
            routing = RoutingMiddleware(targets=pool(kind, provider))
            agent = create_agent(routing.model, tools=[weather], middleware=[routing])
            runs = Runs()
            first, *_ = answers(run(agent, how, routing, config={**TO_SMALL, "callbacks": [runs]}))
        attempts = [(a.target, a.outcome, a.error) for a in decided(first).attempts]
        assert attempts == [("small", "failed", "RateLimited"), ("strong", "ok", None)]
        assert [request.model for request in provider.requests][:2] == [SMALL, STRONG]
        assert [
            (r["metadata"]["agentroute_target"], r["metadata"]["agentroute_attempt"], r["end"] == "ok")
            for r in runs.llm[:2]
        ] == [("small", 1, False), ("strong", 2, True)]

    def test_no_second_text_after_the_first(self, kind: str, how: str) -> None:
        with serve(nth(1, Fault.cut_after(2), model=SMALL)) as provider:
            routing = RoutingMiddleware(targets=pool(kind, provider))
            seen, _, error = shown_by(create_agent(routing.model, middleware=[routing]), how, routing, TO_SMALL)
            assert error is not None
            assert error.partial is not None
            assert error.partial.text
            assert "".join(str(chunk.text) for chunk in seen) == error.partial.text
            assert len(provider.requests) == 1

    def test_restarts_where_told_so(self, kind: str, how: str) -> None:
        with serve(nth(1, Fault.cut_after(2), model=SMALL)) as provider:
            routing = RoutingMiddleware(targets=pool(kind, provider), on_partial="restart")
            _, messages, error = shown_by(create_agent(routing.model, middleware=[routing]), how, routing, TO_SMALL)
        assert error is None
        assert messages[-1].text == "Hello there."
        assert decided(messages[-1]).attempts[-1].target == "strong"

    def test_errors_are_of_langchains_family(self, kind: str, how: str) -> None:
        with serve(Fault.error(503)) as provider:
            routing = RoutingMiddleware(targets=pool(kind, provider))
            with pytest.raises(AllAttemptsFailed) as raised:
                run(create_agent(routing.model, middleware=[routing]), how, routing)
        assert isinstance(raised.value, ModelError)
        assert raised.value.is_retryable
        assert raised.value.__context__ is None
        assert {attempt.target for attempt in raised.value.attempts} == {"small", "strong"}

    def test_a_mistake_in_the_program_never_fails_over(self, kind: str, how: str, provider: ScriptedProvider) -> None:
        inner = Around(broken)
        routing = RoutingMiddleware(targets=pool(kind, provider))
        with pytest.raises(TypeError, match="unexpected keyword"):
            run(create_agent(routing.model, middleware=[routing, inner]), how, routing)
        assert len(inner.requests) == 1
        assert provider.requests == ()

    def test_tells_interfaces_of_a_decision_twice(self, kind: str, how: str, provider: ScriptedProvider) -> None:
        told: list[Decision] = []

        class Told(BaseCallbackHandler):
            def on_custom_event(self, name: str, data: Any, **_: Any) -> None:
                assert name == "agentroute_decision"
                told.append(Decision.from_dict(data))

        routing = RoutingMiddleware(targets=pool(kind, provider))
        run(create_agent(routing.model, middleware=[routing]), how, routing, config={"callbacks": [Told()]})
        assert [decision.outcome for decision in told] == ["planned", "ok"]
        assert len({decision.id for decision in told}) == 1

    def test_sends_what_inner_middleware_makes_of_it(self, kind: str, how: str, provider: ScriptedProvider) -> None:
        def pirate(request: ModelRequest[Any]) -> ModelRequest[Any]:
            settings = {**request.model_settings, "temperature": 0.25}
            return request.override(system_message=SystemMessage("Arr."), tools=[], model_settings=settings)

        routing = RoutingMiddleware(targets=pool(kind, provider))
        middleware = [routing, Around(pirate)]
        agent = create_agent(routing.model, tools=[weather], system_prompt="Be brief.", middleware=middleware)
        run(agent, how, routing)
        (sent,) = provider.requests
        assert sent.body["messages"][0]["content"] == "Arr."
        assert "tools" not in sent.body
        assert sent.body["temperature"] == 0.25

    def test_its_own_settings_hold_for_every_target(self, kind: str, how: str, provider: ScriptedProvider) -> None:
        class Counted(BaseRateLimiter):
            taken = 0

            def acquire(self, *, blocking: bool = True) -> bool:
                self.taken += 1
                return True

            async def aacquire(self, *, blocking: bool = True) -> bool:
                return self.acquire()

        limiter = Counted()
        model = RoutedChatModel(
            targets=pool(kind, provider),
            temperature=0.5,
            max_tokens=77,
            stop=["END"],
            rate_limiter=limiter,
            target_kwargs={"small": {"seed": 3}},
        )
        run(create_agent(model, middleware=[routing := RoutingMiddleware(model)]), how, routing, config=pinned("small"))
        (sent,) = provider.requests
        assert (sent.body["temperature"], sent.body["stop"], sent.body["seed"]) == (0.5, ["END"], 3)
        assert 77 in (sent.body.get("max_tokens"), sent.body.get("max_completion_tokens"))
        assert limiter.taken == 1

    def test_knows_where_it_stands(self, kind: str, how: str, provider: ScriptedProvider) -> None:
        routing = RoutingMiddleware(targets=pool(kind, provider))
        kept = InMemorySaver()
        agent = create_agent(routing.model, tools=[weather], middleware=[routing], name="forecaster", checkpointer=kept)
        config: Any = {"configurable": {"thread_id": "t-7"}, "metadata": {"role": "helper"}}
        first, last = answers(run(agent, how, routing, config=config))
        for message in (first, last):
            context = decided(message).context
            assert (context.conversation_id, context.agent, context.role) == ("t-7", "forecaster", "helper")
            assert (context.node, context.parent_id) == ("model", None)
            assert message.name == "forecaster"
        assert last.response_metadata["agentroute"]["context"]["previous_id"] == decided(first).id
        assert decided(last).step_kind.value == "after_result"
        checkpoint = answers(agent.get_state(config).values["messages"])
        assert [decided(message).id for message in checkpoint] == [decided(first).id, decided(last).id]

    def test_a_sub_agent_shares_it(self, kind: str, how: str, provider: ScriptedProvider) -> None:
        routing = RoutingMiddleware(targets=pool(kind, provider))
        inner = create_agent(routing.model, middleware=[routing], name="researcher")
        seen: list[BaseMessage] = []

        @tool("weather")
        def research(city: str) -> str:
            """Asks the researcher."""
            seen.append(inner.invoke({"messages": [("user", f"Find out about {city}")]})["messages"][-1])
            return "done"

        run(create_agent(routing.model, tools=[research], middleware=[routing], name="boss"), how, routing)
        context = decided(seen[0]).context
        assert (context.agent, context.node) == ("researcher", "model")
        assert context.parent_id is not None
        assert context.parent_id.startswith("tools:")


class Weather(BaseModel):
    """The weather of a city."""

    city: str
    degrees: int


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("kind", FAMILIES)
@pytest.mark.parametrize("target", ["gpt", "claude"])
@pytest.mark.parametrize("wanted", [Weather, AutoStrategy(Weather), ProviderStrategy(Weather), ToolStrategy(Weather)])
def test_structured_answers_are_asked_for_in_each_targets_way(kind: str, how: str, target: str, wanted: Any) -> None:
    with (
        ScriptedProvider(obliging, provider="openai") as here,
        ScriptedProvider(obliging, provider="anthropic") as there,
    ):
        routing = RoutingMiddleware(targets=two(kind, here, there))
        agent = create_agent(routing.model, response_format=wanted, middleware=[routing])
        state = ran(agent, how, routing, {"messages": [("user", "In 'Paris' it is 18 degrees.")]}, pinned(target))
        (sent,) = [*here.requests, *there.requests]
    assert state["structured_response"] == Weather(city="Paris", degrees=18)
    (answer,) = answers(state["messages"])
    assert decided(answer).target == target
    assert decided(answer).step_kind.value == "structured"
    by_tool = isinstance(wanted, ToolStrategy)
    assert bool(sent.asked.tools) == by_tool
    assert (sent.asked.response_schema is None) == by_tool
    assert isinstance(state["messages"][-1], ToolMessage if by_tool else AIMessage)


@pytest.mark.parametrize("able", [True, False])
def test_a_target_without_structured_output_is_asked_by_a_tool(able: bool) -> None:
    with ScriptedProvider(obliging) as provider:
        house = provider.target(model="house", tier="mid", capabilities=Capabilities(structured_output=able))
        routing = RoutingMiddleware(targets=[house])
        agent = create_agent(routing.model, response_format=Weather, middleware=[routing])
        state = ran(agent, "sync", routing, {"messages": [("user", "In 'Paris' it is 18 degrees.")]})
        (sent,) = provider.requests
    assert state["structured_response"] == Weather(city="Paris", degrees=18)
    assert (sent.asked.response_schema is not None) == able
    assert bool(sent.asked.tools) != able


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("kind", FAMILIES)
@pytest.mark.parametrize("order", ["inner", "outer"])
class TestPromptCaching:
    """AnthropicPromptCachingMiddleware: its markers reach Anthropic's models alone, wherever it stands."""

    def agent(
        self, kind: str, order: str, here: ScriptedProvider, there: ScriptedProvider
    ) -> tuple[Any, RoutingMiddleware]:
        routing = RoutingMiddleware(targets=two(kind, here, there))
        caching: Any = AnthropicPromptCachingMiddleware(ttl="1h", unsupported_model_behavior="ignore")
        middleware = [routing, caching] if order == "inner" else [caching, routing]
        # As the outer one it looks at the agent's own model.
        agent = create_agent(claude(there), tools=[weather], system_prompt="Be brief.", middleware=middleware)
        return agent, routing

    def test_openai_sees_no_marker(self, kind: str, how: str, order: str) -> None:
        with serve() as here, ScriptedProvider(script, provider="anthropic") as there:
            agent, routing = self.agent(kind, order, here, there)
            messages = run(agent, how, routing, config=pinned("gpt"))
        assert messages[-1].text == ANSWER
        assert len(here.requests) == 2
        assert "cache_control" not in str([request.body for request in here.requests])
        assert all(attempt.outcome == "ok" for m in answers(messages) for attempt in decided(m).attempts)

    def test_anthropic_does(self, kind: str, how: str, order: str) -> None:
        with serve() as here, ScriptedProvider(script, provider="anthropic") as there:
            agent, routing = self.agent(kind, order, here, there)
            run(agent, how, routing, config=pinned("claude"))
        assert len(there.requests) == 2
        for request in there.requests:
            assert "cache_control" in str(request.body)
            if kind == "native" or order == "outer":
                assert request.body["cache_control"] == {"type": "ephemeral", "ttl": "1h"}
                assert "cache_control" in str(request.body["system"])


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("kind", FAMILIES)
class TestTwoFamilies:
    def test_what_another_family_wrote_goes_as_text_and_calls(self, kind: str, how: str) -> None:
        content: Any = [
            {"type": "thinking", "thinking": "hm", "signature": "c2ln"},
            {"type": "redacted_thinking", "data": "x"},
            {"type": "text", "text": "Let me see."},
        ]
        call: Any = {"name": "weather", "args": {"city": "Rome"}, "id": "toolu_1", "type": "tool_call"}
        metadata = {"model_provider": "anthropic", "model_name": "claude-sonnet-4-6"}
        history = [
            HumanMessage("And in Rome?", id="1"),
            AIMessage(content, tool_calls=[call], response_metadata=metadata, id="2"),
            ToolMessage("Rome: 20 degrees", tool_call_id="toolu_1", id="3"),
        ]
        before, outer = deepcopy(history), Around()
        with serve() as here, ScriptedProvider(script, provider="anthropic") as there:
            routing = RoutingMiddleware(targets=two(kind, here, there))
            agent = create_agent(routing.model, tools=[weather], middleware=[outer, routing])
            messages = run(agent, how, routing, {"messages": history}, pinned("gpt"))
        assert history == outer.requests[0].messages == messages[:3] == before
        (sent,) = here.requests
        assert "thinking" not in str(sent.body)
        assert "Let me see." in str(sent.body["messages"][1]["content"])
        assert sent.body["messages"][1]["tool_calls"][0]["function"]["name"] == "weather"

    @pytest.mark.parametrize("target", ["gpt", "claude"])
    def test_arguments_of_one_provider_do_not_reach_the_other(self, kind: str, how: str, target: str) -> None:
        outer = Around(lambda r: r.override(model_settings={"prompt_cache_key": "k", "temperature": 0.5}))
        with serve() as here, ScriptedProvider(script, provider="anthropic") as there:
            routing = RoutingMiddleware(targets=two(kind, here, there))
            agent = create_agent(routing.model, middleware=[outer, routing])
            (answer,) = answers(run(agent, how, routing, config=pinned(target)))
        (sent,) = [*here.requests, *there.requests]
        assert sent.body["temperature"] == 0.5
        assert ("prompt_cache_key" in sent.body) == (target == "gpt")
        assert bool(decided(answer).warnings) == (target == "claude")

    def test_a_built_in_tool_stays_with_who_has_it(self, kind: str, how: str) -> None:
        search: Any = {"type": "web_search_20250305", "name": "web_search"}
        with serve() as here, ScriptedProvider("found it", provider="anthropic") as there:
            routing = RoutingMiddleware(targets=two(kind, here, there))
            agent = create_agent(routing.model, tools=[search], middleware=[routing])
            (answer,) = answers(run(agent, how, routing))
        (sent,) = there.requests
        assert sent.body["tools"][0]["type"] == "web_search_20250305"
        assert here.requests == ()
        assert "built-in tool" in str(decided(answer).dropped)

    @pytest.mark.parametrize(("target", "said"), [("gpt", "none"), ("claude", {"type": "none"})])
    def test_no_tools_is_said_in_each_targets_way(self, kind: str, how: str, target: str, said: Any) -> None:
        outer = Around(lambda r: r.override(tool_choice="none"))
        with ScriptedProvider("no", provider="openai") as here, ScriptedProvider("no", provider="anthropic") as there:
            routing = RoutingMiddleware(targets=two(kind, here, there))
            agent = create_agent(routing.model, tools=[weather], middleware=[outer, routing])
            run(agent, how, routing, config=pinned(target))
            (sent,) = [*here.requests, *there.requests]
        assert sent.body["tool_choice"] == said


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("kind", FAMILIES)
class TestBesideOthers:
    def test_a_retry_around_it_is_another_decision(self, kind: str, how: str) -> None:
        with serve(lambda _: None if recorded(routing) else Fault.error(503)) as provider:
            routing = RoutingMiddleware(targets=pool(kind, provider))
            retry: Any = ModelRetryMiddleware(max_retries=1, initial_delay=0.0, jitter=False)
            messages = run(create_agent(routing.model, middleware=[retry, routing]), how, routing)
        assert messages[-1].text == "Hello there."
        assert [decision.outcome for decision in recorded(routing)] == ["failed", "ok"]

    def test_a_fallback_around_it_routes_again(self, kind: str, how: str) -> None:
        unused = GenericFakeChatModel(messages=iter([AIMessage("fallback")]))
        with serve(lambda _: None if recorded(routing) else Fault.error(503)) as provider:
            routing = RoutingMiddleware(targets=pool(kind, provider))
            agent = create_agent(routing.model, middleware=[ModelFallbackMiddleware(unused), routing])
            assert run(agent, how, routing)[-1].text == "Hello there."
        assert [decision.outcome for decision in recorded(routing)] == ["failed", "ok"]

    def test_a_fallback_inside_it_is_not_mistaken_for_the_target(self, kind: str, how: str) -> None:
        with serve(Fault.error(503)) as provider:
            routing = RoutingMiddleware(targets=pool(kind, provider))
            other = GenericFakeChatModel(messages=iter([AIMessage("from elsewhere")]))
            agent = create_agent(routing.model, middleware=[routing, ModelFallbackMiddleware(other)])
            (answer,) = answers(run(agent, how, routing))
        assert answer.text == "from elsewhere"
        assert decided(answer).usage is None
        assert "not this target's" in str(decided(answer).warnings)

    def test_a_failing_tool_is_tried_again_without_a_decision(
        self, kind: str, how: str, provider: ScriptedProvider
    ) -> None:
        failures = [ConnectionError("once")]

        @tool("weather")
        def flaky(city: str) -> str:
            """The weather of a city."""
            if failures:
                raise failures.pop()
            return f"{city}: fine"

        routing = RoutingMiddleware(targets=pool(kind, provider))
        retry: Any = ToolRetryMiddleware(max_retries=1, initial_delay=0.0, jitter=False)
        messages = run(create_agent(routing.model, tools=[flaky], middleware=[retry, routing]), how, routing)
        assert messages[2].text == "Paris: fine"
        assert len(answers(messages)) == len(recorded(routing)) == 2

    def test_the_summary_is_routed_too(self, kind: str, how: str) -> None:
        with ScriptedProvider("fine", provider="openai") as provider:
            routing = RoutingMiddleware(targets=pool(kind, provider))
            summary = SummarizationMiddleware(routing.model, trigger=("messages", 4), keep=("messages", 2))
            agent = create_agent(routing.model, middleware=[summary, routing])
            history: Any = [("user", "one"), ("assistant", "1"), ("user", "two"), ("assistant", "2"), ("user", "three")]
            messages = run(agent, how, routing, {"messages": history})
            assert messages[-1].text == "fine"
            assert len(provider.requests) == len(recorded(routing)) == 2

    def test_tools_are_selected_before_the_step_is_routed(self, kind: str, how: str) -> None:
        @tool
        def other(city: str) -> str:
            """Another tool."""
            return city

        def select(request: ChatRequest) -> ScriptedReply | str:
            return '{"tools": ["weather"]}' if request.response_schema is not None else script(request)

        with ScriptedProvider(select, provider="openai") as provider:
            routing = RoutingMiddleware(targets=pool(kind, provider))
            selector = LLMToolSelectorMiddleware(model=routing.model, max_tools=1)
            agent = create_agent(routing.model, tools=[other, weather], middleware=[selector, routing])
            assert run(agent, how, routing)[-1].text == ANSWER
            asked = [request.asked for request in provider.requests]
        assert [[t.name for t in each.tools] for each in asked if each.response_schema is None] == [["weather"]] * 2
        assert len(recorded(routing)) == len(asked) == 4


@pytest.mark.parametrize("kind", POOLS)
def test_shares_what_a_routed_chat_model_has(kind: str, provider: ScriptedProvider) -> None:
    model = RoutedChatModel(targets=pool(kind, provider))
    routing = RoutingMiddleware(model)
    assert routing.model is model
    by_router = RoutingMiddleware(router=model.router)
    create_agent(model, middleware=[by_router]).invoke(QUESTION)
    model.invoke("hello")
    assert len(recorded(routing)) == 2
    model.router.close()


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("kind", POOLS)
def test_an_error_after_the_answer_is_not_the_targets(kind: str, how: str, provider: ScriptedProvider) -> None:
    """Whatever a middleware nearer to the model calls by itself, its failures close no circuit of ours."""

    class Audit(AgentMiddleware[Any, Any, Any]):
        def wrap_model_call(self, request: Any, handler: Any) -> Any:
            handler(request)
            raise ConnectionError("the audit log is down")

        async def awrap_model_call(self, request: Any, handler: Any) -> Any:
            await handler(request)
            raise ConnectionError("the audit log is down")

    routing = RoutingMiddleware(targets=pool(kind, provider))
    with pytest.raises(ConnectionError, match="the audit log is down"):
        run(create_agent(routing.model, middleware=[routing, Audit()]), how, routing)
    assert len(provider.requests) == 1


@pytest.mark.parametrize("kind", POOLS)
def test_the_shape_of_content_is_that_of_the_shared_model(kind: str, provider: ScriptedProvider) -> None:
    model = RoutedChatModel(targets=pool(kind, provider), output_version="v1")
    (answer,) = answers(run(create_agent(model, middleware=[r := RoutingMiddleware(model)]), "sync", r))
    assert answer.content == [{"type": "text", "text": "Hello there."}]


@pytest.mark.parametrize("kind", FAMILIES)
def test_anthropic_keeps_the_prefix_of_a_loop_without_any_middleware(kind: str) -> None:
    with serve() as here, ScriptedProvider(script, provider="anthropic") as there:
        routing = RoutingMiddleware(targets=two(kind, here, there))
        run(
            create_agent(routing.model, tools=[weather], middleware=[routing]), "sync", routing, config=pinned("claude")
        )
    assert all("cache_control" in str(request.body) for request in there.requests)


@pytest.mark.parametrize("kind", FAMILIES)
def test_reasoning_goes_back_to_the_target_that_signed_it(kind: str) -> None:
    thought: Any = {"type": "thinking", "thinking": "hm", "signature": "c2ln"}
    call: Any = {"name": "weather", "args": {"city": "Rome"}, "id": "toolu_1", "type": "tool_call"}
    # A dated name, as Anthropic answers with: only the decision says that it was this target.
    metadata = {"model_provider": "anthropic", "model_name": "claude-x-20990101", "agentroute": {"target": "claude"}}
    said = AIMessage([thought], tool_calls=[call], response_metadata=metadata)
    history: Any = [HumanMessage("Rome?"), said, ToolMessage("20", tool_call_id="toolu_1")]
    with serve() as here, ScriptedProvider(script, provider="anthropic") as there:
        routing = RoutingMiddleware(targets=two(kind, here, there))
        agent = create_agent(routing.model, tools=[weather], middleware=[routing])
        run(agent, "sync", routing, {"messages": history}, pinned("claude"))
    (sent,) = there.requests
    assert sent.body["messages"][1]["content"][0] == thought


def test_markers_on_tools_given_as_dicts_stay_with_anthropic() -> None:
    marked: Any = {"type": "function", "function": {"name": "now", "parameters": {"type": "object", "properties": {}}}}
    outer = Around(lambda r: r.override(tools=[{**marked, "cache_control": {"type": "ephemeral"}}]))
    for kind in FAMILIES:
        with (
            ScriptedProvider("noon", provider="openai") as here,
            ScriptedProvider("noon", provider="anthropic") as there,
        ):
            routing = RoutingMiddleware(targets=two(kind, here, there))
            run(create_agent(routing.model, middleware=[outer, routing]), "sync", routing, config=pinned("gpt"))
        assert here.requests[0].body["tools"][0]["function"]["name"] == "now"
        assert "cache_control" not in str(here.requests[0].body)


@pytest.mark.parametrize("by", ["model", "target_kwargs"])
def test_thinking_goes_off_where_another_family_began_the_loop(by: str) -> None:
    budget: Any = {"type": "enabled", "budget_tokens": 2000}
    call: Any = {"name": "weather", "args": {"city": "Rome"}, "id": "call_1", "type": "tool_call"}
    begun: Any = [HumanMessage("Rome?"), AIMessage("", tool_calls=[call]), ToolMessage("20", tool_call_id="call_1")]
    with ScriptedProvider(script, provider="anthropic") as there:
        ready = claude(there)
        ready.max_tokens = 4000
        if by == "model":
            ready.thinking = budget
        own: Any = {"claude": {"thinking": budget}} if by == "target_kwargs" else None
        routing = RoutingMiddleware(targets={"claude": native(ready)}, target_kwargs=own)
        agent = create_agent(routing.model, tools=[weather], middleware=[routing])
        (_, answer) = answers(run(agent, "sync", routing, {"messages": begun}))
    (sent,) = there.requests
    assert sent.body.get("thinking", {"type": "disabled"}) == {"type": "disabled"}
    assert "thinking switched off" in str(decided(answer).warnings)


def test_settings_that_make_no_sense(provider: ScriptedProvider) -> None:
    model = RoutedChatModel(targets=pool("wire", provider))
    with pytest.raises(ConfigError, match="give a RoutedChatModel"):
        RoutingMiddleware(claude(provider))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="its own targets, on_partial"):
        RoutingMiddleware(model, targets=[], on_partial="restart")
    with pytest.raises(ConfigError, match="either `router` or `targets`"):
        RoutingMiddleware()


def test_a_pin_that_no_target_fulfils(provider: ScriptedProvider) -> None:
    routing = RoutingMiddleware(targets=pool("wire", provider))
    config: Any = {"configurable": {"agentroute": {"allow_providers": ["nobody"]}}}
    with pytest.raises(NoCandidateError) as raised:
        run(create_agent(routing.model, middleware=[routing]), "sync", routing, config=config)
    assert isinstance(raised.value, ModelError)


@pytest.mark.parametrize("kind", POOLS)
def test_the_model_of_the_settings_is_a_pin(kind: str, provider: ScriptedProvider) -> None:
    outer = Around(lambda r: r.override(model_settings={"model": "strong"}))
    routing = RoutingMiddleware(targets=pool(kind, provider))
    run(create_agent(routing.model, middleware=[outer, routing]), "sync", routing, config=TO_SMALL)
    assert [request.model for request in provider.requests] == [STRONG]


def test_a_ready_model_on_an_event_loop_is_held_to_its_time() -> None:
    with serve(nth(1, Fault.stall(), model=SMALL)) as provider:
        router = Router(wrapped(pool("native", provider), native), timeouts=Timeouts(whole_answer=0.3))
        routing = RoutingMiddleware(router=router)
        (answer,) = answers(run(create_agent(routing.model, middleware=[routing]), "async", routing, config=TO_SMALL))
    assert [(a.target, a.error) for a in decided(answer).attempts] == [("small", "ProviderTimeout"), ("strong", None)]


def test_the_models_of_the_pool_stay_as_they_are(provider: ScriptedProvider) -> None:
    usage, runs = UsageMetadataCallbackHandler(), Runs()
    own = chat_openai(provider.base_url, STRONG, provider.api_key)
    own.callbacks, own.metadata = [usage], {"team": "a"}
    routing = RoutingMiddleware(targets=[native(own)])
    run(create_agent(routing.model, middleware=[routing]), "sync", routing, config={"callbacks": [runs]})
    assert own.callbacks == [usage]
    assert own.metadata == {"team": "a"}
    assert list(usage.usage_metadata) == [STRONG]
    assert runs.llm[0]["metadata"]["team"] == "a"
    assert runs.llm[0]["metadata"]["agentroute_target"] == routing.router.pool.targets[0].name
